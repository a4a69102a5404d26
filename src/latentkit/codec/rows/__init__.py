"""Lossless coding of tables: lines of text, column by column."""

from __future__ import annotations

from latentkit.codec.rows.coder import RowCoder

__all__ = ["RowCoder"]
