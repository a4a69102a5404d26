"""A small and fast setting of every registered estimator; the contract suites run over this table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from latentkit.estimators.registry import estimators
from tests.estimators.cases import N, pixels, rows


@dataclass(frozen=True)
class Member:
    """How an estimator is made small, and what it takes.

    `settings` make it small; `kinds` are the data that it is tried on; `encodes` tells whether it has an encoder.
    """

    settings: dict[str, Any]
    kinds: tuple[str, ...] = ("rows", "images")
    encodes: bool = True

    def make(self, name: str, **settings: Any) -> Any:
        return estimators[name](**{"random_state": 0, "max_epochs": 2, "batch_size": 16, **self.settings, **settings})


NETWORKS: dict[str, Any] = {"encoder": (8,), "decoder": (8,)}

MEMBERS: dict[str, Member] = {
    "autoencoder": Member({"latent_dim": 3, **NETWORKS}),
    "denoising": Member({"latent_dim": 3, **NETWORKS}),
    "sparse": Member({"latent_dim": 8, "top_k": 2, **NETWORKS}),
    "vae": Member({"latent_dim": 3, **NETWORKS}),
}

DATA = {"rows": rows, "images": lambda: pixels(N, 8, 8)}


def data(kind: str) -> np.ndarray:
    return DATA[kind]()
