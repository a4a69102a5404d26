"""A latent-variable model whose every distribution is known in closed form: the oracle of the tests."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from latentkit.core.seeds import RowGenerator
from latentkit.distributions import FullGaussian, StandardNormal


class KeyedGaussian:
    """N(mean, stddev^2 I) over the event, whose draws know rows."""

    def __init__(self, mean: Tensor, stddev: float, n_event_dims: int) -> None:
        self.mean, self.stddev, self.n_event_dims = mean, stddev, n_event_dims

    @property
    def mode(self) -> Tensor:
        return self.mean

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        elements = -0.5 * ((value - self.mean) / self.stddev).square() - math.log(self.stddev * math.sqrt(2 * math.pi))
        if mask is not None:
            elements = torch.where(mask, elements, 0.0)
        return elements.flatten(-self.n_event_dims).sum(-1)

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        shape = self.mean.shape if n is None else (n, *self.mean.shape)
        if isinstance(generator, RowGenerator):
            noise = generator.normal(shape, dtype=self.mean.dtype)
        else:
            noise = torch.randn(shape, dtype=self.mean.dtype, generator=generator)
        return self.mean + self.stddev * noise


class LinearGaussian:
    """x = W z + b + stddev noise, z standard normal: probabilistic PCA.

    `widen` multiplies the standard deviation of the posterior that the encoder gives and `shift` moves its mean, so
    that the encoder is as wrong as a trained one; 1 and 0 are exact.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...] = (5,),
        latent_dim: int = 2,
        *,
        stddev: float = 0.5,
        widen: float = 1.0,
        shift: float = 0.0,
        seed: int = 0,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.event_shape, self.latent_dim, self.stddev, self.widen, self.shift = (
            event_shape,
            latent_dim,
            stddev,
            widen,
            shift,
        )
        features = math.prod(event_shape)
        self.weight = torch.randn(features, latent_dim, dtype=torch.float64, generator=generator)
        self.bias = torch.randn(features, dtype=torch.float64, generator=generator)

    def parameters(self) -> list[nn.Parameter]:
        return []

    def encode(self, x: Tensor) -> FullGaussian:
        mean, covariance = self.posterior(x.flatten(1))
        factor = torch.linalg.cholesky(covariance) * self.widen
        return FullGaussian(mean + self.shift, factor.expand(x.shape[0], -1, -1))

    def decode(self, z: Tensor) -> KeyedGaussian:
        mean = (z.double() @ self.weight.mT + self.bias).unflatten(-1, self.event_shape)
        return KeyedGaussian(mean, self.stddev, len(self.event_shape))

    def prior(self) -> StandardNormal:
        return StandardNormal(self.latent_dim, like=self.weight[0, 0])

    def posterior(self, x: Tensor, columns: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and covariance of z given the features `columns` of x, flat, shape (batch, columns)."""
        weight = self.weight if columns is None else self.weight[columns]
        bias = self.bias if columns is None else self.bias[columns]
        precision = torch.eye(self.latent_dim, dtype=torch.float64) + weight.mT @ weight / self.stddev**2
        covariance = torch.linalg.inv(precision)
        return (x - bias) @ weight @ covariance / self.stddev**2, covariance

    def log_evidence(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        """log p of the features `columns` of x, nats, shape (batch,)."""
        weight = self.weight if columns is None else self.weight[columns]
        bias = self.bias if columns is None else self.bias[columns]
        covariance = weight @ weight.mT + self.stddev**2 * torch.eye(len(bias), dtype=torch.float64)
        return torch.distributions.MultivariateNormal(bias, covariance).log_prob(x)

    def draw(self, n: int, *, seed: int = 1) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return self.decode(torch.randn(n, self.latent_dim, dtype=torch.float64, generator=generator)).sample(
            generator=generator
        )
