"""Bits-back coding: rows coded by way of a latent variable that costs no more than it tells."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.codec.ans import AnsStack
from latentkit.codec.exact import ExactNetwork, Span, exact_arithmetic
from latentkit.codec.frequencies import FrequencyTables
from latentkit.core.errors import DamagedArchiveError, InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.core.seeds import row_keys

__all__ = ["BitsBackCoder", "GaussianLatents"]

Integers = NDArray[np.int64]

#: Rows at a time that are coded without bits back, while there are none.
_PLAIN: Final = 8
_REACH: Final = 8.0  # standard deviations of a posterior that have frequencies of their own
_WORD: Final = 32
_MOST_DIGITS: Final = 56  # bits that come before the last digit of a number


@final
@dataclass(frozen=True, slots=True)
class GaussianLatents:
    r"""Latent variables in whole numbers: those of a Gaussian posterior and a standard normal prior, on a grid.

    .. math:: z = \delta (\mu + o), \qquad
              p(o \mid \ell) = \Phi\left(\tfrac{\delta (o + 1/2)}{\sigma_\ell}\right)
              - \Phi\left(\tfrac{\delta (o - 1/2)}{\sigma_\ell}\right)

    Means are whole numbers of steps, standard deviations one of finitely many. What lies beyond the last number belongs
    to it.

    Attributes:
        step: Width :math:`\delta` of the grid.
        means: Where the whole numbers :math:`\mu` lie.
        prior: One table, of the numbers of `span` from the lowest on.
        posteriors: A table of offsets o from -reach to reach, for each level :math:`\ell`.

    Example:
        >>> latents = GaussianLatents.of(step=1 / 16, means=Span(-64, 63), log_stddevs=[-2.0, -1.0, 0.0])
        >>> latents.reach, latents.span
        (128, Span(low=-192, high=191))
    """

    step: float
    means: Span
    prior: FrequencyTables
    posteriors: FrequencyTables

    @classmethod
    def of(
        cls, *, step: float, means: Span, log_stddevs: NDArray[np.floating] | list[float], precision: int = 24
    ) -> GaussianLatents:
        """Compute the tables; it works with floating-point numbers, and what it gives is to be kept."""
        sigmas = np.exp(np.asarray(log_stddevs, np.float64))
        reach = max(1, math.ceil(_REACH * float(sigmas.max()) / step))
        span = Span(means.low - reach, means.high + reach)
        offsets = np.arange(-reach, reach + 2, dtype=np.float64) - 0.5
        edges = np.arange(span.low, span.high + 2, dtype=np.float64) - 0.5
        return cls(
            step=step,
            means=means,
            prior=FrequencyTables.of(_shares(edges[None] * step), precision),
            posteriors=FrequencyTables.of(_shares(offsets * step / sigmas[:, None]), precision, least=0),
        )

    @property
    def reach(self) -> int:
        """The largest offset from a mean."""
        return int(self.posteriors.n_symbols // 2)

    @property
    def span(self) -> Span:
        """Where the latent variables lie, in steps."""
        return Span(self.means.low - self.reach, self.means.high + self.reach)


@dataclass(frozen=True, slots=True)
class _Round:
    """Rows that are coded at once.

    Attributes:
        n: How many.
        gives_back: Whether their latent variables are popped; else they are the means.
    """

    n: int
    gives_back: bool


@final
class BitsBackCoder:
    r"""Codes rows of whole numbers by a latent-variable model that is exact.

    To code x: z is *popped* from the stack by :math:`q(z \mid x)`, which takes bits off it; x is pushed by
    :math:`p(x \mid z)`, then z by :math:`p(z)`. The decoder goes the other way and gets back what had been on the
    stack, bit for bit, so that a row costs

    .. math:: -\log_2 p(x \mid z) - \log_2 p(z) + \log_2 q(z \mid x),

    on average the negative ELBO: a pad of hashes makes z a draw from the posterior whatever the stack holds. (Without
    it the end of one row decides on the start of the next, and a model whose codes do not have the prior's distribution
    draws them wrongly.) The bits that a row takes off are those of rows before it: the first eight take the posterior's
    mean and get nothing back, the next ones are as many at a time as the stack surely has bits for, up to a row in each
    lane.

    Args:
        encoder: Takes a row, gives for each latent variable its mean, in steps, and then, for each, the number of its
            posterior's table.
        decoder: Takes latent variables, gives for each number of a row the number of its table in `likelihood`.
        latents: The grid of the latent variables.
        likelihood: Tables of the numbers of a row.
        n_lanes: Rows that are coded at once. Each costs 32 to 64 bits at the end.

    Raises:
        InvalidParameterError: If these do not fit together.

    References:
        Townsend, Bird and Barber, 2019, Practical lossless compression with latent variables using bits back coding,
        arXiv:1901.04866.
    """

    def __init__(
        self,
        encoder: ExactNetwork,
        decoder: ExactNetwork,
        latents: GaussianLatents,
        likelihood: FrequencyTables,
        *,
        n_lanes: int = 64,
    ) -> None:
        self.n_lanes = check_integer("n_lanes", n_lanes, low=1)
        self.encoder, self.decoder, self.latents, self.likelihood = encoder, decoder, latents, likelihood
        self.n_numbers, self.n_latents = encoder.n_inputs, decoder.n_inputs
        self._check()

    def encode(self, x: Integers) -> bytes:
        """Return the code of rows.

        Args:
            x: Whole numbers within the encoder's span, and symbols of the likelihood, shape (n, numbers).

        Raises:
            InvalidParameterError: If they are not.
            UnsupportedOperationError: If this machine does not compute the networks exactly.
        """
        x = np.asarray(x, np.int64)
        allowed = Span(0, self.likelihood.n_symbols - 1)
        if x.ndim != 2 or x.shape[1] != self.n_numbers or not _lies(x, allowed) or not _lies(x, self.encoder.inputs):
            raise InvalidParameterError(
                f"rows must be {self.n_numbers} whole numbers from 0 to {allowed.high}; got shape {x.shape}."
            )
        self.encoder.verify()
        self.decoder.verify()
        stack, done = AnsStack(self.n_lanes), 0
        rounds: list[_Round] = []
        while done < len(x):
            n = self._affordable(stack)
            these = _Round(min(len(x) - done, n or min(_PLAIN, self.n_lanes)), gives_back=n > 0)
            self._push(stack, x[done : done + these.n], done if these.gives_back else None)
            rounds.append(these)
            done += these.n
        return _written(rounds) + stack.to_bytes()

    def decode(self, content: bytes, n: int) -> Integers:
        """Return the n rows that became these bytes, shape (n, numbers).

        Raises:
            DamagedArchiveError: If no n rows became these bytes, as far as that can be told without a checksum.
            UnsupportedOperationError: If this machine does not compute the networks exactly.
        """
        rounds, n_told = _read(content, n, self.n_lanes)
        self.encoder.verify()
        self.decoder.verify()
        stack = AnsStack.from_bytes(content[n_told:], self.n_lanes)
        x, end = np.empty((n, self.n_numbers), np.int64), n
        for these in reversed(rounds):
            start = end - these.n
            x[start:end] = self._pop(stack, these.n, start if these.gives_back else None)
            end = start
        if not stack.is_fresh:
            raise DamagedArchiveError("what is left after the last row is not what the first one found.")
        return x

    # One round

    def _push(self, stack: AnsStack, x: Integers, start: int | None) -> None:
        """Push rows, of which the first is that of number `start`; None gives nothing back."""
        means, levels = self._posterior(x)
        latents = self.latents
        z = means.copy()
        if start is not None:
            pads = self._pads(start, len(x))
            for place in range(self.n_latents):
                z[:, place] += stack.pop(latents.posteriors, levels[:, place], pad=pads[place]) - latents.reach
        stack.push(self.likelihood, _evaluate(self.decoder, z).T, x.T)
        stack.push(latents.prior, np.zeros_like(z.T), z.T - latents.span.low)

    def _pop(self, stack: AnsStack, n: int, start: int | None) -> Integers:
        """Pop n rows, as they were pushed."""
        latents, none = self.latents, np.zeros(n, np.int64)
        z = np.empty((n, self.n_latents), np.int64)
        for place in reversed(range(self.n_latents)):
            z[:, place] = stack.pop(latents.prior, none) + latents.span.low
        tables = np.ascontiguousarray(_evaluate(self.decoder, z).T)
        x = np.empty((self.n_numbers, n), np.int64)
        for place in reversed(range(self.n_numbers)):
            x[place] = stack.pop(self.likelihood, tables[place])
        x = np.ascontiguousarray(x.T)
        means, levels = self._posterior(x)
        offsets = z - means + latents.reach
        if start is None:
            if (z != means).any():
                raise DamagedArchiveError("a latent variable is not the mean that its row gives.")
            return x
        if not _lies(offsets, Span(0, 2 * latents.reach)):
            raise DamagedArchiveError("a latent variable lies where its row cannot have put it.")
        pads = self._pads(start, n)
        for place in reversed(range(self.n_latents)):
            stack.push(latents.posteriors, levels[:, place], offsets[:, place], pad=pads[place])
        return x

    def _pads(self, start: int, n: int) -> Integers:
        """Bits for each latent variable of rows from `start` on, shape (latents, n): hashes of both numbers."""
        numbers = torch.cartesian_prod(torch.arange(self.n_latents), torch.arange(start, start + n))
        keys = row_keys(numbers.reshape(-1, 2)).numpy() & ((1 << self.latents.posteriors.precision) - 1)
        pads: Integers = keys.reshape(self.n_latents, n)
        return pads

    def _posterior(self, x: Integers) -> tuple[Integers, Integers]:
        given = _evaluate(self.encoder, x)
        levels = given[:, self.n_latents :].clip(0, len(self.latents.posteriors.starts) - 1)
        means = given[:, : self.n_latents].clip(self.latents.means.low, self.latents.means.high)
        return means, levels

    def _affordable(self, stack: AnsStack) -> int:
        """As many rows as the words of the stack surely suffice for: a variable takes the bits of its precision."""
        words_of_a_row = math.ceil(self.latents.posteriors.precision * self.n_latents / _WORD) + 1
        return min(self.n_lanes, stack.n_words // words_of_a_row)

    def _check(self) -> None:
        latents, decoder = self.latents, self.decoder
        wrong = {
            "the encoder must give two numbers for each latent variable": self.encoder.n_outputs != 2 * self.n_latents,
            "the decoder must give a table for each number of a row": decoder.n_outputs != self.n_numbers,
            "the decoder must take all latent variables": not decoder.inputs.holds(latents.span),
            "the decoder must give tables that there are": not Span(0, len(self.likelihood.starts) - 1).holds(
                decoder.span
            ),
        }
        for message, is_wrong in wrong.items():
            if is_wrong:
                raise InvalidParameterError(f"{message}.")


def _evaluate(network: ExactNetwork, x: Integers) -> Integers:
    with exact_arithmetic():
        found: Integers = network(torch.from_numpy(x).to(network.dtype)).numpy().astype(np.int64)
    return found


def _shares(edges: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities of a standard normal variable between edges; what lies beyond them belongs to the last."""
    below: Callable[[Tensor], Tensor] = torch.special.ndtr
    cumulated = below(torch.from_numpy(np.asarray(edges, np.float64))).numpy()
    cumulated[:, 0], cumulated[:, -1] = 0.0, 1.0
    return np.diff(cumulated, axis=1)


def _lies(x: Integers, span: Span) -> bool:
    return not x.size or (span.low <= int(x.min()) and int(x.max()) <= span.high)


def _written(rounds: list[_Round]) -> bytes:
    """For each run of equal rounds: twice its number of rows, and 1 where bits are given back; how often. 0 ends it.

    Whole numbers in base 128, the lowest digit first; all but the last have their highest bit set (LEB128).
    """
    digits = bytearray()
    for these, run in groupby(rounds):
        for value in (2 * these.n + these.gives_back, len(list(run))):
            rest = value
            while rest >= 128:
                digits.append(128 | rest & 127)
                rest >>= 7
            digits.append(rest)
    return bytes(digits) + b"\0"


def _read(content: bytes, n: int, most: int) -> tuple[list[_Round], int]:
    """Rounds of n rows in all and `most` at most in each, and how many bytes tell it.

    Raises:
        DamagedArchiveError: If they do not tell that.
    """
    place, rounds, left = 0, [], n

    def number() -> int:
        nonlocal place
        value, shift = 0, 0
        while place < len(content) and shift <= _MOST_DIGITS:
            digit = content[place]
            place += 1
            value |= (digit & 127) << shift
            if digit < 128:
                return value
            shift += 7
        raise DamagedArchiveError("the sizes of its rounds cannot be read.")

    while code := number():
        these, times = _Round(code >> 1, gives_back=bool(code & 1)), number()
        left -= these.n * times
        if not 1 <= these.n <= most or not times or left < 0:
            raise DamagedArchiveError(f"its rounds are not of {n:,} rows in {most:,} lanes.")
        rounds += [these] * times
    if left:
        raise DamagedArchiveError(f"its rounds are not of {n:,} rows in {most:,} lanes.")
    return rounds, place
