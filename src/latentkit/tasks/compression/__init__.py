"""Learning to compress: coders fitted to data."""

from __future__ import annotations

from latentkit.tasks.compression.pixels import PixelSettings, fit_pixel_coder

__all__ = ["PixelSettings", "fit_pixel_coder"]
