"""Laws that a fitted model keeps, against closed forms where there are any."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from latentkit import VAE
from tests.estimators.cases import pixels, rows, small


def linear_gaussian(n: int, *, seed: int) -> np.ndarray:
    """Draws from x = W z + b + noise with two latent and six observed dimensions."""
    parameters, random = np.random.default_rng(7), np.random.default_rng(seed)
    weight, offset = parameters.normal(size=(2, 6)), parameters.normal(size=6)
    return random.normal(size=(n, 2)) @ weight + offset + random.normal(scale=0.5, size=(n, 6))


def evidence_of_pca(X: np.ndarray, n_components: int) -> float:
    """Largest mean log-likelihood of probabilistic PCA, in nats.

    With the eigenvalues l_1 >= ... >= l_d of the covariance and the mean s of the last d - q of them,

        max mean log p(x) = -1/2 (d log 2 pi + sum_{i <= q} log l_i + (d - q) log s + d)

    Tipping and Bishop, 1999, Probabilistic Principal Component Analysis, equations 7 and 8.
    """
    d = X.shape[1]
    values = np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]
    noise = values[n_components:].mean()
    return -0.5 * float(
        d * math.log(2 * math.pi) + np.log(values[:n_components]).sum() + (d - n_components) * math.log(noise) + d
    )


def standardised(X: np.ndarray) -> np.ndarray:
    return (X - X.mean(0)) / X.std(0)


@pytest.mark.parametrize("posterior", ["diagonal", pytest.param("full", marks=pytest.mark.slow)])
def test_a_linear_vae_reaches_the_evidence_of_probabilistic_pca(posterior: str) -> None:
    """No maximum of the ELBO lies elsewhere (Lucas et al., 2019, arXiv:1911.02469), and the bound is tight there."""
    X = linear_gaussian(400, seed=0)
    best = evidence_of_pca(standardised(X), 2)
    vae = VAE(
        2,
        encoder=(),
        decoder=(),
        posterior=posterior,
        likelihood="gaussian",
        likelihood_options={"variance": "shared"},
        kl_schedule="constant",
        ex_post="none",
        max_epochs=250,
        batch_size=100,
        learning_rate=2e-2,
        validation_fraction=0,
        random_state=0,
    ).fit(X)
    assert vae.score(X, n_importance=500) == pytest.approx(best, abs=0.02)
    assert vae.score(X, n_importance=1) == pytest.approx(best, abs=0.1)  # one draw: noisy
    eigenvalues = np.linalg.eigvalsh(np.cov(standardised(X).T, bias=True))
    assert vae.model_.likelihood.stddev.item() ** 2 == pytest.approx(eigenvalues[:4].mean(), rel=0.05)


@pytest.mark.slow
def test_no_model_beats_the_maximum_of_its_family(labelled: VAE) -> None:
    """The linear family is contained in none smaller: a model of one latent dimension stays below that of two."""
    X = linear_gaussian(400, seed=0)
    one = VAE(1, encoder=(), decoder=(), max_epochs=60, learning_rate=2e-2, validation_fraction=0, random_state=0)
    assert one.fit(X).score(X, n_importance=200) < evidence_of_pca(standardised(X), 1) + 0.02


@pytest.mark.parametrize(
    ("X", "settings"),
    [
        (rows(200), {"max_epochs": 10}),
        (pixels(60, 8, 8) > 128, {"max_epochs": 30, "learning_rate": 1e-2}),
        pytest.param(pixels(60, 8, 8), {"max_epochs": 10}, marks=pytest.mark.slow),
        pytest.param(rows(200), {"max_epochs": 10, "posterior": "full"}, marks=pytest.mark.slow),
    ],
    ids=["reals", "binary", "pixels", "full posterior"],
)
def test_the_bound_rises_with_the_number_of_draws(X: np.ndarray, settings: dict) -> None:
    """ELBO <= IWAE_5 <= IWAE_50 <= IWAE_500 on average (Burda et al., 2016, theorem 1)."""
    vae = small(**settings).fit(X)
    elbo, *bounds = (vae.score(X, n_importance=k) for k in (1, 5, 50, 500))
    assert elbo < bounds[0] < bounds[1] < bounds[2] + 0.05  # where the bound is tight, the rest is noise
    sizes = [vae.log_likelihood(X, n_importance=k).effective_sample_size.mean() for k in (1, 5, 50)]
    assert sizes[0] == 1.0
    assert sizes[0] < sizes[1] < sizes[2]


def test_iwae_trains_a_better_iwae_bound_than_it_starts_with() -> None:
    X = rows(200)
    scores = [small(objective="iwae", max_epochs=n, learning_rate=1e-2).fit(X).score(X) for n in (1, 30)]
    assert scores[1] > scores[0] + 1.0


@pytest.mark.slow
def test_more_weight_on_the_divergence_makes_it_smaller() -> None:
    X = rows(200)
    kl = [small(beta=b, max_epochs=30, learning_rate=1e-2).fit(X).history_[-1]["kl"] for b in (0.1, 1.0, 10.0)]
    assert kl[0] > kl[1] > kl[2] >= 0


@pytest.mark.slow
def test_free_bits_keep_the_divergence_up() -> None:
    X = np.random.default_rng(0).normal(size=(200, 4))  # nothing to compress: without them the posterior collapses
    settings = {"max_epochs": 40, "learning_rate": 1e-2}
    collapsed, kept = (small(**settings, free_bits=f).fit(X).history_[-1]["kl"] for f in (0.0, 2.0))
    assert kept > collapsed + 1.0


def test_training_starts_at_the_mean_of_the_data() -> None:
    X = np.random.default_rng(0).uniform(size=(500, 4)) < [0.05, 0.3, 0.7, 0.95]
    vae = small(encoder=(), decoder=(), max_epochs=1, learning_rate=1e-9, validation_fraction=0).fit(X)
    start = vae.model_.decode(torch.zeros(1, 3)).mean[0].detach()
    np.testing.assert_allclose(start.numpy(), X.mean(0), atol=0.02)


def test_what_the_history_says_is_what_the_model_gives() -> None:
    X = rows(400)
    vae = small(max_epochs=40, learning_rate=1e-2, validation_fraction=0.5, patience=None).fit(X)
    best = vae.history_[vae.best_epoch_ - 1]
    assert best["validation"] == max(record["validation"] for record in vae.history_)
    assert vae.score(X, n_importance=1) == pytest.approx((best["validation"] + best["objective"]) / 2, abs=0.35)


def test_an_outlier_scores_lower_than_the_data(labelled: VAE) -> None:
    X = rows(300)
    assert labelled.score_samples(X + 20 * X.std(0)).max() < np.quantile(labelled.score_samples(X), 0.05)


def test_samples_have_the_moments_of_the_data(labelled: VAE) -> None:
    X, drawn = rows(300), labelled.sample(3000, random_state=1)
    np.testing.assert_array_less(np.abs(drawn.mean(0) - X.mean(0)), 0.25 * X.std(0))
    np.testing.assert_allclose(drawn.std(0), X.std(0), rtol=0.3)
    assert np.abs(np.corrcoef(drawn.T) - np.corrcoef(X.T)).max() < 0.25
