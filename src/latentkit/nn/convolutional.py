"""Residual convolutional encoders and decoders for images of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_choice, check_integer
from latentkit.nn.activations import BRANCH_SCALE, activations, initialise
from latentkit.nn.families import (
    NORMALIZATIONS,
    UPSAMPLINGS,
    NetworkFamily,
    NetworkOptions,
    check_dropout,
    check_sizes,
    n_groups,
    networks,
)

__all__ = [
    "BlockOptions",
    "ConvDecoder",
    "ConvEncoder",
    "PixelBias",
    "ResidualBlock",
    "Upsampling",
    "check_channels",
    "check_image_shape",
    "coarser_stages",
    "default_channels",
    "finer_stages",
    "grid_sizes",
    "grid_normalization",
    "grid_strides",
]

#: A side of the grid is halved until it is at most this.
SMALLEST_SIDE = 4

#: Up to this many outputs a decoder has one bias per pixel, above it one per channel.
MAX_PIXEL_BIASES = 2**16


@final
class ConvEncoder(nn.Module):
    """Convolutional network from an image to a vector.

    The image is centred (2 x - 1). Each stage halves the grid by a strided convolution, rounding up, and passes it
    through a residual block; a linear layer reads the last grid.

    Args:
        event_shape: (channels, height, width) of one image, any size.
        n_outputs: Length of the vector.
        channels: Channels of the stages, from fine to coarse; as many stages as entries. A side of the grid that has
            come down to 4 is not halved further.
        activation: A name of `latentkit.nn.activations`.
        normalization: "none", "batch", "layer" or "group".
        dropout: Probability in [0, 1), inside the residual blocks.
        residual: Whether there are residual blocks.

    Raises:
        InvalidParameterError: If an argument has a value that it cannot have.

    References:
        He et al., 2016, Identity Mappings in Deep Residual Networks, arXiv:1603.05027 (order within a block).
        Wu and He, 2018, Group Normalization, arXiv:1803.08494.

    Example:
        >>> ConvEncoder((3, 37, 50), 32, channels=(16, 32))(torch.zeros(4, 3, 37, 50)).shape
        torch.Size([4, 32])
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
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.event_shape = check_image_shape("event_shape", event_shape)
        self.n_outputs = check_integer("n_outputs", n_outputs, low=1)
        self.channels = check_channels(channels)
        self.activation = activation
        self._activate = activations[activation].function
        check_choice("normalization", normalization, NORMALIZATIONS[1:])
        check_dropout(dropout)

        sizes = grid_sizes(self.event_shape[1:], len(self.channels))
        block = BlockOptions(activation, normalization, dropout) if residual else None
        self.stages = coarser_stages(self.event_shape[0], self.channels, sizes, activation=activation, block=block)
        before = self.channels[-1]
        self.norm = grid_normalization(normalization, before)
        self.output = nn.Linear(before * math.prod(sizes[-1]), self.n_outputs)
        initialise(self.output, None)

    def forward(self, x: Tensor) -> Tensor:
        """Map x in [0, 1], shape (*batch, channels, height, width), to (*batch, n_outputs)."""
        batch = x.shape[:-3]
        h = x.reshape(-1, *self.event_shape) * 2 - 1
        h = self._activate(self.norm(self.stages(h)))
        # With channels last in memory this reads the grid as it lies; the decoder writes it in the same order.
        result: Tensor = self.output(h.permute(0, 2, 3, 1).flatten(1)).reshape(*batch, self.n_outputs)
        return result


@final
class ConvDecoder(nn.Module):
    """Convolutional network from a latent vector to the parameters of a distribution over images.

    A linear layer writes the coarsest grid; each stage passes it through a residual block, doubles it and cuts it to
    the size that the encoder had there, so that the last has exactly the height and width asked for. A transposed
    convolution has kernel 4 at stride 2: every output then sums the same number of terms, which keeps checkerboards
    away.

    Args:
        latent_dim: Length of z.
        output_shape: (n_parameters, channels, height, width).
        channels: Channels of the stages, from fine to coarse, as for the encoder.
        activation: A name of `latentkit.nn.activations`.
        normalization: "none", "batch", "layer" or "group".
        dropout: Probability in [0, 1), inside the residual blocks.
        residual: Whether there are residual blocks.
        upsampling: "transposed" or "nearest".

    Raises:
        InvalidParameterError: If an argument has a value that it cannot have.

    References:
        Odena et al., 2016, Deconvolution and Checkerboard Artifacts, doi:10.23915/distill.00003.

    Example:
        >>> ConvDecoder(16, (2, 3, 37, 50), channels=(16, 32))(torch.zeros(4, 16)).shape
        torch.Size([4, 2, 3, 37, 50])
    """

    def __init__(
        self,
        latent_dim: int,
        output_shape: Sequence[int],
        *,
        channels: Sequence[int],
        activation: str = "silu",
        normalization: str = "group",
        dropout: float = 0.0,
        residual: bool = True,
        upsampling: str = "transposed",
    ) -> None:
        super().__init__()
        self.latent_dim = check_integer("latent_dim", latent_dim, low=1)
        shape = check_sizes("output_shape", output_shape)
        if len(shape) != 4:
            raise InvalidParameterError(f"output_shape must be (n_parameters, channels, height, width); got {shape}.")
        self.output_shape = shape
        self.channels = check_channels(channels)
        self.activation = activation
        self._activate = activations[activation].function
        check_choice("normalization", normalization, NORMALIZATIONS[1:])
        check_choice("upsampling", upsampling, UPSAMPLINGS)
        check_dropout(dropout)

        sizes = grid_sizes(shape[2:], len(self.channels))
        self._grid = (*sizes[-1], self.channels[-1])
        self.input = nn.Linear(self.latent_dim, math.prod(self._grid))
        initialise(self.input, None)
        block = BlockOptions(activation, normalization, dropout) if residual else None
        self.stages = finer_stages(self.channels, sizes, activation=activation, block=block, upsampling=upsampling)
        self.norm = grid_normalization(normalization, self.channels[0])
        n_outputs = shape[0] * shape[1]
        self.to_image = Upsampling(self.channels[0], n_outputs, sizes[1], sizes[0], kind=upsampling, bias=False)
        # Small, so that training starts at the average image: patterns of random weights are slow to unlearn.
        initialise(self.to_image.convolution, None, scale=BRANCH_SCALE)
        self.output_bias = PixelBias.for_images(n_outputs, sizes[0])

    def forward(self, z: Tensor) -> Tensor:
        """Map z of shape (*batch, latent) to (*batch, n_parameters, channels, height, width)."""
        batch = z.shape[:-1]
        # The view with channels last in memory is what the convolutions are fastest on; no copy is made.
        h = self.input(z.reshape(-1, self.latent_dim)).view(-1, *self._grid).permute(0, 3, 1, 2)
        h = self._activate(self.norm(self.stages(h)))
        result: Tensor = self.output_bias(self.to_image(h)).reshape(*batch, *self.output_shape)
        return result


@final
class ResidualBlock(nn.Module):
    """h + conv1x1(a(conv3x3(a(norm(h))))), half as wide inside.

    Args:
        channels: Channels in and out.
        activation: A name of `latentkit.nn.activations`.
        normalization: "none", "batch", "layer" or "group".
        dropout: Probability in [0, 1), between the convolutions.

    Example:
        >>> ResidualBlock(16)(torch.zeros(2, 16, 5, 7)).shape
        torch.Size([2, 16, 5, 7])
    """

    def __init__(
        self, channels: int, *, activation: str = "silu", normalization: str = "group", dropout: float = 0.0
    ) -> None:
        super().__init__()
        inner = max(channels // 2, 1)
        self._activate = activations[activation].function
        self.norm = grid_normalization(normalization, channels)
        self.spatial = nn.Conv2d(channels, inner, 3, padding=1)
        self.pointwise = nn.Conv2d(inner, channels, 1)
        self.dropout = nn.Dropout(dropout)
        initialise(self.spatial, activation)
        initialise(self.pointwise, activation, scale=BRANCH_SCALE)

    def forward(self, h: Tensor) -> Tensor:
        """Map h of shape (batch, channels, height, width) to the same shape."""
        branch = self.spatial(self._activate(self.norm(h)))
        result: Tensor = h + self.pointwise(self.dropout(self._activate(branch)))
        return result


@final
class PixelBias(nn.Module):
    """What a decoder adds to its output: one number per pixel, or per channel where there would be too many.

    Images that are aligned (digits, faces) have a mean image; with it here the network needs to learn only what
    differs from it.

    Attributes:
        bias: Shape (channels, height, width) or (channels, 1, 1).
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(shape))

    @classmethod
    def for_images(cls, channels: int, size: tuple[int, int]) -> PixelBias:
        """The bias for outputs of this many channels and pixels."""
        per_pixel = channels * math.prod(size) <= MAX_PIXEL_BIASES
        return cls((channels, *(size if per_pixel else (1, 1))))

    def forward(self, h: Tensor) -> Tensor:
        """Add the bias to h of shape (batch, channels, height, width)."""
        return h + self.bias


@final
class Upsampling(nn.Module):
    """Double the sides of a grid that are to grow, and cut it to `size`."""

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        before: tuple[int, int],
        size: tuple[int, int],
        *,
        kind: str,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.size = size
        strides = grid_strides(size, before)
        self.convolution: nn.Conv2d | nn.ConvTranspose2d
        if kind == "transposed":
            kernel = (2 + strides[0], 2 + strides[1])
            self.factors = (1, 1)
            self.convolution = nn.ConvTranspose2d(n_inputs, n_outputs, kernel, stride=strides, padding=1, bias=bias)
        else:
            self.factors = strides
            self.convolution = nn.Conv2d(n_inputs, n_outputs, 3, padding=1, bias=bias)

    def forward(self, h: Tensor) -> Tensor:
        height, width = self.size
        if self.factors != (1, 1):
            h = functional.interpolate(h, scale_factor=tuple(float(f) for f in self.factors))[..., :height, :width]
        result: Tensor = self.convolution(h)[..., :height, :width]
        return result


@dataclass(frozen=True, slots=True)
class BlockOptions:
    """What the residual blocks of a network share: see :class:`ResidualBlock`."""

    activation: str
    normalization: str
    dropout: float

    def block(self, channels: int) -> ResidualBlock:
        """A block of these options."""
        return ResidualBlock(
            channels, activation=self.activation, normalization=self.normalization, dropout=self.dropout
        )


def coarser_stages(
    n_inputs: int,
    channels: Sequence[int],
    sizes: Sequence[tuple[int, int]],
    *,
    activation: str,
    block: BlockOptions | None,
) -> nn.Sequential:
    """Stages from an image of `n_inputs` channels to the coarsest of `sizes`; None for `block` leaves blocks out."""
    stages: list[nn.Module] = []
    before = n_inputs
    for i, width in enumerate(channels):
        # The first convolution sees few channels, so that a wide kernel costs little there.
        kernel = 5 if i == 0 else 3
        down = nn.Conv2d(before, width, kernel, stride=grid_strides(sizes[i], sizes[i + 1]), padding=kernel // 2)
        initialise(down, activation)
        stages.append(down)
        if block is not None:
            stages.append(block.block(width))
        before = width
    return nn.Sequential(*stages)


def finer_stages(
    channels: Sequence[int],
    sizes: Sequence[tuple[int, int]],
    *,
    activation: str,
    block: BlockOptions | None,
    upsampling: str,
) -> nn.Sequential:
    """Stages from the coarsest of `sizes` to the one before the image; None for `block` leaves blocks out."""
    stages: list[nn.Module] = []
    for i in reversed(range(len(channels))):
        if block is not None:
            stages.append(block.block(channels[i]))
        if i > 0:
            up = Upsampling(channels[i], channels[i - 1], sizes[i + 1], sizes[i], kind=upsampling)
            initialise(up.convolution, activation)
            stages.append(up)
    return nn.Sequential(*stages)


def grid_sizes(size: Sequence[int], n_stages: int) -> list[tuple[int, int]]:
    """The grids of an encoder, from the image to the coarsest: each side is halved, rounding up, until at most 4.

    Example:
        >>> grid_sizes((28, 20), 3)
        [(28, 20), (14, 10), (7, 5), (4, 3)]
        >>> grid_sizes((2, 9), 2)
        [(2, 9), (2, 5), (2, 3)]
    """
    sizes = [(size[0], size[1])]
    for _ in range(n_stages):
        height, width = sizes[-1]
        sizes.append((_halved(height), _halved(width)))
    return sizes


def default_channels(event_shape: Sequence[int], *, n_rows: int | None = None) -> tuple[int, ...]:
    """Channels of the stages by size of the image and number of examples.

    There are as many stages as bring both sides down to 4. The first has 48 channels up to 16 x 16 pixels, 24 up to
    96 x 96, else 16; each has twice the last, at most 96 up to 32 x 32 pixels, 192 up to 96 x 96, else 256: the work
    per pixel then stays about the same. Fewer than 1,000 examples get half of that.

    Example:
        >>> default_channels((1, 8, 8)), default_channels((1, 28, 28)), default_channels((3, 64, 64))
        ((48,), (24, 48, 96), (24, 48, 96, 192))
        >>> default_channels((3, 256, 256))
        (16, 32, 64, 128, 256, 256)
    """
    _, height, width = event_shape
    pixels = height * width
    n_stages = 1
    while max(grid_sizes((height, width), n_stages)[-1]) > SMALLEST_SIDE:
        n_stages += 1
    first = 48 if pixels <= 16**2 else 24 if pixels <= 96**2 else 16
    widest = 96 if pixels <= 32**2 else 192 if pixels <= 96**2 else 256
    share = 2 if n_rows is not None and n_rows < 1000 else 1
    return tuple(min(first * 2**i, widest) // share for i in range(n_stages))


def check_image_shape(name: str, shape: object) -> tuple[int, int, int]:
    """Return `shape` as (channels, height, width).

    Raises:
        InvalidParameterError: If it is something else.
    """
    sizes = check_sizes(name, shape)
    if len(sizes) != 3:
        raise InvalidParameterError(
            f"a convolutional network needs images, {name} (channels, height, width); got {sizes}. Use 'mlp' for rows."
        )
    return sizes[0], sizes[1], sizes[2]


def check_channels(channels: object) -> tuple[int, ...]:
    """Return `channels` as a tuple of at least one integer.

    Raises:
        InvalidParameterError: If it is something else.
    """
    sizes = check_sizes("channels", channels)
    if not sizes:
        raise InvalidParameterError("channels must have at least one entry, one per stage; got ().")
    return sizes


def _halved(side: int) -> int:
    return -(-side // 2) if side > SMALLEST_SIDE else side


def grid_strides(fine: tuple[int, int], coarse: tuple[int, int]) -> tuple[int, int]:
    """Return the strides that lead from a grid of :func:`grid_sizes` to the next: 2 where a side is halved, else 1."""
    return 1 if fine[0] == coarse[0] else 2, 1 if fine[1] == coarse[1] else 2


def grid_normalization(name: str, channels: int) -> nn.Module:
    """Return the normalisation of this name for features of shape (batch, channels, height, width)."""
    match name:
        case "batch":
            return nn.BatchNorm2d(channels)
        case "layer":
            return nn.GroupNorm(1, channels)
        case "group":
            return nn.GroupNorm(n_groups(channels), channels)
        case _:
            return nn.Identity()


def _channels(options: NetworkOptions, event_shape: tuple[int, int, int]) -> Sequence[int]:
    if options.widths != "auto":
        raise InvalidParameterError(
            f"widths belongs to a multilayer perceptron, and this network is convolutional; "
            f"got widths={options.widths!r}. Give channels instead, or choose 'mlp'."
        )
    channels = options.channels
    return default_channels(event_shape, n_rows=options.n_rows) if isinstance(channels, str) else channels


def _encoder(event_shape: tuple[int, ...], n_outputs: int, options: NetworkOptions) -> ConvEncoder:
    image_shape = check_image_shape("event_shape", event_shape)
    return ConvEncoder(
        image_shape,
        n_outputs,
        channels=_channels(options, image_shape),
        activation="silu" if options.activation == "auto" else options.activation,
        normalization="group" if options.normalization == "auto" else options.normalization,
        dropout=options.dropout,
        residual=options.residual is not False,
    )


def _decoder(latent_dim: int, output_shape: tuple[int, ...], options: NetworkOptions) -> ConvDecoder:
    image_shape = check_image_shape("event_shape", output_shape[1:])
    return ConvDecoder(
        latent_dim,
        output_shape,
        channels=_channels(options, image_shape),
        activation="silu" if options.activation == "auto" else options.activation,
        normalization="group" if options.normalization == "auto" else options.normalization,
        dropout=options.dropout,
        residual=options.residual is not False,
        upsampling=options.upsampling,
    )


networks.register("conv")(NetworkFamily(encoder=_encoder, decoder=_decoder))
