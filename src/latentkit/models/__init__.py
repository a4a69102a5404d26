"""Wirings of encoder, prior and decoder."""

from latentkit.models.inference import inference_batch_size, iterate_batches, map_batches
from latentkit.models.specification import ModelSpecification, resolve_network, settle
from latentkit.models.vae import VariationalAutoencoder, WithPrior, models

__all__ = [
    "ModelSpecification",
    "VariationalAutoencoder",
    "WithPrior",
    "inference_batch_size",
    "iterate_batches",
    "map_batches",
    "models",
    "resolve_network",
    "settle",
]
