"""Fitting a coder that keeps images approximately: training, whole numbers instead of real ones, tables."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from latentkit.codec.exact import Span, exact_arithmetic
from latentkit.codec.frequencies import FrequencyTables
from latentkit.codec.lossy import LatentPass, LossyCoder, LossyModel, Prediction, Predictions, QualitySteps
from latentkit.codec.lossy.coder import BIT_WORTH, HYPER_LATENTS
from latentkit.codec.lossy.conversion import Grid, exact_transform
from latentkit.codec.lossy.latents import (
    LATENTS,
    LEVELS,
    MOST_QUALITY,
    OCTAVE,
    PLANE,
    REACH,
    SEEN,
    UNIT,
    residual_tables,
    symbol_costs,
    symbols_of,
)
from latentkit.core.errors import DivergenceError, UnfitDataError
from latentkit.core.parameters import check_integer, check_real
from latentkit.core.seeds import derive_seed, isolated_rng
from latentkit.tasks.compression.lossy_network import (
    FINENESS,
    HYPER_UNIT,
    MEAN_UNIT,
    SEEN_UNIT,
    LossyNetwork,
    LossySizes,
    Trial,
)

__all__ = ["TrainedEncoder", "fit_lossy_coder", "steps_of_an_epoch", "trade_off"]

Pixels = NDArray[np.uint8]
Integers = NDArray[np.int64]

_CROP: Final = 64
#: Batches that are shown at twice their size: what is photographed finer is smoother.
_ENLARGED: Final = 0.25
_PIXELS: Final = 1 << 13  # of a step
_WARM_UP: Final = 100  # steps
_COARSEST: Final = 0.001  # bits a pixel that a unit of squared error is worth, at quality 1
_FINEST: Final = 0.3
_FINE_BITS: Final = 12  # of a weight between latents and pixels, outside of residual blocks
_HYPER_PRECISION: Final = 13  # bits of a frequency
_N_EXAMPLES: Final = 1 << 20  # pixels by which whole numbers and tables are chosen


def trade_off(quality: Tensor, n_anchors: int) -> Tensor:
    """Return bits a pixel that a unit of mean squared error, of 256 grey levels, is worth at a quality."""
    share = quality / (n_anchors - 1)
    return _COARSEST * (_FINEST / _COARSEST) ** share


def steps_of_an_epoch(images: Sequence[Pixels]) -> int:
    """Return how many steps of :func:`fit_lossy_coder` see as many pixels as images have."""
    return math.ceil(sum(math.prod(image.shape[:2]) for image in images) / _PIXELS)


@final
class TrainedEncoder:
    """Gives latents of images by a trained network; see :data:`latentkit.codec.lossy.ImageEncoder`.

    Args:
        network: Trained.
    """

    def __init__(self, network: LossyNetwork) -> None:
        self.network = network.eval()

    def __call__(self, pixels: Tensor, quality: int) -> tuple[Tensor, Tensor]:
        """Return latents and hyper-latents."""
        with torch.no_grad():
            y = self.network.latents(pixels.float() / 255.0)
            z = self.network.hyper_latents(y, self._anchors(pixels, quality)).round()
        return y.permute(0, 2, 3, 1), z.permute(0, 2, 3, 1)

    def reconstruct(self, pixels: Tensor, quality: int) -> Tensor:
        """Return what the network itself makes of pixels, in floating-point numbers, each rounded to the nearest step.

        It tells what whole numbers cost; no coder gives it.
        """
        with torch.no_grad():
            trial: Trial = self.network(pixels.float() / 255.0, self._anchors(pixels, quality))
        return (255.0 * trial.reconstruction).round().clamp(0, 255).to(torch.uint8)

    def describe(self) -> dict[str, Any]:
        """Return what, besides the weights of the network, :meth:`of` takes, as JSON knows it."""
        return {"n_anchors": self.network.n_anchors, "sizes": asdict(self.network.sizes)}

    @classmethod
    def of(cls, described: Mapping[str, Any], weights: Mapping[str, Tensor]) -> TrainedEncoder:
        """Return the encoder of a description and weights; memory is taken for those alone.

        Raises:
            KeyError: If a part of the description is missing.
            RuntimeError: If the weights are not those of such a network.
            TypeError: If the description is none.
            ValueError: If it says what cannot be.
        """
        told = dict(described["sizes"])
        told["passes"] = tuple(LatentPass(**each) for each in told["passes"])
        with torch.device("meta"):
            network = LossyNetwork(LossySizes(**told), n_anchors=described["n_anchors"])
        network.load_state_dict(weights, assign=True)
        return cls(network)

    def _anchors(self, pixels: Tensor, quality: int) -> Tensor:
        return torch.full((len(pixels),), (quality - 1) * (self.network.n_anchors - 1) / (MOST_QUALITY - 1))


def fit_lossy_coder(
    images: Pixels | Sequence[Pixels],
    *,
    seed: int = 0,
    n_steps: int = 15_000,
    max_seconds: float | None = None,
    quality: int = 50,
    sizes: LossySizes | None = None,
    network: LossyNetwork | None = None,
    learning_rate: float = 2e-3,
    device: str = "cpu",
    report: Callable[[int, float], None] | None = None,
) -> LossyCoder:
    r"""Return a coder for images like these.

    One network learns all qualities: each image of a batch has one of its own, and what is minimised is

    .. math:: E\left[\lambda_q^{-1/4} (R_q + \lambda_q D_q)\right],
              \quad \lambda_q = 0.001 \cdot 300^{(q - 1) / 99}

    with R in bits a pixel and D the mean squared error of 256 grey levels. Rates are of latents with uniform noise,
    errors of rounded ones. What decoding takes is then brought into whole numbers.

    Args:
        images: 8-bit pixels, shape (n, height, width, channels), or images of several sizes, each (height, width,
            channels), grey or of three colours.
        seed: The same gives the same coder on the same machine, unless time runs out.
        n_steps: Steps of training; 0 takes a network as it is.
        max_seconds: After which training ends; its learning rate falls accordingly.
        quality: Of the coder, from 1 to 100.
        sizes: Of the network.
        network: A trained one, such as that of another coder's encoder, of which a copy is trained
            further; `sizes` are its own.
        learning_rate: At the most.
        device: To train on; what comes of it is brought back.
        report: Called every 100 steps with the step and the mean objective since.

    Raises:
        UnfitDataError: If these are no such images.
        DivergenceError: If training met a number that is not finite.
    """
    check_integer("n_steps", n_steps, low=0)
    check_integer("quality", quality, low=1, high=MOST_QUALITY)
    check_real("learning_rate", learning_rate, low=0.0, inclusive=(False, True))
    if max_seconds is not None:
        check_real("max_seconds", max_seconds, low=0.0, inclusive=(False, True))
    examples = _checked(images)
    channels = examples[0].shape[-1]
    random = np.random.default_rng(derive_seed(seed, "crops"))
    with isolated_rng(derive_seed(seed, "lossy")):
        if network is None:
            network = LossyNetwork(sizes or LossySizes.of(channels))
            network.start(_batch(examples, random, 16 * _PIXELS))
        elif network.sizes.channels != channels:
            raise UnfitDataError(f"the network is for images of {network.sizes.channels} channels, not {channels}.")
        else:
            network = copy.deepcopy(network)
        _train(network.to(device), examples, random, n_steps, max_seconds, learning_rate, report)
        network.to("cpu")
    encoder = TrainedEncoder(network)
    several = [_batch(examples, random, _PIXELS) for _ in range(_N_EXAMPLES // _PIXELS)]
    model = _with_tables(_exact_model(network, several), encoder, several)
    return LossyCoder(model, quality=quality, encoder=encoder)


def _checked(images: Pixels | Sequence[Pixels]) -> list[Pixels]:
    examples = [np.asarray(image) for image in images]
    if not examples:
        raise UnfitDataError("there are no images to learn from.")
    channels = examples[0].shape[-1:]
    for number, image in enumerate(examples):
        if image.dtype != np.uint8 or image.ndim != 3 or image.size == 0 or image.shape[-1] not in {1, 3}:
            raise UnfitDataError(
                f"images must be of 8-bit pixels, shape (height, width, 1 or 3); that of number {number} is "
                f"{image.shape} of {image.dtype}."
            )
        if image.shape[-1:] != channels:
            raise UnfitDataError(f"images must all be grey or all of three colours; number {number} differs.")
    return examples


def _batch(examples: list[Pixels], random: np.random.Generator, n_pixels: int) -> Tensor:
    """Crops of as many pixels as that, in [0, 1], shape (n, channels, height, width), some batches of them enlarged."""
    smallest = min(max(image.shape[:2]) for image in examples)
    size = min(_CROP, 8 * math.ceil(smallest / 8))
    is_enlarged = random.random() < _ENLARGED
    side = size // 2 if is_enlarged else size
    numbers = random.integers(len(examples), size=max(1, n_pixels // size**2))
    crops = np.stack([_crop(examples[number], side, random) for number in numbers])
    x = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255.0
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear") if is_enlarged else x


def _crop(image: Pixels, side: int, random: np.random.Generator) -> Pixels:
    """A square of an image, half of them mirrored; where the image ends before it, its edge goes on."""
    top, left = (int(random.integers(max(1, length - side + 1))) for length in image.shape[:2])
    crop = image[top : top + side, left : left + side]
    crop = np.pad(crop, ((0, side - crop.shape[0]), (0, side - crop.shape[1]), (0, 0)), mode="edge")
    return crop[:, ::-1] if random.random() < 0.5 else crop


def _train(
    network: LossyNetwork,
    examples: list[Pixels],
    random: np.random.Generator,
    n_steps: int,
    max_seconds: float | None,
    learning_rate: float,
    report: Callable[[int, float], None] | None,
) -> None:
    optimizer = torch.optim.Adam(network.parameters(), learning_rate)
    network.train()
    start, total = time.monotonic(), 0.0
    for step in range(n_steps):
        progress = step / n_steps
        if max_seconds is not None:
            progress = max(progress, (time.monotonic() - start) / max_seconds)
        if progress >= 1.0:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1.0, (step + 1) / _WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * progress))
        x = _batch(examples, random, _PIXELS).to(network.log_steps.device)
        quality = (torch.rand(len(x)) * (network.n_anchors - 1)).to(x.device)
        trial = network(x, quality)
        worth = trade_off(quality, network.n_anchors)
        error = 255.0**2 * (trial.reconstruction - x).square().mean((1, 2, 3))
        objective = ((trial.bits / x[0, 0].numel() + worth * error) * worth**-0.25).mean()
        optimizer.zero_grad()
        torch.autograd.backward(objective)
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        with torch.no_grad():
            network.log_steps.clamp_(min=0.0)  # no step is finer than the finest
        total += float(objective.detach())
        if not math.isfinite(total):
            raise DivergenceError(
                f"the objective is {float(objective.detach())} at step {step + 1}; lower learning_rate."
            )
        if report is not None and (step + 1) % 100 == 0:
            report(step + 1, total / 100)
            total = 0.0
    network.eval()


# Whole numbers


def _exact_model(network: LossyNetwork, several: list[Tensor]) -> LossyModel:
    """The model of a network, with tables that nothing was counted for yet."""
    predictors = [part for part in network.predictors if isinstance(part, nn.Sequential)]
    given = _inputs([network.synthesis, network.hyper_synthesis, *predictors], network, several)
    plane = torch.full((1,), 1.0 / PLANE.high)
    synthesis, _ = exact_transform(
        network.synthesis,
        given[0],
        inputs=Grid(LATENTS, torch.cat([torch.full((network.sizes.latents,), 1.0 / (UNIT * FINENESS)), plane])),
        outputs=Grid(Span(0, 255), torch.tensor(1.0 / 255.0), offset=-0.5),
        weight_bits=_FINE_BITS,
    )
    told = torch.cat([torch.full((network.sizes.hyper_latents,), 1.0 / HYPER_UNIT), plane])
    hyper, features = exact_transform(
        network.hyper_synthesis, given[1], inputs=Grid(Span(HYPER_LATENTS.low, PLANE.high), told)
    )
    span = Span(SEEN.low, max(SEEN.high, PLANE.high, features.span.high))
    found = []
    for number, (part, examples) in enumerate(zip(predictors, given[2:], strict=True)):
        seen = torch.full((network.n_seen(number),), 0.5 / SEEN_UNIT)
        inputs = Grid(span, torch.cat([features.steps.expand(hyper.n_outputs), plane, seen]))
        found.append(exact_transform(part, examples, inputs=inputs, outputs=_outputs(network.sizes.passes[number]))[0])
    steps = QualitySteps.of(network.log_steps.detach().numpy())
    predictions = Predictions(hyper, found, network.sizes.passes, steps)
    n_symbols = HYPER_LATENTS.high - HYPER_LATENTS.low + 1
    uniform = np.ones((steps.n_anchors * network.sizes.hyper_latents, n_symbols))
    unseen = residual_tables(np.zeros((LEVELS, 2 * REACH + 2), np.int64))
    return LossyModel(predictions, synthesis, FrequencyTables.of(uniform, _HYPER_PRECISION), unseen)


def _outputs(of: LatentPass) -> Grid:
    """Means of a pass, and log2 of standard deviations, in whole numbers."""
    n_channels = of.last - of.first
    means, log_scales = torch.full((n_channels,), 1.0 / (UNIT * MEAN_UNIT)), torch.full((n_channels,), 1.0 / OCTAVE)
    return Grid(LATENTS, torch.cat([means, log_scales]))


def _inputs(parts: list[nn.Sequential], network: LossyNetwork, several: list[Tensor]) -> list[Tensor]:
    """What each part is given for images at all qualities."""
    given: list[list[Tensor]] = [[] for _ in parts]
    hooks = [
        part.register_forward_pre_hook(lambda _, inputs, where=where: where.append(inputs[0]))
        for part, where in zip(parts, given, strict=True)
    ]
    with torch.no_grad():
        for x in several[::4]:
            network(x, torch.linspace(0.0, network.n_anchors - 1.0, len(x)))
    for hook in hooks:
        hook.remove()
    return [torch.cat(each) for each in given]


def _with_tables(model: LossyModel, encoder: TrainedEncoder, several: list[Tensor], *, n_rounds: int = 2) -> LossyModel:
    """The model with tables that were counted on images, anew after an encoder chose by them."""
    of = model.predictions
    n_symbols = HYPER_LATENTS.high - HYPER_LATENTS.low + 1
    channels = np.arange(of.n_hyper_latents)
    for _ in range(n_rounds):
        residuals = np.zeros((LEVELS, 2 * REACH + 2), np.int64)
        hyper = np.zeros((of.steps.n_anchors, of.n_hyper_latents, n_symbols), np.int64)
        costs = BIT_WORTH * symbol_costs(model.residual_tables)
        for x, quality in zip(several, _qualities(), strict=False):
            y, z = encoder((255.0 * x).round(), quality)
            whole = z.numpy().clip(HYPER_LATENTS.low, HYPER_LATENTS.high).astype(np.int64)
            np.add.at(hyper[of.steps.nearest(quality)], (channels, whole - HYPER_LATENTS.low), 1)
            counted = _Counts(y.double().numpy(), costs, residuals)
            with exact_arithmetic():
                of.latents(whole, quality, (y.shape[1], y.shape[2]), counted)
        # a number that was not seen may come: all of them share one sighting
        shares = hyper.reshape(-1, n_symbols) + 1.0 / n_symbols
        tables = FrequencyTables.of(shares, _HYPER_PRECISION)
        model = LossyModel(of, model.synthesis, tables, residual_tables(residuals))
    return model


@dataclass(frozen=True, slots=True)
class _Counts:
    """An encoder's choice of residuals, which is counted."""

    y: NDArray[np.float64]
    costs: NDArray[np.float64]
    counts: Integers

    def __call__(self, known: Prediction) -> Integers:
        residuals = known.residuals(self.y, self.costs)
        np.add.at(self.counts, (known.levels.ravel(), symbols_of(residuals).ravel()), 1)
        return residuals


def _qualities() -> Iterator[int]:
    """Qualities from 1 to 100 without end, each run of them spread evenly."""
    number = 0
    while True:
        yield 1 + number * 37 % MOST_QUALITY
        number += 1
