"""Reading files of arrays: .npy, .npz and idx, also from memory."""

from __future__ import annotations

import gzip
import io
import math
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from latentkit.core.errors import DataError, InvalidParameterError, UnreadableDataError
from latentkit.core.parameters import suggestion
from latentkit.data.dataset import AnyArray
from latentkit.data.validation import show

__all__ = ["LABEL_MEMBERS", "idx_labels_path", "read_idx", "read_npy", "read_npz"]

#: Names under which an archive holds its data, in the order of preference.
DATA_MEMBERS = ("x_train", "X_train", "x", "X", "train", "data", "images", "features")
#: Names under which it holds the labels; `_train` belongs to `_train`.
LABEL_MEMBERS = ("y_train", "Y_train", "y", "Y", "labels", "label", "target", "targets", "train_labels")

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_DAMAGED = (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, struct.error)


def read_npy(source: Path | bytes, name: str) -> AnyArray:
    """Read a .npy file.

    Raises:
        UnreadableDataError: If it is damaged, or holds Python objects, which could run code when they are read.
    """
    try:
        return cast(AnyArray, np.load(io.BytesIO(source) if isinstance(source, bytes) else source, allow_pickle=False))
    except _DAMAGED as error:
        raise UnreadableDataError(_damaged(name, error)) from error


def read_npz(
    source: Path | bytes, name: str, *, array: str | None = None, labels: str | None = None
) -> tuple[AnyArray, AnyArray | None, list[str]]:
    """Read the data and labels of a .npz archive.

    Args:
        source: File or its content.
        name: For messages.
        array: Member with the data, by default a usual name, else the largest. A member whose name ends in `_packed`
            holds bits packed by numpy.packbits along the last axis: naming it unpacks it;
            ``"NAME:unpackbits"`` unpacks any member of bytes and ``"NAME:raw"`` none.
        labels: Member with the labels, by default a usual name.
    Returns:
        The data, the labels (None where there are none) and notes.
    Raises:
        UnreadableDataError: If the archive is damaged or holds Python objects.
        InvalidParameterError: If there is no member of that name.
        DataError: If the data cannot be told, or are packed bits.
    """
    notes: list[str] = []
    try:
        # numpy leaves a file open that is no archive, unless it was given an open one.
        file = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
        with file, np.load(file, allow_pickle=False) as archive:
            shapes = _member_shapes(archive)
            member, treatment = _choose(shapes, array, name, notes)
            data = archive[member]
            if not data.ndim:
                raise DataError(f"{name}: member {member!r} is a single value and has no rows. Name another one.")
            label_member = _choose_labels(shapes, member, labels, name, len(data))
            codes = archive[label_member] if label_member else None
    except (DataError, InvalidParameterError):
        raise
    except _DAMAGED as error:
        raise UnreadableDataError(_damaged(name, error)) from error
    if treatment == "unpackbits":
        if data.dtype != np.uint8:
            raise DataError(
                f"{name}: member {member!r} has dtype {data.dtype}, and packed bits have uint8. Leave out :unpackbits"
            )
        packed = data.shape
        data = np.unpackbits(data, axis=-1)
        notes.append(f"bits were unpacked along the last axis: {packed} bytes became {data.shape} values of 0 and 1")
    others = [other for other in shapes if other not in (member, label_member)]
    notes.insert(
        0,
        f"data are the member {member!r}"
        + (f", labels {label_member!r}" if label_member else "")
        + (f"; also there: {', '.join(others)}" if others else ""),
    )
    return data, codes, notes


def _member_shapes(archive: Any) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Return shape and dtype of every member from its header, without reading it."""
    shapes = {}
    for member in archive.files:
        file = f"{member}.npy" if f"{member}.npy" in archive.zip.namelist() else member
        with archive.zip.open(file) as stream:
            version = np.lib.format.read_magic(stream)
            reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = reader(stream)
        shapes[member] = shape, dtype
    return shapes


def _choose(
    shapes: dict[str, tuple[tuple[int, ...], np.dtype[Any]]], array: str | None, name: str, notes: list[str]
) -> tuple[str, str]:
    """Return the member with the data, and what to do with it: ``"raw"`` or ``"unpackbits"``."""
    if array is not None:
        member, _, treatment = array.partition(":")
        if member not in shapes:
            raise InvalidParameterError(
                f"{name}: there is no array {member!r}; choose one of: {', '.join(shapes)}.{suggestion(member, shapes)}"
            )
        if treatment not in ("", "raw", "unpackbits"):
            raise InvalidParameterError(
                f"array={array!r}: after the colon only 'unpackbits' or 'raw' can stand."
                f"{suggestion(treatment, ['unpackbits', 'raw'])}"
            )
        return member, treatment or ("unpackbits" if _is_packed(member, shapes) else "raw")
    usual = [member for member in DATA_MEMBERS if member in shapes and len(shapes[member][0]) >= 2]
    if usual:
        return usual[0], "raw"
    candidates = [member for member, (shape, dtype) in shapes.items() if len(shape) >= 2 and dtype.kind in "biuf"]
    if not candidates:
        listed = ", ".join(f"{member} {shape} {dtype}" for member, (shape, dtype) in shapes.items())
        raise DataError(f"{name}: no array of numbers with 2 or more dimensions in it; it holds: {listed or 'nothing'}")
    largest = max(candidates, key=lambda member: math.prod(shapes[member][0]) * shapes[member][1].itemsize)
    if _is_packed(largest, shapes):
        raise DataError(
            f"{name}: the array {largest!r} holds packed bits. Name it to have them unpacked: array={largest!r} "
            f"(array='{largest}:raw' takes the bytes as they are). Arrays: {', '.join(shapes)}"
        )
    notes.append(
        f"no member has a usual name ({', '.join(DATA_MEMBERS)}), so the largest was taken; array=NAME takes another"
    )
    return largest, "raw"


def _is_packed(member: str, shapes: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> bool:
    return member.endswith("_packed") and shapes[member][1] == np.uint8


def _choose_labels(
    shapes: dict[str, tuple[tuple[int, ...], np.dtype[Any]]], member: str, labels: str | None, name: str, n: int
) -> str | None:
    if labels is not None:
        if labels not in shapes:
            raise InvalidParameterError(
                f"{name}: there is no array {labels!r} for the labels; choose one of: {', '.join(shapes)}."
                f"{suggestion(labels, shapes)}"
            )
        return labels
    stem, _, part = member.rpartition("_")
    usual = [f"y_{part}", f"Y_{part}"] if stem in ("x", "X") else [f"{member}_labels", *LABEL_MEMBERS]
    return next((other for other in usual if other in shapes and other != member and shapes[other][0] == (n,)), None)


def read_idx(source: Path | bytes, name: str) -> AnyArray:
    """Read an idx file (the format of the MNIST files), packed by gzip or not.

    Source: http://yann.lecun.com/exdb/mnist: two zero bytes, a type, the number of dimensions, each as a big-endian
    32-bit integer, then the values.

    Raises:
        UnreadableDataError: If it is no idx file, or shorter or longer than its header says.
    """
    try:
        content = source if isinstance(source, bytes) else source.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableDataError(_damaged(name, error)) from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES:
        raise UnreadableDataError(
            f"{name}: not an idx file; it begins with {show(content[:4])}. Such a file begins with two zero bytes"
        )
    dtype, n_dims = np.dtype(_IDX_TYPES[content[2]]), content[3]
    start = 4 + 4 * n_dims
    shape: Sequence[int] = struct.unpack(f">{n_dims}I", content[4:start]) if len(content) >= start else (-1,)
    expected = start + math.prod(shape) * dtype.itemsize
    if shape == (-1,) or len(content) != expected:
        raise UnreadableDataError(
            f"{name}: the idx file is damaged: {len(content)} bytes, and {max(expected, start)} are needed for shape "
            f"{tuple(shape)}. Get it again"
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def idx_labels_path(path: Path) -> Path | None:
    """Return the file of labels that belongs to an idx file of images, if it is there."""
    for images, labels in (("images-idx3", "labels-idx1"), ("images.idx3", "labels.idx1"), ("images", "labels")):
        other = path.with_name(path.name.replace(images, labels))
        if other != path and other.is_file():
            return other
    return None


def _damaged(name: str, error: Exception) -> str:
    text = str(error) or type(error).__name__
    if "allow_pickle" in text or "Object arrays" in text:
        return (
            f"{name}: it holds Python objects, which are not read, since they could run code. Save the array with a "
            "number type: numpy.save(path, array.astype(float))"
        )
    return f"{name}: the file is damaged or of another format ({text}). Get or write it again"
