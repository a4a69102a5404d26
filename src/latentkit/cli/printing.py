"""Where output goes: text for people on standard output; or one JSON document there, and all else on standard error."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Printer", "plain"]

#: Lines that are longer are hard to read.
MAX_WIDTH = 96


class Printer:
    """Prints what a command has to say.

    Args:
        as_json: Whether standard output holds one JSON document and nothing else.
        to_stderr: Whether standard output belongs to the data that the command writes.
        quiet: Whether to keep to results.
    """

    def __init__(self, *, as_json: bool = False, to_stderr: bool = False, quiet: bool = False) -> None:
        from rich.console import Console

        self.as_json = as_json
        self.quiet = quiet
        self.console = Console(stderr=as_json or to_stderr, highlight=False)
        self.aside = Console(stderr=True, highlight=False)

    def line(self, text: str = "", *, style: str = "") -> None:
        """Print a line of the result."""
        self.console.print(text, style=style, markup=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Print what is good to know, on standard error."""
        if not self.quiet:
            style = "yellow" if text.startswith("warning") else "dim"
            self.aside.print(text, style=style, markup=False, soft_wrap=True)

    def pairs(self, rows: Iterable[tuple[str, str]]) -> None:
        """Print headings and texts in two columns."""
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(ratio=1, overflow="fold")
        for heading, text in rows:
            table.add_row(Text(heading), Text(text, style="yellow" if text.startswith("warning") else ""))
        self.console.print(table)

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print rows of texts under headings; all but the first column to the right."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 2, 0, 0), header_style="cyan")
        for number, heading in enumerate(headings):
            table.add_column(Text(heading), justify="right" if number else "left", no_wrap=True)
        for row in rows:
            table.add_row(*map(Text, row))
        self.console.print(table)

    def grid(self, headings: Sequence[str], rows: Iterable[Sequence[str]], *, widths: Sequence[int] = ()) -> None:
        """Print rows of texts under headings, the first column folded where it is long, the others to the right.

        Args:
            headings: Of the columns.
            rows: Texts.
            widths: Least widths of the columns, for tables below each other; none by default.
        """
        from textwrap import wrap

        from rich.table import Table
        from rich.text import Text

        least = [*widths, *[0] * (len(headings) - len(widths))]
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
        for number, (heading, width) in enumerate(zip(headings, least, strict=True)):
            table.add_column(Text(heading), justify="right" if number else "left", no_wrap=True, min_width=width)
        for first, *others in rows:
            name = wrap(first, least[0] - 2, subsequent_indent="  ") if least[0] else [first]
            table.add_row(Text("\n".join(f"  {line}" for line in name), style="cyan"), *map(Text, others))
        self.console.print(table)

    def paragraph(self, text: str, *, indent: int = 0, hang: int | None = None, style: str | None = None) -> None:
        """Print a text, folded between words.

        Args:
            text: In one line.
            indent: Columns before the first line.
            hang: Columns before the later ones; None for twice as many.
            style: Of the letters; None for that of a remark.
        """
        from textwrap import fill

        if style is None:
            style = "yellow" if text.startswith("warning") else "dim"
        folded = fill(
            text,
            max(40, min(self.console.width, MAX_WIDTH)),
            initial_indent=" " * indent,
            subsequent_indent=" " * (2 * indent if hang is None else hang),
            break_on_hyphens=False,
            break_long_words=False,
        )
        self.console.print(folded, style=style, markup=False, soft_wrap=True)

    @contextmanager
    def waiting(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show a line that moves, on standard error, until the block ends; nothing where nobody sees it move.

        Yields:
            What shows another text.
        """
        if self.quiet or not self.aside.is_terminal:
            yield lambda text: None
            return
        with self.aside.status(text) as status:
            yield status.update

    def commands(self, title: str, lines: Sequence[str]) -> None:
        """Print command lines to paste."""
        self.line()
        self.line(title, style="bold")
        for line in lines:
            self.line(f"  {line}", style="cyan")

    def written(self, what: str, paths: Sequence[Path]) -> None:
        """Say what was written and where."""
        if not paths:
            return
        place = str(paths[0]) if len(paths) == 1 else f"{paths[0].parent}/ ({len(paths)} files)"
        self.line(f"{what} -> {place}", style="green")

    def document(self, values: Mapping[str, Any]) -> None:
        """Print the JSON document, where one is wanted."""
        if self.as_json:
            sys.stdout.write(json.dumps(plain(values), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
            sys.stdout.flush()


def plain(value: Any) -> Any:
    """Return a value as JSON values: paths and other objects as text, arrays as lists, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
