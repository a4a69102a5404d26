"""Networks: multilayer perceptrons, residual convolutional networks, and modules of the user's own."""

from __future__ import annotations

from latentkit.nn.activations import activations
from latentkit.nn.building import NetworkSpec, build_decoder, build_encoder, last_layer
from latentkit.nn.convolutional import ConvDecoder, ConvEncoder
from latentkit.nn.families import NetworkFamily, NetworkOptions, networks
from latentkit.nn.mlp import MLP
from latentkit.nn.spectral import SpectralNorm, normalize_spectrally

__all__ = [
    "MLP",
    "ConvDecoder",
    "ConvEncoder",
    "NetworkFamily",
    "NetworkOptions",
    "NetworkSpec",
    "SpectralNorm",
    "activations",
    "build_decoder",
    "build_encoder",
    "last_layer",
    "networks",
    "normalize_spectrally",
]
