"""Metrics: tensors to numbers."""

from __future__ import annotations

from latentkit.evaluation.classifier import ClassifierFeatures
from latentkit.evaluation.features import (
    FeatureMap,
    InceptionFeatures,
    NetworkFeatures,
    PrincipalComponentFeatures,
    RandomFeatures,
    RowFeatures,
    random_convolution_features,
)
from latentkit.evaluation.frechet import frechet_distance
from latentkit.evaluation.kernel import KernelDistance, kernel_distance
from latentkit.evaluation.latents import LatentSummary, active_units, summarize_latents
from latentkit.evaluation.likelihood import LikelihoodEstimate, bits_per_dimension, importance_bound
from latentkit.evaluation.manifold import DensityCoverage, PrecisionRecall, density_coverage, precision_recall
from latentkit.evaluation.memorisation import CopyRate, copy_rate
from latentkit.evaluation.pairs import psnr, ssim
from latentkit.evaluation.two_sample import TwoSampleAuc, two_sample_auc

__all__ = [
    "ClassifierFeatures",
    "CopyRate",
    "DensityCoverage",
    "FeatureMap",
    "InceptionFeatures",
    "KernelDistance",
    "LatentSummary",
    "LikelihoodEstimate",
    "NetworkFeatures",
    "PrecisionRecall",
    "PrincipalComponentFeatures",
    "RandomFeatures",
    "RowFeatures",
    "TwoSampleAuc",
    "active_units",
    "bits_per_dimension",
    "copy_rate",
    "density_coverage",
    "frechet_distance",
    "importance_bound",
    "kernel_distance",
    "precision_recall",
    "psnr",
    "random_convolution_features",
    "ssim",
    "summarize_latents",
    "two_sample_auc",
]
