"""``latentkit compare``: runs side by side on the same rows, with tests of what differs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentkit.cli.application import command
from latentkit.cli.figures import (
    FEWEST,
    SAMPLES,
    Estimator,
    EstimatorName,
    Importance,
    Rows,
    Samples,
    Train,
    held_out,
    in_short,
    unlearnt,
)
from latentkit.cli.opening import OpenedRun, open_run
from latentkit.cli.options import ArrayName, Json, PageLanguage
from latentkit.cli.printing import Printer
from latentkit.cli.reading import naming
from latentkit.core.errors import DataError, InvalidParameterError

if TYPE_CHECKING:
    from latentkit.data import Dataset
    from latentkit.evaluation import ComparedPair, Comparison

__all__ = ["compare"]


@command(
    "compare",
    "latentkit compare small large test.npz",
    "latentkit compare runs/a runs/b runs/c test.csv -o compare.html",
    "latentkit compare small large --json",
)
def compare(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN RUN ... DATA",
            help="Run folders, and after them data that none of them has learnt. [default of DATA: the rows of the fit "
            "that all runs held out]",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PAGE", help="Write one HTML page, too.", show_default=False),
    ] = None,
    train: Train = None,
    importance: Importance = None,
    estimator: EstimatorName = Estimator.iwae,
    samples: Samples = None,
    rows: Rows = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of rows and draws.", min=0)] = 0,
    array: ArrayName = None,
    language: PageLanguage = "en",
    as_json: Json = False,
) -> None:
    """Show runs side by side on the same rows, and which differences count.

    log p(x) is compared row by row: the paired t test with Holm's correction, and Wilcoxon's signed-rank test. Other
    figures stand beside each other. Likelihoods of different kinds, such as a density and a probability, are said to be
    so and not compared, and so are runs of other data.
    """
    from latentkit.report.language import check_language

    printer, wanted = Printer(as_json=as_json), check_language("--language", language)
    runs, data = _told_apart(places)
    opened = {name: open_run(Path(place)) for name, place in zip(_names(runs), runs, strict=True)}
    first = next(iter(opened.values()))
    known: Dataset | None
    if data is None:
        dataset, known, source = _held_out(list(opened.values()), printer)
    else:
        dataset = first.read(data, printer, array=array)
        known, source = _rows_of_fit(list(opened.values()), train, printer), data
        dataset, known = unlearnt(list(opened.values()), dataset, known, printer)
    from latentkit.estimators import compare_models

    models = {name: each.given_labels(dataset, printer) for name, each in opened.items()}
    with naming(dataset), printer.waiting(f"evaluating {len(models)} models"):
        found = compare_models(
            models,
            dataset,
            train=known,
            estimator=estimator.value,
            n_importance=importance,
            n_samples=SAMPLES if samples is None else samples,
            max_rows=rows,
            random_state=seed,
        )
    _tell(found, printer)
    if output is not None:
        from latentkit.report import write_comparison

        write_comparison(found, output, models=models, source=source, language=wanted)
        printer.written("page", [output])
    document = {name: str(place) for name, place in zip(_names(runs), runs, strict=True)}
    printer.document({"data": source, "runs": document, "page": output, **found.to_dict()})


def _told_apart(places: Sequence[str]) -> tuple[list[str], str | None]:
    """Runs, and data where the last place is no run.

    Raises:
        InvalidParameterError: If there are fewer than two runs.
    """
    is_run = [(Path(place).expanduser() / "config.yaml").is_file() for place in places]
    data = None if is_run[-1] else places[-1]
    runs = [str(Path(place).expanduser()) for place in (places if data is None else places[:-1])]
    if len(runs) < 2:
        raise InvalidParameterError(
            f"it takes at least 2 runs to compare; got {len(runs)}. Give their folders, and data after them."
        )
    return runs, data


def _names(runs: Sequence[str]) -> list[str]:
    """Short names of run folders: their last parts, and more of their paths where these are equal."""
    parts = [Path(run).parts for run in runs]
    for n in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-n:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise InvalidParameterError(f"a run stands twice among: {', '.join(runs)}. Give each once.")


def _rows_of_fit(opened: Sequence[OpenedRun], train: str | None, printer: Printer) -> Dataset | None:
    """The data that all runs were fitted on; None where they were fitted on different ones, or these are gone."""
    sources = {each.source for each in opened}
    if train is None and (len(sources) > 1 or None in sources):
        printer.note(
            "warning: the runs do not share the data of their fits, or these are gone; without --train no samples are "
            "judged"
        )
        return None
    source = train or opened[0].source
    assert source is not None, "there is one"
    return opened[0].read(source, printer, as_fitted=True)


def _held_out(opened: Sequence[OpenedRun], printer: Printer) -> tuple[Dataset, Dataset, str]:
    """Rows of the fit that no run has learnt, those that all have learnt or judged by, and where they came from.

    Raises:
        DataError: If the runs were fitted on different data, or held out too few rows together.
    """
    from latentkit.data.parts import drop_examples, take_examples

    advice = "Give data that none of them has learnt: latentkit compare RUN RUN DATA"
    sources = {each.source for each in opened}
    source = next(iter(sources))
    sizes = {each.schema.n_examples for each in opened}
    if len(sources) > 1 or source is None or len(sizes) > 1 or len({each.reading.aside for each in opened}) > 1:
        raise DataError(f"the runs were not fitted on the same data, or these are gone. {advice}")
    whole = opened[0].read(source, printer, as_fitted=True)
    n = whole.n
    if n != next(iter(sizes)):
        raise DataError(f"{source} has {n:,} rows, and the runs were fitted on {next(iter(sizes)):,}. {advice}")
    rows = held_out(opened, n)
    if len(rows) < FEWEST:
        raise DataError(f"all runs together held out {len(rows)} rows, and {FEWEST} are needed. {advice}")
    printer.note(f"on {len(rows):,} rows of {source} that no run has learnt")
    return take_examples(whole, rows), drop_examples(whole, rows), source


def _tell(found: Comparison, printer: Printer) -> None:
    """Print the figures of all runs beside each other, the pairs, and what is not compared."""
    first = next(iter(found.evaluations.values()))
    scored = "" if first.rows is None or len(first.rows) == first.n else f", {len(first.rows):,} of them scored"
    printer.line(f"{len(found.names)} runs on the same {first.n:,} rows{scored}", style="dim")
    _tell_figures(found, printer)
    if found.pairs:
        printer.line()
        printer.line("log p(x), pair by pair", style="bold")
    for pair in found.pairs:
        _tell_pair(pair, printer)
    for name, why in found.left_out.items():
        printer.line()
        printer.paragraph(f"warning: {name} is left out: {why}")
    for warning in first.warnings:
        if all(warning in evaluation.warnings for evaluation in found.evaluations.values()):
            printer.line()
            printer.paragraph(f"warning: {warning}")
    _tell_missing(found, printer)


def _tell_figures(found: Comparison, printer: Printer) -> None:
    from latentkit.evaluation.evaluation import GROUPS

    best = {name: found.best(name) for name in found.figures}
    for group, heading in GROUPS.items():
        rows = []
        for name, each in found.figures.items():
            some = next(iter(each.values()))
            if some.group != group:
                continue
            cells = [
                f"{in_short(each[run])}{' *' if run == best[name] else '  '}" if run in each else "–  "
                for run in found.names
            ]
            rows.append((f"{name}, {some.unit}" if some.unit else name, *cells))
        if rows:
            printer.line()
            printer.line(heading, style="bold")
            printer.grid(("", *(f"{name}  " for name in found.names)), rows, widths=(29, *[12] * len(found.names)))
    if any(best.values()):
        printer.paragraph("* clear of all others: by its interval, or by pairs of rows", indent=2)


def _tell_pair(pair: ComparedPair, printer: Printer) -> None:
    from latentkit.report.comparison import p_in_words
    from latentkit.report.wording import number

    difference = pair.difference
    if difference is None or pair.p_value is None:
        printer.paragraph(f"{pair.first}, {pair.second}: not compared. {pair.note}", indent=2)
        return
    low, high = difference.interval
    probable, ranks = (
        word if word.startswith("<") else f"= {word}"
        for word in map(p_in_words, (pair.p_value, difference.wilcoxon_p_value))
    )
    interval = f"{number(low)} to {number(high)}"
    printer.line(f"  {pair.first} − {pair.second}: {number(difference.mean)} nats ({interval}), p {probable}")
    more = f". But {pair.note}" if pair.note else ""
    printer.paragraph(
        f"paired t test, Holm; Wilcoxon p {ranks}; {pair.first} ahead on {100 * difference.share:.0f} % of "
        f"{difference.n:,} rows{more}",
        indent=2,
    )


def _tell_missing(found: Comparison, printer: Printer) -> None:
    lacking: dict[tuple[str, str], list[str]] = {}
    for name, evaluation in found.evaluations.items():
        for each in evaluation.missing:
            lacking.setdefault((each.name, each.why), []).append(name)
    if lacking:
        printer.line()
    for (figure, why), names in lacking.items():
        whom = "" if len(names) == len(found.names) else f" of {', '.join(names)}"
        printer.paragraph(f"no {figure}{whom}: {why}", indent=2)
