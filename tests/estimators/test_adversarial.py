"""GAN and VAEGAN: what they learn, what they are given, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentkit import GAN, VAE, VAEGAN, load
from latentkit.core.errors import DataError, DivergenceError, InvalidParameterError, UnsupportedOperationError
from latentkit.estimators.registry import estimators
from tests.estimators.cases import classes, pixels, rows
from tests.estimators.members import MEMBERS
from tests.estimators.test_conditions import two_clouds

BOTH = pytest.mark.parametrize("name", ["gan", "vaegan"])


def make(name: str, **settings: Any) -> Any:
    return MEMBERS[name].make(name, **settings)


@pytest.fixture(scope="module")
def clouds() -> Any:
    """A GAN that was given which cloud a row is of."""
    X, y = two_clouds()
    gan = GAN(2, decoder=(16,), discriminator=(16,), max_epochs=40, batch_size=50, learning_rate=5e-3, random_state=0)
    return gan.fit(X, condition=y)


def test_samples_of_a_gan_are_of_the_condition(clouds: GAN) -> None:
    left, right = clouds.sample(200, condition="left"), clouds.sample(200, condition="right")
    assert (left[:, 0] < 0).mean() > 0.95
    assert (right[:, 0] > 0).mean() > 0.95
    assert left[:, 1:].std() > 0.3


@pytest.mark.slow
def test_a_gan_finds_both_clouds() -> None:
    X, _ = two_clouds()
    gan = GAN(2, decoder=(32,), discriminator=(32,), max_epochs=60, batch_size=50, learning_rate=5e-3, random_state=0)
    samples = gan.fit(X).sample(500)
    assert 0.1 < (samples[:, 0] > 3).mean() < 0.9
    assert 0.1 < (samples[:, 0] < -3).mean() < 0.9
    assert gan.history_[-1]["log_likelihood"] == gan.history_[-1]["kl"] == 0.0


def test_a_way_between_latent_vectors_begins_and_ends_at_them(clouds: GAN) -> None:
    a, b = np.array([0.0, 1.0]), np.array([1.0, -1.0])
    way = clouds.given("left").interpolate(a, b, steps=5)
    ends = clouds.given("left").inverse_transform(np.stack([a, b]))
    np.testing.assert_allclose(way[[0, -1]], ends, rtol=1e-5)
    with pytest.raises(DataError, match="latent vectors must be numbers of shape"):
        clouds.interpolate([0.0, 1.0, 2.0], [0.0, 1.0, 2.0])


def test_a_vaegan_encodes_and_rebuilds() -> None:
    X, y = two_clouds()
    settings = {"encoder": (16,), "decoder": (16,), "discriminator": (16,), "batch_size": 50, "random_state": 0}
    vaegan = VAEGAN(3, max_epochs=30, learning_rate=5e-3, **settings).fit(X, y)
    assert (np.sign(vaegan.reconstruct(X)[:, 0]) == np.sign(X[:, 0])).mean() > 0.95
    assert (vaegan.sample(100, label="left", draw="mean")[:, 0] < 0).mean() > 0.9
    outside = X[:50] + np.float32(30.0)
    assert vaegan.score(outside) < vaegan.score(X) - 10  # a bound that tells what is unusual
    assert vaegan.history_[-1]["kl"] > 0.1


def test_the_variance_of_a_vaegan_is_what_its_reconstructions_leave() -> None:
    X = pixels(48, 8, 8)
    vaegan = make("vaegan", max_epochs=3, validation_fraction=0.0).fit(X)
    x = vaegan.schema_.to_model(vaegan.schema_.encode(X))
    likelihood = vaegan.model_.autoencoder.likelihood
    assert likelihood.variance == "shared"
    with torch.no_grad():
        z = vaegan.model_.encode(x).sample(200)
        rest = (vaegan.model_.decode(z).mean - x).square().mean().sqrt()
    assert likelihood.stddev.item() == pytest.approx(float(rest), rel=0.03)


def test_a_gan_has_what_it_can_do_and_nothing_else(clouds: GAN) -> None:
    for method in ("transform", "reconstruct", "score", "score_samples", "log_likelihood", "recover", "traverse"):
        assert not hasattr(clouds, method)
        with pytest.raises(UnsupportedOperationError, match=f"a GAN has no {method}: there is no encoder.*VAEGAN"):
            getattr(clouds, method)
    with pytest.raises(AttributeError, match="'GAN' object has no attribute 'colour'"):
        _ = clouds.colour
    with pytest.raises(UnsupportedOperationError, match="fitted without labels"):
        clouds.sample(1, label="left")


@BOTH
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"validation_fraction": 0.1}, "validation_fraction=0.1 has nothing to judge by.*Use 0"),
        ({"patience": 5}, "patience=5 waits for an improvement"),
        ({"compile": True}, "compile=True cannot be honoured.*second derivatives"),
        ({"normalization": "batch"}, "judge an example by the others"),
        ({"discriminator": "mpl"}, "discriminator must be 'auto', one of: columns, conv, mlp.* Did you mean 'mlp'"),
        ({"discriminator": (8, 0)}, r"discriminator widths\[1\] must be an integer of at least 1; got 0"),
        ({"discriminator": "conv"}, "discriminator='conv' needs images"),
        ({"objective": "hing"}, "'objective' .* Did you mean 'hinge'"),
        ({"r1": -1.0}, "'r1' .* range .0.0, inf"),
        ({"r1_every": 0}, "'r1_every' .* range .1, inf"),
        ({"spectral_norm": "yes"}, "'spectral_norm' .* 'bool'"),
        ({"latent_dim": 0}, "'latent_dim' .* range .1, inf"),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused(name: str, settings: Any, words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        make(name, **settings).fit(rows())


@pytest.mark.parametrize("settings", [{"likelihood": "gaussian"}, {"likelihood_options": {"variance": "feature"}}])
def test_a_gan_takes_no_likelihood(settings: Any) -> None:
    with pytest.raises(InvalidParameterError, match="a GAN has no likelihood; got .*use VAEGAN or VAE"):
        make("gan", **settings).fit(rows())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"gamma": -1.0}, "'gamma' .* range .0.0, inf"),
        ({"beta": -1.0}, "'beta' .* range .0.0, inf"),
        ({"likelihood": "discretized_logistic"}, "sees the mean of p.x given z. alone"),
        ({"kl_schedule": "linea"}, "Did you mean 'linear'"),
        ({"ex_post": "none", "ex_post_options": {"n_components": 3}}, "ex_post='none' fits no prior"),
    ],
)
def test_a_vaegan_refuses_what_does_not_fit(settings: Any, words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        make("vaegan", **settings).fit(pixels(48, 8, 8))


@BOTH
@pytest.mark.parametrize(
    "settings", [{"objective": "hinge"}, {"spectral_norm": True}, {"r1": 0.0}, {"decoder": "conv"}]
)
def test_every_choice_trains(name: str, settings: Any) -> None:
    samples = make(name, **settings).fit(pixels(48, 8, 8)).sample(4)
    assert samples.shape == (4, 8, 8)
    assert samples.std() > 0


def test_binary_and_continuous_images_are_made_in_their_range() -> None:
    grey = pixels(48, 8, 8)
    unit = make("gan").fit(grey / np.float32(256) + np.float32(1e-3)).sample(5)
    assert unit.min() >= 0
    assert unit.max() <= 1
    flags = make("gan").fit(grey > 128).sample(5)
    assert flags.dtype == bool


@BOTH
@pytest.mark.parametrize(("sign", "words"), [("SATURATED", "has won"), ("COLLAPSED", "have collapsed")])
def test_a_game_that_is_over_is_an_error_and_no_run(
    name: str, sign: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"latentkit.objectives.adversarial.{sign}", 1e9)
    monkeypatch.setattr("latentkit.objectives.adversarial.YOUNG", 3)
    with pytest.raises(DivergenceError, match=f"diverged at step .*{words}.* after 5 rollbacks.*"):
        make(name, max_epochs=20).fit(rows(), run=tmp_path / "run")
    assert not (tmp_path / "run" / "weights.safetensors").exists()


@pytest.mark.slow
def test_a_discriminator_that_nothing_holds_back_wins_and_that_is_told() -> None:
    """Four corners of a square, far apart, which a generator of one linear layer cannot make."""
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)[np.arange(200) % 4]
    gan = GAN(1, decoder=(), discriminator=(64, 64), r1=0.0, max_epochs=300, batch_size=50, learning_rate=5e-3)
    gan.set_params(optimizer_options={"betas": (0.9, 0.999)}, schedule="constant", random_state=0)
    with pytest.raises(DivergenceError, match="has won|have collapsed|objective was"):
        gan.fit(corners * 1000 + np.random.default_rng(0).normal(size=corners.shape).astype(np.float32))


@BOTH
def test_the_card_says_that_there_is_no_bound(name: str, tmp_path: Path) -> None:
    make(name).fit(rows(), classes()).save(tmp_path / "run")
    card = (tmp_path / "run" / "README.md").read_text()
    assert "Value of the game" in card
    assert "Bound on log p(x)" not in card
    assert "Objective: nonsaturating" in card
    VAE(2, encoder=(8,), decoder=(8,), max_epochs=1).fit(rows()).save(tmp_path / "vae")
    assert "Bound on log p(x)" in (tmp_path / "vae" / "README.md").read_text()


@BOTH
def test_conditions_and_spectral_normalisation_survive_a_run(name: str, tmp_path: Path) -> None:
    X, y = two_clouds(60)
    model = make(name, spectral_norm=True).fit(X, condition=y)
    model.save(tmp_path / "run")
    again = load(tmp_path / "run")
    np.testing.assert_array_equal(again.sample(5, condition="left"), model.sample(5, condition="left"))


def test_the_optimiser_forgets_quickly_unless_it_is_told_otherwise(tmp_path: Path) -> None:
    plans = [
        estimators["gan"](optimizer=optimizer, optimizer_options=options)._optimizer_options()
        for optimizer, options in [("adam", None), ("Adam", {"betas": (0.9, 0.999)}), ("sgd", None)]
    ]
    assert plans == [{"betas": (0.5, 0.99)}, {"betas": (0.9, 0.999)}, {}]
