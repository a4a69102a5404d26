"""Learnt mixtures over the latent space: of Gaussians, and of the model's own posteriors."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import singledispatch
from typing import ClassVar, Final, Protocol, final

import torch
from torch import Tensor, nn

from latentkit.core.errors import UnsupportedOperationError
from latentkit.core.parameters import check_integer
from latentkit.core.protocols import Posterior
from latentkit.core.seeds import generator as seeded
from latentkit.distributions.noise import drawn_shape, standard_normal
from latentkit.distributions.posterior import DiagonalGaussian, bounded_log_var
from latentkit.distributions.precision import at_least_float32, wide, without_autocast
from latentkit.distributions.prior import Encode, Prior, draw_components, priors

__all__ = ["MixturePrior", "PosteriorMixture", "VampPrior", "log_prob_under_each"]

_LOG_2PI: Final = math.log(2.0 * math.pi)
_PSEUDO_NOISE: Final = 0.01  # of the data's standard deviation: pseudo-inputs from the same row must be able to part


class Component(Posterior, Protocol):
    """What a mixture is made of: posteriors with known spread, batch shape (components,)."""

    @property
    def stddev(self) -> Tensor:
        """Standard deviation of each dimension, shape (components, latent)."""
        ...


@singledispatch
def log_prob_under_each(components: Posterior, rows: Tensor) -> Tensor:
    """Log-density of every row under every component, nats.

    Args:
        components: Posterior of batch shape (components,).
        rows: Values, shape (n, latent).

    Returns:
        Shape (n, components).
    """
    return components.log_prob(rows.unsqueeze(-2))


@log_prob_under_each.register
def _(components: DiagonalGaussian, rows: Tensor) -> Tensor:
    # The square (z - m)^2 / v multiplied out is one matrix product instead of n * components * latent differences; its
    # terms cancel, hence the wide precision. With variances of at least e^-20 it keeps six digits after the point.
    mean, log_var, z = wide(components.mean), wide(components.log_var), wide(rows)
    precision = torch.exp(-log_var)
    shifted = mean * precision
    constant = (mean * shifted + log_var).sum(-1) + mean.shape[-1] * _LOG_2PI
    squared = torch.cat((z.square(), z), dim=-1) @ torch.cat((precision, -2.0 * shifted), dim=-1).mT
    return -0.5 * (squared + constant)


@final
class PosteriorMixture:
    """Mixture of posteriors over the latent space, batch shape ().

    .. math:: p(z) = sum_c w_c q_c(z)

    Args:
        log_weights: Normalised log-weights, shape (components,).
        components: The posteriors q_c, batch shape (components,).
        select: From numbers of components, shape (n,), to those components as a posterior of batch shape (n,).
        n_at_once: How many components to select at once, where that takes memory; None for any number.

    Example:
        >>> means = torch.zeros(3, 2)
        >>> p = PosteriorMixture(
        ...     torch.full((3,), 1 / 3).log(),
        ...     DiagonalGaussian(means, means),
        ...     lambda chosen: DiagonalGaussian(means[chosen], means[chosen]),
        ... )
        >>> p.sample(5).shape, p.log_prob(torch.zeros(7, 2)).shape
        (torch.Size([5, 2]), torch.Size([7]))
    """

    __slots__ = ("_n_at_once", "_select", "components", "log_weights")

    def __init__(
        self,
        log_weights: Tensor,
        components: Component,
        select: Callable[[Tensor], Posterior],
        *,
        n_at_once: int | None = None,
    ) -> None:
        self.log_weights = at_least_float32(log_weights)
        self.components = components
        self._select = select
        self._n_at_once = n_at_once

    @property
    def mean(self) -> Tensor:
        """Shape (latent,)."""
        return (self._weights * self.components.mean).sum(0)

    @property
    def stddev(self) -> Tensor:
        """Standard deviation of each dimension, shape (latent,)."""
        # Around the mean, as in GaussianMixture: the difference of raw moments would cancel.
        variances = (self.components.mean - self.mean).square() + self.components.stddev.square()
        return (self._weights * variances).sum(0).sqrt()

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats of `value`, shape (*batch, latent) to (*batch,)."""
        value = at_least_float32(value)
        with without_autocast(value):
            each = log_prob_under_each(self.components, value.reshape(-1, value.shape[-1]))
            return torch.logsumexp(each + self.log_weights, dim=-1).to(value.dtype).reshape(value.shape[:-1])

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws, shape (latent,) or (n, latent)."""
        with torch.no_grad():
            chosen = draw_components(self.log_weights, n, generator=generator)
            like = self.components.mean
            noise = standard_normal(drawn_shape(n, like.shape[1:]), like=like, generator=generator)
            if n is None:
                return self._select(chosen.unsqueeze(0)).rsample(noise=noise.unsqueeze(0)).squeeze(0)
            size = self._n_at_once or max(1, n)
            parts = zip(torch.split(chosen, size), torch.split(noise, size), strict=True)
            return torch.cat([self._select(numbers).rsample(noise=part) for numbers, part in parts])

    @property
    def _weights(self) -> Tensor:
        return self.log_weights.exp().unsqueeze(-1)


@priors.register("mixture")
@final
class MixturePrior(Prior):
    """Gives a mixture of Gaussians with independent dimensions; weights, means and variances are learnt.

    .. math:: p(z) = sum_c w_c N(z; m_c, diag(v_c))

    It starts near the standard normal: every variance is 1/2, and so is that of the means, which are drawn from
    torch's global generator as the weights of networks are.

    Args:
        latent_dim: Number of latent dimensions, at least 1.
        n_components: Number of components, at least 1.

    Raises:
        InvalidParameterError: If an option is not an integer of at least 1.

    References:
        Dilokthanakul et al., 2016, Deep Unsupervised Clustering with Gaussian Mixture Variational Autoencoders,
        arXiv:1611.02648; Tomczak and Welling, 2018, VAE with a VampPrior, section 4.2 ("MoG"), arXiv:1705.07120.

    Example:
        >>> p = MixturePrior(2, n_components=3)()
        >>> p.log_prob(torch.zeros(5, 2)).shape
        torch.Size([5])
    """

    def __init__(self, latent_dim: int, n_components: int = 10) -> None:
        super().__init__()
        self.latent_dim = check_integer("latent_dim", latent_dim, low=1)
        n_components = check_integer("n_components", n_components, low=1)
        self.logits = nn.Parameter(torch.zeros(n_components))
        self.means = nn.Parameter(torch.randn(n_components, latent_dim) * math.sqrt(0.5))
        self.raw_log_vars = nn.Parameter(torch.full((n_components, latent_dim), math.log(0.5)))

    def forward(self, encode: Encode | None = None) -> PosteriorMixture:
        """The mixture with the present parameters."""
        means, log_vars = self.means, bounded_log_var(self.raw_log_vars)
        return PosteriorMixture(
            torch.log_softmax(at_least_float32(self.logits), dim=0),
            DiagonalGaussian(means, log_vars),
            lambda chosen: DiagonalGaussian(means[chosen], log_vars[chosen]),
        )


@priors.register("vamp")
@final
class VampPrior(Prior):
    r"""Gives the mixture of the model's own posteriors at learnt pseudo-inputs.

    .. math:: p(z) = \frac{1}{K} \sum_k q(z \mid u_k)

    The best prior for the ELBO is the aggregate posterior; this is its mixture over K made-up examples instead of all
    real ones. The pseudo-inputs u_k start as rows of the data, with noise of a hundredth of the data's standard
    deviation (:meth:`initialise`; as noise alone without it), and are learnt freely: nothing keeps them within the
    range of the data. Layers with a memory of their batches (batch normalisation) see them as examples too.

    Args:
        latent_dim: Number of latent dimensions, at least 1.
        event_shape: Shape of one example in model units.
        n_components: Number of pseudo-inputs K, at least 1. Every call encodes them all.

    Raises:
        InvalidParameterError: If `latent_dim` or `n_components` is not an integer of at least 1.

    References:
        Tomczak and Welling, 2018, VAE with a VampPrior, arXiv:1705.07120.

    Example:
        >>> prior = VampPrior(2, (4,), n_components=3)
        >>> p = prior(lambda x: DiagonalGaussian(x[:, :2], x[:, 2:]))
        >>> p.sample(5).shape
        torch.Size([5, 2])
    """

    log_weights: Tensor
    support: ClassVar[str] = "posterior"
    is_made_of_posteriors: ClassVar[bool] = True

    def __init__(self, latent_dim: int, event_shape: tuple[int, ...], n_components: int = 500) -> None:
        super().__init__()
        self.latent_dim = check_integer("latent_dim", latent_dim, low=1)
        n_components = check_integer("n_components", n_components, low=1)
        self.pseudo_inputs = nn.Parameter(_PSEUDO_NOISE * torch.randn(n_components, *event_shape))
        self.register_buffer("log_weights", torch.full((n_components,), -math.log(n_components)), persistent=False)

    def forward(self, encode: Encode | None = None) -> PosteriorMixture:
        """The mixture of what `encode` gives for the pseudo-inputs.

        Raises:
            UnsupportedOperationError: If `encode` is missing.
        """
        if encode is None:
            raise UnsupportedOperationError(
                "the 'vamp' prior is a mixture of a model's own posteriors, and was called without `encode`. "
                "Call it as prior(model.encode)."
            )
        return PosteriorMixture(
            self.log_weights,
            encode(self.pseudo_inputs),  # type: ignore[arg-type]  # posteriors of the registry know their spread
            lambda chosen: encode(self.pseudo_inputs[chosen]),
            n_at_once=self.pseudo_inputs.shape[0],  # a batch that is known to fit
        )

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Start the pseudo-inputs as rows of `x`, shape (n, *event), evenly spread over it, and a little noise."""
        count = self.pseudo_inputs.shape[0]
        rows = torch.linspace(0, len(x) - 1, count, dtype=torch.float64).round().long()
        noise = standard_normal(self.pseudo_inputs.shape, like=x, generator=seeded(0, "pseudo-inputs"))
        self.pseudo_inputs.copy_(x[rows.to(x.device)] + _PSEUDO_NOISE * x.std(correction=0) * noise)
