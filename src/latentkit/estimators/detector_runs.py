"""Folders of detectors: what a fitted one knows, in files that anyone can read.

::

    detector/
      config.yaml           every setting, and what was learnt in few numbers
      schema.json           how data become rows of numbers
      weights.safetensors   ensemble, scales, rows of training that others are compared with, reference scores
      model/                run of the model inside, where it is not the ensemble

Nothing in it is pickled, and nothing of it is executed when it is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from latentkit.core.errors import RunError
from latentkit.core.files import sha256, write_json
from latentkit.core.version import __version__
from latentkit.data import schema_from_description
from latentkit.estimators.describing import RUN_FORMAT, environment, from_yaml, to_yaml
from latentkit.estimators.detector_model import DetectorModel
from latentkit.estimators.detector_rows import DetectorRows
from latentkit.estimators.runs import (
    CONFIG,
    ENVIRONMENT,
    SCHEMA,
    WEIGHTS,
    check_content,
    check_place,
    damaged_config,
    load,
    read_config,
    save,
    staged,
    write_config,
    write_tensors,
)
from latentkit.tasks.detection import Calibration, OddnessScore, RowScale, build_ensemble

__all__ = ["DETECTOR", "load_detector", "save_detector"]

#: What ``config.yaml`` calls a detector, and the folder of one in the run of a model.
DETECTOR = "anomaly_detector"
_MODEL = "model"
#: Where the model inside is the one of the run that the folder stands in.
_PARENT = "the run that this folder is in"
_UNITS = ("units/centre", "units/spread")


def save_detector(detector: Any, folder: Path, *, in_run: bool = False) -> Path:
    """Write a fitted detector as a folder and return its path.

    Args:
        detector: Fitted.
        folder: Where; made if absent, and a detector that is there is replaced.
        in_run: Whether the folder lies in the run of the model inside, which then is not written once more.
    Raises:
        RunError: If the folder holds something else.
        StorageError: If it cannot be written.
    """
    check_place(folder, DETECTOR, "detector")
    inside = None
    if detector.estimator_ is not None:
        inside = _PARENT if in_run else _MODEL
        if not in_run:
            save(detector.estimator_, folder / _MODEL)
    parameters = {name: value for name, value in detector.get_params(deep=False).items() if name != "estimator"}
    names = getattr(detector, "feature_names_in_", None)
    with staged(folder) as stage:
        write_json(stage / SCHEMA, detector.schema_.describe())
        write_json(stage / ENVIRONMENT, environment())
        write_tensors(stage / WEIGHTS, _tensors(detector))
        fitted = {
            "regime": detector.regime_,
            "parts": list(detector.parts_),
            "calibration": asdict(detector.calibration_),
            "is_held_out": detector.is_held_out_,
            "seed": detector.seed_,
            "inside": inside,
            "feature_names_in": None if names is None else [str(name) for name in names],
            "sha256": {name: sha256(stage / name) for name in (WEIGHTS, SCHEMA)},
        }
        config = {
            "format": RUN_FORMAT,
            "latentkit": __version__,
            "estimator": DETECTOR,
            "parameters": {name: to_yaml(value) for name, value in parameters.items()},
            "fitted": fitted,
        }
        write_config(stage, config)
    return folder


def load_detector(folder: Path, kind: Callable[..., Any]) -> Any:
    """Return the fitted detector of a folder.

    Args:
        folder: As :func:`save_detector` wrote it.
        kind: The class of the detector.
    Raises:
        RunError: If there is none in the folder.
        DamagedRunError: If a file is missing or does not have the content that was written.
        RunVersionError: If a later version wrote it.
    """
    from sklearn.frozen import FrozenEstimator

    config = read_config(folder)
    if config.get("estimator") != DETECTOR:
        raise RunError(f"{folder} is no detector but a run of {config.get('estimator')}.")
    try:
        fitted = config["fitted"]
        for name in (WEIGHTS, SCHEMA):
            check_content(folder / name, fitted["sha256"][name])
        known = kind().get_params()
        given = {name: from_yaml(value) for name, value in config["parameters"].items() if name in known}
        detector = kind(**given)
        detector.schema_ = schema_from_description(json.loads((folder / SCHEMA).read_text(encoding="utf-8")))
        inside = fitted["inside"]
        detector.estimator_ = None if inside is None else load(folder.parent if inside == _PARENT else folder / inside)
        if detector.estimator_ is not None:
            detector.estimator = FrozenEstimator(detector.estimator_)
        detector.regime_, detector.parts_ = fitted["regime"], tuple(fitted["parts"])
        detector.seed_ = int(fitted["seed"])
        detector.is_held_out_ = bool(fitted["is_held_out"])
        if fitted["feature_names_in"] is not None:
            detector.feature_names_in_ = np.asarray(fitted["feature_names_in"], dtype=object)
        detector.calibration_ = Calibration(**fitted["calibration"])
        _restore(detector, load_file(folder / WEIGHTS))
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError, OSError) as error:
        if isinstance(error, RunError):
            raise
        raise damaged_config(folder / CONFIG, error) from error
    return detector


def _tensors(detector: Any) -> dict[str, Tensor]:
    """All that a detector has learnt, by section and name."""
    tensors = {f"score/{name}": tensor for name, tensor in detector.score_.state().items()}
    model = detector.model_
    if model.ensemble is not None:
        tensors |= {f"ensemble/{name}": tensor for name, tensor in model.ensemble.state_dict().items()}
    if model.rows.scale is not None:
        tensors |= {f"scale/{name}": tensor for name, tensor in model.rows.scale.state_dict().items()}
    if model.units is not None:
        tensors |= dict(zip(_UNITS, model.units, strict=True))
    tensors["reference/scores"] = torch.from_numpy(detector.reference_)
    tensors["reference/values"] = torch.from_numpy(detector.pool_values_)
    return tensors


def _restore(detector: Any, tensors: dict[str, Tensor]) -> None:
    sections: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        section, name = key.split("/", 1)
        sections.setdefault(section, {})[name] = tensor
    sizes = DetectorRows(detector.schema_, None).cardinalities
    scale = RowScale(sizes).restore(sections["scale"]) if "scale" in sections else None
    is_coded = detector.estimator_ is not None and scale is not None
    rows = DetectorRows(detector.schema_, scale, is_coded=is_coded)
    ensemble = None
    if scale is not None and not is_coded:
        ensemble = build_ensemble(len(scale.owners))
        ensemble.load_state_dict(sections["ensemble"])
        ensemble.eval()
    units = (tensors[_UNITS[0]], tensors[_UNITS[1]]) if "units" in sections else None
    model = DetectorModel(rows, ensemble=ensemble, estimator=detector.estimator_, units=units)
    detector.model_, detector.n_features_in_ = model, len(rows.columns)
    detector.reference_ = sections["reference"]["scores"].numpy()
    detector.pool_values_ = sections["reference"]["values"].numpy()
    score = OddnessScore(model.witness, detector.parts_, batch_size=model.batch_size)
    detector.score_ = score.restore(sections["score"])
