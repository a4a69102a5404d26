"""Real-valued data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Final, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentkit.core.parameters import check_choice, check_real
from latentkit.distributions.likelihood.family import Likelihood, likelihoods, sum_observed
from latentkit.distributions.noise import drawn_shape, standard_normal
from latentkit.distributions.precision import at_least_float32

__all__ = ["Gaussian", "GaussianLikelihood"]

_HALF_LOG_2PI: Final = 0.5 * math.log(2.0 * math.pi)
#: Means of a bounded family start at least this far from 0 and 1, where the sigmoid still has a slope.
_EDGE: Final = 1e-3
_VARIANCES: Final = ("shared", "feature", "fixed", "network")


@final
class Gaussian:
    """Independent real features.

    .. math:: log p(x) = sum_i -1/2 ((x_i - mean_i) / stddev_i)^2 - log stddev_i - 1/2 log 2 pi

    Args:
        mean: Shape (*batch, *event).
        log_stddev: Logarithm of the standard deviation: shape (), (*event,) or (*batch, *event).
        n_event_dims: Number of dimensions of one example.
    """

    __slots__ = ("log_stddev", "mean", "n_event_dims")

    def __init__(self, mean: Tensor, log_stddev: Tensor, *, n_event_dims: int = 1) -> None:
        self.mean = at_least_float32(mean)
        self.log_stddev = at_least_float32(log_stddev)
        self.n_event_dims = n_event_dims

    @property
    def stddev(self) -> Tensor:
        """Standard deviation, shape (*batch, *event)."""
        return self.log_stddev.exp().expand_as(self.mean)

    @property
    def mode(self) -> Tensor:
        """The mean, shape (*batch, *event)."""
        return self.mean

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Log-density of `value` in nats, shape (*batch,); features with a false `mask` do not count."""
        if mask is not None:
            value = value.masked_fill(~mask, 0.0)
        difference = value - self.mean
        if self.log_stddev.ndim == 0:
            # One shared variance leaves the sums: a single pass over (*batch, *event).
            squares = sum_observed(difference.square(), mask, self.n_event_dims)
            constant = (self.log_stddev + _HALF_LOG_2PI) * -self._n_observed(mask)
            return torch.addcmul(constant, squares, torch.exp(-2.0 * self.log_stddev), value=-0.5)
        standardised = difference * torch.exp(-self.log_stddev)
        elements = -0.5 * standardised.square() - self.log_stddev
        return sum_observed(elements, mask, self.n_event_dims) - _HALF_LOG_2PI * self._n_observed(mask)

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws, shape (*batch, *event) or (n, *batch, *event); no gradient."""
        with torch.no_grad():
            noise = standard_normal(drawn_shape(n, self.mean.shape), like=self.mean, generator=generator)
            return self.mean + self.log_stddev.exp() * noise

    def _n_observed(self, mask: Tensor | None) -> Tensor | int:
        shape = self.mean.shape[self.mean.ndim - self.n_event_dims :]
        if mask is None:
            return math.prod(shape)
        return mask.expand(*mask.shape[: mask.ndim - self.n_event_dims], *shape).flatten(-self.n_event_dims).sum(-1)


@likelihoods.register("gaussian", cites=("rybkin2021simple",))
@final
class GaussianLikelihood(Likelihood):
    """Real features: the decoder gives their means, and their variances where `variance` is ``"network"``.

    A learnt standard deviation is `min_stddev` + something smooth above it in logarithms, log s = m + softplus(r - m)
    with m = log `min_stddev`: without a floor, a feature that is predicted exactly (a constant column) would have an
    unbounded density.

    Args:
        event_shape: Shape of one example.
        variance: ``"shared"``: one learnt for all features (sigma-VAE); ``"feature"``: one learnt for each feature;
            ``"fixed"``: `stddev`; ``"network"``: the decoder gives one for each feature and example.
        stddev: The standard deviation where it is fixed, and where a learnt one starts, in model units.
        min_stddev: Floor of learnt standard deviations, in model units.
        bounded: Whether means pass through a sigmoid, for data from 0 to 1.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    References:
        Rybkin et al., 2021, Simple and Effective VAE Training with Calibrated Decoders, arXiv:2006.13202.

    Example:
        >>> family = GaussianLikelihood((8,), variance="feature")
        >>> family(torch.zeros(16, 1, 8)).log_prob(torch.ones(16, 8)).shape
        torch.Size([16])
    """

    discrete: ClassVar[bool] = False
    raw_log_stddev: Tensor

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        variance: Literal["shared", "feature", "fixed", "network"] = "shared",
        stddev: float = 1.0,
        min_stddev: float = 1e-3,
        bounded: bool = False,
    ) -> None:
        check_choice("variance", variance, _VARIANCES)
        super().__init__(event_shape, n_parameters=2 if variance == "network" else 1)
        self.variance = variance
        self.bounded = bounded
        self.min_stddev = check_real("min_stddev", min_stddev, low=0.0, inclusive=(False, True))
        self._floor = math.log(self.min_stddev)
        if variance == "fixed":
            start = math.log(check_real("stddev", stddev, low=0.0, inclusive=(False, True)))
            self.register_buffer("raw_log_stddev", torch.tensor(start), persistent=False)
        else:
            start = math.log(check_real("stddev", stddev, low=self.min_stddev, inclusive=(False, True)))
            shape = self.event_shape if variance == "feature" else ()
            raw = self._unbounded(torch.full(shape, start))
            if variance == "network":
                self.register_buffer("raw_log_stddev", raw, persistent=False)
            else:
                self.raw_log_stddev = nn.Parameter(raw)

    @property
    def stddev(self) -> Tensor:
        """The fixed or learnt standard deviation, shape () or event_shape; the start where the network gives it."""
        return self._log_stddev().exp()

    def forward(self, parameters: Tensor) -> Gaussian:
        """Read means (and raw log standard deviations), shape (*batch, n_parameters, *event)."""
        n_event_dims = len(self.event_shape)
        if self.variance == "network":
            mean, raw = self.split(parameters)
            return Gaussian(self._linked(mean), self._bounded(raw), n_event_dims=n_event_dims)
        mean = self._linked(parameters.squeeze(-1 - n_event_dims))
        return Gaussian(mean, self._log_stddev(), n_event_dims=n_event_dims)

    def initial_parameters(self, x: Tensor) -> Tensor:
        """Mean of each feature, and its raw log standard deviation where the network gives it."""
        x = at_least_float32(x)
        mean = x.mean(0)
        start = torch.logit(mean, eps=_EDGE) if self.bounded else mean
        if self.variance != "network":
            return start.unsqueeze(0)
        return torch.stack((start, self._unbounded(self._start((x - mean).square().mean(0)))))

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Start a learnt standard deviation at that of `x` around each feature's mean."""
        x = at_least_float32(x)
        self.calibrate(x, x.mean(0))

    @torch.no_grad()
    def calibrate(self, x: Tensor, mean: Tensor) -> None:
        """Set a learnt standard deviation to that of `x` around these means, at which the likelihood is highest."""
        if isinstance(self.raw_log_stddev, nn.Parameter):
            variance = (at_least_float32(x) - at_least_float32(mean)).square().mean(0)
            start = self._start(variance if self.variance == "feature" else variance.mean())
            self.raw_log_stddev.copy_(self._unbounded(start))

    def _linked(self, mean: Tensor) -> Tensor:
        return torch.sigmoid(at_least_float32(mean)) if self.bounded else mean

    def _log_stddev(self) -> Tensor:
        raw = at_least_float32(self.raw_log_stddev)
        return raw if self.variance == "fixed" else self._bounded(raw)

    def _start(self, variance: Tensor) -> Tensor:
        # A constant feature starts a little above the floor, where the bound still has a gradient.
        return 0.5 * variance.clamp_min((2.0 * self.min_stddev) ** 2).log()

    def _bounded(self, raw: Tensor) -> Tensor:
        return self._floor + F.softplus(raw - self._floor)

    def _unbounded(self, log_stddev: Tensor) -> Tensor:
        excess = log_stddev - self._floor
        return self._floor + excess + torch.log(-torch.expm1(-excess))
