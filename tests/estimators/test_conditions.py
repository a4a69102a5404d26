"""Models that are given something: they use it, do without it, and keep it in a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentkit import VAE, load
from latentkit.core.errors import DataError, UnsupportedOperationError
from tests.estimators.cases import pixels, rows, small


def two_clouds(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose first column is far to the left for one class and far to the right for the other."""
    random = np.random.default_rng(0)
    y = np.array(["left", "right"])[random.integers(0, 2, n)]
    X = random.normal(size=(n, 3))
    X[:, 0] += np.where(y == "left", -6.0, 6.0)
    return X.astype(np.float32), y


@pytest.fixture(scope="module")
def conditional() -> VAE:
    X, y = two_clouds()
    return VAE(2, encoder=(16,), decoder=(16,), max_epochs=200, batch_size=50, learning_rate=1e-2, random_state=0).fit(
        X, condition=y
    )


@pytest.mark.parametrize("prior", ["model", "mixture"])
def test_samples_are_of_the_condition(conditional: VAE, prior: Any) -> None:
    left = conditional.sample(200, condition="left", prior=prior)
    right = conditional.sample(200, condition="right", prior=prior)
    assert (left[:, 0] < 0).mean() > 0.95
    assert (right[:, 0] > 0).mean() > 0.95
    mixed = conditional.sample(200, condition=["left", "right"] * 100, prior=prior)
    np.testing.assert_allclose(mixed[::2], left[::2], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(mixed[1::2], right[1::2], rtol=1e-4, atol=1e-4)


def test_the_latent_space_need_not_hold_what_is_given(conditional: VAE) -> None:
    """Encoded as one class and decoded as the other, an example keeps the rest of itself."""
    X, y = two_clouds(50)
    left = X[y == "left"]
    Z = conditional.given("left").transform(left)
    moved = conditional.given("right").inverse_transform(Z)
    assert (moved[:, 0] > 0).mean() > 0.9


def test_conditions_can_differ_from_row_to_row(conditional: VAE) -> None:
    X, y = two_clouds(20)
    together = conditional.given(y)
    for name in ("left", "right"):
        alone, place = conditional.given(name), y == name
        np.testing.assert_allclose(together.transform(X)[place], alone.transform(X[place]), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(together.score_samples(X)[place], alone.score_samples(X[place]), rtol=1e-4)
        np.testing.assert_allclose(together.reconstruct(X)[place], alone.reconstruct(X[place]), rtol=1e-3, atol=1e-4)
    assert together.score(X) > conditional.given(np.where(y == "left", "right", "left")).score(X) + 1.0


def test_what_is_missing_is_recovered_given_the_condition(conditional: VAE) -> None:
    X, y = two_clouds(30)
    holes = X.copy()
    holes[:, 0] = np.nan
    whole = conditional.given(y).recover(holes)
    assert (np.sign(whole[:, 0]) == np.where(y == "left", -1, 1)).mean() > 0.9


def test_without_a_condition_the_model_does_without(conditional: VAE) -> None:
    first = conditional.sample(300)[:, 0]
    assert np.isfinite(first).all()
    assert conditional.transform(two_clouds(5)[0]).shape == (5, 2)


def test_a_run_keeps_the_conditions(conditional: VAE, tmp_path: Path) -> None:
    conditional.save(tmp_path / "run")
    again = load(tmp_path / "run")
    np.testing.assert_array_equal(again.sample(4, condition="left"), conditional.sample(4, condition="left"))


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_images_take_conditions(network: str) -> None:
    X = pixels(40, 8, 8)
    brightness = X.mean((1, 2)).astype(np.float64)
    vae = small(encoder=network, decoder=network, max_epochs=1).fit(X, condition=brightness)
    assert vae.sample(3, condition=[40.0, 120.0, 200.0]).shape == (3, 8, 8)
    assert vae.given(100.0).transform(X).shape == (40, 3)


def test_wrong_conditions_are_refused(conditional: VAE) -> None:
    with pytest.raises(DataError, match="'up' is no class"):
        conditional.given("up")
    with pytest.raises(DataError, match="there are 2 conditions for 3 examples"):
        conditional.sample(3, condition=["left", "right"])
    with pytest.raises(DataError, match="X has 48, condition has 3"):
        small().fit(rows(), condition=[1, 2, 1])
    with pytest.raises(UnsupportedOperationError, match="fitted without conditions"):
        small().fit(rows()).given(1)
