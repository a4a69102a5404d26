from __future__ import annotations

import warnings

import pytest
import torch

from latentkit.core.errors import InvalidParameterError
from latentkit.distributions import GaussianMixturePrior
from latentkit.evaluation import frechet_distance
from latentkit.tasks import FitBudget, Latents, fit_class_priors, fit_mixture_prior
from latentkit.tasks.ex_post import mixture as fitting
from latentkit.tasks.ex_post.mixture import MixtureFamily


def clusters(n: int = 3000, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    centres = torch.tensor([[-4.0, 0.0, 0.0], [4.0, 0.0, 1.0], [0.0, 5.0, -1.0]])
    means = centres[labels] + 0.5 * torch.randn(n, 3, generator=generator)
    return means, torch.full((n, 3), -2.0), labels


def test_the_mixture_fits_the_aggregate_posterior() -> None:
    means, log_vars, _ = clusters()
    prior = fit_mixture_prior(means, log_vars, n_components=3)
    assert isinstance(prior, GaussianMixturePrior)
    assert prior.means.dtype == torch.float32
    held_out, _, _ = clusters(seed=9)
    generator = torch.Generator().manual_seed(1)
    z = held_out + torch.exp(torch.tensor(-1.0)) * torch.randn(held_out.shape, generator=generator)
    # the entropy of the true mixture: three separate Gaussians of variance 0.25 + exp(-2)
    variance = torch.tensor(0.25) + torch.exp(torch.tensor(-2.0))
    entropy = torch.log(torch.tensor(3.0)) + 1.5 * torch.log(2 * torch.pi * torch.e * variance)
    assert float(-prior().log_prob(z).mean()) == pytest.approx(float(entropy), abs=0.06)
    drawn = prior().sample(3000, generator=generator)
    assert frechet_distance(drawn, z) < 0.1


def test_the_noise_of_the_posteriors_counts() -> None:
    means = torch.zeros(500, 2)
    log_vars = torch.log(torch.tensor([4.0, 0.25])).expand(500, 2)
    stddev = fit_mixture_prior(means, log_vars, n_components=1)().stddev
    torch.testing.assert_close(stddev, torch.tensor([2.0, 0.5]), rtol=0.06, atol=0)
    draws = means + torch.tensor([3.0, 1.0]) * torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    stddev = fit_mixture_prior(draws, n_components=1)().stddev
    torch.testing.assert_close(stddev, draws.std(0, correction=0), rtol=1e-3, atol=0)


def test_equal_seeds_give_equal_priors() -> None:
    means, log_vars, _ = clusters(400)
    first, second, other = (fit_mixture_prior(means, log_vars, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["means"], other["means"])


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    fit_mixture_prior(*clusters(100)[:2])
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("n", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("latent_dim", [1, 2, 16])
@pytest.mark.parametrize("kind", ["usual", "equal rows", "one flat dimension", "large", "tiny", "draws"])
def test_few_and_odd_rows_give_a_usable_prior(n: int, latent_dim: int, kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(n, latent_dim, generator=generator)
    log_vars: torch.Tensor | None = torch.full((n, latent_dim), -3.0)
    if kind == "equal rows":
        means = means[:1].expand(n, latent_dim)
        log_vars = None
    elif kind == "one flat dimension":
        means[:, 0] = 2.0
        log_vars = None
    elif kind in ("large", "tiny"):
        means = means * (1e6 if kind == "large" else 1e-6)
    elif kind == "draws":
        log_vars = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prior = fit_mixture_prior(means, log_vars)
    assert prior.latent_dim == latent_dim
    z = prior().sample(100, generator=generator)
    assert z.shape == (100, latent_dim)
    assert torch.isfinite(z).all()
    assert torch.isfinite(prior().log_prob(z)).all()
    assert (prior.cholesky.diagonal(dim1=-2, dim2=-1) > 0).all()
    scale = means.abs().max() + 1
    assert (z - means.mean(0)).abs().max() < 20 * scale


def test_components_are_fewer_where_rows_are_few() -> None:
    means, log_vars, _ = clusters(40)
    assert len(fit_mixture_prior(means, log_vars, n_components=10).log_weights) <= 5  # 40 // (2 * 4)
    assert len(fit_mixture_prior(means[:15], log_vars[:15]).log_weights) == 1
    assert len(fit_mixture_prior(*clusters(2000)[:2], n_components=10).log_weights) == 10


def test_held_out_rows_choose_the_number_of_components() -> None:
    means, log_vars, _ = clusters()
    assert len(fit_mixture_prior(means, log_vars).log_weights) == 3
    one = torch.randn(3000, 3, generator=torch.Generator().manual_seed(0))
    assert len(fit_mixture_prior(one).log_weights) == 1
    # a ring is no sum of few Gaussians
    angle = 6.2832 * torch.rand(4000, generator=torch.Generator().manual_seed(0))
    ring = torch.stack((angle.cos(), angle.sin()), dim=1)
    ring += 0.05 * torch.randn(ring.shape, generator=torch.Generator().manual_seed(1))
    chosen, ten = fit_mixture_prior(ring), fit_mixture_prior(ring, n_components=3)
    assert len(chosen.log_weights) >= 10
    assert chosen().log_prob(ring).mean() > ten().log_prob(ring).mean() + 0.1


def test_a_failing_fit_falls_back_to_fewer_components(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def fail(rows: object, n_components: int, **options: object) -> None:
        tried.append(n_components)

    monkeypatch.setattr(fitting, "_expectation_maximization", fail)
    means, log_vars, _ = clusters(500)
    prior = fit_mixture_prior(means, log_vars, n_components=10)
    assert tried == [10, 5, 2]
    torch.testing.assert_close(prior().mean, means.mean(0), atol=0.1, rtol=0)


def test_scikit_learn_failing_is_a_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.mixture import GaussianMixture

    def fail(self: object, X: object) -> None:
        raise ValueError("ill-defined empirical covariance")

    monkeypatch.setattr(GaussianMixture, "fit", fail)
    assert len(fit_mixture_prior(*clusters(500)[:2]).log_weights) == 1


def test_slow_convergence_is_not_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    # rows that repeat: fewer distinct points than components
    means = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]]).repeat(100, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prior = fit_mixture_prior(means)
    assert (prior.log_weights.exp() > 1e-7).all()


def test_at_most_max_rows_are_used() -> None:
    means, log_vars, _ = clusters(1000)
    means[500:] += 100.0
    prior = fit_mixture_prior(means, log_vars, n_components=1, max_rows=300)
    # a random part of the rows, not the first ones
    assert 30 < float(prior().mean[0]) < 70


def test_classes_have_priors_of_their_own() -> None:
    means, log_vars, labels = clusters(300)
    names = [("a", "b", "c")[int(label)] for label in labels]
    names[-1] = "single"
    fitted = fit_class_priors(means, log_vars, names)
    assert list(fitted) == ["a", "b", "c", "single"]
    for label, centre in (("a", -4.0), ("b", 4.0), ("c", 0.0)):
        assert float(fitted[label]().mean[0]) == pytest.approx(centre, abs=0.3)
    torch.testing.assert_close(fitted["single"]().mean, means[-1], atol=0.05, rtol=0)
    alone = fit_class_priors(means[labels == 1], log_vars[labels == 1], ["b"] * 100)
    assert torch.equal(alone["b"].means, fitted["b"].means)


def test_classes_of_many_rows_make_the_prior_of_all() -> None:
    means, log_vars, labels = clusters(900)
    labels[:300] = 0  # 500, 200 and 200 rows
    latents = Latents(means=means, log_vars=log_vars, classes=labels, n_classes=3)
    priors = MixtureFamily(n_components=2).fit(latents, FitBudget())
    parts = torch.stack([part().log_prob(means) for part in priors.classes])
    shares = torch.tensor([5.0, 2.0, 2.0]).log() - torch.tensor(9.0).log()
    expected = torch.logsumexp(shares[:, None] + parts, dim=0)
    torch.testing.assert_close(priors.whole().log_prob(means), expected, rtol=1e-4, atol=1e-4)
    few = latents.of(torch.arange(890, 900))
    lone = MixtureFamily(n_components=2).fit(few, FitBudget())
    assert len(lone.whole.log_weights) < sum(len(part.log_weights) for part in lone.classes)


def test_wrong_input_is_named() -> None:
    means, log_vars, _ = clusters(10)
    with pytest.raises(InvalidParameterError, match="n_components must be an integer of at least 1; got 0"):
        fit_mixture_prior(means, n_components=0)
    with pytest.raises(InvalidParameterError, match="max_rows"):
        fit_mixture_prior(means, max_rows=0)
    with pytest.raises(InvalidParameterError, match="at least 1 latent vector"):
        fit_mixture_prior(means[:0])
    with pytest.raises(InvalidParameterError, match="at least 1 latent vector"):
        fit_mixture_prior(means[0])
    with pytest.raises(InvalidParameterError, match="one shape"):
        fit_mixture_prior(means, log_vars[:2])
    with pytest.raises(InvalidParameterError, match="must be finite"):
        fit_mixture_prior(torch.full((3, 2), torch.nan))
    with pytest.raises(InvalidParameterError, match="must be finite"):
        fit_mixture_prior(means, torch.full_like(log_vars, torch.inf))
    with pytest.raises(InvalidParameterError, match="one value per row; got 2 for 10 rows"):
        fit_class_priors(means, log_vars, ["a", "b"])
