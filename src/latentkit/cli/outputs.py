"""Writing results: what the ending of the path names."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import suggestion

if TYPE_CHECKING:
    import numpy as np

    from latentkit.data import ArraySchema

__all__ = [
    "STDOUT",
    "check_output",
    "choose_output",
    "is_picture",
    "pictures",
    "write_blocks",
    "write_data",
    "write_table",
    "write_tables",
    "write_to_stdout",
]

#: The path that means standard output.
STDOUT = "-"
TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".npy", ".npz")
#: Of these, those that hold texts.
MIXED = TABLES[:4]
#: Those that texts go into.
TEXTS = (".txt", *MIXED)
#: Pictures in a row of a grid, at most.
COLUMNS = 16


def check_output(path: str, *, schema: Any = None, tables_only: bool = False) -> None:
    """Check before a long computation that its result can be written.

    Args:
        path: Where to.
        schema: Schema of the data that will be written; rows cannot be pictures.
        tables_only: Whether only numbers come out.
    Raises:
        InvalidParameterError: If the ending names no format, or one that does not fit.
    """
    ending = Path(path).suffix.lower()
    is_table = schema is not None and schema.kind == "table"
    is_text = schema is not None and schema.kind == "text"
    possible = MIXED if is_table else TEXTS if is_text else TABLES
    if is_text and not tables_only:
        if path != STDOUT and ending not in TEXTS:
            raise InvalidParameterError(
                f"-o {path}: the result is texts. Choose one of: {', '.join(TEXTS)}, or - for standard output."
                f"{suggestion(ending, TEXTS)}"
            )
        return
    if path == STDOUT:
        if not tables_only and (schema is None or schema.kind == "images"):
            raise InvalidParameterError(f"-o - writes tables to standard output. Give a file: {', '.join(TABLES)}.")
        return
    is_folder = path.endswith("/") or not ending or Path(path).is_dir()
    pictured = is_folder or ending == ".png"
    if not pictured and ending not in TABLES:
        raise InvalidParameterError(
            f"-o {path}: the ending {ending!r} is not known; choose one of: "
            f"{', '.join(TABLES if tables_only else ('.png', *TABLES))}"
            f"{'' if tables_only else ', or a folder/ of PNG files'}.{suggestion(ending, ('.png', *TABLES))}"
        )
    if is_table and not pictured and ending not in possible:
        raise InvalidParameterError(
            f"-o {path}: the result is a table of mixed kinds, which is no array. Choose one of: {', '.join(possible)}."
        )
    if pictured and (tables_only or (schema is not None and schema.kind != "images")):
        what = "a table of numbers" if tables_only else "a table" if is_table else "rows of numbers"
        raise InvalidParameterError(
            f"-o {path}: the result is {what}, no picture. Choose one of: {', '.join(possible)}."
        )


def choose_output(output: str | None, schema: Any) -> str:
    """Return where a result goes: as asked for, else texts to standard output.

    Raises:
        InvalidParameterError: If nothing is asked for, and the result is no text.
    """
    if output is None and schema.kind != "text":
        raise InvalidParameterError("-o OUT says where the result goes, such as -o out.csv, and it is missing.")
    return STDOUT if output is None else output


def is_picture(path: str) -> bool:
    """Whether the path names one picture."""
    return Path(path).suffix.lower() == ".png" and not path.endswith("/")


def write_data(data: Any, path: str, schema: Any) -> list[Path]:
    """Write data in the user's form and return the files."""
    from latentkit.data import write

    if path == STDOUT:
        return _to_stdout(data, schema=schema)
    return write(data, path, schema=schema)


def write_table(columns: Mapping[str, Any], path: str) -> list[Path]:
    """Write columns of numbers of one length and return the files."""
    import numpy as np

    from latentkit.data import write

    values = np.stack([np.asarray(column) for column in columns.values()], axis=1)
    if path == STDOUT:
        return _to_stdout(values, names=list(columns))
    return write(values, path, names=list(columns))


def write_tables(tables: Iterable[Any], path: str) -> list[Path]:
    """Write Arrow tables of the same columns below each other, one at a time, and return the files."""
    import pyarrow as pa

    if path == STDOUT:
        return write_to_stdout(lambda file: write_tables(tables, str(file)))
    from latentkit.core.files import atomic_path

    target, ending = Path(path).expanduser(), Path(path).suffix.lower()
    if ending not in MIXED:
        whole = pa.concat_tables(tables)
        return write_table({name: whole.column(name).to_numpy() for name in whole.column_names}, path)
    rest = iter(tables)
    first = next(rest)
    with atomic_path(target) as temporary, _writer(temporary, ending, first.schema) as write:
        write(first)
        for table in rest:
            write(table)
    return [target]


@contextmanager
def _writer(path: Path, ending: str, schema: Any) -> Iterator[Callable[[Any], object]]:
    """What writes one table after the other."""
    import json

    from pyarrow import csv, parquet

    if ending == ".parquet":
        with parquet.ParquetWriter(path, schema) as writer:
            yield writer.write_table
    elif ending == ".jsonl":
        with path.open("w", encoding="utf-8") as file:
            yield lambda table: file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist())
    else:
        delimiter = "\t" if ending == ".tsv" else ","
        with csv.CSVWriter(path, schema, write_options=csv.WriteOptions(delimiter=delimiter)) as writer:
            yield writer.write_table


def pictures(data: Any, schema: ArraySchema) -> np.ndarray[Any, Any]:
    """Return images in the user's form as bytes to look at."""
    return schema.pictures(schema.to_model(schema.encode(data)))


def write_blocks(
    rows: Sequence[np.ndarray[Any, Any]], path: str, *, columns: int | None = None, scale: int | None = None
) -> list[Path]:
    """Write rows of pictures under each other, such as originals above their reconstructions.

    Args:
        rows: Each uint8, shape (n, height, width[, channels]), all of one n; where they are too long for a line, the
            next lines show all of them again.
        path: A .png.
        columns: Pictures in a line.
        scale: How many times larger than their pixels; by default small pictures are enlarged.
    """
    import numpy as np

    from latentkit.core.files import atomic_path
    from latentkit.data import image_grid

    n = len(rows[0])
    width = min(n, columns or COLUMNS)
    lines = [row[start : start + width] for start in range(0, n, width) for row in rows]
    blank = np.full((width, *rows[0].shape[1:]), 255, np.uint8)
    filled = [np.concatenate([line, blank[: width - len(line)]]) for line in lines]
    image = image_grid(np.concatenate(filled), columns=width)
    factor = scale or max(1, 48 // max(rows[0].shape[1:3]))
    if factor > 1:
        image = image.resize((image.width * factor, image.height * factor), 0)
    with atomic_path(path) as temporary:
        image.save(temporary)
    return [Path(path)]


def _to_stdout(data: Any, *, schema: Any = None, names: list[str] | None = None) -> list[Path]:
    from latentkit.data import TextSchema, TextTable, write

    encoding, ending = "utf-8", ".csv"
    if isinstance(schema, TextSchema):
        ending = ".txt"
    if isinstance(data, TextTable):  # in the form of the file that was fitted
        encoding, ending = data.dialect.encoding, ".tsv" if data.dialect.delimiter == "\t" else ".csv"
    return write_to_stdout(lambda path: write(data, path, schema=schema, names=names), encoding, ending)


def write_to_stdout(write: Callable[[Path], object], encoding: str = "utf-8", ending: str = ".csv") -> list[Path]:
    """Print what `write` writes to the path that it is given; no file is left."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"table{ending}")
        write(file)
        sys.stdout.write(file.read_bytes().decode(encoding))
    sys.stdout.flush()
    return []
