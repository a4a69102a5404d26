"""What the numbers that a decoder gives become among whole numbers: the likelihoods that can be coded by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch

from latentkit.codec.bits_back import Coins, Likelihood, Logistics, Shares
from latentkit.codec.bits_back.likelihoods import COIN_STEPS
from latentkit.codec.exact import Span
from latentkit.codec.mixtures import LEVELS_PER_NAT, LOGITS_PER_NAT, LOWEST_LEVEL, MEANS_PER_SYMBOL
from latentkit.core.errors import UnsupportedOperationError
from latentkit.distributions import BernoulliLikelihood, CategoricalLikelihood, DiscretizedLogisticLikelihood
from latentkit.distributions import Likelihood as FloatingLikelihood

__all__ = ["DecoderOutputs", "decoder_outputs"]

_WIDE = 8191  # beyond which no parameter of a mixture means anything else
_SCALES_PER_NAT = 16
_RAW = 24 * _SCALES_PER_NAT  # of log-scales, beyond which bounded ones do not grow
_MOST_SYMBOLS = 256
#: A scale of 90 symbols: wider logistic distributions have hardly more points in their curve than symbols.
_HIGHEST_LEVEL = 36


@final
@dataclass(frozen=True, slots=True)
class DecoderOutputs:
    """A likelihood in whole numbers, and how a decoder's numbers become its parameters.

    Attributes:
        likelihood: Of whole numbers.
        scales: By which each parameter of a number is multiplied.
        offsets: What is added to it then.
        span: To where they are clamped.
    """

    likelihood: Likelihood
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    span: Span


def decoder_outputs(likelihood: FloatingLikelihood) -> DecoderOutputs:
    """Return what stands for a likelihood.

    Raises:
        UnsupportedOperationError: If nothing does.
    """
    match likelihood:
        case BernoulliLikelihood():
            half = 16 * COIN_STEPS
            return DecoderOutputs(Coins(), (float(COIN_STEPS),), (0.0,), Span(-half, half))
        case DiscretizedLogisticLikelihood() if likelihood.n_levels <= _MOST_SYMBOLS:
            return _logistics(likelihood)
        case CategoricalLikelihood() if likelihood.n_categories <= _MOST_SYMBOLS:
            n = likelihood.n_categories
            return DecoderOutputs(Shares(n), (float(LOGITS_PER_NAT),) * n, (0.0,) * n, Span(-_WIDE - 1, _WIDE))
    raise UnsupportedOperationError(
        f"{type(likelihood).__name__} gives no probabilities of at most {_MOST_SYMBOLS} values. Fit with "
        "likelihood='bernoulli', 'discretized_logistic' or 'categorical'."
    )


def _logistics(likelihood: DiscretizedLogisticLikelihood) -> DecoderOutputs:
    """Locations from -1 to 1 become sixteenths of a level; raw log-scales sixteenths of a nat, to be bounded later."""
    n, half = likelihood.n_components, 0.5 * (likelihood.n_levels - 1)
    raw = torch.arange(-_RAW, _RAW + 1, dtype=torch.float64) / _SCALES_PER_NAT
    shape = (len(raw), likelihood.n_parameters, *[1] * len(likelihood.event_shape))
    bounded = likelihood(raw.reshape(-1, *[1] * (len(shape) - 1)).expand(shape)).log_scales[:, 0].flatten()
    levels = (LEVELS_PER_NAT * (bounded + math.log(half))).round().clamp(LOWEST_LEVEL, _HIGHEST_LEVEL)
    kinds = [
        (half * MEANS_PER_SYMBOL, half * MEANS_PER_SYMBOL),
        (float(_SCALES_PER_NAT), 0.0),
        (float(LOGITS_PER_NAT), 0.0),
    ]
    each = [kind for kind in kinds[: likelihood.n_parameters // n] for _ in range(n)]
    return DecoderOutputs(
        Logistics(likelihood.n_levels, n, lowest=-_RAW, levels=levels.long().numpy()),
        tuple(scale for scale, _ in each),
        tuple(offset for _, offset in each),
        Span(-_WIDE - 1, _WIDE),
    )
