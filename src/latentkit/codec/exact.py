"""Networks of whole numbers, whose outputs are the same on every machine, in any batch, on any number of threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.core.parameters import check_integer
from latentkit.core.products import products_of

__all__ = [
    "ExactLayer",
    "ExactNetwork",
    "Span",
    "exact_arithmetic",
    "exact_layer",
    "exact_perceptron",
    "tabulated",
    "usual",
]

Integers = NDArray[np.int64]

#: Numbers of 32 bits hold every whole number up to here; whatever the order, sums below it are exact.
EXACT_BELOW: Final = 1 << 24
_MOST_SHIFT: Final = 30  # of a sum, which still has room in 64 bits
_LARGEST: Final = 1 << 54  # of a sum that is shifted up
_USUAL: Final = 0.9999  # share of the activations that are not cut off
_PROBES: Final = 32


@dataclass(frozen=True, slots=True)
class Span:
    """Whole numbers from `low` to `high`, both included."""

    low: int
    high: int

    @property
    def largest(self) -> int:
        """The largest magnitude."""
        return max(abs(self.low), abs(self.high))

    def holds(self, other: Span) -> bool:
        """Whether the other lies within."""
        return self.low <= other.low and other.high <= self.high


@final
class ExactLayer(nn.Module):
    r"""A linear layer of whole numbers, and what is looked up of its outputs.

    .. math:: y_i = t(clamp(\lfloor 2^{-s_i} u_i \rfloor)), \qquad u_i = \sum_j W_{ij} x_j + b_i

    It is computed with floating-point numbers, as fast as any, and is exact all the same:

    .. math:: \sum_j |W_{ij}| \max |x_j| + |b_i| < 2^{24}

    holds for every input of the span, so that each partial sum, in whatever order, is a whole number that 32 bits hold.
    Powers of two change nothing about that.

    Args:
        weight: W, whole numbers, shape (outputs, inputs).
        bias: b, shape (outputs,).
        shifts: s, shape (outputs,).
        inputs: Where the inputs lie.
        outputs: To where the sums are clamped.
        table: t for each whole number of `outputs`, from the lowest on; None leaves them as they are.

    Raises:
        InvalidParameterError: If the bound does not hold, or the numbers are not of these shapes.

    Example:
        >>> layer = ExactLayer([[3, -2]], [1], [1], inputs=Span(0, 255), outputs=Span(-10, 10))
        >>> layer(torch.tensor([[5.0, 4.0], [200.0, 0.0]]))
        tensor([[ 4.],
                [10.]])
    """

    weight: Tensor
    bias: Tensor
    table: Tensor | None

    def __init__(
        self,
        weight: NDArray[np.integer] | Sequence[Sequence[int]],
        bias: NDArray[np.integer] | Sequence[int],
        shifts: NDArray[np.integer] | Sequence[int],
        *,
        inputs: Span,
        outputs: Span,
        table: NDArray[np.integer] | None = None,
    ) -> None:
        super().__init__()
        self.integers = _whole("weight", weight, 2), _whole("bias", bias, 1), _whole("shifts", shifts, 1)
        w, b, s = self.integers
        if not len(w) == len(b) == len(s):
            raise InvalidParameterError(f"{len(w)} rows of weights, {len(b)} of bias and {len(s)} shifts do not agree.")
        if not -_MOST_SHIFT <= int(s.min(initial=0)) <= int(s.max(initial=0)) <= _MOST_SHIFT:
            raise InvalidParameterError(
                f"shifts lie between -{_MOST_SHIFT} and {_MOST_SHIFT}; got {s.min()}, {s.max()}."
            )
        for name, span in (("inputs", inputs), ("outputs", outputs)):
            if not span.low <= span.high or span.largest > _LARGEST:
                raise InvalidParameterError(f"{name} lie from a number to one that is no smaller; got {span}.")
        self.inputs, self.outputs, self.codes = inputs, outputs, None
        bound = self.bound
        if bound >= EXACT_BELOW:
            raise InvalidParameterError(
                f"sums reach {bound:,}, and are exact below {EXACT_BELOW:,}. Use fewer bits for weights or activations."
            )
        powers = np.ldexp(1.0, -s)
        self.register_buffer("weight", torch.from_numpy(w * powers[:, None]).float())
        self.register_buffer("bias", torch.from_numpy(b * powers).float())
        self.register_buffer("table", None)
        if table is not None:
            self.codes = _whole("table", table, 1)
            if len(self.codes) != outputs.high - outputs.low + 1:
                raise InvalidParameterError(f"{len(self.codes)} entries are no table of {outputs}.")
            self.register_buffer("table", torch.from_numpy(self.codes).float())

    @property
    def bound(self) -> int:
        """The largest magnitude that a sum can have, for any input."""
        w, b, _ = self.integers
        # whole numbers of Python: hostile weights do not wrap around
        rows = (
            sum(map(abs, row)) * self.inputs.largest + abs(shift)
            for row, shift in zip(w.tolist(), b.tolist(), strict=True)
        )
        return max(rows, default=0)

    @property
    def span(self) -> Span:
        """Where the outputs lie."""
        if self.codes is None:
            return self.outputs
        return Span(int(self.codes.min()), int(self.codes.max()))

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs, shape (..., outputs), for whole numbers x in any floating type, shape (..., inputs)."""
        sums = functional.linear(x, self.weight.to(x.dtype), self.bias.to(x.dtype)).floor_()
        sums = sums.clamp_(self.outputs.low, self.outputs.high)
        return sums if self.table is None else self.table.to(x.dtype)[(sums - self.outputs.low).long()]

    def exactly(self, x: Integers) -> Integers:
        """Return the same by whole numbers of 64 bits, slowly."""
        w, b, s = self.integers
        sums = x @ w.T + b
        floors = np.where(s >= 0, sums >> np.maximum(s, 0), sums << np.maximum(-s, 0))
        y = np.clip(floors, self.outputs.low, self.outputs.high)
        return y if self.codes is None else self.codes[y - self.outputs.low]

    def describe(self) -> dict[str, Any]:
        """Return where inputs and outputs lie, as JSON values."""
        return {"inputs": [self.inputs.low, self.inputs.high], "outputs": [self.outputs.low, self.outputs.high]}

    def arrays(self) -> dict[str, Integers]:
        """Return its whole numbers by their names."""
        found = dict(zip(("weight", "bias", "shifts"), self.integers, strict=True))
        return found if self.codes is None else {**found, "table": self.codes}

    def probes(self) -> Integers:
        """Return inputs that drive rows to their bound, up and down."""
        w = self.integers[0][np.argsort(-np.abs(self.integers[0]).sum(1), kind="stable")[:_PROBES]]
        up = np.where(w > 0, self.inputs.high, self.inputs.low)
        return np.concatenate([up, np.where(w > 0, self.inputs.low, self.inputs.high)])


@final
class ExactNetwork(nn.Module):
    """Exact layers, one after the other.

    Args:
        layers: At least one; what a layer gives lies where the next one takes it.

    Attributes:
        inputs: Where the inputs lie.
        span: Where the outputs lie.
        n_inputs: How many inputs.
        n_outputs: How many outputs.

    Raises:
        InvalidParameterError: If it does not.
    """

    def __init__(self, layers: Sequence[ExactLayer]) -> None:
        super().__init__()
        if not layers:
            raise InvalidParameterError("a network has at least one layer.")
        for number, (layer, after) in enumerate(pairwise(layers), 1):
            n_given, n_taken = len(layer.integers[0]), after.integers[0].shape[1]
            if n_given != n_taken or not after.inputs.holds(layer.span):
                raise InvalidParameterError(
                    f"layer {number} gives {n_given} numbers from {layer.span.low} to {layer.span.high}, and the next "
                    f"takes {n_taken} from {after.inputs.low} to {after.inputs.high}."
                )
        self.layers = nn.ModuleList(layers)
        self.inputs, self.span = layers[0].inputs, layers[-1].span
        self.n_inputs = int(layers[0].integers[0].shape[1])
        self.n_outputs = len(layers[-1].integers[0])

    @property
    def dtype(self) -> torch.dtype:
        """In which the products are computed."""
        return next(self._each()).weight.dtype

    @property
    def bound(self) -> int:
        """The largest magnitude that a sum can have, for any input."""
        return max(layer.bound for layer in self._each())

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs, shape (..., outputs), for whole numbers x of the first layer's span, shape (..., inputs)."""
        for layer in self._each():
            x = layer(x)
        return x

    def exactly(self, x: Integers) -> Integers:
        """Return the same by whole numbers of 64 bits, slowly."""
        for layer in self._each():
            x = layer.exactly(x)
        return x

    def describe(self) -> list[dict[str, Any]]:
        """Return what is not in :meth:`arrays`, as JSON values."""
        return [layer.describe() for layer in self._each()]

    def arrays(self) -> dict[str, Integers]:
        """Return the whole numbers of all layers: ``"0.weight"``, ``"0.bias"`` ..."""
        layers = enumerate(self._each())
        return {f"{number}.{name}": array for number, layer in layers for name, array in layer.arrays().items()}

    @classmethod
    def of(cls, description: Sequence[Mapping[str, Any]], arrays: Mapping[str, Integers]) -> ExactNetwork:
        """Return the network that :meth:`describe` and :meth:`arrays` told of.

        Raises:
            InvalidParameterError: If they tell of none.
        """
        try:
            layers = [
                ExactLayer(
                    *(arrays[f"{number}.{name}"] for name in ("weight", "bias", "shifts")),
                    inputs=Span(*map(int, told["inputs"])),
                    outputs=Span(*map(int, told["outputs"])),
                    table=arrays.get(f"{number}.table"),
                )
                for number, told in enumerate(description)
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidParameterError(f"these are no exact layers: {error}") from error
        return cls(layers)

    def verify(self) -> None:
        """See that this machine computes it exactly: each layer where its sums are largest.

        Raises:
            UnsupportedOperationError: If it does not; nothing that it codes could be read elsewhere.
        """
        for number, layer in enumerate(self._each(), 1):
            probes = layer.probes()
            given = layer(torch.from_numpy(probes).to(layer.weight)).cpu().double().numpy()
            if not np.array_equal(given, layer.exactly(probes)):
                raise UnsupportedOperationError(
                    f"layer {number} is not exact on this machine: its products are of fewer than 32 bits. Use another "
                    "device, or switch off what shortens them (TF32, bfloat16)."
                )

    def _each(self) -> Iterator[ExactLayer]:
        for layer in self.layers:
            assert isinstance(layer, ExactLayer)
            yield layer


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Products inside are of whole 32-bit numbers, whatever is set outside; nothing is differentiated.

    Example:
        >>> with products_of("medium"), exact_arithmetic():
        ...     torch.get_float32_matmul_precision()
        'highest'
    """
    with (
        products_of("highest"),
        torch.no_grad(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
    ):
        yield


# From floating-point numbers


def exact_layer(
    weight: Tensor,
    bias: Tensor | None,
    *,
    input_step: float,
    inputs: Span,
    output_step: float,
    outputs: Span,
    weight_bits: int = 8,
    table: NDArray[np.integer] | None = None,
) -> ExactLayer:
    r"""Return the exact layer that stands for a linear one.

    An input is `input_step` times a whole number, an output `output_step` times one, rounded to the nearest. Each row
    of weights gets the largest power of two with which its weights have `weight_bits` bits and its sums are exact.

    .. math:: W_{ij} = round\left(2^{s_i} w_{ij} \delta_{in} / \delta_{out}\right), \qquad
              b_i = round\left(2^{s_i} (b_i / \delta_{out} + \tfrac{1}{2})\right)

    Raises:
        InvalidParameterError: If a row cannot have weights of at least two bits with exact sums.
    """
    weight_bits = check_integer("weight_bits", weight_bits, low=2, high=16)
    ratio = weight.detach().double().cpu().numpy() * (input_step / output_step)
    offset = np.zeros(len(ratio)) if bias is None else bias.detach().double().cpu().numpy() / output_step
    most = (1 << (weight_bits - 1)) - 1
    largest = np.abs(ratio).max(1, initial=0.0)
    shifts = np.where(largest > 0, np.floor(np.log2(most / np.maximum(largest, 1e-300))), weight_bits)
    shifts = np.clip(shifts, -_MOST_SHIFT, _MOST_SHIFT)
    sizes = np.abs(ratio).sum(1) * inputs.largest + np.abs(offset + 0.5)
    # half of each product's last place, at worst, is added by rounding
    room = EXACT_BELOW - 1 - 0.5 * ratio.shape[1] * inputs.largest - 1.0
    fits = np.floor(np.log2(np.maximum(room, 1.0) / np.maximum(sizes, 1e-300)))
    shifts = np.minimum(shifts, fits)
    if room < 1 or ((largest > 0) & (largest * np.exp2(shifts) < 1.0)).any():
        raise InvalidParameterError(
            f"{ratio.shape[1]} inputs of magnitude {inputs.largest} leave no room for weights: sums are exact below "
            f"{EXACT_BELOW:,}. Use fewer bits for activations, or a narrower layer."
        )
    powers = np.exp2(shifts)
    return ExactLayer(
        np.round(ratio * powers[:, None]).astype(np.int64),
        np.round((offset + 0.5) * powers).astype(np.int64),
        shifts.astype(np.int64),
        inputs=inputs,
        outputs=outputs,
        table=table,
    )


def exact_perceptron(
    linears: Sequence[nn.Linear],
    activation: Callable[[Tensor], Tensor],
    examples: Tensor,
    *,
    input_step: float,
    inputs: Span,
    output_step: float,
    outputs: Span,
    weight_bits: int = 8,
    activation_bits: int = 8,
) -> ExactNetwork:
    """Return the exact network that stands for a perceptron.

    Hidden layers have steps of their own, taken from examples: all but one activation in ten thousand is represented.
    What comes before an activation has four bits more than what comes after it, which is looked up in a table; ReLU
    needs none.

    Args:
        linears: The layers.
        activation: Between them, of each number alone.
        examples: Whole numbers that stand for inputs, shape (n, inputs).
        input_step: What one of them is worth.
        inputs: Where they lie.
        output_step: What one of the outputs is worth.
        outputs: To where they are clamped.
        weight_bits: Of a weight.
        activation_bits: Of an activation.

    Raises:
        InvalidParameterError: If sums would not be exact; see :func:`exact_layer`.
    """
    activation_bits = check_integer("activation_bits", activation_bits, low=2, high=12)
    layers: list[ExactLayer] = []
    x, step, span = examples.detach().double() * input_step, input_step, inputs

    def append(linear: nn.Linear, of: float, to: Span, table: Integers | None = None) -> None:
        layer = exact_layer(
            linear.weight,
            linear.bias,
            input_step=step,
            inputs=span,
            output_step=of,
            outputs=to,
            weight_bits=weight_bits,
            table=table,
        )
        layers.append(layer)

    for linear in linears[:-1]:
        with torch.no_grad():
            before = functional.linear(x, linear.weight.double(), None if linear.bias is None else linear.bias.double())
            x = activation(before)
        if isinstance(activation, nn.ReLU) or activation in (functional.relu, torch.relu):
            span_after = Span(0, (1 << activation_bits) - 1)
            step_after = usual(x) / span_after.high
            append(linear, step_after, span_after)
        else:
            half = 1 << (activation_bits + 3)
            fine = usual(before) / half
            table, step_after = tabulated(activation, half, fine, activation_bits)
            append(linear, fine, Span(-half, half - 1), table)
        step, span = step_after, layers[-1].span
    append(linears[-1], output_step, outputs)
    return ExactNetwork(layers)


def tabulated(activation: Callable[[Tensor], Tensor], half: int, step: float, bits: int) -> tuple[Integers, float]:
    """Return whole numbers of so many bits for an activation of -half to half - 1 steps, and what one is worth."""
    with torch.no_grad():
        values = activation(torch.arange(-half, half, dtype=torch.float64) * step)
    worth = float(values.max() - values.min()) / ((1 << bits) - 1) or 1.0
    return (values / worth).round().numpy().astype(np.int64), worth


def usual(x: Tensor) -> float:
    """Return the magnitude that all but one in ten thousand stay below; 1 where all are 0."""
    sizes = x.abs().flatten()
    place = max(1, math.ceil(_USUAL * len(sizes)))
    return float(sizes.kthvalue(place).values) or float(sizes.max()) or 1.0


def _whole(name: str, values: object, ndim: int) -> Integers:
    array = np.asarray(values)
    if array.ndim != ndim or array.dtype.kind not in "iu" or array.size == 0:
        raise InvalidParameterError(f"{name} must be whole numbers in {ndim} dimensions.")
    return array.astype(np.int64)
