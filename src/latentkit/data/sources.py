"""Reading data from wherever they lie: the format is recognised by name, and by content where the name says nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import DataError, InvalidParameterError, UnreadableDataError
from latentkit.core.parameters import suggestion
from latentkit.data.arrays import idx_labels_path, read_idx, read_npy, read_npz
from latentkit.data.builtin_sets import builtin_sets
from latentkit.data.dataset import TABLES, Dataset, Kind, Progress, Tables
from latentkit.data.endings import TABLE_ENDINGS, ending_of
from latentkit.data.images import IMAGE_ENDINGS, read_images
from latentkit.data.layout import Size
from latentkit.data.table import Selection, read_mixed_table
from latentkit.data.tables import encode_labels, is_plain, load_table, read_table
from latentkit.data.text import TEXT_ENDINGS, BadText, read_lines, read_text_column
from latentkit.data.validation import check_numeric

__all__ = ["read", "recorded_source"]

_ENDINGS = (".npy", ".npz", ".idx", *TABLE_ENDINGS, *TEXT_ENDINGS)


def read(
    source: str | Path,
    *,
    labels: str | Path | None = None,
    array: str | None = None,
    size: Size | None = None,
    color: Literal["auto", "grey", "rgb"] = "auto",
    fit: Literal["crop", "stretch", "pad"] = "crop",
    skip_bad: bool = False,
    progress: Progress | None = None,
    tables: Tables = TABLES,
    selection: Selection | None = None,
    text: str | None = None,
    bad_text: BadText = "refuse",
) -> Dataset:
    """Read data from a folder of images, a file, standard input, or what ships with scikit-learn.

    Args:
        source: A folder of images or one image; a file .npy, .npz, .csv, .tsv, .parquet, .jsonl, .txt (a text a
            line) or idx (also packed as .gz, but for .npy, .npz and .parquet); the name of a scikit-learn set such as
            ``"digits"``; or ``"-"``: standard input, which holds any of these formats but images and .txt.
        labels: Column of a table, member of a .npz, or path of a file with a label for each example. By default
            recognised: `y_train` beside `x_train`, `y` beside `x`, names of subfolders, labels-idx1 beside images-idx3.
        array: Member of a .npz that holds the data; see :func:`~latentkit.data.arrays.read_npz`.
        size: For images: height and width, or the side of a square; see :func:`~latentkit.data.images.read_images`.
        color: For images: ``"auto"``, ``"grey"`` or ``"rgb"``.
        fit: For images: ``"crop"``, ``"stretch"`` or ``"pad"``.
        skip_bad: For images: whether unreadable ones are left out, with a note.
        progress: For images: called with the number decoded and of all.
        tables: What becomes of a table with text, dates or missing cells: ``"numbers"`` refuses it, ``"mixed"`` reads
            it as a table of mixed kinds, ``"always"`` reads every table so.
        selection: Rows and columns of a table that are taken; None for all.
        text: Column of a table whose texts are the data; None where the table itself is.
        bad_text: What becomes of an empty text, or one that is no UTF-8: ``"refuse"``, ``"skip"`` or ``"replace"``; see
            :func:`~latentkit.data.text.read_lines`.
    Returns:
        The data in the form that they came in, with labels and notes.
    Raises:
        UnreadableDataError: If there is nothing, nothing readable, or something damaged.
        DataError: If it holds text where numbers are needed.
        InvalidParameterError: If `array`, `labels` or the selection name nothing, or rows are selected of what is no
            table.

    Example:
        >>> digits = read("digits")
        >>> digits.data.shape, digits.kind, digits.n
        ((1797, 8, 8), 'images', 1797)
    """
    if str(source) == "-":
        return _standard_input(array, labels, tables, selection, text, bad_text)
    path = Path(source).expanduser()
    if not path.exists():
        dataset = _builtin(str(source), path)
    elif path.is_dir() or ending_of(path) in IMAGE_ENDINGS:
        dataset = read_images(path, size=size, color=color, fit=fit, skip_bad=skip_bad, progress=progress)
    else:
        return _file(path, array, labels, tables, selection, text, bad_text)
    _refuse_selection(selection, str(source))
    if text is not None:
        raise _no_column(str(source), text)
    if array is not None:
        raise InvalidParameterError(
            f"{source}: array={array!r} chooses a member of a .npz, and this is none. Leave it out"
        )
    return dataset if labels is None else _with_labels(dataset, _labels_file(labels))


def recorded_source(source: str) -> str:
    """Return a source as a run remembers it: a file or folder by its whole path, anything else as it was given."""
    place = Path(source).expanduser()
    return str(place.resolve()) if place.exists() else source


def _builtin(name: str, path: Path) -> Dataset:
    if name in builtin_sets:
        return builtin_sets[name]()
    parent = path.parent if path.parent.is_dir() else None
    near = suggestion(
        path.name, [*(entry.name for entry in parent.iterdir()), *builtin_sets] if parent else builtin_sets
    )
    where = "" if parent else f" Nor is there a folder {path.parent}."
    raise UnreadableDataError(
        f"{name}: there is no such file or folder, nor a built-in data set of this name ({', '.join(builtin_sets)})."
        f"{where}{near}"
    )


def _file(
    path: Path,
    array: str | None,
    labels: str | Path | None,
    tables: Tables,
    selection: Selection | None,
    text: str | None,
    bad_text: BadText,
) -> Dataset:
    ending = ending_of(path)
    try:
        if path.stat().st_size == 0:
            raise UnreadableDataError(f"{path}: the file is empty. Get or write it again")
        if ending not in _ENDINGS:
            with path.open("rb") as file:
                ending = _sniff(file.read(64))
    except OSError as error:
        raise UnreadableDataError(f"{path}: cannot be opened ({error.strerror}). Check the permissions") from error
    if not ending:
        raise UnreadableDataError(
            f"{path}: the format of this file is not known. Give a folder of images, or one of: {', '.join(_ENDINGS)}"
        )
    return _content(path, str(path), ending, array, labels, tables, selection, text, bad_text)


def _no_column(name: str, text: str) -> InvalidParameterError:
    return InvalidParameterError(f"{name}: text={text!r} names a column of a table, and this is none. Leave it out")


def _sniff(head: bytes) -> str:
    """Return the ending that belongs to a file's first bytes, or an empty string."""
    for magic, ending in ((b"\x93NUMPY", ".npy"), (b"PK\x03\x04", ".npz"), (b"PAR1", ".parquet")):
        if head.startswith(magic):
            return ending
    if len(head) >= 4 and head[:2] == b"\0\0" and head[2] in (8, 9, 11, 12, 13, 14) and 1 <= head[3] <= 4:
        return ".idx"
    return ""


def _standard_input(
    array: str | None,
    labels: str | Path | None,
    tables: Tables,
    selection: Selection | None,
    text: str | None,
    bad_text: BadText,
) -> Dataset:
    content = sys.stdin.buffer.read()
    name = "standard input"
    if not content.strip():
        raise UnreadableDataError(f"{name}: nothing came in. Pipe a .npy, .npz, .parquet, .jsonl or .csv file into it")
    ending = _sniff(content[:64]) or (".jsonl" if content.lstrip()[:1] == b"{" else ".csv")
    return _content(content, name, ending, array, labels, tables, selection, text, bad_text)


def _content(
    source: Path | bytes,
    name: str,
    ending: str,
    array: str | None,
    labels: str | Path | None,
    tables: Tables,
    selection: Selection | None,
    text: str | None,
    bad_text: BadText,
) -> Dataset:
    if array is not None and ending != ".npz":
        raise InvalidParameterError(
            f"{name}: array={array!r} chooses a member of a .npz, and this is none. Leave it out"
        )
    if ending not in TABLE_ENDINGS:
        _refuse_selection(selection, name)
        if text is not None:
            raise _no_column(name, text)
    if ending in TEXT_ENDINGS:
        texts, notes = read_lines(source, name, bad=bad_text)
        dataset, own = Dataset(texts, name, "text", notes=tuple(notes)), None
    elif ending in TABLE_ENDINGS and text is not None:
        column = None if labels is None or _is_label_file(labels) else str(labels)
        texts, own, notes = read_text_column(source, name, ending, text, labels=column, bad=bad_text)
        dataset = Dataset(texts, name, "text", notes=tuple(notes), reading={"text": text})
    elif ending in TABLE_ENDINGS:
        column = None if labels is None or _is_label_file(labels) else str(labels)
        dataset, own = _table(source, name, ending, column, tables, selection)
    elif ending == ".npz":
        member = None if labels is None or _is_label_file(labels) else str(labels)
        data, own, notes = read_npz(source, name, array=array, labels=member)
        dataset = Dataset(_numbers(data, name), name, _kind(data), notes=tuple(notes))
    else:
        data = read_npy(source, name) if ending == ".npy" else read_idx(source, name)
        own = None
        if ending == ".idx" and labels is None and isinstance(source, Path):
            beside = idx_labels_path(source)
            own = None if beside is None else read_idx(beside, str(beside))
        dataset = Dataset(_numbers(data, name), name, _kind(data))
    if labels is not None and own is None:
        return _with_labels(dataset, _labels_file(labels))
    return dataset if own is None else _with_labels(dataset, own)


def _table(
    source: Path | bytes, name: str, ending: str, labels: str | None, tables: Tables, selection: Selection | None
) -> tuple[Dataset, NDArray[Any] | None]:
    """Return a table, as rows of numbers or as one of mixed kinds, and the column of its labels."""
    if tables == "numbers" or (tables == "mixed" and _is_plain_table(source, name, ending, labels, selection)):
        table, values, notes = read_table(source, name, ending, labels=labels, selection=selection)
        return Dataset(table, name, "rows", notes=tuple(notes)), values
    table, values, notes = read_mixed_table(source, name, ending, labels=labels, selection=selection)
    return Dataset(table, name, "table", notes=tuple(notes)), values


def _is_plain_table(
    source: Path | bytes, name: str, ending: str, labels: str | None, selection: Selection | None
) -> bool:
    try:
        table, _, _ = load_table(source, name, ending, labels=labels, selection=selection)
    except UnreadableDataError:
        return False  # the reader of mixed tables knows more encodings, and says better what is wrong
    return is_plain(table)


def _refuse_selection(selection: Selection | None, name: str) -> None:
    """Refuse conditions on columns of what has none."""
    if selection is not None and selection.is_strict:
        raise InvalidParameterError(
            f"--where and --leave-out are for the columns of tables, and {name} is none. Leave them out."
        )


def _numbers(data: Any, name: str) -> Any:
    if data.ndim < 2:
        raise DataError(
            f"{name}: the array has shape {data.shape}; rows (n, features) or images (n, height, width[, channels]) "
            "are needed. Reshape your data: X.reshape(-1, 1) if it is one column"
        )
    return check_numeric(data, source=name)


def _kind(data: Any) -> Kind:
    return "images" if data.ndim > 2 else "rows"


def _is_label_file(labels: str | Path) -> bool:
    return isinstance(labels, Path) or Path(labels).is_file()


def _labels_file(labels: str | Path) -> NDArray[Any]:
    path = Path(labels).expanduser()
    if not path.is_file():
        raise InvalidParameterError(
            f"labels={str(labels)!r}: there is no such file, and these data have no columns or members to choose from. "
            "Give a file with one label a line, or a .npy"
        )
    ending = ending_of(path)
    if ending == ".npy":
        return np.asarray(read_npy(path, str(path)))
    if ending == ".idx":
        return read_idx(path, str(path))
    lines: Iterable[str] = path.read_text(encoding="utf-8-sig").splitlines()
    values = [line.strip() for line in lines if line.strip()]
    try:
        return np.asarray([int(value) for value in values])
    except ValueError:
        return np.asarray(values)


def _with_labels(dataset: Dataset, values: NDArray[Any]) -> Dataset:
    values = values.ravel() if values.ndim == 2 and 1 in values.shape else values
    if values.shape != (dataset.n,):
        raise DataError(
            f"{dataset.source}: {dataset.n} examples need {dataset.n} labels, one each; got labels of shape "
            f"{values.shape}"
        )
    codes, names = encode_labels(values)
    return replace(dataset, labels=codes, label_names=names)
