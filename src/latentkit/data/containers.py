"""Containers: what the user's data came in (array, tensor, data frame), and how values go back into it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np
import torch

from latentkit.core.errors import DataError, SchemaMismatchError
from latentkit.core.parameters import suggestion
from latentkit.core.registry import Registry
from latentkit.data.dataset import AnyArray
from latentkit.data.validation import check_numeric, first_text, from_source, show

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "ArrayContainer",
    "Container",
    "FrameContainer",
    "Name",
    "check_names",
    "containers",
    "eager",
    "is_frame",
    "learn_container",
    "to_array",
    "to_table",
]

Name: TypeAlias = str | int


class Container(Protocol):
    """What data came in."""

    @property
    def library(self) -> str:
        """Name of the library that made it, as it is imported."""
        ...

    @property
    def names(self) -> tuple[Name, ...] | None:
        """Names of the columns; None where there are none."""
        ...

    @property
    def dtype_name(self) -> str:
        """The number types, for people."""
        ...

    @property
    def is_exact(self) -> bool:
        """Whether every value has an integer or bool type, which holds no value between two neighbours."""
        ...

    def rebuild(self, values: AnyArray) -> Any:
        """Return values, shape (n, ...), in this container: integers rounded and clipped, bools from one half on."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return the container as JSON values."""
        ...


#: Every kind of container, by the name that stands in a description; each part makes one from its description.
containers: Registry[Callable[[dict[str, Any]], Container]] = Registry("container")


@dataclass(frozen=True, slots=True)
class ArrayContainer:
    """A numpy array or a torch tensor.

    Attributes:
        library: ``"numpy"`` or ``"torch"``.
        dtype: Name of the dtype in that library: ``"uint8"``, ``"float32"``, ``"bfloat16"``.
    """

    library: Literal["numpy", "torch"]
    dtype: str

    @property
    def names(self) -> None:
        return None

    @property
    def dtype_name(self) -> str:
        return self.dtype

    @property
    def is_exact(self) -> bool:
        return not self.dtype.startswith(("float", "bfloat", "longdouble"))

    def rebuild(self, values: AnyArray) -> Any:
        if self.library == "numpy":
            return _cast(values, np.dtype(self.dtype))
        if self.is_exact:
            return torch.from_numpy(_cast(values, np.dtype(self.dtype)))
        return torch.from_numpy(np.ascontiguousarray(values)).to(getattr(torch, self.dtype))

    def describe(self) -> dict[str, Any]:
        return {"type": "array", "library": self.library, "dtype": self.dtype}


@containers.register("array")
def _array_container(description: dict[str, Any]) -> ArrayContainer:
    return ArrayContainer(description["library"], description["dtype"])


@dataclass(frozen=True, slots=True)
class FrameContainer:
    """A data frame of numbers.

    Attributes:
        library: The library that made it: ``"pandas"``, ``"polars"``, ``"pyarrow"`` or another that narwhals knows.
        names: Names of the columns.
        dtypes: Type of each column in the words of narwhals: ``"Int64"``, ``"Float32"``, ``"Boolean"``.
        native_dtypes: The library's own words, where they say more (pandas: ``"Int64"`` is not ``"int64"``).
    """

    library: str
    names: tuple[Name, ...]
    dtypes: tuple[str, ...]
    native_dtypes: tuple[str, ...]

    @property
    def dtype_name(self) -> str:
        return ", ".join(dict.fromkeys(self.native_dtypes or self.dtypes))

    @property
    def is_exact(self) -> bool:
        return not any(name.startswith("Float") for name in self.dtypes)

    def rebuild(self, values: AnyArray) -> Any:
        import narwhals as nw

        flat = values.reshape(-1, len(self.names))
        columns = {
            name: _cast(flat[:, index], np.dtype(dtype.lower().replace("boolean", "bool")))
            for index, (name, dtype) in enumerate(zip(self.names, self.dtypes, strict=True))
        }
        try:
            frame: Any = nw.from_dict(columns, backend=self.library).to_native()  # type: ignore[arg-type]
        except ImportError as error:
            raise DataError(
                f"the model was fitted on a {self.library} data frame, and gives one back, but {self.library} "
                f"is not installed here. Install it: pip install {self.library}"
            ) from error
        if self.native_dtypes:
            frame = frame.astype(dict(zip(self.names, self.native_dtypes, strict=True)))
        return frame

    def describe(self) -> dict[str, Any]:
        return {
            "type": "frame",
            "library": self.library,
            "names": list(self.names),
            "dtypes": list(self.dtypes),
            "native_dtypes": list(self.native_dtypes),
        }


@containers.register("frame")
def _frame_container(description: dict[str, Any]) -> FrameContainer:
    return FrameContainer(
        description["library"],
        tuple(description["names"]),
        tuple(description["dtypes"]),
        tuple(description["native_dtypes"]),
    )


def is_frame(data: object) -> bool:
    """Whether `data` is an eager data frame of a library that narwhals knows; narwhals loads only for candidates."""
    if isinstance(data, np.ndarray | torch.Tensor | list | tuple):
        return False
    import narwhals as nw

    try:
        return isinstance(nw.from_native(data, pass_through=True), nw.DataFrame | nw.LazyFrame)
    except nw.exceptions.DuplicateError:
        return True


def learn_container(data: Any) -> Container:
    """Return what `data` came in; lists count as numpy arrays, as everywhere in scikit-learn."""
    if isinstance(data, torch.Tensor):
        return ArrayContainer("torch", str(data.dtype).removeprefix("torch."))
    if is_frame(data):
        frame = eager(data)
        library = str(frame.implementation.value)
        dtypes = []
        for dtype in frame.schema.values():
            # Objects and decimals hold numbers that came to the model as float64, and go back as such.
            name = str(dtype)
            dtypes.append(name if name.startswith(("Int", "UInt", "Float", "Boolean")) else "Float64")
        native: tuple[str, ...] = ()
        if library == "pandas":
            words = [str(dtype) for dtype in data.dtypes]
            native = tuple("float64" if word in {"object", "str", "string"} else word for word in words)
        return FrameContainer(library, tuple(frame.columns), tuple(dtypes), native)
    return ArrayContainer("numpy", str(to_array(data).dtype))


def to_array(data: Any, *, expected: Sequence[Name] | None = None, source: str = "") -> AnyArray:
    """Return the numbers of a container as an ndarray, without a copy where the container has one.

    Args:
        data: Array, tensor, data frame or nested list.
        expected: Names of the columns that a data frame must have; it is put into their order.
        source: Where the data came from, for messages.
    Raises:
        DataError: If there is text, or the examples differ in shape.
        SchemaMismatchError: If columns are missing or not expected.
    """
    if isinstance(data, torch.Tensor):
        tensor = data.detach().cpu()
        # numpy has no bfloat16, and float32 holds each of its values.
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    if is_frame(data):
        return _frame_to_array(data, expected, source)
    if "scipy.sparse" in sys.modules and sys.modules["scipy.sparse"].issparse(data):
        raise DataError(f"{from_source(source)}sparse matrices are not supported. Give X.toarray()")
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise DataError(f"{from_source(source)}{_ragged(data)}") from error
    return check_numeric(array, source=source)


def _ragged(data: Any) -> str:
    shapes = [np.shape(example) for example in data]
    odd = next(index for index, shape in enumerate(shapes) if shape != shapes[0])
    return (
        f"the examples differ in shape: example 0 has {shapes[0]}, example {odd} has {shapes[odd]}. "
        "Bring them to one size first; images in a folder are resized for you"
    )


def eager(data: Any) -> Any:
    """Return a data frame as narwhals sees it.

    Raises:
        DataError: If its rows are not there yet, or several columns have one name.
    """
    import narwhals as nw

    try:
        frame = nw.from_native(data)
        if isinstance(frame, nw.LazyFrame):
            raise DataError("the data frame is lazy: its rows are not there yet. Call .collect() on it first")
        frame.columns  # noqa: B018  narwhals finds columns of the same name here
    except nw.exceptions.DuplicateError as error:
        names = " ".join(str(error).split())
        raise DataError(f"the data frame has several columns of one name ({names}). Rename them") from error
    return frame


def to_table(data: Any) -> pa.Table:
    """Return a data frame as an Arrow table; the index of a pandas frame is no data and is left out."""
    import pyarrow as pa

    frame = eager(data)
    return pa.table({str(name): frame.get_column(name).to_arrow() for name in frame.columns})


def _frame_to_array(data: Any, expected: Sequence[Name] | None, source: str) -> AnyArray:
    frame = eager(data)
    if expected is not None:
        check_names(list(frame.columns), list(expected), source)
    _check_numbers_only(frame, source)
    columns = [_column(frame.get_column(name)) for name in (frame.columns if expected is None else expected)]
    if not columns:
        raise DataError(f"{from_source(source)}the data frame has no columns")
    # Stacked column by column into one array: no second copy, and bytes stay bytes.
    array = np.empty((len(columns[0]), len(columns)), np.result_type(*(column.dtype for column in columns)))
    for index, column in enumerate(columns):
        array[:, index] = column
    return array


def _check_numbers_only(frame: Any, source: str) -> None:
    """Refuse columns of text, dates and the like: the first is named with its first value, the others are counted."""
    bad = []
    for index, name in enumerate(frame.columns):
        found = _first_other(frame.get_column(name))
        if found is not None:
            bad.append((index, name, *found))
    if not bad:
        return
    index, name, what, row, value = bad[0]
    others = [show(other[1], 24) for other in bad[1:6]] + ["..."] * (len(bad) > 6)
    more = f" So do {len(bad) - 1} other columns: {', '.join(others)}." if others else ""
    raise DataError(
        f"{from_source(source)}numbers are needed, but column {index} ({show(name)}) holds {what}: row {row} (counted "
        f"from 0) is {show(value)}.{more} Leave such columns out, encode them as numbers, or name the one that holds "
        f"the labels (labels={show(bad[-1][1], 24)})"
    )


def _first_other(series: Any) -> tuple[str, int, Any] | None:
    """Return what a column holds that are no numbers, with the first such row and value; None if all are numbers."""
    import narwhals as nw

    dtype = series.dtype
    if dtype.is_numeric() or dtype == nw.Boolean:
        return None
    values = series.to_list()
    if dtype not in (nw.Object, nw.String, nw.Categorical, nw.Enum, nw.Unknown):
        return f"values of type {dtype}", 0, values[0] if values else None
    found = first_text(values)
    if found is None:
        # An empty column and a column of objects that are numbers; texts that look like numbers stay texts.
        texts = [(row, value) for row, value in enumerate(values) if isinstance(value, str)]
        return ("numbers written as text", *texts[0]) if texts else None
    return ("text" if isinstance(found[1], str) else f"objects of type {type(found[1]).__name__}", *found)


def _column(series: Any) -> AnyArray:
    import narwhals as nw

    if series.dtype.is_numeric() or series.dtype == nw.Boolean:
        if series.null_count() or series.dtype.is_decimal():
            series = series.cast(nw.Float64)
        return check_numeric(np.asarray(series.to_numpy()))
    return np.asarray([_float(value) for value in series.to_list()])


def _float(value: Any) -> float:
    try:
        return float(value)
    except TypeError:  # None, pandas.NA
        return float("nan")


def check_names(given: Sequence[Name], expected: Sequence[Name], source: str) -> None:
    """Refuse columns that are missing or not expected.

    Raises:
        SchemaMismatchError: If there are such; the first is named, and what may have been meant.
    """
    missing = [name for name in expected if name not in given]
    extra = [name for name in given if name not in expected]
    if missing:
        hint = suggestion(str(missing[0]), map(str, extra))
        raise SchemaMismatchError(
            f"{from_source(source)}{len(missing)} of the {len(expected)} columns that the model was fitted on are "
            f"missing, the first is {show(missing[0])}; given were {len(given)} columns, the first is "
            f"{show(given[0]) if given else 'none'}.{hint} Name them as in the fit; give empty cells where nothing is "
            "known"
        )
    if extra:
        raise SchemaMismatchError(
            f"{from_source(source)}{len(extra)} columns are not known to the model, the first is {show(extra[0])}; it "
            f"was fitted on {len(expected)} columns. Leave them out, or name the column of labels with labels=..."
        )


def _cast(values: AnyArray, dtype: np.dtype[Any]) -> AnyArray:
    """Return `values` as `dtype`: bools are values of at least one half, integers are rounded and clipped."""
    if values.dtype == dtype:
        return values
    if dtype.kind == "b":
        return values >= 0.5
    if dtype.kind in "iu":
        bounds = np.iinfo(dtype)
        if values.dtype.kind == "f":
            high = float(bounds.max)
            # 2**63 - 1 is no float: the nearest one lies above it and would wrap around.
            high = high if int(high) <= bounds.max else float(np.nextafter(high, 0.0))
            return np.clip(np.rint(values.astype(np.float64)), float(bounds.min), high).astype(dtype)
        return np.clip(values, bounds.min, bounds.max).astype(dtype)
    return values.astype(dtype)
