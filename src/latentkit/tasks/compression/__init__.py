"""Models that compress, learnt from data like those that are to be compressed."""

from __future__ import annotations

from latentkit.tasks.compression.rows import fit_row_coder

__all__ = ["fit_row_coder"]
