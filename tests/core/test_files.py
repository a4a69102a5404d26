"""A file is written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from latentkit.core.errors import StorageError
from latentkit.core.files import atomic_path, sha256, storage_errors, write_bytes, write_json, write_text


def test_a_file_is_made_with_its_folders(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a" / "b" / "c.bin", b"\x00\x01")
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == b"\x00\x01"


def test_text_is_utf_8_with_the_line_ends_it_came_with(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "naïve 图\r\nx\n")
    assert (tmp_path / "a.txt").read_bytes() == "naïve 图\r\nx\n".encode()


def test_json_is_readable_and_refuses_what_is_no_json(tmp_path: Path) -> None:
    content = {"b": [1, 2.5, None], "a": "图"}
    write_json(tmp_path / "a.json", content)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == content
    assert list(json.loads(text)) == ["b", "a"]
    assert text.endswith("}\n")
    assert "图" in text
    for bad in (math.nan, {1, 2}):
        with pytest.raises((ValueError, TypeError)):
            write_json(tmp_path / "a.json", {"x": bad})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == text


class Broken(Exception):
    """Something in the user's block failed."""


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("error", [Broken(), KeyboardInterrupt()])
def test_a_block_that_fails_leaves_the_old_file_and_no_debris(
    tmp_path: Path, exists: bool, error: BaseException
) -> None:
    target = tmp_path / "a.txt"
    if exists:
        target.write_text("old")

    def fail() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == (["a.txt"] if exists else [])
    assert not exists or target.read_text() == "old"


@pytest.mark.parametrize("step", ["fsync", "mkstemp", "replace"])
def test_a_full_disk_is_a_storage_error_that_names_the_file(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = tmp_path / "a.txt"
    target.write_text("old")
    where = {
        "fsync": "latentkit.core.files.os.fsync",
        "mkstemp": "latentkit.core.files.tempfile.mkstemp",
        "replace": "latentkit.core.files.Path.replace",
    }
    with monkeypatch.context() as patch:
        patch.setattr(where[step], fail)
        with pytest.raises(StorageError, match=r"cannot write .*a.txt: No space left on device.*intact") as caught:
            write_text(target, "new")
    assert caught.value.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert target.read_text() == "old"


def test_the_content_is_on_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = []
    sync, replace = os.fsync, Path.replace

    def note_sync(descriptor: int) -> None:
        order.append("sync")
        sync(descriptor)

    def note_replace(self: Path, target: Path) -> Path:
        order.append("replace")
        return replace(self, target)

    monkeypatch.setattr("latentkit.core.files.os.fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_replace)
    write_text(tmp_path / "a.txt", "x")
    assert order == ["sync", "replace"]


def test_the_temporary_file_lies_beside_and_keeps_the_ending(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.safetensors") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".safetensors"
        assert temporary.name.startswith(".")
        temporary.write_text("x")


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_others_may_read_what_the_umask_lets_them(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "a.txt", "x")
    finally:
        assert os.umask(before) == mask
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize(
    "make", [lambda p: p / "file" / "a.txt", lambda p: p / "folder"], ids=["in a file", "a folder"]
)
def test_a_place_that_is_none_is_a_storage_error(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="cannot write"):
        write_text(make(tmp_path), "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_storage_error_is_told_once() -> None:
    def fail() -> None:
        with storage_errors("outer"), storage_errors("inner"):
            raise OSError(errno.EACCES, "Permission denied")

    with pytest.raises(StorageError, match="cannot write inner: Permission denied") as caught:
        fail()
    assert "outer" not in str(caught.value)


def test_other_errors_pass_through() -> None:
    with pytest.raises(Broken), storage_errors("x"):
        raise Broken


def test_a_hash_is_that_of_the_whole_content(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()
