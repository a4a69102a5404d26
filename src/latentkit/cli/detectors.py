"""The detector of a run: fitting one beside a model, and opening one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentkit.cli.columns import Unseen
from latentkit.cli.opening import OpenedRun, open_run
from latentkit.cli.places import remove_part
from latentkit.cli.printing import Printer
from latentkit.cli.reading import Reading, naming
from latentkit.core.errors import DataError, InvalidParameterError, RunError

if TYPE_CHECKING:
    from latentkit.data import Dataset
    from latentkit.estimators import AnomalyDetector

__all__ = [
    "DETECTOR_FOLDER",
    "check_detectable",
    "describe_detector",
    "detector_line",
    "fit_detector",
    "open_detector",
    "remove_detector",
    "wants_detector",
]

#: Folder of the detector in a run.
DETECTOR_FOLDER = "detector"
#: Texts that the model has not learnt from, where there are as many, are those to calibrate by.
ENOUGH = 100


def check_detectable(kind: type, data: str, *, is_conditional: bool) -> None:
    """Refuse a detector that cannot be, before a long training.

    Args:
        kind: Class of the model.
        data: Kind of the data.
        is_conditional: Whether the model is given labels.
    Raises:
        InvalidParameterError: If it cannot be.
    """
    from latentkit.estimators.vectors import VectorTasks

    if data in ("images", "text") and (is_conditional or not issubclass(kind, VectorTasks)):
        which = "a conditional model" if is_conditional else kind.__name__
        raise InvalidParameterError(
            f"--detector: of {'images' if data == 'images' else 'texts'} a detector asks the model, which needs an "
            f"encoder whose codes are vectors and no conditions; {which} is none such. Leave it out, or use --model "
            "vae."
        )


def wants_detector(estimator: Any, detector: bool | None) -> bool:
    """Whether to fit a detector: as asked for, else where the model suits one and training was not private."""
    from latentkit.estimators.vectors import VectorTasks

    if detector is not None:
        return detector
    suits = isinstance(estimator, VectorTasks) and estimator.condition_schema_ is None
    return suits and estimator.privacy_ is None  # it keeps rows of training


def fit_detector(
    estimator: Any, dataset: Dataset, place: Path, printer: Printer, *, is_asked: bool
) -> AnomalyDetector | None:
    """Fit a detector on the data of a run and keep it there.

    Rows and tables are learnt by the detector's own small ensemble, images and texts by the run's model.

    Returns:
        The detector; None where the data do not suit one and nobody asked for it, which is told.
    """
    from sklearn.frozen import FrozenEstimator

    from latentkit.estimators import AnomalyDetector
    from latentkit.estimators.detector_runs import save_detector

    settings = estimator.get_params(deep=False)
    options: dict[str, Any] = {
        "random_state": int(estimator.seed_) % 2**31,
        "regime": "clean" if dataset.reading.get("where") else "auto",
    }
    if dataset.kind in ("images", "text"):
        options["estimator"] = FrozenEstimator(estimator)
    elif dataset.kind == "table":
        options |= {name: settings[name] for name in ("kinds", "na_values") if settings.get(name)}
    held_out = None
    if dataset.kind == "text":  # rows that the model has learnt by heart are no guide to those to come
        rows = estimator.validation_rows(dataset.n)
        held_out = rows if len(rows) >= ENOUGH else None
    try:
        with naming(dataset):
            detector = AnomalyDetector(**options).fit(dataset, held_out=held_out)
    except (DataError, InvalidParameterError) as error:
        if is_asked:
            raise
        printer.note(f"warning: there is no detector in this run: {error}")
        return None
    save_detector(detector, place / DETECTOR_FOLDER, in_run=True)
    return detector


def remove_detector(place: Path) -> None:
    """Remove the detector of a run, where there is one."""
    from latentkit.estimators.detector_runs import DETECTOR

    remove_part(place / DETECTOR_FOLDER, DETECTOR)


def detector_line(detector: AnomalyDetector) -> str:
    """A detector in words: where it cuts, by which rule, and what it keeps."""
    cut = detector.calibration_
    return (
        f"cut at {cut.cut:.1f} nats, {cut.rule}; it keeps {len(detector.score_.pool):,} rows of training to compare "
        "with (5,000 at most)"
    )


def describe_detector(detector: AnomalyDetector, place: Path) -> dict[str, Any]:
    """A detector as values."""
    cut = detector.calibration_
    return {
        "folder": place / DETECTOR_FOLDER,
        "cut_nats": cut.cut,
        "rule": cut.rule,
        "regime": detector.regime_,
        "kept_rows": len(detector.score_.pool),
        "reference_rows": len(detector.reference_),
        "is_held_out": detector.is_held_out_,
    }


def open_detector(
    path: Path,
    printer: Printer,
    *,
    reference: str | None = None,
    unseen: Unseen | None = None,
    array: str | None = None,
    skip_bad: bool = False,
) -> OpenedRun:
    """Open the detector of a run, or a folder that is one; or fit one to other data with the run's model inside.

    Args:
        path: A run, or a folder that a detector was saved in.
        printer: Where to tell.
        reference: DATA to fit one to.
        unseen: What becomes of categories that the fit did not see.
        array: Member of the .npz that holds the reference.
        skip_bad: Whether images of the reference that cannot be read are left out.
    Returns:
        An opened run whose estimator is the detector, and which reads data as the run does.
    Raises:
        RunError: If there is none.
    """
    from latentkit.estimators import load
    from latentkit.estimators.detector_runs import DETECTOR
    from latentkit.estimators.runs import read_config

    config = read_config(path)
    is_detector = config.get("estimator") == DETECTOR
    if reference is not None:
        if is_detector:
            raise InvalidParameterError(
                f"--reference fits a detector with the model of a run, and {path} is a detector. Leave it out, or give "
                "the run."
            )
        return _fitted_to(open_run(path, unseen=unseen), reference, printer, array=array, skip_bad=skip_bad)
    if not is_detector:
        if "fitted" not in config:
            open_run(path)  # says what is to be done
        folder = path / DETECTOR_FOLDER
        if not folder.is_dir():
            raise RunError(
                f"{path} has no detector: it was fitted without one (--no-detector, --epsilon, or a model that suits "
                "none). Fit again, or say what is normal: latentkit detect RUN DATA --reference TRAIN"
            )
        opened = OpenedRun(load(folder), config, path)
    else:
        opened = OpenedRun(load(path), _around(path, config), path)
    if unseen is not None and opened.schema.kind == "table":
        opened.estimator.schema_ = replace(opened.schema, unseen=unseen.value)
    return opened


def _around(path: Path, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of the run that a detector lies in, which say how its data were read; else its own."""
    from latentkit.estimators.runs import CONFIG, read_config

    run = path.resolve().parent
    return read_config(run) if path.resolve().name == DETECTOR_FOLDER and (run / CONFIG).exists() else config


def _fitted_to(run: OpenedRun, reference: str, printer: Printer, *, array: str | None, skip_bad: bool) -> OpenedRun:
    """A detector with the model of a run inside, fitted to rows that are normal."""
    from sklearn.frozen import FrozenEstimator

    from latentkit.estimators import AnomalyDetector

    recorded = Reading.recorded(run.config)
    dataset = None
    if recorded.where:
        # The rows of the fit's kind, where the reference tells them; a table without that column is all of that kind.
        try:
            dataset = run.read(reference, printer, array=array, skip_bad=skip_bad, as_fitted=True)
        except InvalidParameterError:
            printer.note(f"{reference} has no columns to tell {' and '.join(recorded.where)}: all rows are taken")
    if dataset is None:
        dataset = run.read(reference, printer, array=array, skip_bad=skip_bad)
    for note in dataset.notes:
        printer.note(note)
    detector = AnomalyDetector(
        FrozenEstimator(run.estimator),
        random_state=int(run.estimator.seed_) % 2**31,
        regime="clean" if recorded.where else "auto",
    )
    with naming(dataset):
        detector.fit(dataset)
    printer.note(f"detector fitted to {dataset.n:,} rows of {reference}: {detector_line(detector)}")
    return OpenedRun(detector, run.config, run.path)
