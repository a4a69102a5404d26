"""Small models whose evidence, bounds and gradients are known."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch import distributions as oracle

from latentkit.core import seeds
from latentkit.distributions import (
    BernoulliLikelihood,
    DiagonalGaussian,
    FullGaussian,
    GaussianLikelihood,
    StandardNormalPrior,
)
from latentkit.distributions import posterior as posterior_module

DOUBLE = torch.float64


class LinearGaussian(nn.Module):
    """Probabilistic PCA: x = W z + b + s e. Its posterior is exact, or wrong by a shift and a widening."""

    def __init__(self, *, features: int = 5, latent_dim: int = 2, full: bool = True, wrong: float = 0.0) -> None:
        super().__init__()
        numbers = torch.randn(features, latent_dim + 1, generator=seeds.generator(0, "ppca"), dtype=DOUBLE)
        weight = numbers[:, :latent_dim]
        if not full:  # orthogonal columns: the exact posterior has independent dimensions
            weight = torch.linalg.qr(weight).Q * torch.tensor([2.0, 1.0], dtype=DOUBLE)[:latent_dim]
        self.weight, self.bias = nn.Parameter(weight.clone()), nn.Parameter(numbers[:, latent_dim].clone())
        self.likelihood = GaussianLikelihood((features,), variance="shared", stddev=0.7).double()
        self.prior_family = StandardNormalPrior(latent_dim).double()
        self.full, self.wrong = full, wrong

    def encode(self, x: Tensor) -> DiagonalGaussian | FullGaussian:
        variance = self.likelihood.stddev.square()
        precision = torch.eye(self.weight.shape[1], dtype=DOUBLE) + self.weight.T @ self.weight / variance
        covariance = precision.inverse()
        mean = (x - self.bias) @ self.weight @ covariance / variance + self.wrong
        if self.full:
            return FullGaussian(mean, torch.linalg.cholesky(covariance).expand(*x.shape[:-1], -1, -1))
        return DiagonalGaussian(mean, (covariance.diagonal().log() + self.wrong).expand_as(mean))

    def decode(self, z: Tensor):
        return self.likelihood((z @ self.weight.T + self.bias).unsqueeze(-2))

    def prior(self):
        return self.prior_family()

    def log_evidence(self, x: Tensor) -> Tensor:
        covariance = self.weight @ self.weight.T + self.likelihood.stddev.square() * torch.eye(
            len(self.bias), dtype=DOUBLE
        )
        return oracle.MultivariateNormal(self.bias, covariance).log_prob(x)


class Tiny(nn.Module):
    """A non-linear model with one latent dimension and free posterior parameters: bounds by quadrature."""

    def __init__(self) -> None:
        super().__init__()
        self.posterior = nn.Parameter(torch.tensor([0.4, -0.5], dtype=DOUBLE))
        self.weight = nn.Parameter(torch.tensor([1.3, -0.7, 0.4], dtype=DOUBLE))
        self.bias = nn.Parameter(torch.tensor([0.2, 0.1, -0.3], dtype=DOUBLE))
        self.likelihood = BernoulliLikelihood((3,))
        self.prior_family = StandardNormalPrior(1).double()

    def encode(self, x: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian.from_parameters(self.posterior.expand(*x.shape[:-1], 2))

    def decode(self, z: Tensor):
        return self.likelihood((torch.sin(z) * self.weight + self.bias).unsqueeze(-2))

    def prior(self):
        return self.prior_family()


@pytest.fixture
def linear_gaussian() -> type[LinearGaussian]:
    return LinearGaussian


@pytest.fixture
def tiny() -> Tiny:
    return Tiny()


@pytest.fixture
def use_noise(monkeypatch: pytest.MonkeyPatch) -> Callable[[Tensor], None]:
    """Make every posterior draw from the given numbers."""

    def use(noise: Tensor) -> None:
        def standard_normal(shape: tuple[int, ...], **_: object) -> Tensor:
            assert tuple(shape) == tuple(noise.shape)
            return noise

        monkeypatch.setattr(posterior_module, "standard_normal", standard_normal)

    return use


@pytest.fixture
def sigma_points() -> Callable[[int], Tensor]:
    """Noise, shape (2 latent, latent), over which the mean of any quadratic function is its expectation."""

    def points(latent_dim: int) -> Tensor:
        steps = latent_dim**0.5 * torch.eye(latent_dim, dtype=DOUBLE)
        return torch.cat((steps, -steps))

    return points


@pytest.fixture
def quadrature() -> Callable[[int], tuple[Tensor, Tensor]]:
    """Gauss-Hermite nodes for n draws, shape (n, nodes, 1), and their weights, shape (nodes,)."""

    def rule(n: int, order: int = 48) -> tuple[Tensor, Tensor]:
        nodes, weights = np.polynomial.hermite_e.hermegauss(order)
        weights = weights / weights.sum()
        grid = np.array(list(itertools.product(nodes, repeat=n))).T[:, :, None]
        return torch.from_numpy(np.ascontiguousarray(grid)), torch.from_numpy(
            np.prod(np.array(list(itertools.product(weights, repeat=n))), axis=1)
        )

    return rule
