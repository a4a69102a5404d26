"""What makes compression exact: networks of whole numbers, probabilities of whole numbers, an entropy coder."""

from __future__ import annotations

from latentkit.codec.ans import AnsStack
from latentkit.codec.exact import ExactLayer, ExactNetwork, exact_arithmetic
from latentkit.codec.frequencies import FrequencyTables, integer_frequencies

__all__ = [
    "AnsStack",
    "ExactLayer",
    "ExactNetwork",
    "FrequencyTables",
    "exact_arithmetic",
    "integer_frequencies",
]
