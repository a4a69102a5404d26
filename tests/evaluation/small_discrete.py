"""A model of few binary features whose every probability can be counted out: the oracle of the tests."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from latentkit.distributions import DiagonalGaussian, StandardNormal


class Coins:
    """Independent coins with these logits, over the last dimension."""

    def __init__(self, logits: Tensor) -> None:
        self.logits, self.mean = logits, torch.sigmoid(logits)

    def log_prob(self, value: Tensor) -> Tensor:
        return (value * self.logits - nn.functional.softplus(self.logits)).sum(-1)

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        return torch.bernoulli(self.mean, generator=generator)


class SmallDiscrete:
    """x in {0, 1}^d given z in R^2 by coins whose logits are a bent function of z; the encoder is a crude guess."""

    latent_dim = 2

    def __init__(self, n_features: int = 5, *, seed: int = 0) -> None:
        random = torch.Generator().manual_seed(seed)
        self.weight = 2.5 * torch.randn(n_features, 2, dtype=torch.float64, generator=random)
        self.bend = torch.randn(n_features, dtype=torch.float64, generator=random)
        self.n_features = n_features

    def parameters(self) -> list[nn.Parameter]:
        return []

    def encode(self, x: Tensor) -> DiagonalGaussian:
        mean = 0.2 * (2.0 * x.double() - 1.0) @ self.weight
        return DiagonalGaussian(mean, torch.zeros_like(mean))

    def decode(self, z: Tensor) -> Coins:
        z = z.double()
        return Coins(z @ self.weight.mT + self.bend * (z.square().sum(-1, keepdim=True) - 1.0))

    def prior(self) -> StandardNormal:
        return StandardNormal(2, like=self.weight[0, 0])

    def all_rows(self) -> Tensor:
        """Every x that there is, shape (2^d, d)."""
        return torch.tensor(list(itertools.product((0.0, 1.0), repeat=self.n_features)), dtype=torch.float64)

    def log_evidence(self, x: Tensor, *, n_points: int = 400) -> Tensor:
        """log p(x) by a sum over a grid of z that leaves out nothing that counts."""
        line = torch.linspace(-8.0, 8.0, n_points, dtype=torch.float64)
        z = torch.cartesian_prod(line, line)
        joint = self.decode(z[:, None]).log_prob(x) + self.prior().log_prob(z)[:, None]
        return joint.logsumexp(0) + 2.0 * math.log(float(line[1] - line[0]))
