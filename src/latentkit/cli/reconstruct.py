"""``latentkit reconstruct``: what the model makes of data."""

from __future__ import annotations

from latentkit.cli.application import command
from latentkit.cli.opening import open_run
from latentkit.cli.options import (
    ArrayName,
    Data,
    Json,
    Labels,
    OptionalOutput,
    Pictures,
    Run,
    SkipBad,
    UnseenCategories,
)
from latentkit.cli.outputs import STDOUT, check_output, choose_output, is_picture, pictures, write_blocks, write_data
from latentkit.cli.printing import Printer
from latentkit.cli.reading import as_array, naming

__all__ = ["reconstruct"]


@command(
    "reconstruct",
    "latentkit reconstruct run photos/ -o pairs.png",
    "latentkit reconstruct run table.csv -o reconstructed.csv",
)
def reconstruct(
    run: Run,
    data: Data,
    output: OptionalOutput = None,
    n: Pictures = 32,
    labels: Labels = None,
    array: ArrayName = None,
    skip_bad: SkipBad = False,
    unseen: UnseenCategories = None,
    as_json: Json = False,
) -> None:
    """Send data through the latent space and back.

    A .png shows originals above their reconstructions.
    """
    opened = open_run(run, unseen=unseen)
    output = choose_output(output, opened.schema)
    check_output(output, schema=opened.schema)
    printer = Printer(as_json=as_json, to_stderr=output == STDOUT)
    dataset = opened.read(data, printer, labels=labels, array=array, skip_bad=skip_bad)
    if is_picture(output):
        shown = as_array(dataset, opened.schema)[:n]
        result = opened.given_labels(dataset, printer, n=n).reconstruct(shown)
        files = write_blocks([pictures(shown, opened.schema), pictures(result, opened.schema)], output)
        printer.written(f"{len(shown)} originals above their reconstructions", files)
        printer.document({"n": len(shown), "files": files})
        return
    with naming(dataset), printer.waiting(f"reconstructing {dataset.n:,} examples"):
        result = opened.given_labels(dataset, printer).reconstruct(dataset)
    files = write_data(result, output, opened.schema)
    printer.written(f"{dataset.n} reconstructions", files)
    printer.document({"n": dataset.n, "files": files})
