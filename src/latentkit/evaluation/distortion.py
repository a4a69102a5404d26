"""Errors of images that are kept approximately, all of them together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.evaluation.pairs import MS_SSIM_LEAST_SIDE, ms_ssim

__all__ = ["Distortion"]

_WHITE: Final = 255.0
_LUMA: Final = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)


@final
@dataclass(frozen=True, slots=True)
class Distortion:
    """Errors of images of 8 bits, which add up.

    Attributes:
        n_images: How many images are approximated.
        n_values: How many pixels they have, each channel for itself.
        squared_error: Sum over these.
        n_similar: How many of the images are large enough for MS-SSIM.
        similarity: Sum of the MS-SSIM of luma over these.

    Example:
        >>> image = np.zeros((1, 2, 2, 1), np.uint8)
        >>> round(Distortion.between(image, image + 1).psnr, 2)
        48.13
    """

    n_images: int = 0
    n_values: int = 0
    squared_error: int = 0
    n_similar: int = 0
    similarity: float = 0.0

    @classmethod
    def between(cls, images: NDArray[np.uint8], others: NDArray[np.uint8]) -> Distortion:
        """Return that of images, shape (n, height, width, channels), and what stands for them."""
        pairs = list(zip(images, others, strict=True))
        error = sum(int(np.square(a.astype(np.int32) - b).sum(dtype=np.int64)) for a, b in pairs)
        if min(images.shape[1:3]) < MS_SSIM_LEAST_SIDE:
            return cls(len(images), images.size, error)
        return cls(len(images), images.size, error, len(images), sum(_similarity(a, b) for a, b in pairs))

    def __add__(self, other: Distortion) -> Distortion:
        return Distortion(
            self.n_images + other.n_images,
            self.n_values + other.n_values,
            self.squared_error + other.squared_error,
            self.n_similar + other.n_similar,
            self.similarity + other.similarity,
        )

    @property
    def psnr(self) -> float:
        """Peak signal-to-noise ratio of all pixels together, decibels; infinite where there is no error."""
        return 10.0 * math.log10(_WHITE**2 * self.n_values / self.squared_error) if self.squared_error else math.inf

    @property
    def ms_ssim(self) -> float | None:
        """Mean MS-SSIM of luma, over images that are large enough; None where none is."""
        return self.similarity / self.n_similar if self.n_similar else None


def _similarity(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    weights = np.array(_LUMA if image.shape[-1] == len(_LUMA) else (1.0,))
    return float(ms_ssim(*((part @ weights)[None] for part in (image, other)), data_range=_WHITE))
