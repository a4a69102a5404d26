"""How much of the source stands twice: the share of lines that lie in an eight-line window which occurs again.

    python benchmarks/repeated_lines.py [FOLDER ...]

Without a folder it measures ``src`` and stores the figure. Blank lines, comments and docstrings do not count, and
indentation is ignored; give the source of another library to compare.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from pathlib import Path

from _measuring import ROOT, store

WINDOW = 8


def lines_of(path: Path) -> list[str]:
    """Code lines of a file, stripped, without docstrings and comments."""
    text = path.read_text(encoding="utf-8")
    hidden: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            hidden.update(range(body[0].lineno, (body[0].end_lineno or body[0].lineno) + 1))
    numbered = enumerate((line.strip() for line in text.splitlines()), start=1)
    return [line for number, line in numbered if line and not line.startswith("#") and number not in hidden]


def share(folder: Path) -> tuple[float, int]:
    """Percent of lines in a window that occurs more than once, and the number of lines."""
    files = [lines_of(path) for path in sorted(folder.rglob("*.py"))]
    places: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
    for file, lines in enumerate(files):
        for start in range(len(lines) - WINDOW + 1):
            places[tuple(lines[start : start + WINDOW])].append((file, start))
    repeated: set[tuple[int, int]] = set()
    for found in places.values():
        if len(found) > 1:
            repeated.update((file, start + offset) for file, start in found for offset in range(WINDOW))
    total = sum(map(len, files))
    return 100.0 * len(repeated) / max(1, total), total


def run() -> None:
    if len(sys.argv) > 1:
        for folder in sys.argv[1:]:
            print(folder, "{:.1f} % of {} lines".format(*share(Path(folder))))
        return
    percent, total = share(ROOT / "src")
    figures = {"window_lines": WINDOW, "lines": total, "repeated_percent": round(percent, 2)}
    print(figures)
    store("repeated_lines", figures, seed=None)


if __name__ == "__main__":
    run()
