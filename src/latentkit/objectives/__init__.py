"""Objectives: the bounds that training maximises, one value per example, in nats."""

from __future__ import annotations

from latentkit.objectives.adversarial import GanObjective, VaeGanObjective, adversarial_losses
from latentkit.objectives.combined_bounds import Ciwae, Miwae, Piwae
from latentkit.objectives.dip import Dip
from latentkit.objectives.discrepancy import Info, kernels, maximum_mean_discrepancy
from latentkit.objectives.elbo import Elbo
from latentkit.objectives.ensemble import MemberElbos
from latentkit.objectives.factor import Factor, permute_dimensions
from latentkit.objectives.importance import log_importance_weights, log_mean_exp
from latentkit.objectives.importance_weighted import Dreg, Iwae, Stl
from latentkit.objectives.latent import GivenLatents, LearntLatents
from latentkit.objectives.learnt_priors import FlowMatching, MaximumLikelihood
from latentkit.objectives.phases import objectives
from latentkit.objectives.quantized import VectorQuantized
from latentkit.objectives.reconstruction import Reconstruction, corruptions
from latentkit.objectives.schedules import ConstantKl, CyclicalKl, KlSchedule, LinearKl, kl_schedule, kl_schedules
from latentkit.objectives.semi_amortized import SemiAmortized
from latentkit.objectives.total_correlation import BetaTc, KlDecomposition, kl_decomposition

__all__ = [
    "BetaTc",
    "Ciwae",
    "ConstantKl",
    "CyclicalKl",
    "Dip",
    "Dreg",
    "Elbo",
    "Factor",
    "FlowMatching",
    "GanObjective",
    "GivenLatents",
    "Info",
    "Iwae",
    "KlDecomposition",
    "KlSchedule",
    "LearntLatents",
    "LinearKl",
    "MaximumLikelihood",
    "MemberElbos",
    "Miwae",
    "Piwae",
    "Reconstruction",
    "SemiAmortized",
    "Stl",
    "VaeGanObjective",
    "VectorQuantized",
    "adversarial_losses",
    "corruptions",
    "kernels",
    "kl_decomposition",
    "kl_schedule",
    "kl_schedules",
    "log_importance_weights",
    "log_mean_exp",
    "maximum_mean_discrepancy",
    "objectives",
    "permute_dimensions",
]
