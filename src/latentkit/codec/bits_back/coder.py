"""The coder of rows by a variational autoencoder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.codec.ans import AnsStack
from latentkit.codec.bits_back.chain import LatentChain, LatentLayer
from latentkit.codec.bits_back.latents import GaussianLatents
from latentkit.codec.bits_back.likelihoods import likelihood_of
from latentkit.codec.bits_back.rounds import Round, read, written
from latentkit.codec.coders import Coder, CoderState, coders
from latentkit.codec.exact import Span
from latentkit.codec.image_networks import RowNetwork, network_of
from latentkit.core.errors import DamagedArchiveError, InvalidParameterError, UnfitDataError

__all__ = ["BitsBackCoder"]

Bytes = NDArray[np.uint8]

_MOST_LANES: Final = 512
_FEW_LANES: Final = 8
_OF_A_LANE: Final = 8192  # zeros and ones that a lane codes, at least: what it costs, 6 bits, is little beside them
_MOST_OUTPUTS: Final = 1 << 23  # of the decoder, for all rows that are coded at once
_PLAIN: Final = 16  # rows, at most, that are coded at once without bits back
_HEAD: Final = 8  # bytes in front of rows
_WORD: Final = 32
_BIT: Final = 256
_SPARE: Final = 16  # bits that a lane takes on average before it gives one of its own
_SPREAD: Final = 5  # bits: what a latent variable takes varies by one; so many times that much is kept in reserve


@final
class BitsBackCoder(Coder):
    """Codes rows of bytes by a latent-variable model, each for its negative ELBO.

    See :class:`LatentChain` for how a row is coded. The bits that its latent variables take off the stack are those of
    rows before it: the first rows take rough means and get nothing back, the next ones are as many at a time as the
    stack has bits for. The stack starts with one lane; each further one starts with a word of the stack and so costs
    but the six bits by which its end is longer than what it holds.

    A block is rows of bytes, or eight bytes, such as those that tell the size of images, and then rows: the payload
    begins with these as they are. What byte each symbol is, the alphabet tells; other bytes of rows are not coded.

    Args:
        chain: The model.
        alphabet: The byte of each of the likelihood's symbols, none twice.

    Raises:
        InvalidParameterError: If these do not fit together.
    """

    name: ClassVar[str] = "bits_back"

    def __init__(self, chain: LatentChain, alphabet: bytes) -> None:
        self.chain, self.alphabet = chain, alphabet
        if not len(alphabet) == len(set(alphabet)) == chain.likelihood.n_symbols:
            raise InvalidParameterError(
                f"an alphabet is a byte for each of {chain.likelihood.n_symbols} symbols; got {len(alphabet)} bytes, "
                f"{len(set(alphabet))} of them different."
            )
        self._bytes = np.frombuffer(alphabet, np.uint8)
        self._symbols = np.full(256, -1, np.int16)
        self._symbols[self._bytes] = np.arange(len(alphabet))
        self._is_verified = False

    # State

    def state(self) -> CoderState:
        likelihood = self.chain.likelihood
        settings: dict[str, Any] = {
            "alphabet": list(self.alphabet),
            "likelihood": likelihood.describe(),
            "layers": [],
        }
        arrays = {f"likelihood.{name}": array for name, array in likelihood.arrays().items()}
        for number, layer in enumerate(self.chain.layers):
            parts: dict[str, RowNetwork | GaussianLatents]
            parts = {"encoder": layer.encoder, "decoder": layer.decoder, "latents": layer.latents}
            described = {name: part.describe() for name, part in parts.items()}
            settings["layers"].append({**described, "lowest_code": layer.lowest_code})
            for name, part in parts.items():
                arrays |= {f"{number}.{name}.{key}": array for key, array in part.arrays().items()}
            arrays[f"{number}.level_codes"] = layer.level_codes
        return CoderState(self.name, settings, arrays)

    @classmethod
    def of(cls, state: CoderState) -> BitsBackCoder:
        """Return the coder of a state.

        Raises:
            DamagedArchiveError: If it is none of such a coder.
        """
        settings, arrays = state.settings, state.arrays
        try:
            likelihood = likelihood_of(settings["likelihood"], _within(arrays, "likelihood."))
            layers = []
            for number, told in enumerate(settings["layers"]):
                own = _within(arrays, f"{number}.")
                latents = GaussianLatents(
                    steps=told["latents"]["steps"],
                    means=Span(*map(int, told["latents"]["means"])),
                    levels=Span(*map(int, told["latents"]["levels"])),
                    coarse_step=told["latents"]["coarse_step"],
                    prior=own["latents.prior"],
                    coarse=own["latents.coarse"],
                )
                layer = LatentLayer(
                    latents,
                    encoder=network_of(told["encoder"], _within(own, "encoder.")),
                    decoder=network_of(told["decoder"], _within(own, "decoder.")),
                    level_codes=own["level_codes"],
                    lowest_code=int(told["lowest_code"]),
                )
                layers.append(layer)
            alphabet = settings["alphabet"]
            if not isinstance(alphabet, list):  # a number would be how many zeros
                raise TypeError("its alphabet is no list.")
            return cls(LatentChain(layers, likelihood), bytes(alphabet))
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            raise DamagedArchiveError(f"its model is no {cls.name} coder: {error}") from error

    # Blocks

    def encode(self, block: bytes, n: int) -> bytes:
        told, x = self._split(block, n)
        self._verify()
        most, done = self._most_lanes(n), 0
        stack = AnsStack(1)
        rounds: list[Round] = []
        while done < n:
            these = self._affordable(stack, x[done : done + most])
            rows = x[done : done + these.n]
            if these.gives_back and self._is_sure(stack, these.n):
                stack.widen(these.n)
                self.chain.push(stack, rows, done)
            elif these.gives_back:
                trial = stack.copy()
                try:
                    trial.widen(these.n)
                    self.chain.push(trial, rows, done)
                    stack = trial
                except DamagedArchiveError:  # its bits did not suffice, which is rare
                    these = Round(1, gives_back=False)
            if not these.gives_back:
                stack.widen(these.n)
                self.chain.push_first(stack, x[done : done + these.n])
            rounds.append(these)
            done += these.n
        return told + written(rounds) + stack.to_bytes()

    def decode(self, content: bytes, n: int, size: int) -> bytes:
        n_told = size - n * self.chain.n_numbers
        if n < 1 or n_told not in (0, _HEAD):
            raise DamagedArchiveError(f"{size:,} bytes are not {n:,} rows of {self.chain.n_numbers:,}.")
        told, content = content[:n_told], content[n_told:]
        rounds, place = read(content, n, _MOST_LANES)
        self._verify()
        lanes = np.maximum.accumulate([1, *(these.n for these in rounds)])
        stack = AnsStack.from_bytes(content[place:], int(lanes[-1]))
        x, end = np.empty((n, self.chain.n_numbers), np.uint8), n
        for these, n_lanes in zip(reversed(rounds), lanes[-2::-1], strict=True):
            start = end - these.n
            if these.gives_back:
                x[start:end] = self.chain.pop(stack, these.n, start)
            else:
                x[start:end] = self.chain.pop_first(stack, these.n)
            stack.narrow(int(n_lanes))
            end = start
        if not stack.is_fresh:
            raise DamagedArchiveError("what is left after the last row is not what the first one found.")
        return told + self._bytes[x].tobytes()

    def _split(self, block: bytes, n: int) -> tuple[bytes, Bytes]:
        """What stands in front of the rows, and the symbols of these."""
        n_told = len(block) - n * self.chain.n_numbers
        if n < 1 or n_told not in (0, _HEAD):
            raise UnfitDataError(f"{len(block):,} bytes are not {n:,} rows of {self.chain.n_numbers:,}.")
        given = np.frombuffer(block, np.uint8, offset=n_told)
        symbols = self._symbols[given]
        if symbols.min() < 0:
            other = int(given[symbols.argmin()])
            raise UnfitDataError(f"a byte is {other}, which is none of the {len(self.alphabet)} that the model knows.")
        return block[:n_told], symbols.astype(np.uint8).reshape(n, -1)

    def _most_lanes(self, n: int) -> int:
        """The largest power of two with enough numbers for each lane, a few at least; and no more than have room."""
        n_binary = n * self.chain.n_numbers * (self.chain.likelihood.n_symbols - 1).bit_length()
        enough = 1 << max(0, (n_binary // _OF_A_LANE).bit_length() - 1)
        fits = max(1, _MOST_OUTPUTS // self.chain.layers[0].decoder.n_outputs)
        return min(max(enough, _FEW_LANES), _MOST_LANES, fits)

    def _affordable(self, stack: AnsStack, x: Bytes) -> Round:
        """How many of the next rows to code at once: as many as the stack very likely has bits for."""
        if self._is_sure(stack, len(x)):
            return Round(len(x), gives_back=True)
        costs = self.chain.costs(x[: 2 * stack.n_lanes + _PLAIN])
        n = np.arange(1, len(costs) + 1)
        added = np.maximum(n - stack.n_lanes, 0)
        n_latents = self.chain.layers[0].latents.n_latents
        reserve = [_SPREAD * math.isqrt(n_latents * count) for count in n.tolist()]
        needed = -(-costs.cumsum() // _BIT) + added * (_WORD + _SPARE) + reserve
        n_back = int(np.count_nonzero(needed <= _WORD * stack.n_words))
        n_plain = min(len(x), _PLAIN, stack.n_lanes + stack.n_words)
        return Round(n_back, gives_back=True) if 2 * n_back >= n_plain else Round(n_plain, gives_back=False)

    def _is_sure(self, stack: AnsStack, n: int) -> bool:
        """Whether the stack has bits for n rows whatever they are: a variable takes those of its precision at most."""
        precision = self.chain.layers[0].latents.posteriors.precision
        words_of_a_row = -(-precision * self.chain.n_latents // _WORD) + 2
        return n * words_of_a_row <= stack.n_words

    def _verify(self) -> None:
        if not self._is_verified:
            self.chain.verify()
            self._is_verified = True


def _within(arrays: Mapping[str, NDArray[np.int64]], prefix: str) -> dict[str, NDArray[np.int64]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


coders.register(BitsBackCoder.name)(BitsBackCoder.of)
