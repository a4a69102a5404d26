"""Metrics: tensors to numbers."""

from __future__ import annotations

from latentkit.evaluation.frechet import frechet_distance, random_convolution_features
from latentkit.evaluation.latents import LatentSummary, active_units, summarize_latents
from latentkit.evaluation.likelihood import (
    LikelihoodEstimate,
    bits_per_dimension,
    importance_bound,
    reconstruction_likelihood,
)

__all__ = [
    "LatentSummary",
    "LikelihoodEstimate",
    "active_units",
    "bits_per_dimension",
    "frechet_distance",
    "importance_bound",
    "random_convolution_features",
    "reconstruction_likelihood",
    "summarize_latents",
]
