"""Stages of networks of images: torch's in 64 bits are the oracle; what no network is, is refused by name."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from latentkit.codec import ExactLayer, ExactNetwork, Span, exact_arithmetic
from latentkit.codec import image_networks as module
from latentkit.codec.image_networks import (
    ExactBranch,
    ExactImageNetwork,
    ExactPixelBias,
    ExactPointwise,
    ExactSpread,
    network_of,
)
from latentkit.codec.transforms import ExactConvolution
from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError

SIGNED = Span(-512, 511)


def whole(*shape: int, span: Span = SIGNED, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(span.low, span.high + 1, shape)).float()


def layer(n_in: int, n_out: int, inputs: Span = SIGNED, outputs: Span = SIGNED, seed: int = 0) -> ExactLayer:
    random = np.random.default_rng(seed)
    weight, bias = random.integers(-60, 61, (n_out, n_in)), random.integers(-900, 900, n_out)
    return ExactLayer(weight, bias, np.full(n_out, 8), inputs=inputs, outputs=outputs)


# Stages


@pytest.mark.parametrize("n_groups", [1, 2, 6])
def test_standardising_is_that_of_groups(n_groups: int) -> None:
    x = whole(5, 4, 3, 6)
    x[0] = 7  # which has no spread
    x[1, ..., :3] += 400
    x.clamp_(-512, 511)
    eps = 3.0
    stage = ExactPointwise(
        [1 << 10] * 6,
        [1 << 9] * 6,
        12,
        inputs=SIGNED,
        outputs=Span(-9000, 9000),
        n_groups=n_groups,
        floor=round(eps * (1 << 16)),
    )
    due = functional.group_norm(x.double().permute(0, 3, 1, 2), n_groups, eps=eps).permute(0, 2, 3, 1) * 1024
    assert due.abs().max() > 2000
    assert float((stage(x).double() - due).abs().max()) < 1.0
    assert due[1].abs().max() > 1000, "of a narrow spread, too"
    assert (stage(x)[0] == 0).all()


def test_an_affine_stage_floors_clamps_and_looks_up() -> None:
    x, table = whole(2, 3, 3, 2), np.arange(21)[::-1] * 3
    stage = ExactPointwise([3, -5], [7, 100], 4, inputs=SIGNED, outputs=Span(-10, 10), table=table)
    sums = x.numpy().astype(int) * [3, -5] + [7, 100]
    assert (stage(x).numpy() == table[(sums >> 4).clip(-10, 10) + 10]).all()
    assert (stage.span.low, stage.span.high) == (0, 60)


@pytest.mark.parametrize("value", [0, 1, 2, 3, 15, 16, 17, (1 << 52) - 1, (1 << 60) - 1, 1 << 60, (1 << 60) + 1])
def test_roots_are_whole(value: int) -> None:
    found = int(module._whole_roots(torch.tensor([value]))[0])
    assert found**2 <= value < (found + 1) ** 2


def test_roots_of_squares_and_their_neighbours() -> None:
    roots = torch.from_numpy(np.random.default_rng(0).integers(1, 1 << 30, 20_000))
    for step in (-1, 0, 1):
        assert torch.equal(module._whole_roots(roots * roots + step), roots - int(step < 0))


@pytest.mark.parametrize("strides", [(2, 2), (1, 2), (2, 1)])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_convolution_with_strides_is_that_of_torch(kernel: int, strides: tuple[int, int]) -> None:
    stage = ExactConvolution(layer(3 * kernel**2, 4), kernel, strides)
    x = whole(3, 7, 8, 3)
    weight, bias, shifts = (torch.from_numpy(part).double() for part in stage.layer.integers)
    weight = weight.reshape(4, kernel, kernel, 3).permute(0, 3, 1, 2)
    sums = functional.conv2d(x.double().permute(0, 3, 1, 2), weight, bias, stride=strides, padding=kernel // 2)
    due = (sums * torch.exp2(-shifts)[:, None, None]).floor().clamp(SIGNED.low, SIGNED.high)
    assert torch.equal(stage(x).double(), due.permute(0, 2, 3, 1))


def test_channels_become_places_as_by_torch_and_are_cut() -> None:
    x = whole(2, 3, 4, 12)
    due = functional.pixel_shuffle(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)[:, :5, :7]
    assert torch.equal(ExactSpread((2, 2), (5, 7), 12, SIGNED, repeats=False)(x), due)
    due = functional.interpolate(x.permute(0, 3, 1, 2), scale_factor=(2.0, 3.0)).permute(0, 2, 3, 1)[:, :6, :11]
    assert torch.equal(ExactSpread((2, 3), (6, 11), 12, SIGNED, repeats=True)(x), due)


def test_a_branch_adds_and_clamps() -> None:
    x = whole(2, 5, 5, 4)
    body = [ExactPointwise([2] * 4, [0] * 4, 1, inputs=SIGNED, outputs=SIGNED), ExactConvolution(layer(36, 4), 3)]
    due = (x + body[1](body[0](x))).clamp(-512, 511)
    before = x.clone()
    assert torch.equal(ExactBranch(body)(x), due)
    assert torch.equal(x, before)


def test_a_bias_of_pixels_is_added_and_shifted() -> None:
    bias = np.random.default_rng(0).integers(-100, 100, (3, 4, 2))
    x = whole(2, 3, 4, 2)
    due = ((x.numpy().astype(int) + bias) >> 3).clip(-50, 60)
    assert (ExactPixelBias(bias, 3, inputs=SIGNED, outputs=Span(-50, 60))(x).numpy() == due).all()


# Networks


def encoder(**changes: Any) -> ExactImageNetwork:
    stages = [
        ExactPointwise([2, 2], [-255, -255], 0, inputs=Span(0, 255), outputs=Span(-255, 255)),
        ExactConvolution(layer(18, 6, Span(-255, 255)), 3, (2, 2)),
        ExactBranch(
            [
                ExactPointwise([600] * 6, [0] * 6, 12, inputs=SIGNED, outputs=SIGNED, n_groups=2, floor=9),
                ExactConvolution(layer(6, 6), 1),
            ]
        ),
    ]
    settings = {"shape": (5, 4, 2), "grid": (3, 2), "is_encoder": True, "channels_first": False, **changes}
    return ExactImageNetwork(settings.pop("stages", stages), settings.pop("dense", dense(36, 5)), **settings)


def decoder() -> ExactImageNetwork:
    stages = [
        ExactConvolution(layer(27, 24), 3),
        ExactSpread((2, 2), (5, 4), 24, SIGNED, repeats=False),
        ExactPointwise([1] * 6, [0] * 6, 0, inputs=SIGNED, outputs=Span(0, 511)),
        ExactSpread((1, 1), (5, 4), 6, Span(0, 511), repeats=True),
        ExactConvolution(layer(6, 4, Span(0, 511)), 1),
        ExactPixelBias(np.arange(80).reshape(5, 4, 4), 1, inputs=SIGNED, outputs=SIGNED),
    ]
    return ExactImageNetwork(stages, dense(5, 18), shape=(5, 4, 2), grid=(3, 2), is_encoder=False, channels_first=False)


def dense(n_in: int, n_out: int) -> ExactNetwork:
    return ExactNetwork([layer(n_in, n_out)])


@pytest.fixture
def threads_kept() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads_kept")
@pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN")
@pytest.mark.parametrize("make", [encoder, decoder])
def test_one_output_in_every_setting(make: Callable[[], ExactImageNetwork], monkeypatch: pytest.MonkeyPatch) -> None:
    network = make()
    x = whole(7, network.n_inputs, span=network.inputs)
    due = network(x.double())
    assert due.shape == (7, network.n_outputs)
    assert len(due.unique()) > 20
    for n_threads, at_once, has_mkldnn, dtype in itertools.product(
        (1, 2), (1, 600, 1 << 20), (True, False), (torch.float32, torch.float64)
    ):
        torch.set_num_threads(n_threads)
        monkeypatch.setattr(module, "_AT_ONCE", at_once)
        with torch.backends.mkldnn.flags(enabled=has_mkldnn), exact_arithmetic():
            assert torch.equal(network(x.to(dtype)).double(), due)
    assert network(x[:0]).shape == (0, network.n_outputs)


@pytest.mark.parametrize("make", [encoder, decoder])
def test_channels_stand_as_they_lie(make: Callable[[], ExactImageNetwork]) -> None:
    last = make()
    told = {**last.describe(), "channels_first": True}
    first = network_of(told, last.arrays())
    x = whole(3, last.n_inputs, span=last.inputs)
    if last.is_encoder:
        assert torch.equal(first(x.view(3, 20, 2).transpose(1, 2).reshape(3, -1)), last(x))
    else:
        assert torch.equal(first(x).view(3, 2, 2, 20), last(x).view(3, 2, 20, 2).transpose(2, 3))


@pytest.mark.parametrize("make", [encoder, decoder])
def test_what_is_kept_gives_the_same_network(make: Callable[[], ExactImageNetwork]) -> None:
    network = make()
    again = network_of(network.describe(), network.arrays())
    x = whole(3, network.n_inputs, span=network.inputs)
    assert torch.equal(again(x), network(x))
    assert (again.n_outputs, again.span, again.describe()) == (network.n_outputs, network.span, network.describe())


def test_a_machine_that_is_not_exact_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    network = encoder()
    network.verify()
    linear = functional.linear
    monkeypatch.setattr(functional, "linear", lambda x, w, b: linear(x.bfloat16(), w.bfloat16(), b.bfloat16()).float())
    with pytest.raises(UnsupportedOperationError, match="not exact on this machine"):
        network.verify()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ExactPointwise([1, 2], [1], 0, inputs=SIGNED, outputs=SIGNED), "a whole number below 2"),
        (lambda: ExactPointwise([1 << 25], [1], 0, inputs=SIGNED, outputs=SIGNED), "a whole number below 2"),
        (lambda: ExactPointwise([1], [1 << 46], 0, inputs=SIGNED, outputs=SIGNED), "a whole number below 2"),
        (lambda: ExactPointwise([1], [1], -1, inputs=SIGNED, outputs=SIGNED), "a whole number below 2"),
        (lambda: ExactPointwise([1], [1], 0, inputs=Span(0, 1 << 25), outputs=SIGNED), "too large to be exact"),
        (lambda: ExactPointwise([1] * 3, [1] * 3, 0, inputs=SIGNED, outputs=SIGNED, n_groups=2), "not 2 groups"),
        (lambda: ExactPointwise([1], [1], 0, inputs=SIGNED, outputs=SIGNED, table=np.arange(3)), "are no table of"),
        (lambda: pointwise(1).size((1 << 11, 1 << 10)), "2,097,152 numbers are too many"),
        (lambda: pointwise(1 << 40).size((1 << 10, 1 << 10)), "1,048,576 numbers are too many"),
        (lambda: ExactBranch([ExactConvolution(layer(2, 3), 1)]), "3 channels cannot be added to 2"),
        (lambda: ExactBranch([ExactConvolution(layer(2, 2), 1, (2, 1))]).size((4, 4)), "cannot be added to one of"),
        (lambda: ExactSpread((2, 2), (2, 2), 6, SIGNED, repeats=False), "6 channels do not become 2 x 2 places"),
        (lambda: ExactSpread((2, 2), (5, 2), 8, SIGNED, repeats=False).size((2, 2)), r"has no \(5, 2\) places"),
        (lambda: ExactPixelBias(np.ones((1, 1), int), 0, inputs=SIGNED, outputs=SIGNED), "a bias is a whole number"),
        (lambda: ExactPixelBias(np.full((1, 1, 1), 1 << 24), 0, inputs=SIGNED, outputs=SIGNED), "too large to be"),
        (lambda: ExactPixelBias(np.ones((2, 1, 1), int), 0, inputs=SIGNED, outputs=SIGNED).size((3, 1)), "a bias of"),
        (lambda: encoder(grid=(2, 2)), "these stages and 36 x 5 are not of"),
        (lambda: encoder(shape=(5, 4, 1)), "these stages and 36 x 5 are not of"),
        (lambda: encoder(dense=dense(35, 5)), "these stages and 35 x 5 are not of"),
        (lambda: encoder(stages=[]), "at least one stage"),
        (lambda: encoder(stages=[pointwise(0)] * 65, shape=(1, 1, 1)), "65 stages are more than 64"),
    ],
)
def test_parts_that_do_not_fit_are_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        build()


def pointwise(floor: int) -> ExactPointwise:
    return ExactPointwise([1], [1], 0, inputs=SIGNED, outputs=SIGNED, n_groups=1, floor=floor)


@pytest.mark.parametrize(
    "change",
    [
        lambda told, _: told.pop("stages"),
        lambda told, _: told.update(shape=[5, 4]),
        lambda told, _: told.update(shape=[5, 4, 0]),
        lambda told, _: told.update(shape=[1 << 20, 1 << 20, 2]),
        lambda told, _: told.update(grid=[-3, 2]),
        lambda told, _: told.update(stages=told["stages"] * 30),
        lambda told, _: told.update(stages=3),
        lambda told, _: told["stages"][0].update(kind="other"),
        lambda told, _: told["stages"][0].update(kind="branch", body=[told["stages"][2]]),
        lambda told, _: told["stages"][1].update(kernel=99),
        lambda told, _: told["stages"][1].update(strides=[0, 1]),
        lambda told, _: told["stages"][1].update(strides=[1 << 30, 1]),
        lambda told, _: told["stages"][0].update(inputs=[0, 1 << 60]),
        lambda told, _: told["stages"][0].update(shift="x"),
        lambda told, _: told["stages"][2]["body"][0].update(n_groups=-2),
        lambda _, arrays: arrays.pop("1.weight"),
        lambda _, arrays: arrays.update({"0.gain": np.full(2, np.iinfo(np.int64).min)}),
        lambda _, arrays: arrays.update({"1.weight": np.zeros((6, 1 << 15), np.int64)}),
    ],
)
def test_descriptions_of_no_network_are_refused(change: Callable[[Any, Any], object]) -> None:
    network = encoder()
    told, arrays = copy.deepcopy(network.describe()), network.arrays()
    change(told, arrays)
    with pytest.raises(InvalidParameterError):
        network_of(told, arrays)
