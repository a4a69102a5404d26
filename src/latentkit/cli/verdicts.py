"""What a detector says of data, piece by piece: scores, flags, explanations, and how they agree with labels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from latentkit.cli.printing import Printer
from latentkit.cli.reading import naming, progress_bar
from latentkit.core.errors import InvalidParameterError, RunError
from latentkit.core.parameters import suggestion

if TYPE_CHECKING:
    import numpy as np

    from latentkit.data import Dataset, Pieces
    from latentkit.estimators import AnomalyDetector, AnomalyExplanation

__all__ = ["Reason", "Verdicts", "cut_at", "explain_rows", "judge", "odd_rows", "verdict_tables"]

#: Columns that an explanation names.
NAMED = 3
#: Labels that are understood without --normal, in small letters.
NORMAL, ODD = ("0", "false", "normal"), ("1", "true", "anomaly")
#: Rows that are explained at once.
EXPLAINED = 4096


@dataclass(frozen=True)
class Verdicts:
    """What a detector says of rows.

    Attributes:
        scores: Oddness in nats, shape (n,).
        p_values: How often a normal row is as odd, shape (n,).
        is_odd: Which rows are flagged, shape (n,).
        confidence: How sure each verdict is, shape (n,).
        order: Numbers of the rows, the oddest first, shape (n,).
        labels: Text of each label, where there are labels.
        expected: How many rows would be flagged if all were normal, or of those flagged with a false discovery rate.
    """

    scores: np.ndarray[Any, Any]
    p_values: np.ndarray[Any, Any]
    is_odd: np.ndarray[Any, Any]
    confidence: np.ndarray[Any, Any]
    order: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any] | None
    expected: float


@dataclass(frozen=True)
class Reason:
    """Why a row is odd.

    Attributes:
        why: In words.
        brief: In fewer, with one of the cells that would have to be others.
        top: Columns that have most to do with it, with what each adds to the score in nats.
    """

    why: str
    brief: str
    top: tuple[tuple[str, float], ...]


def cut_at(detector: AnomalyDetector, false_alarms: float) -> None:
    """Let a detector cut where at most this share of normal rows is flagged.

    Raises:
        RunError: If it held no rows out, by which this is guaranteed.
        DataError: If they are too few for so low a rate.
    """
    from latentkit.tasks.detection import conformal_calibration

    if not detector.is_held_out_:
        raise RunError(
            f"--false-alarms {false_alarms:g} is guaranteed by rows that were held out, and this detector held out "
            f"none (it was fitted on {len(detector.reference_):,} rows; from 1,000 on a tenth is). Fit on more rows, "
            "or leave it out."
        )
    detector.calibration_ = conformal_calibration(detector.reference_, false_alarms)


def judge(detector: AnomalyDetector, pieces: Pieces, printer: Printer, *, fdr: float | None = None) -> Verdicts:
    """Score rows and flag the odd ones.

    Args:
        detector: Fitted.
        pieces: The rows.
        printer: Where to tell.
        fdr: Share of the flagged rows that may be normal, on average; None takes the detector's cut. The detector then
            cuts there.
    """
    import numpy as np

    from latentkit.tasks.detection import benjamini_hochberg, conformal_p_values, verdict_confidence

    n = pieces.n
    scores, start = np.empty(n), 0
    labels: list[Any] = []
    with ExitStack() as stack, _told_once(printer):
        progress = progress_bar(stack, printer, "scoring rows") if n > EXPLAINED else None
        for piece in pieces:
            with naming(piece):
                scores[start : start + piece.n] = -detector.score_samples(piece)
            labels += [] if piece.labels is None else [_texts(piece)]
            start += piece.n
            if progress is not None:
                progress(start, n)
    reference = detector.reference_
    p_values = conformal_p_values(scores, reference)
    if fdr is not None:
        _cut_by_discovery(detector, scores, benjamini_hochberg(p_values, fdr), fdr)
    cut = detector.calibration_.cut
    is_odd = scores > cut
    share = fdr * is_odd.mean() if fdr is not None else (reference > cut).mean()
    return Verdicts(
        scores=scores,
        p_values=p_values,
        is_odd=is_odd,
        confidence=verdict_confidence(scores, cut, detector.calibration_.n_rows),
        order=np.argsort(-scores, kind="stable"),
        labels=np.concatenate(labels) if labels else None,
        expected=float(share) * n,
    )


def _cut_by_discovery(detector: AnomalyDetector, scores: Any, found: Any, fdr: float) -> None:
    """Let a detector cut below the least odd row that was found."""
    from latentkit.tasks.detection import Calibration

    cut = float(scores[~found].max()) if not found.all() else float(scores.min()) - 1.0
    rule = f"Benjamini-Hochberg: {fdr:g} of those flagged are normal at most, on average"
    detector.calibration_ = Calibration(rule=rule, cut=cut, n_rows=len(detector.reference_))


@contextmanager
def _told_once(printer: Printer) -> Iterator[None]:
    """Tell once of categories that the fit did not see, not once a piece."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    different = list(dict.fromkeys(str(warning.message) for warning in caught))
    if different:
        more = f" (and {len(different) - 1} more of the kind)" if len(different) > 1 else ""
        printer.note(f"warning: {different[0]}{more}")


def _texts(piece: Dataset) -> Any:
    """The label of each row as a text; whole numbers alike, however they were written."""
    import numpy as np

    names = piece.label_names
    if names is None:
        return np.asarray(piece.labels).astype(str)
    return np.asarray([_whole(name) for name in names])[piece.labels]


def _whole(text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else text


def odd_rows(labels: Any, column: str, normal: Sequence[str], known: Any = None) -> np.ndarray[Any, Any]:
    """Return which rows are odd by their labels.

    Args:
        labels: Texts, shape (n,).
        column: Where they come from, for messages.
        normal: The labels of normal rows, where they were typed.
        known: What the run was fitted to of that column, as :func:`~latentkit.cli.where.read_where` gives it.
    Raises:
        InvalidParameterError: If it is not plain which labels are those of normal rows.
    """
    import numpy as np

    present = np.unique(labels).tolist()
    shown = f"{', '.join(present[:8])}{', ...' if len(present) > 8 else ''}"
    if not normal and isinstance(known, str | list):
        normal = [str(value) for value in ([known] if isinstance(known, str) else known)]
        if not set(map(_whole, normal)) & set(present):
            normal = []
    if normal:
        wanted = [_whole(value) for value in normal]
        if not set(wanted) & set(present):
            raise InvalidParameterError(
                f"--normal {','.join(normal)}: no row of the column {column} is labelled so; there are: {shown}."
                f"{suggestion(wanted[0], present)}"
            )
        return ~np.isin(labels, wanted)
    small = np.char.lower(np.asarray(labels, str))
    kinds = set(np.unique(small).tolist())
    if kinds <= {"-1", "1"} and "-1" in kinds:
        return np.isin(small, ["-1"])
    if not kinds <= {*NORMAL, *ODD}:
        raise InvalidParameterError(
            f"--labels {column}: which of these are normal? There are: {shown}. Say it with --normal, as in --normal "
            f"{present[0]}; understood without are 0 and 1, false and true, normal and anomaly."
        )
    return np.isin(small, ODD)


def explain_rows(detector: AnomalyDetector, data: Dataset) -> list[Reason]:
    """Return why each row is odd; of images the words are none."""
    from latentkit.data import WholePieces

    reasons: list[Reason] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # told when they were scored
        for piece in WholePieces(data, EXPLAINED):
            found = detector.explain(piece)
            reasons += [
                Reason(*_words(found, row), tuple(found.strongest(row, NAMED))) for row in range(len(found.scores))
            ]
    return reasons


def _words(found: AnomalyExplanation, row: int) -> tuple[str, str]:
    """The sentence without the score, which stands in a column of its own; and that with one change alone."""
    why = found.sentence(row).partition(": ")[2]
    changes = found.changes[row] if found.changes else ()
    if len(changes) < 2:
        return why, why
    single = replace(found, changes=((),) * row + (changes[:1],))
    return why, f"{single.sentence(row).partition(': ')[2]}, and {len(changes) - 1} more"


def verdict_tables(
    verdicts: Verdicts, pieces: Pieces, explain: Callable[[Dataset], list[Reason]] | None, *, top: int | None
) -> Iterator[Any]:
    """Yield what is written: a row for each row of the data, or for the oddest ones.

    Args:
        verdicts: Of the data.
        pieces: The data.
        explain: What says why rows are odd; None for nothing.
        top: How many of the oddest rows, the oddest first; None for all rows in their order.
    """
    import numpy as np

    from latentkit.data.pieces import PIECE

    if top is not None:
        rows = verdicts.order[:top]
        reasons = (
            None if explain is None else dict(zip(rows.tolist(), explain(pieces.take(rows.tolist())), strict=True))
        )
        yield _table(verdicts, rows, reasons)
        return
    if explain is None:
        for start in range(0, pieces.n, PIECE):
            yield _table(verdicts, np.arange(start, min(start + PIECE, pieces.n)), None)
        return
    from latentkit.data import WholePieces

    start = 0
    for piece in pieces:
        rows = np.arange(start, start + piece.n)
        flagged = np.flatnonzero(verdicts.is_odd[rows])
        reasons = {}
        if len(flagged):
            with naming(piece):
                chosen = WholePieces(piece).take(flagged.tolist())
                reasons = dict(zip((flagged + start).tolist(), explain(chosen), strict=True))
        yield _table(verdicts, rows, reasons)
        start += piece.n


def _table(verdicts: Verdicts, rows: Any, reasons: Mapping[int, Reason] | None) -> Any:
    import pyarrow as pa

    columns = {
        "row": pa.array(rows, pa.int64()),
        "score": pa.array(verdicts.scores[rows]),
        "is_odd": pa.array(verdicts.is_odd[rows]),
        "p_value": pa.array(verdicts.p_values[rows]),
        "confidence": pa.array(verdicts.confidence[rows]),
    }
    if reasons is not None:
        found = [reasons.get(row) for row in rows.tolist()]
        columns["why"] = pa.array([reason and reason.why for reason in found], pa.string())
        for place in range(NAMED):
            tops = [reason.top[place] if reason and place < len(reason.top) else (None, None) for reason in found]
            columns[f"top_{place + 1}"] = pa.array([name for name, _ in tops], pa.string())
            columns[f"top_{place + 1}_nats"] = pa.array([nats for _, nats in tops], pa.float64())
    return pa.table(columns)
