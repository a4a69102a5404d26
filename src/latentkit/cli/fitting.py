"""Fitting a model into a run, and telling what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentkit.cli.compressors import CompressorPlan, compressor_line, remove_compressor
from latentkit.cli.detectors import (
    check_detectable,
    describe_detector,
    detector_line,
    fit_detector,
    remove_detector,
    wants_detector,
)
from latentkit.cli.printing import Printer
from latentkit.cli.reading import labels_of, naming
from latentkit.core.errors import InvalidParameterError, TrainingInterrupted

if TYPE_CHECKING:
    from latentkit.data import Dataset

__all__ = ["fit_run", "outcome", "tell_outcome", "wants_report"]

#: Files of a run that tell of rows as they are.
NOT_PRIVATE = "schema.json and metrics.jsonl"


def fit_run(
    model: str,
    settings: dict[str, Any],
    dataset: Dataset,
    place: Path,
    printer: Printer,
    *,
    conditional: bool = False,
    resume: bool = False,
    report: bool | None = None,
    detector: bool | None = None,
    compressor: CompressorPlan | None = None,
) -> Any:
    """Fit a model into a run, tell how it went and return the estimator; `conditional` gives it the labels."""
    from latentkit.estimators.registry import estimators

    for note in dataset.notes:
        printer.note(note)
    if detector:
        check_detectable(estimators[model], dataset.kind, is_conditional=conditional)
    if compressor is not None:
        compressor.check()
    estimator = estimators[model](**{"verbose": int(not printer.quiet), **settings})
    try:
        with naming(dataset):
            estimator.fit(
                dataset,
                condition=label_names(dataset) if conditional else None,
                run=place,
                resume=resume,
                overwrite=True,
            )
    except (KeyboardInterrupt, TrainingInterrupted):
        also = "" if compressor is None else " --compressor --lossy" if compressor.lossy else " --compressor"
        printer.note(f"go on with: latentkit fit --resume -o {place}{also}")
        raise
    remove_detector(place)  # of a run that this one has replaced
    remove_compressor(place)
    tell_outcome(estimator, dataset, place, printer, report=report, detector=detector, compressor=compressor)
    return estimator


def label_names(dataset: Dataset) -> list[str]:
    """The label of each example, as a text.

    Raises:
        InvalidParameterError: If the data have no labels.
    """
    if dataset.labels is None:
        raise InvalidParameterError(
            "--conditional gives the labels to the model, and these data have none. Name them with --labels, or put "
            "the images of each class into a folder of its own."
        )
    return labels_of(dataset)


def wants_report(estimator: Any, report: bool | None) -> bool:
    """Whether to write a report: as asked for, else unless training was private, since a report shows real rows."""
    return estimator.privacy_ is None if report is None else report


def tell_outcome(
    estimator: Any,
    dataset: Dataset | None,
    place: Path,
    printer: Printer,
    *,
    report: bool | None,
    detector: bool | None = False,
    compressor: CompressorPlan | None = None,
) -> None:
    """Fit detector and compressor, write the report, and print what came of a training and what to do with it."""
    from latentkit.estimators.encoding import EncodingTasks

    values = outcome(estimator, place)
    found = None
    if dataset is not None and wants_detector(estimator, detector):
        found = fit_detector(estimator, dataset, place, printer, is_asked=bool(detector))
    if compressor is not None and estimator.privacy_ is not None:
        printer.note("warning: the compressor is not private: neither it nor archives that hold it may be handed on")
    packer = None if compressor is None else compressor.fit(place, printer)
    if wants_report(estimator, report):
        from latentkit.report import write_report

        page = place / "report.html"
        write_report(estimator, page, data=dataset, detector=found)
        values["report"] = page
    last = f"epoch {values['best_epoch']} of {values['epochs']} kept, stopped by {values['stopped']}"
    printer.line(f"trained in {values['seconds']:.0f} s: {last}", style="bold")
    figures = [("objective", _objective(values)), ("run", str(place))]
    if estimator.privacy_ is not None:
        figures.insert(0, ("privacy", f"{estimator.privacy_.summary()}; of weights and new rows, not of {NOT_PRIVATE}"))
    if found is not None:
        values["detector"] = describe_detector(found, place)
        figures.append(("detector", detector_line(found)))
    if packer is not None:
        values["compressor"] = {
            "bits": packer.bits_,
            "coder": packer.coder_.name,
            "lossy": packer.lossy_coder_ is not None,
        }
        figures.append(("compressor", compressor_line(packer)))
    printer.pairs(figures + ([("report", str(values["report"]))] if "report" in values else []))
    ending = {"images": "png", "text": "txt"}.get(estimator.schema_.kind, "csv")
    lines = [f"latentkit sample {place} -n 64 -o samples.{ending}"]
    if isinstance(estimator, EncodingTasks):
        lines += [
            f"latentkit reconstruct {place} DATA -o reconstructions.{ending}",
            f"latentkit score {place} DATA -o scores.csv",
        ]
    lines += [f"latentkit detect {place} DATA -o anomalies.csv --explain"] if found is not None else []
    if packer is not None:
        quality = "" if packer.lossy_coder_ is None else " --quality 60"
        lines.append(f"latentkit compress {place} DATA -o x.lkz{quality}")
    printer.commands("next", lines)
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
        "objective_is": estimator._value_name,  # noqa: SLF001 (of our own)
        "unit": estimator._value_unit,  # noqa: SLF001 (of our own)
        "objective_nats": best.get("objective"),
        "validation_nats": best.get("validation"),
        "latent_dim": estimator.latent_dim_,
        "privacy": None if estimator.privacy_ is None else estimator.privacy_.to_dict(),
        "classes": list(estimator.classes_),
        "events": list(estimator.events_),
    }


def _objective(values: dict[str, Any]) -> str:
    unit = f" {values['unit']}".rstrip()
    figures = [
        f"{figure:.2f}{unit} {where}"
        for figure, where in (
            (values["validation_nats"], "on held-out rows"),
            (values["objective_nats"], "in training"),
        )
        if figure is not None
    ]
    return f"{', '.join(figures)}: {values['objective_is']}"
