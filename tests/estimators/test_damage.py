"""Damaged, foreign and unfinished runs are refused by name, and a failing disk leaves what was there."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors import SafetensorError

from latentkit import VAE, load
from latentkit.core.errors import DamagedRunError, LatentkitError, RunError, RunVersionError, StorageError
from latentkit.estimators.describing import RUN_FORMAT
from tests.estimators.cases import pixels, rows, small


@pytest.fixture(scope="module")
def original(labelled: VAE, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled.save(tmp_path_factory.mktemp("runs") / "original")


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "run"))


def flip(file: Path, position: float) -> None:
    """Flip one bit of the byte at this share of the file."""
    content = bytearray(file.read_bytes())
    content[int(position * (len(content) - 1))] ^= 4
    file.write_bytes(bytes(content))


@pytest.mark.parametrize("name", ["weights.safetensors", "schema.json"])
@pytest.mark.parametrize(
    "damage",
    [
        *(lambda file, share=share: flip(file, share) for share in (0.0, 0.02, 0.5, 1.0)),
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(file.read_bytes()[: len(file.read_bytes()) // 2]),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes() + b" "),
    ],
    ids=["first byte", "header", "middle", "last byte", "one byte less", "half", "empty", "one byte more"],
)
def test_a_changed_byte_is_found(run: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(run / name)
    with pytest.raises(DamagedRunError, match=f"{name} is damaged.* Restore it from a copy"):
        load(run)


@pytest.mark.parametrize("name", ["weights.safetensors", "schema.json"])
def test_a_missing_file_is_named(run: Path, name: str) -> None:
    (run / name).unlink()
    with pytest.raises(DamagedRunError, match=f"{name} is missing"):
        load(run)


def test_what_only_informs_may_be_missing(run: Path) -> None:
    for name in ("metrics.jsonl", "environment.json", "README.md"):
        (run / name).unlink()
    assert load(run).history_ == []


@pytest.mark.parametrize("content", ["{", "[1]\n", "3\n"])
def test_a_damaged_history_is_named(run: Path, content: str) -> None:
    (run / "metrics.jsonl").write_text(content)
    with pytest.raises(DamagedRunError, match=r"metrics.jsonl is damaged.* or remove it"):
        load(run)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"[1, 2]", b"a: [", b"text", b"a: 1\n", b"- format\n"])
def test_a_configuration_that_is_none_is_damaged(run: Path, content: bytes) -> None:
    (run / "config.yaml").write_bytes(content)
    with pytest.raises(DamagedRunError, match="config.yaml is damaged"):
        load(run)


def test_a_configuration_cut_anywhere_is_refused(run: Path) -> None:
    content = (run / "config.yaml").read_bytes()
    for length in range(0, len(content) - 1, 61):
        (run / "config.yaml").write_bytes(content[:length])
        with pytest.raises(RunError):
            load(run)


def test_a_configuration_without_one_of_its_lines_is_refused_or_whole(run: Path) -> None:
    """What is left of a file is never an error without a name."""
    lines = (run / "config.yaml").read_text().splitlines(keepends=True)
    n_refused = 0
    for index in range(len(lines)):
        (run / "config.yaml").write_text("".join(lines[:index] + lines[index + 1 :]))
        try:
            load(run).sample(1)
        except RunError:
            n_refused += 1
    assert n_refused > 20


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("estimator",), "vea"),
        (("estimator",), ["vae"]),
        (("model", "likelihood"), "gausian"),
        (("model", "latent_dim"), 4),
        (("model", "latent_dim"), "three"),
        (("model", "encoder"), {"network": "mlp", "widths": [9]}),
        (("model", "encoder"), None),
        (("model", "event_shape"), 5),
        (("parameters",), None),
        (("training", "seed"), "zero"),
        (("training", "engine"), {"speed": 1}),
        (("fitted", "sha256"), {}),
        (("fitted", "classes"), ["cat", "dog", "horse"]),
        (("fitted",), 3),
    ],
)
def test_a_configuration_that_does_not_fit_the_rest_is_damaged(run: Path, path: tuple[str, ...], value: object) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    part = config
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(DamagedRunError):
        load(run)


def test_a_later_format_is_refused_by_its_number(run: Path) -> None:
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(
        text.replace(f"format: {RUN_FORMAT}", "format: 99").replace("latentkit: ", "latentkit: 7.")
    )
    with pytest.raises(
        RunVersionError, match=r"has run format 99; .* reads formats 1 to 2. .* written by latentkit 7\."
    ):
        load(run)


def test_an_unfinished_run_says_how_to_go_on(run: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["fitted"]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(RunError, match="not trained to the end. Go on with: latentkit fit DATA -o .*run --resume"):
        load(run)


def test_what_is_no_run_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"there is no run at .*rum. Did you mean 'run'\? Make one with"):
        load(tmp_path / "rum")
    with pytest.raises(RunError, match="there is no run at"):
        load(tmp_path / "no" / "where")
    with pytest.raises(RunError, match="there is no run at"):
        load(run / "config.yaml")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="is not a run: it has no config.yaml"):
        load(tmp_path / "empty")


def test_another_folder_is_not_written_into(labelled: VAE, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(RunError, match="thesis holds other files. Choose an empty folder"):
        labelled.save(tmp_path / "thesis")
    with pytest.raises(RunError, match="holds other files"):
        small().fit(rows(), run=tmp_path / "thesis")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.txt"]
    with pytest.raises(RunError, match=r"chapter.txt is a file, not a folder"):
        labelled.save(tmp_path / "thesis" / "chapter.txt")


# A disk that fails


class FullDisk:
    """Lets `n` files through and fails at the next one."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __call__(self, descriptor: int) -> None:
        self.n -= 1
        if self.n < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("n", range(6))
def test_a_full_disk_while_saving_leaves_the_old_run_byte_for_byte(
    run: Path, labelled: VAE, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = small().fit(pixels(20, 8, 8))
    before = everything_in(run)
    with monkeypatch.context() as patch:
        patch.setattr("latentkit.core.files.os.fsync", FullDisk(n))
        with pytest.raises(StorageError, match="No space left on device.*intact"):
            other.save(run)
    assert everything_in(run) == before
    assert sorted(path.name for path in run.iterdir()) == sorted(before)
    np.testing.assert_array_equal(load(run).transform(rows()), labelled.transform(rows()))
    other.save(run)
    assert load(run).sample(1).shape == (1, 8, 8)


def test_the_configuration_that_vouches_for_the_others_comes_last(
    run: Path, labelled: VAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved, replace = [], Path.replace

    def note(self: Path, target: Path) -> Path:
        if target.parent == run:
            moved.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", note)
    labelled.save(run)
    assert sorted(moved) == sorted(set(moved))
    assert moved[-1] == "config.yaml"


@pytest.mark.parametrize("n", range(3))
def test_a_full_disk_at_the_start_of_a_training_leaves_the_old_run(
    run: Path, labelled: VAE, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything_in(run)
    with monkeypatch.context() as patch:
        patch.setattr("latentkit.core.files.os.fsync", FullDisk(n))
        with pytest.raises(StorageError, match="No space left"):
            small().fit(pixels(20, 8, 8), run=run, overwrite=True)
    assert everything_in(run) == before
    np.testing.assert_array_equal(load(run).transform(rows()), labelled.transform(rows()))


def test_weights_that_cannot_be_written_are_a_storage_error(
    run: Path, labelled: VAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything_in(run)

    def fail(*args: object, **kwargs: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("latentkit.estimators.runs.save_file", fail)
    with pytest.raises(StorageError, match="cannot write .*weights.safetensors"):
        labelled.save(run)
    assert everything_in(run) == before


def test_a_failed_first_save_leaves_nothing_that_looks_like_a_run(
    labelled: VAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("latentkit.core.files.os.fsync", FullDisk(1))
        with pytest.raises(StorageError):
            labelled.save(tmp_path / "new")
    assert everything_in(tmp_path) == {}
    with pytest.raises(RunError):
        load(tmp_path / "new")
    labelled.save(tmp_path / "new")
    load(tmp_path / "new")


def test_what_a_killed_process_left_is_in_nobodys_way(labelled: VAE, tmp_path: Path) -> None:
    (tmp_path / "run" / ".writing.abc").mkdir(parents=True)
    (tmp_path / "run" / ".writing.abc" / "weights.safetensors").write_bytes(b"half")
    labelled.save(tmp_path / "run")
    np.testing.assert_array_equal(load(tmp_path / "run").sample(2), labelled.sample(2))


def test_a_place_that_cannot_be_made_is_a_storage_error(labelled: VAE, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LatentkitError, match="cannot write|is a file"):
        labelled.save(tmp_path / "file" / "run")
