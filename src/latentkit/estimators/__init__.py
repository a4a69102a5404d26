"""Estimators: a schema, a model and a trainer behind the scikit-learn interface."""

from latentkit.estimators.autoencoders import Autoencoder, DenoisingAutoencoder, SparseAutoencoder
from latentkit.estimators.resolving import LikelihoodWarning
from latentkit.estimators.runs import load
from latentkit.estimators.vae import VAE

__all__ = ["VAE", "Autoencoder", "DenoisingAutoencoder", "LikelihoodWarning", "SparseAutoencoder", "load"]
