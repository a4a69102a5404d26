"""``latentkit report``: one page that shows everything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentkit.cli.application import START, command
from latentkit.cli.detectors import DETECTOR_FOLDER
from latentkit.cli.opening import open_run
from latentkit.cli.options import ArrayName, Json, Labels, PageLanguage, Run, SkipBad
from latentkit.cli.printing import Printer

__all__ = ["report"]


@command(
    "report",
    "latentkit report run",
    "latentkit report run photos/ -o page.html",
    "latentkit report run --language zh",
    panel=START,
)
def report(
    run: Run,
    data: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help="Data to show reconstructions and the latent map of.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PAGE", help="[default: RUN/report.html]", show_default=False),
    ] = None,
    language: PageLanguage = "en",
    labels: Labels = None,
    array: ArrayName = None,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Write one page that shows what a model learnt, and how well.

    Without DATA it takes the data of the fit, where they still are.
    """
    from latentkit.report.language import check_language

    printer, wanted = Printer(as_json=as_json), check_language("--language", language)
    opened = open_run(run)
    is_own = data is None and opened.source is not None
    if is_own:
        data = opened.source
        printer.note(f"with the data of the fit, {data}")
    dataset = None
    if data is not None:
        dataset = opened.read(data, printer, labels=labels, array=array, skip_bad=skip_bad, as_fitted=is_own)
    from latentkit.estimators import load
    from latentkit.report import write_report

    page = run / "report.html" if output is None else output
    detector = load(place) if (place := run / DETECTOR_FOLDER).is_dir() else None
    write_report(opened.estimator, page, data=dataset, detector=detector, language=wanted)
    printer.written("report", [page])
    printer.document({"report": page, "language": wanted})
