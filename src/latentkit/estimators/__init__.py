"""Estimators: a schema, a model and a trainer behind the scikit-learn interface."""

from latentkit.estimators.autoencoders import Autoencoder, DenoisingAutoencoder, SparseAutoencoder
from latentkit.estimators.comparing import compare_models
from latentkit.estimators.compressor import Compressor
from latentkit.estimators.detector import AnomalyDetector
from latentkit.estimators.explaining import LatentExplanation
from latentkit.estimators.explanations import AnomalyExplanation, Change
from latentkit.estimators.gan import GAN
from latentkit.estimators.generator import Generator
from latentkit.estimators.hierarchical import HierarchicalVAE
from latentkit.estimators.imputer import TableImputer
from latentkit.estimators.pyod import PyodAdapter
from latentkit.estimators.quantized import VQVAE
from latentkit.estimators.resolving import LikelihoodWarning
from latentkit.estimators.runs import load
from latentkit.estimators.text_tasks import TokenScore
from latentkit.estimators.vae import VAE
from latentkit.estimators.vaegan import VAEGAN

__all__ = [
    "GAN",
    "VAE",
    "VAEGAN",
    "VQVAE",
    "AnomalyDetector",
    "AnomalyExplanation",
    "Autoencoder",
    "Change",
    "Compressor",
    "DenoisingAutoencoder",
    "Generator",
    "HierarchicalVAE",
    "LatentExplanation",
    "PyodAdapter",
    "SparseAutoencoder",
    "LikelihoodWarning",
    "TableImputer",
    "TokenScore",
    "compare_models",
    "load",
]
