"""The generator: pairs that are given, latent vectors that are learnt, and what contradicts them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from latentkit import Generator
from latentkit.core.errors import DataError, InvalidParameterError, UnsupportedOperationError
from tests.estimators.cases import classes, pixels, rows
from tests.estimators.test_conditions import two_clouds

SMALL: dict[str, Any] = {"decoder": (16,), "batch_size": 16, "max_epochs": 2, "random_state": 0}


def pairs(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Settings of far different scales, and what they make."""
    Z = np.random.default_rng(0).normal(size=(n, 2)) * [1000.0, 0.01] + [5000.0, 0.0]
    standard = (Z - [5000.0, 0.0]) / [1000.0, 0.01]
    X = np.stack([standard[:, 0] + standard[:, 1], np.sin(standard[:, 0]), 3.0 * standard[:, 1]], axis=1)
    return X, Z


@pytest.mark.parametrize("fraction", [pytest.param(0.0, marks=pytest.mark.slow), 0.2])
def test_what_the_given_vectors_mean_is_learnt(fraction: float) -> None:
    X, Z = pairs()
    settings = {"max_epochs": 60, "batch_size": 30, "learning_rate": 1e-2, "random_state": 0}
    generator = Generator(decoder=(32,), validation_fraction=fraction, **settings).fit(X, z=Z)
    made = generator.inverse_transform(Z)
    assert np.sqrt(((made - X) ** 2).mean(0) / X.var(0)).max() < 0.15
    assert generator.latent_dim_ == 2
    assert (generator.history_[-1]["validation"] is None) == (fraction == 0.0)
    samples = generator.sample(500, draw="mean")
    assert np.abs(samples.mean(0) - X.mean(0)).max() < 0.5
    way = generator.interpolate(Z[0], Z[1], steps=3, path="linear")
    np.testing.assert_allclose(way[0], made[0], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_latent_vectors_of_its_own_fit_better_than_principal_components() -> None:
    random = np.random.default_rng(0)
    angle = random.uniform(0, 2 * np.pi, 400)
    X = np.stack([np.cos(angle), np.sin(angle), np.cos(2 * angle)], axis=1) + 0.02 * random.normal(size=(400, 3))
    settings = {"decoder": (64, 64), "batch_size": 50, "learning_rate": 3e-3, "random_state": 0}
    generator = Generator(2, max_epochs=80, **settings).fit(X)
    samples = generator.sample(1000, draw="mean")
    radius = np.hypot(samples[:, 0], samples[:, 1])
    assert 0.7 < np.median(radius) < 1.3
    assert generator.history_[-1]["objective"] > generator.history_[0]["objective"] + 1.0


@pytest.mark.parametrize("bound", ["ball", "normal"])
def test_learnt_vectors_make_images_and_classes(bound: Any) -> None:
    images = pixels(48, 8, 8)
    bright = images.mean((1, 2)) > 127
    settings = {**SMALL, "max_epochs": 40, "learning_rate": 5e-3}
    generator = Generator(2, latent_bound=bound, **settings).fit(images, np.where(bright, "bright", "dark"))
    assert set(generator.classes_) == {"bright", "dark"}
    assert generator.sample(50, label="bright").mean() > generator.sample(50, label="dark").mean() + 30


def test_a_condition_is_seen_beside_the_vector() -> None:
    X, y = two_clouds(200)
    generator = Generator(1, **{**SMALL, "max_epochs": 30, "learning_rate": 1e-2}).fit(X, condition=y)
    Z = np.zeros((4, 1), dtype=np.float32)
    assert (
        generator.given("left").inverse_transform(Z)[:, 0] < generator.given("right").inverse_transform(Z)[:, 0]
    ).all()


def test_the_vectors_may_be_a_frame() -> None:
    X, Z = pairs(40)
    array, frame = (Generator(**SMALL).fit(X, z=z) for z in (Z, pd.DataFrame(Z, columns=["a", "b"])))
    np.testing.assert_array_equal(array.sample(3), frame.sample(3))


def test_a_run_that_is_resumed_needs_its_vectors_again(tmp_path: Any) -> None:
    X, Z = pairs(40)
    Generator(**SMALL).fit(X, z=Z, run=tmp_path / "run")
    again = Generator(**{**SMALL, "max_epochs": 3}).fit(X, z=Z, run=tmp_path / "run", resume=True)
    assert again.n_iter_ == 3
    with pytest.raises(InvalidParameterError, match="latent_mean"):
        Generator(2, **SMALL).fit(X, run=tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("z", "words"),
    [
        (np.zeros((47, 2)), "z must have one row per example: X has 48, z has 47"),
        (np.zeros(48), r"z must be numbers of shape \(n, latent_dim\).*got shape \(48,\)"),
        (np.full((48, 2), np.nan), "z must be finite; row 0 "),
        (np.array([["a", "b"]] * 48), "text|numbers"),
    ],
)
def test_vectors_that_cannot_be_used_are_refused(z: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Generator(**SMALL).fit(rows(), z=z)


@pytest.mark.parametrize(
    ("settings", "given", "words"),
    [
        ({"latent_dim": 3}, True, "latent_dim=3 contradicts z, which has 2 columns"),
        ({"latent_bound": "normal"}, True, "latent_bound='normal' is of learnt latent vectors, and z is given"),
        ({"latent_bound": "bal"}, False, "'latent_bound' .* Did you mean 'ball'"),
        ({"validation_fraction": 0.1}, False, "validation_fraction=0.1 needs z"),
        ({"ex_post": "none", "ex_post_options": {"n_components": 3}}, False, "ex_post='none' fits no prior"),
        ({"latent_dim": 0}, False, "'latent_dim' .* range .1, inf"),
    ],
)
def test_settings_that_contradict_the_vectors_are_refused(settings: Any, given: bool, words: str) -> None:
    z = np.random.default_rng(0).normal(size=(48, 2)) if given else None
    with pytest.raises(InvalidParameterError, match=words):
        Generator(**{**SMALL, **settings}).fit(rows(), z=z)


@pytest.mark.parametrize("given", [True, False])
def test_without_a_mixture_it_draws_from_a_gaussian(given: bool) -> None:
    X, Z = pairs(60)
    generator = Generator(ex_post="none", **SMALL).fit(X, classes(60), z=Z if given else None)
    assert generator.ex_post_prior_ is None
    assert np.isfinite(generator.sample(5)).all()
    with pytest.raises(UnsupportedOperationError, match="ex_post='none'"):
        generator.sample(1, label="cat")


def test_nothing_of_the_training_stays_behind() -> None:
    X, Z = pairs(40)
    for z in (Z, None):
        generator = Generator(**SMALL).fit(X, z=z)
        assert not {"_given_z", "_trained", "_n_learnt"} & set(vars(generator))
