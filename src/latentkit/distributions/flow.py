"""Normalising flows: priors of any shape, and posteriors bent away from the Gaussian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from latentkit.core.parameters import check_integer
from latentkit.distributions.bijection import (
    Bijection,
    Univariate,
    autoregressive_layers,
    coupling_layers,
)
from latentkit.distributions.moments import MomentsOfDraws, moment_noise
from latentkit.distributions.noise import drawn_shape, standard_normal
from latentkit.distributions.posterior import DiagonalGaussian, PosteriorFamily, posteriors
from latentkit.distributions.precision import at_least_float32
from latentkit.distributions.prior import Encode, Prior, StandardNormal, priors

__all__ = ["AutoregressivePrior", "Flow", "FlowGaussian", "FlowPosterior", "FlowPrior"]

_Push = Callable[..., tuple[Tensor, Tensor]]

_N_PRIOR_MOMENTS: Final = 1024
_N_POSTERIOR_MOMENTS: Final = 32  # each costs a pass through the flow for every example


@final
class Flow(MomentsOfDraws):
    """Standard normal noise seen through an invertible map, batch shape ().

    .. math:: log p(z) = log N(f(z); 0, I) + log |det df/dz|

    Args:
        bijection: The map f from z to the noise: called with a value and ``inverse=``; gives image and log-determinant.
        latent_dim: Number of latent dimensions.
        like: Tensor whose device and dtype draws take.
        temperature: Standard deviation of the noise of draws, relative to 1; the density does not know of it.

    Example:
        >>> p = FlowPrior(2, n_layers=2, width=8)()
        >>> torch.allclose(p.log_prob(torch.ones(2)), StandardNormal(2).log_prob(torch.ones(2)))
        True
    """

    __slots__ = ("_bijection", "_like", "_temperature", "latent_dim")

    def __init__(self, bijection: _Push, latent_dim: int, *, like: Tensor, temperature: float = 1.0) -> None:
        self._bijection = bijection
        self._like = at_least_float32(like)
        self._temperature = temperature
        self.latent_dim = latent_dim

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats of `value`, shape (*batch, latent) to (*batch,)."""
        noise, log_det = self._bijection(at_least_float32(value))
        log_prob: Tensor = StandardNormal(self.latent_dim).log_prob(noise) + log_det
        return log_prob

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws, shape (latent,) or (n, latent)."""
        with torch.no_grad():
            noise = standard_normal(drawn_shape(n, (self.latent_dim,)), like=self._like, generator=generator)
            draws: Tensor = self._bijection(self._temperature * noise, inverse=True)[0]
            return draws

    def tempered(self, temperature: float) -> Flow:
        """The distribution whose draws start from noise of another spread."""
        return Flow(self._bijection, self.latent_dim, like=self._like, temperature=temperature)

    @property
    def _typical(self) -> Tensor:
        noise = moment_noise(_N_PRIOR_MOMENTS, self._like.expand(self.latent_dim))
        draws: Tensor = self._bijection(noise, inverse=True)[0]
        return draws


class _BijectivePrior(Prior):
    """Gives standard normal noise seen through layers of an invertible map."""

    reference: Tensor

    def __init__(self, latent_dim: int, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.bijection = Bijection(layers)
        self.register_buffer("reference", torch.zeros(()), persistent=False)

    def forward(self, encode: Encode | None = None) -> Flow:
        """The flow with the present parameters."""
        return Flow(self.bijection, self.latent_dim, like=self.reference)


@priors.register("flow")
@final
class FlowPrior(_BijectivePrior):
    """Gives a coupling flow: as fast to draw from as to evaluate. It starts as the standard normal.

    Args:
        latent_dim: Number of latent dimensions, at least 1.
        n_layers: Number of coupling layers, at least 1.
        width: Units of the two hidden layers of each, at least 1.
        transform: What a layer does to a dimension: ``"affine"`` (RealNVP) or ``"spline"``, which bends more and costs
            about twice as much; it acts on [-5, 5].

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    References:
        Dinh et al., 2017, Density Estimation Using Real NVP, arXiv:1605.08803; Durkan et al., 2019, Neural Spline
        Flows, arXiv:1906.04032; Xu et al., 2019, On the Necessity and Effectiveness of Learning the Prior of
        Variational Auto-Encoder, arXiv:1905.13452.

    Example:
        >>> FlowPrior(2, n_layers=2, width=8)().sample(5).shape
        torch.Size([5, 2])
    """

    def __init__(self, latent_dim: int, n_layers: int = 8, width: int = 128, transform: Univariate = "affine") -> None:
        dims = check_integer("latent_dim", latent_dim, low=1)
        super().__init__(dims, coupling_layers(dims, n_layers=n_layers, width=width, univariate=transform))


@priors.register("autoregressive")
@final
class AutoregressivePrior(_BijectivePrior):
    """Gives a masked autoregressive flow: bends more than couplings do, but draws take `latent_dim` passes a layer.

    It starts as the standard normal.

    Args:
        latent_dim: Number of latent dimensions, at least 1.
        n_layers: Number of layers, at least 1; one of them alone is a Gaussian for each dimension given those before.
        width: Units of the two hidden layers of each, at least `latent_dim`.
        transform: What a layer does to a dimension; see :class:`FlowPrior`.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    References:
        Papamakarios et al., 2017, Masked Autoregressive Flow for Density Estimation, arXiv:1705.07057.

    Example:
        >>> AutoregressivePrior(2, n_layers=2, width=8)().sample(5).shape
        torch.Size([5, 2])
    """

    def __init__(self, latent_dim: int, n_layers: int = 4, width: int = 128, transform: Univariate = "affine") -> None:
        dims = check_integer("latent_dim", latent_dim, low=1)
        super().__init__(dims, autoregressive_layers(dims, n_layers=n_layers, width=width, univariate=transform))


@final
class FlowGaussian(MomentsOfDraws):
    r"""A Gaussian with independent dimensions, bent by an inverse autoregressive flow.

    .. math:: z = f(u; h), \quad u \sim N(m, diag(s^2)), \qquad \log q(z) = \log N(u; m, s^2) - \log |det df/du|

    The density of what :meth:`rsample` returned last comes from the same pass and costs nothing; that of any other
    value needs the inverse of f, `latent_dim` passes a layer. So does the density of a distribution that was cut from
    the graph while gradients are wanted (STL, DReG): they reach z through the inverse.

    Args:
        base: Distribution of u, batch shape (*batch,).
        context: What the flow depends on besides u, h above, shape (*batch, columns), or None.
        push: The map f: called with a value, the context and ``inverse=``; gives image and log-determinant.
        freeze: Returns the map with its parameters cut from the graph.

    References:
        Kingma et al., 2016, Improved Variational Inference with Inverse Autoregressive Flow, arXiv:1606.04934.

    Example:
        >>> q = FlowPosterior(2, context_dim=3)(torch.zeros(16, 7))
        >>> z = q.rsample(5)
        >>> z.shape, q.log_prob(z).shape
        (torch.Size([5, 16, 2]), torch.Size([5, 16]))
    """

    __slots__ = ("_base", "_context", "_drawn", "_freeze", "_is_path_only", "_push", "_typical_draws")

    def __init__(
        self, base: DiagonalGaussian, context: Tensor | None, push: _Push, freeze: Callable[[], _Push]
    ) -> None:
        self._base, self._context, self._push, self._freeze = base, context, push, freeze
        self._drawn: tuple[Tensor, Tensor] | None = None
        self._typical_draws: Tensor | None = None
        self._is_path_only = False

    @property
    def batch_shape(self) -> torch.Size:
        """Shape (*batch,)."""
        return self._base.mean.shape[:-1]

    @property
    def log_var(self) -> Tensor:
        """Logarithm of the variance of each dimension, estimated from the same draws, shape (*batch, latent)."""
        return 2.0 * self.stddev.log()

    def rsample(self, n: int | None = None, *, noise: Tensor | None = None) -> Tensor:
        """Reparameterised draws f(m + s noise), shape (*batch, latent) or (n, *batch, latent).

        Args:
            n: Number of draws for each example; None for one draw without a leading dimension.
            noise: Standard normal numbers of the shape of the result; drawn from torch's global generator by default.
        """
        u = self._base.rsample(n, noise=noise)
        z, log_det = self._push(u, self._context, inverse=False)
        self._drawn = z, self._base.log_prob(u) - log_det
        return z

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws without gradient, shape (*batch, latent) or (n, *batch, latent)."""
        with torch.no_grad():
            like = self._base.mean
            return self.rsample(n, noise=standard_normal(drawn_shape(n, like.shape), like=like, generator=generator))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of `value` in nats, shape (*batch,); `value` may have leading dimensions of draws."""
        if self._drawn is not None and self._drawn[0] is value and not self._needs_graph(value):
            return self._drawn[1]
        u, log_det = self._push(at_least_float32(value), self._context, inverse=True)
        return self._base.log_prob(u) + log_det

    def detach(self) -> FlowGaussian:
        """The same distribution, cut from the graph."""
        push = self._freeze()
        context = None if self._context is None else self._context.detach()
        copy = FlowGaussian(self._base.detach(), context, push, lambda: push)
        copy._is_path_only = True
        if self._drawn is not None:
            copy._drawn = self._drawn[0], self._drawn[1].detach()
        return copy

    def _needs_graph(self, value: Tensor) -> bool:
        """Whether a gradient is wanted that the density from the drawing pass does not have."""
        if not torch.is_grad_enabled():
            return False
        # Of a frozen distribution, to z itself; of a live one, to the parameters at a z that was drawn without.
        return value.requires_grad if self._is_path_only else value.is_leaf

    @property
    def _typical(self) -> Tensor:
        if self._typical_draws is None:
            like = self._base.mean
            noise = moment_noise(_N_POSTERIOR_MOMENTS, like)
            # One draw at a time: memory does not grow with their number.
            passes = (self._push(self._base.rsample(noise=e.expand(like.shape)), self._context) for e in noise)
            self._typical_draws = torch.stack([z for z, _ in passes])
        return self._typical_draws


@posteriors.register("flow")
@final
class FlowPosterior(PosteriorFamily):
    """Gaussians bent by an inverse autoregressive flow, whose layers all examples share.

    The encoder gives a mean, a raw log-variance, and a context on which every layer of the flow depends. The flow
    starts as the identity, and the family as that of independent Gaussians.

    Args:
        latent_dim: Number of latent dimensions, at least 1.
        n_layers: Number of layers, at least 1.
        width: Units of the two hidden layers of each, at least `latent_dim`.
        context_dim: Numbers of the context, at least 0.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    References:
        Kingma et al., 2016, Improved Variational Inference with Inverse Autoregressive Flow, arXiv:1606.04934.

    Example:
        >>> family = FlowPosterior(2, context_dim=3)
        >>> family.n_parameters, family(torch.zeros(16, 7)).rsample().shape
        (7, torch.Size([16, 2]))
    """

    def __init__(self, latent_dim: int, n_layers: int = 2, width: int = 128, context_dim: int = 16) -> None:
        dims = check_integer("latent_dim", latent_dim, low=1)
        context_dim = check_integer("context_dim", context_dim)
        super().__init__(dims, n_parameters=2 * dims + context_dim)
        layers = autoregressive_layers(dims, n_layers=n_layers, width=width, context_dim=context_dim)
        self.bijection = Bijection(layers)

    def forward(self, parameters: Tensor) -> FlowGaussian:
        """See :class:`FlowGaussian`; means come first, then raw log-variances, then the context."""
        parameters = at_least_float32(parameters)
        n_base = 2 * self.latent_dim
        base = DiagonalGaussian.from_parameters(parameters[..., :n_base])
        context = parameters[..., n_base:] if self.n_parameters > n_base else None
        return FlowGaussian(base, context, self.bijection, self._frozen)

    def _frozen(self) -> _Push:
        weights = {name: value.detach() for name, value in self.bijection.named_parameters()}
        bijection: nn.Module = self.bijection

        def push(*arguments: Any, **options: Any) -> tuple[Tensor, Tensor]:
            image: tuple[Tensor, Tensor] = functional_call(bijection, weights, arguments, options)
            return image

        return push
