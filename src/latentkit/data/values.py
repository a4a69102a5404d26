"""What numbers data are, and how they become model units: levels of a grid, a bounded range, or reals to standardise.

Each kind turns values of shape (n, *event) into storage (the smallest dtype that stays resident), storage into model
units, and model units back into values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from latentkit.core.errors import SchemaMismatchError
from latentkit.core.registry import Registry
from latentkit.data.dataset import AnyArray
from latentkit.data.validation import chunks, place, show

__all__ = ["LevelValues", "RangeValues", "StandardizedValues", "ValueName", "Values", "as_tensor", "value_kinds"]

ValueName: TypeAlias = Literal["binary", "byte", "unit", "real"]

#: How far, in levels, a float may lie from its level and still be that level: float32 rounding of k/255.
TOLERANCE = 1e-4


class Values(Protocol):
    """What numbers data are."""

    @property
    def name(self) -> ValueName:
        """``"binary"``, ``"byte"``, ``"unit"`` or ``"real"``."""
        ...

    @property
    def n_levels(self) -> int | None:
        """Number of values that there can be; None where they are continuous."""
        ...

    def encode(self, values: AnyArray, dtype: torch.dtype) -> Tensor:
        """Return the storage of `values`; float storage has `dtype`."""
        ...

    def to_model(self, storage: Tensor, dtype: torch.dtype) -> Tensor:
        """Return storage in model units."""
        ...

    def decode(self, x: Tensor, *, snap: bool) -> AnyArray:
        """Return model units as values; with `snap`, values of a grid are on the grid."""
        ...

    def pictures(self, x: Tensor) -> AnyArray:
        """Return model units as bytes for people to look at, 0 the lowest and 255 the highest value."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what was learnt as JSON values."""
        ...


#: Every kind of values, by the name that stands in a description.
value_kinds: Registry[Callable[[dict[str, Any]], Values]] = Registry("kind of values")


def as_tensor(array: AnyArray) -> Tensor:
    """Return a tensor that shares the memory of `array`, which may be read-only: storage is never written to."""
    contiguous = np.ascontiguousarray(array)
    if contiguous.flags.writeable:
        return torch.from_numpy(contiguous)
    # torch.from_numpy warns of read-only memory, and a copy could be as large as the machine.
    return torch.from_numpy(np.asarray(_Shared(contiguous)))


class _Shared:
    """The memory of an array, without the flag that says that it is read-only; keeps the array alive."""

    def __init__(self, array: AnyArray) -> None:
        self.array = array
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface


@dataclass(frozen=True, slots=True)
class LevelValues:
    r"""Values on a grid of `n_levels` equal steps from `low` to `high`; stored as the number of the level, a byte each.

    .. math:: x = k / (n - 1), \quad value = low + x (high - low)

    Attributes:
        name: ``"binary"`` (2 levels), ``"byte"`` (256 levels) or ``"unit"`` (any other number).
        low: Value of level 0.
        high: Value of the last level.
        n_levels: Number of levels, 2 to 256.
        rounds: Whether a value between two levels is taken as the nearer one; otherwise it is an error.
    """

    name: Literal["binary", "byte", "unit"]
    low: float
    high: float
    n_levels: int
    rounds: bool = False

    @property
    def _step(self) -> float:
        return (self.high - self.low) / (self.n_levels - 1)

    def encode(self, values: AnyArray, dtype: torch.dtype) -> Tensor:
        if self.low == 0 and self._step == 1 and values.dtype in (np.uint8, np.bool_):
            top = self.n_levels - 1
            if values.dtype == np.uint8 and top < 255 and values.size and int(values.max()) > top:
                self._refuse(values, values > top, 0)
            return as_tensor(values.view(np.uint8))
        levels = np.empty(values.shape, np.uint8)
        for part in chunks(values):
            exact = (values[part].astype(np.float64) - self.low) / self._step
            nearest = np.rint(exact)
            outside = (nearest < 0) | (nearest > self.n_levels - 1)
            if not self.rounds:
                outside |= np.abs(exact - nearest) > TOLERANCE
            if outside.any():
                self._refuse(values[part], outside, part.start)
            levels[part] = nearest
        return as_tensor(levels)

    def _refuse(self, block: AnyArray, wrong: AnyArray, start: int) -> None:
        index = np.argwhere(wrong)[0]
        value = block[tuple(index)]
        known = f"{self.low:g} and {self.high:g}"
        if self.n_levels > 2:
            between = "any value" if self.rounds else f"{self.n_levels} equally spaced values"
            known = f"{between} from {self.low:g} to {self.high:g}"
        factor = self.high if self.high > 1 else 255
        hint = (
            f"multiply by {factor:g} and round, if the data were scaled to 0..1"
            if self.high > 1 and 0 <= value <= 1
            else f"divide by {factor}, if the data are bytes"
            if self.high == 1 and value > 1
            else "threshold them first, as in X > 0.5"
            if self.n_levels == 2
            else "bring them to the scale of the data that the model was fitted on"
        )
        raise SchemaMismatchError(
            f"the model was fitted on {self.name} data: {known}; {place((start + int(index[0]), *index[1:]))} "
            f"(counted from 0) is {show(value)}. To use these data, {hint}"
        )

    def to_model(self, storage: Tensor, dtype: torch.dtype) -> Tensor:
        return storage.to(dtype) if self.n_levels == 2 else storage.to(dtype).div_(self.n_levels - 1)

    def decode(self, x: Tensor, *, snap: bool) -> AnyArray:
        unit = x.clamp(0, 1)
        if not snap:
            return unit.numpy() * (self.high - self.low) + self.low
        levels = (unit * (self.n_levels - 1)).round_().to(torch.uint8).numpy()
        if self.low == 0 and self._step == 1:
            return levels
        # A table of the exact values, so that level 255 is `high` itself and k/255 is what a division gives.
        table = self.low + np.arange(self.n_levels) * (self.high - self.low) / (self.n_levels - 1)
        return cast(AnyArray, table[levels])

    def pictures(self, x: Tensor) -> AnyArray:
        return _bytes(x)

    def describe(self) -> dict[str, Any]:
        return {
            "type": "levels",
            "name": self.name,
            "low": self.low,
            "high": self.high,
            "n_levels": self.n_levels,
            "rounds": self.rounds,
        }


@value_kinds.register("levels")
def _level_values(description: dict[str, Any]) -> LevelValues:
    return LevelValues(**{key: value for key, value in description.items() if key != "type"})


@dataclass(frozen=True, slots=True)
class RangeValues:
    """Continuous values from `low` to `high`, in model units from 0 to 1.

    Values beyond the range are kept when they are encoded (a scaler fitted on other rows leaves some there, and an
    anomaly must stay one), and clipped when they are decoded.
    """

    low: float
    high: float

    @property
    def name(self) -> Literal["unit"]:
        return "unit"

    @property
    def n_levels(self) -> None:
        return None

    def encode(self, values: AnyArray, dtype: torch.dtype) -> Tensor:
        return _affine(values, np.float64(self.low), np.float64(self.high - self.low), dtype)

    def to_model(self, storage: Tensor, dtype: torch.dtype) -> Tensor:
        return storage.to(dtype)

    def decode(self, x: Tensor, *, snap: bool) -> AnyArray:
        unit = x.clamp(0, 1).numpy()
        if (self.low, self.high) == (0.0, 1.0):
            return unit
        return unit.astype(np.float64) * (self.high - self.low) + self.low

    def pictures(self, x: Tensor) -> AnyArray:
        return _bytes(x)

    def describe(self) -> dict[str, Any]:
        return {"type": "range", "low": self.low, "high": self.high}


@value_kinds.register("range")
def _range_values(description: dict[str, Any]) -> RangeValues:
    return RangeValues(description["low"], description["high"])


@dataclass(frozen=True, slots=True)
class StandardizedValues:
    """Real values, in model units of mean 0 and standard deviation 1 per column (rows) or per channel (images).

    .. math:: x = (value - mean) / scale

    Attributes:
        mean: Mean per column or channel.
        scale: Standard deviation per column or channel; 1 where a column is constant.
        low: Smallest value seen, per column or channel.
        high: Largest value seen, per column or channel.
        n_dims: Number of dimensions of an event: 1 for rows, 3 for images.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    n_dims: int

    @property
    def name(self) -> Literal["real"]:
        return "real"

    @property
    def n_levels(self) -> None:
        return None

    def _shaped(self, numbers: tuple[float, ...]) -> AnyArray:
        return np.asarray(numbers, np.float64).reshape(-1, *[1] * (self.n_dims - 1))

    def encode(self, values: AnyArray, dtype: torch.dtype) -> Tensor:
        return _affine(values, self._shaped(self.mean), self._shaped(self.scale), dtype)

    def to_model(self, storage: Tensor, dtype: torch.dtype) -> Tensor:
        return storage.to(dtype)

    def decode(self, x: Tensor, *, snap: bool) -> AnyArray:
        values = x.numpy().astype(np.float64)
        values *= self._shaped(self.scale)
        values += self._shaped(self.mean)
        return cast(AnyArray, values)

    def pictures(self, x: Tensor) -> AnyArray:
        low, high = min(self.low), max(self.high)
        values = self.decode(x, snap=True)
        return _bytes(torch.from_numpy((values - low) / ((high - low) or 1.0)))

    def describe(self) -> dict[str, Any]:
        return {
            "type": "standardized",
            "mean": list(self.mean),
            "scale": list(self.scale),
            "low": list(self.low),
            "high": list(self.high),
            "n_dims": self.n_dims,
        }


@value_kinds.register("standardized")
def _standardized_values(description: dict[str, Any]) -> StandardizedValues:
    numbers = {key: tuple(description[key]) for key in ("mean", "scale", "low", "high")}
    return StandardizedValues(**numbers, n_dims=description["n_dims"])


def _affine(values: AnyArray, shift: AnyArray | np.float64, scale: AnyArray | np.float64, dtype: torch.dtype) -> Tensor:
    """Return (values - shift) / scale, computed in float64 a block at a time."""
    result = torch.empty(values.shape, dtype=dtype)
    for part in chunks(values):
        result[part] = torch.from_numpy(np.ascontiguousarray((values[part].astype(np.float64) - shift) / scale))
    return result


def _bytes(x: Tensor) -> AnyArray:
    return (x.clamp(0, 1) * 255).round_().to(torch.uint8).numpy()
