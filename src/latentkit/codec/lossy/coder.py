"""Images to few bytes that give nearly the same images, and those to the bit on every machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.codec.coders import Coder, CoderState, coders
from latentkit.codec.exact import Span, exact_arithmetic
from latentkit.codec.frequencies import FrequencyTables
from latentkit.codec.images import Pixels
from latentkit.codec.lossy.latents import (
    LATENTS,
    LEVELS,
    MOST_QUALITY,
    OUTLIER_BITS,
    OUTLIERS,
    PLANE,
    REACH,
    LatentPass,
    Prediction,
    Predictions,
    QualitySteps,
    quality_plane,
    symbol_costs,
    symbols_of,
)
from latentkit.codec.lossy.sequences import MOST_LANES, SymbolReader, SymbolWriter
from latentkit.codec.numbers import NumberReader, written_numbers
from latentkit.codec.transforms import ExactTransform, whole_number
from latentkit.core.errors import DamagedArchiveError, InvalidParameterError, UnfitDataError
from latentkit.core.parameters import check_integer, check_real

__all__ = ["ImageEncoder", "LossyCoder", "LossyModel"]

Integers = NDArray[np.int64]
Images = NDArray[np.uint8]

#: Takes pixels, in whole numbers, shape (n, channels, height, width), sides multiples of 8, and a quality; gives
#: latents, in finest steps, shape (n, height, width, channels), and hyper-latents in that layout, whole numbers.
ImageEncoder = Callable[[Tensor, int], tuple[Tensor, Tensor]]

STRIDE: Final = 8  # pixels of a latent
#: Squares of a step that a bit is worth. Chosen on training images; ln(2) / 6 = 0.116 would be right for fine steps.
BIT_WORTH: Final = 0.1
HYPER_LATENTS: Final = Span(-31, 31)
_RAW: Final = FrequencyTables(np.ones((1, 1 << OUTLIER_BITS), np.int64), OUTLIER_BITS)
_PIXELS_AT_ONCE: Final = 1 << 19  # whose symbols follow each other: part of the format
_MOST_SIDE: Final = 1 << 24
_MOST_PER_PIXEL: Final = 24  # numbers within the networks


@final
@dataclass(frozen=True, slots=True)
class LossyModel:
    """What turns symbols into images.

    Attributes:
        predictions: Of latents.
        synthesis: Takes latents and the quality, gives pixels on a grid 8 times finer.
        hyper_tables: Tables of hyper-latents from -31 to 31, one for each quality with steps of its own and, within it,
            each channel.
        residual_tables: A table for each level; see :func:`latentkit.codec.lossy.latents.residual_tables`.

    Raises:
        InvalidParameterError: If these do not fit together.
    """

    predictions: Predictions
    synthesis: ExactTransform
    hyper_tables: FrequencyTables
    residual_tables: FrequencyTables

    def __post_init__(self) -> None:
        of, synthesis = self.predictions, self.synthesis
        n_tables = of.steps.n_anchors * of.n_hyper_latents
        n_symbols = HYPER_LATENTS.high - HYPER_LATENTS.low + 1
        per_pixel = [
            synthesis.most_per_place / STRIDE**2,
            of.hyper_synthesis.most_per_place / (STRIDE * of.hyper_stride) ** 2,
            *(each.most_per_place / STRIDE**2 for each in of.predictors),
        ]
        wrong = {
            "the synthesis must take all latents and the quality": synthesis.n_inputs != of.n_latents + 1
            or not synthesis.inputs.holds(LATENTS)
            or not synthesis.inputs.holds(PLANE),
            "the synthesis must give pixels": synthesis.factor != STRIDE
            or synthesis.n_outputs not in {1, 3}
            or not Span(0, 255).holds(synthesis.span),
            f"there must be {n_tables} tables of {n_symbols} hyper-latents": self.hyper_tables.starts.shape
            != (n_tables, n_symbols + 1),
            f"there must be {LEVELS} tables of {2 * REACH + 2} residuals": self.residual_tables.starts.shape
            != (LEVELS, 2 * REACH + 3),
            "what stands for all others must have a frequency": not self._tells_outliers,
            f"a network must have at most {_MOST_PER_PIXEL} numbers for a pixel": max(per_pixel) > _MOST_PER_PIXEL,
        }
        for message, is_wrong in wrong.items():
            if is_wrong:
                raise InvalidParameterError(f"{message}.")

    @property
    def _tells_outliers(self) -> bool:
        return bool((self.residual_tables.frequencies[:, -1] > 0).all())

    @property
    def channels(self) -> int:
        """Of an image: 1 or 3."""
        return self.synthesis.n_outputs

    def verify(self) -> None:
        """See that this machine computes it exactly; see :meth:`ExactNetwork.verify`."""
        self.predictions.verify()
        self.synthesis.verify()

    def pixels(self, y: Integers, quality: int, size: tuple[int, int]) -> Images:
        """Return the images of latents, shape (n, height, width, channels)."""
        latents = torch.from_numpy(y).float()
        found = self.synthesis(torch.cat([latents, quality_plane(latents, quality)], -1))
        pixels: Images = found[:, : size[0], : size[1]].numpy().astype(np.uint8)
        return pixels

    def hyper_size(self, height: int, width: int) -> tuple[int, int]:
        """How many hyper-latents images of that size have, down and across."""
        stride = STRIDE * self.predictions.hyper_stride
        return -(-height // stride), -(-width // stride)

    def hyper_which(self, shape: tuple[int, ...], quality: int) -> Integers:
        """Return the tables of hyper-latents of a shape (n, height, width, channels), flat."""
        first = self.predictions.steps.nearest(quality) * shape[-1]
        return np.tile(np.arange(first, first + shape[-1]), int(np.prod(shape[:-1])))


@final
class LossyCoder(Coder):
    r"""Codes images by a learned transform: what it decodes *approximates* what it was given.

    Unlike other coders it does not give back what it was given, but an image near it: decode(encode(x)) is the same to
    the bit on every machine, and :meth:`encode_known` tells it beforehand, so that it is this that an archive has to
    check. A quality from 1 to 100, kept with each block, trades bytes for errors with one and the same model.

    A block is one of :class:`~latentkit.codec.images.Pixels`, of images of any size; other bytes are refused.

    Hyper-latents are coded by tables; they and the latents before tell mean and standard deviation of each latent, of
    which whole steps are coded:

    .. math:: \hat x = g(\hat y, q), \qquad \hat y = \mu(\hat z, \hat y_{<}, q) + s_q r

    All that decoding takes is whole numbers (:mod:`latentkit.codec.exact`); the encoder is not, and runs once.

    Args:
        model: What decoding takes.
        quality: From 1, fewest bytes, to 100, least errors.
        encoder: Gives latents of images; without it, there is only decoding.
        bit_worth: Error that saving a bit is worth to :meth:`encode`, in squares of a step; 0 keeps each latent to the
            nearest step. Where steps are fine, :math:`\ln(2) / 6` is what one more bit saves in error.

    Raises:
        InvalidParameterError: If an option cannot be had.

    References:
        Balle et al., 2018, Variational image compression with a scale hyperprior, arXiv:1802.01436. Balle et al., 2019,
        Integer networks for data compression with latent-variable models, ICLR. See also
        :mod:`latentkit.codec.lossy.latents`.
    """

    name: ClassVar[str] = "lossy"
    quality: int

    def __init__(
        self,
        model: LossyModel,
        *,
        quality: int = 50,
        encoder: ImageEncoder | None = None,
        bit_worth: float = BIT_WORTH,
    ) -> None:
        self.quality = check_integer("quality", quality, low=1, high=MOST_QUALITY)
        self.bit_worth = check_real("bit_worth", bit_worth, low=0.0)
        self.model, self.encoder = model, encoder
        self._is_verified = False

    def of(
        self, *, quality: int | None = None, encoder: ImageEncoder | None = None, bit_worth: float | None = None
    ) -> LossyCoder:
        """Return a coder by the same model with other settings, such as the encoder that one from a file lacks."""
        return LossyCoder(
            self.model,
            quality=self.quality if quality is None else quality,
            encoder=self.encoder if encoder is None else encoder,
            bit_worth=self.bit_worth if bit_worth is None else bit_worth,
        )

    # What is kept

    def state(self) -> CoderState:
        """Return what decoding takes; coders of all qualities have the same."""
        of = self.model.predictions
        transforms = {"synthesis": self.model.synthesis, "hyper_synthesis": of.hyper_synthesis}
        transforms.update({f"predictor_{number}": each for number, each in enumerate(of.predictors)})
        described, arrays = {}, {}
        for name, transform in transforms.items():
            described[name], more = transform.describe(name)
            arrays.update(more)
        arrays |= {
            "exponents": of.steps.exponents,
            "powers": of.steps.powers,
            "hyper_frequencies": self.model.hyper_tables.frequencies,
            "residual_frequencies": self.model.residual_tables.frequencies,
        }
        settings: dict[str, Any] = {
            "passes": [[each.first, each.last, each.parity] for each in of.passes],
            "precisions": [self.model.hyper_tables.precision, self.model.residual_tables.precision],
            "transforms": described,
        }
        return CoderState(self.name, settings, arrays)

    # Coding

    def encode(self, block: bytes, n: int) -> bytes:
        return self.encode_known(block, n)[0]

    def reconstruct(self, block: bytes, n: int) -> bytes:
        """Return what :meth:`decode` will give for the code of a block."""
        return self.encode_known(block, n)[1]

    def encode_known(self, block: bytes, n: int) -> tuple[bytes, bytes]:
        """Return the code of a block, and what :meth:`decode` gives for it.

        Args:
            block: Of n images.
            n: How many.

        Raises:
            UnfitDataError: If they are not, or not such as the model is of, or there is no encoder.
            UnsupportedOperationError: If this machine does not compute the networks exactly.
        """
        if self.encoder is None:
            raise UnfitDataError(
                "this coder comes from an archive, which keeps what decodes; images need one with an encoder."
            )
        x = self._images(block, n)
        height, width = x.shape[1:3]
        writer, groups = SymbolWriter(), _groups(n, height, width)
        with self._exactly():
            known = [self._write(writer, x[group]).tobytes() for group in groups]
        content, n_lanes = writer.finish()
        told = written_numbers(self.quality, n_lanes, height, width)
        return told + content, Pixels.head(height, width) + b"".join(known)

    def decode(self, content: bytes, n: int, size: int) -> bytes:
        (quality, n_lanes, height, width), place = _read(content)
        if n < 1 or size != Pixels.HEAD + n * height * width * self.model.channels:
            raise DamagedArchiveError(f"{n:,} images of {height:,} x {width:,} pixels do not have {size:,} bytes.")
        reader, groups = SymbolReader(content[place:], n_lanes), _groups(n, height, width)
        with self._exactly():
            found = [
                self._take(reader, quality, (group.stop - group.start, height, width)).tobytes() for group in groups
            ]
        if not reader.is_done:
            raise DamagedArchiveError("something is left after the last image.")
        return Pixels.head(height, width) + b"".join(found)

    def _images(self, block: bytes, n: int) -> Images:
        if not isinstance(block, Pixels):
            raise UnfitDataError("these bytes are not known to be pixels, and what is none must come back as it is.")
        shape = (n, *block.size, self.model.channels)
        if n < 1 or not 1 <= min(block.size) <= max(block.size) <= _MOST_SIDE:
            raise UnfitDataError(f"{n:,} images of {block.size} pixels cannot be coded.")
        if len(block) - Pixels.HEAD != int(np.prod(shape)):
            raise UnfitDataError(f"{len(block):,} bytes are not {n:,} images of shape {shape[1:]}, and their size.")
        return np.frombuffer(block, np.uint8, offset=Pixels.HEAD).reshape(shape)

    def _write(self, writer: SymbolWriter, x: Images) -> Images:
        """Put the symbols of images, and return their reconstruction."""
        height, width = x.shape[1:3]
        edges = (0, 0), (0, -height % STRIDE), (0, -width % STRIDE), (0, 0)
        pixels = torch.from_numpy(np.pad(x, edges, mode="edge")).permute(0, 3, 1, 2)
        assert self.encoder is not None
        y, hyper = self.encoder(pixels, self.quality)
        z = hyper.numpy().clip(HYPER_LATENTS.low, HYPER_LATENTS.high).astype(np.int64)
        writer.put(
            self.model.hyper_tables, self.model.hyper_which(z.shape, self.quality), z.ravel() - HYPER_LATENTS.low
        )
        wanted, costs = y.double().numpy(), self.bit_worth * symbol_costs(self.model.residual_tables)

        def residuals(known: Prediction) -> Integers:
            found = known.residuals(wanted, costs)
            self._put(writer, known.levels, found)
            return found

        latents = self.model.predictions.latents(z, self.quality, (y.shape[1], y.shape[2]), residuals)
        return self.model.pixels(latents, self.quality, (height, width))

    def _put(self, writer: SymbolWriter, levels: Integers, residuals: Integers) -> None:
        is_told = levels > 0
        which, whole = levels[is_told], residuals[is_told]
        symbols = symbols_of(whole)
        tables = self.model.residual_tables
        symbols = np.where(tables.intervals(which, symbols)[1] > 0, symbols, 2 * REACH + 1)
        writer.put(tables, which, symbols)
        others = whole[symbols > 2 * REACH] - OUTLIERS.low
        writer.put(_RAW, np.zeros_like(others), others)

    def _take(self, reader: SymbolReader, quality: int, shape: tuple[int, int, int]) -> Images:
        n, height, width = shape
        of = self.model.predictions
        z_shape = (n, *self.model.hyper_size(height, width), of.n_hyper_latents)
        z = reader.take(self.model.hyper_tables, self.model.hyper_which(z_shape, quality)) + HYPER_LATENTS.low

        def residuals(known: Prediction) -> Integers:
            found, is_told = np.zeros_like(known.levels), known.levels > 0
            whole = reader.take(self.model.residual_tables, known.levels[is_told]) - REACH
            others = whole > REACH
            whole[others] = reader.take(_RAW, np.zeros(int(others.sum()), np.int64)) + OUTLIERS.low
            found[is_told] = whole
            return found

        size = -(-height // STRIDE), -(-width // STRIDE)
        y = of.latents(z.reshape(z_shape), quality, size, residuals)
        return self.model.pixels(y, quality, (height, width))

    def _exactly(self) -> AbstractContextManager[None]:
        if not self._is_verified:
            self.model.verify()
            self._is_verified = True
        return exact_arithmetic()


def _groups(n: int, height: int, width: int) -> Iterator[slice]:
    """Images whose symbols follow each other."""
    most = max(1, _PIXELS_AT_ONCE // ((height + 31) // 32 * ((width + 31) // 32) * 1024))
    for first in range(0, n, most):
        yield slice(first, min(first + most, n))


@coders.register(LossyCoder.name)
def _of_state(state: CoderState) -> LossyCoder:
    settings = state.settings
    arrays = {name: np.asarray(array, np.int64) for name, array in state.arrays.items()}
    transforms, passes = settings["transforms"], settings["passes"]
    names = ("synthesis", "hyper_synthesis", *(f"predictor_{number}" for number in range(len(passes))))
    synthesis, hyper, *predictors = (ExactTransform.from_description(name, transforms[name], arrays) for name in names)
    steps = QualitySteps(arrays["exponents"], arrays["powers"])
    n_latents = steps.exponents.shape[1]
    told = [
        LatentPass(
            whole_number(first, 0, n_latents),
            whole_number(last, 0, n_latents),
            None if parity is None else whole_number(parity, 0, 1),
        )
        for first, last, parity in passes
    ]
    precisions = [whole_number(each, 1, 16) for each in settings["precisions"]]
    model = LossyModel(
        Predictions(hyper, predictors, told, steps),
        synthesis,
        FrequencyTables(arrays["hyper_frequencies"], precisions[0]),
        FrequencyTables(arrays["residual_frequencies"], precisions[1], least=0),
    )
    return LossyCoder(model)


def _read(content: bytes) -> tuple[tuple[int, int, int, int], int]:
    """Quality, lanes, height and width, and how many bytes tell them.

    Raises:
        DamagedArchiveError: If they do not.
    """
    numbers = NumberReader(content, most_digits=5, message="the size of its images cannot be read.")
    quality, n_lanes, height, width = numbers.several(4)
    limits = ((quality, MOST_QUALITY), (n_lanes, MOST_LANES), (height, _MOST_SIDE), (width, _MOST_SIDE))
    if not all(1 <= number <= most for number, most in limits):
        raise DamagedArchiveError("its quality, or the size of its images, cannot be.")
    return (quality, n_lanes, height, width), numbers.place
