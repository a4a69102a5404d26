"""Priors fitted after training to where the data lie in the latent space."""

from latentkit.tasks.ex_post.conditional import (
    Conditions,
    conditional_sections,
    fit_conditional_prior,
    restore_conditional_prior,
)
from latentkit.tasks.ex_post.family import ExPostFamily, ExPostPriors, FitBudget, Latents, ex_post_priors
from latentkit.tasks.ex_post.mixture import MixtureFamily, fit_class_priors, fit_mixture_prior
from latentkit.tasks.ex_post.networks import FlowFamily, FlowMatchingFamily, NetworkFamily, SecondStageFamily

__all__ = [
    "Conditions",
    "ExPostFamily",
    "ExPostPriors",
    "FitBudget",
    "FlowFamily",
    "FlowMatchingFamily",
    "Latents",
    "MixtureFamily",
    "NetworkFamily",
    "SecondStageFamily",
    "conditional_sections",
    "ex_post_priors",
    "fit_class_priors",
    "fit_conditional_prior",
    "fit_mixture_prior",
    "restore_conditional_prior",
]
