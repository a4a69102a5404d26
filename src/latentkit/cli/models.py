"""``latentkit models``: the families that there are."""

from __future__ import annotations

import inspect
from typing import Annotated

import typer

from latentkit.cli.application import START, command
from latentkit.cli.options import Json
from latentkit.cli.printing import Printer

__all__ = ["models"]


@command("models", "latentkit models", "latentkit models vae", panel=START)
def models(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Describe this one, with all its settings.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the families of models, for fit --model, or describe one."""
    import latentkit.estimators  # noqa: F401 (registers them)
    from latentkit.core.citations import bibtex
    from latentkit.estimators.registry import estimators

    printer = Printer(as_json=as_json)
    if name is not None:
        kind = estimators[name]
        description = inspect.cleandoc(kind.__doc__ or "")
        printer.line(f"{kind.__name__}: latentkit fit DATA --model {name}", style="bold")
        printer.line()
        printer.line(description)
        printer.line()
        printer.line(bibtex(estimators.cites(name)))
        printer.document({"name": name, "class": kind.__name__, "description": description})
        return
    first = {key: inspect.cleandoc(estimators[key].__doc__ or "").splitlines()[0] for key in estimators}
    printer.pairs(list(first.items()))
    printer.line()
    printer.commands("next", ["latentkit models NAME", "latentkit fit DATA --model NAME -o run"])
    printer.document({"models": first})
