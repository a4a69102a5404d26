"""The program: its name, its options, and the commands that register themselves with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from latentkit.cli.help import HelpfulCommand, HelpfulGroup, examples

__all__ = ["EXPLORE", "START", "USE", "app", "command"]

Function = TypeVar("Function", bound=Callable[..., Any])

#: Headings of the list of commands.
START, USE, EXPLORE = "From data to a model", "Use a model", "Explore and control"

app = typer.Typer(
    name="latentkit",
    cls=HelpfulGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    epilog=examples(
        "latentkit demo                                 see everything, no download",
        "latentkit fit photos/ -o run --time 5m         learn from a folder of images",
        "latentkit sample run -n 64 -o grid.png         make new ones",
        "latentkit detect run table.csv -o odd.csv      find what does not fit, and why",
    ),
)


def command(name: str, *lines: str, panel: str = USE) -> Callable[[Function], Function]:
    """Return a decorator that registers a command, with the examples that open its help."""
    return app.command(
        name,
        cls=HelpfulCommand,
        epilog=examples(*lines),
        rich_help_panel=panel,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


@app.callback()
def program(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; may stand after any command.")
    ] = False,
) -> None:
    """latentkit: one variational autoencoder, every job.

    Point it at a folder of images, a table or an array: it learns a model that generates, explores, reduces, scores
    and recovers.
    """
    if version:
        from latentkit import __version__

        typer.echo(f"latentkit {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit
