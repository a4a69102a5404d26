"""Residual convolutional networks between an image and a coarse grid of vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.nn.activations import BRANCH_SCALE, activations, initialise
from latentkit.nn.convolutional import (
    BlockOptions,
    PixelBias,
    Upsampling,
    check_channels,
    check_image_shape,
    coarser_stages,
    finer_stages,
    grid_normalization,
    grid_sizes,
)
from latentkit.nn.families import check_dropout, check_sizes

__all__ = ["GridDecoder", "GridEncoder", "grid_channels"]

#: Residual blocks on the coarsest grid, beside the one of its stage.
N_BLOCKS = 1
#: Longest side of the grid up to 64 pixels, and above.
LONGEST_SIDE, LONGEST_SIDE_OF_LARGE = 8, 16


@final
class GridEncoder(nn.Module):
    """Convolutional network from an image to a vector for each place of a grid.

    The stages are those of :class:`latentkit.nn.ConvEncoder`; more residual blocks and a 1 x 1 convolution follow
    where that one has a linear layer.

    Args:
        event_shape: (channels, height, width) of one image, any size.
        n_outputs: Numbers for each place.
        channels: Channels of the stages, from fine to coarse; each halves the grid, down to sides of 4.
        activation: A name of `latentkit.nn.activations`.
        normalization: "none", "batch", "layer" or "group".
        dropout: Probability in [0, 1), inside the residual blocks.

    Attributes:
        grid: (height, width) of the grid.

    Raises:
        InvalidParameterError: If an argument has a value that it cannot have.

    References:
        van den Oord et al., 2017, Neural Discrete Representation Learning, section 4.1, arXiv:1711.00937.

    Example:
        >>> import torch
        >>> GridEncoder((3, 30, 50), 7, channels=(16, 32))(torch.zeros(4, 3, 30, 50)).shape
        torch.Size([4, 728])
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        n_outputs: int,
        *,
        channels: Sequence[int],
        activation: str = "silu",
        normalization: str = "group",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.event_shape = check_image_shape("event_shape", event_shape)
        check_dropout(dropout)
        widths = check_channels(channels)
        sizes = grid_sizes(self.event_shape[1:], len(widths))
        self.grid = sizes[-1]
        self._activate = activations[activation].function
        block = BlockOptions(activation, normalization, dropout)
        self.stages = coarser_stages(self.event_shape[0], widths, sizes, activation=activation, block=block)
        self.blocks = nn.Sequential(*(block.block(widths[-1]) for _ in range(N_BLOCKS)))
        self.norm = grid_normalization(normalization, widths[-1])
        self.output = nn.Conv2d(widths[-1], check_integer("n_outputs", n_outputs, low=1), 1)
        initialise(self.output, None)

    def forward(self, x: Tensor) -> Tensor:
        """Map x in [0, 1], shape (batch, channels, height, width), to (batch, places * n_outputs), place by place."""
        h = self._activate(self.norm(self.blocks(self.stages(x * 2 - 1))))
        result: Tensor = self.output(h).permute(0, 2, 3, 1).flatten(1)
        return result


@final
class GridDecoder(nn.Module):
    """Convolutional network from a vector for each place of a grid to the parameters of a distribution over images.

    Args:
        code_dim: Length of the vector of a place.
        output_shape: (n_parameters, channels, height, width).
        channels: Channels of the stages, from fine to coarse, as for the encoder.
        activation: A name of `latentkit.nn.activations`.
        normalization: "none", "batch", "layer" or "group".
        dropout: Probability in [0, 1), inside the residual blocks.
        upsampling: "transposed" or "nearest".

    Raises:
        InvalidParameterError: If an argument has a value that it cannot have.

    Example:
        >>> import torch
        >>> GridDecoder(7, (2, 3, 30, 50), channels=(16, 32))(torch.zeros(4, 728)).shape
        torch.Size([4, 2, 3, 30, 50])
    """

    def __init__(
        self,
        code_dim: int,
        output_shape: Sequence[int],
        *,
        channels: Sequence[int],
        activation: str = "silu",
        normalization: str = "group",
        dropout: float = 0.0,
        upsampling: str = "transposed",
    ) -> None:
        super().__init__()
        self.output_shape = check_sizes("output_shape", output_shape)
        check_image_shape("event_shape", self.output_shape[1:])
        check_dropout(dropout)
        widths = check_channels(channels)
        sizes = grid_sizes(self.output_shape[2:], len(widths))
        self._grid = (*sizes[-1], check_integer("code_dim", code_dim, low=1))
        self._activate = activations[activation].function
        block = BlockOptions(activation, normalization, dropout)
        self.input = nn.Conv2d(code_dim, widths[-1], 3, padding=1)
        initialise(self.input, None)
        self.blocks = nn.Sequential(*(block.block(widths[-1]) for _ in range(N_BLOCKS)))
        self.stages = finer_stages(widths, sizes, activation=activation, block=block, upsampling=upsampling)
        self.norm = grid_normalization(normalization, widths[0])
        n_outputs = self.output_shape[0] * self.output_shape[1]
        self.to_image = Upsampling(widths[0], n_outputs, sizes[1], sizes[0], kind=upsampling, bias=False)
        initialise(self.to_image.convolution, None, scale=BRANCH_SCALE)
        # Not one for each pixel: what is where stands in the grid.
        self.output_bias = PixelBias((n_outputs, 1, 1))

    def forward(self, z: Tensor) -> Tensor:
        """Map z of shape (batch, places * code_dim) to (batch, n_parameters, channels, height, width)."""
        h = self.blocks(self.input(z.view(-1, *self._grid).permute(0, 3, 1, 2)))
        h = self._activate(self.norm(self.stages(h)))
        result: Tensor = self.output_bias(self.to_image(h)).reshape(-1, *self.output_shape)
        return result


def grid_channels(
    event_shape: Sequence[int], *, downsampling: int | None = None, n_rows: int | None = None
) -> tuple[int, ...]:
    """Channels of the stages of a grid's networks.

    Without `downsampling` there are as many stages as bring the longer side of the grid down to 8, for images above 64
    pixels to 16. The last has 64 channels up to 64 pixels, else 128, each before it half as many, at least 32. Fewer
    than 1,000 examples get half of both: too few to learn which of many codes go beside which.

    Args:
        event_shape: (channels, height, width).
        downsampling: How many times shorter the sides of the grid are than the image's: a power of 2, at least 2.
        n_rows: Number of training examples, where known.

    Raises:
        InvalidParameterError: If `downsampling` is no power of 2 or leaves a side below 4.

    Example:
        >>> grid_channels((3, 32, 32)), grid_channels((3, 32, 32), downsampling=8)
        ((32, 64), (32, 32, 64))
    """
    longest = max(event_shape[1:])
    share = 2 if n_rows is not None and n_rows < 1000 else 1
    target = (LONGEST_SIDE if longest <= 64 else LONGEST_SIDE_OF_LARGE) // share
    n_stages = max(1, math.ceil(math.log2(longest / target)))
    if downsampling is not None:
        n_stages = check_integer("downsampling", downsampling, low=2).bit_length() - 1
        height, width = grid_sizes(event_shape[1:], n_stages)[-1]
        if downsampling != 1 << n_stages or -(-longest // downsampling) != max(height, width):
            most = 1 << max(1, math.floor(math.log2(longest / 4)))
            raise InvalidParameterError(
                f"downsampling must be a power of 2 from 2 to {most} for images of {event_shape[1]} x "
                f"{event_shape[2]} pixels; got {downsampling}."
            )
    widest = 64 if longest <= 64 else 128
    return tuple(max(32, widest >> (n_stages - 1 - i)) // share for i in range(n_stages))
