"""Whoever is killed while compressing or decompressing leaves nothing under the name that was asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import latentkit
from tests.codec.archive.examples import noise
from tests.tasks.compression.archived import archive_of

COMPRESS = """
from latentkit.tasks.compression import compress, open_contents
compress(open_contents({source!r}), Path({target!r}), None, block_bytes=1024, n_workers=2, progress=wait)
"""
DECOMPRESS = """
from latentkit.tasks.compression import decompress
decompress(Path({source!r}), Path({target!r}), n_workers=2, progress=wait)
"""
HALF_WAY = """
import time
from pathlib import Path

def wait(done):
    if done > 20_000:
        print("half", flush=True)
        time.sleep(100)
"""


def killed_half_way(program: str, source: Path, target: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(latentkit.__file__).parent.parent)}
    code = HALF_WAY + program.format(source=str(source), target=str(target))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        process.send_signal(signal.SIGKILL)


def only_hidden(folder: Path) -> bool:
    return all(path.name.startswith(".") for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["file", pytest.param("folder", marks=pytest.mark.slow)])
def test_killed_compressing_leaves_nothing(kind: str, tmp_path: Path) -> None:
    source, out = _source(kind, tmp_path), tmp_path / "out"
    out.mkdir()
    killed_half_way(COMPRESS, source, out / "x.lkz")
    assert only_hidden(out)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_killed_decompressing_leaves_nothing(kind: str, tmp_path: Path) -> None:
    archive, out = tmp_path / "x.lkz", tmp_path / "out"
    archive.write_bytes(archive_of(_source(kind, tmp_path), block_bytes=1024))
    out.mkdir()
    killed_half_way(DECOMPRESS, archive, out / "x")
    assert only_hidden(out)


def _source(kind: str, place: Path) -> Path:
    if kind == "file":
        (place / "data").write_bytes(noise(50_000))
        return place / "data"
    (place / "folder").mkdir()
    for number in range(50):
        (place / "folder" / str(number)).write_bytes(noise(1000, str(number)))
    return place / "folder"
