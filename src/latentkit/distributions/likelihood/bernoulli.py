"""Binary data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, final

import torch
import torch.nn.functional as F
from torch import Tensor

from latentkit.distributions.likelihood.family import Likelihood, likelihoods, sum_observed
from latentkit.distributions.noise import drawn_shape, uniform
from latentkit.distributions.precision import at_least_float32, without_autocast

__all__ = ["Bernoulli", "BernoulliLikelihood"]

# Beyond this, softplus(l) is l to the last bit of float64 (torch's own default of 20 is good for float32 alone).
_SOFTPLUS_LINEAR: Final = 40.0


@final
class Bernoulli:
    """Independent binary features, by their logits.

    .. math:: log p(x) = sum_i x_i l_i - softplus(l_i)

    For x between 0 and 1 this is the (unnormalised) cross-entropy that is in common use for grey pixels.

    Args:
        logits: Log-odds of a one, shape (*batch, *event).
        n_event_dims: Number of dimensions of one example.
    """

    __slots__ = ("logits", "n_event_dims")

    def __init__(self, logits: Tensor, *, n_event_dims: int = 1) -> None:
        self.logits = at_least_float32(logits)
        self.n_event_dims = n_event_dims

    @property
    def mean(self) -> Tensor:
        """Probability of a one, shape (*batch, *event)."""
        return torch.sigmoid(self.logits)

    @property
    def mode(self) -> Tensor:
        """0 or 1, the more probable, shape (*batch, *event)."""
        return (self.logits > 0).to(self.logits.dtype)

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Log-mass of `value` in nats, shape (*batch,); features with a false `mask` do not count."""
        if mask is None:
            # As a dot product the first term needs no array of its own: a third of the pass on 1024 x 784 logits.
            dtype = torch.promote_types(self.logits.dtype, value.dtype)
            logits, ones = (part.to(dtype).flatten(-self.n_event_dims) for part in (self.logits, value))
            with without_autocast(logits):
                dots: Tensor = torch.linalg.vecdot(logits, ones)
            return dots - F.softplus(logits, threshold=_SOFTPLUS_LINEAR).sum(-1)
        value = value.masked_fill(~mask, 0.0)
        elements = value * self.logits - F.softplus(self.logits, threshold=_SOFTPLUS_LINEAR)
        return sum_observed(elements, mask, self.n_event_dims)

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Zeros and ones, shape (*batch, *event) or (n, *batch, *event); no gradient."""
        with torch.no_grad():
            threshold = uniform(drawn_shape(n, self.logits.shape), like=self.logits, generator=generator)
            return (threshold < self.mean).to(self.logits.dtype)


@likelihoods.register("bernoulli")
@final
class BernoulliLikelihood(Likelihood):
    """Binary features: the decoder gives one logit for each.

    Args:
        event_shape: Shape of one example.

    Example:
        >>> family = BernoulliLikelihood((784,))
        >>> family(torch.zeros(16, 1, 784)).log_prob(torch.ones(16, 784)).shape
        torch.Size([16])
    """

    discrete: ClassVar[bool] = True

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__(event_shape, n_parameters=1)

    def forward(self, parameters: Tensor) -> Bernoulli:
        """Read logits, shape (*batch, 1, *event)."""
        n_event_dims = len(self.event_shape)
        return Bernoulli(parameters.squeeze(-1 - n_event_dims), n_event_dims=n_event_dims)

    def initial_parameters(self, x: Tensor) -> Tensor:
        """Logit of each feature's mean; means are kept within [0.001, 0.999] so that no logit starts saturated."""
        return torch.logit(at_least_float32(x).mean(0), eps=1e-3).unsqueeze(0)
