"""The ladder as an estimator: its sizes, what they mean, and that it earns them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn

from latentkit.core.errors import InvalidParameterError
from latentkit.estimators import HierarchicalVAE, load
from tests.estimators.cases import classes, pixels, rows

QUICK: dict[str, Any] = {"max_epochs": 1, "batch_size": 16, "random_state": 0}


def fit(X: Any, **settings: Any) -> HierarchicalVAE:
    return HierarchicalVAE(**{**QUICK, **settings}).fit(X)


@pytest.fixture(scope="module")
def trained() -> HierarchicalVAE:
    return fit(
        rows(400),
        latent_dim=(2, 2),
        decoder=(24, 12),
        max_epochs=40,
        learning_rate=1e-2,
        batch_size=50,
    )


# Sizes


@pytest.mark.parametrize(
    ("settings", "widths", "dims"),
    [
        ({}, [64, 32, 32], [2, 1, 1]),
        ({"n_layers": 2}, [64, 32], [2, 1]),
        ({"n_layers": 1}, [64], [2]),
        ({"latent_dim": 3}, [64, 32, 32], [3, 3, 3]),
        ({"latent_dim": (4, 2)}, [64, 32], [4, 2]),
        ({"decoder": (16, 8)}, [16, 8], [2, 1]),
        ({"decoder": (16, 8), "latent_dim": (3, 2), "n_layers": 2}, [16, 8], [3, 2]),
        ({"decoder": "mlp", "encoder": (20, 20, 20)}, [64, 32, 32], [2, 1, 1]),
    ],
)
def test_rows(settings: dict[str, Any], widths: list[int], dims: list[int]) -> None:
    model = fit(rows(), **settings)
    chosen = model.specification_
    assert chosen.decoder["widths"] == widths
    assert list(chosen.layer_dims) == dims
    assert model.latent_dim_ == sum(dims) == model.transform(rows()).shape[1]
    assert chosen.encoder["widths"] == list(settings.get("encoder", widths))
    assert chosen.encoder["activation"] == "silu"


@pytest.mark.parametrize(
    ("settings", "channels", "latent_dim"),
    [
        ({}, [24, 48], 16 + 8),
        ({"n_layers": 3}, [24, 48, 48], 16 + 8 + 4),
        ({"n_layers": 1}, [24], 16),
        ({"channels": (6, 4), "latent_dim": (3, 2)}, [6, 4], 5),
        ({"channels": (6, 4), "latent_dim": (3, 2), "latent_layout": "grid"}, [6, 4], 3 * 7 * 5 + 2 * 4 * 3),
        ({"channels": (6, 4), "latent_layout": "grid", "ex_post": "none"}, [6, 4], 8 * (7 * 5 + 4 * 3)),
        ({"channels": (6,), "upsampling": "nearest", "latent_dim": 2}, [6], 2),
    ],
)
def test_images_of_any_size(settings: dict[str, Any], channels: list[int], latent_dim: int) -> None:
    X = pixels(20, 14, 10, 3)
    model = fit(X, **settings)
    assert model.specification_.decoder["channels"] == channels
    assert model.latent_dim_ == latent_dim
    assert model.sample(3).shape == (3, *X.shape[1:])
    assert model.reconstruct(X[:2]).shape == (2, *X.shape[1:])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"decoder": (8, 8), "n_layers": 3}, "n_layers=3, and decoder or channels give 2 sizes"),
        ({"decoder": (8, 8), "latent_dim": (2, 2, 2)}, "one width and one latent_dim for each layer"),
        ({"decoder": (8, 8), "encoder": (8,)}, "one width and one latent_dim for each layer"),
        ({"decoder": nn.Linear(2, 5)}, "decoder cannot be a module of your own"),
        ({"encoder": nn.Linear(2, 5)}, "encoder cannot be a module of your own"),
        ({"channels": (4, 4)}, "channels=.* belong to a convolutional ladder"),
        ({"decoder": "conv"}, "'conv' needs images, and these data are rows"),
        ({"encoder": "conv"}, "both must be 'mlp' or both 'conv'"),
        ({"latent_layout": "grid"}, "latent_layout='grid' lays latents on the grids"),
        ({"latent_dim": (2, 0)}, r"latent_dim\[1\] must be an integer of at least 1"),
        ({"latent_dim": ()}, "one width and one latent_dim for each layer"),
        ({"normalization": "batch"}, "batch normalisation has nothing to go by"),
        ({"objective": "iwae", "free_bits": 0.5}, "objective 'iwae' has no free_bits"),
        ({"n_blocks": -1}, "n_blocks"),
        ({"latent_layout": "gird"}, "latent_layout"),
        ({"ex_post": "none", "ex_post_options": {"n_components": 3}}, "ex_post='none' fits no prior"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        fit(rows(), **settings)


def test_the_smallest_images_have_two_layers() -> None:
    model = fit(pixels(20, 8, 8))
    assert model.specification_.decoder["channels"] == [24, 24]


def test_a_mixture_over_thousands_of_latents_is_refused() -> None:
    X = pixels(20, 16, 16)
    with pytest.raises(InvalidParameterError, match=r"to 256 at most; this ladder has 640. Use ex_post='none'"):
        fit(X, channels=(6, 4), latent_layout="grid")
    assert fit(X, channels=(6, 4), latent_layout="grid", ex_post="none").sample(2).shape == X[:2].shape


def test_layers_have_bits_for_free_under_the_elbo_alone() -> None:
    assert HierarchicalVAE()._objective().free_bits == 0.5
    assert HierarchicalVAE(free_bits=0.0)._objective().free_bits == 0.0
    assert HierarchicalVAE(objective="iwae")._objective().n_importance == 5


# What it does


@pytest.mark.parametrize("objective", ["iwae", "dreg", "stl"])
def test_other_objectives(objective: str) -> None:
    model = fit(rows(), objective=objective, decoder=(8, 6))
    assert np.isfinite(model.history_[-1]["objective"])


def test_it_learns(trained: HierarchicalVAE) -> None:
    X = rows(200, seed=5)
    untrained = fit(rows(400), latent_dim=(2, 2), decoder=(24, 12))
    assert trained.score(X) > untrained.score(X) + 1.0
    scale = X.std(0)
    assert (np.abs(trained.reconstruct(X) - X) / scale).mean() < 0.25
    samples = trained.sample(2000)
    np.testing.assert_allclose(samples.mean(0) / scale, X.mean(0) / scale, atol=0.3)
    np.testing.assert_allclose(np.corrcoef(samples.T), np.corrcoef(X.T), atol=0.25)


def test_bounds_rise_and_do_not_depend_on_the_batch(trained: HierarchicalVAE) -> None:
    X = rows(100, seed=6)
    few, many = (trained.log_likelihood(X, n_importance=k).log_likelihood for k in (1, 100))
    assert many.mean() > few.mean()
    np.testing.assert_allclose(trained.score_samples(X[::-1])[::-1], trained.score_samples(X), rtol=1e-10)
    mixed = trained.log_likelihood(X, n_importance=100, prior="mixture").log_likelihood
    assert abs(float(mixed.mean() - many.mean())) < 3.0


def test_it_explores(trained: HierarchicalVAE) -> None:
    X = rows(100, seed=7)
    path = trained.interpolate(X[0], X[1], steps=5)
    ends = trained.reconstruct(X[:2])
    np.testing.assert_allclose(path[[0, -1]], ends, rtol=1e-5)
    walk = trained.traverse(X[0], dim=0, steps=5)
    assert walk.shape == (5, 5)
    assert (walk.std(0) > 0).all()
    direction = trained.attribute_direction(X, X[:, 0])
    assert direction.score > 0.5
    assert (trained.edit(X, direction, strength=1.0)[:, 0] - trained.reconstruct(X)[:, 0]).mean() > 0.1


def test_it_recovers_what_is_missing(trained: HierarchicalVAE) -> None:
    X = rows(30, seed=8)
    holes = X.copy()
    holes[:, 1] = np.nan
    error = np.abs(trained.recover(holes, n_draws=5, n_steps=10)[:, 1] - X[:, 1])
    assert error.mean() < 0.7 * np.abs(X[:, 1] - X[:, 1].mean()).mean()


@pytest.mark.slow
def test_classes_and_conditions() -> None:
    X, y = rows(200), classes(200)
    labelled = HierarchicalVAE((2, 1), decoder=(8, 6), **QUICK).fit(X, y)
    assert labelled.sample(4, label="cat").shape == (4, 5)
    given = HierarchicalVAE((2, 1), decoder=(16, 8), **{**QUICK, "max_epochs": 25}, learning_rate=1e-2)
    given.fit(X, condition=y)
    cats, dogs = (given.sample(300, condition=name)[:, 0].mean() for name in ("cat", "dog"))
    assert cats < dogs
    assert given.given("cat").score(X[y == "cat"]) > given.given("dog").score(X[y == "cat"])


def test_a_run_of_images_on_grids(tmp_path: Any) -> None:
    X = pixels(20, 9, 12)
    model = fit(X, channels=(6, 4), latent_dim=(2, 1), latent_layout="grid", n_blocks=2)
    model.save(tmp_path / "run")
    again = load(tmp_path / "run")
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    np.testing.assert_array_equal(again.sample(3), model.sample(3))
    assert again.specification_ == model.specification_
    text = (tmp_path / "run" / "README.md").read_text()
    assert "Decoder" in text.title()
