"""``latentkit interpolate``: the way from one example to another."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from latentkit.cli.application import EXPLORE, command
from latentkit.cli.opening import open_run
from latentkit.cli.options import ArrayName, Data, Json, Labels, LatentPath, OptionalOutput, Run, Seed, SkipBad, Steps
from latentkit.cli.outputs import STDOUT, check_output, choose_output, is_picture, pictures, write_blocks, write_data
from latentkit.cli.printing import Printer
from latentkit.cli.reading import as_examples, choose_rows, parse_rows
from latentkit.core.errors import InvalidParameterError

__all__ = ["interpolate"]


@command(
    "interpolate",
    "latentkit interpolate run photos/ --from 3 --to 17 -o strip.png",
    "latentkit interpolate run table.csv --to 99 --steps 5 -o way.csv",
    "latentkit interpolate run 'the food was cold' 'i love this place'",
    panel=EXPLORE,
)
def interpolate(
    run: Run,
    data: Data,
    other: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT", help="Of texts: where to go, with the start in place of DATA.", show_default=False
        ),
    ] = None,
    output: OptionalOutput = None,
    start: Annotated[int, typer.Option("--from", metavar="ROW", help="Example to start from, counted from 0.")] = 0,
    end: Annotated[int, typer.Option("--to", metavar="ROW", help="Example to end at.")] = 1,
    steps: Steps = 9,
    path: Annotated[
        LatentPath, typer.Option("--path", help="Along the sphere on which codes lie, or straight.")
    ] = LatentPath.spherical,
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature",
            metavar="T",
            help="Of texts: below 1 plainer, 0 the likeliest tokens. [default: 0.7]",
            min=0.0,
            show_default=False,
        ),
    ] = None,
    seed: Seed = None,
    labels: Labels = None,
    array: ArrayName = None,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Walk from one example to another through the latent space."""
    opened = open_run(run)
    output = choose_output(output, opened.schema)
    check_output(output, schema=opened.schema)
    printer = Printer(as_json=as_json, to_stderr=output == STDOUT)
    how: dict[str, Any] = {"steps": steps, "path": path.value}
    if opened.schema.kind == "text" or temperature is not None:
        how |= {"temperature": temperature, "random_state": seed}
    if other is not None:
        if opened.schema.kind != "text":
            raise InvalidParameterError(f"{other!r}: two texts are for a model of texts. Use --from and --to.")
        result = opened.estimator.interpolate(data, other, **how)
        files = write_data(result, output, opened.schema)
        printer.written(f"{steps} steps from one text to the other", files)
        printer.document({"from": data, "to": other, "steps": steps, "path": path.value, "files": files})
        return
    examples = as_examples(opened.read(data, printer, labels=labels, array=array, skip_bad=skip_bad), opened.schema)
    [first] = parse_rows("--from", str(start), len(examples))
    [last] = parse_rows("--to", str(end), len(examples))
    ends = (choose_rows(examples, [row]) for row in (first, last))
    result = opened.estimator.interpolate(*ends, **how)
    if is_picture(output):
        files = write_blocks([pictures(result, opened.schema)], output, columns=steps)
    else:
        files = write_data(result, output, opened.schema)
    printer.written(f"{steps} steps from example {first} to {last}", files)
    printer.document({"from": first, "to": last, "steps": steps, "path": path.value, "files": files})
