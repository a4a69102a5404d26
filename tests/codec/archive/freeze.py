"""Writes ``frozen/``, archives that every later version reads: ``python -m tests.codec.archive.freeze``.

It writes those that are not there. A file that is there is never written again: its format is what has to be read.
"""

from __future__ import annotations

from typing import Any

from tests.codec.archive.examples import FROZEN, META, MIXED, near, noise, text, toy, written

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

if __name__ == "__main__":
    FROZEN.mkdir(exist_ok=True)
    for name, (blocks, options) in ARCHIVES.items():
        path = FROZEN / f"{name}.lkz"
        if not path.exists():
            path.write_bytes(written(blocks, **options))
