"""A learnt coder beside classic ones, on the same data."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from latentkit.codec.coders import Coder
from latentkit.codec.images import Pixels
from latentkit.codec.lossy import LossyCoder
from latentkit.evaluation import (
    Distortion,
    PackedSize,
    RatePoint,
    bjontegaard_rate,
    classic_rates,
    classic_sizes,
    even_stacks,
)
from latentkit.tasks.compression.archiving import BLOCK_BYTES, compress, distortion_of
from latentkit.tasks.compression.contents import Contents

__all__ = ["OURS", "compare", "compare_rates", "rates_at_equal_psnr"]

#: What the archive without its model is called.
OURS = "latentkit"
_QUALITIES: Final = (10, 30, 50, 70, 90)
_MOST_PIXELS: Final = 1 << 22  # of images that are approximated to be compared


def compare(contents: Contents, coder: Coder) -> list[PackedSize]:
    """Return what a coder and classic ones make of contents, the smallest first.

    The learnt coder's figures are of archives, each block of which was decoded and compared: one without the model and
    one with it. Its time is that of coding alone, on all processors; those of the others are on one.

    Args:
        contents: What is compressed; of images the pixels.
        coder: Learnt from other data.
    """
    images = contents.images()
    is_even = len({image.shape for image in images}) == 1
    content = b"".join(map(np.ndarray.tobytes, images)) or b"".join(block for block, _ in contents.blocks(1 << 22))
    n_bytes = max(1, len(content))
    found = classic_sizes(content, np.stack(images) if is_even else None)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        compress(contents, Path(folder, "timed.lkz"), coder, embeds_model=False, verify=False)
        seconds = time.perf_counter() - started
        verify = True
        for name, embeds_model in ((OURS, False), (f"{OURS}, with its model", True)):
            archived = compress(contents, Path(folder, "archive.lkz"), coder, embeds_model=embeds_model, verify=verify)
            verify = archived.summary.n_mismatches > 0  # blocks are the same beside the model
            size = archived.summary.file_bytes
            found.append(PackedSize(name, size, 8.0 * size / n_bytes, seconds))
    return sorted(found, key=lambda size: size.n_bytes)


def compare_rates(contents: Contents, coder: LossyCoder) -> list[RatePoint]:
    """Return what a coder and classic ones make of images with loss, at several qualities each.

    Bits are those of the coder's blocks, each of which was decoded and compared, without the model; of the others as
    :func:`~latentkit.evaluation.classic_rates` has them.

    Args:
        contents: Of whose images about four million pixels are taken, evenly spread.
        coder: Learnt from other data.
    Returns:
        The coder's figures, and those of the others; none where no image has as many channels as the coder takes.
    """
    images = [image for image in contents.images() if image.shape[2] == coder.model.channels]
    if not images:
        return []
    n_pixels = sum(math.prod(image.shape[:2]) for image in images)
    some = images[:: math.ceil(n_pixels / _MOST_PIXELS)]
    return [*(_rate(coder.of(quality=quality), some) for quality in _QUALITIES), *classic_rates(some)]


def rates_at_equal_psnr(points: Sequence[RatePoint]) -> dict[str, float]:
    """Return how much more than each classic coder ours takes at equal PSNR, as a share; negative is less.

    Coders whose PSNR ours never reaches, or the other way round, are left out; see
    :func:`~latentkit.evaluation.bjontegaard_rate`.

    Args:
        points: As :func:`compare_rates` gives them.
    """
    curves: dict[str, list[tuple[float, float]]] = {}
    for point in sorted(points, key=lambda point: point.bits_per_pixel):
        curve = curves.setdefault(point.name, [])
        is_better = not curve or point.distortion.psnr > curve[-1][1]
        if is_better and math.isfinite(point.distortion.psnr):
            curve.append((point.bits_per_pixel, point.distortion.psnr))
    ours, found = curves.pop(OURS, []), {}
    for name, curve in curves.items():
        if min(len(ours), len(curve)) > 1 and max(ours[0][1], curve[0][1]) < min(ours[-1][1], curve[-1][1]):
            rates, decibels = zip(*curve, strict=True)
            own_rates, own_decibels = zip(*ours, strict=True)
            found[name] = bjontegaard_rate(rates, decibels, own_rates, own_decibels)
    return found


def _rate(coder: LossyCoder, images: list[NDArray[np.uint8]]) -> RatePoint:
    n_bytes, n_pixels, distortion = 0, 0, Distortion()
    for stack in even_stacks(images):
        step = max(1, BLOCK_BYTES // stack[0].size)
        for part in (stack[start : start + step] for start in range(0, len(stack), step)):
            block = Pixels.block(part)
            code, kept = coder.encode_known(block, len(part))
            assert coder.decode(code, len(part), len(kept)) == kept, "what is decoded is known beforehand"
            n_bytes, n_pixels = n_bytes + len(code), n_pixels + math.prod(part.shape[:3])
            distortion += distortion_of(block, kept, len(part))
    return RatePoint(OURS, coder.quality, 8.0 * n_bytes / n_pixels, distortion)
