"""Writing data in the format that the ending of the path names, each file whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from latentkit.core.errors import DataError, InvalidParameterError
from latentkit.core.files import atomic_path, storage_errors
from latentkit.core.parameters import suggestion
from latentkit.data.containers import is_frame, to_array, to_table
from latentkit.data.dataset import AnyArray
from latentkit.data.pictures import image_grid, to_image
from latentkit.data.schema import ArraySchema
from latentkit.data.table import TableSchema, TextTable, render, typed_table
from latentkit.data.text import TextSchema, to_texts

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["write"]

AnySchema: TypeAlias = ArraySchema | TableSchema | TextSchema
_Writer: TypeAlias = Callable[[Any, Path, AnySchema | None, Sequence[str] | None], None]


def write(
    data: Any,
    path: str | Path,
    *,
    schema: AnySchema | None = None,
    names: Sequence[str] | None = None,
) -> list[Path]:
    """Write data in the format that the ending of `path` names.

    ``.png`` is one grid of all images; ``folder/`` (a path that ends in a slash or has no ending) gets one PNG for each
    image, ``000000.png`` and so on; ``.npy``, ``.npz`` (member ``x``), ``.csv``, ``.tsv``, ``.parquet`` and ``.jsonl``
    hold numbers, in tables a row for each example. Texts go into ``.txt``, a line each, or into tables, as a column
    ``text``.

    Args:
        data: User form: array, tensor, data frame or table of texts; the latter is written to ``.csv`` and ``.tsv`` as
            the file that it came from: delimiter, encoding, quotes and line ends; elsewhere its cells become numbers
            and dates by the schema.
        path: Where to; folders that are missing are made. A file that was there is replaced when the new one is whole.
        schema: Schema of the data; it says how values become pixels and how columns are named. Without it images have
            to be uint8.
        names: Names of the columns, for tables.
    Returns:
        The files written.
    Raises:
        InvalidParameterError: If the ending is not known, or a folder holds more numbered images than would be written.
        DataError: If rows are to become pictures.
        StorageError: If the disk is full or the place cannot be written; what was there is intact.
    """
    target = Path(path).expanduser()
    ending = target.suffix.lower()
    if str(path).endswith(("/", os.sep)) or target.is_dir() or not ending:
        return _write_folder(_pictures(data, schema, target), target)
    if ending not in _WRITERS and not (ending == ".txt" and isinstance(schema, TextSchema)):
        raise InvalidParameterError(
            f"{path}: the ending {ending!r} is not known; choose one of: {', '.join(_WRITERS)}, or a folder/ of PNG "
            f"files.{suggestion(ending, _WRITERS)}"
        )
    if isinstance(schema, TextSchema):
        texts = to_texts(data)
        if ending == ".txt":
            with atomic_path(target) as temporary:
                _write_lines(texts, temporary, target)
            return [target]
        if ending not in (".csv", ".tsv", ".parquet", ".jsonl"):
            raise InvalidParameterError(
                f"{path}: texts go into .txt, .csv, .tsv, .parquet or .jsonl. Choose one of them"
            )
        import pyarrow as pa

        data, schema = pa.table({"text": texts}), None
    with atomic_path(target) as temporary:
        _WRITERS[ending](data, temporary, schema, names)
    return [target]


def _pictures(data: Any, schema: AnySchema | None, path: Path) -> AnyArray:
    if isinstance(schema, ArraySchema) and schema.kind == "images":
        return schema.pictures(schema.to_model(schema.encode(data)))
    array = np.empty((0, 0)) if isinstance(data, TextTable) else to_array(data)
    if array.ndim < 3:
        raise DataError(
            f"{path}: rows of numbers cannot be written as pictures. Choose a table (.csv, .parquet, .npy), or fit "
            "with kind='images' and size=(height, width) if the rows are pixels"
        )
    return array


def _write_folder(pictures: AnyArray, folder: Path) -> list[Path]:
    digits = max(6, len(str(len(pictures) - 1)))
    names = [f"{index:0{digits}d}.png" for index in range(len(pictures))]
    if not folder.exists():
        # Beside its place first, and then there in one step: a folder that was cut short is never taken for a whole.
        with storage_errors(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            try:
                for name, pixels in zip(names, pictures, strict=True):
                    to_image(pixels).save(temporary / name)
                # mkdtemp makes folders for one user alone; this one gets the permissions of its neighbours' making.
                mask = os.umask(0)
                os.umask(mask)
                temporary.chmod(0o777 & ~mask)
                temporary.rename(folder)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
        return [folder / name for name in names]
    if not folder.is_dir():
        raise InvalidParameterError(f"{folder} is a file. Choose another folder, or an ending such as .png")
    others = {path.name for path in folder.glob("*.png") if path.stem.isdigit()} - set(names)
    if others:
        raise InvalidParameterError(
            f"{folder} holds {len(others)} numbered images besides the {len(names)} to be written, such as "
            f"{min(others)}; they would be taken for one set. Choose another folder or remove them"
        )
    for name, pixels in zip(names, pictures, strict=True):
        with atomic_path(folder / name) as temporary:
            to_image(pixels).save(temporary)
    return [folder / name for name in names]


def _write_lines(texts: Sequence[str], path: Path, target: Path) -> None:
    broken = next((row for row, text in enumerate(texts) if "\n" in text or text.endswith("\r")), None)
    if broken is not None:
        raise DataError(
            f"{target}: text {broken} (counted from 0) holds a line end, so that a line each would be another text. "
            "Write them as .jsonl"
        )
    path.write_bytes("".join(f"{text}\n" for text in texts).encode())


def _write_grid(data: Any, path: Path, schema: AnySchema | None, names: Sequence[str] | None) -> None:
    image_grid(_pictures(data, schema, path)).save(path)


def _write_npy(data: Any, path: Path, schema: AnySchema | None, names: Sequence[str] | None) -> None:
    with path.open("wb") as file:
        np.save(file, to_array(data), allow_pickle=False)


def _write_npz(data: Any, path: Path, schema: AnySchema | None, names: Sequence[str] | None) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, x=to_array(data))


def _write_csv(data: Any, path: Path, schema: AnySchema | None, names: Sequence[str] | None) -> None:
    _write_delimited(data, path, ",", schema, names)


def _write_tsv(data: Any, path: Path, schema: AnySchema | None, names: Sequence[str] | None) -> None:
    _write_delimited(data, path, "\t", schema, names)


def _write_delimited(
    data: Any,
    path: Path,
    delimiter: str,
    schema: AnySchema | None,
    names: Sequence[str] | None,
) -> None:
    from pyarrow import csv

    if isinstance(data, TextTable):
        # A file of text is written as the one that was read: only the ending may ask for another delimiter.
        own = data.dialect.delimiter
        fits = (own == "\t") == (delimiter == "\t")
        dialect = data.dialect if fits else replace(data.dialect, delimiter=delimiter)
        path.write_bytes(render(replace(data, dialect=dialect)))
        return
    csv.write_csv(_table(data, schema, names), path, csv.WriteOptions(delimiter=delimiter))


def _write_parquet(data: Any, path: Path, schema: AnySchema | None, names: Sequence[str] | None) -> None:
    from pyarrow import parquet

    parquet.write_table(_table(data, schema, names), path)


def _write_jsonl(data: Any, path: Path, schema: AnySchema | None, names: Sequence[str] | None) -> None:
    with path.open("w", encoding="utf-8") as file:
        for batch in _table(data, schema, names).to_batches(max_chunksize=1024):
            file.writelines(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in batch.to_pylist())


_WRITERS: dict[str, _Writer] = {
    ".png": _write_grid,
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".csv": _write_csv,
    ".tsv": _write_tsv,
    ".parquet": _write_parquet,
    ".jsonl": _write_jsonl,
}


def _table(data: Any, schema: AnySchema | None, names: Sequence[str] | None) -> pa.Table:
    """Return data of any container as a table: rows as they are, the pixels of an image side by side."""
    import pyarrow as pa

    if isinstance(data, TextTable):
        return typed_table(data, schema) if isinstance(schema, TableSchema) else data.to_arrow()
    if is_frame(data):
        return to_table(data)
    array = to_array(data)
    flat = array.reshape(len(array), -1)
    if flat.dtype == np.float16:
        flat = flat.astype(np.float32)  # text formats of pyarrow do not know half precision
    if names is None and schema is not None and schema.feature_names is not None:
        names = [str(name) for name in schema.feature_names]
    if names is None:
        stem = "pixel" if array.ndim > 2 else "x"
        names = [f"{stem}_{index}" for index in range(flat.shape[1])]
    if len(names) != flat.shape[1]:
        raise InvalidParameterError(f"names must hold a name for each of the {flat.shape[1]} columns; got {len(names)}")
    return pa.table([pa.array(np.ascontiguousarray(column)) for column in flat.T], names=list(names))
