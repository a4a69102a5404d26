"""Objectives: the bounds that training maximises, one value per example, in nats."""

from __future__ import annotations

from latentkit.objectives.elbo import Elbo
from latentkit.objectives.phases import objectives

__all__ = ["Elbo", "objectives"]
