"""Folders of detectors: the same scores when they come back, no pickle, damage by name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.frozen import FrozenEstimator

from latentkit import VAE, AnomalyDetector, load
from latentkit.core.errors import DamagedRunError, RunError
from tests.estimators.detecting import animals, digits, numbers

pytestmark = pytest.mark.usefixtures("brief_ensembles")

#: Magic numbers of what can be executed when it is loaded.
PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")


def _inside(**settings: Any) -> VAE:
    return VAE(latent_dim=3, encoder=(16,), decoder=(16,), max_epochs=3, random_state=0, **settings)


def _array() -> tuple[AnomalyDetector, Any]:
    return AnomalyDetector(contamination=0.1, random_state=0).fit(numbers(100)), numbers(20, seed=1)


def _table() -> tuple[AnomalyDetector, Any]:
    return AnomalyDetector(random_state=0).fit(animals(200)), animals(20, seed=1)


def _pictures() -> tuple[AnomalyDetector, Any]:
    return AnomalyDetector(_inside(), random_state=0).fit(digits(100)), digits(20, start=500)


def _frozen() -> tuple[AnomalyDetector, Any]:
    vae = _inside().fit(numbers(100))
    return AnomalyDetector(FrozenEstimator(vae), random_state=0).fit(numbers(100)), numbers(20, seed=1)


def _coded() -> tuple[AnomalyDetector, Any]:
    return AnomalyDetector(_inside(), random_state=0).fit(animals(150)), animals(20, seed=1)


@pytest.fixture(scope="module", params=[_array, _table, _pictures, _frozen, _coded], ids=lambda make: make.__name__[1:])
def saved(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[AnomalyDetector, Any, Path]:
    detector, X = request.param()
    return detector, X, detector.save(tmp_path_factory.mktemp("runs") / "detector")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return AnomalyDetector(random_state=0).fit(animals(60)).save(tmp_path_factory.mktemp("runs") / "original")


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "run"))


def test_what_comes_back_says_the_same_bit_for_bit(saved) -> None:
    detector, X, folder = saved
    again = load(folder)
    assert isinstance(again, AnomalyDetector)
    assert again.score_samples(X).tobytes() == detector.score_samples(X).tobytes()
    assert again.p_values(X).tobytes() == detector.p_values(X).tobytes()
    assert np.array_equal(again.predict(X), detector.predict(X))
    first, second = detector.explain(X), again.explain(X)
    assert second.contributions.tobytes() == first.contributions.tobytes()
    assert (second.columns, second.changes) == (first.columns, first.changes)
    assert np.array_equal(np.asarray(second.counterparts, float), np.asarray(first.counterparts, float), equal_nan=True)
    for name in ("calibration_", "offset_", "regime_", "parts_", "is_held_out_", "n_features_in_"):
        assert getattr(again, name) == getattr(detector, name), name
    parameters = detector.get_params(deep=False)
    for name in ("contamination", "regime", "parts", "false_alarm_rate", "trim", "random_state"):
        assert again.get_params(deep=False)[name] == parameters[name], name


def test_what_comes_back_can_be_kept_calibrated_and_fitted_again(saved, tmp_path: Path) -> None:
    _, X, folder = saved
    again = load(folder)
    scores = again.score_samples(X)
    twice = load(again.save(tmp_path / "twice"))
    assert twice.score_samples(X).tobytes() == scores.tobytes()
    assert twice.calibrate(X).is_held_out_
    assert load(twice.save(tmp_path / "twice")).offset_ == twice.offset_, "a detector may be replaced"


def test_nothing_in_a_folder_can_be_executed(saved) -> None:
    folder = saved[2]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".yaml", ".json", ".jsonl", ".safetensors", ".md"}
    for path in files:
        assert not path.read_bytes().startswith(PICKLES), path


@pytest.mark.parametrize("name", ["weights.safetensors", "schema.json"])
def test_missing_and_changed_files_are_named(run: Path, name: str) -> None:
    content = bytearray((run / name).read_bytes())
    content[len(content) // 2] ^= 4
    (run / name).write_bytes(bytes(content))
    with pytest.raises(DamagedRunError, match=f"{name} is damaged"):
        load(run)
    (run / name).write_bytes(bytes(content[: len(content) // 2]))
    with pytest.raises(DamagedRunError, match=f"{name} is damaged"):
        load(run)
    (run / name).unlink()
    with pytest.raises(DamagedRunError, match=f"{name} is missing"):
        load(run)


def test_a_configuration_without_one_of_its_lines_is_refused_or_whole(run: Path) -> None:
    lines = (run / "config.yaml").read_text().splitlines(keepends=True)
    n_refused = 0
    for index in range(len(lines)):
        (run / "config.yaml").write_text("".join(lines[:index] + lines[index + 1 :]))
        try:
            assert np.isfinite(load(run).score_samples(animals(2))).all()
        except RunError:
            n_refused += 1
    assert n_refused > 8


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("estimator",), "anomaly"),
        (("parameters",), None),
        (("fitted",), 3),
        (("fitted", "parts"), ["nearst"]),
        (("fitted", "parts"), ["latent_neighbors"]),
        (("fitted", "parts"), ["residuals"]),
        (("fitted", "calibration"), {"cut": 1.0}),
        (("fitted", "sha256"), {}),
        (("fitted", "inside"), "model"),
        (("fitted", "seed"), "zero"),
    ],
)
def test_a_configuration_that_does_not_fit_the_rest_is_refused(run: Path, path: tuple[str, ...], value: object) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    part = config
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(RunError):
        load(run)


def test_another_folder_is_not_written_into(run: Path, tmp_path: Path) -> None:
    detector = load(run)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(RunError, match="thesis holds other files, no detector. Choose an empty folder"):
        detector.save(tmp_path / "thesis")
    with pytest.raises(RunError, match=r"chapter.txt is a file, not a folder"):
        detector.save(tmp_path / "thesis" / "chapter.txt")
    vae = _inside().fit(numbers(40)).save(tmp_path / "vae")
    with pytest.raises(RunError, match="vae holds vae, no detector"):
        detector.save(vae)


def test_a_missing_model_inside_is_refused(tmp_path: Path) -> None:
    folder = _frozen()[0].save(tmp_path / "detector")
    shutil.rmtree(folder / "model")
    with pytest.raises(RunError, match="model"):
        load(folder)
