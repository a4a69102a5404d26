"""Help pages: examples to paste first, then what there is; made to be read at 80 columns."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand, TyperGroup

__all__ = ["HelpfulCommand", "HelpfulGroup", "Interrupted", "examples"]

#: Lines that are longer are hard to read.
MAX_WIDTH = 96


def examples(*lines: str) -> str:
    """Return command lines as the epilog of a command, which its help page shows first."""
    return "\n".join(lines)


class Interrupted(Exception):
    """A command was interrupted; the parser would swallow a KeyboardInterrupt together with what it says."""


class HelpfulCommand(TyperCommand):
    """A command whose help opens with examples."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interruption:
            raise Interrupted(str(interruption) or "interrupted") from interruption

    def format_help(self, ctx: Any, formatter: Any) -> None:
        console = _console()
        _opening(console, self)
        _usage(console, self.get_usage(ctx))
        arguments = [p for p in self.get_params(ctx) if p.param_type_name == "argument"]
        options = [p for p in self.get_params(ctx) if p.param_type_name == "option"]
        _section(console, "Arguments", _records(arguments, ctx))
        _section(console, "Options", _records(options, ctx))


class HelpfulGroup(TyperGroup, ABC):
    """The program, whose help opens with examples and lists the commands by what they are for."""

    @abstractmethod
    def described(self, name: str) -> tuple[str, str]:
        """Return what a command is for, a heading, and what it does, in a line."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        console = _console()
        _opening(console, self)
        _usage(console, self.get_usage(ctx))
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            panel, summary = self.described(name)
            panels.setdefault(panel, []).append((name, summary))
        width = max(len(name) for rows in panels.values() for name, _ in rows)
        for title, rows in panels.items():
            _section(console, title, rows, width=width)
        _section(console, "Options", _records(self.get_params(ctx), ctx))


def _console() -> Any:
    from rich.console import Console

    console = Console(highlight=False)
    console.width = min(console.width, MAX_WIDTH)
    return console


def _opening(console: Any, command: Any) -> None:
    summary, _, rest = (command.help or "").partition("\n")
    console.print(summary, style="bold", markup=False)
    console.print()
    for line in (command.epilog or "").splitlines():
        console.print(f"  {line}", style="cyan", markup=False, soft_wrap=True)
    for paragraph in rest.strip().split("\n\n"):
        if paragraph.strip():
            console.print()
            console.print(" ".join(paragraph.split()), markup=False)
    console.print()


def _usage(console: Any, usage: str) -> None:
    console.print(re.sub(r"[{}]", "", usage), style="dim", markup=False)


def _records(parameters: Iterable[Any], ctx: Any) -> list[tuple[str, str]]:
    shown = (parameter for parameter in parameters if not getattr(parameter, "hidden", False))
    return [_tidy(parameter, record) for parameter in shown if (record := parameter.get_help_record(ctx)) is not None]


def _tidy(parameter: Any, record: tuple[str, str]) -> tuple[str, str]:
    """Leave out what the parser adds and nobody asks for: the type of an argument, and that counts are positive."""
    names, text = record
    text = re.sub(r"; x>=[\d.]+|\s*\[x>=[\d.]+\]", "", text)
    if parameter.param_type_name == "argument":
        return names.split(" <")[0].strip("[]{}"), text.replace("[required]", "").strip()
    return names, text


def _section(console: Any, title: str, rows: list[tuple[str, str]], *, width: int | None = None) -> None:
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan", max_width=29, min_width=width)
    table.add_column()
    for names, text in rows:
        table.add_row(Text(f"  {names}"), Text(text))
    console.print()
    console.print(title, style="bold")
    console.print(table)
