"""Where output goes."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from latentkit.cli.printing import Printer


@pytest.mark.parametrize("is_seen", [True, False])
def test_a_line_that_waits_is_for_those_who_see_it(is_seen: bool) -> None:
    printer, quiet = Printer(), Printer(quiet=True)
    for each in (printer, quiet):
        each.aside = Console(file=io.StringIO(), force_terminal=is_seen)
        with each.waiting("scoring 5 examples") as tell:
            tell("scoring 6 examples")
    assert ("scoring" in printer.aside.file.getvalue()) is is_seen  # type: ignore[attr-defined]
    assert not quiet.aside.file.getvalue()  # type: ignore[attr-defined]


def test_paragraphs_are_folded_and_hang(capsys: pytest.CaptureFixture[str]) -> None:
    Printer().paragraph("word " * 40, indent=2, hang=5, style="bold")
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith("  word")
    assert others
    assert all(line.startswith("     word") for line in others)
