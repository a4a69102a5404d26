"""Grids and strips of images as PNG, on a transparent ground so that they stand on light and dark pages alike."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Picture", "grid", "heat", "heated", "pairs"]

Pixels = NDArray[np.uint8]

#: Sides of a tile in the file, in pixels: smaller images are enlarged by whole factors, larger ones are reduced.
SMALLEST_TILE, LARGEST_TILE = 96, 96


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG and the width at which it shall be shown.

    Attributes:
        png: The file.
        width: Width on the page, CSS pixels.
        height: Height on the page, CSS pixels.
    """

    png: bytes
    width: int
    height: int


def grid(images: Pixels, *, columns: int) -> Picture:
    """Return images side by side, row after row.

    Args:
        images: Shape (n, height, width) or (n, height, width, channels) with 1 to 4 channels.
        columns: Images in a row.
    """
    return _compose(images, min(columns, len(images)), gaps=None)


def pairs(above: Pixels, below: Pixels, *, columns: int) -> Picture:
    """Return two equally long rows of images, one above the other, continued below where `columns` are too few.

    Args:
        above: Shape (n, height, width[, channels]).
        below: Likewise.
        columns: Images in a row.
    """
    n, columns = len(above), min(columns, len(above))
    parts = [
        part
        for start in range(0, n, columns)
        for part in (above[start : start + columns], below[start : start + columns])
    ]
    blank = np.zeros((1, *above.shape[1:]), np.uint8)
    short = columns - (n % columns or columns)
    rows = [*parts[:-2], *(np.concatenate([part, *[blank] * short]) for part in parts[-2:])]
    n_missing = [0] * (len(rows) - 2) + [short, short]
    return _compose(np.concatenate(rows), columns, gaps=2, missing=n_missing)


def heat(image: Pixels, values: NDArray[np.float64], other: Pixels) -> Pixels:
    """Return an image, a map of values over its pixels, and another image, to stand side by side.

    Args:
        image: Shape (height, width) or (height, width, channels).
        values: One for each pixel, shape (height, width); 0 and below is black, the largest is the lightest.
        other: As `image`.
    Returns:
        Shape (3, height, width, 4).
    """
    return np.stack([_rgba(image), heated(values), _rgba(other)])


def heated(values: NDArray[np.float64]) -> Pixels:
    """Return values over pixels as colours, shape (height, width, 4): 0 and below is black, the largest the lightest.

    Args:
        values: One for each pixel, shape (height, width).
    """
    import matplotlib as mpl

    high = float(values.max())
    shares = np.clip(values, 0.0, None) / high if high > 0 else np.zeros_like(values)
    return np.asarray(mpl.colormaps["magma"](shares, bytes=True), np.uint8)


def _compose(images: Pixels, columns: int, *, gaps: int | None, missing: list[int] | None = None) -> Picture:
    """Lay out tiles; with `gaps`, every so many rows are set apart; the last `missing` tiles of each row stay empty."""
    tiles = np.stack([_tile(image) for image in images])
    n, height, width, _ = tiles.shape
    rows = -(-n // columns)
    inner, outer = max(2, width // 28), max(8, width // 7)
    tops = [row * (height + inner) + (0 if gaps is None else (row // gaps) * (outer - inner)) for row in range(rows)]
    canvas = np.zeros((tops[-1] + height, columns * (width + inner) - inner, 4), np.uint8)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        if missing is not None and column >= columns - missing[row]:
            continue
        left = column * (width + inner)
        canvas[tops[row] : tops[row] + height, left : left + width] = tile
    return Picture(_png(canvas), canvas.shape[1] // 2, canvas.shape[0] // 2)


def _tile(image: Pixels) -> Pixels:
    """Return one image as RGBA of the size of a tile."""
    rgba = _rgba(image)
    side = max(rgba.shape[:2])
    if side < SMALLEST_TILE:
        factor = -(-SMALLEST_TILE // side)
        return np.ascontiguousarray(rgba.repeat(factor, axis=0).repeat(factor, axis=1))
    if side > LARGEST_TILE:
        from PIL import Image

        height, width = (max(1, round(length * LARGEST_TILE / side)) for length in rgba.shape[:2])
        small = Image.fromarray(rgba).resize((width, height), Image.Resampling.LANCZOS)
        return np.asarray(small, np.uint8)
    return rgba


def _rgba(image: Pixels) -> Pixels:
    if image.ndim == 2:
        image = image[..., None]
    channels = image.shape[-1]
    colour = image[..., :3] if channels >= 3 else np.repeat(image[..., :1], 3, axis=-1)
    alpha = image[..., -1:] if channels in (2, 4) else np.full_like(image[..., :1], 255)
    return np.concatenate([colour, alpha], axis=-1)


def _png(canvas: Any) -> bytes:
    from PIL import Image

    image = Image.fromarray(canvas)
    if (canvas[..., 0] == canvas[..., 1]).all() and (canvas[..., 1] == canvas[..., 2]).all():
        image = image.convert("LA")
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
