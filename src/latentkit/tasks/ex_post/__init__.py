"""Priors fitted after training to where the data lie in the latent space."""

from latentkit.tasks.ex_post.family import ExPostFamily, ExPostPriors, FitBudget, Latents, ex_post_priors
from latentkit.tasks.ex_post.mixture import MixtureFamily, fit_class_priors, fit_mixture_prior
from latentkit.tasks.ex_post.networks import FlowFamily, FlowMatchingFamily, NetworkFamily, SecondStageFamily

__all__ = [
    "ExPostFamily",
    "ExPostPriors",
    "FitBudget",
    "FlowFamily",
    "FlowMatchingFamily",
    "Latents",
    "MixtureFamily",
    "NetworkFamily",
    "SecondStageFamily",
    "ex_post_priors",
    "fit_class_priors",
    "fit_mixture_prior",
]
