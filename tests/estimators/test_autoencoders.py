"""Deterministic autoencoders: what their settings do, what their scores are, and what they refuse."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from latentkit import VAE, Autoencoder, DenoisingAutoencoder, SparseAutoencoder, load
from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.estimators.registry import estimators
from latentkit.nn import SpectralNorm
from tests.estimators.cases import SMALL, classes, rows
from tests.estimators.members import MEMBERS

DETERMINISTIC = ("autoencoder", "denoising", "sparse")
everyone = pytest.mark.parametrize("name", DETERMINISTIC)
KINDS: dict[str, Any] = {"top_k": {"top_k": 2}, "l1": {"sparsity_weight": 3.0}, "kl": {"rate": 0.1}}


@cache
def fitted(name: str) -> Any:
    return MEMBERS[name].make(name).fit(rows(), classes())


@cache
def digits() -> np.ndarray:
    return load_digits().images.astype(np.uint8)[:400] * 15


def trained(kind: Any, **settings: Any) -> Any:
    options = {"encoder": (64,), "decoder": (64,), "max_epochs": 10, "learning_rate": 3e-3, "random_state": 0}
    return kind(**{**options, **settings}).fit(digits())


# Scores


@everyone
def test_scores_are_the_likelihood_of_the_reconstruction_and_say_so(name: str) -> None:
    model, X = fitted(name), rows(20, seed=1)
    estimate = model.log_likelihood(X)
    assert not estimate.is_bound
    assert estimate.estimator == "log p(x given z) of the reconstruction, not a bound on log p(x)"
    assert estimate.n_importance == 1
    assert (estimate.effective_sample_size == 1).all()
    assert (estimate.standard_error == 0).all()
    twin = model.model_.double()
    try:
        x = model.schema_.to_model(model.schema_.encode(X, dtype=torch.float64), dtype=torch.float64)
        expected = twin.decode(twin.encode(x).mean).log_prob(x).detach()
    finally:
        model.model_.float()
    torch.testing.assert_close(estimate.log_likelihood, expected, rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(model.score_samples(X), estimate.log_likelihood.numpy())
    assert model.score(X) == pytest.approx(model.score_samples(X).mean())


def test_the_bound_of_a_vae_says_that_it_is_one() -> None:
    assert VAE(**SMALL).fit(rows()).log_likelihood(rows(5)).is_bound


@everyone
@pytest.mark.parametrize(
    ("method", "options", "given"),
    [
        ("log_likelihood", {"n_importance": 64}, "n_importance=64"),
        ("log_likelihood", {"prior": "mixture"}, "prior='mixture'"),
        ("score_samples", {"n_importance": 1}, "n_importance=1"),
        ("score", {"n_importance": 5}, "n_importance=5"),
    ],
)
def test_options_of_a_bound_are_refused(name: str, method: str, options: dict[str, Any], given: str) -> None:
    words = f"codes of this model are points, so its score is .*without importance samples .*got {given}"
    with pytest.raises(UnsupportedOperationError, match=words):
        getattr(fitted(name), method)(rows(5), **options)


def test_a_vae_with_points_is_scored_like_an_autoencoder() -> None:
    model = VAE(posterior="point", objective="reconstruction", **SMALL).fit(rows())
    assert not model.log_likelihood(rows(5)).is_bound
    with pytest.raises(UnsupportedOperationError, match="is a point: it has no density"):
        VAE(posterior="point", **SMALL).fit(rows())


# Samples


@everyone
def test_samples_come_from_the_mixture_alone(name: str) -> None:
    model = fitted(name)
    np.testing.assert_array_equal(model.sample(4), model.sample(4, prior="mixture"))
    assert model.sample(4, label="cat").shape == (4, 5)
    with pytest.raises(UnsupportedOperationError, match="no prior of training to draw from.* got prior='model'"):
        model.sample(4, prior="model")
    without = MEMBERS[name].make(name, ex_post="none").fit(rows())
    with pytest.raises(UnsupportedOperationError, match="got prior='auto' of a model fitted with ex_post=none"):
        without.sample(4)


@pytest.mark.parametrize("sparsity", KINDS)
def test_whatever_is_decoded_is_a_code(sparsity: str) -> None:
    options = {"encoder": (8,), "decoder": (8,), "max_epochs": 2, "random_state": 0, **KINDS[sparsity]}
    model = SparseAutoencoder(latent_dim=6, sparsity=sparsity, **options).fit(rows())
    wild = np.random.default_rng(0).normal(size=(20, 6)) * 5
    family = model.model_.posterior
    legal = family.constrain(torch.from_numpy(wild)).numpy()
    np.testing.assert_allclose(model.inverse_transform(wild), model.inverse_transform(legal))
    codes = model.transform(rows())
    assert (codes >= 0).all() == (sparsity != "top_k")
    np.testing.assert_allclose(model.inverse_transform(codes), model.reconstruct(rows()))


# Walks: in units of the codes


@everyone
def test_a_traversal_is_measured_in_the_spread_of_the_codes(name: str) -> None:
    model = fitted(name)
    codes = model.ex_post_prior_()
    z = codes.mean.repeat(3, 1)
    z[:, 1] = codes.mean[1] + codes.stddev[1] * torch.tensor([-3.0, 0.0, 3.0])
    walked = model.traverse(dim=1, steps=3)
    np.testing.assert_allclose(walked, model.inverse_transform(z.numpy()), rtol=1e-5)
    at = model.traverse(rows(1), dim=1, values=[0.0])
    moved = model.transform(rows(1))
    moved[0, 1] = codes.mean[1]
    np.testing.assert_allclose(at, model.inverse_transform(moved), rtol=1e-4)


# Recover


@everyone
def test_missing_features_are_filled_and_observed_ones_kept(name: str) -> None:
    model, X = fitted(name), rows(20, seed=3)
    holes = X.copy()
    holes[::2, 1] = np.nan
    filled = model.recover(holes)
    assert np.isfinite(filled).all()
    seen = np.isfinite(holes)
    np.testing.assert_array_equal(filled[seen], X[seen])
    np.testing.assert_array_equal(filled, model.recover(holes))
    one = model.recover(holes, n_steps=1)
    start = np.where(seen, X, model.schema_.decode(torch.zeros(20, 5, dtype=torch.float64)))
    np.testing.assert_allclose(one[~seen], model.reconstruct(start)[~seen])


def test_filling_comes_to_rest_where_the_row_is_as_the_model_rebuilds_it() -> None:
    X = rows(300)
    model = Autoencoder(2, encoder=(16,), decoder=(16,), max_epochs=60, learning_rate=1e-2, random_state=0).fit(X)
    holes = rows(50, seed=5)
    truth = holes[:, 1].copy()
    holes[:, 1] = np.nan
    filled = model.recover(holes, n_steps=100)
    np.testing.assert_allclose(filled[:, 1], model.reconstruct(filled)[:, 1], atol=0.05 * truth.std())
    assert np.abs(filled[:, 1] - truth).mean() < 0.5 * np.abs(truth.mean() - truth).mean()


@everyone
@pytest.mark.parametrize(("options", "given"), [({"n_draws": 3}, "n_draws=3"), ({"result": "draws"}, "result='draws'")])
def test_draws_are_refused(name: str, options: dict[str, Any], given: str) -> None:
    with pytest.raises(UnsupportedOperationError, match=f"one completion and there is nothing to draw; got {given}"):
        fitted(name).recover(rows(5), **options)
    with pytest.raises(InvalidParameterError, match="n_steps must be an integer of at least 1; got 0"):
        fitted(name).recover(rows(5), n_steps=0)


# What the settings do


def test_sparse_codes_are_sparse() -> None:
    X = digits()
    by_k = trained(SparseAutoencoder, latent_dim=32, top_k=4).transform(X)
    assert (by_k != 0).sum(1).max() == 4
    auto = trained(SparseAutoencoder, latent_dim=32, max_epochs=1)
    assert auto.specification_.posterior_options == {"activation": "identity", "top_k": 4}


@pytest.mark.slow
def test_penalties_make_codes_sparse() -> None:
    X = digits()
    free, sparse = (
        trained(SparseAutoencoder, latent_dim=32, sparsity="l1", sparsity_weight=weight) for weight in (0.0, 10.0)
    )
    assert (sparse.transform(X) > 1e-3).mean() < 0.6 * (free.transform(X) > 1e-3).mean()
    low, high = (trained(SparseAutoencoder, latent_dim=32, sparsity="kl", rate=rate) for rate in (0.05, 0.4))
    assert low.transform(X).mean() < 0.15 < 0.3 < high.transform(X).mean() < 0.5


def test_long_codes_are_the_default_of_sparse_ones() -> None:
    plain, sparse = (kind(max_epochs=1, random_state=0).fit(rows()) for kind in (Autoencoder, SparseAutoencoder))
    assert sparse.latent_dim_ == 4 * plain.latent_dim_


def test_a_denoiser_takes_more_noise_away() -> None:
    X = digits()
    random = np.random.default_rng(0)
    noisy = np.where(random.uniform(size=X.shape) < 0.2, random.choice([0, 240], size=X.shape), X).astype(np.uint8)
    plain = trained(Autoencoder, latent_dim=16, max_epochs=20)
    denoising = trained(
        DenoisingAutoencoder, latent_dim=16, max_epochs=20, corruption="salt_and_pepper", corruption_level=0.2
    )

    def error(model: Any) -> float:
        return float(np.square(model.reconstruct(noisy).astype(float) - X).mean())

    assert error(denoising) < 0.9 * error(plain)


def test_pixels_are_corrupted_within_their_range_and_columns_have_none() -> None:
    options = {"latent_dim": 2, "encoder": (8,), "decoder": (8,), "max_epochs": 1, "random_state": 0}
    bounds = [DenoisingAutoencoder(**options).fit(X)._objective().corruption_bounds for X in (digits(), rows())]
    assert bounds == [(0.0, 1.0), None]


@pytest.mark.parametrize("corruption", ["gaussian", "masking", "salt_and_pepper"])
def test_corruption_changes_training_and_nothing_else(corruption: str) -> None:
    X = rows()
    options = {"latent_dim": 2, "encoder": (8,), "decoder": (8,), "max_epochs": 2, "random_state": 0}
    model = DenoisingAutoencoder(corruption=corruption, **options).fit(X)
    plain = Autoencoder(**options).fit(X)
    assert not np.array_equal(model.transform(X), plain.transform(X))
    np.testing.assert_array_equal(model.transform(X), model.transform(X))


@pytest.fixture(scope="module")
def free() -> Autoencoder:
    """Of the digits, with nothing that holds it back."""
    return trained(Autoencoder, latent_dim=8, latent_l2=0.0)


@pytest.mark.parametrize(
    "penalty", ["l2", "spectral", *(pytest.param(name, marks=pytest.mark.slow) for name in ("contractive", "gradient"))]
)
def test_penalties_hold_back_what_they_penalise(penalty: str, free: Autoencoder) -> None:
    measured = {}
    weight = {} if penalty == "spectral" else {"penalty_weight": 1.0}
    held = trained(Autoencoder, latent_dim=8, penalty=penalty, latent_l2=0.0, **weight)
    for kind, model in (("none", free), (penalty, held)):
        x = model.schema_.to_model(model.schema_.encode(digits()[:20]))
        z = model.model_.encode(x).mean.detach()
        measured[kind] = {
            "contractive": float(jacobian(lambda x, model=model: model.model_.encode(x).mean, x)),
            "gradient": float(jacobian(lambda z, model=model: model.model_.decode(z).mean, z)),
            "l2": float(sum(p.detach().square().sum() for p in model.model_.decoder.parameters() if p.ndim > 1)),
            "spectral": max(
                float(torch.linalg.matrix_norm(layer.weight.detach(), 2))
                for layer in model.model_.decoder.modules()
                if isinstance(layer, torch.nn.Linear)
            ),
        }
    assert measured[penalty][penalty] < 0.8 * measured["none"][penalty]


def jacobian(function: Any, at: torch.Tensor) -> torch.Tensor:
    def squares(row: torch.Tensor) -> torch.Tensor:
        return torch.func.jacrev(lambda one: function(one[None]).flatten())(row).square().sum()

    return torch.stack([squares(row) for row in at]).mean().detach()


def test_the_codes_of_regularised_autoencoders_are_held_back_too(free: Autoencoder) -> None:
    held = trained(Autoencoder, latent_dim=8, latent_l2=1.0)
    assert np.square(held.transform(digits())).sum(1).mean() < 0.5 * np.square(free.transform(digits())).sum(1).mean()


@pytest.mark.parametrize("averaging", [0.0, 0.99])
def test_spectral_norms_survive_saving_and_averaging(averaging: float, tmp_path: Path) -> None:
    model = Autoencoder(penalty="spectral", weight_averaging=averaging, **SMALL).fit(rows())
    assert sum(isinstance(part, SpectralNorm) for part in model.model_.decoder.modules()) == 2
    assert not any(isinstance(part, SpectralNorm) for part in model.model_.encoder.modules())
    for layer in model.model_.decoder.modules():
        if isinstance(layer, torch.nn.Linear):
            torch.testing.assert_close(torch.linalg.matrix_norm(layer.weight, 2), torch.tensor(1.0))
    model.save(tmp_path / "run")
    again = load(tmp_path / "run")
    np.testing.assert_array_equal(again.reconstruct(rows()), model.reconstruct(rows()))
    assert np.isfinite(model.score_samples(rows().astype(np.float64))).all()


def test_a_spectral_decoder_is_not_rescaled_by_a_normalisation() -> None:
    model = Autoencoder(3, penalty="spectral", max_epochs=1, random_state=0).fit(digits()[:50])
    assert model.specification_.decoder["normalization"] == "none"
    assert model.specification_.encoder["normalization"] == "group"


# Bad settings


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("autoencoder", {"penalty": "contractiv"}, "'penalty' .* Did you mean 'contractive'"),
        ("autoencoder", {"penalty_weight": 1.0}, "penalty='none' has no weight; got penalty_weight=1.0. Leave it out"),
        ("autoencoder", {"penalty": "spectral", "penalty_weight": 1.0}, "penalty='spectral' has no weight"),
        ("autoencoder", {"penalty": "l2", "penalty_weight": -1.0}, "'penalty_weight' .* range .0.0, inf"),
        ("autoencoder", {"latent_l2": -1.0}, "'latent_l2' .* range .0.0, inf"),
        ("sparse", {"sparsity": "topk"}, "'sparsity' .* Did you mean 'top_k'"),
        ("sparse", {"sparsity": "l1"}, "sparsity='l1' has no top_k; got top_k=2. It takes sparsity_weight."),
        ("sparse", {"rate": 0.1}, "sparsity='top_k' has no rate; got rate=0.1. It takes top_k."),
        ("sparse", {"sparsity_weight": 0.1}, "sparsity='top_k' has no sparsity_weight"),
        ("sparse", {"rate": 1.0}, "'rate' .* range .0.0, 1.0"),
        ("sparse", {"top_k": 9}, "top_k must be an integer from 1 to 8; got 9. A code has 8 numbers."),
        ("denoising", {"corruption": "mask"}, "'corruption' .* Did you mean 'masking'"),
        ("denoising", {"corruption_level": 0.0}, "'corruption_level' .* range .0.0, inf"),
        ("denoising", {"corruption": "masking", "corruption_level": 1.5}, "corruption_level must be"),
    ],
)
def test_nonsense_is_refused(name: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        MEMBERS[name].make(name, **settings).fit(rows())


def test_all_are_registered() -> None:
    assert {estimators[name] for name in DETERMINISTIC} == {Autoencoder, DenoisingAutoencoder, SparseAutoencoder}
