"""What makes compression exact: networks of whole numbers, probabilities of whole numbers, an entropy coder."""

from __future__ import annotations

from latentkit.codec.ans import AnsStack
from latentkit.codec.bits_back import BitsBackCoder, GaussianLatents
from latentkit.codec.coders import Coder, CoderState, coder_from_state, coders
from latentkit.codec.exact import ExactLayer, ExactNetwork, Span, exact_arithmetic, exact_layer, exact_perceptron
from latentkit.codec.frequencies import FrequencyTables, integer_frequencies
from latentkit.codec.lossy import LossyCoder, LossyModel
from latentkit.codec.mixtures import MixtureTables
from latentkit.codec.pixels import PixelCoder
from latentkit.codec.rows import RowCoder
from latentkit.codec.texts import TextCoder

__all__ = [
    "AnsStack",
    "BitsBackCoder",
    "Coder",
    "CoderState",
    "ExactLayer",
    "ExactNetwork",
    "FrequencyTables",
    "GaussianLatents",
    "MixtureTables",
    "PixelCoder",
    "RowCoder",
    "LossyCoder",
    "LossyModel",
    "Span",
    "TextCoder",
    "coder_from_state",
    "coders",
    "exact_arithmetic",
    "exact_layer",
    "exact_perceptron",
    "integer_frequencies",
]
