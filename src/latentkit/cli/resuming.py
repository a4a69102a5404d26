"""Going on with a training: settings and data come from the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from latentkit.cli.compressors import COMPRESSOR_TIME, CompressorPlan
from latentkit.cli.detectors import DETECTOR_FOLDER, wants_detector
from latentkit.cli.fitting import fit_run, tell_outcome, wants_report
from latentkit.cli.printing import Printer, plain
from latentkit.cli.reading import Reading, read_data
from latentkit.core.errors import InvalidParameterError, RunError

__all__ = ["resume_run"]


def resume_run(
    folder: Path,
    data: str | None,
    reading: Reading,
    explicit: Mapping[str, Any],
    printer: Printer,
    *,
    report: bool | None,
    detector: bool | None = None,
    compressor: bool = False,
    lossy: bool = False,
) -> None:
    """Finish the training in a run folder.

    Args:
        folder: The run.
        data: DATA, where it was given; else what the run was fitted on.
        reading: Reading options, where they were given.
        explicit: Settings that were given; they must be those of the run.
        printer: Where to tell.
        report: Whether to write the report at the end; None leaves it to the training.
        detector: Whether to fit a detector at the end; None leaves it to the training and the model.
        compressor: Whether to fit a compressor at the end.
        lossy: Whether that learns to approximate images, too.
    Raises:
        RunError: If there is no run, or it does not say where its data are.
        InvalidParameterError: If a given setting differs from the run's.
    """
    from latentkit.estimators import load
    from latentkit.estimators.runs import read_config

    config = read_config(folder)
    _check_settings(folder, config["parameters"], explicit)
    recorded = Reading.recorded(config)
    if reading != Reading() and replace(reading, fit=recorded.fit) != recorded:
        raise InvalidParameterError(
            f"--resume reads the data as the run did: {_words(recorded)}; got {_words(reading)}. Leave the reading "
            "options out, or fit into another folder."
        )
    source = data if data is not None else _source(folder, config)
    plan = None
    if compressor:
        given = config["parameters"]
        time, seed = given.get("max_time") or COMPRESSOR_TIME, given.get("random_state") or 0
        plan = CompressorPlan(source, recorded.array, time, seed, lossy=lossy)
    if "fitted" in config:
        printer.note(f"{folder} is trained to the end already")
        estimator = load(folder)
        finished = wants_report(estimator, report) and not (folder / "report.html").exists()
        watched = wants_detector(estimator, detector) and not (folder / DETECTOR_FOLDER).exists()
        dataset = read_data(source, recorded, printer) if finished or watched else None
        if plan is not None:
            plan.check()
        tell_outcome(estimator, dataset, folder, printer, report=finished, detector=watched, compressor=plan)
        return
    parameters = {
        name: tuple(value) if isinstance(value, list) else value for name, value in config["parameters"].items()
    }
    parameters["verbose"] = int(not printer.quiet)
    dataset = read_data(source, recorded, printer)
    conditional = config.get("condition") is not None
    fit_run(
        config["estimator"],
        parameters,
        dataset,
        folder,
        printer,
        conditional=conditional,
        resume=True,
        report=report,
        detector=detector,
        compressor=plan,
    )


def _source(folder: Path, config: Mapping[str, Any]) -> str:
    source = (config.get("data", {}).get("reading") or {}).get("source")
    if source is None or source == "-":
        raise RunError(f"{folder} does not say where its data are. Give them: latentkit fit DATA --resume -o {folder}")
    if Path(source).is_absolute() and not Path(source).exists():
        raise RunError(
            f"the data of {folder} are not at {source} any more. Say where: latentkit fit DATA --resume -o {folder}"
        )
    return str(source)


def _check_settings(folder: Path, recorded: Mapping[str, Any], explicit: Mapping[str, Any]) -> None:
    for name, value in explicit.items():
        if name != "verbose" and json.dumps(plain(value)) != json.dumps(recorded.get(name)):
            raise InvalidParameterError(
                f"--resume goes on with the settings of {folder}, where {name} is {recorded.get(name)!r}; got "
                f"{value!r}. Leave it out, or fit into another folder."
            )


def _words(reading: Reading) -> str:
    return ", ".join(f"{name}={value}" for name, value in reading.describe().items() if value not in (None, False, []))
