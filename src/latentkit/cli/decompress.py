"""``latentkit decompress``: an archive to what was in it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from latentkit.cli.application import command
from latentkit.cli.compressors import in_bytes, open_coders, place_of, telling_bytes
from latentkit.cli.options import ArchiveRun, Json, Quiet, Workers
from latentkit.cli.outputs import STDOUT
from latentkit.cli.printing import Printer
from latentkit.core.errors import InvalidParameterError

__all__ = ["decompress"]


@command(
    "decompress",
    "latentkit decompress scans.lkz -o scans/",
    "latentkit decompress images.lkz -o images.npy",
    "latentkit decompress images.lkz -o some.npy --rows 100:200",
    "latentkit decompress today.lkz -o today.npy --run run",
    "latentkit decompress damaged.lkz -o rest.npy --salvage",
    "latentkit decompress - -o - < lines.lkz | head",
)
def decompress(
    archive: Annotated[
        str, typer.Argument(metavar="ARCHIVE", help="Archive, or - for standard input.", show_default=False)
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Where to: a file or a folder, as it was; or - for standard output.",
            show_default=False,
        ),
    ],
    run: ArchiveRun = None,
    rows: Annotated[
        str | None,
        typer.Option(
            "--rows",
            metavar="FROM:TO",
            help="Only these, counted from 0, without TO: rows of an array, lines behind the header of a table, files "
            "of a folder. 17 is one, 100: all from there on. Only what they lie in is decoded.",
            show_default=False,
        ),
    ] = None,
    salvage: Annotated[
        bool, typer.Option("--salvage", help="Write what is left of a damaged archive, and tell what is lost.")
    ] = False,
    workers: Workers = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write what is in an archive, as it was, or as compress --quality has kept it.

    Every block is checked before and after it is decoded. The file or folder gets its name when all of it is written.
    """
    printer = Printer(as_json=as_json, to_stderr=output == STDOUT, quiet=quiet)
    target = place_of(output, as_json=as_json)
    chosen = None if rows is None else _rows(rows)
    if salvage and rows is not None:
        raise InvalidParameterError("--salvage writes all that is left: leave out --rows.")
    from latentkit.tasks.compression import decompress as write_contents
    from latentkit.tasks.compression import salvage as write_rest

    coder = None if run is None else open_coders(run)
    source: Any = sys.stdin.buffer if archive == "-" else Path(archive).expanduser()
    if salvage:
        files, left = write_rest(source, target, coder)
        missing = sorted((*left.lost_items, *left.failed_items), key=lambda part: part.start)
        lost = [f"{part.start:,} to {part.stop - 1:,}" for part in missing]
        whole = sum(map(len, left.whole_items)) - sum(map(len, left.failed_items))
        # of a file that is larger than a block, a part may be lost that ends no item
        n_written = len(files) if left.meta and left.meta.get("kind") == "folder" else whole
        printer.line(f"written to {output}: {n_written:,} items", style="green")
        printer.pairs([("lost", ", ".join(lost) if lost else "no item that is known of")])
        lost_items = [[part.start, part.stop] for part in missing]
        printer.document({"files": files, "written_items": n_written, "lost_items": lost_items})
        return
    with telling_bytes(printer, "decompressing", None) as progress:
        done = [0]

        def hear(n: int) -> None:
            done[0] = n
            if progress is not None:
                progress(n)

        files = write_contents(source, target, coder, rows=chosen, n_workers=workers, progress=hear)
    printer.written(f"{in_bytes(done[0])}", files)
    printer.document({"files": files, "raw_bytes": done[0]})


def _rows(told: str) -> int | slice:
    """The rows that an option tells.

    Raises:
        InvalidParameterError: If it tells none.
    """
    first, colon, end = told.partition(":")
    try:
        return slice(int(first) if first else None, int(end) if end else None) if colon else int(first)
    except ValueError:
        raise InvalidParameterError(f"--rows must be a number or FROM:TO, such as 100:200; got {told!r}.") from None
