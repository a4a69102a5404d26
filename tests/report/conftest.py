"""Small fitted models, made once for all tests of the report."""

from __future__ import annotations

import numpy as np
import pytest

from latentkit.data import Dataset
from latentkit.estimators import VAE
from tests.report.cases import HOSTILE, ODD, fitted, fitted_to_texts


@pytest.fixture(scope="session")
def images() -> Dataset:
    """Grey 8 x 8 images of three classes: bars at three places."""
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    pixels = rng.integers(0, 40, (90, 8, 8))
    for row, label in enumerate(labels):
        pixels[row, :, 2 * label + 1] += 200
    return Dataset(pixels.astype(np.uint8), "bars.npz", "images", labels.astype(np.int64), ("left", "middle", "right"))


@pytest.fixture(scope="session")
def rows() -> Dataset:
    """A frame with a hostile name, a constant column and a correlated pair."""
    import pandas as pd

    rng = np.random.default_rng(1)
    z = rng.normal(size=(80, 1))
    frame = pd.DataFrame(
        {
            HOSTILE: 3.0 * z[:, 0] + rng.normal(0, 0.3, 80),
            "constant": np.ones(80),
            "pair": -z[:, 0] + rng.normal(0, 0.3, 80),
            "长度": rng.normal(size=80),
        }
    )
    return Dataset(frame, f"folder/{HOSTILE}", "rows", (z[:, 0] > 0).astype(np.int64), ("<b>low</b>", "high"))


@pytest.fixture(scope="session")
def texts() -> Dataset:
    """Sentences of animals, and odd texts among them."""
    made = [f"the {animal} is {how}" for animal in ("cat", "dog", "bird", "cow") for how in ("big", "small", "old")]
    made = [str(text) for text in np.random.default_rng(0).permutation(np.array([*made * 8, *ODD * 4], object))]
    labels = np.array([int(not text.startswith("the")) for text in made])
    return Dataset(np.array(made, object), "folder/animals.txt", "text", labels, ("animal", "<b>odd</b>"))


@pytest.fixture(scope="session")
def image_model(images: Dataset) -> VAE:
    return fitted(images)


@pytest.fixture(scope="session")
def row_model(rows: Dataset) -> VAE:
    return fitted(rows)


@pytest.fixture(scope="session")
def text_model(texts: Dataset) -> VAE:
    return fitted_to_texts(texts)


@pytest.fixture(autouse=True)
def small_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps of a few points: how t-SNE scales is not what is tested."""
    monkeypatch.setattr("latentkit.report.latent.TSNE_POINTS", 40)
    monkeypatch.setattr("latentkit.report.subject.N_EXPLAINED", 40)
