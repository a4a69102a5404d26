"""Bad data and broken runs: exit 3 (1 for a full disk), one line with what, where and what to do; disk intact."""

from __future__ import annotations

import errno
import os
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.cli.conftest import ALONE, QUICK, make_images


def _refused(outcome, *words: str, code: int = 3) -> None:
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    line = outcome.err.splitlines()[-1]
    assert line.startswith("latentkit: ")
    assert "Traceback" not in outcome.err
    for word in words:
        assert word in line


def test_nothing_there(latentkit, tmp_path) -> None:
    _refused(latentkit("check", tmp_path / "gone"), "gone", "there is no such file or folder")


def test_empty_folder(latentkit, tmp_path) -> None:
    (tmp_path / "photos").mkdir()
    _refused(latentkit("fit", tmp_path / "photos", "-o", tmp_path / "r"), "photos")
    assert not (tmp_path / "r").exists()


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, image in enumerate(make_images(12)):
        Image.fromarray(image).save(folder / f"{index:02d}.png")
    whole = (folder / "05.png").read_bytes()
    (folder / "05.png").write_bytes(whole[: len(whole) // 2])
    return folder


def test_truncated_image(latentkit, photos, tmp_path) -> None:
    _refused(latentkit("fit", photos, "-o", tmp_path / "r", *QUICK), "05.png")
    assert not (tmp_path / "r").exists()


def test_truncated_image_left_out(latentkit, photos, tmp_path) -> None:
    outcome = latentkit("check", photos, "--skip-bad", "--json")
    assert outcome.code == 0
    assert '"examples": 11' in outcome.out
    assert "05.png" in outcome.out


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan(latentkit, tmp_path, value) -> None:
    x = np.random.default_rng(0).normal(size=(30, 3))
    x[7, 2] = value
    np.save(tmp_path / "x.npy", x)
    _refused(latentkit("fit", tmp_path / "x.npy", "-o", tmp_path / "r", *QUICK), "x.npy", "7")
    assert not (tmp_path / "r").exists()


def test_one_row(latentkit, tmp_path) -> None:
    np.save(tmp_path / "x.npy", np.ones((1, 3)))
    _refused(latentkit("fit", tmp_path / "x.npy", "-o", tmp_path / "r", *QUICK), "at least 2")


def test_wrong_shape_at_predict_time(latentkit, images_run, table_run, tmp_path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((4, 9, 9), dtype=np.uint8))
    _refused(latentkit("encode", images_run, tmp_path / "x.npy", "-o", tmp_path / "z.csv"), "(n, 8, 8)", "9")
    np.save(tmp_path / "t.npy", np.zeros((4, 5)))
    _refused(latentkit("score", table_run, tmp_path / "t.npy", "-o", tmp_path / "s.csv"), "3", "5")
    np.save(tmp_path / "z.npy", np.zeros((4, 7)))
    _refused(latentkit("decode", images_run, tmp_path / "z.npy", "-o", tmp_path / "a.png"), "(n, 3)", "7")
    assert not (tmp_path / "z.csv").exists()


def test_no_run(latentkit, images_run, tmp_path) -> None:
    near = images_run.with_name("imagse")
    _refused(latentkit("info", near), "there is no run", "Did you mean 'images'?", "latentkit fit")
    _refused(latentkit("info", tmp_path), "is not a run", "config.yaml")


@pytest.fixture
def copied_run(images_run, tmp_path):
    return shutil.copytree(images_run, tmp_path / "run")


def test_run_of_a_newer_format(latentkit, copied_run) -> None:
    config = yaml.safe_load((copied_run / "config.yaml").read_text())
    (copied_run / "config.yaml").write_text(yaml.safe_dump({**config, "format": 99}))
    _refused(latentkit("sample", copied_run, "-o", copied_run / "a.png"), "format 99", "formats 1 to 2")


@pytest.mark.parametrize("name", ["weights.safetensors", "schema.json"])
def test_damaged_file(latentkit, copied_run, name) -> None:
    content = bytearray((copied_run / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied_run / name).write_bytes(content)
    _refused(latentkit("info", copied_run), name, "damaged")
    (copied_run / name).unlink()
    _refused(latentkit("info", copied_run), name, "missing")


def test_damaged_configuration(latentkit, copied_run) -> None:
    (copied_run / "config.yaml").write_text("a: [1")
    _refused(latentkit("info", copied_run), "config.yaml is damaged")


def test_disk_full_while_sampling(latentkit, images_run, tmp_path, monkeypatch) -> None:
    target = tmp_path / "samples.npy"
    target.write_bytes(b"what was there")

    def full(*paths: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    _refused(latentkit("sample", images_run, "-n", 4, "-o", target), "samples.npy", "No space left", "intact", code=1)
    assert target.read_bytes() == b"what was there"
    assert [file.name for file in tmp_path.iterdir()] == ["samples.npy"]


def test_disk_full_while_fitting(latentkit, copied_run, images_file, monkeypatch) -> None:
    before = {file.name: file.read_bytes() for file in copied_run.iterdir() if file.is_file()}
    real = os.replace

    def full(source: str, target: str, **options: object) -> None:
        if str(target).endswith("weights.safetensors"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    place = copied_run.with_name("other")
    _refused(latentkit("fit", images_file, "-o", place, *QUICK), "weights.safetensors", "No space left", code=1)
    assert not (place / "weights.safetensors").exists()
    assert {file.name: file.read_bytes() for file in copied_run.iterdir() if file.is_file()} == before
    monkeypatch.undo()
    assert latentkit("fit", "--resume", "-o", place, *ALONE).code == 0
    assert (place / "weights.safetensors").exists()


def test_an_unexpected_error_is_a_line_and_a_traceback_on_demand(latentkit, images_run, monkeypatch) -> None:
    def broken(path: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("latentkit.estimators.runs.read_config", broken)
    _refused(latentkit("info", images_run), "unexpected ZeroDivisionError: oh", "--debug", code=1)
    assert "Traceback" in latentkit("info", images_run, "--debug").err
    assert "Traceback" in latentkit("--debug", "info", images_run).err
    monkeypatch.setenv("LATENTKIT_DEBUG", "1")
    assert "Traceback" in latentkit("info", images_run).err


def test_interrupted_outside_training(latentkit, images_run, monkeypatch) -> None:
    def stopped(path: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("latentkit.estimators.runs.read_config", stopped)
    outcome = latentkit("info", images_run)
    assert (outcome.code, outcome.err) == (130, "latentkit: interrupted\n")
