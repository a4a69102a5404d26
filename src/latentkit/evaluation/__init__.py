"""Metrics: tensors to numbers."""

from __future__ import annotations

from latentkit.evaluation.frechet import frechet_distance, random_convolution_features
from latentkit.evaluation.latents import LatentSummary, active_units, summarize_latents
from latentkit.evaluation.likelihood import LikelihoodEstimate, bits_per_dimension, importance_bound
from latentkit.evaluation.mixture_posteriors import MixtureEstimate, miselbo

__all__ = [
    "LatentSummary",
    "LikelihoodEstimate",
    "MixtureEstimate",
    "active_units",
    "bits_per_dimension",
    "frechet_distance",
    "importance_bound",
    "miselbo",
    "random_convolution_features",
    "summarize_latents",
]
