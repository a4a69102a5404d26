"""Curves of rate and quality, and how far one lies from another."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import InvalidParameterError

__all__ = ["bjontegaard_rate"]


def bjontegaard_rate(
    rates: Sequence[float], qualities: Sequence[float], other_rates: Sequence[float], other_qualities: Sequence[float]
) -> float:
    r"""How much more rate the other curve takes than the first at equal quality, as a share (BD-rate).

    .. math:: \exp\left(\frac{1}{q_1 - q_0} \int_{q_0}^{q_1} \log R_{other}(q) - \log R(q) \, dq\right) - 1

    over the qualities that both reach. Logarithms of rates are interpolated by monotone cubic polynomials between the
    points, as is usual today, rather than by one polynomial for all.

    Args:
        rates: Above 0, of any unit.
        qualities: Of each rate, such as PSNR in decibels; where rates rise, qualities rise.
        other_rates: Of the other curve.
        other_qualities: Of these.

    Returns:
        -0.2 where the other takes a fifth less, 0.25 where it takes a quarter more.

    Raises:
        InvalidParameterError: If a curve has fewer than two points, a rate is not above 0, qualities do not rise, or no
            quality is reached by both.

    References:
        Bjontegaard, 2001, Calculation of average PSNR differences between RD-curves, VCEG-M33.

    Example:
        >>> bjontegaard_rate([1, 2, 4], [30, 33, 36], [0.8, 1.6, 3.2], [30, 33, 36])
        -0.2
    """
    from scipy.interpolate import PchipInterpolator

    first, second = _curve(rates, qualities), _curve(other_rates, other_qualities)
    low, high = max(first[0][0], second[0][0]), min(first[0][-1], second[0][-1])
    if not low < high:
        raise InvalidParameterError("no quality is reached by both curves; measure them over a common range.")
    areas = [float(PchipInterpolator(*curve).integrate(low, high)) for curve in (first, second)]
    return round(math.expm1((areas[1] - areas[0]) / float(high - low)), 12)


def _curve(rates: Sequence[float], qualities: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Qualities and logarithms of rates, in rising order."""
    r, q = np.asarray(rates, np.float64), np.asarray(qualities, np.float64)
    if r.shape != q.shape or r.ndim != 1 or len(r) < 2 or not (r > 0).all():
        raise InvalidParameterError("a curve has at least two points, each of a rate above 0 and a quality.")
    order = np.argsort(r)
    if not (np.diff(q[order]) > 0).all():
        raise InvalidParameterError("where rates rise, qualities must rise; leave out points that lie below others.")
    return q[order], np.log(r[order])
