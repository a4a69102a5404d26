"""What a detector says of rows, for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from latentkit.core.parameters import check_integer
from latentkit.estimators.detector_rows import DetectorRows
from latentkit.estimators.text_tasks import TokenScore
from latentkit.estimators.vectors import VectorTasks
from latentkit.tasks.detection import Explanation

__all__ = ["AnomalyExplanation", "Change", "explain_texts", "name_changes"]

Floats = NDArray[np.float64]

_MOST_NAMED: Final = 4  # changes in a sentence
_MOST_DIGITS: Final = 10  # of a number that is told in full
_LONGEST: Final = 40  # text in a sentence
_N_DRAWS: Final = 8  # of z, for the scores of tokens


class Change(NamedTuple):
    """A cell that would have to be another, or a token.

    Attributes:
        column: Its name; of a token its place.
        value: What it holds; None where it is missing. Of a token its piece.
        normal: What a normal row of training that is similar to it holds there. Of a token the piece that the model has
            for the most probable one, given those before it.
    """

    column: str
    value: Any
    normal: Any


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnomalyExplanation:
    """Why rows are odd.

    Attributes:
        columns: Names of the columns; of images those of the pixels, and of texts those of the tokens, by their places.
        contributions: Of each column to the score of each row, nats, shape (n, columns), or the shape of the images;
            they and `baseline` add up to the score. Of texts 0 behind the end.
        baseline: Score of a row that nothing is odd about, nats, shape (n,).
        scores: Nats, shape (n,).
        threshold: Score above which a row is flagged.
        counterparts: The most normal of the ten rows of training that are most similar to each: its values and codes,
            shape (n, columns), images, or texts.
        changes: For each row the fewest cells, in the order of their contributions, that would make it normal if they
            were its counterpart's; none of rows that are not flagged, and of images. Of texts the tokens of the largest
            contributions that are not the most probable ones at their places.
        tokens: Of texts the tokens of each, with log p(token given those before it) in nats; else none.
    """

    columns: tuple[str, ...]
    contributions: Floats
    baseline: Floats
    scores: Floats
    threshold: float
    counterparts: Any
    changes: tuple[tuple[Change, ...], ...]
    tokens: tuple[tuple[TokenScore, ...], ...] = ()

    def top(self, n: int = 3) -> list[list[str]]:
        """Return the names of the columns that contribute most to each row, the largest first; of texts the pieces.

        Args:
            n: How many, at least 1.
        """
        return [[name for name, _ in self.strongest(row, n)] for row in range(len(self.contributions))]

    def strongest(self, row: int, n: int = 3) -> list[tuple[str, float]]:
        """Return the columns that contribute most to a row with their nats, the largest first; of texts the pieces.

        Args:
            row: Its number among the rows that were explained.
            n: How many at most, at least 1.
        """
        n = check_integer("n", n, low=1)
        flat = self.contributions[row].reshape(-1)
        names: Sequence[str] = [piece for piece, _ in self.tokens[row]] if self.tokens else self.columns
        return [(names[j], float(flat[j])) for j in np.argsort(-flat[: len(names)], kind="stable")[:n]]

    def sentence(self, row: int) -> str:
        """Return in words why a row is odd, and what would make it normal.

        Args:
            row: Its number among the rows that were explained.
        """
        shown = _shown_piece if self.tokens else str
        because = ", ".join(f"{shown(name)} {nats:+.1f}" for name, nats in self.strongest(row) if nats > 0)
        text = f"{self.scores[row]:.1f} nats (flagged above {self.threshold:.1f}): {because}"
        if not self.changes or not self.changes[row]:
            return text
        changes = self.changes[row]
        more = f", and {len(changes) - _MOST_NAMED} more" if len(changes) > _MOST_NAMED else ""
        if self.tokens:
            pieces = [f"{_shown_piece(c.normal)} instead of {_shown_piece(c.value)}" for c in changes[:_MOST_NAMED]]
            return f"{text}; more probable would be {', '.join(pieces)}{more}"
        cells = [f"{c.column} {_shown(c.normal)} instead of {_shown(c.value)}" for c in changes[:_MOST_NAMED]]
        return f"{text}; normal would be {', '.join(cells)}{f'{more} cells' if more else ''}"


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


def explain_texts(
    model: VectorTasks, storage: Tensor, found: Explanation, threshold: float, counterparts: Any
) -> AnomalyExplanation:
    """Return why texts are odd, token by token.

    Args:
        model: The model inside of the detector.
        storage: The texts, shape (n, max_length).
        found: What each place has to do with their scores.
        threshold: Score above which a text is flagged.
        counterparts: Normal texts of training that are like each.
    """
    schema = model.schema_
    tokens = model._token_scores(storage, n_draws=_N_DRAWS)  # noqa: SLF001 (of our own)
    preferred = model._preferred_tokens(storage)  # noqa: SLF001 (of our own)
    changes: list[tuple[Change, ...]] = []
    for row, given in enumerate(found.contributions):
        order = np.argsort(-given, kind="stable").tolist() if found.scores[row] > threshold else []
        odd = [j for j in order if given[j] > 0 and preferred[row, j] != storage[row, j]][:_MOST_NAMED]
        rather = preferred[row, odd].tolist()
        pieces = ["" if token == 0 else schema.vocabulary.pieces([token])[0] for token in rather]
        changes.append(tuple(Change(str(j), tokens[row][j].piece, piece) for j, piece in zip(odd, pieces, strict=True)))
    return AnomalyExplanation(
        columns=tuple(map(str, range(schema.max_length))),
        contributions=found.contributions,
        baseline=found.baseline,
        scores=found.scores,
        threshold=threshold,
        counterparts=counterparts,
        changes=tuple(changes),
        tokens=tuple(map(tuple, tokens)),
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


def _shown_piece(piece: str) -> str:
    """A piece of a text in quotation marks, in which blanks are seen; the end in words."""
    return f'"{_shown(piece)}"' if piece else "the end"
