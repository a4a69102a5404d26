"""Learns a coder of texts from a text."""

from __future__ import annotations

import itertools
import time
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.codec.exact import ExactNetwork, exact_perceptron
from latentkit.codec.texts import TextCoder
from latentkit.codec.texts.chances import INPUTS, N_INPUTS, N_OUTPUTS, OUTPUTS, WEIGHTS_PER_ONE, features
from latentkit.codec.texts.coder import MOST_KNOWN, bit_counts
from latentkit.codec.texts.index import TextIndex, keys_of
from latentkit.core.errors import UnfitDataError
from latentkit.core.parameters import check_integer, check_real
from latentkit.core.seeds import generator

__all__ = ["fit_text_coder", "known_part"]

_MOST_SAMPLES: Final = 1 << 17  # bytes whose bits the network learns from
_LEAST_BYTES: Final = 64
_PARTS: Final = 16  # of a text that is too long to be known
_N_HIDDEN: Final = 32
_INPUT_STEP: Final = 1 / 64  # what an input of 1 is worth
_WEIGHT_BITS: Final = 10
_ACTIVATION_BITS: Final = 9
_LEARNING_RATE: Final = 0.01
_BATCH: Final = 2048
_FIRST_WEIGHT: Final = 0.2  # of each context
_CLOCK_STEPS: Final = 16  # after which the time is looked at


def fit_text_coder(text: bytes, *, seed: int = 0, n_epochs: int = 3, max_seconds: float = 60.0) -> TextCoder:
    """Return a coder of texts like this one.

    The coder holds the text, of one longer than 1 MiB parts of it, evenly spread. The network that weighs
    contexts learns from what followed them elsewhere in the text: each byte is taken out of the counts by which it is
    foretold itself.

    Args:
        text: Any bytes.
        seed: Of what is drawn. The same seed, text and machine give the same coder, unless the time runs out.
        n_epochs: Passes over at most 128 Ki bytes.
        max_seconds: After which learning ends, done or not.

    Raises:
        UnfitDataError: If there is too little to learn from.
        InvalidParameterError: If an option has a value that it cannot have.

    Example:
        >>> text = b"the cat sat on the mat and the dog sat on the cat" * 5
        >>> coder = fit_text_coder(text, n_epochs=1)
        >>> code = coder.encode(b"the dog sat on the mat", 1)
        >>> len(code) < 12, coder.decode(code, 1, 22)
        (True, b'the dog sat on the mat')
    """
    n_epochs = check_integer("n_epochs", n_epochs, low=1)
    max_seconds = check_real("max_seconds", max_seconds, low=0.0)
    if len(text) < _LEAST_BYTES:
        raise UnfitDataError(f"{len(text)} bytes of text are too few to learn from: {_LEAST_BYTES} are the least.")
    known = known_part(text)
    torch_random = generator(seed, "texts")
    inputs, odds, bits = _examples(known, np.random.default_rng(seed))
    network = _Weighing(torch_random)
    _train(network, inputs, odds, bits, torch_random, n_epochs=n_epochs, max_seconds=max_seconds)
    return TextCoder(known, network.exact(inputs))


def known_part(text: bytes) -> bytes:
    """Return a text, or as many parts of it, evenly spread, as a coder may know."""
    if len(text) <= MOST_KNOWN:
        return text
    size = MOST_KNOWN // _PARTS
    return b"".join(text[start : start + size] for start in range(0, len(text) - size + 1, len(text) // _PARTS))


class _Weighing(nn.Module):
    """What becomes the network of :class:`~latentkit.codec.texts.chances.BitChances`."""

    def __init__(self, random: torch.Generator) -> None:
        super().__init__()
        self.hidden, self.weights = nn.Linear(N_INPUTS, _N_HIDDEN), nn.Linear(_N_HIDDEN, N_OUTPUTS)
        for layer in (self.hidden, self.weights):
            bound = layer.in_features**-0.5
            nn.init.uniform_(layer.weight, -bound, bound, generator=random)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.weights.weight *= 0.1
            self.weights.bias[:-1] = _FIRST_WEIGHT

    def forward(self, inputs: Tensor, odds: Tensor) -> Tensor:
        """Return logits, shape (n,), for inputs (n, inputs) and log-odds (n, contexts), nats."""
        weights = self.weights(functional.relu(self.hidden(inputs * _INPUT_STEP)))
        logits: Tensor = (weights[:, :-1] * odds).sum(1) + weights[:, -1]
        return logits

    def exact(self, examples: Tensor) -> ExactNetwork:
        """Return the same in whole numbers."""
        return exact_perceptron(
            [self.hidden, self.weights],
            functional.relu,
            examples[:: max(1, len(examples) // _MOST_SAMPLES)].float(),
            input_step=_INPUT_STEP,
            inputs=INPUTS,
            output_step=1.0 / WEIGHTS_PER_ONE,
            outputs=OUTPUTS,
            weight_bits=_WEIGHT_BITS,
            activation_bits=_ACTIVATION_BITS,
        )


def _train(
    network: _Weighing,
    inputs: Tensor,
    odds: Tensor,
    bits: Tensor,
    random: torch.Generator,
    *,
    n_epochs: int,
    max_seconds: float,
) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE)
    n_steps = n_epochs * -(-len(bits) // _BATCH)
    order, started, done, pace = torch.zeros(0, dtype=torch.int64), time.monotonic(), 0.0, 1.0 / n_steps
    for step in itertools.count(1):
        for group in optimizer.param_groups:
            group["lr"] = _LEARNING_RATE * max(1.0 - done, 0.01)
        if not len(order):
            order = torch.randperm(len(bits), generator=random)
        some, order = order[:_BATCH], order[_BATCH:]
        logits = network(inputs[some].float(), odds[some].float() / WEIGHTS_PER_ONE)
        loss = functional.binary_cross_entropy_with_logits(logits, bits[some].float())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        done += pace
        if step % _CLOCK_STEPS == 0:
            left, a_step = max_seconds - (time.monotonic() - started), (time.monotonic() - started) / step
            # the schedule is run through in fewer steps where there is no time for all of them
            pace = max(pace, (1.0 - done) * a_step / left) if left > 0.0 else 1.0
        if done >= 1.0 - 1e-9:
            break


def _examples(text: bytes, random: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs of the network, log-odds and bits of bytes that are drawn, as if the rest of the text were known."""
    keys, symbols = keys_of(text)
    index = TextIndex(keys, symbols)
    some = np.sort(random.permutation(len(symbols))[:_MOST_SAMPLES])
    inputs, all_odds, all_bits = [], [], []
    for level, (zeros, ones, known) in enumerate(bit_counts(index, keys[:, some], symbols[some])):
        bits = (symbols[some] >> (7 - level) & 1).astype(np.uint8)
        told, odds = features(zeros - (1 - bits)[:, None], ones - bits[:, None], known)
        inputs.append(told.astype(np.int8))
        all_odds.append(odds.astype(np.int16))
        all_bits.append(bits)
    stacked = (np.concatenate(parts) for parts in (inputs, all_odds, all_bits))
    return tuple(map(torch.from_numpy, stacked))  # type: ignore[return-value]
