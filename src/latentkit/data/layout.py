"""How one example lies in the user's array and in a tensor: rows, (H, W), channels last or channels first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import numpy as np

from latentkit.core.errors import DataError, InvalidParameterError, SchemaMismatchError
from latentkit.core.parameters import check_choice, check_integer
from latentkit.data.dataset import AnyArray, Kind

__all__ = ["ChannelOrder", "Layout", "Size", "check_size", "learn_layout"]

Size: TypeAlias = int | tuple[int, int]
ChannelOrder: TypeAlias = Literal["auto", "last", "first"]

#: Numbers of channels that mark an axis as the one of channels: grey, grey with alpha, RGB, RGB with alpha.
_CHANNELS = (1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class Layout:
    """How one example lies in the user's array and in a tensor.

    Attributes:
        kind: ``"rows"`` or ``"images"``.
        user_shape: Shape of one example as the user gave it: ``(784,)``, ``(28, 28)``, ``(32, 32, 3)``.
        event_shape: Shape of one example in a tensor: ``(features,)`` or ``(channels, height, width)``.
        channels_last: Whether the user's images have their channels behind height and width.
    """

    kind: Kind
    user_shape: tuple[int, ...]
    event_shape: tuple[int, ...]
    channels_last: bool = False

    def to_event(self, array: AnyArray) -> AnyArray:
        """Return an array (n, *user_shape) as (n, *event_shape), a view where there is one."""
        n = len(array)
        if not self.channels_last or self.event_shape[0] == 1:
            return array.reshape(n, *self.event_shape)
        channels, height, width = self.event_shape
        return np.moveaxis(array.reshape(n, height, width, channels), -1, 1)

    def from_event(self, array: AnyArray) -> AnyArray:
        """Return an array (*batch, *event_shape) as (*batch, *user_shape)."""
        batch = array.shape[: array.ndim - len(self.event_shape)]
        if self.channels_last and self.event_shape[0] > 1:
            array = np.moveaxis(array, -3, -1)
        return np.ascontiguousarray(array).reshape(*batch, *self.user_shape)

    def check(self, shape: Sequence[int], source: str = "") -> None:
        """Refuse an array of another shape than (n, *user_shape); one channel may be there or not.

        Raises:
            SchemaMismatchError: The message states the expected and the given shape, and the likely remedy.
        """
        shape = tuple(shape)
        given, wanted = shape[1:], self.user_shape
        if shape and given == wanted:
            return
        if self.kind == "images" and _squeezed(given) == _squeezed(wanted) and len(given) > 1:
            return
        hint = "Give data of the shape that the model was fitted on"
        if shape == wanted:
            hint = "This is one example without the axis of examples: give x[None]"
        elif len(given) == 3 and sorted(given) == sorted(wanted) and len(wanted) == 3:
            hint = "The channels lie on another axis: move them with numpy.moveaxis"
        elif len(wanted) == 1 and math.prod(given) == wanted[0]:
            hint = f"Reshape them: X.reshape(len(X), {wanted[0]})"
        elif len(given) == 1 and math.prod(wanted) == given[0]:
            hint = f"Reshape them: X.reshape(len(X), {', '.join(map(str, wanted))})"
        elif self.kind == "images" and len(given) >= 2:
            hint = "Resize the images first; images in a folder are resized for you"
        features = (
            f" X has {given[0]} features, but the model is expecting {wanted[0]} features as input."
            if len(given) == len(wanted) == 1
            else ""
        )
        raise SchemaMismatchError(
            f"{source}expected data of shape {_shown(wanted)}, got {_shown(shape, whole=True)}.{features} {hint}."
        )

    def describe(self) -> dict[str, Any]:
        """Return the layout as JSON values."""
        return {
            "kind": self.kind,
            "user_shape": list(self.user_shape),
            "event_shape": list(self.event_shape),
            "channels_last": self.channels_last,
        }

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Layout:
        """Return the layout of a description."""
        return cls(
            cast(Kind, check_choice("kind", description["kind"], ["rows", "images"])),
            tuple(description["user_shape"]),
            tuple(description["event_shape"]),
            bool(description["channels_last"]),
        )


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) == 3 and 1 in (shape[0], shape[-1]):
        return shape[:-1] if shape[-1] == 1 else shape[1:]
    return shape


def _shown(shape: tuple[int, ...], *, whole: bool = False) -> str:
    parts = [*map(str, shape)] if whole else ["n", *map(str, shape)]
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def check_size(size: object) -> tuple[int, int] | None:
    """Return `size` as (height, width); a whole number means a square.

    Raises:
        InvalidParameterError: If it is neither None, a whole number nor two of them.
    """
    hint = "Give size=64, size=(48, 64) for height and width, or leave it out."
    if size is None:
        return None
    if isinstance(size, tuple | list):
        if len(size) != 2:
            raise InvalidParameterError(f"size must be one or two integers; got {size!r}. {hint}")
        height, width = (check_integer("size", side, low=1, high=16384, hint=hint) for side in size)
        return height, width
    side = check_integer("size", size, low=1, high=16384, hint=hint)
    return side, side


def learn_layout(
    shape: tuple[int, ...],
    *,
    kind: str = "auto",
    size: Size | None = None,
    color: str = "auto",
    channels: ChannelOrder = "auto",
    prefer_first: bool = False,
) -> Layout:
    """Return the layout of an array of this shape.

    Two dimensions are rows, three are grey images (n, H, W), four are images with channels. The axis of channels is
    the last one if its length is 1 to 4 and that of the second axis is not, and the second one in the opposite case;
    where both lengths are 1 to 4, it is the last one (for torch tensors the second). `channels` overrides the rule.

    Args:
        shape: Shape of the whole array, examples first.
        kind: ``"auto"``, ``"rows"`` (images are flattened) or ``"images"`` (rows are pixels of `size`, by default a
            grey square).
        size: Height and width of images; for arrays it must be what they have.
        color: ``"auto"``, ``"grey"`` or ``"rgb"``.
        channels: ``"auto"``, ``"last"`` or ``"first"``.
        prefer_first: Whether the second axis has the channels where both could.
    Raises:
        DataError: If no layout fits this shape.
        InvalidParameterError: If an option does not fit it.
    """
    check_choice("kind", kind, ["auto", "rows", "images"])
    check_choice("color", color, ["auto", "grey", "rgb"])
    check_choice("channels", channels, ["auto", "last", "first"])
    if len(shape) not in (2, 3, 4):
        hint = (
            "Reshape your data: X.reshape(-1, 1) if it is one column, X.reshape(1, -1) if it is one row"
            if len(shape) < 2
            else "Give each example as a row, or as an image"
        )
        raise DataError(
            "data need 2 dimensions (rows), 3 (grey images: n, height, width) or 4 (images with channels); "
            f"got shape {shape}. {hint}"
        )
    if 0 in shape:
        what = "sample(s)" if shape[0] == 0 else "feature(s)"
        raise DataError(f"found array with 0 {what} (shape={shape}) while a minimum of 1 is required.")
    user_shape = tuple(shape[1:])
    wanted = check_size(size)
    if kind == "rows" or (kind == "auto" and len(shape) == 2 and wanted is None):
        return Layout("rows", user_shape, (math.prod(user_shape),))
    layout = (
        _flat_images(user_shape, wanted, color, channels)
        if len(shape) == 2
        else Layout("images", user_shape, (1, *user_shape))
        if len(shape) == 3
        else _images(user_shape, channels, prefer_first)
    )
    n_channels, *sides = layout.event_shape
    if wanted is not None and tuple(sides) != wanted:
        raise InvalidParameterError(
            f"size={size} was asked for, but the array has images of {sides[0]} x {sides[1]}. Arrays are not resized: "
            "leave size out, or give a folder of images"
        )
    if color != "auto" and n_channels != {"grey": 1, "rgb": 3}[color]:
        raise InvalidParameterError(
            f"color={color!r} was asked for, but the array has images of {n_channels} channels. Arrays are not "
            "converted: leave color out, or give a folder of images"
        )
    return layout


def _flat_images(
    user_shape: tuple[int, ...], size: tuple[int, int] | None, color: str, channels: ChannelOrder
) -> Layout:
    n_channels = 3 if color == "rgb" else 1
    if size is None:
        side = math.isqrt(user_shape[0] // n_channels)
        size = side, side
    event_shape = (n_channels, *size)
    if math.prod(event_shape) != user_shape[0]:
        raise InvalidParameterError(
            f"rows of {user_shape[0]} numbers are no images of {size[0]} x {size[1]} with {n_channels} channel(s). "
            "Give size=(height, width) and color='rgb' or 'grey' that fit"
        )
    if n_channels > 1 and channels == "auto":
        raise InvalidParameterError(
            "rows of colour pixels need channels='last' (red, green and blue of each pixel side by side) or "
            "channels='first' (all red, then all green, then all blue)"
        )
    return Layout("images", user_shape, event_shape, channels_last=channels == "last")


def _images(user_shape: tuple[int, ...], channels: ChannelOrder, prefer_first: bool) -> Layout:
    first, last = user_shape[0] in _CHANNELS, user_shape[2] in _CHANNELS
    if channels == "auto":
        if not first and not last:
            raise DataError(
                f"images of shape {user_shape} have no axis of 1 to 4 channels. Say where the channels are with "
                "channels='last' or channels='first', or flatten the data with kind='rows'"
            )
        channels = "first" if first and (prefer_first or not last) else "last"
    if channels == "first":
        return Layout("images", user_shape, user_shape)
    height, width, n_channels = user_shape
    return Layout("images", user_shape, (n_channels, height, width), channels_last=True)
