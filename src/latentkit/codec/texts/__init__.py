"""Lossless coding of texts: byte by byte, by what followed the like in texts that are known."""

from __future__ import annotations

from latentkit.codec.texts.coder import TextCoder

__all__ = ["TextCoder"]
