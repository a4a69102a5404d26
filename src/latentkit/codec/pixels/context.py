"""What a network is told of a pixel: its neighbours, whole numbers, the same when it learns and when it codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor

from latentkit.codec.exact import Span
from latentkit.codec.pixels.neighbourhood import Neighbourhood
from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer

__all__ = ["FEATURES", "Context"]

#: Where features lie.
FEATURES: Final = Span(-255, 255)


@final
@dataclass(frozen=True, slots=True)
class Context:
    """The features of a pixel of one channel.

    They are, each from -255 to 255: the neighbours of all channels; the channels of the pixel that come before; and, of
    each channel, a guess at the pixel. With `is_centred`, all but the guesses are differences from their channel's
    guess: brightness moves the guess alone.

    The guess is the middle one of W, N and W + N - NW (median edge detection).

    Attributes:
        neighbourhood: Which pixels are known.
        n_channels: Of the images.
        is_centred: See above.
        gain: What a feature is for each step of a channel, from 1 to 255: images of few levels are told as well as
            those of 256. Channels above 255 / gain are told as that.

    Raises:
        InvalidParameterError: If the neighbourhood lacks what the guess is made of.

    References:
        Weinberger, Seroussi and Sapiro, 2000, The LOCO-I lossless image compression algorithm, section III.
    """

    neighbourhood: Neighbourhood
    n_channels: int
    is_centred: bool
    gain: int = 1

    def __post_init__(self) -> None:
        check_integer("n_channels", self.n_channels, low=1)
        check_integer("gain", self.gain, low=1, high=FEATURES.high)
        if not {(-1, -1), (-1, 0), (0, -1)} <= set(self.neighbourhood.offsets):
            raise InvalidParameterError("the pixels to the left, above, and left of that are neighbours.")

    @property
    def n_neighbours(self) -> int:
        """How many neighbours a pixel has."""
        return len(self.neighbourhood.offsets)

    def n_features(self, channel: int) -> int:
        """How many features a pixel of a channel has."""
        return (self.n_neighbours + 1) * self.n_channels + channel

    def guesses(self, neighbours: Tensor) -> Tensor:
        """Return a guess at each pixel, shape (n, channels), of its neighbours, shape (n, neighbours, channels)."""
        place = self.neighbourhood.offsets.index
        west, north = neighbours[:, place((0, -1))], neighbours[:, place((-1, 0))]
        slope = west + north - neighbours[:, place((-1, -1))]
        low, high = torch.minimum(west, north), torch.maximum(west, north)
        return torch.maximum(low, torch.minimum(high, slope))

    def features(self, neighbours: Tensor, before: Tensor, guesses: Tensor) -> Tensor:
        """Return the features of pixels of one channel.

        Args:
            neighbours: Whole numbers from 0 to 255, in any floating type, shape (n, neighbours, channels).
            before: The channels of the pixels that come before this one, shape (n, channels before).
            guesses: Of :meth:`guesses`.
        Returns:
            Shape (n, features), the type of `neighbours`.
        """
        return torch.cat(self.parts(neighbours, before, guesses), 1)

    def parts(self, neighbours: Tensor, before: Tensor, guesses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what :meth:`features` puts together, each of shape (n, numbers) and laid out as it was given."""
        if self.gain > 1:
            most = FEATURES.high // self.gain
            neighbours, before, guesses = (x.clamp(max=most) * self.gain for x in (neighbours, before, guesses))
        if self.is_centred:
            neighbours = neighbours - guesses[:, None]
            before = before - guesses[:, : before.shape[1]]
        return neighbours.flatten(1), before, guesses
