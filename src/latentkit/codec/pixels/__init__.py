"""Images coded a pixel at a time, each by a network that has seen the pixels before it."""

from __future__ import annotations

from latentkit.codec.pixels.coder import PixelCoder
from latentkit.codec.pixels.context import Context
from latentkit.codec.pixels.neighbourhood import Neighbourhood

__all__ = ["Context", "Neighbourhood", "PixelCoder"]
