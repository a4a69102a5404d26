"""Does the model repeat its training rows?"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from latentkit.core.parameters import check_real
from latentkit.evaluation.inputs import Numbers, check_pair
from latentkit.evaluation.neighbours import kth_neighbour_distances
from latentkit.evaluation.two_sample import area_under_curve

__all__ = ["CopyRate", "copy_rate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRate:
    """How near samples come to training rows, compared with held-out rows.

    Attributes:
        rate: Share of samples nearer to a training row than the share `floor` of nearest held-out rows, in [0, 1];
            well above `floor` is memorisation.
        floor: Rate to be expected of new rows from the data's distribution: the share of held-out rows that lie within
            `distance`, which is the quantile that was asked for, or more where many are at one distance.
        distance: Distance that counts as near: that quantile of the held-out rows' distances.
        nearer: Probability that a sample is nearer to its training neighbour than a held-out row is to its own, in
            [0, 1]; 0.5 for new rows of the same distribution, above it for copies, below it for samples off the data.
        standard_error: Standard error of `nearer`.
        n_train: Training rows.
        n_held_out: Held-out rows.
        n_generated: Samples.
    """

    rate: float
    floor: float
    distance: float
    nearer: float
    standard_error: float
    n_train: int
    n_held_out: int
    n_generated: int

    @property
    def computed_with(self) -> str:
        """What the figures rest on."""
        return (
            f"Euclidean distance to the nearest of {self.n_train:,} training rows, {self.n_held_out:,} held-out rows, "
            f"{self.n_generated:,} generated rows"
        )


def copy_rate(train: Numbers, held_out: Numbers, generated: Numbers, *, quantile: float = 0.01) -> CopyRate:
    r"""Share of samples that lie nearer to a training row than held-out rows do.

    .. math:: rate = \frac{1}{M} |\{j : \min_i |y_j - x_i| \le t\}|, \qquad t = Q_q(\min_i |h - x_i|)

    with training rows x, held-out rows h, samples y and Q_q the quantile. In [0, 1]; lower is better down to the floor
    q, which new rows of the same distribution have. A model that repeats training rows has a rate near 1; one whose
    samples lie off the data has a rate below q, so a low rate alone is no praise. The threshold is a quantile of few
    numbers where held-out rows are few: have at least 10 / q of them. Rows on which the threshold falls with ties
    (binary data) raise the floor, which is counted rather than assumed.

    Args:
        train: The rows that the model was fitted on, shape (n_train, features): all of them, for a neighbour that is
            left out cannot be found. Pixels or features alike; copies of pixels are found in pixels.
        held_out: Real rows that it was not fitted on, shape (n_held_out, features).
        generated: Samples, shape (n_generated, features).
        quantile: q, in (0, 1).

    Returns:
        The rate beside its floor, and the probability of being nearer. Memory is bounded.

    Raises:
        InvalidParameterError: If the shapes do not fit, a set has fewer than 2 rows, a number is not finite, or
            `quantile` is out of range.

    References:
        Meehan et al., 2020, A Non-Parametric Test to Detect Data-Copying in Generative Models, arXiv:2004.05675
        (the comparison that `nearer` makes).

    Example:
        >>> rows = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
        >>> copy_rate(rows[:200], rows[200:], rows[:50]).rate
        1.0
    """
    check_real("quantile", quantile, low=0.0, high=1.0, inclusive=(False, False))
    rows, fresh = check_pair(("train", train), ("held_out", held_out), at_least=2)
    rows, samples = check_pair(("train", rows), ("generated", generated), at_least=2)
    expected = kth_neighbour_distances(fresh, rows).sqrt().cpu()
    distances = kth_neighbour_distances(samples, rows).sqrt().cpu()
    # a value that some row has, not one between two rows
    near = torch.quantile(expected, quantile, interpolation="lower")
    nearer, error = area_under_curve(expected.numpy(), distances.numpy())
    return CopyRate(
        rate=float((distances <= near).double().mean()),
        floor=float((expected <= near).double().mean()),
        distance=float(near),
        nearer=nearer,
        standard_error=error,
        n_train=rows.shape[0],
        n_held_out=fresh.shape[0],
        n_generated=samples.shape[0],
    )
