"""How well scores tell odd rows, by labels that nobody trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import DataError

__all__ = ["DetectionQuality", "detection_quality"]

Floats = NDArray[np.float64]

_PLACES: Final = (10, 100, 1000)


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DetectionQuality:
    """Figures of a ranking of rows, the oddest first.

    Attributes:
        auroc: Area under the ROC curve: how often an odd row scores higher than a normal one, ties counting half.
        average_precision: Area under the curve of precision by recall, as a sum over steps; a random ranking has about
            `prevalence`.
        precision_at: Share of odd rows among the first 10, 100, 1,000, as far as there are as many, and among as many
            as are odd (``"n_odd"``).
        prevalence: Share of odd rows.
        n: Number of rows.
        false_positive_rate, true_positive_rate: The ROC curve.
        precision, recall: The other one.
    """

    auroc: float
    average_precision: float
    precision_at: dict[str, float]
    prevalence: float
    n: int
    false_positive_rate: Floats
    true_positive_rate: Floats
    precision: Floats
    recall: Floats


def detection_quality(is_odd: NDArray[np.bool_], scores: Floats) -> DetectionQuality:
    """Measure how well scores rank odd rows above normal ones.

    Args:
        is_odd: True for odd rows, shape (n,).
        scores: Higher for odder rows, shape (n,).
    Raises:
        DataError: If the shapes differ, or the labels are of one kind.
    References:
        Davis and Goadrich, 2006, The Relationship Between Precision-Recall and ROC Curves.

    Example:
        >>> quality = detection_quality(np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8]))
        >>> quality.auroc, round(quality.average_precision, 3), quality.precision_at
        (0.75, 0.833, {'n_odd': 0.5})
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    odd, values = np.asarray(is_odd, bool), np.asarray(scores, np.float64)
    if odd.shape != values.shape or odd.ndim != 1:
        raise DataError(f"labels and scores must have one entry a row; got shapes {odd.shape} and {values.shape}.")
    if odd.all() or not odd.any():
        raise DataError(
            f"a ranking is judged by rows of both kinds; {'all' if odd.all() else 'none'} of {len(odd)} labels are odd."
        )
    ranked = odd[np.argsort(-values, kind="stable")]
    places = {str(k): k for k in _PLACES if k <= len(odd)} | {"n_odd": int(odd.sum())}
    false_rate, true_rate, _ = roc_curve(odd, values)
    precision, recall, _ = precision_recall_curve(odd, values)
    return DetectionQuality(
        auroc=float(roc_auc_score(odd, values)),
        average_precision=float(average_precision_score(odd, values)),
        precision_at={name: float(ranked[:k].mean()) for name, k in places.items()},
        prevalence=float(odd.mean()),
        n=len(odd),
        false_positive_rate=false_rate,
        true_positive_rate=true_rate,
        precision=precision,
        recall=recall,
    )
