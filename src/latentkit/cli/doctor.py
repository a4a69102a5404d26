"""``latentkit doctor``: what is wrong with a run, the evidence, the remedy; and the remedy applied."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentkit.cli.application import START, command
from latentkit.cli.figures import rows_not_learnt
from latentkit.cli.opening import OpenedRun, open_run
from latentkit.cli.options import ArrayName, Json, Run, SkipBad
from latentkit.cli.printing import Printer
from latentkit.cli.reading import naming
from latentkit.cli.settings import as_options, in_words
from latentkit.core.errors import InvalidParameterError, RunError

if TYPE_CHECKING:
    from latentkit.data import Dataset
    from latentkit.doctor import Diagnosis, Finding, Mending

__all__ = ["doctor"]

#: How findings are marked, and in which colour.
MARKS = {"serious": ("!!", "bold red"), "moderate": ("! ", "bold yellow"), "mild": ("i ", "bold cyan")}


@command(
    "doctor",
    "latentkit doctor run",
    "latentkit doctor run new-rows.csv",
    "latentkit doctor run --fix -o mended",
    "latentkit doctor run --json | jq '.findings[].name'",
    panel=START,
)
def doctor(
    run: Run,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="Rows that the run has not learnt. [default: those that its fit held out]",
            show_default=False,
        ),
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Apply the remedies of the most severe findings.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="NEW_RUN", help="With --fix: the mended run.", show_default=False),
    ] = None,
    train: Annotated[
        str | None,
        typer.Option(
            "--train", metavar="DATA", help="The data of the fit. [default: where they were then]", show_default=False
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if anything serious is found.")] = False,
    array: ArrayName = None,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Say what is wrong with a model, by which evidence, and what would help.

    It looks at inference, generator, overfitting, samples, training and robustness, on rows of the fit and on others.
    --fix applies what would help, trains again where that is needed, and shows the figures before and after.
    """
    if fix != (output is not None):
        raise InvalidParameterError("--fix and -o NEW_RUN go together: the mended model is a run of its own.")
    printer = Printer(as_json=as_json)
    opened = open_run(run)
    known, unseen = _read(opened, data, train, array, printer, skip_bad=skip_bad)
    if fix and known is None:
        raise RunError(f"--fix fits again, and {opened.why_no_source}. Say where they are: --train DATA.")
    from latentkit.doctor import diagnose

    with printer.waiting("looking") as tell:
        diagnosis = diagnose(
            opened.estimator, known, held_out=unseen, progress=lambda name: tell(f"looking for {name}")
        )
    _tell(diagnosis, printer, str(run))
    values: dict[str, Any] = {"run": run, **diagnosis.to_dict()}
    if fix and any(finding.remedy.is_applicable for finding in diagnosis.findings):
        assert known is not None, "checked above"
        assert output is not None, "checked above"
        mending = _mend(opened, known, unseen, diagnosis, output, printer)
        values["mending"] = {"run": output, **mending.to_dict()}
        diagnosis = mending.after
    elif fix:
        printer.line("Nothing to mend: no finding has a remedy that is a setting.")
    elif any(finding.remedy.is_applicable for finding in diagnosis.findings):
        printer.commands("apply the remedies:", [f"latentkit doctor {run} --fix -o {run}-mended"])
    printer.document(values)
    if strict and diagnosis.is_serious:
        raise typer.Exit(1)


def _read(
    opened: OpenedRun, data: str | None, train: str | None, array: str | None, printer: Printer, *, skip_bad: bool
) -> tuple[Dataset | None, Dataset | None]:
    """The data of the fit, and rows that it has not learnt, as far as they are there."""
    from latentkit.data.parts import take_examples

    source = train or opened.source
    known = None
    if source is not None:
        known = opened.read(source, printer, array=array if train else None, skip_bad=skip_bad, as_fitted=True)
        expected = (opened.config.get("data") or {}).get("examples")
        if expected is not None and known.n != expected:
            printer.note(
                f"warning: {source} has {known.n:,} rows and the fit took {expected:,}: they are left out, since rows "
                "that were learnt cannot be told from others"
            )
            known = None
    else:
        printer.note(f"warning: {opened.why_no_source}; say where they are with --train")
    if data is None:
        return known, None
    unseen = opened.read(data, printer, array=array, skip_bad=skip_bad)
    rows = rows_not_learnt([opened], unseen, known, printer)
    if rows is not None:
        what = f"the {len(rows):,} rows that were held out are looked at" if rows else "and no rows were held out"
        printer.note(f"{data} has the data of the fit: {what}")
        return known, take_examples(unseen, rows) if rows else None
    if known is None and unseen.n == opened.schema.n_examples:
        printer.note(
            f"warning: {data} has as many rows as the fit took, and they are looked at as rows that were not learnt; "
            f"if they were, give --train {data} in place of it"
        )
    return known, unseen


def _tell(diagnosis: Diagnosis, printer: Printer, title: str) -> None:
    """Print a diagnosis: the verdict, the findings, what is healthy, what could not be checked."""
    from latentkit.doctor.findings import PROBLEMS

    style = "bold red" if diagnosis.is_serious else "bold yellow" if diagnosis.grave else "bold green"
    printer.line(f"{title}: {diagnosis.verdict}", style=style)
    rows = f"{diagnosis.n_train:,} rows of the fit, {diagnosis.n_held_out:,} held out"
    printer.line(f"{rows}; {diagnosis.seconds:.0f} s", style="dim")
    for note in diagnosis.notes:
        printer.paragraph(note)
    for finding in diagnosis.findings:
        _tell_finding(finding, printer)
    if diagnosis.healthy:
        printer.line()
        printer.line("Healthy", style="bold green")
        for problem in PROBLEMS:
            names = [outcome.name for outcome in diagnosis.healthy if outcome.problem == problem]
            if names:
                _indented(printer, f"{problem + ':':<16}{', '.join(names)}", hang=19)
    if diagnosis.unchecked:
        printer.line()
        printer.line("Not checked", style="bold dim")
        for reason in dict.fromkeys(outcome.reason for outcome in diagnosis.unchecked):
            names = [outcome.name for outcome in diagnosis.unchecked if outcome.reason == reason]
            _indented(printer, f"{', '.join(names)}: {reason}", style="dim")
    if diagnosis.curves:
        printer.line()
        printer.line("What corruption costs", style="bold")
        printer.table(
            ("  corruption", "level", "score, nats", "error of reconstructions"),
            [
                (f"  {curve.corruption if not place else ''}", f"{level:g}", f"{score:,.1f}", f"{error:.3f}")
                for curve in diagnosis.curves
                for place, (level, score, error) in enumerate(zip(curve.levels, curve.score, curve.error, strict=True))
            ],
        )


def _tell_finding(finding: Finding, printer: Printer) -> None:
    mark, style = MARKS[finding.severity]
    printer.line()
    printer.line(f"{mark} {finding.title}", style=style)
    _indented(printer, f"{finding.severity} · {finding.problem} · {finding.name}", style="dim")
    for evidence in finding.evidence:
        _indented(printer, str(evidence), style="red" if evidence.is_ill else "", hang=5)
    _indented(printer, finding.explanation)
    _indented(printer, f"Remedy: {finding.remedy.words}", style="green")
    if finding.remedy.settings:
        _indented(printer, f"That is: {as_options(finding.remedy.settings)}", style="dim green", hang=5)


def _indented(printer: Printer, text: str, *, style: str = "", hang: int = 3) -> None:
    """Print a paragraph three columns to the right."""
    printer.paragraph(text, indent=3, hang=hang, style=style)


def _mend(
    opened: OpenedRun, known: Dataset, unseen: Dataset | None, diagnosis: Diagnosis, output: Path, printer: Printer
) -> Mending:
    """Apply the remedies, and show the measures before and after."""
    from latentkit.doctor import mend
    from latentkit.estimators.runs import RunWriter

    RunWriter(output)  # refuses a place that is taken before anything is trained
    printer.line()
    printer.line("Mending", style="bold")
    with naming(known), printer.waiting("mending") as tell:
        mending = mend(
            opened.estimator,
            known,
            diagnosis=diagnosis,
            held_out=unseen,
            run=output,
            progress=lambda name: tell(f"looking for {name}"),
        )
    changed = " ".join(f"{name}={in_words(value)}" for name, value in mending.settings.items())
    way = "trained again" if mending.has_retrained else "the trained model stays"
    _indented(printer, f"{changed}; {way}")
    for treated in mending.treated:
        is_cured = treated.is_cured
        _indented(printer, f"{treated.finding.name}: {'cured' if is_cured else 'still there'}", style="bold")
        _indented(printer, str(treated), style="green" if is_cured else "yellow", hang=5)
    printer.line()
    _tell(mending.after, printer, str(output))
    printer.written("run", [output])
    return mending
