"""``latentkit sample``: new data."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from latentkit.cli.application import command
from latentkit.cli.constraints import read_constraints
from latentkit.cli.opening import open_run
from latentkit.cli.options import Json, OptionalOutput, Prior, Run, Seed
from latentkit.cli.outputs import STDOUT, check_output, choose_output, write_data
from latentkit.cli.printing import Printer
from latentkit.cli.reading import parse_condition
from latentkit.cli.terminal import show_texts
from latentkit.cli.where import parse_where
from latentkit.core.errors import InvalidParameterError

__all__ = ["sample"]

#: Probability of a condition below which it is told.
RARE = 0.01


@command(
    "sample",
    "latentkit sample run -n 64 -o grid.png",
    "latentkit sample run -n 1000 -o new/ --temperature 0.8",
    "latentkit sample run -n 10000 -o new.parquet --label setosa --seed 1",
    "latentkit sample run -n 16 -o sevens.png --condition 7",
    "latentkit sample run -o new.csv --where 'sex=Female,age=30..40'",
    "latentkit sample run -o new.csv --constraint 'start <= end'",
    "latentkit sample run -n 20 --temperature 0.7",
)
def sample(
    run: Run,
    output: OptionalOutput = None,
    n: Annotated[int, typer.Option("-n", metavar="N", help="How many.", min=1)] = 64,
    label: Annotated[
        str | None, typer.Option("--label", metavar="L", help="Of this class only.", show_default=False)
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            "--condition",
            metavar="C",
            help="What the examples shall be given: LABEL, or NAME=VALUE for each attribute.",
            show_default=False,
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="W",
            help="What columns of a table shall hold: NAME=VALUE, NAME=LOW..HIGH (LOW.. is open), NAME=A|B; commas "
            "between columns, quotes around names and values that hold such marks.",
            show_default=False,
        ),
    ] = None,
    constraint: Annotated[
        list[str] | None,
        typer.Option(
            "--constraint",
            metavar="R",
            help="What every row of a table shall keep: 'start <= end', '0 <= age < 90', 'total = net + tax', or "
            "'(city, country)' for combinations that are there in the data.",
            show_default=False,
        ),
    ] = None,
    combinations: Annotated[
        str | None,
        typer.Option(
            "--combinations",
            metavar="DATA",
            help="Table of which the combinations are the allowed ones; else that of the fit.",
            show_default=False,
        ),
    ] = None,
    temperature: Annotated[
        float, typer.Option("--temperature", metavar="T", help="Below 1 safer, above 1 bolder.", min=0.0)
    ] = 1.0,
    top_k: Annotated[
        int | None,
        typer.Option(
            "--top-k", metavar="K", help="Of texts: choose among the K likeliest tokens.", min=1, show_default=False
        ),
    ] = None,
    top_p: Annotated[
        float,
        typer.Option("--top-p", metavar="P", help="Of texts: among the likeliest tokens whose sum is P.", max=1.0),
    ] = 1.0,
    beams: Annotated[
        int,
        typer.Option("--beams", metavar="B", help="Of texts: above 1, search for the likeliest with B beams.", min=1),
    ] = 1,
    guidance: Annotated[
        float,
        typer.Option(
            "--guidance", metavar="W", help="Weight of the condition in a prior over codes; above 1 plainer.", min=0.0
        ),
    ] = 1.0,
    prior: Annotated[
        Prior, typer.Option("--prior", help="The prior of training (model), or the one fitted after it.")
    ] = Prior.auto,
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Make new data like those that the model has learnt from."""
    opened = open_run(run)
    output = choose_output(output, opened.schema)
    check_output(output, schema=opened.schema)
    printer = Printer(as_json=as_json, to_stderr=output == STDOUT)
    asked: Any = parse_condition(condition)
    if where:
        if condition:
            raise InvalidParameterError("--where and --condition are two ways to say the same. Use one of them.")
        asked = parse_where(where, opened.schema)
    rules = read_constraints(constraint or [], combinations, opened, printer)
    if output == STDOUT and opened.schema.kind == "text" and beams == 1 and sys.stdout.isatty() and not as_json:
        texts = opened.estimator.stream(
            n,
            label=label,
            condition=asked,
            temperature=temperature,
            prior=prior.value,
            top_k=top_k,
            top_p=top_p,
            random_state=seed,
        )
        show_texts(texts)
        return
    data = opened.estimator.sample(
        n,
        label=label,
        condition=asked,
        constraints=rules,
        temperature=temperature,
        guidance=guidance,
        prior=prior.value,
        top_k=top_k,
        top_p=top_p,
        n_beams=beams,
        random_state=seed,
    )
    files = write_data(data, output, opened.schema)
    probability = None
    if where or rules:
        probability = opened.estimator.probability(
            asked if where else None, constraints=rules, label=label, prior=prior.value
        )
        _tell(printer, constraint or [], probability, opened.estimator.n_redrawn_)
    printer.written(f"{n} new examples", files)
    printer.document(
        {
            "n": n,
            "label": label,
            "condition": condition,
            "where": where,
            "constraints": constraint,
            "probability": probability,
            "redrawn": opened.estimator.n_redrawn_,
            "temperature": temperature,
            "guidance": guidance,
            "prior": prior.value,
            "top_k": top_k,
            "top_p": top_p,
            "beams": beams,
            "files": files,
        }
    )


def _tell(printer: Printer, constraints: list[str], probability: float, n_redrawn: int) -> None:
    """Tell how rare it is what was asked, and how many rows had to be drawn again."""
    if constraints:
        printer.note(
            f"every row keeps {', '.join(constraints)}; without being held to it, {probability:.1%} would (sums not "
            f"counted). Rows that were drawn again: {n_redrawn}"
        )
    if probability < RARE:
        printer.note(
            f"what is asked is rare: the model gives it a probability of {probability:.2g}, so little of the data says "
            "what such rows are like"
        )
