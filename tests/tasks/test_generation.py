from __future__ import annotations

import pytest
import torch

from latentkit.core.errors import InvalidParameterError
from latentkit.distributions import GaussianMixture, StandardNormal
from latentkit.tasks import decode, denoise, encode, reconstruct, sample, sample_latents, tempered
from tests.evaluation.linear_gaussian import LinearGaussian


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def mixture() -> GaussianMixture:
    means = torch.tensor([[-5.0, 0.0], [5.0, 1.0]])
    cholesky = torch.tensor([[[1.0, 0.0], [0.5, 0.5]], [[0.3, 0.0], [0.0, 2.0]]])
    return GaussianMixture(torch.tensor([0.25, 0.75]).log(), means, cholesky)


@pytest.mark.parametrize("n", [0, 1, 7])
@pytest.mark.parametrize("draw", ["mean", "mode", "sample"])
def test_samples_are_exactly_n(n: int, draw: str) -> None:
    model = LinearGaussian((1, 2, 2))
    x = sample(model, model.prior(), n, generator=seeded(), draw=draw)  # type: ignore[arg-type]
    assert x.shape == (n, 1, 2, 2)
    assert torch.equal(x, sample(model, model.prior(), n, generator=seeded(), draw=draw))  # type: ignore[arg-type]


def test_samples_have_the_moments_of_the_model() -> None:
    model = LinearGaussian((3,))
    x = sample(model, model.prior(), 40000, generator=seeded(), draw="sample")
    covariance = model.weight @ model.weight.mT + model.stddev**2 * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(x.mean(0), model.bias, atol=0.05, rtol=0)
    torch.testing.assert_close(x.T.cov(), covariance, atol=0.05, rtol=0.03)


def test_temperature_scales_the_spread_of_a_normal() -> None:
    z = sample_latents(StandardNormal(3), 20000, temperature=0.5, generator=seeded())
    torch.testing.assert_close(z.std(0), torch.full((3,), 0.5), atol=0.01, rtol=0)
    assert torch.equal(z, 0.5 * sample_latents(StandardNormal(3), 20000, generator=seeded()))


def test_temperature_scales_a_mixture_within_its_components(mixture: GaussianMixture) -> None:
    centres = sample_latents(mixture, 4000, temperature=0.0, generator=seeded())
    first = (centres == mixture.means[0]).all(1)
    assert (first | (centres == mixture.means[1]).all(1)).all()
    assert float(first.float().mean()) == pytest.approx(0.25, abs=0.03)
    wide = sample_latents(mixture, 40000, temperature=2.0, generator=seeded())
    right = wide[wide[:, 0] > 2.5]
    torch.testing.assert_close(right.std(0), torch.tensor([0.6, 4.0]), atol=0.05, rtol=0.03)
    torch.testing.assert_close(right.mean(0), mixture.means[1], atol=0.1, rtol=0)


def test_tempered_density_is_normalised() -> None:
    scaled = tempered(StandardNormal(1), 0.5)
    grid = torch.linspace(-6, 6, 2001, dtype=torch.float64)[:, None]
    assert float(torch.trapezoid(scaled.log_prob(grid).exp(), grid[:, 0])) == pytest.approx(1.0, abs=1e-6)
    expected = torch.distributions.Normal(torch.zeros(1).double(), 0.5).log_prob(grid).sum(-1)
    torch.testing.assert_close(scaled.log_prob(grid), expected)
    assert torch.equal(scaled.mean, torch.zeros(1))
    assert scaled.sample(generator=seeded()).shape == (1,)
    prior = StandardNormal(2)
    assert tempered(prior, 1.0) is prior


def test_encoding_and_reconstruction_of_the_exact_posterior() -> None:
    model = LinearGaussian()
    x = model.draw(4000)
    mean, covariance = model.posterior(x)
    torch.testing.assert_close(encode(model, x), mean)
    draws = encode(model, x, draw="sample", generator=seeded())
    torch.testing.assert_close((draws - mean).T.cov(), covariance, atol=0.02, rtol=0.1)
    torch.testing.assert_close(reconstruct(model, x), mean @ model.weight.mT + model.bias)
    drawn = reconstruct(model, x, latent="sample", draw="sample", generator=seeded())
    noise = model.weight @ covariance @ model.weight.mT + model.stddev**2 * torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close((drawn - reconstruct(model, x)).T.cov(), noise, atol=0.04, rtol=0.1)


def test_denoising_comes_closer_to_the_clean_data() -> None:
    model = LinearGaussian((8,), stddev=0.6)
    z = torch.randn(500, 2, dtype=torch.float64, generator=seeded())
    clean = decode(model, z)
    noisy = model.decode(z).sample(generator=seeded(1))
    for n_draws in (0, 20):
        error = (denoise(model, noisy, n_draws=n_draws, generator=seeded()) - clean).square().mean()
        assert error < 0.4 * (noisy - clean).square().mean()
    # the decoder is linear: the average over draws tends to the decoded mean
    average = denoise(model, noisy[:3], n_draws=3000, generator=seeded())
    torch.testing.assert_close(average, denoise(model, noisy[:3]), atol=0.06, rtol=0)


def test_results_carry_no_gradient() -> None:
    model = LinearGaussian()
    x = model.draw(2).requires_grad_()
    for result in (encode(model, x), reconstruct(model, x), denoise(model, x), denoise(model, x, n_draws=2)):
        assert not result.requires_grad


def test_wrong_options_are_named() -> None:
    model = LinearGaussian()
    x = model.draw(2)
    with pytest.raises(InvalidParameterError, match="n must be an integer of at least 0; got -1"):
        sample(model, model.prior(), -1)
    with pytest.raises(InvalidParameterError, match="temperature must be a float in"):
        sample(model, model.prior(), 1, temperature=-0.1)
    with pytest.raises(InvalidParameterError, match="draw must be one of: mean, mode, sample; got 'median'"):
        decode(model, x[:, :2], draw="median")  # type: ignore[arg-type]
    with pytest.raises(InvalidParameterError, match="latent must be one of"):
        reconstruct(model, x, latent="mode")  # type: ignore[arg-type]
    with pytest.raises(InvalidParameterError, match="draw must be one of: mean, sample"):
        encode(model, x, draw="mode")  # type: ignore[arg-type]
    with pytest.raises(InvalidParameterError, match="n_draws"):
        denoise(model, x, n_draws=-1)
