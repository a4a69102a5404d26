"""Networks: multilayer perceptrons, residual convolutional networks, and modules of the user's own."""

from __future__ import annotations

from latentkit.nn.activations import activations
from latentkit.nn.attention import TransformerDecoder, TransformerEncoder
from latentkit.nn.building import NetworkSpec, build_decoder, build_encoder, last_layer
from latentkit.nn.columns import CellEmbedding, CodeVectors, ColumnDecoder, ColumnEncoder, ColumnWalk
from latentkit.nn.convolutional import ConvDecoder, ConvEncoder
from latentkit.nn.families import NetworkFamily, NetworkOptions, networks
from latentkit.nn.grids import GridDecoder, GridEncoder
from latentkit.nn.members import STEADY_WIDTH, MemberLinear, MemberPerceptron
from latentkit.nn.mlp import MLP
from latentkit.nn.quantizers import Quantized, Quantizer, quantizers
from latentkit.nn.residual import ResidualConvolutions
from latentkit.nn.sequences import SequenceDecoder, SequenceEncoder
from latentkit.nn.spectral import SpectralNorm, normalize_spectrally
from latentkit.nn.tokens import SequenceWalk, TokenDecoder, TokenEncoder

__all__ = [
    "MLP",
    "STEADY_WIDTH",
    "CellEmbedding",
    "CodeVectors",
    "ColumnDecoder",
    "ColumnEncoder",
    "ColumnWalk",
    "ConvDecoder",
    "ConvEncoder",
    "GridDecoder",
    "GridEncoder",
    "MemberLinear",
    "MemberPerceptron",
    "NetworkFamily",
    "NetworkOptions",
    "NetworkSpec",
    "Quantized",
    "Quantizer",
    "ResidualConvolutions",
    "SequenceDecoder",
    "SequenceEncoder",
    "SequenceWalk",
    "SpectralNorm",
    "TokenDecoder",
    "TokenEncoder",
    "TransformerDecoder",
    "TransformerEncoder",
    "activations",
    "build_decoder",
    "build_encoder",
    "last_layer",
    "networks",
    "quantizers",
    "normalize_spectrally",
]
