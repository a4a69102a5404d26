"""Reading DATA: at first as the options say, later as the run remembers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentkit.cli.printing import Printer
from latentkit.cli.where import read_where
from latentkit.core.errors import DataError, InvalidParameterError

if TYPE_CHECKING:
    import numpy as np

    from latentkit.data import ArraySchema, Dataset, Selection
    from latentkit.data.dataset import Tables

__all__ = [
    "Reading",
    "as_array",
    "as_examples",
    "choose_rows",
    "naming",
    "labels_of",
    "parse_condition",
    "parse_rows",
    "parse_size",
    "progress_bar",
    "read_data",
    "read_to_learn",
]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How DATA is read; a run keeps it, so that later commands read alike.

    Attributes:
        labels: Column, member of a .npz or file with the labels; None recognises them.
        array: Member of a .npz that holds the data; None recognises it.
        size: Height and width of images; None chooses.
        color: ``"auto"``, ``"grey"`` or ``"rgb"``.
        fit: How images are brought to size.
        skip_bad: Whether images that cannot be read are left out.
        tables: What becomes of tables that are not numbers alone, as for :func:`latentkit.data.read`; None leaves it to
            that.
        where: Conditions on columns as they were typed: of a table, the rows that a model is learnt from.
        leave_out: Columns of a table that are no part of the data.
        text: Column of a table whose texts are the data; None where the table itself is.
        bad_text: What becomes of texts that are empty or no UTF-8: ``"refuse"``, ``"skip"`` or ``"replace"``.
        test_fraction: Share of the rows that a search put aside, so that the fit was not given them.
        test_seed: By which they were drawn.
        is_later: Whether these are other data than those of the fit: all rows of them, and without the columns that
            the fit left out where they are there.
    """

    labels: str | None = None
    array: str | None = None
    size: tuple[int, int] | None = None
    color: str = "auto"
    fit: str = "crop"
    skip_bad: bool = False
    tables: Tables | None = None
    where: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    text: str | None = None
    bad_text: str = "refuse"
    test_fraction: float = 0.0
    test_seed: int = 0
    is_later: bool = False

    def describe(self) -> dict[str, Any]:
        """The options as YAML values."""
        values = asdict(self)
        del values["is_later"]
        lists = {"where": list(self.where), "leave_out": list(self.leave_out)}
        return {**values, "size": None if self.size is None else list(self.size), **lists}

    @property
    def aside(self) -> tuple[float, int]:
        """Which rows a search put aside: their share, and the seed by which they were drawn."""
        return self.test_fraction, self.test_seed

    @property
    def selection(self) -> Selection | None:
        """Which rows and columns of a table are read; None for all."""
        if not self.where and not self.leave_out:
            return None
        from latentkit.data import Selection

        selection = Selection(read_where(self.where), self.leave_out)
        return selection.later() if self.is_later else selection

    @classmethod
    def recorded(cls, config: Mapping[str, Any]) -> Reading:
        """The options that a run's ``config.yaml`` holds."""
        values = dict(config.get("data", {}).get("reading") or {})
        size = values.pop("size", None)
        values.update({name: tuple(values.get(name) or ()) for name in ("where", "leave_out")})
        known = {name: value for name, value in values.items() if name in cls.__dataclass_fields__}
        return cls(size=None if size is None else (int(size[0]), int(size[1])), **known)

    def for_model(self, schema: Any, *, labels: str | None, array: str | None, skip_bad: bool) -> Reading:
        """The options with which other data are read for a fitted model."""
        # A file of labels belongs to the data it was made for; a column or a member may be there again.
        own = self.labels if self.labels is None or not Path(self.labels).is_file() else None
        tables: Tables = "always" if schema.kind == "table" else "numbers"
        kept = replace(
            self, labels=labels or own, array=array or self.array, skip_bad=skip_bad, tables=tables, is_later=True
        )
        if schema.kind in ("table", "text"):
            return kept
        kept = replace(kept, fit=schema.fit)
        if schema.kind != "images":
            return kept
        channels, height, width = schema.event_shape
        return replace(kept, size=(height, width), fit=schema.fit, color={1: "grey", 3: "rgb"}.get(channels, "auto"))

    def without_names(self) -> Reading:
        """The same without the names of columns and members, which other data may lack."""
        return replace(self, labels=None, array=None)


def read_data(source: str, reading: Reading, printer: Printer) -> Dataset:
    """Read DATA, with a bar where many images are decoded, and print what was noted."""
    from latentkit.data import read
    from latentkit.data.dataset import TABLES
    from latentkit.data.parts import drop_examples, put_aside
    from latentkit.data.sources import recorded_source

    with ExitStack() as stack:
        progress = progress_bar(stack, printer, "reading images")
        dataset = read(
            source,
            labels=reading.labels,
            array=reading.array,
            size=reading.size,
            color=reading.color,  # type: ignore[arg-type]
            fit=reading.fit,  # type: ignore[arg-type]
            skip_bad=reading.skip_bad,
            progress=progress,
            tables=reading.tables or TABLES,
            selection=reading.selection,
            text=reading.text,
            bad_text="skip" if reading.skip_bad and reading.bad_text == "refuse" else reading.bad_text,  # type: ignore[arg-type]
        )
    if reading.test_fraction and not reading.is_later:
        _, aside = put_aside(dataset.n, *reading.aside)
        dataset = drop_examples(dataset, aside.tolist())
    return replace(dataset, reading={"source": recorded_source(source), **reading.describe()})


def read_to_learn(source: str, reading: Reading, printer: Printer) -> Dataset:
    """Read DATA that a model is to be learnt from.

    Raises:
        InvalidParameterError: If it shall be a table of mixed kinds, and is none.
    """
    dataset = read_data(source, reading, printer)
    if reading.tables == "always" and dataset.kind != "table":
        raise InvalidParameterError(
            f"--table, --kind and --missing are for tables, and {source} holds {dataset.kind}. Leave them out."
        )
    return dataset


@contextmanager
def naming(dataset: Dataset) -> Iterator[None]:
    """Put the source of the data before the message of an error that does not say where it was met."""
    try:
        yield
    except DataError as error:
        if dataset.source in str(error):
            raise
        raise type(error)(f"{dataset.source}: {error}") from error


def as_examples(dataset: Dataset, schema: Any) -> Any:
    """The data as examples that can be counted and chosen: tables and texts as they are, else as the model has them."""
    return dataset.data if schema.kind in ("table", "text") else as_array(dataset, schema)


def choose_rows(examples: Any, rows: Sequence[int]) -> Any:
    """Some of the examples, in their container."""
    from latentkit.data.table.frames import take_rows

    return take_rows(examples, rows)


def as_array(dataset: Dataset, schema: ArraySchema) -> np.ndarray[Any, Any]:
    """The data as an array whose columns have the order of the model's."""
    from latentkit.data.containers import is_frame, to_array

    expected = schema.feature_names if is_frame(dataset.data) else None
    return to_array(dataset.data, expected=expected, source=dataset.source)


def labels_of(dataset: Dataset) -> list[str]:
    """The label of each example, as a text; none where the data have no labels."""
    names = dataset.label_names
    return [str(code) if names is None else names[code] for code in (() if dataset.labels is None else dataset.labels)]


def parse_condition(texts: Sequence[str] | None) -> str | dict[str, str] | None:
    """Return a condition: one value, or values by name.

    Raises:
        InvalidParameterError: If there are several and one has no name.

    Example:
        >>> parse_condition(["7"]), parse_condition(["species=cat", "age=3"])
        ('7', {'species': 'cat', 'age': '3'})
    """
    if not texts:
        return None
    if len(texts) == 1 and "=" not in texts[0]:
        return texts[0]
    pairs = [text.partition("=") for text in texts]
    unnamed = next((text for text, (_, equals, _) in zip(texts, pairs, strict=True) if not equals), None)
    if unnamed is not None:
        raise InvalidParameterError(f"--condition takes NAME=VALUE where there are several; got {unnamed!r}.")
    return {name: value for name, _, value in pairs}


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Return height and width from ``"64"`` or ``"48x64"``.

    Raises:
        InvalidParameterError: If it is neither.
    """
    if text is None:
        return None
    sides = text.lower().replace("×", "x").split("x")
    if len(sides) > 2 or not all(side.strip().isdigit() and int(side) > 0 for side in sides):
        raise InvalidParameterError(f"--size must be a side such as 64, or height x width such as 48x64; got {text!r}.")
    return int(sides[0]), int(sides[-1])


def parse_rows(name: str, text: str, n: int) -> list[int]:
    """Return row numbers from ``"3"``, ``"0,4,7"`` or ``"2-5"``, each below `n`.

    Raises:
        InvalidParameterError: If they are no numbers, or too large.
    """
    rows: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise InvalidParameterError(f"{name} must be numbers such as 3, 0,4,7 or 2-5; got {text!r}.")
        rows += range(int(first), int(last or first) + 1)
    wrong = [row for row in rows if row >= n]
    if wrong or not rows:
        raise InvalidParameterError(f"{name} must lie in 0 to {n - 1}; got {text!r}.")
    return rows


def progress_bar(stack: ExitStack, printer: Printer, what: str) -> Any:
    """Return what shows how many of all are done; None where nobody looks."""
    if printer.quiet or not printer.aside.is_terminal:
        return None
    from rich.progress import Progress

    bar = Progress(console=printer.aside, transient=True)
    task = bar.add_task(what, total=None)
    stack.enter_context(bar)

    def progress(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)

    return progress
