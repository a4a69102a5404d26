"""``latentkit encode``: data to latent vectors."""

from __future__ import annotations

from latentkit.cli.application import command
from latentkit.cli.opening import open_run
from latentkit.cli.options import ArrayName, Data, Json, Labels, Run, SkipBad, TableOutput, UnseenCategories
from latentkit.cli.outputs import STDOUT, check_output, write_table
from latentkit.cli.printing import Printer
from latentkit.cli.reading import naming

__all__ = ["encode"]


@command(
    "encode",
    "latentkit encode run photos/ -o z.parquet",
    "latentkit encode run table.csv -o - | head",
)
def encode(
    run: Run,
    data: Data,
    output: TableOutput,
    labels: Labels = None,
    array: ArrayName = None,
    skip_bad: SkipBad = False,
    unseen: UnseenCategories = None,
    as_json: Json = False,
) -> None:
    """Turn data into latent vectors: the means of q(z given x)."""
    check_output(output, tables_only=True)
    printer = Printer(as_json=as_json, to_stderr=output == STDOUT)
    opened = open_run(run, unseen=unseen)
    dataset = opened.read(data, printer, labels=labels, array=array, skip_bad=skip_bad)
    with naming(dataset), printer.waiting(f"encoding {dataset.n:,} examples"):
        z = opened.given_labels(dataset, printer).transform(dataset)
    files = write_table({f"z{dim}": z[:, dim] for dim in range(z.shape[1])}, output)
    printer.written(f"{len(z)} latent vectors of {z.shape[1]} dimensions", files)
    printer.document({"n": len(z), "latent_dim": z.shape[1], "files": files})
