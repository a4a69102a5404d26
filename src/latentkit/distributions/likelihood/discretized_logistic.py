"""Data on an even grid of ordered levels, such as 8-bit pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Final, final

import torch
import torch.nn.functional as F
from torch import Tensor

from latentkit.core.parameters import check_integer
from latentkit.distributions.likelihood.family import Likelihood, likelihoods, sum_observed
from latentkit.distributions.noise import drawn_shape, gumbel, logistic
from latentkit.distributions.precision import at_least_float32

__all__ = ["DiscretizedLogisticLikelihood", "DiscretizedLogisticMixture"]

# The same as in the Bernoulli family: softplus is exact in float64 with it.
_SOFTPLUS_LINEAR: Final = 40.0


@final
class DiscretizedLogisticMixture:
    """Independent features on the grid k / (L - 1), each a mixture of logistic distributions rounded to the grid.

    In y = 2 x - 1 with half a step h = 1 / (L - 1), a component with location m and scale s gives

    .. math:: P(y) = sigma((y + h - m) / s) - sigma((y - h - m) / s),

    the lowest level takes all mass below it and the highest all above, so that the levels sum to one. The difference
    is computed as log sigma(a) + log sigma(-b) + log(1 - exp(b - a)), an identity that loses no digits in the tails.

    Args:
        locations: m, shape (*batch, components, *event).
        log_scales: log s, shape of `locations`.
        logits: Unnormalised log-weights of the components, shape of `locations`; None for equal weights.
        n_levels: Number of levels L, at least 2.
        n_event_dims: Number of dimensions of one example.

    References:
        Salimans et al., 2017, PixelCNN++, section 2.1, arXiv:1701.05517.
    """

    __slots__ = ("_dim", "locations", "log_scales", "logits", "n_event_dims", "n_levels")

    def __init__(
        self,
        locations: Tensor,
        log_scales: Tensor,
        logits: Tensor | None = None,
        *,
        n_levels: int = 256,
        n_event_dims: int = 1,
    ) -> None:
        self.locations = at_least_float32(locations)
        self.log_scales = at_least_float32(log_scales)
        self.logits = torch.zeros_like(self.locations) if logits is None else at_least_float32(logits)
        self.n_levels = n_levels
        self.n_event_dims = n_event_dims
        self._dim = -1 - n_event_dims

    @property
    def mean(self) -> Tensor:
        """Expected value in model units, shape (*batch, *event), to within half a step.

        It is the mean of the logistic distributions clipped to the range of the levels, in closed form; rounding to
        the grid, which is left out, moves it by nothing that counts unless a scale is below half a step.
        """
        scales = self.log_scales.exp()
        above = F.softplus((self.locations + 1.0) / scales, threshold=_SOFTPLUS_LINEAR)
        beyond = F.softplus((self.locations - 1.0) / scales, threshold=_SOFTPLUS_LINEAR)
        clipped = 0.5 * scales * (above - beyond)
        return (torch.softmax(self.logits, self._dim) * clipped).sum(self._dim).clamp(0.0, 1.0)

    @property
    def mode(self) -> Tensor:
        """The most probable of the two end levels and of the levels nearest to each location, shape (*batch, *event).

        With one component that is the mode; with several, a level between two that overlap may be more probable.
        """
        ends = torch.ones_like(self.locations.narrow(self._dim, 0, 1))
        candidates = self._to_grid(torch.cat((self.locations, ends, -ends), self._dim)).movedim(self._dim, 0)
        best = self._log_masses(candidates).argmax(0, keepdim=True)
        return candidates.gather(0, best).squeeze(0)

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Log-mass of `value` in nats, shape (*batch,); features with a false `mask` do not count."""
        if mask is not None:
            value = value.masked_fill(~mask, 0.0)
        return sum_observed(self._log_masses(value), mask, self.n_event_dims)

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws in model units, shape (*batch, *event) or (n, *batch, *event); no gradient."""
        with torch.no_grad():
            shape = drawn_shape(n, self.logits.shape)
            noise = gumbel(shape, like=self.logits, generator=generator)
            chosen = (self.logits + noise).argmax(self._dim, keepdim=True)
            location = self.locations.expand(shape).gather(self._dim, chosen).squeeze(self._dim)
            log_scale = self.log_scales.expand(shape).gather(self._dim, chosen).squeeze(self._dim)
            spread = logistic(location.shape, like=location, generator=generator)
            return self._to_grid(location + log_scale.exp() * spread)

    def _log_masses(self, value: Tensor) -> Tensor:
        half_step = 1.0 / (self.n_levels - 1)
        value = value.unsqueeze(self._dim)
        at_bottom, at_top = value < 0.5 * half_step, value > 1.0 - 0.5 * half_step
        inverse_scales = torch.exp(-self.log_scales)
        centered = (2.0 * value - 1.0) - self.locations
        below_upper = F.softplus((centered + half_step) * -inverse_scales, threshold=_SOFTPLUS_LINEAR)
        above_lower = F.softplus((centered - half_step) * inverse_scales, threshold=_SOFTPLUS_LINEAR)
        width = torch.log(-torch.expm1((-2.0 * half_step) * inverse_scales))
        inside = width.masked_fill(at_bottom | at_top, 0.0)
        components = inside - below_upper.masked_fill(at_top, 0.0) - above_lower.masked_fill(at_bottom, 0.0)
        if self.logits.shape[self._dim] == 1:
            return components.squeeze(self._dim)
        return torch.logsumexp(torch.log_softmax(self.logits, self._dim) + components, self._dim)

    def _to_grid(self, y: Tensor) -> Tensor:
        n_steps = self.n_levels - 1
        return ((y + 1.0) * (0.5 * n_steps)).round().clamp(0, n_steps) / n_steps


@likelihoods.register("discretized_logistic", cites=("salimans2017pixelcnn",))
@final
class DiscretizedLogisticLikelihood(Likelihood):
    """Features on a grid of levels: the decoder gives locations, raw log-scales and, for a mixture, logits.

    A raw log-scale r becomes b tanh(r / b) with b = log(L - 1) + 1.5: scales stay between a tenth of a step and wider
    than the whole range, as PixelCNN++'s floor of exp(-7) does for 256 levels.

    Args:
        event_shape: Shape of one example.
        n_components: Components of each feature's mixture, at least 1. The decoder gives 3 numbers for each component
            of each feature (2 where there is one component).
        n_levels: Number of levels L, at least 2; the data hold k / (L - 1) for level k.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    Example:
        >>> family = DiscretizedLogisticLikelihood((1, 28, 28), n_components=3)
        >>> family(torch.zeros(16, 9, 1, 28, 28)).log_prob(torch.ones(16, 1, 28, 28)).shape
        torch.Size([16])
    """

    discrete: ClassVar[bool] = True

    def __init__(self, event_shape: Sequence[int], *, n_components: int = 3, n_levels: int = 256) -> None:
        check_integer("n_components", n_components, low=1)
        check_integer("n_levels", n_levels, low=2)
        super().__init__(event_shape, n_parameters=2 if n_components == 1 else 3 * n_components)
        self.n_components = n_components
        self.n_levels = n_levels
        self._bound = math.log(n_levels - 1) + 1.5

    def forward(self, parameters: Tensor) -> DiscretizedLogisticMixture:
        """Read locations, raw log-scales and logits, each (*batch, n_components, *event), from the decoder's output."""
        n_event_dims = len(self.event_shape)
        parts = at_least_float32(parameters).split_with_sizes(
            [self.n_components] * (self.n_parameters // self.n_components), -1 - n_event_dims
        )
        log_scales = torch.tanh(parts[1] * (1.0 / self._bound)) * self._bound
        logits = parts[2] if len(parts) == 3 else None
        return DiscretizedLogisticMixture(
            parts[0], log_scales, logits, n_levels=self.n_levels, n_event_dims=n_event_dims
        )

    def initial_parameters(self, x: Tensor) -> Tensor:
        """Locations spread about each feature's mean, scales with its standard deviation, equal weights."""
        y = 2.0 * at_least_float32(x) - 1.0
        mean = y.mean(0)
        stddev = (y - mean).square().mean(0).sqrt()
        # Components that start equal stay equal: they get the same gradient.
        offsets = torch.linspace(-1.0, 1.0, self.n_components) if self.n_components > 1 else torch.zeros(1)
        offsets = offsets.to(stddev).reshape(-1, *[1] * len(self.event_shape))
        # A raw value within (-b, b) keeps tanh away from its flat ends, also for a constant feature.
        lowest = self._bound * math.tanh(1.0)
        log_scale = (stddev * (math.sqrt(3.0) / math.pi)).log().clamp(-lowest, lowest)
        raw = self._bound * torch.atanh(log_scale / self._bound)
        parts = [mean + offsets * stddev, raw.expand(self.n_components, *raw.shape)]
        if self.n_components > 1:
            parts.append(torch.zeros_like(parts[0]))
        return torch.cat(parts)
