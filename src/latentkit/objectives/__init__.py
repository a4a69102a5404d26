"""Objectives: the bounds that training maximises, one value per example, in nats."""

from __future__ import annotations

from latentkit.objectives.elbo import Elbo
from latentkit.objectives.importance import log_importance_weights, log_mean_exp
from latentkit.objectives.importance_weighted import Dreg, Iwae, Stl
from latentkit.objectives.phases import objectives
from latentkit.objectives.reconstruction import Reconstruction
from latentkit.objectives.schedules import ConstantKl, CyclicalKl, KlSchedule, LinearKl, kl_schedule, kl_schedules

__all__ = [
    "ConstantKl",
    "CyclicalKl",
    "Dreg",
    "Elbo",
    "Iwae",
    "KlSchedule",
    "LinearKl",
    "Reconstruction",
    "Stl",
    "kl_schedule",
    "kl_schedules",
    "log_importance_weights",
    "log_mean_exp",
    "objectives",
]
