"""What classic coders that approximate make of images: bits, and what is left of them."""

from __future__ import annotations

import io
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation.compression import mosaic
from latentkit.evaluation.distortion import Distortion

__all__ = ["RatePoint", "classic_rates", "even_stacks"]

Images = NDArray[np.uint8]

_QUALITIES: Final = (10, 30, 50, 70, 90)
_MOST_SIDE: Final = 8192  # of a picture; WebP ends at 16,383


@final
@dataclass(frozen=True, slots=True)
class RatePoint:
    """What a coder makes of images at one of its qualities.

    Attributes:
        name: Of the coder.
        quality: As the coder counts it.
        bits_per_pixel: For each pixel of them, all channels together, bits.
        distortion: Of what comes back.
    """

    name: str
    quality: int
    bits_per_pixel: float
    distortion: Distortion


def classic_rates(images: Sequence[Images]) -> list[RatePoint]:
    """Return what JPEG and WebP make of images at five qualities each.

    Images of one size stand side by side as one picture, so that headers do not count. JPEG of colours is measured with
    colours at full and at half resolution.

    Args:
        images: Each of shape (height, width, channels), with 1 or 3 channels.
    Raises:
        InvalidParameterError: If there are none, or they are not of this form.
    """
    if not images or {image.shape[2:] for image in images} - {(1,), (3,)}:
        raise InvalidParameterError("images must be of shape (height, width, 1 or 3), and at least one.")
    n_pixels = sum(math.prod(image.shape[:2]) for image in images)
    found = []
    for name, settings in _coders(is_grey=images[0].shape[2] == 1).items():
        for quality in _QUALITIES:
            n_bytes, distortion = 0, Distortion()
            for stack in _stacks_of_a_picture(images):
                size, kept = _kept(stack, {**settings, "quality": quality})
                n_bytes, distortion = n_bytes + size, distortion + Distortion.between(stack, kept)
            found.append(RatePoint(name, quality, 8.0 * n_bytes / n_pixels, distortion))
    return found


def even_stacks(images: Sequence[Images]) -> Iterator[Images]:
    """Yield images of one size together, shape (n, height, width, channels), the sizes in the order of their first."""
    by_shape = defaultdict(list)
    for image in images:
        by_shape[image.shape].append(image)
    yield from map(np.stack, by_shape.values())


def _stacks_of_a_picture(images: Sequence[Images]) -> Iterator[Images]:
    for stack in even_stacks(images):
        step = max(1, _MOST_SIDE // max(stack.shape[1:3])) ** 2
        yield from (stack[start : start + step] for start in range(0, len(stack), step))


def _coders(*, is_grey: bool) -> dict[str, dict[str, Any]]:
    jpeg = {"format": "JPEG", "optimize": True}
    of_colours = {"JPEG 4:4:4": {**jpeg, "subsampling": 0}, "JPEG 4:2:0": {**jpeg, "subsampling": 2}}
    return {**({"JPEG": jpeg} if is_grey else of_colours), "WebP": {"format": "WEBP", "method": 6}}


def _kept(stack: Images, settings: dict[str, Any]) -> tuple[int, Images]:
    """Bytes of images as one picture, and what it shows in their place."""
    from PIL import Image

    n, height, width, channels = stack.shape
    picture = mosaic(stack)
    with io.BytesIO() as file:
        Image.fromarray(picture[..., 0] if channels == 1 else picture).save(file, **settings)
        size = len(file.getvalue())
        shown = np.asarray(Image.open(file).convert("L" if channels == 1 else "RGB"))
    rows = shown.reshape(picture.shape[0] // height, height, picture.shape[1] // width, width, channels)
    return size, rows.swapaxes(1, 2).reshape(-1, height, width, channels)[:n]
