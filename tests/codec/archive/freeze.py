"""Writes ``frozen/``, archives that every later version reads: ``python -m tests.codec.archive.freeze``.

It writes those that are not there. A file that is there is never written again: its format is what has to be read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from latentkit.codec.images import Pixels
from tests.codec.archive.examples import FROZEN, META, MIXED, near, noise, text, toy, written
from tests.codec.archive.real import REAL, make_folder, table

#: Coders that have learnt from data, and so take less than zstd does.
LEARNT = {"1-pixels-grey", "1-pixels-colour", "1-bits-back", "1-bits-back-chain", "1-rows"}
FOLDER, TABLE, LOSSY = "1-folder", "1-table", "1-lossy"
#: For each frozen archive: its blocks, and the options of its writer.
ARCHIVES: dict[str, tuple[list[tuple[bytes, int]], dict[str, Any]]] = {
    "1-empty": ([], {}),
    "1-by-hand": ([(b"ab", 2), (b"c", 1)], {"meta": {"of": "us"}, "level": None}),
    "1-one-block": ([(text(3000), 30)], {}),
    "1-mixed": (MIXED, {"coder": toy()}),
    "1-mixed-embedded": (
        [*MIXED, (b"", 0), (near(1500, "b"), 1500), (noise(70), 1)],
        {"coder": toy(), "embeds_model": True, "meta": {**META, "columns": ["größe", "weight"] * 20}},
    ),
}


def _folder() -> bytes:
    from tests.tasks.compression.archived import archive_of

    with tempfile.TemporaryDirectory() as place:
        make_folder(Path(place, "pictures"))
        return archive_of(Path(place, "pictures"))


def _table() -> bytes:
    from pyarrow import parquet

    from tests.tasks.compression.archived import archive_of

    with tempfile.TemporaryDirectory() as place:
        parquet.write_table(table(), Path(place, "x.parquet"))
        return archive_of(Path(place, "x.parquet"))


def _approximate() -> bytes:
    """Images by a coder that approximates, of its quality."""
    from tests.codec.lossy.examples import coder, images

    blocks = [(Pixels.block(images(3, (24, 16, 3), kind)), 3) for kind in ("smooth", "noise")]
    return written(blocks, coder=coder(3, 60), embeds_model=True, level=None)


def _makers() -> dict[str, Callable[[], bytes]]:
    """What writes each archive."""
    toys = {name: lambda given=given: written(given[0], **given[1]) for name, given in ARCHIVES.items()}
    real = {
        name: lambda name=name, given=given: written(
            given[0], coder=given[1](), embeds_model=True, level=19 if name in LEARNT else None
        )
        for name, given in REAL.items()
    }
    return {**toys, **real, FOLDER: _folder, TABLE: _table, LOSSY: _approximate}


if __name__ == "__main__":
    FROZEN.mkdir(exist_ok=True)
    for name, make in _makers().items():
        path = FROZEN / f"{name}.lkz"
        if not path.exists():
            path.write_bytes(make())
            print(f"{path}: {path.stat().st_size:,} bytes")  # noqa: T201
