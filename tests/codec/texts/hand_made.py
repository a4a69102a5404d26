"""A coder of texts that was not learnt: all contexts weigh alike."""

from __future__ import annotations

import numpy as np

from latentkit.codec import ExactLayer, ExactNetwork, TextCoder
from latentkit.codec.texts.chances import INPUTS, N_INPUTS, N_OUTPUTS, OUTPUTS

WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "dog", "ran", "home", "Über", "never", "27", "it's")


def network(weight: int = 90, n_inputs: int = N_INPUTS) -> ExactNetwork:
    """One that gives every context the same weight, in 1/256."""
    bias = np.full(N_OUTPUTS, weight)
    bias[-1] = 0
    weights = np.zeros((N_OUTPUTS, n_inputs), np.int64)
    return ExactNetwork([ExactLayer(weights, bias, np.zeros(N_OUTPUTS, np.int64), inputs=INPUTS, outputs=OUTPUTS)])


def sentences(n: int, seed: int = 0) -> bytes:
    """So many lines of some words."""
    random = np.random.default_rng(seed)
    lines = [" ".join(WORDS[k] for k in random.integers(0, len(WORDS), random.integers(2, 9))) for _ in range(n)]
    return "".join(f"{line.capitalize()}.\n" for line in lines).encode()


def coder(known: bytes | None = None) -> TextCoder:
    """One that knows some sentences, or a text."""
    return TextCoder(sentences(80, seed=1) if known is None else known, network())
