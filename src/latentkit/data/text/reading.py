"""Texts from files: one a line, or one column of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from latentkit.core.errors import DataError, InvalidParameterError, UnreadableDataError
from latentkit.core.parameters import check_choice, suggestion
from latentkit.data.dataset import AnyArray, Dataset
from latentkit.data.endings import TABLE_ENDINGS, ending_of
from latentkit.data.table.frames import to_columns
from latentkit.data.table.sources import read_mixed_table
from latentkit.data.table.text import unpacked
from latentkit.data.validation import show

__all__ = ["TEXT_ENDINGS", "BadText", "read_lines", "read_text_column", "read_texts", "read_words"]

TEXT_ENDINGS = (".txt",)
#: What becomes of a line that is empty or no UTF-8.
BadText: TypeAlias = Literal["refuse", "skip", "replace"]


def read_lines(source: Path | bytes, name: str, *, bad: BadText = "refuse") -> tuple[AnyArray, list[str]]:
    r"""Return the lines of a file of UTF-8, a text each, and notes.

    Lines end with ``"\n"`` or, where all do, with ``"\r\n"``; other characters that break lines belong to the text.
    Empty lines at the end of the file are left out.

    Args:
        source: File, which may be packed, or its content.
        name: For messages.
        bad: What becomes of an empty line, or one that is no UTF-8: ``"refuse"`` is an error, ``"skip"`` leaves it out;
            ``"replace"`` keeps both, with U+FFFD for what cannot be read.
    Returns:
        Texts, shape (n,), object; and notes.
    Raises:
        UnreadableDataError: If the file is empty or damaged, or a line is bad.
    """
    check_choice("bad_text", bad, ("refuse", "skip", "replace"))
    content = unpacked(source).removeprefix(b"\xef\xbb\xbf")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UnreadableDataError(f"{name}: the file is UTF-16. Write it as UTF-8, as with iconv -f utf-16 -t utf-8")
    lines = content.split(b"\n")
    notes = []
    while lines and not lines[-1].strip(b"\r"):
        lines.pop()
    if not lines:
        raise UnreadableDataError(f"{name}: the file is empty. Give one text a line")
    if all(line.endswith(b"\r") for line in lines[:-1]) and len(lines) > 1:
        lines = [line.removesuffix(b"\r") for line in lines]
        notes.append("lines end with CR LF; neither belongs to the texts")
    texts, n_left_out = [], 0
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8", errors="replace" if bad == "replace" else "strict")
            problem = "" if text.strip() or bad == "replace" else "is empty"
        except UnicodeDecodeError as error:
            text, problem = "", f"is no UTF-8 (byte {line[error.start]:#04x} at place {error.start} of the line)"
        if problem and bad == "refuse":
            raise UnreadableDataError(
                f"{name}, line {number} {problem}. Mend it, or leave such lines out with bad_text='skip' "
                "(--skip-bad); bad_text='replace' keeps them, with U+FFFD for what cannot be read"
            )
        if problem:
            n_left_out += 1
        else:
            texts.append(text)
    if n_left_out:
        notes.append(f"{n_left_out:,} of {len(lines):,} lines were left out: empty, or no UTF-8")
    if not texts:
        raise UnreadableDataError(f"{name}: no line is left. Give one text a line")
    return _array(texts), notes


def read_text_column(
    source: Path | bytes,
    name: str,
    ending: str,
    column: str,
    *,
    labels: str | None = None,
    bad: BadText = "refuse",
) -> tuple[AnyArray, AnyArray | None, list[str]]:
    """Return a column of texts of a table, the labels that stand beside it, and notes.

    Args:
        source: File, which may be packed, or its content.
        name: For messages.
        ending: ``".csv"``, ``".tsv"``, ``".parquet"`` or ``".jsonl"``.
        column: Name of the column of texts.
        labels: That of the labels; None for none.
        bad: What becomes of an empty cell: ``"refuse"`` is an error, ``"skip"`` leaves the row out, ``"replace"`` keeps
            it as the empty text.
    Raises:
        InvalidParameterError: If there is no such column.
        UnreadableDataError: If the file is damaged, or a text is missing.
    """
    table, values, notes = read_mixed_table(source, name, ending, labels=labels)
    columns = to_columns(table, source=name)
    names = [str(each) for each in columns.names]
    if column not in names:
        raise InvalidParameterError(
            f"{name}: there is no column {column!r} for the texts; choose one of: {', '.join(names[:20])}."
            f"{suggestion(column, names)}"
        )
    cells = columns.arrays[names.index(column)].to_pylist()
    numbers = next((cell for cell in cells if cell is not None and not isinstance(cell, str)), None)
    if numbers is not None:
        raise DataError(f"{name}: column {column!r} holds {show(numbers)}, which is no text. Name the column of texts")
    empty = [row for row, cell in enumerate(cells) if cell is None or not cell.strip()]
    if empty and bad == "refuse":
        raise UnreadableDataError(
            f"{name}: {columns.place(empty[0], columns.names[names.index(column)])} is empty, as are {len(empty):,} in "
            "all. Fill them in, or leave the rows out with bad_text='skip' (--skip-bad)"
        )
    keep = sorted(set(range(len(cells))) - set(empty)) if bad == "skip" else range(len(cells))
    if len(keep) < len(cells):
        notes.append(f"{len(empty):,} of {len(cells):,} rows were left out: their text is empty")
    others = f", one of {', '.join(names)}" if len(names) > 1 else ""
    notes.append(f"texts are the column {column!r}{others}")
    return _array([cells[row] or "" for row in keep]), None if values is None else values[list(keep)], notes


def read_words(path: str | Path) -> tuple[str, ...]:
    """Return the words of a vocabulary file of UTF-8, one a line, as published corpora come with.

    Raises:
        UnreadableDataError: If there is no such file, or a line of it is bad.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UnreadableDataError(f"vocabulary={str(path)!r}: there is no such file. Give one of words, one a line")
    words, _ = read_lines(file, str(path))
    return tuple(words)


def read_texts(data: Any, *, column: str | None = None) -> Dataset:
    """Return what the path of texts holds, and anything else as it is.

    Raises:
        UnreadableDataError: If there is no such file, or it holds no texts.
    """
    if isinstance(data, Dataset):
        return data
    if not isinstance(data, str | Path):
        return Dataset(data, "", "text")
    path = Path(data).expanduser()
    ending = ending_of(path)
    if not path.is_file():
        raise UnreadableDataError(
            f"{show(str(data))}: there is no such file. Texts go in a list, one alone too: [text]; files by their path"
        )
    if ending in TABLE_ENDINGS and column is not None:
        texts, _, _ = read_text_column(path, str(path), ending, column)
    elif ending in TABLE_ENDINGS:
        raise UnreadableDataError(f"{path}: the model takes texts; say which column holds them: read(path, text=NAME)")
    else:
        texts, _ = read_lines(path, str(path))
    return Dataset(texts, str(path), "text")


def _array(texts: list[str]) -> AnyArray:
    found = np.empty(len(texts), dtype=object)
    found[:] = texts
    return found
