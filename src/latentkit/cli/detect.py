"""``latentkit detect``: rows that are not like the others, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentkit.cli.application import command
from latentkit.cli.detectors import open_detector
from latentkit.cli.opening import OpenedRun
from latentkit.cli.options import ArrayName, Data, Json, SkipBad, UnseenCategories
from latentkit.cli.outputs import MIXED, STDOUT, check_output, pictures, write_tables
from latentkit.cli.printing import Printer
from latentkit.cli.reading import Reading
from latentkit.cli.verdicts import Verdicts, cut_at, explain_rows, judge, odd_rows, verdict_tables
from latentkit.cli.where import parse_columns, read_where
from latentkit.core.errors import InvalidParameterError

if TYPE_CHECKING:
    from latentkit.data import Pieces
    from latentkit.evaluation import DetectionQuality

__all__ = ["detect"]

#: Rows that are printed.
SHOWN = 5
#: Images of which a picture shows where they are odd.
SHOWN_IMAGES = 16


@command(
    "detect",
    "latentkit detect run table.csv",
    "latentkit detect run table.csv -o anomalies.csv --explain",
    "latentkit detect run table.csv -o oddest.csv --top 20 --explain",
    "latentkit detect run test.csv -o a.csv --labels attack --normal normal",
    "latentkit detect run stream.parquet -o a.parquet --false-alarms 0.001",
    "latentkit detect run photos/ -o anomalies.csv --explain",
    "latentkit detect run new.csv -o a.csv --reference normal.csv",
)
def detect(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="Run folder, as fit wrote it, or a saved detector.", show_default=False),
    ],
    data: Data,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Where to, by its ending: .csv .tsv .parquet .jsonl .npy .npz; or - for CSV on standard output. "
            "Without it the oddest rows are only told.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option("--top", metavar="N", help="Write the N oddest rows only, the oddest first.", min=1),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Say of each flagged row why: columns and their nats, and what would be normal. Of images a picture "
            "of where they are odd.",
        ),
    ] = False,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="L",
            help="What the rows are, to judge the ranking by: a column, a member of the .npz, or a file.",
            show_default=False,
        ),
    ] = None,
    normal: Annotated[
        list[str] | None,
        typer.Option(
            "--normal",
            metavar="VALUE",
            help="Labels of normal rows, commas between them. [default: those of fit --where, else 0, false, normal]",
            show_default=False,
        ),
    ] = None,
    false_alarms: Annotated[
        float | None,
        typer.Option(
            "--false-alarms",
            metavar="RATE",
            help="Flag this share of normal rows at most, such as 0.01.",
            show_default=False,
        ),
    ] = None,
    fdr: Annotated[
        float | None,
        typer.Option(
            "--fdr",
            metavar="RATE",
            help="Flag so that this share of the flagged rows is normal at most, on average, such as 0.1.",
            show_default=False,
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="DATA",
            help="Rows that say what is normal: fit a detector to them, with the run's model inside.",
            show_default=False,
        ),
    ] = None,
    array: ArrayName = None,
    skip_bad: SkipBad = False,
    unseen: UnseenCategories = None,
    as_json: Json = False,
) -> None:
    """Find the rows that are not like the others.

    A score is about the negative log-probability, in nats, that a normal row is as odd; rows above the cut are odd. A
    p-value is the share of normal rows that are as odd, the confidence how sure the verdict is. Parquet is read a piece
    at a time, so it may be larger than the memory.
    """
    _check(output, explain=explain, labels=labels, normal=normal, false_alarms=false_alarms, fdr=fdr)
    printer = Printer(as_json=as_json, to_stderr=output == STDOUT)
    opened = open_detector(run, printer, reference=reference, unseen=unseen, array=array, skip_bad=skip_bad)
    detector: Any = opened.estimator
    if false_alarms is not None:
        cut_at(detector, false_alarms)
    if fdr is not None and not detector.is_held_out_:
        printer.note("warning: the detector held no rows out, so the rate of --fdr is not guaranteed, but about that")
    pieces = opened.pieces(data, printer, labels=labels, array=array, skip_bad=skip_bad)
    for note in pieces.notes:
        printer.note(note)
    verdicts = judge(detector, pieces, printer, fdr=fdr)
    quality, truth = (None, None) if labels is None else _quality(opened, verdicts, labels, normal or [])
    is_image = opened.schema.kind == "images"

    def reasons(rows: Any) -> Any:
        return explain_rows(detector, rows)

    written: dict[str, list[Path]] = {}
    if output is not None:
        tables = verdict_tables(verdicts, pieces, reasons if explain and not is_image else None, top=top)
        written[f"{pieces.n if top is None else min(top, pieces.n):,} verdicts"] = write_tables(tables, output)
    if output is not None and output != STDOUT:
        n = SHOWN_IMAGES if top is None else top
        if explain and is_image:
            written["heat maps"] = _write_heat_maps(opened, verdicts, pieces, output, n)
        if quality is not None:
            written["curves"] = _write_curves(quality, verdicts, truth, output)
    shown = verdicts.order[: min(SHOWN, pieces.n)]
    oddest = [
        {
            "row": int(row),
            "score": float(verdicts.scores[row]),
            "p_value": float(verdicts.p_values[row]),
            "is_odd": bool(verdicts.is_odd[row]),
            "why": None if is_image else reason.why,
            "brief": None if is_image else reason.brief,
        }
        for row, reason in zip(
            shown, [None] * len(shown) if is_image else reasons(pieces.take(shown.tolist())), strict=True
        )
    ]
    _tell(printer, opened, verdicts, oddest, quality, fdr)
    for what, paths in written.items():
        printer.written(what, paths)
    printer.document(
        {
            "n": pieces.n,
            "n_odd": int(verdicts.is_odd.sum()),
            "share_odd": float(verdicts.is_odd.mean()),
            "cut_nats": detector.calibration_.cut,
            "rule": detector.calibration_.rule,
            "expected_false_alarms": verdicts.expected,
            "is_held_out": detector.is_held_out_,
            "oddest": [{name: value for name, value in found.items() if name != "brief"} for found in oddest],
            "quality": None if quality is None else _figures(quality),
            "files": [file for paths in written.values() for file in paths],
        }
    )


def _check(
    output: str | None,
    *,
    explain: bool,
    labels: str | None,
    normal: Sequence[str] | None,
    false_alarms: float | None,
    fdr: float | None,
) -> None:
    """Refuse options that cannot go together, before anything is read."""
    from latentkit.core.parameters import check_real

    if output is not None:
        check_output(output, tables_only=True)
    if explain and output is not None and output != STDOUT and Path(output).suffix.lower() not in MIXED:
        raise InvalidParameterError(
            f"-o {output}: --explain writes words, which this format cannot hold. Choose one of: {', '.join(MIXED)}."
        )
    if normal and labels is None:
        raise InvalidParameterError("--normal says which labels are normal. Name the labels with --labels.")
    if false_alarms is not None and fdr is not None:
        raise InvalidParameterError("--false-alarms and --fdr both say what is flagged. Give one of them.")
    for option, rate in (("--false-alarms", false_alarms), ("--fdr", fdr)):
        if rate is not None:
            check_real(option, rate, low=0.0, high=1.0, inclusive=(False, False))


def _quality(opened: OpenedRun, verdicts: Verdicts, column: str, normal: Sequence[str]) -> tuple[DetectionQuality, Any]:
    """How well the scores rank, and which rows are odd by their labels."""
    from latentkit.evaluation import detection_quality

    known = read_where(Reading.recorded(opened.config).where).get(column)
    truth = odd_rows(verdicts.labels, column, parse_columns("--normal", normal), known)
    return detection_quality(truth, verdicts.scores), truth


def _figures(quality: DetectionQuality) -> dict[str, Any]:
    return {
        "auroc": quality.auroc,
        "average_precision": quality.average_precision,
        "precision_at": quality.precision_at,
        "prevalence": quality.prevalence,
    }


def _write_curves(quality: DetectionQuality, verdicts: Verdicts, truth: Any, output: str) -> list[Path]:
    """Draw how well the scores rank beside what was written."""
    from latentkit.core.files import write_bytes
    from latentkit.report.oddities import detection_curves
    from latentkit.report.style import draw_png

    flagged = verdicts.is_odd
    hits = int((flagged & truth).sum())
    marked = None
    if flagged.any():
        marked = (float(flagged[~truth].mean()), hits / int(truth.sum()), hits / int(flagged.sum()))
    file = _beside(output, "curves")
    write_bytes(file, draw_png(detection_curves(quality, flagged=marked)))
    return [file]


def _write_heat_maps(opened: OpenedRun, verdicts: Verdicts, pieces: Pieces, output: str, n: int) -> list[Path]:
    """Draw where the oddest images are odd beside what was written."""
    from latentkit.core.files import write_bytes
    from latentkit.report.oddities import heat_maps
    from latentkit.report.style import draw_png

    rows = verdicts.order[: min(n, SHOWN_IMAGES)].tolist()
    images = pieces.take(rows)
    found: Any = opened.estimator.explain(images)
    flagged = {True: ", flagged", False: ""}
    names = [f"row {row}: {verdicts.scores[row]:.1f} nats{flagged[bool(verdicts.is_odd[row])]}" for row in rows]
    originals, counterparts = (pictures(part, opened.schema) for part in (images.data, found.counterparts))
    file = _beside(output, "heat-maps")
    write_bytes(file, draw_png(heat_maps(originals, found.contributions, counterparts, names)))
    return [file]


def _beside(output: str, what: str) -> Path:
    return Path(output).expanduser().with_suffix(f".{what}.png")


def _tell(
    printer: Printer,
    opened: OpenedRun,
    verdicts: Verdicts,
    oddest: Sequence[dict[str, Any]],
    quality: DetectionQuality | None,
    fdr: float | None,
) -> None:
    detector: Any = opened.estimator
    n, n_odd = len(verdicts.scores), int(verdicts.is_odd.sum())
    whom = "of those flagged are normal, on average" if fdr is not None else "if all rows were normal"
    alarms = f"at most {verdicts.expected:,.1f} {whom}" if fdr is not None else f"about {verdicts.expected:,.0f} {whom}"
    figures = [
        ("rows", f"{n:,}"),
        ("odd", f"{n_odd:,} flagged ({n_odd / n:.1%})"),
        ("cut", f"{detector.calibration_.cut:.2f} nats; {detector.calibration_.rule}"),
        ("false alarms", alarms + ("" if detector.is_held_out_ else "; no rows were held out to tell it better")),
    ]
    if quality is not None:
        places = ", ".join(
            f"{share:.0%} of the first {'as many as are odd' if place == 'n_odd' else f'{int(place):,}'}"
            for place, share in quality.precision_at.items()
        )
        figures += [
            ("AUROC", f"{quality.auroc:.4f}"),
            ("average precision", f"{quality.average_precision:.4f}, by chance {quality.prevalence:.4f}"),
            ("odd are", places),
        ]
    for place, found in enumerate(oddest):
        why = f"; {found['brief']}" if found["brief"] else ""
        figures.append(("oddest" if not place else "", f"row {found['row']}: {found['score']:.1f} nats{why}"))
    printer.pairs(figures)
