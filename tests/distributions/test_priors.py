"""Priors: a contract over the registry and the fitted mixture, and the oracles."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch import distributions as oracle

from latentkit.core import seeds
from latentkit.core.errors import InvalidParameterError
from latentkit.core.protocols import Distribution, Posterior
from latentkit.distributions import (
    DiagonalGaussian,
    FlowPrior,
    GaussianMixturePrior,
    Prior,
    StandardNormal,
    VonMisesFisher,
    kl_divergence,
    posteriors,
    priors,
)

DOUBLE = torch.float64
#: Options that make a prior small enough for tests, and further variants of one.
SMALL = {
    "vamp": {"n_components": 4},
    "mixture": {"n_components": 4},
    "flow": {"n_layers": 3, "width": 8},
    "autoregressive": {"n_layers": 2, "width": 8},
}
VARIANTS = {"spline": ("flow", {"n_layers": 2, "width": 8, "transform": "spline"})}
CASES = [*priors, *VARIANTS, "fitted"]
everyone = pytest.mark.parametrize("name", CASES)
learnt = pytest.mark.parametrize("name", [name for name in CASES if name not in ("normal", "spherical", "fitted")])


def _numbers(*shape: int, seed: str = "numbers") -> torch.Tensor:
    return torch.randn(shape, generator=seeds.generator(0, seed), dtype=DOUBLE)


def _mixture(latent_dim: int = 3) -> GaussianMixturePrior:
    factors = _numbers(4, latent_dim, latent_dim, seed="factors").tril(-1)
    factors = factors + torch.diag_embed(_numbers(4, latent_dim, seed="diagonal").exp())
    return GaussianMixturePrior(torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=DOUBLE), 2 * _numbers(4, latent_dim), factors)


def _oracle(prior: Prior) -> oracle.Distribution:
    if isinstance(prior, GaussianMixturePrior):
        components = oracle.MultivariateNormal(prior.means, scale_tril=prior.cholesky)
        return oracle.MixtureSameFamily(oracle.Categorical(logits=prior.log_weights), components)
    return oracle.Independent(oracle.Normal(torch.zeros(3, dtype=DOUBLE), torch.ones(3, dtype=DOUBLE)), 1)


def _build(name: str, latent_dim: int = 3) -> Prior:
    """A prior as it is made."""
    if name == "fitted":
        return _mixture(latent_dim)
    kind, options = VARIANTS.get(name, (name, SMALL.get(name, {})))
    shape = ((5,),) if priors[kind].is_made_of_posteriors else ()
    return priors[kind](latent_dim, *shape, **options)


def _prior(name: str, latent_dim: int = 3) -> Prior:
    """A prior whose parameters are away from where they start."""
    prior = _build(name, latent_dim)
    random = seeds.generator(0, "prior")
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.normal_(0.0, 0.4, generator=random)
    return prior.double()


def _encode(x: Tensor) -> Posterior:
    """A small encoder in the dtype of x, for any number of latent dimensions that the test asks for."""
    weights = _numbers(5, 2 * _encode.latent_dim, seed="encoder").to(x)
    return DiagonalGaussian.from_parameters(x @ weights)


def _distribution(prior: Prior) -> Distribution:
    _encode.latent_dim = prior.latent_dim
    return prior(_encode)


def _value(prior: Prior, *shape: int) -> Tensor:
    """Somewhere in the prior's support."""
    z = _numbers(*shape, prior.latent_dim, seed="z")
    return z / z.norm(dim=-1, keepdim=True) if prior.support == "sphere" else z


@everyone
def test_shapes_and_precision(name) -> None:
    prior = _prior(name)
    p = _distribution(prior)
    assert isinstance(p, Distribution)
    assert prior.latent_dim == 3
    assert p.mean.shape == p.stddev.shape == p.sample().shape == (3,)
    assert p.sample(5).shape == (5, 3)
    assert p.sample(0).shape == (0, 3)
    assert p.log_prob(_value(prior)).shape == ()
    assert p.log_prob(_value(prior, 4, 7)).shape == (4, 7)
    assert p.mean.dtype is p.stddev.dtype is p.sample(2).dtype is p.log_prob(_value(prior, 2)).dtype is DOUBLE
    assert not p.sample(2).requires_grad
    low = _value(prior, 7).bfloat16()
    prior = prior.float()
    expected = _distribution(prior).log_prob(low.float())
    assert expected.dtype is torch.float32
    if not prior.is_made_of_posteriors:  # whose encoder may compute in low precision
        with torch.autocast("cpu", dtype=torch.bfloat16):
            actual = _distribution(prior).log_prob(low)
        assert actual.dtype is torch.float32
        assert torch.equal(actual, expected)


@everyone
def test_moments_of_draws(name) -> None:
    p = _distribution(_prior(name))
    z = p.sample(20000, generator=seeds.generator(1))
    estimated = 5 / 1024**0.5 if name in ("flow", "spline", "autoregressive") else 0.0
    assert ((z.mean(0) - p.mean).abs() <= (5 / 20000**0.5 + estimated) * p.stddev).all()
    torch.testing.assert_close(z.std(0), p.stddev, rtol=0.04 + estimated, atol=0.0)


@everyone
@pytest.mark.parametrize("latent_dim", [1, 2, 3])
def test_density_integrates_to_one_and_is_that_of_the_draws(name, latent_dim) -> None:
    """Draws from it and from a known distribution, half and half: the known density over the mean of both."""
    if name == "spherical" and latent_dim == 1:
        pytest.skip(reason="there is no sphere in one dimension")
    p = _distribution(_prior(name, latent_dim))
    n = 20000
    if name == "spherical":
        known = VonMisesFisher(nn.functional.one_hot(torch.tensor(0), latent_dim).double(), torch.tensor(2.0).double())
        others = known.sample(n, generator=seeds.generator(3))
    else:
        known = oracle.Independent(oracle.Normal(p.mean, 2 * p.stddev), 1)
        others = p.mean + 2 * p.stddev * _numbers(n, latent_dim, seed="others")
    with torch.no_grad():
        z = torch.cat([p.sample(n, generator=seeds.generator(2)), others])
        log_prob, log_known = p.log_prob(z), known.log_prob(z)
        ratio = (log_known - torch.logaddexp(log_prob, log_known) + math.log(2)).exp()
    assert abs(ratio.mean() - 1) <= 5 * ratio.std() / (2 * n) ** 0.5


@everyone
@pytest.mark.parametrize("latent_dim", [1, 2])
def test_density_by_quadrature(name, latent_dim) -> None:
    if name == "spherical":
        pytest.skip(reason="its density is the constant that its own test checks")
    p = _distribution(_prior(name, latent_dim))
    reach = 25 if name == "fitted" else 12.5
    line = torch.arange(-reach, reach, 0.0625, dtype=DOUBLE)
    grid = torch.cartesian_prod(*[line] * latent_dim).reshape(-1, latent_dim)
    with torch.no_grad():
        mass = p.log_prob(grid).exp().sum() * (line[1] - line[0]) ** latent_dim
    assert abs(mass - 1) < 2e-3


@everyone
def test_draws_follow_the_generator_alone(name) -> None:
    p = _distribution(_prior(name))
    before = torch.random.get_rng_state()
    for n in (None, 1, 9):
        assert torch.equal(p.sample(n, generator=seeds.generator(1)), p.sample(n, generator=seeds.generator(1)))
    assert not torch.equal(p.sample(3, generator=seeds.generator(1)), p.sample(3, generator=seeds.generator(2)))
    _ = p.mean, p.stddev, repr(p), repr(_prior(name))
    if name not in ("mixture", "vamp", "flow", "spline", "autoregressive"):  # whose construction draws weights
        assert torch.equal(before, torch.random.get_rng_state())


@everyone
def test_gradient_reaches_z(name) -> None:
    prior = _prior(name)
    p = _distribution(prior)
    z = _value(prior, 4).requires_grad_()
    if name == "spherical":
        assert not p.log_prob(z).requires_grad
    else:
        assert torch.autograd.gradcheck(p.log_prob, (z,))


@learnt
def test_gradient_reaches_every_parameter(name) -> None:
    prior = _prior(name)
    value = _distribution(prior).log_prob(3 * _value(prior, 50)).sum()
    for gradient in torch.autograd.grad(value, list(prior.parameters())):
        assert gradient.isfinite().all()
        assert (gradient != 0).any()


@learnt
def test_training_raises_the_likelihood_of_data(name) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prior = _build(name, 2)
    z = torch.cat([_numbers(100, 2) * 0.3 + 2, _numbers(100, 2, seed="more") * 0.3 - 2]).float()
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.02)
    losses = []
    for _ in range(40):
        loss = -_distribution(prior).log_prob(z).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.5


@everyone
def test_state_goes_round(name) -> None:
    prior = _prior(name).float()
    other = _build(name).float()
    other.load_state_dict(prior.state_dict())
    z = _value(prior, 7).float()
    assert torch.equal(_distribution(other).log_prob(z), _distribution(prior).log_prob(z))
    draws = [_distribution(either).sample(5, generator=seeds.generator(1)) for either in (prior, other)]
    assert torch.equal(*draws)


@everyone
@pytest.mark.parametrize("posterior", [name for name in posteriors if posteriors[name].has_density])
def test_divergence_of_every_posterior(name, posterior) -> None:
    """Closed form or one draw: finite, with gradients, and on average not below zero."""
    prior = _prior(name).float()
    if prior.support not in (posteriors[posterior].support, "posterior"):
        pytest.skip(reason="they do not live on the same space")
    family = posteriors[posterior](3, **({"width": 8, "context_dim": 2} if posterior == "flow" else {}))
    encoder = nn.Linear(5, family.n_parameters)

    def encode(x: Tensor) -> Posterior:
        return family(encoder(x))

    q = encode(_numbers(8, 5).float())
    p = prior(encode)
    one = kl_divergence(q, p, z=q.rsample())
    assert one.shape == (8,)
    for gradient in torch.autograd.grad(one.sum(), list(encoder.parameters())):
        assert gradient.isfinite().all()
        assert (gradient != 0).any()
    assert (kl_divergence(q, p, z=q.sample(500, generator=seeds.generator(1))) > -0.2).all()
    assert p.sample(5, generator=seeds.generator(1)).shape == (5, 3)


@pytest.mark.parametrize("name", ["normal", "fitted"])
def test_against_torch(name) -> None:
    prior = _prior(name)
    z = 3 * _numbers(4, 7, 3, seed="z")
    expected = _oracle(prior)
    torch.testing.assert_close(prior().log_prob(z), expected.log_prob(z))
    torch.testing.assert_close(prior().mean, expected.mean)
    torch.testing.assert_close(prior().stddev, expected.variance.sqrt())


def test_standard_normal_alone_is_on_the_cpu_in_single_precision() -> None:
    p = StandardNormal(2)
    assert p.sample(3, generator=seeds.generator(0)).dtype is p.mean.dtype is torch.float32
    assert p.mean.tolist() == [0.0, 0.0]
    assert p.stddev.tolist() == [1.0, 1.0]


def test_mixture_state_goes_round_exactly() -> None:
    prior = _mixture().float()
    again = GaussianMixturePrior.from_state_dict(prior.state_dict())
    z = _numbers(7, 3).float()
    assert set(prior.state_dict()) == {"log_weights", "means", "cholesky"}
    assert not list(prior.parameters())
    for name, value in prior.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    assert torch.equal(again().log_prob(z), prior().log_prob(z))


def test_mixture_weights_are_normalised() -> None:
    torch.testing.assert_close(_mixture().log_weights.exp(), torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=DOUBLE))


@pytest.mark.parametrize(
    ("weights", "means", "cholesky", "message"),
    [
        (torch.ones(2), torch.zeros(3, 2), torch.eye(2).expand(3, 2, 2), r"got shapes \(2,\), \(3, 2\)"),
        (torch.ones(3), torch.zeros(3), torch.eye(2).expand(3, 2, 2), "a mixture needs weights"),
        (torch.ones(3), torch.zeros(3, 2), torch.eye(2), "a mixture needs weights"),
        (torch.tensor([1.0, 0.0]), torch.zeros(2, 2), torch.eye(2).expand(2, 2, 2), "weights above zero"),
        (torch.ones(2), torch.zeros(2, 2), -torch.eye(2).expand(2, 2, 2), "diagonal above zero"),
        (torch.ones(2), torch.full((2, 2), torch.nan), torch.eye(2).expand(2, 2, 2), "finite numbers"),
    ],
)
def test_mixture_refuses(weights, means, cholesky, message) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        GaussianMixturePrior(weights, means, cholesky)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: priors["normal"](0), "latent_dim must be an integer of at least 1; got 0"),
        (lambda: priors["mixture"](0), "latent_dim must be an integer of at least 1; got 0"),
        (lambda: priors["mixture"](2, n_components=0), "n_components must be an integer of at least 1; got 0"),
        (lambda: priors["vamp"](0, (5,)), "latent_dim must be an integer of at least 1; got 0"),
        (lambda: priors["vamp"](2, (5,), n_components=0), "n_components must be an integer of at least 1; got 0"),
        (lambda: priors["flow"](0), "latent_dim must be an integer of at least 1; got 0"),
        (lambda: priors["flow"](2, n_layers=0), "n_layers must be an integer of at least 1; got 0"),
        (lambda: priors["flow"](2, width=0), "width must be an integer of at least 1; got 0"),
        (lambda: priors["flow"](2, transform="afine"), "transform must be one of: affine, spline; .*mean 'affine'"),
        (lambda: priors["autoregressive"](0), "latent_dim must be an integer of at least 1; got 0"),
        (lambda: priors["autoregressive"](2, n_layers=0), "n_layers must be an integer of at least 1; got 0"),
        (
            lambda: priors["autoregressive"](9, width=8),
            "width must be an integer of at least 9; got 8.* unit of its own",
        ),
        (lambda: priors["spherical"](1), "latent_dim must be an integer of at least 2; got 1.* is two points"),
    ],
)
def test_refused_options(build, message) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        build()


@pytest.mark.parametrize("name", ["flow", "autoregressive", "spline"])
@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_flows_start_as_the_standard_normal(name, latent_dim) -> None:
    prior = _build(name, latent_dim)
    z = _numbers(7, latent_dim).float()
    torch.testing.assert_close(prior().log_prob(z), StandardNormal(latent_dim).log_prob(z))
    torch.testing.assert_close(prior().mean, torch.zeros(latent_dim), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(prior().stddev, torch.ones(latent_dim))


def test_splines_stay_invertible_outside_their_interval() -> None:
    p = _prior("spline", 2)()
    z = 20 * _numbers(50, 2)
    noise, _ = p._bijection(z)
    torch.testing.assert_close(p._bijection(noise, inverse=True)[0], z)


def test_a_flow_in_one_dimension_is_any_gaussian() -> None:
    prior = FlowPrior(1, n_layers=1).double()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.fill_(0.5)
    p = prior()
    expected = oracle.Normal(p.mean, p.stddev)
    z = _numbers(9, 1)
    torch.testing.assert_close(p.log_prob(z), expected.log_prob(z).sum(-1))
