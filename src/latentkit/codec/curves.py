"""Exponentials, logarithms, logistic and normal curves in whole numbers, the same to the last digit everywhere."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["exponential_curve", "logarithm_curve", "logistic_curve", "normal_curve"]

Integers = NDArray[np.int64]

#: Of decimal arithmetic, which rounds exp correctly whatever the processor; far more than the results have.
_DIGITS: Final = 40
_PI: Final = Decimal("3.141592653589793238462643383279502884197")
_SMALLEST: Final = Decimal("1e-30")


@lru_cache
def exponential_curve(n: int, *, per_unit: int, bits: int, first: int = 0) -> Integers:
    r"""Return :math:`round(2^b e^{-i / u})` for n whole numbers i from `first` on.

    Args:
        n: How many.
        per_unit: Steps u in which the exponent falls by 1.
        bits: b.
        first: The first i.

    Example:
        >>> exponential_curve(4, per_unit=1, bits=10)
        array([1024,  377,  139,   51])
    """
    with localcontext(Context(prec=_DIGITS)):
        values = [_rounded((Decimal(-i) / per_unit).exp() * (1 << bits)) for i in range(first, first + n)]
    return _kept(values)


@lru_cache
def logarithm_curve(n: int, *, bits: int) -> Integers:
    r"""Return :math:`round(2^b \ln(2 i + 1))` for n whole numbers i from 0 on.

    Args:
        n: How many.
        bits: b.

    Example:
        >>> logarithm_curve(4, bits=10)
        array([   0, 1125, 1648, 1993])
    """
    with localcontext(Context(prec=_DIGITS)):
        values = [_rounded(Decimal(2 * i + 1).ln() * (1 << bits)) for i in range(n)]
    return _kept(values)


@lru_cache
def logistic_curve(half: int, *, per_unit: int, bits: int) -> Integers:
    r"""Return :math:`round(2^b / (1 + e^{-i / u}))` for i from -half to half.

    Args:
        half: Steps to each side of 0.
        per_unit: Steps u in which the argument grows by 1.
        bits: b.

    Example:
        >>> logistic_curve(2, per_unit=1, bits=10)
        array([122, 275, 512, 749, 902])
    """
    with localcontext(Context(prec=_DIGITS)):
        whole = Decimal(1 << bits)
        values = [_rounded(whole / (1 + (Decimal(-i) / per_unit).exp())) for i in range(-half, half + 1)]
    return _kept(values)


@lru_cache
def normal_curve(half: int, *, per_unit: int, bits: int) -> Integers:
    r"""Return :math:`round(2^b \Phi(i / u))`, the normal distribution's, for i from -half to half.

    .. math:: \Phi(x) = \tfrac{1}{2} + \tfrac{1}{\sqrt{2 \pi}} e^{-x^2 / 2} \left(x + \tfrac{x^3}{3}
              + \tfrac{x^5}{3 \cdot 5} + \tfrac{x^7}{3 \cdot 5 \cdot 7} + \ldots\right)

    Args:
        half: Steps to each side of 0.
        per_unit: Steps u in which the argument grows by 1.
        bits: b.

    Example:
        >>> normal_curve(2, per_unit=1, bits=10)
        array([ 23, 162, 512, 862, 1001])
    """
    whole = 1 << bits
    with localcontext(Context(prec=_DIGITS)):
        density = 1 / (2 * _PI).sqrt()
        above = []
        for i in range(half + 1):
            x = Decimal(i) / per_unit
            term = total = x
            n = 1
            while term > _SMALLEST:
                n += 2
                term *= x * x / n
                total += term
            above.append(_rounded((Decimal("0.5") + density * (-x * x / 2).exp() * total) * whole))
    return _kept([*(whole - value for value in above[:0:-1]), *above])


def _rounded(value: Decimal) -> int:
    return int(value.to_integral_value(rounding=ROUND_HALF_EVEN))


def _kept(values: list[int]) -> Integers:
    """An array that is shared by all who ask, and stays as it is."""
    array = np.asarray(values, np.int64)
    array.setflags(write=False)
    return array
