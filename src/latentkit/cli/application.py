"""The program: its name, its options, and the commands that register themselves with it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any, TypeVar

import typer
from typer.main import get_command_from_info
from typer.models import CommandInfo

from latentkit.cli.help import HelpfulCommand, HelpfulGroup, examples

__all__ = ["COMMANDS", "EXPLORE", "START", "USE", "app", "command"]

Function = TypeVar("Function", bound=Callable[..., Any])

#: Headings of the list of commands.
START, USE, EXPLORE = "From data to a model", "Use a model", "Explore and control"

#: The commands, in the order of the help page; each registers itself when its module is imported.
COMMANDS = (
    *("demo", "check", "models", "fit", "tune", "doctor", "report"),
    *("info", "sample", "reconstruct", "encode", "decode", "score", "detect", "recover"),
    *("compress", "decompress", "inspect", "evaluate", "compare"),
    *("interpolate", "traverse", "edit", "explain"),
)
#: Where they register themselves. The program takes from here what it is asked for: to build a command takes
#: milliseconds.
shelf = typer.Typer()


class Program(HelpfulGroup):
    """The program: a command is imported and built when it is asked for."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = dict.fromkeys(COMMANDS)  # type: ignore[assignment]  # names alone, among which a slip is found

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, name: str) -> Any:
        if name not in COMMANDS:
            return None
        return get_command_from_info(_registered(name), pretty_exceptions_short=False, rich_markup_mode=None)

    def described(self, name: str) -> tuple[str, str]:
        info = _registered(name)
        return str(info.rich_help_panel), (info.callback.__doc__ or "").partition("\n")[0]


def _registered(name: str) -> CommandInfo:
    """How a command registered itself."""
    import_module(f"latentkit.cli.{name}")
    return next(info for info in shelf.registered_commands if info.name == name)


app = typer.Typer(
    name="latentkit",
    cls=Program,
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
    return shelf.command(
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
