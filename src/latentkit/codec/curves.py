"""Exponentials and logistic curves in whole numbers, the same to the last digit on every machine."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["exponential_curve", "logistic_curve"]

Integers = NDArray[np.int64]

#: Of decimal arithmetic, which rounds exp correctly whatever the processor; far more than the results have.
_DIGITS: Final = 40


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


def _rounded(value: Decimal) -> int:
    return int(value.to_integral_value(rounding=ROUND_HALF_EVEN))


def _kept(values: list[int]) -> Integers:
    """An array that is shared by all who ask, and stays as it is."""
    array = np.asarray(values, np.int64)
    array.setflags(write=False)
    return array
