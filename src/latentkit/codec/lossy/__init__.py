"""Lossy compression of images, whose decoder is of whole numbers."""

from __future__ import annotations

from latentkit.codec.lossy.coder import ImageEncoder, LossyCoder, LossyModel
from latentkit.codec.lossy.conversion import Grid, exact_transform
from latentkit.codec.lossy.latents import LatentPass, Prediction, Predictions, QualitySteps, residual_tables
from latentkit.codec.lossy.sequences import SymbolReader, SymbolWriter
from latentkit.codec.transforms import ExactConvolution, ExactResidual, ExactShuffle, ExactTransform

__all__ = [
    "ExactConvolution",
    "ExactResidual",
    "ExactShuffle",
    "ExactTransform",
    "Grid",
    "ImageEncoder",
    "LatentPass",
    "LossyCoder",
    "LossyModel",
    "Prediction",
    "Predictions",
    "QualitySteps",
    "SymbolReader",
    "SymbolWriter",
    "exact_transform",
    "residual_tables",
]
