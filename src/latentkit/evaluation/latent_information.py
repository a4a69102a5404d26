"""How much each latent dimension tells about labels or columns, and how much it would seem to by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.core.seeds import derive_seed
from latentkit.evaluation.factors import quantile_bins
from latentkit.evaluation.inputs import Numbers, check_integers, check_rows

__all__ = ["LatentInformation", "latent_information"]

#: How often chance stays below the floor.
LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatentInformation:
    """Mutual information of latent dimensions and factors, beside what chance gives.

    Attributes:
        information: I(z_j; v_k) of the counts, nats, shape (latent, factors).
        by_chance: Its mean where the rows of the factors are shuffled, nats, shape (latent, factors).
        floor: What the best of all dimensions reaches in 19 of 20 shufflings at most, nats, shape (factors,).
        entropy: Entropy of each factor, nats, shape (factors,): what a dimension can tell at most.
        n: Rows.
        n_bins: Bins of each dimension.
        n_permutations: Shufflings.
    """

    information: NDArray[np.float64]
    by_chance: NDArray[np.float64]
    floor: NDArray[np.float64]
    entropy: NDArray[np.float64]
    n: int
    n_bins: int
    n_permutations: int

    @property
    def told(self) -> NDArray[np.float64]:
        """Information beyond the mean of chance, nats, at least 0, shape (latent, factors)."""
        return np.maximum(self.information - self.by_chance, 0.0)

    @property
    def is_above_floor(self) -> NDArray[np.bool_]:
        """Whether a dimension tells more about a factor than chance does, shape (latent, factors)."""
        return self.information > self.floor

    @property
    def computed_with(self) -> str:
        """What the figures rest on."""
        return (
            f"{self.n:,} rows, {self.n_bins} bins of equally many rows per latent dimension, chance by "
            f"{self.n_permutations} permutations"
        )


def latent_information(
    codes: Numbers, factors: Numbers, *, n_bins: int = 10, n_permutations: int = 40, seed: int = 0
) -> LatentInformation:
    r"""Mutual information of each latent dimension and each factor, with its floor by permutation.

    .. math:: I(z_j; v_k) = \sum_{b, c} p(b, c) \log \frac{p(b, c)}{p(b) p(c)}

    over the bins b of dimension j and the classes c of factor k, in nats. It is 0 for what is independent, and at most
    the entropy of the factor. Counts of few rows make it too large; the same figure with the factors' rows shuffled
    says by how much, and how large it becomes where there is nothing to tell.

    Args:
        codes: Posterior means, shape (n, latent).
        factors: Classes as integers, shape (n, factors); :func:`~latentkit.evaluation.quantile_bins` makes them of
            numbers.
        n_bins: Bins of each dimension, of about equally many rows, at least 2.
        n_permutations: Shufflings, at least 20.
        seed: Decides the shufflings.

    Returns:
        The information, what chance gives, and the floor.

    Raises:
        InvalidParameterError: If the shapes do not fit, a number is not finite, or there are fewer than 20 rows.

    References:
        Kraskov et al., 2004, Estimating mutual information, arXiv:cond-mat/0305641 (estimators by counts and their
        bias). Westfall and Young, 1993, Resampling-Based Multiple Testing (the largest of all under permutation).

    Example:
        >>> z = np.stack([np.arange(400.0) % 4, np.arange(400.0) % 7], axis=1)
        >>> found = latent_information(z, (np.arange(400) % 4)[:, None])
        >>> found.is_above_floor.ravel().tolist(), round(float(found.information[0, 0] / found.entropy[0]), 6)
        ([True, False], 1.0)
    """
    check_integer("n_bins", n_bins, low=2)
    check_integer("n_permutations", n_permutations, low=20)
    z = check_rows("codes", codes, at_least=20).cpu().numpy()
    values = check_integers("factors", factors).numpy()
    if values.ndim != 2 or len(values) != len(z) or not values.shape[1]:
        raise InvalidParameterError(
            f"factors must be integers of shape (n, factors) for the same {len(z)} rows; got shape {values.shape}."
        )
    n = len(z)
    bins = np.stack([quantile_bins(column, n_bins) for column in z.T], axis=1)
    classes = [np.unique(column, return_inverse=True)[1] for column in values.T]
    sizes = [int(column.max()) + 1 for column in classes]
    left = np.concatenate([_indicators(column, n_bins) for column in bins.T], axis=1)
    right = np.concatenate([_indicators(*pair) for pair in zip(classes, sizes, strict=True)], axis=1)
    random = np.random.default_rng(derive_seed(seed, "latent-information"))
    shuffled = np.stack(
        [_information(left, right[random.permutation(n)], n_bins, sizes) for _ in range(n_permutations)]
    )
    shares = [np.bincount(column) / n for column in classes]
    return LatentInformation(
        information=_information(left, right, n_bins, sizes),
        by_chance=shuffled.mean(0),
        floor=np.quantile(shuffled.max(1), LEVEL, axis=0),
        entropy=np.array([-(share * np.log(share)).sum() for share in shares]),
        n=n,
        n_bins=n_bins,
        n_permutations=n_permutations,
    )


def _indicators(classes: NDArray[np.int64], size: int) -> NDArray[np.float32]:
    """A column of 0 and 1 for each class, shape (n, size)."""
    return np.eye(size, dtype=np.float32)[classes]


def _information(
    left: NDArray[np.float32], right: NDArray[np.float32], n_bins: int, sizes: list[int]
) -> NDArray[np.float64]:
    """Mutual information of the counts, shape (latent, factors)."""
    counts = (left.T @ right).astype(np.float64)
    joint = counts.reshape(-1, n_bins, counts.shape[1]) / len(left)
    columns = []
    for block in np.split(joint, np.cumsum(sizes)[:-1], axis=2):
        apart = block.sum(2, keepdims=True) * block.sum(1, keepdims=True)
        ratio = np.divide(block, apart, out=np.ones_like(block), where=block > 0)
        columns.append((block * np.log(ratio)).sum((1, 2)))
    return np.asarray(np.maximum(np.stack(columns, axis=1), 0.0), np.float64)
