"""A small and fast setting of every registered estimator; the contract suites run over this table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from latentkit.estimators.registry import estimators
from tests.estimators.cases import N, pixels, rows, texts


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
    "hierarchical": Member({"latent_dim": (2, 1), "decoder": (8, 6)}),
    "autoencoder": Member({"latent_dim": 3, **NETWORKS}),
    "denoising": Member({"latent_dim": 3, **NETWORKS}),
    "sparse": Member({"latent_dim": 8, "top_k": 2, **NETWORKS}),
    "vae": Member({"latent_dim": 3, **NETWORKS}, ("rows", "images", "texts")),
    "vqvae": Member({"n_codes": 8, "prior_width": 16, "prior_layers": 1}),
    "gan": Member({"latent_dim": 3, "decoder": (8,), "discriminator": (8,), "r1_every": 2}, encodes=False),
    "generator": Member({"latent_dim": 3, "decoder": (8,)}, encodes=False),
    "vaegan": Member({"latent_dim": 3, "discriminator": (8,), "r1_every": 2, **NETWORKS}),
}

DATA = {"rows": rows, "images": lambda: pixels(N, 8, 8), "texts": texts}


def by_default(names: Iterable[str], *chosen: str) -> list[Any]:
    """Parameters for a test that takes seconds: those chosen run by default, the others among the slow tests."""
    return [pytest.param(name, marks=[] if name in chosen else pytest.mark.slow) for name in names]


def data(kind: str) -> np.ndarray:
    return DATA[kind]()
