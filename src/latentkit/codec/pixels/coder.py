"""The coder of images by the pixels before each pixel."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import ClassVar, Final, TypeAlias, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.codec.ans import AnsStack
from latentkit.codec.coders import Coder, CoderState, coders
from latentkit.codec.exact import ExactNetwork, exact_arithmetic
from latentkit.codec.frequencies import FrequencyTables
from latentkit.codec.mixtures import MEANS_PER_SYMBOL, TABLE_BITS, Mixtures, MixtureTables
from latentkit.codec.pixels.context import FEATURES, Context
from latentkit.codec.pixels.neighbourhood import Neighbourhood
from latentkit.core.errors import DamagedArchiveError, InvalidParameterError, UnfitDataError

__all__ = ["PixelCoder"]

Integers = NDArray[np.int64]
Small = NDArray[np.int32]
Pixels = NDArray[np.uint8]
_Shape: TypeAlias = tuple[int, int, int]

_MOST_LANES: Final = 1024
#: Pixels whose distributions are found at once, a multiple of the lanes: what is known of them stays in the cache.
_AT_ONCE: Final = 8192
#: Numbers that a lane codes, at least: of lanes that start with bits of others, which cost 6 bits; that start empty,
#: which cost 38; and of the few that come before the others.
_OF_A_LANE: Final = 4096
_OF_AN_EMPTY_LANE: Final = 16384
_OF_AN_EARLY_LANE: Final = 256
#: One in so many images is coded first, and its bits are those that the lanes of the others start with.
_FIRST: Final = 256
_SEED: Final = 4  # bytes
_SIZES: Final = 8  # bytes that tell height and width


@final
class PixelCoder(Coder):
    r"""Codes images of 8 bits, each channel of each pixel by a distribution given those before it.

    .. math:: -\log_2 p(x) = -\sum_i \log_2 p(x_i \mid x_{j}, j \text{ near } i \text{ and before it})

    A network of whole numbers takes the neighbours and gives the weights of learnt tables and the weights, means and
    scales of logistic distributions. Pixels whose neighbours are known are coded at once, in all images of a block. The
    first images are coded by themselves, and what they become fills the lanes of the stack that codes the others, which
    would otherwise start empty and cost what they are as long as.

    A block is the height and the width of its images, 32 bits each, little-endian, and then the pixels of n images, row
    by row, the channels of a pixel side by side.

    Args:
        shape: Of an image: height, width, channels. Height and width are 0 for images of any size, which then have no
            codes of places.
        context: What the networks are told.
        networks: One for each channel; takes features, and then the codes of the pixel's place.
        mixtures: What their outputs stand for, one for each channel.
        places: Codes of places, whole numbers from -255 to 255, shape (height * width, codes).

    Raises:
        DamagedArchiveError: If these do not fit together.
    """

    name: ClassVar[str] = "pixels"

    def __init__(
        self,
        shape: _Shape,
        context: Context,
        networks: Sequence[ExactNetwork],
        mixtures: Sequence[MixtureTables],
        places: Integers,
    ) -> None:
        height, width, n_channels = shape
        self.shape, self.context = shape, context
        self.networks, self.mixtures, self.places = tuple(networks), tuple(mixtures), places
        fits = (
            min(shape) >= 0
            and n_channels == context.n_channels == len(networks) == len(mixtures)
            and places.ndim == 2
            and (len(places) == height * width if places.shape[1] else not places.size)
            and (not places.size or (FEATURES.low <= places.min() and places.max() <= FEATURES.high))
        )
        if not fits:
            raise DamagedArchiveError(f"its networks and places are not of images of shape {shape}.")
        for channel, (network, mixture) in enumerate(zip(networks, mixtures, strict=True)):
            n_inputs = context.n_features(channel) + places.shape[1]
            if not (
                network.n_inputs == n_inputs
                and network.inputs.holds(FEATURES)
                and network.n_outputs == mixture.n_outputs
                and mixture.n_symbols == 256
            ):
                raise DamagedArchiveError(f"the network of channel {channel} does not take what there is.")
        self._is_verified = False

    # State

    def state(self) -> CoderState:
        settings = {
            "shape": list(self.shape),
            "offsets": [list(offset) for offset in self.context.neighbourhood.offsets],
            "is_centred": self.context.is_centred,
            "gain": self.context.gain,
            "n_logistics": [mixture.n_logistics for mixture in self.mixtures],
            "networks": [network.describe() for network in self.networks],
        }
        arrays = {"places": self.places}
        for channel, (network, mixture) in enumerate(zip(self.networks, self.mixtures, strict=True)):
            arrays[f"tables.{channel}"] = mixture.tables.frequencies
            arrays |= {f"network.{channel}.{name}": array for name, array in network.arrays().items()}
        return CoderState(self.name, settings, arrays)

    @classmethod
    def of(cls, state: CoderState) -> PixelCoder:
        """Return the coder of a state.

        Raises:
            DamagedArchiveError: If it is none of such a coder.
        """
        settings, arrays = state.settings, state.arrays
        try:
            height, width, n_channels = (int(size) for size in settings["shape"])
            offsets = tuple((int(dy), int(dx)) for dy, dx in settings["offsets"])
            context = Context(Neighbourhood(offsets), n_channels, bool(settings["is_centred"]), settings["gain"])
            networks, mixtures = [], []
            for channel, description in enumerate(settings["networks"]):
                prefix = f"network.{channel}."
                own = {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
                networks.append(ExactNetwork.of(description, own))
                tables = FrequencyTables(arrays[f"tables.{channel}"], TABLE_BITS, least=0)
                mixtures.append(MixtureTables(tables, n_logistics=settings["n_logistics"][channel]))
            return cls((height, width, n_channels), context, networks, mixtures, arrays["places"])
        except (KeyError, IndexError, TypeError, ValueError, InvalidParameterError) as error:
            raise DamagedArchiveError(f"its model is no {cls.name} coder: {error}") from error

    # Blocks

    def encode(self, block: bytes, n: int) -> bytes:
        images = self._images(block, n)
        self._verify()
        told, n_first = block[:_SIZES], _n_first(n)
        if n_first == n:
            return told + self._stack_of(images, _n_lanes(images.size, _OF_AN_EMPTY_LANE)).to_bytes()
        first, others = images[:n_first], images[n_first:]
        early = self._stack_of(first, _n_lanes(first.size, _OF_AN_EARLY_LANE)).to_bytes()
        n_lanes = _n_lanes(others.size, _OF_A_LANE)
        stack = self._stack_of(others, n_lanes, early[: _SEED * n_lanes])
        return told + len(early).to_bytes(_SEED, "little") + early[_SEED * n_lanes :] + stack.to_bytes()

    def decode(self, content: bytes, n: int, size: int) -> bytes:
        told, content = content[:_SIZES], content[_SIZES:]
        height, width = _sizes(told)
        if not self._takes(height, width) or n < 1 or size != _SIZES + n * height * width * self.shape[2]:
            raise DamagedArchiveError(f"{size:,} bytes are not {n:,} images of {height} x {width} pixels.")
        self._verify()
        shape, n_first = (height, width, self.shape[2]), _n_first(n)
        if n_first == n:
            return told + self._unstacked(content, n, shape, _OF_AN_EMPTY_LANE)
        n_lanes = _n_lanes((n - n_first) * math.prod(shape), _OF_A_LANE)
        n_early = int.from_bytes(content[:_SEED], "little")
        start = _SEED + max(0, n_early - _SEED * n_lanes)
        if len(content) < start:
            raise DamagedArchiveError("it ends before its first images do.")
        others, seeds = self._read(content[start:], n - n_first, shape, n_lanes)
        if seeds[n_early:].strip(b"\0"):
            raise DamagedArchiveError("what its lanes started with is more than its first images.")
        early = (seeds + content[_SEED:start])[:n_early]
        return told + self._unstacked(early, n_first, shape, _OF_AN_EARLY_LANE) + others

    def _images(self, block: bytes, n: int) -> Pixels:
        height, width = _sizes(block[:_SIZES])
        shape = (n, height, width, self.shape[2])
        if n < 1 or not self._takes(height, width) or len(block) - _SIZES != math.prod(shape):
            raise UnfitDataError(f"{len(block):,} bytes are not {n:,} images that this model is of.")
        return np.frombuffer(block, np.uint8, offset=_SIZES).reshape(shape)

    def _takes(self, height: int, width: int) -> bool:
        """Whether images of a size can be coded; empty ones cannot."""
        return min(height, width) >= 1 and self.shape[:2] in ((0, 0), (height, width))

    def _unstacked(self, content: bytes, n: int, shape: _Shape, of_a_lane: int) -> bytes:
        images, seeds = self._read(content, n, shape, _n_lanes(n * math.prod(shape), of_a_lane))
        if seeds.strip(b"\0"):
            raise DamagedArchiveError("what is left after the last pixel is not what the first one found.")
        return images

    # Stacks

    def _stack_of(self, images: Pixels, n_lanes: int, seeds: bytes = b"") -> AnsStack:
        """A stack of images, whose lanes start with seeds."""
        canvas = _Canvas(self.context.neighbourhood, len(images), images.shape[1:])
        canvas.draw(images)
        intervals: list[tuple[Small, Small]] = []

        def note(channel: int, mixtures: Mixtures, pixels: Pixels, guesses: Small) -> None:
            intervals.append(self.mixtures[channel].intervals(mixtures, pixels.astype(np.int32)))

        self._visit(canvas, note)
        stack = AnsStack(n_lanes, np.frombuffer(seeds.ljust(_SEED * n_lanes, b"\0"), "<u4"))
        precision = self.mixtures[0].precision
        for both in reversed(intervals):
            starts, frequencies = (numbers.astype(np.uint64) for numbers in both)
            n_full = len(starts) - len(starts) % n_lanes
            if n_full < len(starts):
                stack.push_all(starts[None, n_full:], frequencies[None, n_full:], precision)
            full = starts[:n_full].reshape(-1, n_lanes), frequencies[:n_full].reshape(-1, n_lanes)
            stack.push_all(full[0][::-1], full[1][::-1], precision)
        return stack

    def _read(self, content: bytes, n: int, shape: _Shape, n_lanes: int) -> tuple[bytes, bytes]:
        """The images of a stack, and the seeds that its lanes started with."""
        stack = AnsStack.from_bytes(content, n_lanes)
        canvas = _Canvas(self.context.neighbourhood, n, shape)

        def pop(channel: int, mixtures: Mixtures, pixels: Pixels, guesses: Small) -> None:
            tables, symbols = self.mixtures[channel], guesses
            starts, frequencies = tables.intervals(mixtures, symbols)
            for lanes in _groups(len(mixtures), n_lanes):
                slots = stack.peek(lanes.stop - lanes.start, tables.precision)
                into = slots - starts[lanes]
                missed = ((into < 0) | (into >= frequencies[lanes])).nonzero()[0]
                if len(missed):
                    places = missed + lanes.start
                    found = tables.symbols(mixtures[places], slots[missed])
                    symbols[places], starts[places], frequencies[places] = found
                stack.pop_intervals(slots, starts[lanes], frequencies[lanes], tables.precision)
            pixels[:] = symbols

        self._visit(canvas, pop)
        return canvas.images().numpy().tobytes(), stack.seeds().astype("<u4").tobytes()

    def _visit(self, canvas: _Canvas, visitor: Callable[[int, Mixtures, Pixels, Small], None]) -> None:
        """Call a visitor for each channel of each front, some of its pixels at a time, one image after another.

        It is told the channel, the distributions of the pixels, the pixels, which it may fill in, and guesses at them.
        """
        context = self.context
        places = torch.from_numpy(self.places.T.copy()).float()
        with exact_arithmetic():
            for front in _fronts(context.neighbourhood, *canvas.shape[:2]):
                neighbours, pixels = canvas.neighbours(front), canvas.pixels(front)
                codes = places[:, torch.from_numpy(front)] if len(places) else places.new_zeros(0, len(front))
                codes = codes.repeat_interleave(canvas.n, 1)
                for channel, (network, mixture) in enumerate(zip(self.networks, self.mixtures, strict=True)):
                    for some in _groups(pixels.shape[1], _AT_ONCE):
                        # a feature of all pixels stands side by side, as on the canvas
                        near = neighbours[..., some].float().permute(2, 0, 1)
                        guesses = context.guesses(near)
                        parts = context.parts(near, pixels[:channel, some].float().T, guesses)
                        features = torch.cat([*(part.T for part in parts), codes[:, some]]).T
                        outputs, guess = network(features).int(), guesses[:, channel].int()
                        outputs[:, mixture.means] += MEANS_PER_SYMBOL * guess[:, None]
                        visitor(channel, mixture.of(outputs.numpy()), pixels[channel, some].numpy(), guess.numpy())
                canvas.paint(front, pixels)

    def _verify(self) -> None:
        if not self._is_verified:
            for network in self.networks:
                network.verify()
            self._is_verified = True


@final
class _Canvas:
    """Images with a margin of zeros around them, in which the pixels of one place in all images are neighbours."""

    def __init__(self, neighbourhood: Neighbourhood, n: int, shape: _Shape) -> None:
        self.n, self.shape = n, shape
        self._up, self._side = neighbourhood.up, neighbourhood.side
        height, width, n_channels = shape
        self._stride = width + 2 * self._side
        n_cells = (height + self._up) * self._stride
        self._rows = torch.zeros(n_channels * n_cells, n, dtype=torch.uint8)
        self._channels = n_cells * torch.arange(n_channels)[:, None]
        offsets = np.asarray(neighbourhood.offsets, np.int64)
        self._steps = torch.from_numpy(offsets @ np.asarray([self._stride, 1]))

    def draw(self, images: Pixels) -> None:
        """Fill in images, shape (n, height, width, channels)."""
        self._inner()[:] = torch.from_numpy(images.copy()).permute(3, 1, 2, 0)

    def images(self) -> Tensor:
        """Return the images, shape (n, height, width, channels)."""
        return self._inner().permute(3, 1, 2, 0).contiguous()

    def neighbours(self, front: Integers) -> Tensor:
        """Return the neighbours of the pixels of a front, shape (neighbours, channels, pixels * n)."""
        there = self._there(front) + self._steps[:, None, None]
        return self._rows.index_select(0, there.flatten()).view(*there.shape[:2], -1)

    def pixels(self, front: Integers) -> Tensor:
        """Return the pixels of a front, shape (channels, pixels * n)."""
        there = self._there(front)
        return self._rows.index_select(0, there.flatten()).view(len(there), -1)

    def paint(self, front: Integers, pixels: Tensor) -> None:
        """Fill in the pixels of a front, shape (channels, pixels * n)."""
        there = self._there(front).flatten()
        self._rows.index_copy_(0, there, pixels.view(len(there), self.n))

    def _there(self, front: Integers) -> Tensor:
        """Rows of the pixels of a front, shape (channels, pixels)."""
        y, x = np.divmod(front, self.shape[1])
        return self._channels + torch.from_numpy((y + self._up) * self._stride + x + self._side)

    def _inner(self) -> Tensor:
        """Of all but the margin, shape (channels, height, width, n)."""
        height, width, n_channels = self.shape
        grid = self._rows.view(n_channels, height + self._up, self._stride, self.n)
        return grid[:, self._up :, self._side : self._side + width]


@lru_cache(maxsize=8)
def _fronts(neighbourhood: Neighbourhood, height: int, width: int) -> list[Integers]:
    return neighbourhood.fronts(height, width)


def _sizes(told: bytes) -> tuple[int, int]:
    return int.from_bytes(told[:4], "little"), int.from_bytes(told[4:_SIZES], "little")


def _groups(n: int, n_lanes: int) -> list[slice]:
    return [slice(start, min(n, start + n_lanes)) for start in range(0, n, n_lanes)]


def _n_first(n: int) -> int:
    """How many images are coded before the others; all of them where there is but one."""
    return -(-n // _FIRST)


def _n_lanes(n_numbers: int, of_a_lane: int) -> int:
    """The largest power of two with enough numbers for each lane."""
    return min(_MOST_LANES, 1 << max(0, (n_numbers // of_a_lane).bit_length() - 1))


coders.register(PixelCoder.name)(PixelCoder.of)
