"""Odd rows: scores turned into alarms."""

from __future__ import annotations

from latentkit.tasks.detection.thresholds import (
    Tail,
    benjamini_hochberg,
    conformal_cut,
    conformal_p_values,
    fit_tail,
    rate_cut,
)

__all__ = ["Tail", "benjamini_hochberg", "conformal_cut", "conformal_p_values", "fit_tail", "rate_cut"]
