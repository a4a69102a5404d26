"""What the tests of the report are about."""

from __future__ import annotations

import numpy as np

from latentkit.data import Dataset
from latentkit.estimators import VAE

__all__ = ["HOSTILE", "fitted"]

#: A name that tries to be markup, a formula and an address.
HOSTILE = '<script>alert("x")</script> & $x_1$ "quoted" https://example.org/a'


def fitted(data: Dataset, *, labels: bool = True, latent_dim: int = 3) -> VAE:
    """A tiny model of the data."""
    names = np.asarray(data.label_names)
    y = names[data.labels] if labels and data.labels is not None else None
    options = {
        "encoder": (16,),
        "decoder": (16,),
        "max_epochs": 3,
        "ex_post_options": {"n_components": 2},
        "random_state": 0,
    }
    return VAE(latent_dim, **options).fit(data.data, y)
