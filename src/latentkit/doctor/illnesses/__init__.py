"""What is looked for: one function for each illness, by name."""

from __future__ import annotations

from latentkit.doctor.illnesses import generator, inference, optimisation, overfitting, robustness, samples
from latentkit.doctor.illnesses.registry import Check, Sign, checks
from latentkit.doctor.illnesses.robustness import corruption_curves

__all__ = [
    "Check",
    "Sign",
    "checks",
    "corruption_curves",
    "generator",
    "inference",
    "optimisation",
    "overfitting",
    "robustness",
    "samples",
]
