"""Figures of runs on the command line: what is asked for, and how they are told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from latentkit.cli.opening import OpenedRun
from latentkit.cli.printing import Printer
from latentkit.cli.reading import naming

if TYPE_CHECKING:
    from latentkit.data import Dataset
    from latentkit.evaluation import Evaluation, Figure

__all__ = [
    "FEWEST",
    "SAMPLES",
    "Estimator",
    "EstimatorName",
    "Importance",
    "Rows",
    "Samples",
    "Train",
    "held_out",
    "in_short",
    "interval_in_short",
    "rows_not_learnt",
    "rows_of_fit",
    "tell_evaluation",
    "unlearnt",
]

#: Headings of a table of figures, its width, and that of the gaps in it.
HEADINGS, WIDTH, GAP = ("", "", "95 % interval", "floor", "better"), 80, 2
#: New examples that are judged.
SAMPLES = 5000
#: Rows that no run has learnt, without which figures are of rows that were learnt, or other data must be given.
FEWEST = 10


class Estimator(StrEnum):
    """How log p(x) is estimated."""

    iwae = "iwae"
    ais = "ais"


Train: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--train", metavar="DATA", help="The data of the fit. [default: where they were then]", show_default=False
    ),
]

Importance: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--importance",
        "-k",
        metavar="K",
        help="Importance samples of a row; chains of ais. [default: 64; 16]",
        show_default=False,
        min=1,
    ),
]

EstimatorName: TypeAlias = Annotated[
    Estimator,
    typer.Option(
        "--estimator",
        help="Of log p(x): importance samples from the encoder, or annealed importance sampling, which needs none and "
        "takes hundreds of times as long.",
    ),
]

Samples: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--samples",
        metavar="N",
        help=f"New examples that are drawn and judged. [default: {SAMPLES}]",
        show_default=False,
        min=10,
    ),
]

Rows: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--rows",
        metavar="N",
        help="Rows of DATA that are scored and rebuilt. [default: as many as take half a minute]",
        show_default=False,
        min=2,
    ),
]


def rows_of_fit(opened: OpenedRun, train: str | None, printer: Printer) -> tuple[str | None, Dataset | None]:
    """Read the data of the fit: where they are, and they; None where they are gone."""
    source = opened.source if train is None else train
    if source is None:
        printer.note(f"warning: {opened.why_no_source}; without --train no samples are judged")
        return None, None
    known = opened.read(source, printer, as_fitted=True)
    if known.n != opened.schema.n_examples:
        things = "texts" if opened.schema.kind == "text" else "rows"
        printer.note(
            f"warning: {source} has {known.n:,} {things}, and the run was fitted on {opened.schema.n_examples:,}"
        )
    return source, known


def unlearnt(
    opened: Sequence[OpenedRun], dataset: Dataset, known: Dataset | None, printer: Printer
) -> tuple[Dataset, Dataset | None]:
    """Return rows to judge by, and those of the fit: DATA that hold those of the fit are parted into both."""
    from latentkit.data.parts import drop_examples, take_examples

    rows = rows_not_learnt(opened, dataset, known, printer)
    if rows is None or len(rows) < FEWEST or known is None:
        return dataset, known
    printer.note(f"{dataset.source} has the data of the fit: the figures are of the {len(rows):,} that were held out")
    if known.n == dataset.n:
        known = drop_examples(known, rows)
    return take_examples(dataset, rows), known


def rows_not_learnt(
    opened: Sequence[OpenedRun], dataset: Dataset, known: Dataset | None, printer: Printer
) -> list[int] | None:
    """Return which rows of DATA no run has learnt or was judged by; None of other data than those of the fit.

    Of the very rows of the fit these are the ones that all runs held out; of all rows that a search was given, those
    that it put aside. Other rows of the same place are warned of: some of them may have been learnt.
    """
    if known is None:
        return None
    rows = _rows_not_learnt(opened, dataset, known)
    if rows is None and all(dataset.reading.get(name) == known.reading.get(name) for name in ("source", "array")):
        printer.note(f"warning: {dataset.source} is where the data of the fit are: some of these rows were learnt")
    return rows


def _rows_not_learnt(opened: Sequence[OpenedRun], dataset: Dataset, known: Dataset) -> list[int] | None:
    from latentkit.data.parts import drop_examples, put_aside

    if any(run.schema.n_examples != known.n for run in opened) or len({run.reading.aside for run in opened}) > 1:
        return None
    _, aside = put_aside(dataset.n, *opened[0].reading.aside)
    if len(aside) and dataset.n - len(aside) == known.n:
        rows: list[int] = aside.tolist()
        return rows if _are_the_same(opened[0], drop_examples(dataset, rows), known) else None
    return held_out(opened, known.n) if _are_the_same(opened[0], dataset, known) else None


def held_out(opened: Sequence[OpenedRun], n: int) -> list[int]:
    """Rows that all runs held out, ascending, of the n that all of them were fitted on."""
    return sorted(set(range(n)).intersection(*(run.estimator.validation_rows(n).tolist() for run in opened)))


def _are_the_same(opened: OpenedRun, one: Dataset, other: Dataset) -> bool:
    """Whether a run would take two sets of data for the same, row by row."""
    import torch

    if one.n != other.n:
        return False
    with naming(other):
        known = opened.schema.encode(other.data)
    with naming(one):
        return torch.equal(opened.schema.encode(one.data), known)


def tell_evaluation(found: Evaluation, printer: Printer) -> None:
    """Print all figures of a run as tables, and below them how each was found."""
    from latentkit.evaluation.evaluation import GROUPS
    from latentkit.report.wording import duration

    scored = "" if found.rows is None or len(found.rows) == found.n else f", {len(found.rows):,} of them scored"
    things = {"images": "images", "text": "texts"}.get(found.kind, "rows")
    printer.line(f"{found.model}, {found.n:,} {things}{scored}; {duration(found.seconds)}", style="dim")
    widths = _widths([HEADINGS, *map(_cells, found.figures)])
    for group, heading in GROUPS.items():
        figures, missing = found.of_group(group)
        if not figures and not missing:
            continue
        printer.line()
        printer.line(heading, style="bold")
        if figures:
            printer.grid(HEADINGS, map(_cells, figures), widths=widths)
        for lacking in missing:
            printer.paragraph(f"no {lacking.name}: {lacking.why}", indent=2)
    for warning in found.warnings:
        printer.line()
        printer.paragraph(f"warning: {warning}")
    printer.line()
    printer.line("How each was found", style="bold")
    for names, text in _ways(found.figures):
        printer.paragraph(f"{names}: {text}", indent=2)


def _cells(figure: Figure) -> tuple[str, ...]:
    return (
        f"{figure.name}, {figure.unit}" if figure.unit else figure.name,
        in_short(figure),
        interval_in_short(figure),
        "" if figure.floor is None else _number(figure.floor),
        {"neither": "", "nearer to the floor": "at floor"}.get(figure.better, figure.better),
    )


def _widths(rows: Sequence[tuple[str, ...]]) -> tuple[int, ...]:
    """Widths of columns that all tables of figures share: names have what the others leave."""
    others = [max(map(len, column)) for column in zip(*rows, strict=True)][1:]
    return WIDTH - sum(others) - GAP * len(others), *others


def in_short(figure: Figure) -> str:
    """The value of a figure with a sign where it is a bound."""
    return f"{ {'neither': '', 'lower': '≥ ', 'upper': '≤ '}[figure.bound] }{_number(figure.value)}"


def interval_in_short(figure: Figure) -> str:
    """The interval of a figure; empty for none."""
    if figure.interval is None:
        return ""
    low, high = (_number(end) for end in figure.interval)
    return f"{low} to {high}"


def _number(value: float) -> str:
    from latentkit.report.wording import number

    return number(value)


def _ways(figures: Sequence[Figure]) -> Iterator[tuple[str, str]]:
    """How figures were found, those that were found alike together."""
    ways: dict[str, list[Figure]] = {}
    for figure in figures:
        ways.setdefault(_way(figure), []).append(figure)
    for text, alike in ways.items():
        seconds = [figure.seconds for figure in alike if figure.seconds is not None]
        took = f"; {sum(seconds):.1f} s" if seconds else ""
        yield ", ".join(figure.name for figure in alike), f"{text}{took}"


def _way(figure: Figure) -> str:
    parts: list[Any] = [figure.computed_with]
    if figure.n_draws is not None and figure.effective_sample_size is not None:
        parts.append(f"K = {figure.n_draws:,}, of which {figure.effective_sample_size:.1f} count (median)")
    elif figure.n_draws is not None and figure.n_draws > 1:
        parts.append(f"K = {figure.n_draws:,}")
    if figure.floor_of:
        parts.append(f"floor: {figure.floor_of}")
    if figure.interval_by:
        parts.append(f"interval: {figure.interval_by}")
    return "; ".join(parts)
