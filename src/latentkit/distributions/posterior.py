"""Posteriors q(z given x): what an encoder's output stands for."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Final, final

import torch
from torch import Tensor, nn

from latentkit.core.parameters import check_integer, check_real
from latentkit.core.protocols import Posterior
from latentkit.core.registry import Registry
from latentkit.distributions.noise import drawn_shape, standard_normal
from latentkit.distributions.precision import at_least_float32, without_autocast

__all__ = [
    "LOG_VAR_BOUND",
    "DiagonalGaussian",
    "DiagonalPosterior",
    "FullGaussian",
    "FullPosterior",
    "PosteriorFamily",
    "bounded_log_var",
    "posteriors",
]

LOG_VAR_BOUND: Final = 20.0
"""Networks cannot make a log-variance leave (-20, 20): standard deviations stay within (4.5e-5, 2.2e4)."""

_HALF_LOG_2PI: Final = 0.5 * math.log(2.0 * math.pi)


class PosteriorFamily(nn.Module, ABC):
    """A family q(z given x): turns an encoder's output into a distribution over z.

    Learnt parameters of the family itself (the layers of a flow) are parameters of this module.

    Args:
        latent_dim: Number of latent dimensions, at least 1.

    Attributes:
        latent_dim: As given.
        n_parameters: Numbers that the encoder gives for one example.
        has_density: Whether q(z given x) has a density; a point has none, nor a KL divergence.
        support: Where draws lie: ``"reals"``, or ``"sphere"`` for the unit hypersphere.

    Raises:
        InvalidParameterError: If `latent_dim` is not an integer of at least 1.
    """

    has_density: ClassVar[bool] = True
    support: ClassVar[str] = "reals"

    def __init__(self, latent_dim: int, *, n_parameters: int) -> None:
        super().__init__()
        self.latent_dim = check_integer("latent_dim", latent_dim, low=1)
        self.n_parameters = n_parameters

    @abstractmethod
    def forward(self, parameters: Tensor) -> Posterior:
        """The posterior of an encoder's output, shape (*batch, n_parameters)."""

    def constrain(self, z: Tensor) -> Tensor:
        """The nearest z that the family can give: z itself, where it can give any.

        The decoder sees every z through it, so that vectors from a prior, an interpolation or a user are of the kind
        that it was trained on.
        """
        return z


posteriors: Registry[type[PosteriorFamily]] = Registry("posterior")


def bounded_log_var(log_var: Tensor) -> Tensor:
    """Return a raw log-variance r as 20 tanh(r / 20), which is r itself to 1 % for absolute values below 3.5."""
    # A hard clamp has no gradient outside its range: an example that lands there would never come back.
    return torch.tanh(log_var * (1.0 / LOG_VAR_BOUND)) * LOG_VAR_BOUND


@final
class DiagonalGaussian:
    """Gaussian with independent dimensions.

    .. math:: q(z) = prod_j N(z_j; mean_j, exp(log_var_j))

    Args:
        mean: Shape (*batch, latent).
        log_var: Logarithm of the variance, shape of `mean`; taken as it is (:meth:`from_parameters` bounds it).

    Attributes:
        mean: Shape (*batch, latent), at least float32.
        log_var: Shape (*batch, latent).
        stddev: Shape (*batch, latent).

    References:
        Kingma and Welling, 2014, Auto-Encoding Variational Bayes, appendix C.2, arXiv:1312.6114.

    Example:
        >>> q = DiagonalGaussian(torch.zeros(16, 2), torch.zeros(16, 2))
        >>> q.rsample().shape, q.rsample(5).shape, q.log_prob(q.rsample(5)).shape
        (torch.Size([16, 2]), torch.Size([5, 16, 2]), torch.Size([5, 16]))
    """

    __slots__ = ("log_var", "mean", "stddev")

    def __init__(self, mean: Tensor, log_var: Tensor) -> None:
        self.mean = at_least_float32(mean)
        self.log_var = at_least_float32(log_var)
        self.stddev = torch.exp(0.5 * self.log_var)

    @classmethod
    def from_parameters(cls, parameters: Tensor) -> DiagonalGaussian:
        """Read means, then raw log-variances, from an encoder's output of shape (*batch, 2 latent).

        A raw value r becomes 20 tanh(r / 20), which is r itself to 1 % for absolute values below 3.5.
        """
        mean, raw = at_least_float32(parameters).chunk(2, dim=-1)
        return cls(mean, bounded_log_var(raw))

    def rsample(self, n: int | None = None, *, noise: Tensor | None = None) -> Tensor:
        """Reparameterised draws mean + stddev * noise, shape (*batch, latent) or (n, *batch, latent).

        Args:
            n: Number of draws for each example; None for one draw without a leading dimension.
            noise: Standard normal numbers of the shape of the result; drawn from torch's global generator by default.
        """
        if noise is None:
            noise = standard_normal(drawn_shape(n, self.mean.shape), like=self.mean)
        return torch.addcmul(self.mean, self.stddev, noise)

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws without gradient, shape (*batch, latent) or (n, *batch, latent)."""
        with torch.no_grad():
            noise = standard_normal(drawn_shape(n, self.mean.shape), like=self.mean, generator=generator)
            return self.rsample(n, noise=noise)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of `value` in nats, shape (*batch,); `value` may have leading dimensions of draws."""
        standardised = (value - self.mean) / self.stddev
        elements = torch.add(self.log_var, standardised.square())
        return elements.sum(-1) * -0.5 - self.mean.shape[-1] * _HALF_LOG_2PI

    def entropy(self) -> Tensor:
        """Differential entropy in nats, shape (*batch,)."""
        return 0.5 * self.log_var.sum(-1) + self.mean.shape[-1] * (0.5 + _HALF_LOG_2PI)

    def detach(self) -> DiagonalGaussian:
        """The same distribution, cut from the graph."""
        return DiagonalGaussian(self.mean.detach(), self.log_var.detach())


@final
class FullGaussian:
    """Gaussian with any covariance, by its Cholesky factor.

    .. math:: q(z) = N(z; mean, L L^T)

    Args:
        mean: Shape (*batch, latent).
        cholesky: Lower-triangular factor L with a positive diagonal, shape (*batch, latent, latent).

    References:
        Kingma and Welling, 2019, An Introduction to Variational Autoencoders, section 2.5.1, arXiv:1906.02691.

    Example:
        >>> q = FullGaussian(torch.zeros(16, 2), torch.eye(2).expand(16, 2, 2))
        >>> q.rsample(5).shape
        torch.Size([5, 16, 2])
    """

    __slots__ = ("cholesky", "mean")

    def __init__(self, mean: Tensor, cholesky: Tensor) -> None:
        self.mean = at_least_float32(mean)
        self.cholesky = at_least_float32(cholesky)

    @classmethod
    def from_parameters(cls, parameters: Tensor) -> FullGaussian:
        """Read means, then a packed triangle, from an encoder's output of shape (*batch, n_parameters).

        The diagonal r of the triangle is a raw log-variance, bounded as in :class:`DiagonalGaussian`; zeros give the
        standard normal.
        """
        parameters = at_least_float32(parameters)
        size = parameters.shape[-1]
        latent_dim = (math.isqrt(9 + 8 * size) - 3) // 2
        mean, packed = parameters[..., :latent_dim], parameters[..., latent_dim:]
        # The packed triangle followed by its own reversed tail fills a square whose lower part holds each number once:
        # no index tensor is needed (the way of TensorFlow Probability's fill_triangular).
        square = torch.cat((packed[..., latent_dim:], packed.flip(-1)), dim=-1)
        square = square.reshape(*square.shape[:-1], latent_dim, latent_dim)
        stddev = torch.exp(0.5 * bounded_log_var(square.diagonal(dim1=-2, dim2=-1)))
        return cls(mean, square.tril(-1) + torch.diag_embed(stddev))

    @property
    def stddev(self) -> Tensor:
        """Standard deviation of each dimension, shape (*batch, latent)."""
        return self.cholesky.square().sum(-1).sqrt()

    @property
    def log_var(self) -> Tensor:
        """Logarithm of the variance of each dimension, shape (*batch, latent)."""
        return 2.0 * self.stddev.log()

    @property
    def half_log_determinant(self) -> Tensor:
        """Half the logarithm of the covariance's determinant, shape (*batch,)."""
        return self.cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def rsample(self, n: int | None = None, *, noise: Tensor | None = None) -> Tensor:
        """Reparameterised draws mean + L noise, shape (*batch, latent) or (n, *batch, latent).

        Args:
            n: Number of draws for each example; None for one draw without a leading dimension.
            noise: Standard normal numbers of the shape of the result; drawn from torch's global generator by default.
        """
        if noise is None:
            noise = standard_normal(drawn_shape(n, self.mean.shape), like=self.mean)
        columns, lead = self._as_columns(noise)
        with without_autocast(self.mean):
            product = self.cholesky @ columns
        return self.mean + self._from_columns(product, lead)

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws without gradient, shape (*batch, latent) or (n, *batch, latent)."""
        with torch.no_grad():
            noise = standard_normal(drawn_shape(n, self.mean.shape), like=self.mean, generator=generator)
            return self.rsample(n, noise=noise)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of `value` in nats, shape (*batch,); `value` may have leading dimensions of draws."""
        columns, lead = self._as_columns(value - self.mean)
        standardised = self._from_columns(torch.linalg.solve_triangular(self.cholesky, columns, upper=False), lead)
        squared = standardised.square().sum(-1)
        return -0.5 * squared - self.half_log_determinant - self.mean.shape[-1] * _HALF_LOG_2PI

    def entropy(self) -> Tensor:
        """Differential entropy in nats, shape (*batch,)."""
        return self.half_log_determinant + self.mean.shape[-1] * (0.5 + _HALF_LOG_2PI)

    def detach(self) -> FullGaussian:
        """The same distribution, cut from the graph."""
        return FullGaussian(self.mean.detach(), self.cholesky.detach())

    def _as_columns(self, value: Tensor) -> tuple[Tensor, torch.Size]:
        # Draws become columns of one right-hand side per example; broadcasting would copy the factor for every draw.
        lead = value.shape[: value.ndim - self.mean.ndim]
        return value.reshape(-1, *value.shape[len(lead) :]).movedim(0, -1), lead

    def _from_columns(self, columns: Tensor, lead: torch.Size) -> Tensor:
        return columns.movedim(-1, 0).reshape(*lead, *columns.shape[:-1])


@posteriors.register("diagonal")
@final
class DiagonalPosterior(PosteriorFamily):
    r"""Gaussians with independent dimensions: the encoder gives a mean and a raw log-variance for each dimension.

    With a spread the means are normalised over a batch, so that the posteriors of all examples cannot become the prior:

    .. math:: \mu_j = \gamma \frac{m_j - E[m_j]}{\sqrt{Var[m_j]}} + \beta_j, \qquad
              E[KL(q(z \mid x), N(0, I))] \ge \tfrac12 \sum_j (\gamma^2 + \beta_j^2)

    with learnt beta; outside of training, with the running mean and variance.

    Args:
        latent_dim: Number of latent dimensions, at least 1.
        spread: gamma, the standard deviation of the means of each dimension over a batch, above 0; None leaves the
            means as the encoder gives them.

    Raises:
        InvalidParameterError: If an argument has a value that it cannot have.

    References:
        Zhu et al., 2020, A Batch Normalized Inference Network Keeps the KL Vanishing Away, arXiv:2004.12585 (spread).

    Example:
        >>> family = DiagonalPosterior(2)
        >>> family.n_parameters, family(torch.zeros(16, 4)).rsample().shape
        (4, torch.Size([16, 2]))
        >>> DiagonalPosterior(2, spread=0.5)(torch.randn(512, 4)).mean.std(0, correction=0)
        tensor([0.5000, 0.5000], grad_fn=<StdBackward0>)
    """

    def __init__(self, latent_dim: int, *, spread: float | None = None) -> None:
        super().__init__(latent_dim, n_parameters=2 * check_integer("latent_dim", latent_dim, low=1))
        self.spread = spread
        self.norm: nn.BatchNorm1d | None = None
        if spread is not None:
            check_real("spread", spread, low=0.0, inclusive=(False, True), hint="None leaves the means as they are.")
            self.norm = nn.BatchNorm1d(latent_dim)
            self.norm.weight = nn.Parameter(torch.full((latent_dim,), float(spread)), requires_grad=False)

    def forward(self, parameters: Tensor) -> DiagonalGaussian:
        """See :meth:`DiagonalGaussian.from_parameters`."""
        if self.norm is not None:
            means, log_vars = at_least_float32(parameters).chunk(2, -1)
            parameters = torch.cat((self.norm(means.flatten(0, -2)).reshape(means.shape), log_vars), -1)
        return DiagonalGaussian.from_parameters(parameters)


@posteriors.register("full")
@final
class FullPosterior(PosteriorFamily):
    """Gaussians with any covariance: the encoder gives a mean and the lower triangle of a Cholesky factor.

    Args:
        latent_dim: Number of latent dimensions, at least 1.

    Example:
        >>> family = FullPosterior(2)
        >>> family.n_parameters, family(torch.zeros(16, 5)).rsample().shape
        (5, torch.Size([16, 2]))
    """

    def __init__(self, latent_dim: int) -> None:
        dims = check_integer("latent_dim", latent_dim, low=1)
        super().__init__(dims, n_parameters=dims + dims * (dims + 1) // 2)

    def forward(self, parameters: Tensor) -> FullGaussian:
        """See :meth:`FullGaussian.from_parameters`."""
        return FullGaussian.from_parameters(parameters)
