"""Objectives: the bounds that training maximises, one value per example, in nats."""

from __future__ import annotations

from latentkit.objectives.adversarial import GanObjective, VaeGanObjective, adversarial_losses
from latentkit.objectives.elbo import Elbo
from latentkit.objectives.importance import log_importance_weights, log_mean_exp
from latentkit.objectives.importance_weighted import Dreg, Iwae, Stl
from latentkit.objectives.latent import GivenLatents, LearntLatents
from latentkit.objectives.phases import objectives
from latentkit.objectives.quantized import CodeLikelihood, VectorQuantized
from latentkit.objectives.reconstruction import Reconstruction
from latentkit.objectives.schedules import ConstantKl, CyclicalKl, KlSchedule, LinearKl, kl_schedule, kl_schedules

__all__ = [
    "CodeLikelihood",
    "ConstantKl",
    "CyclicalKl",
    "Dreg",
    "Elbo",
    "GanObjective",
    "GivenLatents",
    "Iwae",
    "KlSchedule",
    "LearntLatents",
    "LinearKl",
    "Reconstruction",
    "Stl",
    "VectorQuantized",
    "VaeGanObjective",
    "adversarial_losses",
    "kl_schedule",
    "kl_schedules",
    "log_importance_weights",
    "log_mean_exp",
    "objectives",
]
