"""``latentkit decode``: latent vectors to data."""

from __future__ import annotations

from typing import Annotated

import typer

from latentkit.cli.application import command
from latentkit.cli.opening import open_run
from latentkit.cli.options import Json, Output, Run
from latentkit.cli.outputs import STDOUT, check_output, write_data
from latentkit.cli.printing import Printer

__all__ = ["decode"]


@command(
    "decode",
    "latentkit decode run z.parquet -o grid.png",
    "latentkit decode run z.npy -o decoded/",
)
def decode(
    run: Run,
    latents: Annotated[
        str,
        typer.Argument(
            metavar="Z", help="File of latent vectors, as encode wrote it, or - for standard input.", show_default=False
        ),
    ],
    output: Output,
    as_json: Json = False,
) -> None:
    """Turn latent vectors into data: the mean of p(x given z)."""
    opened = open_run(run)
    check_output(output, schema=opened.schema)
    printer = Printer(as_json=as_json, to_stderr=output == STDOUT)
    from latentkit.data import read
    from latentkit.data.containers import to_array

    data = opened.estimator.inverse_transform(to_array(read(latents, tables="numbers").data, source=latents))
    files = write_data(data, output, opened.schema)
    printer.written(f"{len(data)} examples", files)
    printer.document({"n": len(data), "files": files})
