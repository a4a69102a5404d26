"""Latents in whole numbers of steps: which steps a quality has, in which order they come, what predicts them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.codec.exact import Span
from latentkit.codec.frequencies import FrequencyTables
from latentkit.codec.transforms import ExactTransform
from latentkit.core.errors import InvalidParameterError

__all__ = [
    "LATENTS",
    "LEVELS",
    "MOST_QUALITY",
    "OCTAVE",
    "PLANE",
    "UNIT",
    "LatentPass",
    "Prediction",
    "Predictions",
    "QualitySteps",
    "quality_plane",
    "residual_tables",
    "symbol_costs",
    "symbols_of",
]

Integers = NDArray[np.int64]

MOST_QUALITY: Final = 100
#: Of a power of two, for steps and standard deviations.
OCTAVE: Final = 8
#: Latents are whole numbers of fourths of the finest step.
UNIT: Final = 4
LATENTS: Final = Span(-2047, 2047)
#: As predictors see latents: of halves of the finest step.
SEEN: Final = Span(-1023, 1023)
#: The channel that tells the quality.
PLANE: Final = Span(0, 8 * (MOST_QUALITY - 1))
#: Standard deviations from 2^-3 steps on, an eighth of an octave apart. At the first, a latent is its mean.
LEVELS: Final = 64
LEAST_LEVEL: Final = -3 * OCTAVE
#: Residuals with symbols of their own; one more symbol stands for all others.
REACH: Final = 63
#: All residuals that can be.
OUTLIER_BITS: Final = 11
OUTLIERS: Final = Span(-1024, 1023)
_FINE: Final = 16  # parts of the finest step of which steps are whole numbers
_MOST_EXPONENT: Final = 10 * OCTAVE


@dataclass(frozen=True, slots=True)
class LatentPass:
    """Latents that are coded at once: channels of `first` to `last`, at the places of one colour of a checkerboard.

    Attributes:
        first: First channel.
        last: The one after the last channel.
        parity: 0 or 1, that of row plus column; None stands for all places.
    """

    first: int
    last: int
    parity: int | None = None

    def places(self, height: int, width: int) -> NDArray[np.bool_]:
        """Where they are, bool, shape (height, width).

        Example:
            >>> LatentPass(0, 8, parity=1).places(2, 3).astype(int)
            array([[0, 1, 0],
                   [1, 0, 1]])
        """
        if self.parity is None:
            return np.ones((height, width), np.bool_)
        rows, columns = np.arange(height)[:, None], np.arange(width)
        found: NDArray[np.bool_] = (rows + columns) % 2 == self.parity
        return found


@final
class QualitySteps:
    r"""Widths of the steps of each channel at qualities from 1 to 100, in whole numbers.

    .. math:: s = 2^{e / 8}

    in units of the finest step, with exponents e given at some qualities, evenly apart, and interpolated between them.

    Args:
        exponents: At least 0, shape (qualities, channels); the last row is that of quality 100.
        powers: Sixteen times :math:`2^{i / 8}`, rounded, for i from 0 to 7.

    Raises:
        InvalidParameterError: If they are none.
    """

    def __init__(self, exponents: Integers, powers: Integers) -> None:
        fits = exponents.ndim == 2 and len(exponents) >= 2 and exponents.size
        if not fits or exponents.min() < 0 or exponents.max() > _MOST_EXPONENT:
            raise InvalidParameterError(
                f"exponents of steps lie between 0 and {_MOST_EXPONENT}, of 2 qualities or more."
            )
        if powers.shape != (OCTAVE,) or powers.min() < _FINE or powers.max() > 2 * _FINE:
            raise InvalidParameterError(f"{OCTAVE} powers lie between {_FINE} and {2 * _FINE}.")
        self.exponents, self.powers = exponents, powers

    @classmethod
    def of(cls, log_steps: NDArray[np.floating]) -> QualitySteps:
        """Return those nearest to these, log2 of steps; it works with floating-point numbers, and is to be kept."""
        exponents = np.clip(np.round(OCTAVE * np.asarray(log_steps, np.float64)), 0, _MOST_EXPONENT).astype(np.int64)
        powers = np.round(_FINE * np.exp2(np.arange(OCTAVE) / OCTAVE)).astype(np.int64)
        return cls(exponents, powers)

    @property
    def n_anchors(self) -> int:
        """How many qualities have exponents of their own."""
        return len(self.exponents)

    def nearest(self, quality: int) -> int:
        """Return the number of the nearest quality that has exponents of its own."""
        low, share = self._place(quality)
        return low + (2 * share >= MOST_QUALITY - 1)

    def at(self, quality: int) -> Integers:
        """Return the exponents of a quality, shape (channels,)."""
        low, share = self._place(quality)
        whole = MOST_QUALITY - 1
        found: Integers = (
            self.exponents[low] * (whole - share) + self.exponents[low + 1] * share + whole // 2
        ) // whole
        return found

    def sixteenths(self, exponents: Integers) -> Integers:
        """Return the steps of exponents, in sixteenths of the finest."""
        found: Integers = self.powers[exponents % OCTAVE] << (exponents // OCTAVE)
        return found

    def _place(self, quality: int) -> tuple[int, int]:
        """The last quality with exponents of its own that is not above it, and how far it is behind, of 99."""
        low, share = divmod((quality - 1) * (self.n_anchors - 1), MOST_QUALITY - 1)
        return (low, share) if low < self.n_anchors - 1 else (low - 1, MOST_QUALITY - 1)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is known of the latents of a pass before they are.

    Attributes:
        of: The pass.
        places: Where they are, bool, shape (height, width).
        means: In fourths of the finest step, shape (n, places, channels).
        steps: Of each channel, in sixteenths of the finest step, shape (channels,).
        levels: Of their standard deviations, in steps, shape of `means`.
    """

    of: LatentPass
    places: NDArray[np.bool_]
    means: Integers
    steps: Integers
    levels: Integers

    def residuals(self, y: NDArray[np.floating], costs: NDArray[np.floating]) -> Integers:
        r"""Return the whole numbers of steps that code latents.

        Each is the nearest one, or the one beside it towards 0 where that saves more bits than its error is worth:

        .. math:: \min_r (o - r)^2 + b_\ell(r)

        Args:
            y: Latents of all channels and places, in finest steps, shape (n, height, width, channels).
            costs: b of each symbol at each level, in squares of a step, shape (levels, 128).
        """
        offsets = (y[:, self.places, self.of.first : self.of.last] - self.means / UNIT) * _FINE / self.steps
        nearest = np.round(offsets).clip(OUTLIERS.low, OUTLIERS.high).astype(np.int64)
        beside = nearest - np.sign(nearest)
        saved = costs[self.levels, symbols_of(nearest)] - costs[self.levels, symbols_of(beside)]
        is_worth = (offsets - beside) ** 2 - (offsets - nearest) ** 2 < saved
        found: Integers = np.where(self.levels > 0, np.where(is_worth, beside, nearest), 0)
        return found


@final
class Predictions:
    """Which latents come when, and what hyper-latents and latents before them tell about them.

    Args:
        hyper_synthesis: Takes hyper-latents and the quality; gives features of each place, on a finer grid.
        predictors: For each pass: takes features, the quality, and all latents up to the last channel before; gives the
            means of its channels, in fourths of the finest step, and then log2 of standard deviations, in eighths.
        passes: Each latent is in one of them.
        steps: Of each channel.

    Raises:
        InvalidParameterError: If these do not fit together.
    """

    def __init__(
        self,
        hyper_synthesis: ExactTransform,
        predictors: Sequence[ExactTransform],
        passes: Sequence[LatentPass],
        steps: QualitySteps,
    ) -> None:
        self.hyper_synthesis, self.predictors, self.passes, self.steps = hyper_synthesis, predictors, passes, steps
        self.n_latents, self.n_hyper_latents = steps.exponents.shape[1], hyper_synthesis.n_inputs - 1
        self.hyper_stride = hyper_synthesis.factor
        self._check()

    def latents(
        self,
        z: Integers,
        quality: int,
        size: tuple[int, int],
        residuals: Callable[[Prediction], Integers],
    ) -> Integers:
        """Return latents, pass by pass, in fourths of the finest step, shape (n, height, width, channels).

        Args:
            z: Hyper-latents, shape (n, height / stride, width / stride, hyper-latents), rounded up.
            quality: From 1 to 100.
            size: Height and width.
            residuals: Gives whole numbers of steps for what is known before, in the shape of its means.
        """
        height, width = size
        given = torch.from_numpy(z).float()
        features = self.hyper_synthesis(torch.cat([given, quality_plane(given, quality)], -1))[:, :height, :width]
        features = torch.cat([features, quality_plane(features, quality)], -1)
        exponents = self.steps.at(quality)
        y = np.zeros((len(z), height, width, self.n_latents), np.int64)
        n_seen = 0
        for each, predictor in zip(self.passes, self.predictors, strict=True):
            seen = torch.from_numpy(np.clip((y[..., :n_seen] + 1) >> 1, SEEN.low, SEEN.high)).float()
            places = each.places(height, width)
            told = predictor(torch.cat([features, seen], -1)).numpy()[:, places].astype(np.int64)
            of_pass = exponents[each.first : each.last]
            n_channels = each.last - each.first
            levels = np.clip(told[..., n_channels:] - of_pass - LEAST_LEVEL, 0, LEVELS - 1)
            known = Prediction(each, places, told[..., :n_channels], self.steps.sixteenths(of_pass), levels)
            shift = (_FINE // UNIT).bit_length() - 1
            found = known.means + ((residuals(known) * known.steps + (1 << shift >> 1)) >> shift)
            y[:, places, each.first : each.last] = np.clip(found, LATENTS.low, LATENTS.high)
            n_seen = max(n_seen, each.last)
        return y

    def verify(self) -> None:
        """See that this machine computes it exactly; see :meth:`ExactNetwork.verify`."""
        for transform in (self.hyper_synthesis, *self.predictors):
            transform.verify()

    def _check(self) -> None:
        covered = np.zeros((2, self.n_latents), np.int64)
        n_seen = 0
        features = self.hyper_synthesis.n_outputs
        if len(self.passes) != len(self.predictors) or self.n_hyper_latents < 1:
            raise InvalidParameterError("there must be a predictor for each pass, and hyper-latents.")
        for each, predictor in zip(self.passes, self.predictors, strict=True):
            if not 0 <= each.first < each.last <= self.n_latents or each.parity not in {None, 0, 1}:
                raise InvalidParameterError(f"{each} is not of {self.n_latents} channels.")
            covered[slice(None) if each.parity is None else each.parity, each.first : each.last] += 1
            given, wanted = (
                (predictor.n_inputs, predictor.n_outputs),
                (features + 1 + n_seen, 2 * (each.last - each.first)),
            )
            spans = (SEEN, PLANE, self.hyper_synthesis.span)
            if given != wanted or predictor.factor != 1 or not all(predictor.inputs.holds(span) for span in spans):
                raise InvalidParameterError(
                    f"a predictor takes and gives {given} numbers from {predictor.inputs}, not {wanted}."
                )
            n_seen = max(n_seen, each.last)
        if (covered != 1).any():
            raise InvalidParameterError("each latent must be in one pass.")
        if not self.hyper_synthesis.inputs.holds(PLANE):
            raise InvalidParameterError("hyper-latents must be allowed to lie where the quality does.")


def quality_plane(like: Tensor, quality: int) -> Tensor:
    """Return the channel that tells the quality, shape (n, height, width, 1)."""
    return like.new_full((*like.shape[:-1], 1), 8 * (quality - 1))


def symbols_of(residuals: Integers) -> Integers:
    """Return the symbols of residuals: 0 stands for -63, 126 for 63, 127 for all others.

    Example:
        >>> symbols_of(np.array([-63, 0, 64]))
        array([  0,  63, 127])
    """
    return np.where(np.abs(residuals) <= REACH, residuals + REACH, 2 * REACH + 1)


def symbol_costs(tables: FrequencyTables) -> NDArray[np.float64]:
    """Return bits of each residual's symbol at each level, shape (levels, 128), for an encoder's choice."""
    frequencies = tables.frequencies
    costs = tables.precision - np.log2(np.maximum(frequencies, 1))
    costs[:, -1] += OUTLIER_BITS
    found: NDArray[np.float64] = np.where(frequencies > 0, costs, costs[:, -1:])
    return found


def residual_tables(counts: NDArray[np.integer], *, weight: float = 200.0, precision: int = 14) -> FrequencyTables:
    r"""Return a table of residuals for each level, from how often each was seen and a normal distribution.

    .. math:: p_\ell(r) \propto n_\ell(r) + w \left(\Phi\left(\tfrac{r + 1/2}{\sigma_\ell}\right)
              - \Phi\left(\tfrac{r - 1/2}{\sigma_\ell}\right)\right)

    What has no frequency is told by the last symbol. It works with floating-point numbers, and is to be kept.

    Args:
        counts: Of residuals from -63 to 63 and of all others, shape (levels, 128).
        weight: w, how many sightings the normal distribution is worth.
        precision: Bits of a frequency.
    """
    edges = torch.arange(-REACH, REACH + 2, dtype=torch.float64) - 0.5
    scales = torch.exp2((torch.arange(LEVELS, dtype=torch.float64) + LEAST_LEVEL) / OCTAVE)
    below = torch.special.ndtr(edges / scales[:, None]).numpy()
    inner = np.diff(below, axis=1)
    shares = np.concatenate([inner, 1.0 - inner.sum(1, keepdims=True).clip(max=1.0)], 1)
    mixed = weight * shares + counts
    # the last symbol has to be there, and costs nothing where it never comes
    mixed[:, -1] = np.maximum(mixed[:, -1], mixed.sum(1) * math.ldexp(2.0, -precision))
    return FrequencyTables.of(mixed, precision, least=0)
