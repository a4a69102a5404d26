"""The vector-quantised autoencoder as an estimator: codes, their prior, and what codes cannot do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentkit import VQVAE, load
from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.models import CodePrior
from latentkit.nn.quantizers import perplexity, quantizers
from latentkit.training import Trainer
from tests.estimators.cases import N, classes, pixels, rows

SMALL: dict[str, Any] = {
    "n_codes": 8,
    "max_epochs": 2,
    "batch_size": 16,
    "prior_width": 16,
    "prior_layers": 1,
    "random_state": 0,
}
LEARNT: dict[str, Any] = {"max_epochs": 15, "prior_share": 1.0, "learning_rate": 5e-3}


def small(**settings: Any) -> VQVAE:
    return VQVAE(**{**SMALL, **settings})


def clouds(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Rows that lie far to the left or far to the right, and which of the two."""
    random = np.random.default_rng(0)
    y = random.integers(0, 2, n)
    x = random.normal(size=(n, 4)) + np.where(y == 0, -6.0, 6.0)[:, None]
    return x.astype(np.float32), np.array(["left", "right"])[y]


@pytest.fixture(scope="module")
def images() -> VQVAE:
    return small().fit(pixels(N, 8, 8))


@pytest.fixture(scope="module")
def labelled() -> VQVAE:
    X, y = clouds()
    return small(**LEARNT).fit(X, y)


def is_left(X: np.ndarray) -> np.ndarray:
    return X[:, 0] < 0


def test_codes_are_a_grid_of_integers(images: VQVAE) -> None:
    X = pixels(N, 8, 8)
    codes = images.codes(X)
    assert codes.shape == (N, *images.grid_) == (N, 4, 4)
    assert codes.dtype == np.int64
    assert 0 <= codes.min() <= codes.max() < images.n_codes_ == 8
    vectors = images.model_.quantizer.vectors(torch.from_numpy(codes.reshape(N, -1))).flatten(1)
    np.testing.assert_array_equal(images.transform(X), vectors.numpy())
    np.testing.assert_array_equal(images.inverse_transform(images.transform(X)), images.reconstruct(X))


def test_latents_are_decoded_as_the_nearest_codes(images: VQVAE) -> None:
    Z = images.transform(pixels(N, 8, 8))
    shifted = Z + np.float32(1e-4)
    np.testing.assert_array_equal(images.inverse_transform(shifted), images.inverse_transform(Z))


@pytest.mark.parametrize("quantizer", list(quantizers))
@pytest.mark.parametrize("kind", ["rows", "images"])
def test_every_quantizer_fits_samples_and_reloads(quantizer: str, kind: str, tmp_path: Path) -> None:
    X = rows() if kind == "rows" else pixels(N, 8, 8)
    settings = {"n_codes": "auto", "levels": (3, 2)} if quantizer == "fsq" else {}
    model = small(quantizer=quantizer, **settings).fit(X)
    model.save(tmp_path / "run")
    again = load(tmp_path / "run")
    assert model.sample(5).shape == (5, *X.shape[1:])
    np.testing.assert_array_equal(again.sample(5), model.sample(5))
    np.testing.assert_array_equal(again.codes(X), model.codes(X))
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    assert again.perplexity_ == model.perplexity_
    assert isinstance(again.extra_modules_["code_prior"], CodePrior)
    assert not again.extra_modules_["code_prior"].training


def test_perplexity_counts_the_codes_in_use(images: VQVAE) -> None:
    X = pixels(N, 8, 8)
    assert images.perplexity(X) == pytest.approx(perplexity(torch.from_numpy(images.codes(X)), 8))
    assert images.perplexity_ == pytest.approx(images.perplexity(X))
    assert 1 <= images.perplexity_ <= 8


def test_the_score_is_the_length_of_the_code(images: VQVAE) -> None:
    X = pixels(N, 8, 8)
    codes = torch.from_numpy(images.codes(X)).flatten(1)
    x = images.schema_.to_model(images.schema_.encode(X))
    with torch.no_grad():
        prior = images.extra_modules_["code_prior"].log_prob(codes)
        fit = images.model_.decode(images.model_.encode(x).mean).log_prob(x)
    np.testing.assert_allclose(images.score_samples(X), (prior + fit).numpy(), rtol=1e-5)
    estimate = images.log_likelihood(X, n_importance=50)
    assert (estimate.n_importance, set(estimate.effective_sample_size.tolist())) == (1, {1.0})
    assert "lower bound" in estimate.estimator
    np.testing.assert_array_equal(images.score_samples(X, n_importance=7), images.score_samples(X))


def test_the_prior_over_codes_is_better_than_uniform_ones(labelled: VQVAE) -> None:
    X, _ = clouds()
    x = labelled.schema_.to_model(labelled.schema_.encode(X))
    with torch.no_grad():
        z = labelled.model_.encode(x).mean
        uniform = labelled.model_.prior().log_prob(z) + labelled.model_.decode(z).log_prob(x)
    assert labelled.score(X) > float(uniform.mean()) + 0.5
    assert labelled.prior_history_[-1]["validation"] > -2 * np.log(8) + 0.5


def test_samples_are_of_the_class_that_is_asked_for(labelled: VQVAE, tmp_path: Path) -> None:
    assert labelled.classes_ == ("left", "right")
    assert is_left(labelled.sample(60, label="left")).mean() > 0.7
    assert is_left(labelled.sample(60, label="right")).mean() < 0.3
    assert 0 < is_left(labelled.sample(60)).mean() < 1
    labelled.save(tmp_path / "run")
    again = load(tmp_path / "run")
    np.testing.assert_array_equal(again.sample(3, label="right"), labelled.sample(3, label="right"))
    with pytest.raises(
        InvalidParameterError, match="label must be one of: left, right; got 'lef'. Did you mean 'left'"
    ):
        labelled.sample(2, label="lef")


@pytest.mark.slow
def test_samples_are_of_the_condition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = clouds()
    model = small(**LEARNT).fit(X, condition=y)
    assert is_left(model.sample(60, condition="left")).mean() > 0.7
    each = model.sample(60, condition=["left", "right"] * 30)
    assert is_left(each[::2]).mean() > 0.7 > 0.3 > is_left(each[1::2]).mean()
    assert model.given("left").score(X[y == "left"]) > model.given("right").score(X[y == "left"])
    together = model.given(y).score_samples(X)
    alone = model.given("left").score_samples(X[y == "left"])
    np.testing.assert_allclose(together[y == "left"], alone, rtol=1e-4)
    monkeypatch.setattr("latentkit.models.inference.ACTIVATION_BUDGET", 64 * 70)
    np.testing.assert_allclose(model.given(y).score_samples(X), together, rtol=1e-4)
    model.save(tmp_path / "run")
    again = load(tmp_path / "run")
    np.testing.assert_array_equal(again.sample(3, condition="right"), model.sample(3, condition="right"))
    with pytest.raises(UnsupportedOperationError, match="fitted without labels, or with a condition"):
        model.sample(2, label="left")


def test_temperature_zero_is_the_most_probable_code(labelled: VQVAE) -> None:
    first, second = labelled.sample(2, label="left", temperature=0.0, draw="mean")
    np.testing.assert_array_equal(first, second)


def test_interpolating_and_editing_go_through_codes(labelled: VQVAE) -> None:
    X, y = clouds()
    path = labelled.interpolate(X[0], X[1], steps=5, path="linear")
    ends = labelled.reconstruct(X[:2])
    np.testing.assert_allclose(path[[0, -1]], ends, rtol=1e-5)
    direction = labelled.attribute_direction(X, y)
    assert labelled.edit(X[:3], direction, strength=0.0).shape == (3, 4)
    same = labelled.edit(X[:3], direction, strength=0.0)
    np.testing.assert_allclose(same, labelled.reconstruct(X[:3]), rtol=1e-5)


def test_what_codes_cannot_do_is_refused(images: VQVAE) -> None:
    X = pixels(N, 8, 8)
    assert not hasattr(images, "traverse")
    assert not hasattr(images, "recover")
    with pytest.raises(UnsupportedOperationError, match="one number of a code's vector has no meaning"):
        images.traverse(X[0], dim=0)
    with pytest.raises(UnsupportedOperationError, match="moving in a continuous latent space"):
        images.recover(X)
    with pytest.raises(UnsupportedOperationError, match="fitted without labels"):
        images.sample(2, label="cat")
    with pytest.raises(InvalidParameterError, match="codes have no prior=.mixture."):
        images.sample(2, prior="mixture")
    with pytest.raises(InvalidParameterError, match="prior must be one of: model"):
        images.log_likelihood(X, prior="mixture")


def test_sizes_follow_the_data() -> None:
    model = small(n_codes="auto").fit(pixels(N, 8, 8))
    assert (model.n_codes_, model.latent_dim_) == (32, 16 * 8), "eight codes for each of the four pixels of a place"
    model = small(n_codes="auto").fit(rows())
    assert (model.n_codes_, model.grid_, model.latent_dim_) == (8, (2,), 8)
    assert small(latent_dim=6, code_dim=2).fit(rows()).grid_ == (3,)
    assert small(downsampling=2).fit(pixels(N, 16, 16)).grid_ == (8, 8)
    assert small(encoder="mlp").fit(pixels(N, 8, 8)).grid_ == (32,)
    assert small(quantizer="fsq", n_codes=16).fit(rows()).specification_.quantizer_options["levels"] == [4, 4]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"n_codes": 512},
            "512 codes is larger than the data: 43 .* of 2 codes each are 86 code vectors. Use n_codes=8, or more data",
        ),
        ({"quantizer": "fsq", "n_codes": 512}, r"Use levels=\(4, 4\), or more data"),
        ({"quantizer": "emma"}, "quantizer must be one of: ema, rotation, gumbel, fsq; got 'emma'. Did you mean 'ema'"),
        ({"levels": (4, 4)}, "levels=.* belong to finite scalar quantisation.* Use quantizer='fsq'"),
        ({"quantizer": "fsq", "levels": (4, 4)}, r"n_codes=8 cannot be had of levels \(4, 4\), which make 16"),
        ({"quantizer": "fsq", "n_codes": "auto", "levels": (4, 4), "code_dim": 3}, "code_dim=3 cannot be had of 2"),
        ({"quantizer": "fsq", "n_codes": "auto", "levels": (4, 1)}, r"levels\[1\] must be an integer of at least 2"),
        ({"quantizer": "gumbel", "commitment": 0.25}, "commitment=0.25 has no place with quantizer='gumbel'"),
        ({"quantizer_options": {"n_codes": 8}}, "give it as n_codes= of the estimator"),
        ({"quantizer_options": {"decai": 0.9}}, "quantizer_options has 'decai', .* Did you mean 'decay'"),
        ({"downsampling": 4}, "downsampling=4 belongs to a grid of codes"),
        ({"latent_dim": 7}, "latent_dim must be a multiple of code_dim=4"),
        ({"prior_width": 10}, "prior_width must be a multiple of 4; got 10"),
        ({"n_codes": 1}, "n_codes"),
        ({"prior_share": 0.0}, "prior_share"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        small(**settings).fit(rows())


def test_images_say_how_far_they_can_be_shortened() -> None:
    with pytest.raises(
        InvalidParameterError, match="downsampling must be a power of 2 from 2 to 2 for images of 8 x 8"
    ):
        small(downsampling=4).fit(pixels(N, 8, 8))
    with pytest.raises(InvalidParameterError, match="a grid of 4 x 4 codes of 8 numbers has 128 latent dimensions"):
        small(latent_dim=100).fit(pixels(N, 8, 8))


def test_autoencoder_and_prior_share_the_time_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    budgets: list[float | None] = []
    run = Trainer.run

    def noted(self: Trainer, *arguments: Any) -> Any:
        budgets.append(self.plan.max_time)
        return run(self, *arguments)

    monkeypatch.setattr(Trainer, "run", noted)
    model = small(max_epochs="auto", max_time=0.6, prior_share=0.5).fit(rows(), classes())
    assert model.stopped_ in {"time", "patience"}
    assert budgets == pytest.approx([0.4, 0.2])


def test_wrong_prior_settings_cost_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentkit.training.Trainer.run", lambda self, resume: pytest.fail("it was trained"))
    with pytest.raises(InvalidParameterError, match="width must be a multiple"):
        small(prior_width=10).fit(rows())
