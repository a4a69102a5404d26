"""latentkit: one variational autoencoder, every job.

Learn a latent space from data without labels and put it to use: generate, explore and control, reduce, score, recover,
over images and tables of numbers.

Example:
    >>> from latentkit import VAE
    >>> from sklearn.datasets import load_digits
    >>> images = load_digits().images
    >>> vae = VAE(latent_dim=8, max_epochs=1, random_state=0).fit(images)
    >>> vae.sample(4).shape
    (4, 8, 8)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latentkit.core.version import __version__

if TYPE_CHECKING:
    from latentkit.core.errors import LatentkitError
    from latentkit.estimators import (
        GAN,
        VAE,
        VAEGAN,
        VQVAE,
        AnomalyDetector,
        Autoencoder,
        Compressor,
        DenoisingAutoencoder,
        Generator,
        HierarchicalVAE,
        PyodAdapter,
        SparseAutoencoder,
        TableImputer,
        load,
    )

__all__ = [
    "GAN",
    "VAE",
    "VAEGAN",
    "VQVAE",
    "AnomalyDetector",
    "Autoencoder",
    "Compressor",
    "DenoisingAutoencoder",
    "Generator",
    "HierarchicalVAE",
    "PyodAdapter",
    "SparseAutoencoder",
    "LatentkitError",
    "TableImputer",
    "__version__",
    "load",
]

#: Where the public names live. They are imported when they are first used, so that importing latentkit is instant;
#: `__version__` is here already and never asked for.
_HOMES = {
    **dict.fromkeys(__all__, "latentkit.estimators"),
    "LatentkitError": "latentkit.core.errors",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'latentkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
