"""What a detector says of rows, for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from latentkit.core.parameters import check_integer
from latentkit.estimators.detector_rows import DetectorRows

__all__ = ["AnomalyExplanation", "Change", "name_changes"]

Floats = NDArray[np.float64]

_MOST_NAMED: Final = 4  # changes in a sentence
_MOST_DIGITS: Final = 10  # of a number that is told in full
_LONGEST: Final = 40  # text in a sentence


class Change(NamedTuple):
    """A cell that would have to be another.

    Attributes:
        column: Its name.
        value: What it holds; None where it is missing.
        normal: What a normal row of training that is similar to it holds there.
    """

    column: str
    value: Any
    normal: Any


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnomalyExplanation:
    """Why rows are odd.

    Attributes:
        columns: Names of the columns; of images those of the pixels, by their places.
        contributions: Of each column to the score of each row, nats, shape (n, columns), or the shape of the images;
            they and `baseline` add up to the score.
        baseline: Score of a row that nothing is odd about, nats, shape (n,).
        scores: Nats, shape (n,).
        threshold: Score above which a row is flagged.
        counterparts: The most normal of the ten rows of training that are most similar to each: its values and codes,
            shape (n, columns), or images.
        changes: For each row the fewest cells, in the order of their contributions, that would make it normal if they
            were its counterpart's; none of rows that are not flagged, and of images.
    """

    columns: tuple[str, ...]
    contributions: Floats
    baseline: Floats
    scores: Floats
    threshold: float
    counterparts: Any
    changes: tuple[tuple[Change, ...], ...]

    def top(self, n: int = 3) -> list[list[str]]:
        """Return the names of the columns that contribute most to each row, the largest first.

        Args:
            n: How many, at least 1.
        """
        n = check_integer("n", n, low=1)
        flat = self.contributions.reshape(len(self.contributions), -1)
        order = np.argsort(-flat, axis=1, kind="stable")[:, :n]
        return [[self.columns[j] for j in row] for row in order]

    def sentence(self, row: int) -> str:
        """Return in words why a row is odd, and what would make it normal.

        Args:
            row: Its number among the rows that were explained.
        """
        flat = self.contributions[row].reshape(-1)
        order = np.argsort(-flat, kind="stable")[:3]
        because = ", ".join(f"{self.columns[j]} {flat[j]:+.1f}" for j in order if flat[j] > 0)
        text = f"{self.scores[row]:.1f} nats (flagged above {self.threshold:.1f}): {because}"
        if not self.changes or not self.changes[row]:
            return text
        changes = self.changes[row]
        cells = [f"{c.column} {_shown(c.normal)} instead of {_shown(c.value)}" for c in changes[:_MOST_NAMED]]
        more = f", and {len(changes) - _MOST_NAMED} more cells" if len(changes) > _MOST_NAMED else ""
        return f"{text}; normal would be {', '.join(cells)}{more}"


def name_changes(
    rows: DetectorRows, values: Floats, normal: Floats, columns: Sequence[Sequence[int]]
) -> tuple[tuple[Change, ...], ...]:
    """Return changes as the user writes cells; a cell that is its counterpart's already is none.

    Args:
        rows: How cells are written.
        values: Of the rows, shape (n, columns).
        normal: Of their counterparts, same shape.
        columns: For each row the columns that change.
    """
    return tuple(
        tuple(
            Change(rows.columns[j], rows.cell(j, given[j]), rows.cell(j, other[j]))
            for j in chosen
            if not (given[j] == other[j] or (np.isnan(given[j]) and np.isnan(other[j])))
        )
        for given, other, chosen in zip(values, normal, columns, strict=True)
    )


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    try:  # a number that the table holds as text
        return f"{float(text):.6g}" if len(text) > _MOST_DIGITS else text
    except ValueError:
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
