"""Learning to compress: coders fitted to data, and fitted models as coders."""

from __future__ import annotations

from latentkit.tasks.compression.bits_back import bits_back_coder
from latentkit.tasks.compression.pixels import PixelSettings, fit_pixel_coder

__all__ = ["PixelSettings", "bits_back_coder", "fit_pixel_coder"]
