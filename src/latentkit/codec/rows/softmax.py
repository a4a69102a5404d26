r"""Probabilities by whole numbers: logits in units of 1/32 nat become frequencies.

The tables are recurrences and roots of whole numbers, so that they are the same wherever they are computed.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["LOGIT_STEP", "PRECISION", "SHARPEST", "UNITS", "bump", "cumulated_frequencies", "peak"]

Integers = NDArray[np.int64]

#: What a logit of 1 is worth, in nats.
LOGIT_STEP: Final = 1 / 32
#: Bits of a frequency.
PRECISION: Final = 20
#: What a position of 1 is worth: this many are a standard deviation.
UNITS: Final = 512
#: Largest magnitude of a logarithm of a sharpness, in logits.
SHARPEST: Final = 192

_WORD: Final = 62
_STEP_DOWN: Final = 4_469_799_356_029_710_114  # 2^62 exp(-1/32)
_HIGHEST: Final = 413_111  # 2^10 exp(192/32)
_LONGEST: Final = 512  # by then nothing is left of 2^20
_FARTHEST: Final = 1 << 13


def _falling(first: int, n: int) -> Integers:
    """Whole numbers next to first * exp(-d / 32) for d = 0, 1, ..., n - 1."""
    values, value = [], 1 << _WORD
    for _ in range(n):
        values.append((first * value + (1 << (_WORD - 1))) >> _WORD)
        value = value * _STEP_DOWN >> _WORD
    return np.array(values, np.int64)


_WEIGHTS: Final = _falling(1 << PRECISION, _LONGEST)
_SHARPNESS: Final = _falling(_HIGHEST, 2 * SHARPEST + 1)[::-1].copy()
_PEAK: Final = np.array([(1 << 20) // (32 * 32 + u * u) for u in range(_FARTHEST)], np.int64)
_BUMP: Final = np.array([32 - math.isqrt(32 * 32 + u * u) for u in range(_FARTHEST)], np.int64)


def cumulated_frequencies(logits: Integers) -> Integers:
    r"""Return frequencies of 2^20 in proportion to the exponentials of logits, cumulated.

    .. math:: f_i = \left\lfloor \frac{w_i (2^{20} - N)}{\sum_j w_j} \right\rfloor + 1, \qquad
              w_i = \left\lfloor 2^{20} e^{-(\max_j l_j - l_i) / 32} \right\rfloor

    What is left over goes to the first of the largest.

    Args:
        logits: Whole numbers, in units of 1/32 nat, shape (n, N).

    Returns:
        Starts of the symbols, and where the last one ends, shape (n, N + 1).

    Example:
        >>> cumulated_frequencies(np.array([[0, 0, -32], [0, -10_000, 0]]))
        array([[      0,  442834,  885667, 1048576],
               [      0,  524288,  524289, 1048576]])
    """
    n, n_symbols = logits.shape
    highest = logits.argmax(1)
    rows = np.arange(n)
    below = logits[rows, highest][:, None] - logits
    weights = _WEIGHTS[np.minimum(below, _LONGEST - 1)]
    totals = weights.sum(1, keepdims=True)
    weights *= (1 << PRECISION) - n_symbols
    weights //= totals
    weights += 1
    weights[rows, highest] += (1 << PRECISION) - weights.sum(1)
    starts = np.zeros((n, n_symbols + 1), np.int64)
    np.cumsum(weights, axis=1, out=starts[:, 1:])
    return starts


def bump(positions: Integers, centres: Integers, log_sharpness: Integers) -> Integers:
    r"""Return logits that fall off around a centre, first as a square, then as the distance.

    .. math:: 1 - \sqrt{1 + u^2}, \qquad u = e^r |x - \mu|

    Args:
        positions: x, in 1/512, shape (N,).
        centres: :math:`\mu`, in 1/512, shape (n,).
        log_sharpness: r, in 1/32, cut off at 192; shape (n,), or a single one.

    Returns:
        Logits in units of 1/32 nat, shape (n, N).

    Example:
        >>> bump(np.array([-512, 0, 1024]), np.array([0]), np.array([0]))
        array([[-13,   0, -39]])
    """
    logits: Integers = _BUMP[_distances(positions, centres, log_sharpness)]
    return logits


def peak(positions: Integers, centres: Integers, log_sharpness: Integers) -> Integers:
    r"""Return what is high at a centre, and nothing far from it, in 1/1024.

    .. math:: \frac{1}{1 + u^2}, \qquad u = e^r |x - \mu|

    Args and shapes are those of :func:`bump`.

    Example:
        >>> peak(np.array([-512, 0, 1024]), np.array([0]), np.array([0]))
        array([[ 512, 1024,  204]])
    """
    values: Integers = _PEAK[_distances(positions, centres, log_sharpness)]
    return values


def _distances(positions: Integers, centres: Integers, log_sharpness: Integers) -> Integers:
    """Distances from centres, u of :func:`bump`, in 1/32."""
    sharpness = _SHARPNESS[np.clip(log_sharpness, -SHARPEST, SHARPEST) + SHARPEST]
    distances = np.abs(positions - centres[:, None]) * sharpness[..., None]
    places: Integers = np.minimum(distances >> 14, _FARTHEST - 1)
    return places
