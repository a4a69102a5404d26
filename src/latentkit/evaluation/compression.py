"""How small classic coders make data: what a learnt one has to be compared with, on the same bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import InvalidParameterError

__all__ = ["PackedSize", "classic_sizes", "mosaic"]

_ZSTD_LEVEL: Final = 22
_BROTLI_LEVEL: Final = 11


@final
@dataclass(frozen=True, slots=True)
class PackedSize:
    """What a coder makes of data.

    Attributes:
        name: Of the coder, and how it was set.
        n_bytes: What the data become.
        bits_per_byte: For each byte of them, bits.
        seconds: How long it took, on one processor.
    """

    name: str
    n_bytes: int
    bits_per_byte: float
    seconds: float


def classic_sizes(content: bytes, images: NDArray[np.uint8] | None = None) -> list[PackedSize]:
    """Return what classic coders make of the same data, the smallest first.

    gzip, bz2, xz, zstd and brotli at their strongest get the bytes as they are; PNG, WebP and, where
    ``pillow-jxl-plugin`` is installed, JPEG XL, without loss, get all images side by side as one picture, so that
    headers do not count.

    Args:
        content: The data.
        images: The same as images, shape (n, height, width, channels), with 1, 3 or 4 channels; None if they are none.
    """
    import pyarrow as pa

    coders: dict[str, Callable[[bytes], int]] = {
        "gzip -9": lambda data: len(gzip.compress(data, 9, mtime=0)),
        "bz2 -9": lambda data: len(bz2.compress(data, 9)),
        "xz -9e": lambda data: len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)),
        f"zstd -{_ZSTD_LEVEL}": lambda data: len(pa.Codec("zstd", _ZSTD_LEVEL).compress(data)),
        f"brotli -{_BROTLI_LEVEL}": lambda data: len(pa.Codec("brotli", _BROTLI_LEVEL).compress(data)),
    }
    found = [_measured(name, len(content), partial(coder, content)) for name, coder in coders.items()]
    if images is not None and images.shape[3] in _MODES and images.size:
        picture = mosaic(images)
        for name, settings in _picture_coders().items():
            found.append(_measured(f"{name}, one picture", len(content), partial(_pictured, picture, settings)))
    return sorted(found, key=lambda size: size.n_bytes)


def mosaic(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images side by side as one, about square; what is left over is black.

    Args:
        images: Shape (n, height, width, channels), n at least 1.
    Raises:
        InvalidParameterError: If they are not of this shape.

    Example:
        >>> mosaic(np.ones((5, 2, 3, 1), np.uint8)).shape
        (4, 9, 1)
    """
    if images.ndim != 4 or not len(images):
        raise InvalidParameterError(f"images must be of shape (n, height, width, channels); got {images.shape}.")
    n, height, width, channels = images.shape
    n_columns = math.ceil(math.sqrt(n))
    n_rows = math.ceil(n / n_columns)
    grid = np.zeros((n_rows * n_columns, height, width, channels), np.uint8)
    grid[:n] = images
    rows = grid.reshape(n_rows, n_columns, height, width, channels).swapaxes(1, 2)
    return np.ascontiguousarray(rows.reshape(n_rows * height, n_columns * width, channels))


_MODES: Final = {1: "L", 3: "RGB", 4: "RGBA"}


def _picture_coders() -> Mapping[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {
        "PNG": {"format": "PNG", "optimize": True},
        "WebP": {"format": "WEBP", "lossless": True, "quality": 100, "method": 6},
    }
    try:
        import_module("pillow_jxl")  # it makes itself known to Pillow
    except ImportError:
        return found
    return {**found, "JPEG XL": {"format": "JXL", "lossless": True, "effort": 9}}


def _pictured(picture: NDArray[np.uint8], settings: Mapping[str, Any]) -> int:
    from PIL import Image

    mode = _MODES[picture.shape[2]]
    with io.BytesIO() as file:
        Image.fromarray(picture[..., 0] if mode == "L" else picture, mode).save(file, **settings)
        return len(file.getvalue())


def _measured(name: str, n_bytes: int, code: Callable[[], int]) -> PackedSize:
    started = time.perf_counter()
    size = code()
    return PackedSize(name, size, 8.0 * size / max(1, n_bytes), time.perf_counter() - started)
