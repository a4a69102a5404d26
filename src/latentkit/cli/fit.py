"""``latentkit fit``: from data to a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentkit.cli.application import START, command
from latentkit.cli.options import ArrayName, Color, Json, Labels, SkipBad
from latentkit.cli.places import choose_place
from latentkit.cli.printing import Printer
from latentkit.cli.reading import Reading, naming, parse_size, read_data
from latentkit.cli.resuming import has_run, resume_run
from latentkit.cli.settings import Preset, combine, parse_settings, setting_names
from latentkit.core.errors import InvalidParameterError, TrainingInterrupted

if TYPE_CHECKING:
    from latentkit.data import Dataset

__all__ = ["fit", "fit_run", "outcome", "tell_outcome"]


@command(
    "fit",
    "latentkit fit photos/ -o run --time 5m",
    "latentkit fit table.csv --labels species --preset fast",
    "latentkit fit digits -o run --set latent_dim=8 --set encoder=[500,500]",
    "latentkit fit --resume -o run",
    panel=START,
)
def fit(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="Folder of images; .npy .npz .csv .tsv .parquet .jsonl or idx file; built-in (digits, wine, ...); or "
            "- for standard input. Not needed with --resume.",
            show_default=False,
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="RUN", help="Folder of the run. [default: runs/NAME]", show_default=False
        ),
    ] = None,
    model: Annotated[str, typer.Option("--model", metavar="M", help="Family of models.")] = "vae",
    preset: Annotated[
        Preset | None,
        typer.Option(
            "--preset",
            help="Time to take: fast a minute, good five, best thirty. [default: good]",
            show_default=False,
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option("--time", metavar="5m", help="Time to take, such as 90s, 5m, 1h30m.", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any setting of the model, such as beta=4 or likelihood_options.variance=feature; may be repeated. "
            "max_epochs lifts the preset's time.",
            show_default=False,
        ),
    ] = None,
    labels: Labels = None,
    array: ArrayName = None,
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="64", help="Side of images, or 48x64: height x width.", show_default=False),
    ] = None,
    color: Annotated[Color | None, typer.Option("--color", help="How images are read.", show_default=False)] = None,
    skip_bad: SkipBad = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a training that was interrupted or killed.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run that is there.")] = False,
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", help="Same seed, same model. [default: 0]", show_default=False, min=0),
    ] = None,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html at the end.")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: Json = False,
) -> None:
    """Learn a model from data and keep it in a run folder.

    Kinds, sizes and the model are chosen from the data and printed; `latentkit check DATA` shows them without training.
    Ctrl-C saves the state; --resume goes on, to the same weights, bit for bit.
    """
    printer = Printer(as_json=as_json, quiet=quiet)
    given = parse_settings(settings or [], setting_names(model))
    reading = Reading(
        labels=labels,
        array=array,
        size=parse_size(size),
        color="auto" if color is None else color.value,
        skip_bad=skip_bad,
    )
    if resume and run is None:
        raise InvalidParameterError("--resume needs the run to go on with: latentkit fit --resume -o RUN.")
    if resume and run is not None and (data is None or has_run(run)):
        explicit = combine(preset.value, time, given, 0) if preset is not None else dict(given)
        explicit.update({} if time is None or "max_time" in given else {"max_time": time})
        explicit.pop("random_state", None)
        if seed is not None or "random_state" in given:
            explicit["random_state"] = given.get("random_state", seed)
        resume_run(run, data, reading, explicit, printer, report=report)
        return
    if data is None:
        raise InvalidParameterError("fit needs DATA: a folder of images, a file, or a built-in such as digits.")
    place = choose_place(run, data, overwrite=overwrite)
    if resume:
        printer.note(f"there is no run at {place} yet: starting one")
    chosen = combine("good" if preset is None else preset.value, time, given, seed or 0)
    dataset = read_data(data, reading, printer)
    fit_run(model, chosen, dataset, place, printer, report=report)


def fit_run(
    model: str,
    settings: dict[str, Any],
    dataset: Dataset,
    place: Path,
    printer: Printer,
    *,
    resume: bool = False,
    report: bool = True,
) -> Any:
    """Fit a model into a run, tell how it went and return the estimator."""
    from latentkit.estimators.runs import estimators

    for note in dataset.notes:
        printer.note(note)
    estimator = estimators[model](**{"verbose": int(not printer.quiet), **settings})
    try:
        with naming(dataset):
            estimator.fit(dataset, run=place, resume=resume)  # type: ignore[call-arg]
    except (KeyboardInterrupt, TrainingInterrupted):
        printer.note(f"go on with: latentkit fit --resume -o {place}")
        raise
    tell_outcome(estimator, dataset, place, printer, report=report)
    return estimator


def tell_outcome(estimator: Any, dataset: Dataset | None, place: Path, printer: Printer, *, report: bool) -> None:
    """Write the report, and print what came of a training and what to do with it."""
    values = outcome(estimator, place)
    if report:
        from latentkit.report import write_report

        page = place / "report.html"
        write_report(estimator, page, data=dataset)
        values["report"] = page
    last = f"epoch {values['best_epoch']} of {values['epochs']} kept, stopped by {values['stopped']}"
    printer.line(f"trained in {values['seconds']:.0f} s: {last}", style="bold")
    figures = [("bound", _bound(values)), ("run", str(place))]
    printer.pairs(figures + ([("report", str(values["report"]))] if report else []))
    is_images = estimator.schema_.kind == "images"
    printer.commands(
        "next",
        [
            f"latentkit sample {place} -n 64 -o {'samples.png' if is_images else 'samples.csv'}",
            f"latentkit reconstruct {place} DATA -o {'reconstructions.png' if is_images else 'reconstructions.csv'}",
            f"latentkit score {place} DATA -o scores.csv",
        ],
    )
    printer.document(values)


def outcome(estimator: Any, place: Path) -> dict[str, Any]:
    """What came of a training, as values."""
    best = estimator.history_[max(estimator.best_epoch_, 1) - 1] if estimator.history_ else {}
    return {
        "run": place,
        "epochs": estimator.n_iter_,
        "best_epoch": estimator.best_epoch_,
        "stopped": estimator.stopped_,
        "seconds": estimator.history_[-1]["seconds"] if estimator.history_ else 0.0,
        "objective_nats": best.get("objective"),
        "validation_nats": best.get("validation"),
        "latent_dim": estimator.latent_dim_,
        "classes": list(estimator.classes_),
        "events": list(estimator.events_),
    }


def _bound(values: dict[str, Any]) -> str:
    training = "" if values["objective_nats"] is None else f"{values['objective_nats']:.2f} nats in training"
    held_out = values["validation_nats"]
    return training if held_out is None else f"{held_out:.2f} nats on held-out rows, {training}"
