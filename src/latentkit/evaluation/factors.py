"""Known factors of variation beside the codes of the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.evaluation.inputs import Numbers, check_rows

__all__ = ["CodesAndFactors", "bin_columns", "check_codes_and_factors", "quantile_bins"]


@dataclass(frozen=True, slots=True)
class CodesAndFactors:
    """Codes and classes of the same rows.

    Attributes:
        codes: Float64, shape (n, latent).
        classes: Class of each factor from 0, int64, shape (n, factors); real-valued factors are binned.
        values: Factors as they came, float64, shape (n, factors).
        is_real: Whether the factors came as real numbers.
    """

    codes: NDArray[np.float64]
    classes: NDArray[np.int64]
    values: NDArray[np.float64]
    is_real: bool


def check_codes_and_factors(codes: Numbers, factors: Numbers, *, n_bins: int, least_codes: int = 1) -> CodesAndFactors:
    """Check codes and factors of the same rows, and number the classes of each factor.

    Raises:
        InvalidParameterError: If the shapes do not fit, a number is not finite, a factor has a single value, or there
            are fewer than `least_codes` latent dimensions.
    """
    check_integer("n_bins", n_bins, low=2)
    z = check_rows("codes", codes, at_least=2).cpu().numpy()
    is_real = bool(factors.is_floating_point() if hasattr(factors, "is_floating_point") else factors.dtype.kind == "f")
    values = check_rows("factors", factors, at_least=2).cpu().numpy()
    if len(z) != len(values):
        raise InvalidParameterError(
            f"codes and factors must be of the same rows; got {len(z)} rows of codes and {len(values)} of factors."
        )
    if z.shape[1] < least_codes:
        raise InvalidParameterError(
            f"a gap between the best and the second-best latent dimension needs at least {least_codes}; got "
            f"codes of shape {z.shape}."
        )
    constant = [j for j in range(values.shape[1]) if np.ptp(values[:, j]) == 0]
    if constant:
        raise InvalidParameterError(
            f"every factor must vary over the rows; columns {constant} of factors have one value. Leave them out."
        )
    if is_real:
        classes = bin_columns(values, n_bins)
    else:
        classes = np.stack([np.unique(column, return_inverse=True)[1] for column in values.T], axis=1)
    return CodesAndFactors(z, classes.astype(np.int64), values, is_real)


def bin_columns(values: NDArray[Any], n_bins: int) -> NDArray[np.int64]:
    """Number of the bin of each value, in `n_bins` bins of equal width between the extremes of its column.

    Example:
        >>> bin_columns(np.array([[0.0], [0.4], [0.6], [1.0]]), 2).ravel().tolist()
        [0, 0, 1, 1]
    """
    low, spread = values.min(0), np.ptp(values, axis=0)
    place = (values - low) / np.where(spread > 0, spread, 1.0) * n_bins
    bins: NDArray[np.int64] = np.minimum(place.astype(np.int64), n_bins - 1)
    return bins


def quantile_bins(values: NDArray[Any], n_bins: int) -> NDArray[np.int64]:
    """Number of the bin of each value, in at most `n_bins` bins of about equally many values; NaN is a bin of its own.

    Args:
        values: Numbers of one column, shape (n,).
        n_bins: Bins at most, at least 2. Values that are equal share one.

    Returns:
        Bins from 0, shape (n,); NaN has the last.

    Example:
        >>> quantile_bins(np.array([1.0, 2.0, 3.0, 400.0, np.nan]), 2).tolist()
        [0, 0, 1, 1, 2]
    """
    column = np.asarray(values, np.float64)
    missing = np.isnan(column)
    known = column[~missing]
    bins = np.zeros(len(column), np.int64)
    n_used = 0
    if len(known):
        bounds = np.unique(np.quantile(known, np.linspace(0.0, 1.0, n_bins + 1)[1:-1], method="inverted_cdf"))
        bounds = bounds[bounds < known.max()]
        bins[~missing] = np.searchsorted(bounds, known)
        n_used = len(bounds) + 1
    bins[missing] = n_used
    return bins
