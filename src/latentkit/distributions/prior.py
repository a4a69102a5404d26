"""Priors p(z): the distributions and the modules that give them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeAlias, final

import torch
from torch import Tensor, nn

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.core.protocols import Distribution, Posterior
from latentkit.core.registry import Registry
from latentkit.distributions.noise import drawn_shape, gumbel, standard_normal
from latentkit.distributions.precision import at_least_float32, without_autocast

__all__ = [
    "Encode",
    "GaussianMixture",
    "GaussianMixturePrior",
    "Prior",
    "StandardNormal",
    "StandardNormalPrior",
    "draw_components",
    "priors",
]

_HALF_LOG_2PI: Final = 0.5 * math.log(2.0 * math.pi)

#: From x of shape (batch, *event) to q(z given x), as models do it.
Encode: TypeAlias = Callable[[Tensor], Posterior]


def draw_components(log_weights: Tensor, n: int | None, *, generator: torch.Generator | None = None) -> Tensor:
    """Return which component of a mixture each draw comes from, shape (n,), or () where `n` is None.

    Args:
        log_weights: Normalised log-weights, shape (components,).
        n: Number of draws.
        generator: Source of randomness.

    Example:
        >>> draw_components(torch.tensor([-torch.inf, 0.0]), 3)
        tensor([1, 1, 1])
    """
    shape = drawn_shape(n, log_weights.shape)
    return (log_weights + gumbel(shape, like=log_weights, generator=generator)).argmax(-1)


@final
class StandardNormal:
    """Standard normal distribution over the latent space, batch shape ().

    .. math:: p(z) = N(z; 0, I)

    Args:
        latent_dim: Number of latent dimensions.
        like: Tensor whose device and dtype draws take; float32 on the CPU by default.

    Example:
        >>> p = StandardNormal(2)
        >>> p.sample(3).shape, p.log_prob(torch.zeros(3, 2)).shape
        (torch.Size([3, 2]), torch.Size([3]))
    """

    __slots__ = ("_like", "latent_dim")

    def __init__(self, latent_dim: int, *, like: Tensor | None = None) -> None:
        self.latent_dim = latent_dim
        self._like = like

    @property
    def mean(self) -> Tensor:
        """Zeros, shape (latent,)."""
        return torch.zeros_like(self._reference).expand(self.latent_dim)

    @property
    def stddev(self) -> Tensor:
        """Ones, shape (latent,)."""
        return torch.ones_like(self._reference).expand(self.latent_dim)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats of `value`, shape (*batch, latent) to (*batch,)."""
        value = at_least_float32(value)
        return value.square().sum(-1) * -0.5 - self.latent_dim * _HALF_LOG_2PI

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws, shape (latent,) or (n, latent)."""
        return standard_normal(drawn_shape(n, (self.latent_dim,)), like=self._reference, generator=generator)

    @property
    def _reference(self) -> Tensor:
        return torch.zeros(()) if self._like is None else self._like


@final
class GaussianMixture:
    """Mixture of Gaussians over the latent space, batch shape ().

    .. math:: p(z) = sum_c w_c N(z; m_c, L_c L_c^T)

    Args:
        log_weights: Normalised log-weights, shape (components,).
        means: Shape (components, latent).
        cholesky: Lower-triangular factors of the covariances, shape (components, latent, latent).

    Example:
        >>> p = GaussianMixture(torch.zeros(1), torch.zeros(1, 2), torch.eye(2).unsqueeze(0))
        >>> p.log_prob(torch.zeros(2)).allclose(StandardNormal(2).log_prob(torch.zeros(2)))
        True
    """

    __slots__ = ("cholesky", "log_weights", "means")

    def __init__(self, log_weights: Tensor, means: Tensor, cholesky: Tensor) -> None:
        self.log_weights = at_least_float32(log_weights)
        self.means = at_least_float32(means)
        self.cholesky = at_least_float32(cholesky)

    @property
    def mean(self) -> Tensor:
        """Shape (latent,)."""
        return (self.log_weights.exp().unsqueeze(-1) * self.means).sum(0)

    @property
    def stddev(self) -> Tensor:
        """Standard deviation of each dimension, shape (latent,)."""
        # Around the mean: the difference of raw moments would cancel for components far from zero.
        variances = (self.means - self.mean).square() + self.cholesky.square().sum(-1)
        return (self.log_weights.exp().unsqueeze(-1) * variances).sum(0).sqrt()

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats of `value`, shape (*batch, latent) to (*batch,)."""
        rows = at_least_float32(value).reshape(-1, self.means.shape[-1])
        with without_autocast(rows):
            columns = (rows.unsqueeze(0) - self.means.unsqueeze(1)).mT
            standardised = torch.linalg.solve_triangular(self.cholesky, columns, upper=False)
        constant = self.cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1) + rows.shape[-1] * _HALF_LOG_2PI
        components = (self.log_weights - constant).unsqueeze(-1) - 0.5 * standardised.square().sum(-2)
        return torch.logsumexp(components, dim=0).reshape(value.shape[:-1])

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws, shape (latent,) or (n, latent)."""
        with torch.no_grad():
            chosen = draw_components(self.log_weights, n, generator=generator)
            noise = standard_normal(drawn_shape(n, self.means.shape[1:]), like=self.means, generator=generator)
            with without_autocast(noise):
                return self.means[chosen] + (self.cholesky[chosen] @ noise.unsqueeze(-1)).squeeze(-1)


class Prior(nn.Module, ABC):
    """A module that gives a distribution over the latent space, batch shape ().

    Attributes:
        latent_dim: Number of latent dimensions.
        support: Where it has a density: ``"reals"``, ``"sphere"``, or ``"posterior"`` for wherever posteriors have.
        is_made_of_posteriors: Whether the constructor takes the shape of an example after `latent_dim`, and calls need
            the model's `encode`.
    """

    latent_dim: int
    support: ClassVar[str] = "reals"
    is_made_of_posteriors: ClassVar[bool] = False

    @abstractmethod
    def forward(self, encode: Encode | None = None) -> Distribution:
        """The distribution, with the module's present parameters, device and dtype.

        Args:
            encode: The model's own `encode`. Priors that are not made of posteriors ignore it.
        """

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Start where the data are, given some in model units, shape (n, *event); most priors stay as they are."""


priors: Registry[type[Prior]] = Registry("prior")


@priors.register("normal")
@final
class StandardNormalPrior(Prior):
    """Gives the standard normal distribution.

    Args:
        latent_dim: Number of latent dimensions, at least 1.

    Raises:
        InvalidParameterError: If `latent_dim` is not an integer of at least 1.
    """

    reference: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = check_integer("latent_dim", latent_dim, low=1)
        self.register_buffer("reference", torch.zeros(()), persistent=False)

    def forward(self, encode: Encode | None = None) -> StandardNormal:
        """The standard normal distribution on this module's device."""
        return StandardNormal(self.latent_dim, like=self.reference)


@final
class GaussianMixturePrior(Prior):
    """Gives a mixture of Gaussians that was fitted elsewhere; its numbers are buffers, not parameters.

    Args:
        weights: Positive, shape (components,); they are normalised.
        means: Shape (components, latent).
        cholesky: Lower-triangular factors of the covariances, shape (components, latent, latent).

    Raises:
        InvalidParameterError: If the shapes do not fit together, a weight is not above zero, a diagonal element of a
            factor is not above zero, or a number is not finite.

    References:
        Ghosh et al., 2020, From Variational to Deterministic Autoencoders, section 4, arXiv:1903.12436.

    Example:
        >>> prior = GaussianMixturePrior(torch.ones(3), torch.zeros(3, 2), torch.eye(2).expand(3, 2, 2))
        >>> prior().sample(5).shape
        torch.Size([5, 2])
    """

    log_weights: Tensor
    means: Tensor
    cholesky: Tensor

    def __init__(self, weights: Tensor, means: Tensor, cholesky: Tensor) -> None:
        super().__init__()
        n_components, latent_dim = means.shape if means.ndim == 2 else (0, 0)
        if not n_components or weights.shape != (n_components,) or cholesky.shape != (*means.shape, latent_dim):
            raise InvalidParameterError(
                "a mixture needs weights (components,), means (components, latent) and cholesky (components, latent, "
                f"latent); got shapes {tuple(weights.shape)}, {tuple(means.shape)} and {tuple(cholesky.shape)}."
            )
        positive = torch.cat((weights, cholesky.diagonal(dim1=-2, dim2=-1).flatten()))
        finite = torch.isfinite(positive).all() and torch.isfinite(means).all() and torch.isfinite(cholesky).all()
        if not finite or not (positive > 0).all():
            raise InvalidParameterError(
                "a mixture needs finite numbers, weights above zero and factors with a diagonal above zero. "
                "Fit fewer components or regularise their covariances more."
            )
        self.latent_dim = latent_dim
        self.register_buffer("log_weights", weights.log() - weights.sum().log())
        self.register_buffer("means", means.clone())
        self.register_buffer("cholesky", cholesky.tril().clone())

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> GaussianMixturePrior:
        """Build the prior whose :meth:`state_dict` this is; its sizes are read from the tensors."""
        prior = cls(state["log_weights"].exp(), state["means"], state["cholesky"])
        prior.load_state_dict(state)
        return prior

    def forward(self, encode: Encode | None = None) -> GaussianMixture:
        """The mixture on this module's device."""
        return GaussianMixture(self.log_weights, self.means, self.cholesky)
