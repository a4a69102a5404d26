"""From counts to the chance of a bit, in whole numbers."""

from __future__ import annotations

from functools import cache
from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray

from latentkit.codec.curves import logarithm_curve, logistic_curve
from latentkit.codec.exact import ExactNetwork, Span
from latentkit.codec.texts.histories import N_CONTEXTS
from latentkit.core.errors import DamagedArchiveError

__all__ = ["INPUTS", "N_INPUTS", "N_OUTPUTS", "OUTPUTS", "PRECISION", "WEIGHTS_PER_ONE", "BitChances", "features"]

Integers = NDArray[np.int64]
Small = NDArray[np.int32]

#: Bits of a chance.
PRECISION: Final = 22
#: Where the inputs of the network lie, and its outputs; how many there are of each.
INPUTS: Final = Span(-128, 127)
OUTPUTS: Final = Span(-2048, 2047)
N_INPUTS: Final = 3 * N_CONTEXTS + 16
N_OUTPUTS: Final = N_CONTEXTS + 1
#: What of an output is worth 1.
WEIGHTS_PER_ONE: Final = 256

_PER_NAT_BITS: Final = 8  # 256 steps of a logarithm are a nat
_FINE_BITS: Final = 4  # of a nat, in what the network is told of the odds
_COARSE_BITS: Final = 3  # of a nat, in what it is told of how much was seen
_YES: Final = 64
_COUNT_BITS: Final = 10  # of a count; larger ones are halved
_DOUBLE: Final = 177  # logarithm of 2 in steps
_LOGIT_BITS: Final = 6  # of a nat, of a logit
_HALF: Final = 1024  # logits to each side of 0


def features(zeros: Small, ones: Small, known: Integers) -> tuple[Small, Small]:
    r"""Return what the network is told of bits, and the log-odds of each context.

    .. math:: s = \ln \frac{2 n_1 + 1}{2 n_0 + 1}

    Of each context it is told s, the logarithm of the number of bytes, and whether one of the two was never seen; and
    which bit of the byte it is, and the bits before.

    Args:
        zeros: How often a context was followed by a zero, shape (places, contexts).
        ones: By a one.
        known: The bits of the byte that are known, behind a one, shape (places,).
    Returns:
        Inputs, shape (places, inputs), and log-odds in steps of 1/256, shape (places, contexts).
    """
    n, k, table = len(zeros), N_CONTEXTS, _logarithms()
    total = zeros + ones
    # exponents of whole numbers are exact
    shifts = np.maximum(np.frexp(total.astype(np.float64))[1] - _COUNT_BITS, 0)
    odds = table[ones >> shifts] - table[zeros >> shifts]
    told = np.empty((n, N_INPUTS), np.int32)
    np.minimum(np.maximum(odds >> (_PER_NAT_BITS - _FINE_BITS), INPUTS.low), INPUTS.high, out=told[:, :k])
    told[:, k : 2 * k] = (table[total >> shifts] + _DOUBLE * shifts) >> (_PER_NAT_BITS - _COARSE_BITS)
    told[:, 2 * k : 3 * k] = ((zeros == 0) != (ones == 0)) * _YES
    told[:, 3 * k :] = _NODES[known]
    return told, odds


@final
class BitChances:
    r"""Chances of bits from what followed their contexts.

    .. math:: \text{logit} = \sum_k w_k s_k + w_0

    A network of whole numbers gives the weights, by which contexts that have shown much count for more.

    Args:
        network: Takes what :func:`features` tells, gives a weight for each context and :math:`w_0`.

    Raises:
        DamagedArchiveError: If it does not.

    References:
        Mahoney, 2005, Adaptive weighing of context models for lossless data compression, Florida Tech. CS-2005-16
        (logistic mixing; weights are learnt beforehand here).
    """

    def __init__(self, network: ExactNetwork) -> None:
        sizes = (network.n_inputs, network.n_outputs)
        if sizes != (N_INPUTS, N_OUTPUTS) or not network.inputs.holds(INPUTS) or not OUTPUTS.holds(network.span):
            raise DamagedArchiveError("its network is not one that weighs contexts of texts.")
        self.network = network
        self._slots = np.clip(logistic_curve(_HALF, per_unit=1 << _LOGIT_BITS, bits=PRECISION), 1, _MOST)[::-1].copy()

    def splits(self, zeros: Small, ones: Small, known: Integers) -> Integers:
        """Return how many of 2^22 slots a zero has, within :func:`exact_arithmetic`; arguments as of :func:`features`.

        Returns:
            Shape (places,).
        """
        told, odds = features(zeros, ones, known)
        weights = self.network(torch.from_numpy(told).float()).int().numpy()
        # at most 9 products of 12 and 15 bits: 32 bits have room
        logits = (weights[:, :-1] * odds).sum(1) + (weights[:, -1] << _PER_NAT_BITS)
        logits >>= 2 * _PER_NAT_BITS - _LOGIT_BITS
        slots: Integers = self._slots[np.minimum(np.maximum(logits, -_HALF), _HALF) + _HALF]
        return slots


@cache
def _logarithms() -> Small:
    return logarithm_curve(1 << _COUNT_BITS, bits=_PER_NAT_BITS).astype(np.int32)


def _nodes() -> Small:
    """For known bits behind a one: which bit is the next one, and the bits before."""
    nodes = np.zeros((256, 16), np.int32)
    for level in range(8):
        these = np.arange(1 << level, 2 << level)
        nodes[these, level] = _YES
        for bit in range(level):
            nodes[these, 8 + bit] = (2 * (these >> (level - 1 - bit) & 1) - 1) * _YES
    return nodes


_NODES: Final = _nodes()
_MOST: Final = (1 << PRECISION) - 1
