"""Small models: a healthy one, and copies of it with illnesses."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from latentkit import VAE


def make_rows(n: int = 600, *, seed: int = 0) -> np.ndarray:
    """Rows of eight numbers that follow from three, with noise."""
    random = np.random.default_rng(seed)
    z = random.normal(size=(n, 3))
    weights = np.random.default_rng(1).normal(size=(3, 8))
    return (z @ weights + 0.3 * random.normal(size=(n, 8))).astype(np.float32)


SETTINGS = {
    "latent_dim": 3,
    "encoder": (32,),
    "decoder": (32,),
    "max_epochs": 50,
    "learning_rate": 5e-3,
    "batch_size": 32,
}


@pytest.fixture(scope="session")
def rows() -> np.ndarray:
    return make_rows()


@pytest.fixture(scope="session")
def well(rows: np.ndarray) -> VAE:
    """A healthy model; nobody may change it."""
    return VAE(**SETTINGS, random_state=0).fit(rows)


@pytest.fixture(scope="session")
def heavy(rows: np.ndarray) -> VAE:
    """A model whose KL term was far too heavy; nobody may change it."""
    return VAE(**SETTINGS, beta=300.0, random_state=3).fit(rows)


@pytest.fixture(scope="session")
def holed(rows: np.ndarray) -> VAE:
    """A model whose prior draws where no data lie; nobody may change it."""
    return VAE(**SETTINGS, beta=0.01, ex_post="none", random_state=0).fit(rows)


@pytest.fixture
def twin(well: VAE) -> VAE:
    """A copy of the healthy model, to be made ill."""
    return copy.deepcopy(well)


@pytest.fixture(autouse=True)
def _short_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr("latentkit.doctor.examination.MOST_STEPS", 60)
