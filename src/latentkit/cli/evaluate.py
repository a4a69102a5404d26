"""``latentkit evaluate``: how good a run is, in figures that say how they were measured."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from latentkit.cli.application import command
from latentkit.cli.compressors import coder_of_run, in_bytes
from latentkit.cli.options import ArrayName, Json, Run
from latentkit.cli.printing import Printer
from latentkit.core.errors import InvalidParameterError

__all__ = ["evaluate"]


@command(
    "evaluate",
    "latentkit evaluate run test.npz --array x_test --compression",
    "latentkit evaluate run scans/ --compression --json",
)
def evaluate(
    run: Run,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="Data that the run has not learnt: a folder or a file.", show_default=False
        ),
    ],
    compression: Annotated[
        bool,
        typer.Option("--compression", help="Compress DATA, read it back, and do the same with classic coders."),
    ] = False,
    array: ArrayName = None,
    as_json: Json = False,
) -> None:
    """Measure how good a run is on data that it has not learnt.

    --compression: bits for each byte, with the model and without, beside gzip, bz2, xz, zstd, brotli, PNG, WebP and,
    where pillow-jxl-plugin is installed, JPEG XL. They get the same bytes, or all images as one picture.
    """
    if not compression:
        raise InvalidParameterError("evaluate measures one thing so far: give --compression.")
    printer = Printer(as_json=as_json)
    coder = coder_of_run(run, printer, is_needed=False)
    from latentkit.tasks.compression import compare, open_contents

    found = compare(open_contents(data, array=array), coder)
    rows: list[dict[str, Any]] = [asdict(size) for size in found]
    n_bytes = found[0].n_bytes * 8.0 / max(1e-12, found[0].bits_per_byte)
    printer.line(f"{data}: {in_bytes(n_bytes)}", style="bold")
    printer.table(
        ("coder", "size", "bits a byte", "times smaller", "MB/s"),
        [
            (
                size.name,
                in_bytes(size.n_bytes),
                f"{size.bits_per_byte:.3f}",
                f"{8.0 / max(1e-12, size.bits_per_byte):.2f}",
                f"{n_bytes / max(1e-9, size.seconds) / 1e6:.2f}",
            )
            for size in found
        ],
    )
    printer.document({"data": data, "n_bytes": n_bytes, "coders": rows})
