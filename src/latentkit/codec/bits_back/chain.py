"""Rows of whole numbers coded by way of latent variables that cost no more than they tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray

from latentkit.codec.ans import AnsStack
from latentkit.codec.bits_back.latents import GaussianLatents
from latentkit.codec.bits_back.likelihoods import Likelihood
from latentkit.codec.exact import Span, exact_arithmetic
from latentkit.codec.image_networks import RowNetwork
from latentkit.core.errors import DamagedArchiveError, InvalidParameterError
from latentkit.core.seeds import row_keys

__all__ = ["LatentChain", "LatentLayer"]

Integers = NDArray[np.int64]
Whole = NDArray[np.integer]
Bytes = NDArray[np.uint8]

_AT_ONCE: Final = 2048  # rows that networks are given
_MOST_CODES: Final = 1 << 16
_OUTPUTS: Final = Span(-(1 << 20), 1 << 20)


@final
@dataclass(frozen=True, slots=True)
class LatentLayer:
    """Latent variables, and the way to them and back.

    Attributes:
        latents: Their grid.
        encoder: Takes what is below, gives a mean for each latent variable, in steps, and then, for each, what stands
            for a level.
        decoder: Takes latent variables, gives the parameters of what is below: of the likelihood, or means of latent
            variables and then what stands for their levels.
        level_codes: Level of what stands for one, from `lowest_code` on, the ends standing for all beyond them.
        lowest_code: The first of these.
    """

    latents: GaussianLatents
    encoder: RowNetwork
    decoder: RowNetwork
    level_codes: Integers
    lowest_code: int

    def posterior(self, below: Whole) -> tuple[Integers, Integers]:
        """Return means and numbers of tables of posteriors, shape (n, latents) each."""
        return self.gaussians(evaluate(self.encoder, below))

    def gaussians(self, given: Whole) -> tuple[Integers, Integers]:
        """Return means and numbers of tables of what a network gives, shape (n, 2 latents)."""
        n, latents = self.latents.n_latents, self.latents
        means = given[:, :n].clip(latents.means.low, latents.means.high).astype(np.int64)
        levels = self.level_codes.take(given[:, n:] - self.lowest_code, mode="clip")
        return means, levels - latents.levels.low


@final
class LatentChain:
    r"""A latent-variable model in whole numbers: x, latent variables that it depends on, those that these depend on ...

    .. math:: p(x, z_1, \ldots, z_L) = p(x \mid z_1)\, p(z_1 \mid z_2) \cdots p(z_L), \qquad
              q(z_1, \ldots, z_L \mid x) = q(z_1 \mid x)\, q(z_2 \mid z_1) \cdots q(z_L \mid z_{L - 1})

    To code x, z_1 is *popped* from the stack by :math:`q(z_1 \mid x)`, which takes bits off it, and x is pushed by
    :math:`p(x \mid z_1)`; then z_2 is popped by :math:`q(z_2 \mid z_1)` and z_1 pushed by
    :math:`p(z_1 \mid z_2)`, and so on; at last z_L is pushed by :math:`p(z_L)`. The decoder goes the other way and gets
    back what had been on the stack, bit for bit. In this order the stack needs the bits of one layer only, however many
    there are. A row costs

    .. math:: -\log_2 p(x, z_1, \ldots, z_L) + \log_2 q(z_1, \ldots, z_L \mid x),

    on average the negative ELBO: a pad of hashes makes each z a draw from its posterior whatever the stack holds.
    (Without it the end of one row decides on the start of the next, and a model whose codes do not have the prior's
    distribution draws them wrongly.)

    Args:
        layers: From the data to the top; a variational autoencoder has one.
        likelihood: Of the numbers of a row.

    Raises:
        InvalidParameterError: If these do not fit together.

    References:
        Townsend, Bird and Barber, 2019, Practical lossless compression with latent variables using bits back coding,
        arXiv:1901.04866. Kingma, Abbeel and Ho, 2019, Bit-Swap: recursive bits-back coding for lossless compression
        with hierarchical latent variables, arXiv:1905.06845 (the order).
    """

    def __init__(self, layers: Sequence[LatentLayer], likelihood: Likelihood) -> None:
        self.layers, self.likelihood = tuple(layers), likelihood
        if not layers:
            raise InvalidParameterError("a chain has at least one layer.")
        self.n_numbers = layers[0].encoder.n_inputs
        below, n_below, n_given = Span(0, likelihood.n_symbols - 1), self.n_numbers, likelihood.n_parameters
        for number, layer in enumerate(self.layers, 1):
            latents, codes = layer.latents, layer.level_codes
            if codes.ndim != 1 or not 1 <= len(codes) <= _MOST_CODES or abs(layer.lowest_code) > _MOST_CODES:
                raise InvalidParameterError(f"layer {number} of the chain has no codes of levels.")
            levels = Span(int(codes.min()), int(codes.max()))
            wrong = {
                "gives numbers that are too large": not _OUTPUTS.holds(layer.encoder.span)
                or not _OUTPUTS.holds(layer.decoder.span),
                "does not take what is below it": layer.encoder.n_inputs != n_below
                or not layer.encoder.inputs.holds(below),
                "does not give two numbers for each latent variable": layer.encoder.n_outputs != 2 * latents.n_latents,
                "has levels that there are no tables of": not latents.levels.holds(levels),
                "has a decoder that does not take its latent variables": layer.decoder.n_inputs != latents.n_latents
                or not layer.decoder.inputs.holds(latents.span),
                "has a decoder that does not give what is below it": layer.decoder.n_outputs != n_given * n_below,
            }
            for message, is_wrong in wrong.items():
                if is_wrong:
                    raise InvalidParameterError(f"layer {number} of the chain {message}.")
            below, n_below, n_given = latents.span, latents.n_latents, 2

    def verify(self) -> None:
        """See that this machine computes the networks exactly.

        Raises:
            UnsupportedOperationError: If it does not.
        """
        for layer in self.layers:
            layer.encoder.verify()
            layer.decoder.verify()

    @property
    def n_latents(self) -> int:
        """How many latent variables all layers have."""
        return sum(layer.latents.n_latents for layer in self.layers)

    def costs(self, x: Bytes) -> Integers:
        """Return what the latent variables of rows take off the stack on average, in parts of 256 of a bit, shape (n,).

        Those of the first layer: the bits of x are on the stack when the others are popped.
        """
        levels = self.layers[0].posterior(x)[1]
        found: Integers = self.layers[0].latents.posterior_costs[levels].sum(1)
        return found

    # Rows that get bits back

    def push(self, stack: AnsStack, x: Bytes, start: int) -> None:
        """Push rows, shape (n, numbers), of which the first is that of number `start`.

        Raises:
            DamagedArchiveError: If the stack has not enough bits; it is spoilt then.
        """
        below: Whole = x
        n_above = self.n_latents
        for number, layer in enumerate(self.layers):
            n_above -= layer.latents.n_latents
            means, levels = layer.posterior(below)
            z, pads = means, self._pads(n_above, layer.latents, start, len(x))
            for place, pad in enumerate(pads):
                z[:, place] += stack.pop(layer.latents.posteriors, levels[:, place], pad=pad) - layer.latents.reach
            given = evaluate(layer.decoder, z)
            if number == 0:
                self.likelihood.push(stack, given, x)
            else:
                self._push_given(stack, self.layers[number - 1], given, below)
            below = z
        top = self.layers[-1].latents
        stack.push(top.prior, _tables_of(below), np.asarray(below.T, np.int64) - top.span.low)

    def pop(self, stack: AnsStack, n: int, start: int) -> Bytes:
        """Pop n rows, as they were pushed.

        Raises:
            DamagedArchiveError: If they were not.
        """
        top = self.layers[-1].latents
        z = np.empty((n, top.n_latents), np.int64)
        for place in reversed(range(top.n_latents)):
            z[:, place] = stack.pop(top.prior, np.full(n, place)) + top.span.low
        n_above = 0
        for number in reversed(range(len(self.layers))):
            layer = self.layers[number]
            given = evaluate(layer.decoder, z)
            below: Whole
            if number == 0:
                below = self.likelihood.pop(stack, given)
            else:
                below = self._pop_given(stack, self.layers[number - 1], given)
            means, levels = layer.posterior(below)
            offsets = z - means + layer.latents.reach
            if offsets.size and (offsets.min() < 0 or offsets.max() > 2 * layer.latents.reach):
                raise DamagedArchiveError("a latent variable lies where its row cannot have put it.")
            pads = self._pads(n_above, layer.latents, start, n)
            for place in reversed(range(layer.latents.n_latents)):
                stack.push(layer.latents.posteriors, levels[:, place], offsets[:, place], pad=pads[place])
            n_above += layer.latents.n_latents
            z = below.astype(np.int64, copy=False)
        return below.astype(np.uint8, copy=False)

    # Rows that do not

    def push_first(self, stack: AnsStack, x: Bytes) -> None:
        """Push rows whose latent variables are the means, rounded to few values, and get no bits back."""
        layer = self.layers[0]
        symbols = self._rounded(x)
        z = (symbols + layer.latents.coarse_span.low) * layer.latents.coarse_step
        self.likelihood.push(stack, evaluate(layer.decoder, z), x)
        stack.push(layer.latents.first, _tables_of(symbols), symbols.T)

    def pop_first(self, stack: AnsStack, n: int) -> Bytes:
        """Pop n rows, as they were pushed.

        Raises:
            DamagedArchiveError: If they were not.
        """
        layer = self.layers[0]
        symbols = np.empty((n, layer.latents.n_latents), np.int64)
        for place in reversed(range(layer.latents.n_latents)):
            symbols[:, place] = stack.pop(layer.latents.first, np.full(n, place))
        z = (symbols + layer.latents.coarse_span.low) * layer.latents.coarse_step
        x = self.likelihood.pop(stack, evaluate(layer.decoder, z))
        if (self._rounded(x) != symbols).any():
            raise DamagedArchiveError("a latent variable is not the one that its row gives.")
        return x

    def _rounded(self, x: Bytes) -> Integers:
        latents = self.layers[0].latents
        step, span = latents.coarse_step, latents.coarse_span
        means = self.layers[0].posterior(x)[0]
        return ((2 * means + step) // (2 * step)).clip(span.low, span.high) - span.low

    # What rows cost

    def bits(self, x: Bytes, source: np.random.Generator) -> float:
        """Return what rows cost with bits back by the tables alone, in bits, for one draw of the latent variables."""
        below: Whole = x
        total = 0.0
        for number, layer in enumerate(self.layers):
            latents = layer.latents
            means, levels = layer.posterior(below)
            slots = source.integers(0, 1 << latents.posteriors.precision, means.shape)
            offsets = latents.posteriors.symbols(levels, slots)
            z = means + offsets - latents.reach
            total -= latents.posteriors.bits(levels, offsets)
            given = evaluate(layer.decoder, z)
            if number == 0:
                total += self.likelihood.bits(given, x)
            else:
                tables, symbols = self._given(self.layers[number - 1], given, below)
                total += self.layers[number - 1].latents.conditionals.bits(tables, symbols)
            below = z
        top = self.layers[-1].latents
        return total + top.prior.bits(_tables_of(below), np.asarray(below.T, np.int64) - top.span.low)

    def first_bits(self, x: Bytes) -> float:
        """Return what rows cost without bits back, in bits."""
        layer = self.layers[0]
        symbols = self._rounded(x)
        z = (symbols + layer.latents.coarse_span.low) * layer.latents.coarse_step
        rows = self.likelihood.bits(evaluate(layer.decoder, z), x)
        return rows + layer.latents.first.bits(_tables_of(symbols), symbols.T)

    # Latent variables given those above them

    def _push_given(self, stack: AnsStack, layer: LatentLayer, given: Whole, z: Whole) -> None:
        tables, symbols = self._given(layer, given, z)
        stack.push(layer.latents.conditionals, tables.T, symbols.T)

    def _pop_given(self, stack: AnsStack, layer: LatentLayer, given: Whole) -> Integers:
        means, levels = layer.gaussians(given)
        latents = layer.latents
        z = np.empty_like(means)
        for place in reversed(range(latents.n_latents)):
            z[:, place] = stack.pop(latents.conditionals, levels[:, place])
        z += means - (latents.span.high - latents.span.low)
        if z.size and (z.min() < latents.span.low or z.max() > latents.span.high):
            raise DamagedArchiveError("a latent variable lies beyond those that there can be.")
        return z

    @staticmethod
    def _given(layer: LatentLayer, given: Whole, z: Whole) -> tuple[Integers, Integers]:
        """Tables and symbols of latent variables given what the layer above them gives."""
        means, levels = layer.gaussians(given)
        return levels, z - means + layer.latents.span.high - layer.latents.span.low

    def _pads(self, first: int, latents: GaussianLatents, start: int, n: int) -> Integers:
        """Bits for each latent variable of rows from `start` on, shape (latents, n): hashes of both numbers."""
        places = torch.arange(first, first + latents.n_latents)
        numbers = torch.cartesian_prod(places, torch.arange(start, start + n)).reshape(-1, 2)
        keys = row_keys(numbers).numpy() & ((1 << latents.posteriors.precision) - 1)
        pads: Integers = keys.reshape(latents.n_latents, n)
        return pads


def evaluate(network: RowNetwork, x: Whole) -> NDArray[np.int32]:
    """Return what a network gives, whole numbers, shape (n, outputs)."""
    found = np.empty((len(x), network.n_outputs), np.int32)
    with exact_arithmetic():
        for start in range(0, len(x), _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            found[rows] = network(torch.from_numpy(x[rows]).to(network.dtype)).to(torch.int32).numpy()
    return found


def _tables_of(z: Whole) -> Integers:
    """The number of each latent variable, shape (latents, n): that of its table."""
    return np.broadcast_to(np.arange(z.shape[1], dtype=np.int64)[:, None], (z.shape[1], len(z)))
