"""Networks of a ladder: features climb from the data layer by layer, and come down through every layer's latents."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast, final

import torch
from torch import Tensor, nn

from latentkit.nn.activations import BRANCH_SCALE, WeightedLayer, activations, initialise
from latentkit.nn.convolutional import PixelBias, Upsampling, grid_normalization, grid_sizes, grid_strides
from latentkit.nn.mlp import row_normalization

__all__ = [
    "GatedBlock",
    "LadderDecoder",
    "LadderEncoder",
    "LadderLayer",
    "LadderMerge",
    "Level",
    "LevelSettings",
    "levels_of",
    "standardise_layers",
]


@dataclass(frozen=True, slots=True)
class Level:
    """Where the features of one layer live: `channels` numbers, at every place of `grid`, or once where it is None."""

    channels: int
    grid: tuple[int, int] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the features of one example."""
        return (self.channels,) if self.grid is None else (self.channels, *self.grid)


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelSettings:
    """What all layers of a ladder share.

    Attributes:
        n_blocks: Residual blocks of a layer on the way up, and again on the way down.
        activation: A name of `latentkit.nn.activations`.
        normalization: "none", "batch", "layer" or "group", in front of the activations.
        dropout: Probability in [0, 1), inside the residual blocks.
        upsampling: "transposed" or "nearest", between grids.
        has_grids: Whether the latents of a layer on a grid are channels on that grid, instead of one vector.
    """

    n_blocks: int = 1
    activation: str = "silu"
    normalization: str = "none"
    dropout: float = 0.0
    upsampling: str = "transposed"
    has_grids: bool = False

    def normalise(self, level: Level) -> nn.Module:
        """The normalisation of features of a level."""
        norm = row_normalization if level.grid is None else grid_normalization
        return norm(self.normalization, level.channels)

    def blocks(self, level: Level) -> nn.Sequential:
        """The residual blocks of a level, one way."""
        return nn.Sequential(*(GatedBlock(level, self) for _ in range(self.n_blocks)))


def levels_of(sizes: Sequence[int], event_shape: Sequence[int], *, on_grids: bool) -> list[Level]:
    """Return the levels of a ladder, from the one next to the data to the top.

    Args:
        sizes: Channels of each level.
        event_shape: Shape of one example.
        on_grids: Whether features lie on grids, each half as fine as the one below; the first halves the image.

    Example:
        >>> [level.grid for level in levels_of((8, 16), (1, 28, 20), on_grids=True)]
        [(14, 10), (7, 5)]
    """
    if not on_grids:
        return [Level(size) for size in sizes]
    grids = grid_sizes(event_shape[1:], len(sizes))[1:]
    return [Level(size, grid) for size, grid in zip(sizes, grids, strict=True)]


@final
class GatedBlock(nn.Module):
    r"""Residual block whose branch is gated.

    .. math:: h + v \odot \sigma(g), \qquad (v, g) = W_2 \, a(W_1 \, a(n(h)))

    W_1 leads to half the width; on a grid it is a convolution of 3 x 3, and W_2 one of 1 x 1.

    Example:
        >>> GatedBlock(Level(16, (5, 7)), LevelSettings())(torch.zeros(2, 16, 5, 7)).shape
        torch.Size([2, 16, 5, 7])
    """

    def __init__(self, level: Level, settings: LevelSettings) -> None:
        super().__init__()
        width = level.channels
        inner = max(width // 2, 1)
        self._activate = activations[settings.activation].function
        self.norm = settings.normalise(level)
        self.first = _layer(width, inner, level.grid)
        self.dropout = nn.Dropout(settings.dropout)
        self.second = _layer(inner, 2 * width, level.grid, kernel=1)
        initialise(self.first, settings.activation)
        initialise(self.second, settings.activation, scale=BRANCH_SCALE)

    def forward(self, h: Tensor) -> Tensor:
        """Map h of shape (batch, channels[, height, width]) to the same shape."""
        branch = self.first(self._activate(self.norm(h)))
        value, gate = self.second(self.dropout(self._activate(branch))).chunk(2, dim=1)
        return torch.addcmul(h, value, torch.sigmoid(gate))


@final
class LadderMerge(nn.Module):
    """What a layer's posterior is read from: the features on the way up and those on the way down.

    Args:
        up: Level of the features on the way up.
        down: Level of those on the way down, on the same grid.
        n_latents: Latents of the layer (channels of latents, on a grid).
        settings: What all layers share.
    """

    def __init__(self, up: Level, down: Level, n_latents: int, settings: LevelSettings) -> None:
        super().__init__()
        self._activate = activations[settings.activation].function
        self.from_below = _layer(up.channels, down.channels, down.grid)
        self.from_above = _layer(down.channels, down.channels, down.grid, bias=False)
        self.norm = settings.normalise(down)
        self.output = _Reading(down, 2 * n_latents, has_grid=settings.has_grids)
        initialise(self.from_below, settings.activation)
        initialise(self.from_above, settings.activation)
        # A vector for a whole grid starts at full strength: of a whisper, the way down learns to do without.
        initialise(self.output.layer, None, scale=1.0 if self.output.spans_grid else BRANCH_SCALE)

    def forward(self, below: Tensor, above: Tensor) -> Tensor:
        """Return means and raw log-variances, shape (rows, 2 latents of the layer).

        Args:
            below: What :attr:`from_below` made of the features on the way up, shape (batch, *level); once for all
                draws.
            above: Features on the way down, shape (1, *level) for all, (batch, *level), or (draws * batch, *level).
        """
        seen = self.from_above(above)
        if len(seen) > len(below):
            h = (seen.unflatten(0, (-1, len(below))) + below).flatten(0, 1)
        else:
            h = seen + below
        result: Tensor = self.output(self._activate(self.norm(h)))
        return result


@final
class LadderEncoder(nn.Module):
    """The way up: features of every layer from the data, and what merges them with the features on the way down.

    Args:
        event_shape: Shape of what it sees of one example.
        levels: From the data to the top.
        down: Levels of the decoder, on the same grids.
        n_latents: Latents of each layer, in the same order.
        settings: What all layers share.

    Example:
        >>> levels = levels_of((8, 16), (1, 9, 9), on_grids=True)
        >>> encoder = LadderEncoder((1, 9, 9), levels, levels, (4, 2), LevelSettings())
        >>> [tuple(h.shape) for h in encoder(torch.zeros(3, 1, 9, 9))]
        [(3, 16, 3, 3), (3, 8, 5, 5)]
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        levels: Sequence[Level],
        down: Sequence[Level],
        n_latents: Sequence[int],
        settings: LevelSettings,
    ) -> None:
        super().__init__()
        self._activate = activations[settings.activation].function
        before = _level_of_data(event_shape, levels[0])
        stages: list[nn.Module] = []
        for number, level in enumerate(levels):
            step = _descent_in_size(before, level, kernel=5 if number == 0 else 3)
            initialise(step, settings.activation)
            stages.append(nn.Sequential(step, settings.blocks(level)))
            before = level
        self._data = _level_of_data(event_shape, levels[0]).shape
        self.stages = nn.ModuleList(stages)
        self.norms = nn.ModuleList(settings.normalise(level) for level in levels)
        merges = [LadderMerge(*parts, settings) for parts in zip(levels, down, n_latents, strict=True)]
        self.merges = nn.ModuleList(reversed(merges))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return what each layer's merge takes from below, top first, for x of shape (batch, *event)."""
        h = x.reshape(-1, *self._data)
        h = h * 2 - 1 if len(self._data) == 3 else h
        below = []
        for stage, norm, merge in zip(self.stages, self.norms, reversed(self.merges), strict=True):
            h = self._activate(norm(stage(h)))
            below.append(cast(LadderMerge, merge).from_below(h))
        return below[::-1]


@final
class LadderLayer(nn.Module):
    """One layer of the way down: the scale of its latents given what is above, and what their values add.

    Args:
        level: Of its features.
        below: Level of the next features; None for the last layer.
        n_latents: Latents of the layer (channels of latents, on a grid).
        settings: What all layers share.

    Attributes:
        n_dims: Latent dimensions of the layer.
    """

    def __init__(self, level: Level, below: Level | None, n_latents: int, settings: LevelSettings) -> None:
        super().__init__()
        self._activate = activations[settings.activation].function
        has_grid = settings.has_grids and level.grid is not None
        self.n_dims = n_latents * (math.prod(level.grid or ()) if has_grid else 1)
        self.norm = settings.normalise(level)
        self.prior = _Reading(level, 2 * n_latents, has_grid=has_grid)
        self.input = _Writing(n_latents, level, has_grid=has_grid)
        self.blocks = settings.blocks(level)
        self.out_norm = settings.normalise(level)
        self.output = nn.Identity() if below is None else _ascent_in_size(level, below, settings.upsampling)
        initialise(self.prior.layer, None, scale=BRANCH_SCALE)
        initialise(self.input.layer, None if self.input.spans_grid else settings.activation)
        if below is not None:
            initialise(_weighted(self.output), settings.activation)

    def prior_parameters(self, h: Tensor) -> Tensor:
        """Means and raw log-variances of the layer's latents given features from above, shape (rows, 2 n_dims)."""
        result: Tensor = self.prior(self._activate(self.norm(h)))
        return result

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        """Return the features for the layer below.

        Args:
            h: Features from above, shape (rows, *level), or (1, *level) for all rows.
            z: Latents of the layer, shape (rows, n_dims).
        """
        h = self.blocks(h + self.input(z))
        result: Tensor = self.output(self._activate(self.out_norm(h)))
        return result


@final
class LadderDecoder(nn.Module):
    """The way down: from learnt features at the top, through the latents of each layer, to the likelihood's parameters.

    Args:
        levels: From the data to the top.
        n_latents: Latents of each layer, in the same order.
        output_shape: (n_parameters, *event).
        settings: What all layers share.
        condition_dim: Columns of a condition, which moves the features at the top; 0 for none.
    """

    def __init__(
        self,
        levels: Sequence[Level],
        n_latents: Sequence[int],
        output_shape: Sequence[int],
        settings: LevelSettings,
        *,
        condition_dim: int = 0,
    ) -> None:
        super().__init__()
        self.output_shape = tuple(output_shape)
        self.start = nn.Parameter(torch.zeros(1, *levels[-1].shape))
        self.condition = _Writing(condition_dim, levels[-1], has_grid=False) if condition_dim else None
        if self.condition is not None:
            initialise(self.condition.layer, settings.activation)
        below = (None, *levels[:-1])
        layers = [LadderLayer(*parts, settings) for parts in zip(levels, below, n_latents, strict=True)]
        self.layers = nn.ModuleList(reversed(layers))
        last = levels[0]
        self.output: nn.Module
        self.output_layer: nn.Linear | PixelBias
        if last.grid is None:
            self.output = self.output_layer = nn.Linear(last.channels, math.prod(self.output_shape))
            initialise(self.output_layer, None)
        else:
            size = (self.output_shape[-2], self.output_shape[-1])
            n_outputs = math.prod(self.output_shape[:-2])
            to_image = Upsampling(last.channels, n_outputs, last.grid, size, kind=settings.upsampling, bias=False)
            initialise(to_image.convolution, None, scale=BRANCH_SCALE)
            self.output_layer = PixelBias.for_images(n_outputs, size)
            self.output = nn.Sequential(to_image, self.output_layer)

    @property
    def dims(self) -> list[int]:
        """Latent dimensions of each layer, top first."""
        return [int(layer.n_dims) for layer in self.layers]  # type: ignore[arg-type]

    def begin(self, condition: Tensor | None) -> Tensor:
        """Return the features at the top, shape (1, *level), or one for each condition, shape (rows, columns)."""
        if self.condition is None or condition is None:
            return self.start.clone()  # a parameter as the input of a module breaks torch's counter of operations
        moved: Tensor = self.start + self.condition(condition)
        return moved

    def finish(self, h: Tensor) -> Tensor:
        """Return the likelihood's parameters, shape (rows, *output_shape), from the features of the last layer."""
        result: Tensor = self.output(h).reshape(-1, *self.output_shape)
        return result


@torch.no_grad()
def standardise_layers(networks: Iterable[nn.Module], run: Callable[[], object]) -> None:
    r"""Scale the layers of networks so that, on the data of one pass, what each gives has mean 0 and variance 1.

    .. math:: W \leftarrow W / s, \qquad b \leftarrow (b - m) / s

    with mean m and standard deviation s of each output over examples and places. The layers are done in the order of
    the pass, each on what the scaled ones before it give. Layers that end a residual branch or give a distribution's
    parameters keep the small weights that they start with, and so do those that write one vector onto a whole grid,
    whose weights of unit variance would be noise too strong to be unlearnt, and an output that does not vary.

    Args:
        networks: Their layers are scaled in place.
        run: Makes the pass.

    References:
        Krahenbuhl et al., 2016, Data-dependent Initializations of Convolutional Neural Networks, arXiv:1511.06856;
        Salimans and Kingma, 2016, Weight Normalization, section 3, arXiv:1602.07868.
    """
    handles = []

    def scale(layer: nn.Module, _: object, output: Tensor) -> Tensor:
        assert isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
        dims = [0, *range(2, output.ndim)]
        mean, stddev = output.mean(dims), output.std(dims, correction=0)
        varies = stddev > 1e-4 * output.abs().amax(dims).clamp_min(1e-12)
        mean, stddev = torch.where(varies, mean, 0.0), torch.where(varies, stddev, 1.0)
        axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        layer.weight.div_(stddev.reshape([-1 if i == axis else 1 for i in range(layer.weight.ndim)]))
        if layer.bias is None:
            mean = torch.zeros_like(mean)
        else:
            layer.bias.sub_(mean).div_(stddev)
        shape = [1, -1, *[1] * (output.ndim - 2)]
        return (output - mean.reshape(shape)) / stddev.reshape(shape)

    for network in networks:
        kept = {id(block.second) for block in network.modules() if isinstance(block, GatedBlock)}
        kept |= {id(head.layer) for head in network.modules() if isinstance(head, _Reading)}
        kept |= {id(head.layer) for head in network.modules() if isinstance(head, _Writing) and head.spans_grid}
        layers = [part for part in network.modules() if isinstance(part, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]
        handles += [layer.register_forward_hook(scale) for layer in layers if id(layer) not in kept]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()


@final
class _Reading(nn.Module):
    """Numbers for each example from features: one vector, or, with a grid, channels of it that are laid flat.

    `spans_grid` tells whether the features lie on a grid and the numbers are one vector for all of it.
    """

    def __init__(self, level: Level, n: int, *, has_grid: bool) -> None:
        super().__init__()
        self._n = n
        is_spatial = has_grid and level.grid is not None
        self.spans_grid = level.grid is not None and not is_spatial
        self.layer: nn.Linear | nn.Conv2d
        self.layer = nn.Conv2d(level.channels, n, 1) if is_spatial else nn.Linear(math.prod(level.shape), n)

    def forward(self, h: Tensor) -> Tensor:
        result: Tensor = self.layer(h if isinstance(self.layer, nn.Conv2d) else h.flatten(1)).flatten(1)
        return result


@final
class _Writing(nn.Module):
    """Features from numbers of each example; the inverse arrangement of :class:`_Reading`."""

    def __init__(self, n: int, level: Level, *, has_grid: bool) -> None:
        super().__init__()
        is_spatial = has_grid and level.grid is not None
        self.spans_grid = level.grid is not None and not is_spatial
        self._given = (n, *(level.grid or ())) if is_spatial else (n,)
        self._shape = level.shape
        self.layer: nn.Linear | nn.Conv2d
        self.layer = nn.Conv2d(n, level.channels, 1) if is_spatial else nn.Linear(n, math.prod(level.shape))

    def forward(self, z: Tensor) -> Tensor:
        result: Tensor = self.layer(z.reshape(-1, *self._given)).reshape(-1, *self._shape)
        return result


def _layer(
    n_inputs: int, n_outputs: int, grid: tuple[int, int] | None, *, kernel: int = 3, bias: bool = True
) -> nn.Linear | nn.Conv2d:
    if grid is None:
        return nn.Linear(n_inputs, n_outputs, bias=bias)
    return nn.Conv2d(n_inputs, n_outputs, kernel, padding=kernel // 2, bias=bias)


def _level_of_data(event_shape: Sequence[int], first: Level) -> Level:
    if first.grid is None:
        return Level(math.prod(event_shape))
    return Level(event_shape[0], (event_shape[1], event_shape[2]))


def _descent_in_size(before: Level, after: Level, *, kernel: int) -> nn.Linear | nn.Conv2d:
    if before.grid is None or after.grid is None:
        return nn.Linear(before.channels, after.channels)
    strides = grid_strides(before.grid, after.grid)
    return nn.Conv2d(before.channels, after.channels, kernel, stride=strides, padding=kernel // 2)


def _ascent_in_size(before: Level, after: Level, kind: str) -> nn.Linear | Upsampling:
    if before.grid is None or after.grid is None:
        return nn.Linear(before.channels, after.channels)
    return Upsampling(before.channels, after.channels, before.grid, after.grid, kind=kind)


def _weighted(module: nn.Module) -> WeightedLayer:
    layer = module.convolution if isinstance(module, Upsampling) else module
    assert isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
    return layer
