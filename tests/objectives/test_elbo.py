"""Free bits, and golden values."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from latentkit.core.protocols import Batch
from latentkit.distributions import BernoulliLikelihood, DiagonalGaussian, StandardNormalPrior
from latentkit.objectives import Dreg, Elbo, Iwae, Stl

DOUBLE = torch.float64


class Given(nn.Module):
    """A posterior that is given by its means, unit variance: KL_j = mean_j^2 / 2."""

    def __init__(self, means: torch.Tensor) -> None:
        super().__init__()
        self.means = nn.Parameter(means)
        self.prior_family = StandardNormalPrior(means.shape[1]).double()

    def encode(self, x):
        return DiagonalGaussian(self.means, torch.zeros_like(self.means))

    def decode(self, z):
        return BernoulliLikelihood((2,))(torch.zeros(*z.shape[:-1], 1, 2, dtype=DOUBLE))

    def prior(self):
        return self.prior_family()


def test_free_bits_are_per_dimension_and_of_the_batch_mean() -> None:
    """Dimension 0 spends 2 and 0 nats (mean 1), dimension 1 spends 0.02 and 0.08 (mean 0.05); half a nat is free."""
    model = Given(torch.tensor([[2.0, 0.2], [0.0, 0.4]], dtype=DOUBLE))
    x = torch.zeros(2, 2, dtype=DOUBLE)
    terms = Elbo(free_bits=0.5)(model, Batch(x))
    fit = 2 * torch.log(torch.tensor(0.5, dtype=DOUBLE))
    torch.testing.assert_close(terms.kl, torch.tensor([2.02, 0.08], dtype=DOUBLE))
    # An example below the floor in a dimension whose batch mean is above it pays its own divergence, not the floor.
    torch.testing.assert_close(terms.objective, fit - torch.tensor([2.5, 0.5], dtype=DOUBLE))
    torch.testing.assert_close(-(terms.objective.mean() - fit), torch.tensor(1.0 + 0.5, dtype=DOUBLE))
    (gradient,) = torch.autograd.grad(-terms.objective.mean(), model.means)
    torch.testing.assert_close(gradient, torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=DOUBLE))


def test_free_bits_far_below_the_divergence_change_nothing() -> None:
    model = Given(torch.full((3, 2), 2.0, dtype=DOUBLE))
    x = torch.zeros(3, 2, dtype=DOUBLE)
    torch.testing.assert_close(Elbo(free_bits=0.1)(model, Batch(x)).objective, Elbo()(model, Batch(x)).objective)
    weighted = Elbo(free_bits=0.1, beta=2.0)(model, Batch(x), kl_weight=0.5).objective
    torch.testing.assert_close(weighted, Elbo()(model, Batch(x)).objective)


def test_capacity_is_what_each_example_is_asked_to_spend() -> None:
    """Divergences of 2 and 0.5 nats, and a capacity of 1 that the schedule has brought to 0.8."""
    model = Given(torch.tensor([[2.0], [1.0]], dtype=DOUBLE))
    x = torch.zeros(2, 2, dtype=DOUBLE)
    terms = Elbo(beta=10.0, capacity=1.0)(model, Batch(x), kl_weight=0.8)
    penalty = terms.log_likelihood - terms.objective
    torch.testing.assert_close(penalty, torch.tensor([12.0, 3.0], dtype=DOUBLE))
    torch.testing.assert_close(terms.kl, torch.tensor([2.0, 0.5], dtype=DOUBLE))
    # One is pushed down to the capacity, the other up.
    (gradient,) = torch.autograd.grad(penalty.sum(), model.means)
    torch.testing.assert_close(gradient, torch.tensor([[20.0], [-10.0]], dtype=DOUBLE))
    nothing = Elbo(beta=10.0, capacity=0.0)(model, Batch(x), kl_weight=0.3)
    torch.testing.assert_close(nothing.objective, Elbo(beta=10.0)(model, Batch(x)).objective)


def test_free_bits_of_a_divergence_that_does_not_split_are_those_of_all_dimensions(linear_gaussian) -> None:
    model, x = linear_gaussian(full=True), Batch(torch.linspace(-2.0, 2.0, 10, dtype=DOUBLE).reshape(2, 5))
    plain, n_latent = Elbo()(model, x), model.encode(x.x).mean.shape[-1]
    nats = float(plain.kl.detach().mean()) / n_latent
    below, above = (Elbo(free_bits=share * nats)(model, x) for share in (0.9, 1.1))
    torch.testing.assert_close(below.log_likelihood - below.objective, plain.kl)
    torch.testing.assert_close(above.kl, plain.kl)
    torch.testing.assert_close(above.log_likelihood - above.objective, torch.full_like(plain.kl, 1.1 * nats * n_latent))


GOLDEN = {
    "Elbo(beta=1.0, free_bits=0.0, capacity=None)": [-1.9589859653932977, -2.356056775778575, -2.298517673491817],
    "Elbo(beta=4.0, free_bits=0.2, capacity=None)": [-2.025661481050491, -2.6757018197826152, -2.9419429574983114],
    "Iwae(n_importance=3)": [-2.055872992116466, -2.1606629515123092, -1.9774951362220161],
    "Dreg(n_importance=3)": [-2.055872992116466, -2.1674309059084576, -2.0625641290499366],
    "Stl(n_importance=1)": [-1.988108154679157, -2.3486272151617356, -2.3017140168134524],
}


@pytest.mark.parametrize(
    "objective", [Elbo(), Elbo(beta=4.0, free_bits=0.2), Iwae(n_importance=3), Dreg(n_importance=3), Stl()], ids=repr
)
def test_golden_trace(tiny, use_noise, objective) -> None:
    """Ten steps of plain gradient ascent on given numbers: a refactoring must not move them."""
    x = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=DOUBLE)
    trace = []
    n_importance = getattr(objective, "n_importance", None)
    for step in range(10):
        noise = torch.sin(torch.arange(1.0, 10.0, dtype=DOUBLE) * (step + 1)).reshape(3, 3, 1)
        use_noise(noise[0] if n_importance is None else noise[:n_importance])
        value = objective(tiny, Batch(x), kl_weight=(step + 1) / 10).objective.mean()
        gradients = torch.autograd.grad(value, list(tiny.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(tiny.parameters(), gradients, strict=True):
                parameter += 0.3 * gradient
        trace.append(value.item())
    assert [trace[0], trace[4], trace[9]] == pytest.approx(GOLDEN[repr(objective)], abs=1e-9)
