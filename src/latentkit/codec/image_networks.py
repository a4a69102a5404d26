"""Networks between images and vectors in whole numbers, with all that convolutional ones have between their layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentkit.codec.exact import ExactLayer, ExactNetwork, Span
from latentkit.codec.transforms import ExactConvolution, check_chain
from latentkit.core.errors import InvalidParameterError

__all__ = [
    "ExactBranch",
    "ExactImageNetwork",
    "ExactPixelBias",
    "ExactPointwise",
    "ExactSpread",
    "RowNetwork",
    "Stage",
    "network_of",
]

Integers = NDArray[np.int64]
Size: TypeAlias = tuple[int, int]
Arrays: TypeAlias = Mapping[str, Integers]

#: Bits behind the point of a standardised number, and of the reciprocal of what it is divided by.
STANDARD_BITS: Final = 12
_RECIPROCAL_BITS: Final = 40
_MOST_PLACES: Final = 20
#: Bits behind the point of what is added to a variance.
FLOOR_BITS: Final = 16
_MOST_GROUP: Final = 1 << 20  # numbers that are standardised together
_MOST_LARGENESS: Final = 1 << 24
_MOST: Final = (1 << 24, 1 << 45)  # of a gain, a bias
_MOST_SHIFT: Final = 40
_MOST_STAGES: Final = 64
_MOST_CHANNELS: Final = 1024
_MOST_NUMBERS: Final = 1 << 24  # of an image, as any stage has it
_AT_ONCE: Final = 1 << 22  # numbers of a stage that are computed at once


@final
class ExactPointwise(nn.Module):
    r"""Each number by itself: times the gain of its channel, plus a bias, and what is looked up of that.

    .. math:: y = t(clamp(\lfloor 2^{-s} (g_c u + b_c) \rfloor))

    Here u is the number x or, with groups of channels, x standardised among the n numbers of its group and image, as
    group normalisation does. Whole numbers do it: with the sums S of x and Q of its squares,

    .. math:: V = n Q - S^2 + \lfloor 2^{-16} n^2 e \rfloor, \qquad
              u = \left\lfloor 2^{-28} (n x - S) \lfloor 2^{40 + k} / \lfloor 2^k \sqrt{V} \rfloor \rfloor \right\rfloor

    is 2^12 times the standardised number; k is the largest number up to 20 with which the root of any V has room.
    Products and sums are of floating-point numbers of 64 bits, which hold all of them; the root is corrected by whole
    numbers.

    Args:
        gain: g, whole numbers, shape (channels,).
        bias: b, shape (channels,).
        shift: s.
        inputs: Where inputs lie.
        outputs: To where results are clamped.
        table: t for each whole number of `outputs`, from the lowest on; None leaves them as they are.
        n_groups: Of channels; 0 for x as it is.
        floor: e, what is added to the variance, in parts of 2^16.

    Raises:
        InvalidParameterError: If these are no such numbers, or results would not be exact.

    Example:
        >>> half = ExactPointwise([1], [1], 1, inputs=Span(0, 9), outputs=Span(0, 9))
        >>> half(torch.tensor([[[[3.0], [6.0]]]])).flatten()
        tensor([2., 3.])
    """

    def __init__(
        self,
        gain: NDArray[np.integer] | Sequence[int],
        bias: NDArray[np.integer] | Sequence[int],
        shift: int,
        *,
        inputs: Span,
        outputs: Span,
        table: NDArray[np.integer] | None = None,
        n_groups: int = 0,
        floor: int = 0,
    ) -> None:
        super().__init__()
        self.integers = np.asarray(gain, np.int64), np.asarray(bias, np.int64)
        self.shift, self.n_groups, self.floor = shift, n_groups, floor
        self.inputs, self.outputs, self.codes = inputs, outputs, None if table is None else np.asarray(table, np.int64)
        self.n_inputs = self.n_outputs = len(self.integers[0])
        too_large = any(_largest(part) > most for part, most in zip(self.integers, _MOST, strict=True))
        is_one = all(part.ndim == 1 and 1 <= len(part) == self.n_inputs for part in self.integers)
        if not is_one or too_large or not 0 <= shift <= _MOST_SHIFT or not 0 <= floor <= 1 << 40:
            raise InvalidParameterError("gain and bias are a whole number below 2^24 and 2^45 for each channel.")
        if max(inputs.largest, outputs.largest) > _MOST_LARGENESS or inputs.low > inputs.high:
            raise InvalidParameterError(f"numbers from {inputs.low} to {inputs.high} are too large to be exact.")
        if n_groups < 0 or (n_groups and self.n_inputs % n_groups) or (n_groups and inputs.largest > 1 << 12):
            raise InvalidParameterError(f"{self.n_inputs} channels are not {n_groups} groups that can be standardised.")
        if self.codes is not None and self.codes.shape != (outputs.high - outputs.low + 1,):
            raise InvalidParameterError(f"{self.codes.shape} entries are no table of {outputs}.")
        self.span = outputs if self.codes is None else Span(int(self.codes.min()), int(self.codes.max()))
        self._gain, self._bias = (torch.from_numpy(part).double() for part in self.integers)
        self._table = None if self.codes is None else torch.from_numpy(self.codes).float()

    def forward(self, x: Tensor) -> Tensor:
        """Return results of the shape of x, (n, height, width, channels), whole numbers in any floating type."""
        u = self._standardised(x.double()) if self.n_groups else x.double()
        u = u.mul_(self._gain).add_(self._bias).mul_(2.0**-self.shift).floor_()
        u = u.clamp_(self.outputs.low, self.outputs.high)
        if self._table is None:
            return u.to(x.dtype)
        return self._table.to(x.dtype)[u.sub_(self.outputs.low).long()]

    def _standardised(self, x: Tensor) -> Tensor:
        n_images, height, width, n_channels = x.shape
        groups = x.reshape(n_images, height * width, self.n_groups, n_channels // self.n_groups)
        n = height * width * groups.shape[3]
        sums = groups.sum((1, 3), keepdim=True)
        s, q, floor = sums.long(), groups.square().sum((1, 3), keepdim=True).long(), n * n * self.floor >> FLOOR_BITS
        places = self._places(n, floor)
        roots = _whole_roots((n * q - s * s + floor) << 2 * places).clamp_min_(1)
        reciprocals = torch.div(1 << _RECIPROCAL_BITS + places, roots, rounding_mode="floor").double()
        u = (groups * n).sub_(sums).mul_(reciprocals).mul_(2.0 ** (STANDARD_BITS - _RECIPROCAL_BITS)).floor_()
        return u.reshape(x.shape)

    def _places(self, n: int, floor: int) -> int:
        """Bits behind the point that roots have, which are of variances of n numbers: as many as there is room for."""
        rooms = 30 - (n * self.inputs.largest).bit_length(), 30 - (floor.bit_length() + 1) // 2, _MOST_PLACES
        return max(0, min(rooms))

    def size(self, size: Size) -> Size:
        """Return height and width of what it gives for those of what it takes.

        Raises:
            InvalidParameterError: If so many numbers cannot be standardised together.
        """
        n = math.prod(size) * self.n_inputs // max(1, self.n_groups)
        largest = max(n * self.inputs.largest >> 30, n * n * self.floor >> FLOOR_BITS + 60)
        if self.n_groups and (n > _MOST_GROUP or largest):
            raise InvalidParameterError(f"{n:,} numbers are too many to be standardised together by whole ones.")
        return size

    def describe(self) -> dict[str, Any]:
        """Return what is not in :meth:`arrays`, as JSON values."""
        spans = {"inputs": [self.inputs.low, self.inputs.high], "outputs": [self.outputs.low, self.outputs.high]}
        return {"kind": "pointwise", "shift": self.shift, "n_groups": self.n_groups, "floor": self.floor, **spans}

    def arrays(self) -> dict[str, Integers]:
        """Return its whole numbers by their names."""
        found = dict(zip(("gain", "bias"), self.integers, strict=True))
        return found if self.codes is None else {**found, "table": self.codes}


@final
class ExactBranch(nn.Module):
    """What stages add to their input, clamped to where the input lies.

    Args:
        body: Stages, one after the other; they give as many channels as they take, of the same size.

    Raises:
        InvalidParameterError: If they do not follow each other.
    """

    def __init__(self, body: Sequence[ExactPointwise | ExactConvolution]) -> None:
        super().__init__()
        check_chain(body)
        self.body = nn.ModuleList(body)
        self.inputs = self.span = body[0].inputs
        self.n_inputs, self.n_outputs = body[0].n_inputs, body[-1].n_outputs
        if self.n_inputs != self.n_outputs:
            raise InvalidParameterError(f"{self.n_outputs} channels cannot be added to {self.n_inputs}.")

    def forward(self, x: Tensor) -> Tensor:
        """Return sums, shape (n, height, width, channels), of the shape of x."""
        total = x
        for stage in self.body:
            x = stage(x)
        return x.add_(total).clamp_(self.span.low, self.span.high)

    def size(self, size: Size) -> Size:
        """Return the size itself.

        Raises:
            InvalidParameterError: If the stages change it.
        """
        after = size
        for stage in self.body:
            after = _size_after(stage, after)  # type: ignore[arg-type]
        if after != size:
            raise InvalidParameterError(f"a grid of {after} cannot be added to one of {size}.")
        return size


@final
class ExactSpread(nn.Module):
    """Places of a grid that is finer, cut to a size: from channels, or each several times.

    Args:
        factors: How many times finer, down and to the side.
        cut: Height and width that are left.
        n_inputs: Channels that it takes.
        inputs: Where they lie.
        repeats: Whether a place becomes several equal ones; else each has channels of its own, of which the place in
            the finer grid is the last digit.

    Raises:
        InvalidParameterError: If channels are not as many.

    Example:
        >>> spread = ExactSpread((1, 2), (1, 3), 2, Span(0, 9), repeats=False)
        >>> spread(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).flatten()
        tensor([1., 2., 3.])
    """

    def __init__(self, factors: Size, cut: Size, n_inputs: int, inputs: Span, *, repeats: bool) -> None:
        super().__init__()
        n_places = math.prod(factors)
        if min(*factors, *cut) < 1 or (not repeats and n_inputs % n_places):
            raise InvalidParameterError(f"{n_inputs} channels do not become {factors[0]} x {factors[1]} places.")
        self.factors, self.cut, self.n_inputs, self.repeats = factors, cut, n_inputs, repeats
        self.n_outputs = n_inputs if repeats else n_inputs // n_places
        self.inputs = self.span = inputs

    def forward(self, x: Tensor) -> Tensor:
        """Return the finer grid of x, shape (n, height, width, channels)."""
        n, height, width, _ = x.shape
        (down, side), (bottom, right) = self.factors, self.cut
        if self.repeats:
            x = x.repeat_interleave(down, 1).repeat_interleave(side, 2)
        else:
            parts = x.reshape(n, height, width, self.n_outputs, down, side).permute(0, 1, 4, 2, 5, 3)
            x = parts.reshape(n, height * down, width * side, self.n_outputs)
        return x[:, :bottom, :right].contiguous()

    def size(self, size: Size) -> Size:
        """Return to what it is cut.

        Raises:
            InvalidParameterError: If that is larger than what there is.
        """
        if self.cut[0] > size[0] * self.factors[0] or self.cut[1] > size[1] * self.factors[1]:
            raise InvalidParameterError(f"a grid of {size}, {self.factors} times finer, has no {self.cut} places.")
        return self.cut

    def describe(self) -> dict[str, Any]:
        """Return all of it, as JSON values."""
        spread = {"factors": list(self.factors), "cut": list(self.cut), "repeats": self.repeats}
        inputs = [self.inputs.low, self.inputs.high]
        return {"kind": "spread", **spread, "n_inputs": self.n_inputs, "inputs": inputs}


@final
class ExactPixelBias(nn.Module):
    r"""What is added to each number of an image, and then shifted: y = clamp(⌊2^-s (x + b)⌋).

    Args:
        bias: b, whole numbers, shape (height, width, channels); or (1, 1, channels), of every place.
        shift: s.
        inputs: Where inputs lie.
        outputs: To where results are clamped.

    Raises:
        InvalidParameterError: If the bias is too large to be exact.
    """

    def __init__(self, bias: Integers, shift: int, *, inputs: Span, outputs: Span) -> None:
        super().__init__()
        self.bias, self.shift, self.inputs, self.span = bias, shift, inputs, outputs
        largest = _largest(bias)
        if bias.ndim != 3 or not bias.size or not 0 <= shift <= _MOST_SHIFT:
            raise InvalidParameterError("a bias is a whole number for each number of an image.")
        if largest + inputs.largest >= _MOST_LARGENESS or outputs.largest > _MOST_LARGENESS:
            raise InvalidParameterError(f"sums of {largest:,} and {inputs.largest:,} are too large to be exact.")
        self.n_inputs = self.n_outputs = bias.shape[2]
        self._bias = torch.from_numpy(bias).float()

    def forward(self, x: Tensor) -> Tensor:
        """Return results of the shape of x, (n, height, width, channels)."""
        y = (x + self._bias.to(x.dtype)).mul_(2.0**-self.shift).floor_()
        return y.clamp_(self.span.low, self.span.high)

    def size(self, size: Size) -> Size:
        """Return the size itself.

        Raises:
            InvalidParameterError: If the bias is of another one.
        """
        if self.bias.shape[:2] not in (size, (1, 1)):
            raise InvalidParameterError(f"a bias of {self.bias.shape} is none of a grid of {size}.")
        return size

    def describe(self) -> dict[str, Any]:
        """Return what is not in :meth:`arrays`, as JSON values."""
        spans = {"inputs": [self.inputs.low, self.inputs.high], "outputs": [self.span.low, self.span.high]}
        return {"kind": "bias", "shift": self.shift, **spans}

    def arrays(self) -> dict[str, Integers]:
        """Return its whole numbers by their names."""
        return {"bias": self.bias}


Stage: TypeAlias = ExactConvolution | ExactPointwise | ExactBranch | ExactSpread | ExactPixelBias


@final
class ExactImageNetwork(nn.Module):
    """An exact network from rows of pixels to vectors, or from vectors to parameters of each pixel.

    An encoder's stages take the image, and a dense layer what they give, place by place; a decoder's dense layer gives
    the grid that its stages take.

    Args:
        stages: At least one.
        dense: The network of vectors.
        shape: Of an image: height, width, channels.
        grid: Height and width of what the dense layer takes or gives.
        is_encoder: Whether it is one.
        channels_first: Whether the channels of a row stand one after the other; else those of a pixel side by side.

    Attributes:
        inputs: Where the inputs lie.
        span: Where the outputs lie.
        n_inputs: How many inputs.
        n_outputs: How many outputs: of a decoder the first parameter of each number of a row, then the second ...

    Raises:
        InvalidParameterError: If these do not fit together.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        dense: ExactNetwork,
        *,
        shape: tuple[int, int, int],
        grid: Size,
        is_encoder: bool,
        channels_first: bool,
    ) -> None:
        super().__init__()
        check_chain(stages)
        if len(stages) > _MOST_STAGES:
            raise InvalidParameterError(f"{len(stages)} stages are more than {_MOST_STAGES}.")
        self.stages, self.dense = nn.ModuleList(stages), dense
        self.shape, self.grid, self.is_encoder, self.channels_first = shape, grid, is_encoder, channels_first
        first, last = stages[0], stages[-1]
        size, self._widest = (shape[:2] if is_encoder else grid), 1
        for stage in stages:
            widest = max(_widest(stage), stage.n_inputs)
            self._widest = max(self._widest, math.prod(size) * widest)
            size = _size_after(stage, size)
            self._widest = max(self._widest, math.prod(size) * widest)
        of_grid, of_image = math.prod(grid), math.prod(shape)
        if is_encoder:
            fits = (
                first.n_inputs == shape[2]
                and size == grid
                and dense.n_inputs == of_grid * last.n_outputs
                and dense.inputs.holds(last.span)
            )
            self.n_inputs, self.n_outputs = of_image, dense.n_outputs
            self.inputs, self.span = first.inputs, dense.span
        else:
            fits = (
                dense.n_outputs == of_grid * first.n_inputs
                and first.inputs.holds(dense.span)
                and size == shape[:2]
                and last.n_outputs % shape[2] == 0
            )
            self.n_inputs, self.n_outputs = dense.n_inputs, math.prod(size) * last.n_outputs
            self.inputs, self.span = dense.inputs, last.span
        if not fits or self._widest > _MOST_NUMBERS:
            raise InvalidParameterError(f"these stages and {dense.n_inputs} x {dense.n_outputs} are not of {shape}.")

    @property
    def dtype(self) -> torch.dtype:
        """In which the products are computed."""
        return self.dense.dtype

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs, shape (n, outputs), for whole numbers x, shape (n, inputs)."""
        step = max(1, _AT_ONCE // self._widest)
        return torch.cat([self._part(x[start : start + step]) for start in range(0, max(1, len(x)), step)])

    def _part(self, x: Tensor) -> Tensor:
        n, (height, width, n_channels) = len(x), self.shape
        if self.is_encoder:
            x = x.view(n, n_channels, height, width).permute(0, 2, 3, 1) if self.channels_first else x
            x = x.reshape(n, *self.shape)
        else:
            x = self.dense(x).view(n, *self.grid, self.dense.n_outputs // math.prod(self.grid))
        for stage in self.stages:
            x = stage(x)
        if self.is_encoder:
            flat: Tensor = self.dense(x.reshape(n, self.dense.n_inputs))
            return flat
        x = x.view(n, height, width, x.shape[3] // n_channels, n_channels)
        x = x.permute(0, 3, 4, 1, 2) if self.channels_first else x.permute(0, 3, 1, 2, 4)
        return x.reshape(n, self.n_outputs)

    def verify(self) -> None:
        """See that this machine computes it exactly; see :meth:`ExactNetwork.verify`."""
        self.dense.verify()
        for part in self.modules():
            if isinstance(part, ExactConvolution):
                ExactNetwork([part.layer]).verify()

    # What is kept of it

    def describe(self) -> dict[str, Any]:
        """Return what is not in :meth:`arrays`, as JSON values."""
        return {
            "shape": list(self.shape),
            "grid": list(self.grid),
            "is_encoder": self.is_encoder,
            "channels_first": self.channels_first,
            "dense": self.dense.describe(),
            "stages": [_described(stage) for stage in self.stages],
        }

    def arrays(self) -> dict[str, Integers]:
        """Return all its whole numbers by their names."""
        found = {f"dense.{name}": array for name, array in self.dense.arrays().items()}
        for number, stage in enumerate(self.stages):
            found |= _arrays(stage, f"{number}.")
        return found

    @classmethod
    def of(cls, told: Mapping[str, Any], arrays: Arrays) -> ExactImageNetwork:
        """Return the network that :meth:`describe` and :meth:`arrays` told of.

        Raises:
            InvalidParameterError: If they tell of none.
        """
        try:
            height, width, n_channels = map(int, told["shape"])
            if min(height, width, n_channels) < 1 or len(told["stages"]) > _MOST_STAGES:
                raise ValueError("its shape or its stages")
            return cls(
                [_stage(stage, _within(arrays, f"{number}.")) for number, stage in enumerate(told["stages"])],
                ExactNetwork.of(told["dense"], _within(arrays, "dense.")),
                shape=(height, width, n_channels),
                grid=_pair(told["grid"]),
                is_encoder=bool(told["is_encoder"]),
                channels_first=bool(told["channels_first"]),
            )
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise InvalidParameterError(f"these are no exact stages: {error}") from error


#: A network that takes and gives vectors.
RowNetwork: TypeAlias = ExactNetwork | ExactImageNetwork


def network_of(told: Any, arrays: Arrays) -> RowNetwork:
    """Return the network that ``describe`` and ``arrays`` of one told of.

    Raises:
        InvalidParameterError: If they tell of none.
    """
    return ExactImageNetwork.of(told, arrays) if isinstance(told, Mapping) else ExactNetwork.of(told, arrays)


def _largest(values: Integers) -> int:
    """The largest magnitude, by whole numbers of Python: that of the lowest one of 64 bits has no room in these."""
    return max(int(values.max(initial=0)), -int(values.min(initial=0)))


def _whole_roots(values: Tensor) -> Tensor:
    """The whole parts of the square roots of whole numbers of 64 bits, none negative, below 2^62."""
    roots = values.double().sqrt_().long()
    roots -= (roots * roots > values).long()
    roots += ((roots + 1) * (roots + 1) <= values).long()
    return roots


def _size_after(stage: Stage, size: Size) -> Size:
    if isinstance(stage, ExactConvolution):
        return -(-size[0] // stage.strides[0]), -(-size[1] // stage.strides[1])
    return stage.size(size)


def _widest(stage: Stage) -> int:
    if isinstance(stage, ExactBranch):
        return max(_widest(part) for part in stage.body)  # type: ignore[arg-type]
    return stage.n_outputs


def _described(stage: Any) -> dict[str, Any]:
    if isinstance(stage, ExactBranch):
        return {"kind": "branch", "body": [_described(part) for part in stage.body]}
    if isinstance(stage, ExactConvolution):
        shape = {"kernel": stage.kernel, "strides": list(stage.strides)}
        return {"kind": "convolution", **shape, **stage.layer.describe()}
    told: dict[str, Any] = stage.describe()
    return told


def _arrays(stage: Any, prefix: str) -> dict[str, Integers]:
    if isinstance(stage, ExactBranch):
        parts = [_arrays(part, f"{prefix}{number}.") for number, part in enumerate(stage.body)]
        return {name: array for part in parts for name, array in part.items()}
    if isinstance(stage, ExactSpread):
        return {}
    holder = stage.layer if isinstance(stage, ExactConvolution) else stage
    return {f"{prefix}{name}": array for name, array in holder.arrays().items()}


def _stage(told: Mapping[str, Any], arrays: Arrays, *, is_inner: bool = False) -> Any:
    kind = told["kind"]
    if kind == "branch" and not is_inner:
        parts = told["body"]
        return ExactBranch([_stage(part, _within(arrays, f"{n}."), is_inner=True) for n, part in enumerate(parts)])
    if kind == "convolution":
        kernel, (down, side) = told["kernel"], _pair(told["strides"])
        if type(kernel) is not int or not 1 <= kernel <= 9 or max(down, side) > 9:
            raise ValueError("a kernel")
        if max(arrays["weight"].shape, default=0) > _MOST_CHANNELS * kernel**2:
            raise ValueError("a layer that is too large")
        (layer,) = ExactNetwork.of([told], {f"0.{name}": array for name, array in arrays.items()}).layers
        assert isinstance(layer, ExactLayer)
        return ExactConvolution(layer, kernel, (down, side))
    inputs = _span(told["inputs"])
    if kind == "spread" and not is_inner:
        n_inputs, repeats = int(told["n_inputs"]), bool(told["repeats"])
        return ExactSpread(_pair(told["factors"]), _pair(told["cut"]), n_inputs, inputs, repeats=repeats)
    outputs, shift = _span(told["outputs"]), int(told["shift"])
    if kind == "bias" and not is_inner:
        return ExactPixelBias(arrays["bias"], shift, inputs=inputs, outputs=outputs)
    if kind != "pointwise":
        raise ValueError(f"a stage of kind {kind!r}")
    return ExactPointwise(
        arrays["gain"],
        arrays["bias"],
        shift,
        inputs=inputs,
        outputs=outputs,
        table=arrays.get("table"),
        n_groups=int(told["n_groups"]),
        floor=int(told["floor"]),
    )


def _pair(told: Any) -> Size:
    first, second = map(int, told)
    if min(first, second) < 1:
        raise ValueError("a size below 1")
    return first, second


def _span(told: Any) -> Span:
    low, high = map(int, told)
    if low > high or max(abs(low), abs(high)) > _MOST_LARGENESS:
        raise ValueError("a span")
    return Span(low, high)


def _within(arrays: Arrays, prefix: str) -> dict[str, Integers]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
