"""The schema of numbers and images: how the user's data become tensors and come back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from latentkit.core.errors import (
    DamagedRunError,
    DataError,
    InvalidParameterError,
    RunVersionError,
    SchemaMismatchError,
)
from latentkit.data.containers import Container, containers, is_frame, to_array
from latentkit.data.dataset import AnyArray, Dataset, Kind
from latentkit.data.layout import Layout
from latentkit.data.sources import read
from latentkit.data.table import TableSchema
from latentkit.data.text import TextSchema
from latentkit.data.validation import check_finite, from_source
from latentkit.data.values import StandardizedValues, ValueName, Values, as_tensor, value_kinds

__all__ = ["SCHEMA_VERSION", "ArraySchema", "Fit", "schema_from_description"]

#: Number of the format of descriptions; a reader knows its own and all earlier ones.
SCHEMA_VERSION = 1

Fit: TypeAlias = Literal["crop", "stretch", "pad"]


@dataclass(frozen=True, slots=True)
class ArraySchema:
    """How numbers and images become tensors and come back.

    There are three forms. *User form*: what the user gave. *Storage*: uint8 where the values lie on a grid of at most
    256 levels, else floats in model units, shape (n, *event). *Model units*: floats, shape (n, *event).

    Attributes:
        layout: How one example lies in the user's array and in a tensor.
        numbers: What numbers they are and how they are scaled.
        container: What the data came in and go back into.
        fit: How images of other sizes are brought to size when a folder is read.
        n_examples: Number of examples that the schema was learnt from.
        notes: What was recognised, and warnings, a sentence each.

    Example:
        >>> from latentkit.data import learn_schema
        >>> schema = learn_schema(np.array([[1.0, 10.0], [3.0, 30.0]]))
        >>> schema.encode(np.array([[2.0, 30.0]]))
        tensor([[0., 1.]])
        >>> schema.decode(torch.tensor([[0.0, 1.0]]))
        array([[ 2., 30.]])
    """

    layout: Layout
    numbers: Values
    container: Container
    fit: Fit = "crop"
    n_examples: int = 0
    notes: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """``"rows"`` or ``"images"``."""
        return self.layout.kind

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one example: (features,) or (channels, height, width)."""
        return self.layout.event_shape

    @property
    def user_shape(self) -> tuple[int, ...]:
        """Shape of one example as the user gave it: (features,), (height, width), (height, width, channels), ..."""
        return self.layout.user_shape

    @property
    def values(self) -> ValueName:
        """What numbers they are: ``"binary"``, ``"byte"``, ``"unit"`` or ``"real"``."""
        return self.numbers.name

    @property
    def n_levels(self) -> int | None:
        """Number of levels of a grid of values (2 for binary, 256 for bytes); None for continuous values."""
        return self.numbers.n_levels

    @property
    def feature_names(self) -> tuple[str | int, ...] | None:
        """Names of the columns; None where there are none."""
        return self.container.names

    def encode(self, data: Any, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return user form as storage.

        Args:
            data: Whatever the schema was learnt from, or the same numbers in another container, or a path of it. The
                columns of a data frame are found by name.
            dtype: Of float storage; without meaning where the storage is uint8.
        Returns:
            Storage, shape (n, *event). It shares the memory of `data` where it can and must not be written to.
        Raises:
            SchemaMismatchError: If the shape, columns or values are not those that the schema was learnt from.
            DataError: If there is text, NaN or infinity.
        """
        array, source = self._array(data)
        check_finite(array, names=self._names(), source=source)
        return self.numbers.encode(self.layout.to_event(array), dtype)

    def encode_observed(self, data: Any, *, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """Return user form with holes as storage and a mask of what was observed.

        Args:
            data: As in :meth:`encode`; NaN or a missing value of a data frame is a hole.
            dtype: Of float storage.
        Returns:
            Storage, shape (n, *event), holes filled with the column's mean or the lowest level, and a bool tensor of
            the same shape, True where the value was observed.
        """
        array, source = self._array(data)
        observed = ~np.isnan(array) if array.dtype.kind == "f" else np.ones(array.shape, np.bool_)
        mask = self.layout.to_event(observed)
        event = self.layout.to_event(array)
        if not observed.all():
            event = np.where(mask, event, self._filling())
            check_finite(event, source=source)
        return self.numbers.encode(event, dtype), as_tensor(mask)

    def user_numbers(self, data: Any) -> AnyArray:
        """Return the numbers of user form as they are, whatever range they are in, shape (n, features), float64.

        Args:
            data: As in :meth:`encode`; NaN is let through.
        Raises:
            SchemaMismatchError: If the shape or columns are not those that the schema was learnt from.
            DataError: If there is text, or infinity.
        """
        array, source = self._array(data)
        numbers = np.asarray(array.reshape(len(array), -1), np.float64)
        check_finite(np.nan_to_num(numbers, posinf=np.inf, neginf=-np.inf), names=self._names(), source=source)
        return numbers

    def to_model(self, storage: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return storage in model units: 0..1, or standardised reals."""
        return self.numbers.to_model(storage, dtype)

    def decode(self, x: Tensor, *, snap: bool = True) -> Any:
        """Return model units as user form.

        Args:
            x: Model units, shape (*batch, *event); the rows of a data frame are those of all batch dimensions.
            snap: Whether float data that lay on a grid (0/1, or 0..16) come back on the grid. With False they keep
                the values between, such as the probability of a pixel. Integers and bools are always rounded.
        Returns:
            The container, dtype and range of the data that the schema was learnt from.
        Raises:
            SchemaMismatchError: If the last dimensions of `x` are not the event.
        """
        n_dims = len(self.event_shape)
        if x.ndim <= n_dims or tuple(x.shape[-n_dims:]) != self.event_shape:
            raise SchemaMismatchError(
                f"expected model units of shape (*batch, {', '.join(map(str, self.event_shape))}), got "
                f"{tuple(x.shape)}."
            )
        values = self.numbers.decode(_plain(x), snap=snap or self.container.is_exact)
        return self.container.rebuild(self.layout.from_event(values))

    def encode_mask(self, mask: Any) -> Tensor:
        """Return a mask as a tensor.

        Args:
            mask: True (or 1) where a value was observed: an array, tensor or data frame of the shape of the data, or of
                one example, or (n, height, width) for images of several channels; or the path of an array file or of
                images, in which white is observed.
        Returns:
            Bool tensor, True where observed, shape (n, *event); n is 1 where one example's mask was given.
        Raises:
            SchemaMismatchError: If the shape does not fit.
            DataError: If there are other values than 0 and 1.
        """
        source = ""
        if isinstance(mask, str | Path):
            dataset = self._read(mask, color="grey")
            source, mask = dataset.source, dataset.data
            if mask.dtype == np.uint8 and mask.max() > 1:
                mask = mask >= 128
        array = to_array(mask, expected=self.feature_names if is_frame(mask) else None, source=source)
        if not ((array == 0) | (array == 1)).all():
            raise DataError(
                f"{from_source(source)}a mask holds True (1) where a value was observed and False (0) where it is "
                "missing; this one holds other values. Compare first, as in mask = image > 0"
            )
        array = array.astype(np.bool_)
        if array.shape == self.layout.user_shape or (self.kind == "images" and array.shape == self.event_shape[1:]):
            array = array[None]
        if self.kind == "images" and array.shape[1:] == self.event_shape[1:]:
            channels, height, width = self.event_shape
            return torch.from_numpy(array)[:, None].expand(-1, channels, height, width)
        self.layout.check(array.shape, from_source(source))
        return torch.from_numpy(np.ascontiguousarray(self.layout.to_event(array)))

    def pictures(self, x: Tensor) -> AnyArray:
        """Return model units of images as bytes for people to look at.

        Args:
            x: Model units, shape (*batch, channels, height, width).
        Returns:
            uint8 of shape (*batch, height, width) for one channel, else (*batch, height, width, channels); 0 is the
            lowest and 255 the highest value of the data.
        Raises:
            InvalidParameterError: If the data are rows.
        """
        if self.kind != "images":
            raise InvalidParameterError(
                "rows of numbers are no pictures. Fit with kind='images' and size=(height, width) if they are pixels"
            )
        values = self.numbers.pictures(_plain(x))
        return values[..., 0, :, :] if self.event_shape[0] == 1 else np.moveaxis(values, -3, -1)

    def describe(self) -> dict[str, Any]:
        """Return the schema as JSON values; :func:`schema_from_description` is the exact inverse."""
        return {
            "version": SCHEMA_VERSION,
            "type": "array",
            "layout": self.layout.describe(),
            "numbers": self.numbers.describe(),
            "container": self.container.describe(),
            "fit": self.fit,
            "n_examples": self.n_examples,
            "notes": list(self.notes),
        }

    def summary(self) -> list[tuple[str, str]]:
        """Return what was recognised, for people: pairs of a heading and a text."""
        shape = " x ".join(map(str, self.layout.user_shape))
        what = f"{self.n_examples} {self.kind} of {shape}" + (" numbers" if self.kind == "rows" else "")
        description = self.numbers.describe()
        rows = [("data", what), ("came in", f"{self.container.library}, {self.container.dtype_name}")]
        if isinstance(self.numbers, StandardizedValues):
            rows.append(("values", "real, standardised per " + ("column" if self.kind == "rows" else "channel")))
            rows += self._ranges(self.numbers)
        else:
            levels = f", {self.n_levels} levels" if self.n_levels else ""
            rows.append(("values", f"{self.values}{levels}, {description['low']:g} to {description['high']:g}"))
        if self.kind == "images":
            rows.append(("other sizes", f"a folder of images is read with fit={self.fit!r}"))
        rows += [("note", note) for note in self.notes]
        return rows

    def _ranges(self, numbers: StandardizedValues, limit: int = 12) -> list[tuple[str, str]]:
        names = self.feature_names or range(len(numbers.mean))
        word = "column" if self.kind == "rows" else "channel"
        rows = [
            (f"{word} {name}", f"{low:g} to {high:g}, mean {mean:g}, standard deviation {scale if high > low else 0:g}")
            for name, low, high, mean, scale in zip(
                names, numbers.low, numbers.high, numbers.mean, numbers.scale, strict=True
            )
        ]
        if len(rows) > limit:
            rows[limit:] = [("...", f"and {len(rows) - limit} more {word}s")]
        return rows

    def _names(self) -> tuple[str | int, ...] | None:
        return self.feature_names if self.kind == "rows" else None

    def _filling(self) -> AnyArray:
        # What model units of 0 decode to: the mean of reals, the lowest level of a grid.
        zeros = torch.zeros(1, *self.event_shape, dtype=torch.float64)
        return np.asarray(self.numbers.decode(zeros, snap=True), np.float64)

    def _array(self, data: Any) -> tuple[AnyArray, str]:
        source = ""
        if isinstance(data, str | Path):
            dataset = self._read(data)
            source, data = dataset.source, dataset.data
        expected = self.feature_names if is_frame(data) else None
        array = to_array(data, expected=expected, source=source)
        self.layout.check(array.shape, from_source(source))
        if len(array) == 0:
            raise DataError(
                f"{from_source(source)}found array with 0 sample(s) (shape={array.shape}) while a minimum of 1 is "
                "required."
            )
        return array, source

    def _read(self, path: str | Path, color: Literal["grey"] | None = None) -> Dataset:
        if self.kind != "images":
            return read(path, tables="numbers")
        own: Literal["auto", "grey", "rgb"] = "grey" if self.event_shape[0] == 1 else "rgb"
        own = own if self.event_shape[0] in (1, 3) else "auto"
        _, height, width = self.event_shape
        return read(path, size=(height, width), color=color or own, fit=self.fit)


def _plain(x: Tensor) -> Tensor:
    x = x.detach().cpu()
    return x if x.dtype == torch.float64 else x.float()


def schema_from_description(description: dict[str, Any]) -> ArraySchema | TableSchema | TextSchema:
    """Return the schema that the `describe` of a schema described.

    Raises:
        RunVersionError: If the description is of a newer format.
        DamagedRunError: If parts of it are missing or make no sense.
    """
    version = description.get("version") if isinstance(description, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise RunVersionError(
            f"this schema has format {version}, and this latentkit reads formats up to {SCHEMA_VERSION}. Update "
            "latentkit"
        )
    try:
        if version != SCHEMA_VERSION or description["type"] not in ("array", "table", "text"):
            raise ValueError(f"version {version!r} and type {description.get('type')!r}")
        if description["type"] == "table":
            return TableSchema.from_description(description)
        if description["type"] == "text":
            return TextSchema.from_description(description)
        return ArraySchema(
            layout=Layout.from_description(description["layout"]),
            numbers=value_kinds[description["numbers"]["type"]](description["numbers"]),
            container=containers[description["container"]["type"]](description["container"]),
            fit=description["fit"],
            n_examples=int(description["n_examples"]),
            notes=tuple(description["notes"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedRunError(
            f"the description of the schema is damaged ({type(error).__name__}: {error}). Take schema.json from a copy "
            "of the run, or fit again"
        ) from error
