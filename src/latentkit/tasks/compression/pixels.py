"""Learning to code images a pixel at a time."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from latentkit.codec.exact import Span, exact_perceptron
from latentkit.codec.frequencies import FrequencyTables
from latentkit.codec.mixtures import (
    HIGHEST_LEVEL,
    LEVELS_PER_NAT,
    LOGITS_PER_NAT,
    LOWEST_LEVEL,
    MEANS_PER_SYMBOL,
    TABLE_BITS,
    MixtureTables,
)
from latentkit.codec.pixels import Context, Neighbourhood, PixelCoder
from latentkit.codec.pixels.context import FEATURES
from latentkit.core.errors import DataError, InvalidParameterError
from latentkit.core.seeds import derive_seed, generator, isolated_rng
from latentkit.objectives import MaximumLikelihood
from latentkit.training import Engine, Feed, Trainer, TrainingPlan, TrainingResult
from latentkit.training.progress import Reporter, Silent

__all__ = ["FittedPixels", "PixelModel", "PixelSettings", "fit_pixel_coder"]

_WHITE: Final = 255
_N_SYMBOLS: Final = 256
#: Pixels of a step, and images that they are drawn from.
_PIXELS: Final = 4096
_IMAGES: Final = 64
#: Share of the pixels of a step whose neighbours are all alike, at most: there is little to learn from them.
_FLAT_SHARE: Final = 0.15
_HELD_OUT: Final = 1000
#: Side of a square, in pixels: no larger images have places with codes of their own; they are learnt in such tiles.
_TILE: Final = 64
_UNLIMITED: Final = 1_000_000  # epochs
_FEW: Final = 64  # gain of images that have four levels or fewer
_COUNTED: Final = 5000  # images by which symbols are counted
_EXAMPLES: Final = 20_000  # pixels by which activations are scaled


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PixelSettings:
    """What a model of pixels looks like.

    Attributes:
        reach: Of the neighbourhood; see :meth:`~latentkit.codec.pixels.Neighbourhood.within`.
        width: Of the hidden layers.
        n_hidden: How many of them.
        n_tables: Learnt tables of a mixture.
        n_logistics: Its logistic components.
        place_codes: Numbers that tell a network the place of a pixel; 0 for none.
        is_centred: Whether neighbours are told as differences; see :class:`~latentkit.codec.pixels.Context`.
    """

    reach: int = 6
    width: int = 64
    n_hidden: int = 2
    n_tables: int = 16
    n_logistics: int = 3
    place_codes: int = 8
    is_centred: bool = False


@final
@dataclass(frozen=True, slots=True)
class FittedPixels:
    """A coder of images, and how it came about.

    Attributes:
        coder: The coder.
        training: How training went: objectives are nats an image, or a tile of one.
        bits: Of a byte of images that were held out, by the model before it became whole numbers; an estimate from some
            of their pixels.
    """

    coder: PixelCoder
    training: TrainingResult
    bits: float


@final
class PixelModel(nn.Module):
    """Distributions of pixels given those before them.

    Args:
        shape: Of an image: height, width, channels.
        settings: Of the networks.
        shares: How frequent each symbol is, shape (channels, 256); tables start there.
        gain: Of the features; see :class:`~latentkit.codec.pixels.Context`.
    """

    _steps: Tensor

    def __init__(self, shape: tuple[int, int, int], settings: PixelSettings, shares: Tensor, gain: int = 1) -> None:
        super().__init__()
        self.shape, self.settings = shape, settings
        height, width, n_channels = shape
        self.context = Context(Neighbourhood.within(settings.reach), n_channels, settings.is_centred, gain)
        self.places = nn.Parameter(torch.zeros(height * width, settings.place_codes))
        self.networks = nn.ModuleList(_Network(self.context, channel, settings) for channel in range(n_channels))
        noise = 0.3 * torch.randn(n_channels, settings.n_tables, _N_SYMBOLS)
        self.tables = nn.Parameter(noise + torch.log(shares + 1e-5)[:, None])
        up, side = self.context.neighbourhood.up, self.context.neighbourhood.side
        self._margin = (0, 0, side, side, up, 0)
        self._stride = width + 2 * side
        steps = [(up + dy) * self._stride + side + dx for dy, dx in self.context.neighbourhood.offsets]
        self.register_buffer("_steps", torch.tensor(steps), persistent=False)

    def log_prob(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return an unbiased estimate of log p(x) in nats, from some pixels of each batch, shape (n,).

        Args:
            x: Images, uint8, shape (n, height, width, channels).
            condition: None.
        """
        del condition
        images, places, counts = self._drawn(x)
        neighbours, pixels = self._looked_up(x, images, places)
        found = self.log_probs(neighbours, pixels, places).sum(1)
        return torch.zeros(len(x)).index_add(0, images, found * counts)

    def log_probs(self, neighbours: Tensor, pixels: Tensor, places: Tensor) -> Tensor:
        """Return log-probabilities of pixels in nats, shape (n, channels).

        Args:
            neighbours: Shape (n, neighbours, channels).
            pixels: Shape (n, channels).
            places: Of the pixels, row by row, shape (n,).
        """
        guesses, found = self.context.guesses(neighbours), []
        for channel in range(self.shape[2]):
            features = self.features(neighbours, pixels[:, :channel], guesses, places)
            outputs = self.networks[channel](features / _WHITE)
            found.append(self._log_prob(outputs, pixels[:, channel], guesses[:, channel], self.tables[channel]))
        return torch.stack(found, 1)

    def features(self, neighbours: Tensor, before: Tensor, guesses: Tensor, places: Tensor) -> Tensor:
        """Return what the network of a channel takes, 255 for 1, shape (n, inputs)."""
        told = self.context.features(neighbours, before, guesses)
        return torch.cat([told, _WHITE * torch.tanh(self.places[places])], 1)

    def examples(self, x: Tensor, n: int, source: torch.Generator) -> list[Tensor]:
        """Return features of n pixels of images, drawn evenly, for each channel."""
        drawn = torch.randint(x.shape[0] * self.shape[0] * self.shape[1], (n,), generator=source)
        images, places = drawn // (self.shape[0] * self.shape[1]), drawn % (self.shape[0] * self.shape[1])
        with torch.no_grad():
            neighbours, pixels = self._looked_up(x, images, places)
            guesses = self.context.guesses(neighbours)
            return [self.features(neighbours, pixels[:, :channel], guesses, places) for channel in range(self.shape[2])]

    def _log_prob(self, outputs: Tensor, pixels: Tensor, guesses: Tensor, tables: Tensor) -> Tensor:
        n, k = self.settings.n_logistics, self.settings.n_tables
        logits, offsets, log_scales = torch.split(outputs, [k + n, n, n], 1)
        learnt = functional.log_softmax(tables, 1).t()[pixels.long()]
        inverse = torch.exp(-log_scales.clamp(LOWEST_LEVEL / LEVELS_PER_NAT, HIGHEST_LEVEL / LEVELS_PER_NAT))
        middle = (pixels - guesses)[:, None] - _WHITE * offsets
        above, below = torch.sigmoid((middle + 0.5) * inverse), torch.sigmoid((middle - 0.5) * inverse)
        above = above.masked_fill((pixels == _WHITE)[:, None], 1.0)
        below = below.masked_fill((pixels == 0)[:, None], 0.0)
        logistic = (above - below).clamp_min(1e-7).log()
        return torch.logsumexp(functional.log_softmax(logits, 1) + torch.cat([learnt, logistic], 1), 1)

    def _drawn(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Numbers of images, places, and for how many pixels each one stands."""
        n_places = self.shape[0] * self.shape[1]
        with torch.no_grad():
            is_flat = self._is_flat(x).flatten()
            parts, shares = [(~is_flat).nonzero()[:, 0], is_flat.nonzero()[:, 0]], []
            share = min(_FLAT_SHARE, len(parts[1]) / len(is_flat))
            for part, share_of in zip(parts, (1.0 - share, share), strict=True):
                n = min(len(part), round(share_of * _PIXELS))
                shares.append(part[torch.randint(max(1, len(part)), (n,))] if n else part[:0])
            drawn = torch.cat(shares)
            counts = torch.cat(
                [torch.full((len(of),), len(part) / max(1, len(of))) for part, of in zip(parts, shares, strict=True)]
            )
        return drawn // n_places, drawn % n_places, counts

    def _is_flat(self, x: Tensor) -> Tensor:
        """Whether all neighbours of a pixel are alike, shape (n, height, width)."""
        height, width, _ = self.shape
        up, side = self.context.neighbourhood.up, self.context.neighbourhood.side
        canvas = functional.pad(x, self._margin)
        west = canvas[:, up:, side - 1 : side - 1 + width]
        found = torch.ones(x.shape[:3], dtype=torch.bool)
        for dy, dx in self.context.neighbourhood.offsets:
            there = canvas[:, up + dy : up + dy + height, side + dx : side + dx + width]
            found &= (there == west).all(-1)
        return found

    def _looked_up(self, x: Tensor, images: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Neighbours and pixels, float."""
        canvas = functional.pad(x, self._margin).flatten(1, 2)
        n_rows = canvas.shape[1]
        width = self.shape[1]
        there = images * n_rows + places // width * self._stride + places % width
        rows = canvas.flatten(0, 1)
        neighbours = rows[there[:, None] + self._steps].float()
        up, side = self.context.neighbourhood.up, self.context.neighbourhood.side
        return neighbours, rows[there + up * self._stride + side].float()


@final
class _Network(nn.Module):
    """Features of a pixel to the weights, means and scales of its distribution."""

    def __init__(self, context: Context, channel: int, settings: PixelSettings) -> None:
        super().__init__()
        n, k = settings.n_logistics, settings.n_tables
        n_inputs = context.n_features(channel) + settings.place_codes
        sizes = [n_inputs, *[settings.width] * settings.n_hidden, k + 3 * n]
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        last = self.last
        with torch.no_grad():
            last.weight.mul_(0.3)
            last.bias.zero_()
            last.bias[k + 2 * n :] = torch.linspace(1.0, 3.0, n)

    @property
    def last(self) -> nn.Linear:
        last = self.linears[-1]
        assert isinstance(last, nn.Linear)
        return last

    def forward(self, x: Tensor) -> Tensor:
        for linear in self.linears[:-1]:
            x = functional.relu(linear(x))
        outputs: Tensor = self.linears[-1](x)
        return outputs

    def in_units(self, settings: PixelSettings) -> list[nn.Linear]:
        """The layers, with outputs in the units of :class:`~latentkit.codec.mixtures.MixtureTables`."""
        n, k = settings.n_logistics, settings.n_tables
        units = torch.tensor(
            [LOGITS_PER_NAT] * (k + n) + [_WHITE * MEANS_PER_SYMBOL] * n + [LEVELS_PER_NAT] * n, dtype=torch.float64
        )
        last = copy.deepcopy(self.last).double()  # a new layer would draw weights
        with torch.no_grad():
            last.weight.mul_(units[:, None])
            last.bias.mul_(units)
        return [*(linear for linear in self.linears[:-1] if isinstance(linear, nn.Linear)), last]


def fit_pixel_coder(
    images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
    *,
    seed: int,
    max_time: float | None = 300.0,
    max_epochs: int | None = None,
    settings: PixelSettings | None = None,
    engine: Engine | None = None,
    reporter: Reporter | None = None,
) -> FittedPixels:
    """Learn to code images.

    Args:
        images: Like those that are to be coded, each of shape (height, width, channels), of one size or of several; two
            or more, or one that is larger than 64 x 64.
        seed: Of weights and draws.
        max_time: Seconds of training; None for no limit.
        max_epochs: Passes over the images at most; None for no limit.
        settings: Of the model; None for those that suit images of this kind.
        engine: How to compute.
        reporter: Hears how it goes.
    Raises:
        DataError: If there is too little to learn from, or channels differ.
        InvalidParameterError: If the images are not of this form, or nothing ends the training.
    """
    if max_time is None and max_epochs is None:
        raise InvalidParameterError("max_time=None and max_epochs=None would train for ever. Give one of them.")
    shape = _common_shape(images)
    tiles = torch.from_numpy(_tiles(images, shape))
    if len(tiles) < 2:
        raise DataError("one small image is not enough to learn from; give 2 or more.")
    gain = _WHITE // max(1, int(tiles.max()))
    settings = settings or suitable_settings(shape, gain)
    order = torch.randperm(len(tiles), generator=generator(seed, "held-out"))
    n_held_out = min(_HELD_OUT, max(1, len(tiles) // 10))
    feed = Feed(tiles, lambda x: x)
    train, held_out = feed.subset(order[n_held_out:]), feed.subset(order[:n_held_out])
    tile = (int(tiles.shape[1]), int(tiles.shape[2]), shape[2])
    with isolated_rng(derive_seed(seed, "weights")):
        model = PixelModel(tile, settings, _shares(train.storage[:_COUNTED]), gain)
    plan = TrainingPlan(
        max_epochs=max_epochs or _UNLIMITED,
        max_time=max_time,
        batch_size=min(_IMAGES, len(train)),
        optimizer="adamw",
        optimizer_options={"betas": (0.9, 0.99)},
        learning_rate=5e-3,
        weight_decay=0.0,
        gradient_clip=float(math.prod(tile)),
        seed=derive_seed(seed, "pixels"),
        engine=engine or Engine(device="cpu", matmul="medium"),
    )
    trainer = Trainer(model, MaximumLikelihood(), plan, train=train, validation=held_out, reporter=reporter or Silent())
    result = trainer.run()
    best = max(record.validation for record in result.history if record.validation is not None)
    coder = pixel_coder(model.eval(), train.storage, shape, seed=seed)
    return FittedPixels(coder, result, -best / math.log(2.0) / math.prod(tile))


def suitable_settings(shape: tuple[int, int, int], gain: int = 1) -> PixelSettings:
    """Return settings for images of a shape: small ones have places of their own, colours are centred.

    Images of few levels, whose features have a gain, need no logistic distributions; a pixel of them tells little, so
    that more are looked at.
    """
    height, width, n_channels = shape
    has_places = 0 < height * width <= _TILE * _TILE
    if gain >= _FEW:
        return PixelSettings(reach=10, width=96, n_tables=4, n_logistics=0, place_codes=8 if has_places else 0)
    if n_channels == 1:
        return PixelSettings(place_codes=8 if has_places else 0)
    return PixelSettings(reach=4, place_codes=2 if has_places else 0, n_tables=4, n_logistics=6, is_centred=True)


def _common_shape(images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> tuple[int, int, int]:
    """Height, width and channels of all; height and width are 0 where they differ."""
    for image in images:
        if image.ndim != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise InvalidParameterError(
                f"images must be uint8 of shape (height, width, channels); got {image.dtype}, {image.shape}."
            )
    shapes = {image.shape for image in images}
    channels = {shape[2] for shape in shapes}
    if len(channels) != 1:
        raise DataError(f"images must have equally many channels; got {sorted(channels) or 'no images'}.")
    height, width, n_channels = shapes.pop() if len(shapes) == 1 else (0, 0, channels.pop())
    return (height, width, n_channels) if height * width <= _TILE * _TILE else (0, 0, n_channels)


def _tiles(images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Images of the shape as they are; others in tiles of one size, what is left over left out."""
    if shape[0]:
        return np.stack(list(images)) if not isinstance(images, np.ndarray) else np.ascontiguousarray(images)
    side = max(1, min(_TILE, *(min(image.shape[:2]) for image in images)))
    found = []
    for image in images:
        rows, columns = image.shape[0] // side, image.shape[1] // side
        cut = image[: rows * side, : columns * side].reshape(rows, side, columns, side, -1)
        found.append(cut.swapaxes(1, 2).reshape(rows * columns, side, side, -1))
    return np.concatenate(found)


def pixel_coder(
    model: PixelModel, images: Tensor, shape: tuple[int, int, int], *, seed: int, weight_bits: int = 8
) -> PixelCoder:
    """Return the coder of whole numbers that stands for a model.

    Args:
        model: Trained.
        images: By which activations are scaled, shape (n, height, width, channels).
        shape: Of the images that are to be coded; height and width are 0 for any.
        seed: Of which pixels.
        weight_bits: Bits of a weight.
    """
    examples = model.examples(images, _EXAMPLES, generator(seed, "examples"))
    settings = model.settings
    networks, mixtures = [], []
    for channel, network in enumerate(model.networks):
        assert isinstance(network, _Network)
        networks.append(
            exact_perceptron(
                network.in_units(settings),
                functional.relu,
                examples[channel].round(),
                input_step=1.0 / _WHITE,
                inputs=FEATURES,
                output_step=1.0,
                outputs=Span(-8192, 8191),
                weight_bits=weight_bits,
            )
        )
        shares = functional.softmax(model.tables[channel].detach().double(), 1).numpy()
        tables = FrequencyTables.of(shares, TABLE_BITS, least=0)
        mixtures.append(MixtureTables(tables, n_logistics=settings.n_logistics))
    places = (_WHITE * torch.tanh(model.places.detach())).round().long().numpy()
    return PixelCoder(shape, model.context, networks, mixtures, places)


def _shares(images: Tensor) -> Tensor:
    """How frequent each symbol is, shape (channels, 256)."""
    counts = [
        torch.bincount(images[..., channel].flatten().long(), minlength=256) for channel in range(images.shape[-1])
    ]
    return torch.stack([count / count.sum() for count in counts])
