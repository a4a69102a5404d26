"""Transforms of images in whole numbers: convolutions as products, residual blocks, shuffles to finer grids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, Protocol, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from latentkit.codec.exact import ExactLayer, ExactNetwork, Span
from latentkit.core.errors import DamagedArchiveError, InvalidParameterError

__all__ = [
    "ExactConvolution",
    "ExactResidual",
    "ExactShuffle",
    "ExactTransform",
    "Stage",
    "check_chain",
    "whole_number",
]

Integers = NDArray[np.int64]

_AT_ONCE: Final = 1 << 21  # numbers under the kernels at all places of a strip
_MOST_STAGES: Final = 64
_MOST_CHANNELS: Final = 1024
_MOST_LARGENESS: Final = 1 << 24
_MOST_SHIFT: Final = 30
_MOST_FACTOR: Final = 8


@final
class ExactConvolution(nn.Module):
    r"""A convolution of whole numbers: an exact layer at every place, of what lies under a square kernel there.

    .. math:: y_{ij} = L(x_{i-k..i+k, j-k..j+k})

    Outside of the image lies 0. Places are taken in strips of bounded size; what a place gives does not depend on them.

    Args:
        layer: Its inputs are rows of the kernel, places of a row, channels of a place, in this order.
        kernel: Side of the kernel, odd.
        strides: Down and to the side: of so many places the first gives one.

    Raises:
        InvalidParameterError: If the kernel is even, or does not fit the layer.

    Example:
        >>> mean = ExactLayer(np.ones((1, 9), int), [0], [0], inputs=Span(0, 9), outputs=Span(0, 99))
        >>> ExactConvolution(mean, 3)(torch.ones(1, 2, 2, 1)).flatten()
        tensor([4., 4., 4., 4.])
    """

    def __init__(self, layer: ExactLayer, kernel: int, strides: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        n_inputs = int(layer.integers[0].shape[1])
        if kernel < 1 or kernel % 2 == 0 or n_inputs % kernel**2:
            raise InvalidParameterError(f"{n_inputs} inputs are no channels under a square kernel of side {kernel}.")
        self.layer, self.kernel, self.strides = layer, kernel, strides
        self.n_inputs, self.n_outputs = n_inputs // kernel**2, len(layer.integers[0])
        self.inputs, self.span = layer.inputs, layer.span

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs, shape (n, height, width, outputs), for whole numbers x, shape (n, height, width, inputs).

        With strides, height and width of the outputs are so many times smaller, rounded up.
        """
        n, channels = x.shape[0], x.shape[3]
        (down, side), edge = self.strides, self.kernel // 2
        height, width = -(-x.shape[1] // down), -(-x.shape[2] // side)
        row = width * channels * self.kernel**2
        n_images, n_rows = max(1, _AT_ONCE // (height * row)), max(1, _AT_ONCE // row)
        found = x.new_empty((n, height, width, self.n_outputs))
        for first in range(0, n, n_images):
            padded = functional.pad(x[first : first + n_images], (0, 0, edge, edge, edge, edge))
            for top in range(0, height, n_rows):
                bottom = min(top + n_rows, height)
                strip = padded[:, top * down : (bottom - 1) * down + self.kernel]
                found[first : first + n_images, top:bottom] = self.layer(self._under(strip))
        return found

    def layers(self) -> Iterator[ExactLayer]:
        """Yield its exact layer."""
        yield self.layer

    def _under(self, strip: Tensor) -> Tensor:
        """What lies under the kernel at every place of a strip that has its edges."""
        down, side = self.strides
        if self.kernel == 1:
            return strip[:, ::down, ::side]
        height, width = strip.shape[1] - self.kernel + 1, strip.shape[2] - self.kernel + 1
        places = [(i, j) for i in range(self.kernel) for j in range(self.kernel)]
        return torch.cat([strip[:, i : i + height : down, j : j + width : side] for i, j in places], -1)


@final
class ExactResidual(nn.Module):
    """What convolutions add to their input, clamped.

    Args:
        body: Convolutions, one after the other; they give as many channels as they take.
        span: To where sums are clamped.

    Raises:
        InvalidParameterError: If they do not follow each other, or sums are not exact.
    """

    def __init__(self, body: Sequence[ExactConvolution], span: Span) -> None:
        super().__init__()
        check_chain(body)
        self.body = nn.ModuleList(body)
        self.inputs, self.span = body[0].inputs, span
        self.n_inputs, self.n_outputs = body[0].n_inputs, body[-1].n_outputs
        if self.n_inputs != self.n_outputs:
            raise InvalidParameterError(f"{self.n_outputs} channels cannot be added to {self.n_inputs}.")

    def forward(self, x: Tensor) -> Tensor:
        """Return sums, shape (n, height, width, channels), of the shape of x."""
        total = x
        for convolution in self.body:
            x = convolution(x)
        return x.add_(total).clamp_(self.span.low, self.span.high)

    def layers(self) -> Iterator[ExactLayer]:
        """Yield its exact layers."""
        for convolution in self.body:
            assert isinstance(convolution, ExactConvolution)
            yield convolution.layer


@final
class ExactShuffle(nn.Module):
    """Channels become places of a finer grid, as by ``torch.nn.PixelShuffle``.

    Args:
        factor: How many times finer.
        n_inputs: Channels that it takes, a multiple of the factor's square.
        inputs: Where they lie.
    """

    def __init__(self, factor: int, n_inputs: int, inputs: Span) -> None:
        super().__init__()
        if n_inputs % factor**2:
            raise InvalidParameterError(f"{n_inputs} channels do not become {factor} x {factor} places.")
        self.factor, self.n_inputs, self.n_outputs = factor, n_inputs, n_inputs // factor**2
        self.inputs = self.span = inputs

    def forward(self, x: Tensor) -> Tensor:
        """Return shape (n, factor height, factor width, channels / factor^2)."""
        n, height, width, _ = x.shape
        parts = x.view(n, height, width, self.n_outputs, self.factor, self.factor).permute(0, 1, 4, 2, 5, 3)
        return parts.reshape(n, height * self.factor, width * self.factor, self.n_outputs)

    def layers(self) -> Iterator[ExactLayer]:
        """Yield nothing."""
        yield from ()


Stage = ExactConvolution | ExactResidual | ExactShuffle


@final
class ExactTransform(nn.Module):
    """Stages, one after the other.

    Attributes:
        inputs: Where inputs lie.
        span: Where outputs lie.
        n_inputs: Channels of an input.
        n_outputs: Channels of an output.
        factor: How many times finer the grid of the outputs is.

    Raises:
        InvalidParameterError: If stages do not follow each other.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        super().__init__()
        check_chain(stages)
        self.stages = nn.ModuleList(stages)
        self.inputs, self.span = stages[0].inputs, stages[-1].span
        self.n_inputs, self.n_outputs, self.factor = stages[0].n_inputs, stages[-1].n_outputs, 1
        for stage in stages:
            self.factor *= stage.factor if isinstance(stage, ExactShuffle) else 1

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs, shape (n, factor height, factor width, outputs), for x of (n, height, width, inputs)."""
        for stage in self.stages:
            x = stage(x)
        return x

    def verify(self) -> None:
        """See that this machine computes it exactly; see :meth:`ExactNetwork.verify`."""
        for stage in self._each():
            for layer in stage.layers():
                ExactNetwork([layer]).verify()

    @property
    def most_per_place(self) -> float:
        """The most numbers that a stage gives for each place of its input."""
        finer, most = 1, 0.0
        for stage in self._each():
            finer *= stage.factor if isinstance(stage, ExactShuffle) else 1
            inner = max((len(layer.integers[0]) for layer in stage.layers()), default=stage.n_outputs)
            most = max(most, float(inner * finer**2))
        return most

    def _each(self) -> Iterator[Stage]:
        for stage in self.stages:
            assert isinstance(stage, Stage)
            yield stage

    # What is kept of it

    def describe(self, name: str) -> tuple[list[dict[str, Any]], dict[str, Integers]]:
        """Return its stages as JSON knows them, and its arrays, whose names begin with `name`."""
        stages: list[dict[str, Any]] = []
        arrays: dict[str, Integers] = {}

        def told(convolution: ExactConvolution, place: str) -> dict[str, Any]:
            weight, bias, shifts = convolution.layer.integers
            arrays.update({f"{place}.weight": weight, f"{place}.bias": bias, f"{place}.shifts": shifts})
            return {
                "kernel": convolution.kernel,
                "inputs": [convolution.inputs.low, convolution.inputs.high],
                "outputs": [convolution.span.low, convolution.span.high],
            }

        for number, stage in enumerate(self._each()):
            place = f"{name}.{number}"
            if isinstance(stage, ExactConvolution):
                stages.append(told(stage, place))
            elif isinstance(stage, ExactShuffle):
                stages.append({"factor": stage.factor})
            else:
                parts = [part for part in stage.body if isinstance(part, ExactConvolution)]
                body = [told(part, f"{place}.{inner}") for inner, part in enumerate(parts)]
                stages.append({"body": body, "span": [stage.span.low, stage.span.high]})
        return stages, arrays

    @classmethod
    def from_description(cls, name: str, stages: object, arrays: Mapping[str, Integers]) -> ExactTransform:
        """Return the transform of a description, which may come from a file.

        Raises:
            DamagedArchiveError: If it is none.
            InvalidParameterError: If its parts do not fit together.
        """

        def convolution(told: object, place: str) -> ExactConvolution:
            told = _mapping(told)
            kernel = whole_number(told.get("kernel"), 1, 9)
            layers = [arrays.get(f"{place}.{part}") for part in ("weight", "bias", "shifts")]
            weight, bias, shifts = (np.zeros(0, np.int64) if part is None else part for part in layers)
            if max(weight.shape, default=0) > _MOST_CHANNELS * kernel**2 or not _are_small(shifts, _MOST_SHIFT):
                raise DamagedArchiveError("a layer of its model is too large.")
            layer = ExactLayer(
                weight, bias, shifts, inputs=_span(told.get("inputs")), outputs=_span(told.get("outputs"))
            )
            return ExactConvolution(layer, kernel)

        found: list[Stage] = []
        for number, told in enumerate(_list(stages)):
            told, place = _mapping(told), f"{name}.{number}"
            if "factor" in told:
                if not found:
                    raise DamagedArchiveError("its model begins with a shuffle.")
                found.append(
                    ExactShuffle(whole_number(told["factor"], 1, _MOST_FACTOR), found[-1].n_outputs, found[-1].span)
                )
            elif "body" in told:
                body = [convolution(part, f"{place}.{inner}") for inner, part in enumerate(_list(told["body"]))]
                found.append(ExactResidual(body, _span(told.get("span"))))
            else:
                found.append(convolution(told, place))
        return cls(found)


def whole_number(value: object, low: int, high: int) -> int:
    """Return a number from a file if it is whole and lies within bounds.

    Raises:
        DamagedArchiveError: If not.
    """
    if type(value) is not int or not low <= value <= high:
        raise DamagedArchiveError(f"a number of its model is not a whole one from {low:,} to {high:,}.")
    return value


class Linked(Protocol):
    """What takes and gives so many channels of whole numbers that lie within spans."""

    n_inputs: int
    n_outputs: int
    inputs: Span
    span: Span


def check_chain(stages: Sequence[Linked]) -> None:
    """See that stages follow each other.

    Raises:
        InvalidParameterError: If one does not take what the one before it gives.
    """
    if not stages:
        raise InvalidParameterError("a transform has at least one stage.")
    for number, (stage, after) in enumerate(pairwise(stages), 1):
        if stage.n_outputs != after.n_inputs or not after.inputs.holds(stage.span):
            raise InvalidParameterError(
                f"stage {number} gives {stage.n_outputs} channels from {stage.span.low} to {stage.span.high}, and the "
                f"next takes {after.n_inputs} from {after.inputs.low} to {after.inputs.high}."
            )


def _are_small(values: Integers, most: int) -> bool:
    return not values.size or bool(values.min() >= -most and values.max() <= most)


def _span(value: object) -> Span:
    pair = _list(value)
    if len(pair) != 2:
        raise DamagedArchiveError("a span of its model is no pair.")
    low = whole_number(pair[0], -_MOST_LARGENESS, _MOST_LARGENESS)
    return Span(low, whole_number(pair[1], low, _MOST_LARGENESS))


def _list(value: object) -> list[Any]:
    if not isinstance(value, list) or not 1 <= len(value) <= _MOST_STAGES:
        raise DamagedArchiveError(f"a part of its model is no list of 1 to {_MOST_STAGES}.")
    return value


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DamagedArchiveError("a part of its model is not described.")
    return value
