"""Fitted convolutional networks in whole numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentkit.codec.exact import ExactNetwork, Span, exact_layer, tabulated, usual
from latentkit.codec.image_networks import (
    FLOOR_BITS,
    STANDARD_BITS,
    ExactBranch,
    ExactImageNetwork,
    ExactPixelBias,
    ExactPointwise,
    ExactSpread,
    Stage,
)
from latentkit.codec.transforms import ExactConvolution
from latentkit.core.errors import UnsupportedOperationError
from latentkit.nn import ConvDecoder, ConvEncoder, activations
from latentkit.nn.convolutional import ResidualBlock, Upsampling
from latentkit.tasks.compression.outputs import DecoderOutputs

__all__ = ["ConvolutionBits", "exact_conv_decoder", "exact_conv_encoder"]

Integers = NDArray[np.int64]

_GAIN_BITS: Final = 15
#: Bits behind the point of what pixels get their bias added to.
_OUTPUT_BITS: Final = 3
_WIDE: Final = Span(-(1 << 20), 1 << 20)


@final
@dataclass(frozen=True, slots=True)
class ConvolutionBits:
    """How finely networks are told.

    Attributes:
        weight: Bits of a weight, at most: as many as sums leave room for.
        stream: Of what residual blocks add to.
        activation: Of what comes out of an activation.
    """

    weight: int
    stream: int
    activation: int


def exact_conv_encoder(
    network: ConvEncoder,
    x: Tensor,
    *,
    n_symbols: int,
    channels_first: bool,
    scales: Tensor,
    outputs: Span,
    bits: ConvolutionBits,
) -> ExactImageNetwork:
    """Return the exact network that stands for an encoder.

    Args:
        network: In the state in which it is used.
        x: Examples in model units, by which steps are chosen, shape (n, channels, height, width).
        n_symbols: Values of a pixel, evenly from 0 to 1.
        channels_first: How pixels of a row lie.
        scales: By which each output is multiplied.
        outputs: To where outputs are clamped.
        bits: How finely.

    Raises:
        InvalidParameterError: If sums would not be exact.
        UnsupportedOperationError: If it has other parts.
    """
    path = _Path(x, 1.0 / (n_symbols - 1), Span(0, n_symbols - 1), activations[network.activation].function, bits)
    path.centre(n_symbols)
    path.run(network.stages)
    path.normalise(network.norm)
    grid, (n_channels, height, width) = (path.x.shape[2], path.x.shape[3]), network.event_shape
    of_layer = scales.double()
    layer = exact_layer(
        network.output.weight.double() * of_layer[:, None],
        network.output.bias.double() * of_layer,
        input_step=path.step,
        inputs=path.span,
        output_step=1.0,
        outputs=outputs,
        weight_bits=bits.weight,
    )
    return ExactImageNetwork(
        path.stages,
        ExactNetwork([layer]),
        shape=(height, width, n_channels),
        grid=grid,
        is_encoder=True,
        channels_first=channels_first,
    )


def exact_conv_decoder(
    network: ConvDecoder,
    z: Tensor,
    *,
    steps: int,
    inputs: Span,
    channels_first: bool,
    outputs: DecoderOutputs,
    bits: ConvolutionBits,
) -> ExactImageNetwork:
    """Return the exact network that stands for a decoder.

    Args:
        network: In the state in which it is used.
        z: Examples of latent vectors, by which steps are chosen, shape (n, latent).
        steps: Whole numbers that make a unit of a latent variable.
        inputs: Where these lie.
        channels_first: How pixels of a row lie.
        outputs: What its outputs become.
        bits: How finely.

    Raises:
        InvalidParameterError: If sums would not be exact.
        UnsupportedOperationError: If it has other parts.
    """
    with torch.no_grad():
        grid = network.input(z)
    grid = grid.view(len(z), *network._grid).permute(0, 3, 1, 2)  # noqa: SLF001
    path = _Path(grid, 1.0, Span(0, 0), activations[network.activation].function, bits)
    path.open_stream(network.stages)
    layer = exact_layer(
        network.input.weight,
        network.input.bias,
        input_step=1.0 / steps,
        inputs=inputs,
        output_step=path.step,
        outputs=path.span,
        weight_bits=bits.weight,
    )
    size = path.x.shape[2:]
    path.run(network.stages)
    path.normalise(network.norm)
    n_channels, height, width = network.output_shape[1:]
    scales = torch.tensor(outputs.scales).double().repeat_interleave(n_channels)
    offsets = torch.tensor(outputs.offsets).double().repeat_interleave(n_channels)
    path.finish(network.to_image, network.output_bias.bias, scales, offsets, outputs.span)
    return ExactImageNetwork(
        path.stages,
        ExactNetwork([layer]),
        shape=(height, width, n_channels),
        grid=(size[0], size[1]),
        is_encoder=False,
        channels_first=channels_first,
    )


@final
@dataclass(slots=True)
class _Path:
    """Stages so far, and what is known behind them.

    Attributes:
        x: Examples there, shape (n, channels, height, width).
        step: What a whole number is worth there.
        span: Where whole numbers lie.
        activate: The activation.
        bits: How finely.
        stages: The stages.
    """

    x: Tensor
    step: float
    span: Span
    activate: Callable[[Tensor], Tensor]
    bits: ConvolutionBits
    stages: list[Stage] = field(default_factory=list)

    def centre(self, n_symbols: int) -> None:
        """From 0 .. 1 to -1 .. 1, so that 0 is what lies outside of the image."""
        n, most = self.x.shape[1], n_symbols - 1
        span = Span(-most, most)
        self.stages.append(ExactPointwise([2] * n, [-most] * n, 0, inputs=self.span, outputs=span))
        self.x, self.step, self.span = self.x * 2 - 1, 1.0 / most, span

    def run(self, modules: nn.Sequential) -> None:
        """Follow what a network has between its first and its last layer."""
        parts = list(modules)
        for place, part in enumerate(parts):
            if isinstance(part, nn.Conv2d):
                self._convolve(part, parts[place + 1 :])
            elif isinstance(part, Upsampling):
                self._upsample(part, parts[place + 1 :])
            elif isinstance(part, ResidualBlock):
                self._branch(part)
            else:
                raise UnsupportedOperationError(f"a {type(part).__name__} is not brought into whole numbers.")

    def open_stream(self, following: nn.Sequential | list[nn.Module]) -> None:
        """Choose the steps of what is to be added to, so that it and the sums that follow fit."""
        largest, x = usual(self.x), self.x
        for part in following:
            if not isinstance(part, ResidualBlock):
                break
            with torch.no_grad():
                x = part(x)
            largest = max(largest, usual(x))
        half = 1 << (self.bits.stream - 1)
        self.step, self.span = largest / half, Span(-half, half - 1)

    def normalise(self, norm: nn.Module) -> None:
        """What a normalisation and the activation behind it give."""
        stage = self._normalisation(norm)
        self.stages.append(stage)

    def finish(self, up: Upsampling, bias: Tensor, scales: Tensor, offsets: Tensor, outputs: Span) -> None:
        """Give the outputs: those of the last convolution, and what each pixel adds."""
        fine = 2.0**-_OUTPUT_BITS
        wide = Span(outputs.low << _OUTPUT_BITS, outputs.high << _OUTPUT_BITS)
        self._spread(up, fine, wide, scales)
        added = (bias.detach().double() * scales[:, None, None] + offsets[:, None, None]) / fine
        whole = (added + (1 << _OUTPUT_BITS >> 1)).round().clamp(_WIDE.low, _WIDE.high).long()
        places = whole.permute(1, 2, 0).contiguous().numpy()
        self.stages.append(ExactPixelBias(places, _OUTPUT_BITS, inputs=wide, outputs=outputs))

    # Parts

    def _convolve(self, convolution: nn.Conv2d, following: list[nn.Module]) -> None:
        before = self.step, self.span
        with torch.no_grad():
            self.x = convolution(self.x)
        self.open_stream(following)
        self.stages.append(self._convolution(convolution, *before, self.step, self.span))

    def _upsample(self, up: Upsampling, following: list[nn.Module]) -> None:
        with torch.no_grad():
            after = up(self.x)
        path = _Path(after, self.step, self.span, self.activate, self.bits)
        path.open_stream(following)
        self._spread(up, path.step, path.span, torch.ones(after.shape[1], dtype=torch.float64))
        self.x, self.step, self.span = after, path.step, path.span

    def _spread(self, up: Upsampling, step: float, span: Span, scales: Tensor) -> None:
        """Stages of a convolution to a finer grid."""
        if isinstance(up.convolution, nn.ConvTranspose2d):
            strides = (up.convolution.stride[0], up.convolution.stride[1])
            weight = _by_phases(up.convolution.weight.detach().double(), strides)
            n_phases = math.prod(strides)
            bias = None if up.convolution.bias is None else up.convolution.bias.double().repeat_interleave(n_phases)
            stage = self._kernel(weight, bias, self.step, self.span, step, span, scales.repeat_interleave(n_phases))
            self.stages += [stage, ExactSpread(strides, up.size, stage.n_outputs, span, repeats=False)]
            return
        factors = (up.factors[0], up.factors[1])
        self.stages.append(ExactSpread(factors, up.size, self.x.shape[1], self.span, repeats=True))
        bias = None if up.convolution.bias is None else up.convolution.bias.double()
        weight = up.convolution.weight.detach().double()
        self.stages.append(self._kernel(weight, bias, self.step, self.span, step, span, scales))

    def _branch(self, block: ResidualBlock) -> None:
        inner = _Path(self.x, self.step, self.span, self.activate, self.bits)
        body = [inner._normalisation(block.norm)]
        with torch.no_grad():
            before = block.spatial(inner.x)
        half = 1 << (self.bits.activation + 3)
        fine = usual(before) / half
        table, worth = tabulated(self.activate, half, fine, self.bits.activation)
        spatial = self._convolution(block.spatial, inner.step, inner.span, fine, Span(-half, half - 1), table)
        pointwise = self._convolution(block.pointwise, worth, spatial.span, self.step, self.span)
        with torch.no_grad():
            self.x = block(self.x)
        self.stages.append(ExactBranch([*body, spatial, pointwise]))

    def _normalisation(self, norm: nn.Module) -> ExactPointwise:
        """Normalise, activate, and follow."""
        n, n_groups, floor = self.x.shape[1], 0, 0
        if isinstance(norm, nn.GroupNorm):
            n_groups, floor = norm.num_groups, round(norm.eps / self.step**2 * (1 << FLOOR_BITS))
            gains, biases = norm.weight.detach().double() * 2.0**-STANDARD_BITS, norm.bias.detach().double()
        elif isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            scales = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
            gains, biases = scales * self.step, norm.bias.detach().double() - scales * norm.running_mean.double()
        else:
            gains, biases = torch.full((n,), self.step).double(), torch.zeros(n).double()
        with torch.no_grad():
            before = norm(self.x)
        half = 1 << (self.bits.activation + 3)
        fine = usual(before) / half
        largest = float(gains.abs().max()) / fine
        shift = max(0, min(30, _GAIN_BITS - math.ceil(math.log2(max(largest, 1e-9)))))
        table, worth = tabulated(self.activate, half, fine, self.bits.activation)
        most = 1 << 44
        stage = ExactPointwise(
            (gains / fine * 2.0**shift).round().long().numpy(),
            ((biases / fine + 0.5) * 2.0**shift).round().clamp(-most, most).long().numpy(),
            shift,
            inputs=self.span,
            outputs=Span(-half, half - 1),
            table=table,
            n_groups=n_groups,
            floor=floor,
        )
        self.x, self.step, self.span = self.activate(before), worth, stage.span
        return stage

    def _convolution(
        self,
        convolution: nn.Conv2d,
        input_step: float,
        inputs: Span,
        output_step: float,
        outputs: Span,
        table: Integers | None = None,
    ) -> ExactConvolution:
        weight, bias = convolution.weight.detach().double(), convolution.bias
        strides = (convolution.stride[0], convolution.stride[1])
        ones = torch.ones(len(weight), dtype=torch.float64)
        return self._kernel(weight, bias, input_step, inputs, output_step, outputs, ones, strides, table)

    def _kernel(
        self,
        weight: Tensor,
        bias: Tensor | None,
        input_step: float,
        inputs: Span,
        output_step: float,
        outputs: Span,
        scales: Tensor,
        strides: tuple[int, int] = (1, 1),
        table: Integers | None = None,
    ) -> ExactConvolution:
        layer = exact_layer(
            weight.permute(0, 2, 3, 1).reshape(len(weight), -1) * scales[:, None],
            None if bias is None else bias.detach().double() * scales,
            input_step=input_step,
            inputs=inputs,
            output_step=output_step,
            outputs=outputs,
            weight_bits=self.bits.weight,
            table=table,
        )
        return ExactConvolution(layer, weight.shape[2], strides)


def _by_phases(weight: Tensor, strides: tuple[int, int]) -> Tensor:
    r"""The weights of a transposed convolution, of kernel 2 + stride and padding 1, as those of an ordinary one.

    A place of the finer grid is one of s of a place of the coarser one, of whose neighbours it sees those at d = -1, 0
    and 1:

    .. math:: y_{s m + a} = \sum_d x_{m + d} w_{a + 1 - s d}

    Args:
        weight: Shape (inputs, outputs, height, width).
        strides: Down and to the side.
    Returns:
        Shape (outputs * phases, inputs, 3, 3).
    """
    n_inputs, n_outputs, *kernel = weight.shape
    found = weight.new_zeros(n_outputs, strides[0], strides[1], n_inputs, 3, 3)
    for a, b, i, j in np.ndindex(*strides, 3, 3):
        y, x = a + 1 - strides[0] * (i - 1), b + 1 - strides[1] * (j - 1)
        if 0 <= y < kernel[0] and 0 <= x < kernel[1]:
            found[:, a, b, :, i, j] = weight[:, :, y, x].T
    return found.reshape(-1, n_inputs, 3, 3)
