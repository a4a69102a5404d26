"""``latentkit traverse``: what each latent dimension does."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from latentkit.cli.application import EXPLORE, command
from latentkit.cli.opening import open_run
from latentkit.cli.options import ArrayName, Json, Labels, OptionalOutput, Run, SkipBad, Steps
from latentkit.cli.outputs import STDOUT, check_output, choose_output, is_picture, pictures, write_blocks, write_data
from latentkit.cli.printing import Printer
from latentkit.cli.reading import as_examples, choose_rows, parse_rows
from latentkit.core.errors import InvalidParameterError

__all__ = ["traverse"]


@command(
    "traverse",
    "latentkit traverse run -o grid.png",
    "latentkit traverse run photos/ --row 7 --dim 0,3 --steps 11 -o grid.png",
    "latentkit traverse run 'the food was cold' --dim 5",
    panel=EXPLORE,
)
def traverse(
    run: Run,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA", help="Where --row is; without DATA the start is the prior's centre.", show_default=False
        ),
    ] = None,
    output: OptionalOutput = None,
    row: Annotated[int, typer.Option("--row", metavar="ROW", help="Example of DATA to start from.")] = 0,
    dim: Annotated[str, typer.Option("--dim", metavar="DIMS", help="Latent dimensions: all, or 0,1,4.")] = "all",
    steps: Steps = 9,
    span: Annotated[float, typer.Option("--span", metavar="S", help="From -S to S deviations.", min=0.0)] = 3.0,
    labels: Labels = None,
    array: ArrayName = None,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Change one latent dimension at a time: a line of the grid each."""
    opened = open_run(run)
    output = choose_output(output, opened.schema)
    check_output(output, schema=opened.schema)
    printer = Printer(as_json=as_json, to_stderr=output == STDOUT)
    n_dims = opened.estimator.latent_dim_
    dims = list(range(n_dims)) if dim == "all" else parse_rows("--dim", dim, n_dims)
    start = None
    if data is not None:
        examples = as_examples(opened.read(data, printer, labels=labels, array=array, skip_bad=skip_bad), opened.schema)
        start = choose_rows(examples, parse_rows("--row", str(row), len(examples)))
    elif row != 0:
        raise InvalidParameterError("--row needs the DATA that it counts in.")
    lines = [opened.estimator.traverse(start, dim=index, steps=steps, span=span) for index in dims]
    if is_picture(output):
        files = write_blocks([pictures(line, opened.schema) for line in lines], output, columns=steps)
    else:
        files = write_data(_joined(lines, opened.schema), output, opened.schema)
    printer.written(f"{len(dims)} dimensions of {steps} steps", files)
    printer.document({"dims": dims, "steps": steps, "span": span, "files": files})


def _joined(lines: list[Any], schema: Any) -> Any:
    import numpy as np

    from latentkit.data.containers import to_array
    from latentkit.data.table.frames import join_tables

    if schema.kind == "table":
        return join_tables(lines)
    if schema.kind == "text":
        return schema.container.rebuild([text for line in lines for text in line])
    return schema.container.rebuild(np.concatenate([to_array(line) for line in lines]))
