"""What the tests of the report are about."""

from __future__ import annotations

from typing import Any

import numpy as np

from latentkit.data import Dataset
from latentkit.estimators import VAE

__all__ = ["HOSTILE", "ODD", "fitted", "fitted_to_texts"]

#: A name that tries to be markup, a formula and an address.
HOSTILE = '<script>alert("x")</script> & $x_1$ "quoted" https://example.org/a'

#: Texts with markup, control characters, a script from the right with a sign that turns the order, one without blanks.
ODD = (
    HOSTILE,
    "a\x1b[31mred\x00\x85\x7f\tend",
    "\u202eשלום עולם\u202e abc",
    "我爱北京天安门",
    "</title></svg><p>",
    "👩‍👩‍👧 e\u0301",
)


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


def fitted_to_texts(data: Dataset, *, labels: bool = True, **settings: Any) -> VAE:
    """A tiny model of texts."""
    small = {"encoder": (16,), "decoder": (16,), "latent_dim": 3, "max_epochs": 2, "n_tokens": 300, "random_state": 0}
    options = {"ex_post_options": {"n_components": 2}} if settings.get("ex_post") != "none" else {}
    y = np.asarray(data.label_names)[data.labels] if labels else None
    return VAE(**{**small, **options, **settings}).fit(data.data, y)
