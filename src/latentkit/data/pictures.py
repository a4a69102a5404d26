"""Grids of pictures, to look at many at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from latentkit.core.errors import DataError
from latentkit.core.parameters import check_integer
from latentkit.data.dataset import AnyArray

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["image_grid", "to_image"]


def to_image(pixels: AnyArray) -> Image.Image:
    """Return bytes as a PIL image.

    Args:
        pixels: uint8, shape (height, width) or (height, width, channels) with 1 to 4 channels.
    Raises:
        DataError: If they are of another dtype or shape.
    """
    from PIL import Image

    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[-1] > 4):
        raise DataError(
            "pictures need uint8 of shape (height, width) or (height, width, channels) with at most 4 channels; got "
            f"{pixels.dtype} of shape {pixels.shape}. Images of other values become such with schema.pictures(x)"
        )
    return Image.fromarray(np.ascontiguousarray(pixels))


def image_grid(images: AnyArray, *, columns: int | None = None, padding: int = 2) -> Image.Image:
    """Return images side by side, row by row.

    Args:
        images: uint8, shape (n, height, width) or (n, height, width, channels).
        columns: Images in a row; by default the grid is as square as it can be.
        padding: White pixels between and around the images; a single image gets none.
    Raises:
        DataError: If there are no images, or they are of another dtype or shape.

    Example:
        >>> image_grid(np.zeros((6, 8, 8), dtype=np.uint8), columns=3).size
        (32, 22)
    """
    check_integer("padding", padding)
    if images.ndim not in (3, 4) or len(images) == 0 or images.dtype != np.uint8:
        raise DataError(
            "a grid needs uint8 images, shape (n, height, width) or (n, height, width, channels), at least one; got "
            f"{images.dtype} of shape {images.shape}. Images of other values become such with schema.pictures(x)"
        )
    n, height, width, *_ = images.shape
    if n == 1:
        return to_image(images[0])
    columns = min(n, check_integer("columns", columns, low=1) if columns is not None else math.ceil(math.sqrt(n)))
    rows = math.ceil(n / columns)
    down, across = height + padding, width + padding
    canvas = np.full((rows * down + padding, columns * across + padding, *images.shape[3:]), 255, np.uint8)
    for index, image in enumerate(images):
        top, left = padding + index // columns * down, padding + index % columns * across
        canvas[top : top + height, left : left + width] = image
    return to_image(canvas)
