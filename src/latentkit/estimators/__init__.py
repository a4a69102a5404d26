"""Estimators: a schema, a model and a trainer behind the scikit-learn interface."""

from latentkit.estimators.hierarchical import HierarchicalVAE
from latentkit.estimators.quantized import VQVAE
from latentkit.estimators.resolving import LikelihoodWarning
from latentkit.estimators.runs import load
from latentkit.estimators.vae import VAE

__all__ = ["VAE", "VQVAE", "HierarchicalVAE", "LikelihoodWarning", "load"]
