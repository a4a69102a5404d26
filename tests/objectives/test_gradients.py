"""The gradient estimators against the gradient of the bound, both by quadrature: no chance is involved."""

from __future__ import annotations

import pytest
import torch

from latentkit.core import seeds
from latentkit.core.protocols import Batch
from latentkit.objectives import BetaTc, Ciwae, Dip, Dreg, Elbo, Iwae, Miwae, Stl

X = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)


def _log_weights(parameters: list[torch.Tensor], z: torch.Tensor, kl_weight: float) -> torch.Tensor:
    """log p(x | z) + weight (log p(z) - log q(z)) of the model `Tiny`, by torch.distributions."""
    posterior, weight, bias = parameters
    q = torch.distributions.Normal(posterior[0], (10 * torch.tanh(posterior[1] / 20)).exp())
    p = torch.distributions.Bernoulli(logits=torch.sin(z) * weight + bias)
    prior = torch.distributions.Normal(torch.zeros_like(posterior[0]), 1.0)
    return p.log_prob(X).sum(-1) + kl_weight * (prior.log_prob(z) - q.log_prob(z)).squeeze(-1)


def _true_gradient(model, noise, node_weights, kl_weight: float) -> list[torch.Tensor]:
    """Central differences of the bound by quadrature, in each parameter."""

    def bound(parameters: list[torch.Tensor]) -> torch.Tensor:
        posterior = parameters[0]
        z = posterior[0] + (10 * torch.tanh(posterior[1] / 20)).exp() * noise
        log_weights = _log_weights(parameters, z, kl_weight)
        return (node_weights * (torch.logsumexp(log_weights, 0) - torch.tensor(len(noise)).log())).sum()

    parameters = [parameter.detach().clone() for parameter in model.parameters()]
    gradients = [torch.zeros_like(parameter) for parameter in parameters]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        for i in range(len(parameter)):
            values = []
            for step in (1e-5, -1e-5):
                parameter[i] += step
                values.append(bound(parameters))
                parameter[i] -= step
            gradient[i] = (values[0] - values[1]) / 2e-5
    return gradients


def _estimated_gradient(objective, model, noise, node_weights, use_noise, kl_weight: float) -> list[torch.Tensor]:
    """Expectation of the estimator: its gradient at each node, weighted."""
    use_noise(noise if hasattr(objective, "n_importance") else noise[0])
    terms = objective(model, Batch(X.expand(noise.shape[1], 3)), kl_weight=kl_weight)
    return list(torch.autograd.grad((node_weights * terms.objective).sum(), list(model.parameters())))


UNBIASED = [Elbo(), Stl(), Iwae(n_importance=1), Iwae(n_importance=2), Dreg(n_importance=1), Dreg(n_importance=2)]


@pytest.mark.parametrize("kl_weight", [1.0, 0.3])
@pytest.mark.parametrize("objective", UNBIASED, ids=repr)
def test_expected_gradient_is_that_of_the_bound(tiny, quadrature, use_noise, objective, kl_weight) -> None:
    noise, node_weights = quadrature(getattr(objective, "n_importance", 1))
    expected = _true_gradient(tiny, noise, node_weights, kl_weight)
    actual = _estimated_gradient(objective, tiny, noise, node_weights, use_noise, kl_weight)
    assert all((gradient.abs() > 1e-3).all() for gradient in expected)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-7)


def test_stl_with_several_draws_is_right_for_the_decoder_and_biased_for_the_encoder(
    tiny, quadrature, use_noise
) -> None:
    noise, node_weights = quadrature(2)
    expected = _true_gradient(tiny, noise, node_weights, 1.0)
    actual = _estimated_gradient(Stl(n_importance=2), tiny, noise, node_weights, use_noise, 1.0)
    torch.testing.assert_close(actual[1:], expected[1:], rtol=1e-5, atol=1e-7)
    assert not torch.allclose(actual[0], expected[0], rtol=0.05)


@pytest.mark.parametrize("kl_weight", [1.0, 0.3])
def test_estimators_are_the_formulas_of_their_articles(tiny, use_noise, kl_weight) -> None:
    """For one given set of draws: sum_k f(v_k) d log w_k / d z_k d z_k / d phi, with q's own parameters held."""
    noise = torch.randn(4, 1, 1, generator=seeds.generator(0), dtype=torch.float64)
    use_noise(noise)
    posterior = tiny.posterior.detach().clone().requires_grad_()
    z = posterior[0] + (10 * torch.tanh(posterior[1] / 20)).exp() * noise
    leaf = z.detach().clone().requires_grad_()
    log_weights = _log_weights([p.detach() for p in tiny.parameters()], leaf, kl_weight)
    (slope,) = torch.autograd.grad(log_weights.sum(), leaf)
    v = torch.softmax(log_weights.detach(), 0).unsqueeze(-1)
    for objective, factor in (
        (Stl(n_importance=4), v),
        (Dreg(n_importance=4), (1 - kl_weight) * v + kl_weight * v**2),
    ):
        (expected,) = torch.autograd.grad((factor * slope * z).sum(), posterior, retain_graph=True)
        terms = objective(tiny, Batch(X.expand(1, 3)), kl_weight=kl_weight)
        (actual,) = torch.autograd.grad(terms.objective.sum(), tiny.posterior)
        torch.testing.assert_close(actual, expected)


def _encoder_gradients(objective, model, n: int, seed: int) -> torch.Tensor:
    """One gradient of the posterior's mean for each of n independent evaluations."""
    x = torch.randn(1, 5, generator=seeds.generator(0, "x"), dtype=torch.float64).expand(n, -1)
    shift = torch.zeros(n, 2, dtype=torch.float64).requires_grad_()
    encode = model.encode
    model.encode = lambda x: type(encode(x))(encode(x).mean + shift, encode(x).log_var)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        terms = objective(model, Batch(x))
    return torch.autograd.grad(terms.objective.sum(), shift)[0]


@pytest.mark.parametrize("n_importance", [5, 50])
def test_dreg_has_the_mean_of_iwae_and_less_variance(linear_gaussian, n_importance) -> None:
    n = 4000
    plain = _encoder_gradients(Iwae(n_importance=n_importance), linear_gaussian(wrong=0.3, full=False), n, 0)
    double = _encoder_gradients(Dreg(n_importance=n_importance), linear_gaussian(wrong=0.3, full=False), n, 1)
    error = ((plain.var(0) + double.var(0)) / n).sqrt()
    assert ((plain.mean(0) - double.mean(0)).abs() <= 5 * error).all()
    assert (double.var(0) < 0.5 * plain.var(0)).all()


def test_stl_has_no_noise_at_the_exact_posterior(linear_gaussian) -> None:
    landed = _encoder_gradients(Stl(), linear_gaussian(full=False), 100, 0)
    assert landed.abs().max() < 1e-10
    assert _encoder_gradients(Iwae(n_importance=1), linear_gaussian(full=False), 100, 0).abs().max() > 0.1


CHECKED = [
    Elbo(),
    Elbo(free_bits=0.05),
    Elbo(capacity=0.1),
    Iwae(n_importance=2),
    Miwae(n_bounds=2, n_importance=1),
    Ciwae(n_importance=2),
    BetaTc(n_data=10),
    Dip(version="ii"),
]


@pytest.mark.parametrize("objective", CHECKED, ids=repr)
def test_gradcheck(tiny, use_noise, objective) -> None:
    noise = torch.randn(2, 4, 1, generator=seeds.generator(0), dtype=torch.float64)
    use_noise(noise if hasattr(objective, "n_importance") else noise[0])
    names = [name for name, _ in tiny.named_parameters()]

    def value(*parameters: torch.Tensor) -> torch.Tensor:
        class Bound:
            @staticmethod
            def forward(x: torch.Tensor) -> torch.Tensor:
                return objective(tiny, Batch(x)).objective

        tiny.forward = Bound.forward
        return torch.func.functional_call(tiny, dict(zip(names, parameters, strict=True)), (X.expand(4, 3),))

    assert torch.autograd.gradcheck(value, tuple(tiny.parameters()))
