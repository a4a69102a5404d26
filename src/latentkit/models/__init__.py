"""Wirings of encoder, prior and decoder."""

from latentkit.models.inference import map_batches
from latentkit.models.vae import VariationalAutoencoder, models

__all__ = ["VariationalAutoencoder", "map_batches", "models"]
