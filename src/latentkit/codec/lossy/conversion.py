"""Transforms in whole numbers that stand for trained ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

import torch
from torch import Tensor, nn

from latentkit.codec.exact import Span, exact_layer
from latentkit.codec.transforms import ExactConvolution, ExactResidual, ExactShuffle, ExactTransform, Stage
from latentkit.core.errors import InvalidParameterError
from latentkit.nn.residual import ResidualConvolutions

__all__ = ["Grid", "exact_transform"]

_USUAL: Final = 0.99999  # share of the activations that are not cut off


@dataclass(frozen=True, slots=True)
class Grid:
    """Whole numbers that stand for those of channels.

    Attributes:
        span: Where they lie.
        steps: What one is worth, a number for all channels or shape (channels,).
        offset: What 0 is worth.
    """

    span: Span
    steps: Tensor
    offset: float = 0.0


def exact_transform(
    modules: nn.Sequential,
    examples: Tensor,
    *,
    inputs: Grid,
    outputs: Grid | None = None,
    weight_bits: int = 8,
    body_bits: int = 8,
    activation_bits: int = 10,
) -> tuple[ExactTransform, Grid]:
    """Return the exact transform that stands for convolutions, residual blocks, rectifiers and shuffles.

    What lies between layers has a step of its own, by which all but one in a hundred thousand numbers of the examples
    lie within the span: `activation_bits` bits after a rectifier, one more elsewhere, for a sign.

    Args:
        modules: In their order: ``nn.Conv2d`` of odd kernels that keep the size, ``nn.ReLU`` after one,
            ``nn.PixelShuffle``, :class:`~latentkit.nn.residual.ResidualConvolutions`. The first is a convolution.
        examples: Inputs, real numbers, shape (n, channels, height, width).
        inputs: Of whole numbers that stand for inputs.
        outputs: To what outputs are rounded; None takes it from the examples.
        weight_bits: Of a weight, at most: as many as sums leave room for.
        body_bits: Of a weight in a residual block, whose errors are small beside what they are added to.
        activation_bits: Of an activation.

    Returns:
        The transform, and what its outputs are worth.

    Raises:
        InvalidParameterError: If another module is among these, or sums would not be exact.
    """
    if inputs.offset:
        raise InvalidParameterError("inputs have no offset: 0 lies outside of the image.")
    parts, stages = list(modules), list[Stage]()
    x, grid = examples.detach(), inputs
    last = max((place for place, part in enumerate(parts) if isinstance(part, nn.Conv2d)), default=0)
    for place, part in enumerate(parts):
        after = part(x)
        if isinstance(part, nn.Conv2d):
            is_rectified = place + 1 < len(parts) and isinstance(parts[place + 1], nn.ReLU)
            to = outputs if place == last and outputs is not None else None
            if to is None:
                to = (
                    _positive(after, activation_bits)
                    if is_rectified
                    else _signed(after, parts[place + 1 :], activation_bits)
                )
            stages.append(_convolution(part, grid, to, weight_bits))
            grid = to
        elif isinstance(part, nn.PixelShuffle):
            stages.append(ExactShuffle(part.upscale_factor, stages[-1].n_outputs, stages[-1].span))
        elif isinstance(part, ResidualConvolutions):
            inner = _positive(part.inner(x).relu(), activation_bits)
            body = [_convolution(part.inner, grid, inner, body_bits), _convolution(part.outer, inner, grid, body_bits)]
            stages.append(ExactResidual(body, grid.span))
        elif not isinstance(part, nn.ReLU):
            raise InvalidParameterError(f"{type(part).__name__} has no form in whole numbers.")
        x = after
    return ExactTransform(stages), grid


def _convolution(part: nn.Conv2d, inputs: Grid, outputs: Grid, weight_bits: int) -> ExactConvolution:
    kernel = part.kernel_size[0]
    if part.kernel_size != (kernel, kernel) or part.padding != (kernel // 2, kernel // 2) or part.stride != (1, 1):
        raise InvalidParameterError(f"{part} does not keep the size of its input.")
    of_channels = inputs.steps.double().expand(part.in_channels)
    rows = outputs.steps.double().expand(part.out_channels)
    weight = part.weight.detach().double().permute(0, 2, 3, 1) * of_channels / rows[:, None, None, None]
    bias = torch.zeros(part.out_channels) if part.bias is None else part.bias.detach()
    layer = exact_layer(
        weight.reshape(part.out_channels, -1),
        (bias.double() - outputs.offset) / rows,
        input_step=1.0,
        inputs=inputs.span,
        output_step=1.0,
        outputs=outputs.span,
        weight_bits=weight_bits,
    )
    return ExactConvolution(layer, kernel)


def _positive(x: Tensor, bits: int) -> Grid:
    high = (1 << bits) - 1
    return Grid(Span(0, high), torch.tensor(_usual(x.relu()) / high))


def _signed(x: Tensor, following: Sequence[nn.Module], bits: int) -> Grid:
    """What fits x and the sums of the residual blocks after it."""
    half, largest = 1 << bits, _usual(x)
    for part in takewhile(lambda part: isinstance(part, ResidualConvolutions | nn.PixelShuffle), following):
        x = part(x)
        largest = max(largest, _usual(x))
    return Grid(Span(-half, half - 1), torch.tensor(largest / half))


def _usual(x: Tensor) -> float:
    """The magnitude that all but one in a hundred thousand stay below; 1 where all are 0."""
    sizes = x.detach().abs().flatten()
    place = max(1, math.ceil(_USUAL * len(sizes)))
    return float(sizes.kthvalue(place).values) or float(sizes.max()) or 1.0
