"""``latentkit demo``: every task on the digits that ship with scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentkit.cli.application import START, command
from latentkit.cli.options import Json
from latentkit.cli.printing import Printer

__all__ = ["demo"]


@command("demo", "latentkit demo", "latentkit demo -o /tmp/tour", panel=START)
def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the run, figures and report go.")
    ] = Path("latentkit-demo"),
    as_json: Json = False,
) -> None:
    """Fit handwritten digits and show everything that a model does."""
    from latentkit.cli.tour import tour

    tour(output, Printer(as_json=as_json))
