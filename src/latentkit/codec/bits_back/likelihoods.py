"""What a decoder's whole numbers stand for: distributions of the numbers of a row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.codec.ans import AnsStack
from latentkit.codec.curves import logistic_curve
from latentkit.codec.frequencies import FrequencyTables
from latentkit.codec.mixtures import MEANS_PER_SYMBOL, TABLE_BITS, Mixtures, MixtureTables
from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer

__all__ = ["COIN_STEPS", "Coins", "Likelihood", "Logistics", "Shares", "likelihood_of"]

Integers = NDArray[np.int64]
Whole = NDArray[np.integer]
Bytes = NDArray[np.uint8]

#: Steps in a nat of the logits of coins.
COIN_STEPS: Final = 64
_COIN_HALF: Final = 16 * COIN_STEPS
_COIN_BITS: Final = 22
_FEWEST: Final = 16  # symbols that a mixture has
_NEVER: Final = -(1 << 20)  # the logit of what has no part in a mixture
_AT_ONCE: Final = 1 << 17  # distributions that are held at once
_MOST_NUMBERS: Final = 1 << 16


class Likelihood(ABC):
    """Distributions of numbers from 0 to `n_symbols` - 1, one for each number of a row.

    Attributes:
        n_symbols: How many numbers there are.
        n_parameters: Of a distribution. A decoder gives the first one of each number of a row, then the second ...
    """

    name: ClassVar[str]
    n_symbols: int
    n_parameters: int

    @abstractmethod
    def push(self, stack: AnsStack, parameters: Whole, x: Bytes) -> None:
        """Push rows, one on each of the first lanes.

        Args:
            stack: On which.
            parameters: Any whole numbers, shape (n, n_parameters * numbers).
            x: Shape (n, numbers).
        """

    @abstractmethod
    def pop(self, stack: AnsStack, parameters: Whole) -> Bytes:
        """Pop what was pushed, shape (n, numbers)."""

    @abstractmethod
    def bits(self, parameters: Whole, x: Bytes) -> float:
        """Return what rows cost, in bits."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return what is not in :meth:`arrays`, as JSON values."""

    def arrays(self) -> dict[str, Integers]:
        """Return its whole numbers by their names."""
        return {}


@final
class Coins(Likelihood):
    r"""Zeros and ones, each by the logit of a one, in steps of 1/64.

    .. math:: P(0) = 2^{-22} \left\lfloor 2^{22} \sigma(-l / 64) \right\rceil, \qquad -1024 \le l \le 1024

    Example:
        >>> stack, coins = AnsStack(2), Coins()
        >>> coins.push(stack, np.array([[0, 500, -500]] * 2), np.array([[0, 1, 1], [1, 1, 0]], np.uint8))
        >>> coins.pop(stack, np.array([[0, 500, -500]] * 2)).tolist()
        [[0, 1, 1], [1, 1, 0]]
    """

    name: ClassVar[str] = "coins"
    n_symbols = 2
    n_parameters = 1

    def __init__(self) -> None:
        zeros = logistic_curve(_COIN_HALF, per_unit=COIN_STEPS, bits=_COIN_BITS)[::-1]
        self._zeros = zeros.clip(1, (1 << _COIN_BITS) - 1).astype(np.uint64)

    def push(self, stack: AnsStack, parameters: Whole, x: Bytes) -> None:
        splits = self._splits(parameters)
        is_one = x.T.astype(np.bool_)
        starts = np.where(is_one, splits, np.uint64(0))
        stack.push_all(starts, np.where(is_one, np.uint64(1 << _COIN_BITS) - splits, splits), _COIN_BITS)

    def pop(self, stack: AnsStack, parameters: Whole) -> Bytes:
        return np.ascontiguousarray(stack.pop_coins(self._splits(parameters), _COIN_BITS).T)

    def bits(self, parameters: Whole, x: Bytes) -> float:
        splits = self._splits(parameters)
        counts = np.where(x.T != 0, np.uint64(1 << _COIN_BITS) - splits, splits)
        return float(_COIN_BITS * counts.size - np.log2(counts).sum())

    def describe(self) -> dict[str, Any]:
        return {"name": self.name}

    def _splits(self, parameters: Whole) -> NDArray[np.uint64]:
        """How many slots a zero has, shape (numbers, n)."""
        found: NDArray[np.uint64] = self._zeros.take(parameters.T + _COIN_HALF, mode="clip")
        return found


class _Mixed(Likelihood):
    """Numbers by mixtures, of which the last one has all symbols from it on."""

    _tables: MixtureTables

    def _parts(self, parameters: Whole, *, backwards: bool = False) -> Iterator[tuple[slice, Whole]]:
        """Parameters of some numbers at a time, shape (numbers * n, n_parameters), number by number."""
        n, n_numbers = len(parameters), parameters.shape[1] // self.n_parameters
        each = parameters.reshape(n, self.n_parameters, n_numbers).transpose(2, 0, 1)
        step = max(1, _AT_ONCE // max(1, n))
        starts = range(0, n_numbers, step)
        for start in reversed(starts) if backwards else starts:
            numbers = slice(start, min(n_numbers, start + step))
            yield numbers, each[numbers].reshape(-1, self.n_parameters)

    @abstractmethod
    def _outputs(self, parameters: Whole) -> Whole:
        """What a network gives for mixtures, shape (n, outputs), of parameters, shape (n, parameters)."""

    @abstractmethod
    def _guesses(self, parameters: Whole) -> NDArray[np.int32]:
        """A likely symbol of each mixture, shape (n,)."""

    def push(self, stack: AnsStack, parameters: Whole, x: Bytes) -> None:
        shape = (-1, len(x))
        for numbers, part in self._parts(parameters):
            mixtures = self._tables.of(self._outputs(part))
            starts, counts = self._intervals(mixtures, x[:, numbers].T.reshape(-1))
            slots = (starts.reshape(shape).astype(np.uint64), counts.reshape(shape).astype(np.uint64))
            stack.push_all(*slots, self._tables.precision)

    def pop(self, stack: AnsStack, parameters: Whole) -> Bytes:
        n = len(parameters)
        x = np.empty((parameters.shape[1] // self.n_parameters, n), np.uint8)
        for numbers, part in self._parts(parameters, backwards=True):
            mixtures, guesses = self._tables.of(self._outputs(part)), self._guesses(part)
            starts, counts = self._intervals(mixtures, guesses)
            for place in reversed(range(numbers.start, numbers.stop)):
                here = slice((place - numbers.start) * n, (place - numbers.start + 1) * n)
                found = guesses[here], starts[here], counts[here]
                self._pop_one(stack, mixtures[here], *found)
                x[place] = found[0]
        return np.ascontiguousarray(x.T)

    def _pop_one(self, stack: AnsStack, mixtures: Mixtures, symbols: Whole, starts: Whole, counts: Whole) -> None:
        """Pop a number of each lane, and correct guesses that were wrong, in place."""
        slots = stack.peek(len(symbols), self._tables.precision)
        into = slots - starts
        missed = ((into < 0) | (into >= counts)).nonzero()[0]
        if len(missed):
            others = mixtures[missed]
            found, starts[missed], counts[missed] = self._tables.symbols(others, slots[missed])
            beyond = (found >= self.n_symbols - 1).nonzero()[0]
            if len(beyond):
                found[beyond] = self.n_symbols - 1
                starts[missed[beyond]], counts[missed[beyond]] = self._intervals(others[beyond], found[beyond])
            symbols[missed] = found
        stack.pop_intervals(slots, starts, counts, self._tables.precision)

    def bits(self, parameters: Whole, x: Bytes) -> float:
        total = 0.0
        for numbers, part in self._parts(parameters):
            mixtures = self._tables.of(self._outputs(part))
            counts = self._intervals(mixtures, x[:, numbers].T.reshape(-1))[1]
            total += float(self._tables.precision * len(counts) - np.log2(counts).sum())
        return total

    def _intervals(self, mixtures: Mixtures, symbols: Whole) -> tuple[Whole, Whole]:
        starts, counts = self._tables.intervals(mixtures, symbols.astype(np.int32))
        is_last = symbols == self.n_symbols - 1
        return starts, np.where(is_last, (1 << self._tables.precision) - starts, counts)


@final
class Logistics(_Mixed):
    """Numbers by mixtures of discretised logistic distributions; see :class:`~latentkit.codec.mixtures.MixtureTables`.

    The parameters are means in sixteenths of a number, then scales, then logits in 1/32 nat, of each component; no
    logits where there is but one.

    Args:
        n_symbols: From 2 to 256.
        n_components: Of a mixture.
        lowest: Of scales, as the decoder gives them.
        levels: For each of them, from the lowest on: the level of :class:`~latentkit.codec.mixtures.MixtureTables`.

    Raises:
        InvalidParameterError: If there are no such mixtures.
    """

    name: ClassVar[str] = "logistics"

    def __init__(self, n_symbols: int, n_components: int, *, lowest: int, levels: Integers) -> None:
        self.n_symbols = check_integer("n_symbols", n_symbols, low=2, high=256)
        self._n = check_integer("n_components", n_components, low=1, high=256)
        self._lowest = check_integer("lowest", lowest, low=-_MOST_NUMBERS, high=_MOST_NUMBERS)
        if levels.ndim != 1 or not 1 <= len(levels) <= _MOST_NUMBERS:
            raise InvalidParameterError("levels must be whole numbers, one for each scale that a decoder gives.")
        self._levels = levels
        self.n_parameters = 2 if self._n == 1 else 3 * self._n
        self._tables = MixtureTables(_even(self.n_symbols), n_logistics=self._n)

    def describe(self) -> dict[str, Any]:
        settings = {"n_symbols": self.n_symbols, "n_components": self._n, "lowest": self._lowest}
        return {"name": self.name, **settings}

    def arrays(self) -> dict[str, Integers]:
        return {"levels": self._levels}

    def _outputs(self, parameters: Whole) -> Whole:
        n, count = self._n, len(parameters)
        logits = parameters[:, 2 * n :] if self._n > 1 else np.zeros((count, 1), np.int64)
        levels = self._levels.take(parameters[:, n : 2 * n] - self._lowest, mode="clip")
        return np.concatenate([np.full((count, 1), _NEVER), logits, parameters[:, :n], levels], 1)

    def _guesses(self, parameters: Whole) -> NDArray[np.int32]:
        n = self._n
        largest = parameters[:, 2 * n :].argmax(1) if n > 1 else np.zeros(len(parameters), np.int64)
        means = parameters[np.arange(len(parameters)), largest]
        nearest = (means + MEANS_PER_SYMBOL // 2) // MEANS_PER_SYMBOL
        return np.asarray(nearest.clip(0, self.n_symbols - 1), np.int32)


@final
class Shares(_Mixed):
    """Numbers by shares of their own, whose logits are the parameters, in 1/32 nat.

    Args:
        n_symbols: From 2 to 256.
    """

    name: ClassVar[str] = "shares"

    def __init__(self, n_symbols: int) -> None:
        self.n_symbols = self.n_parameters = check_integer("n_symbols", n_symbols, low=2, high=256)
        n = _room(n_symbols)
        certain = np.eye(n_symbols, n, dtype=np.int64) << TABLE_BITS
        self._tables = MixtureTables(FrequencyTables(certain, TABLE_BITS, least=0), n_logistics=0)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "n_symbols": self.n_symbols}

    def _outputs(self, parameters: Whole) -> Whole:
        return parameters

    def _guesses(self, parameters: Whole) -> NDArray[np.int32]:
        return np.asarray(parameters.argmax(1), np.int32)


def likelihood_of(description: Mapping[str, Any], arrays: Mapping[str, Integers]) -> Likelihood:
    """Return the likelihood that :meth:`Likelihood.describe` and :meth:`Likelihood.arrays` told of.

    Raises:
        InvalidParameterError: If they tell of none.
    """
    match description["name"]:
        case Coins.name:
            return Coins()
        case Logistics.name:
            n_symbols, n_components, lowest = (description[key] for key in ("n_symbols", "n_components", "lowest"))
            return Logistics(n_symbols, n_components, lowest=lowest, levels=arrays["levels"])
        case Shares.name:
            return Shares(description["n_symbols"])
        case other:
            raise InvalidParameterError(f"{other!r} is no likelihood; they are coins, logistics and shares.")


def _room(n_symbols: int) -> int:
    """The smallest number of symbols that mixtures can have, and no fewer than these."""
    return max(_FEWEST, 1 << (n_symbols - 1).bit_length())


def _even(n_symbols: int) -> FrequencyTables:
    n = _room(n_symbols)
    return FrequencyTables(np.full((1, n), (1 << TABLE_BITS) // n), TABLE_BITS)
