"""Convolutions, residual blocks and shuffles of whole numbers: torch's in 64 bits are the oracle."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.nn import functional

from latentkit.codec import ExactLayer, Span, exact_arithmetic, transforms
from latentkit.codec.transforms import ExactConvolution, ExactResidual, ExactShuffle, ExactTransform
from latentkit.core.errors import DamagedArchiveError, InvalidParameterError, UnsupportedOperationError
from tests.codec.lossy.examples import BYTES, SIGNED, convolution, model


def whole(*shape: int, span: Span = BYTES, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(span.low, span.high + 1, shape)).float()


@pytest.fixture
def threads_kept() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("at_once", [1, 700, 1 << 20])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_convolution_is_that_of_torch_in_whatever_strips(
    kernel: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transforms, "_AT_ONCE", at_once)
    layer = convolution(np.random.default_rng(1), 3, 5, kernel, BYTES, SIGNED)
    x = whole(4, 6, 7, 3)
    weight, bias, shifts = (torch.from_numpy(part).double() for part in layer.layer.integers)
    weight = weight.reshape(5, kernel, kernel, 3).permute(0, 3, 1, 2)
    sums = functional.conv2d(x.double().permute(0, 3, 1, 2), weight, bias, padding=kernel // 2)
    expected = (sums * torch.exp2(-shifts)[:, None, None]).floor().clamp(SIGNED.low, SIGNED.high)
    assert torch.equal(layer(x).double(), expected.permute(0, 2, 3, 1))
    assert len(expected.unique()) > 50


def test_a_residual_block_adds_and_clamps() -> None:
    random = np.random.default_rng(1)
    body = [convolution(random, 4, 6, 3, SIGNED, BYTES), convolution(random, 6, 4, 1, BYTES, SIGNED)]
    x = whole(2, 5, 5, 4, span=SIGNED)
    before = x.clone()
    expected = (x + body[1](body[0](x))).clamp(-512, 511)
    assert torch.equal(ExactResidual(body, SIGNED)(x), expected)
    assert torch.equal(x, before)


def test_a_shuffle_is_that_of_torch() -> None:
    x = whole(2, 3, 4, 12)
    expected = functional.pixel_shuffle(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    assert torch.equal(ExactShuffle(2, 12, BYTES)(x), expected)


@pytest.mark.usefixtures("threads_kept")
@pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN")
def test_one_output_in_every_setting() -> None:
    synthesis = model(3).synthesis
    x = whole(6, 5, 3, 5, span=Span(-2047, 2047))
    expected = synthesis(x.double())
    assert len(expected.unique()) > 200
    for n_threads, batch, has_mkldnn, has_nnpack, dtype in itertools.product(
        (1, 2), (1, 4, 6), (True, False), (True, False), (torch.float32, torch.float64)
    ):
        torch.set_num_threads(n_threads)
        with (
            torch.backends.mkldnn.flags(enabled=has_mkldnn),
            torch.backends.nnpack.flags(enabled=has_nnpack),
            exact_arithmetic(),
        ):
            found = torch.cat([synthesis(part) for part in x.to(dtype).split(batch)])
        assert torch.equal(found.double(), expected)


def test_what_is_kept_gives_the_same_transform() -> None:
    synthesis = model().synthesis
    stages, arrays = synthesis.describe("s")
    again = ExactTransform.from_description("s", stages, arrays)
    x = whole(1, 3, 3, 5, span=Span(-2047, 2047))
    assert torch.equal(again(x), synthesis(x))
    assert (again.factor, again.n_inputs, again.n_outputs, again.span) == (8, 5, 1, BYTES)
    assert again.most_per_place == 64.0
    assert again.describe("s")[0] == stages


def test_a_machine_that_is_not_exact_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    synthesis = model().synthesis
    synthesis.verify()
    linear = functional.linear
    monkeypatch.setattr(functional, "linear", lambda x, w, b: linear(x.bfloat16(), w.bfloat16(), b.bfloat16()).float())
    with pytest.raises(UnsupportedOperationError, match="not exact on this machine"):
        synthesis.verify()


def plain(n_in: int, n_out: int, inputs: Span = BYTES, outputs: Span = BYTES) -> ExactConvolution:
    layer = ExactLayer(
        np.ones((n_out, n_in), int), np.zeros(n_out, int), np.zeros(n_out, int), inputs=inputs, outputs=outputs
    )
    return ExactConvolution(layer, 1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ExactConvolution(plain(8, 1).layer, 2), "8 inputs are no channels under a square kernel of side 2"),
        (lambda: ExactConvolution(plain(8, 1).layer, 3), "8 inputs are no channels under a square kernel of side 3"),
        (lambda: ExactResidual([plain(3, 2)], BYTES), "2 channels cannot be added to 3"),
        (lambda: ExactShuffle(2, 6, BYTES), "6 channels do not become 2 x 2 places"),
        (lambda: ExactTransform([]), "at least one stage"),
        (
            lambda: ExactTransform([plain(3, 2), plain(3, 2)]),
            "stage 1 gives 2 channels from 0 to 255, and the next takes 3 from 0 to 255",
        ),
        (lambda: ExactTransform([plain(3, 3), plain(3, 2, Span(0, 9))]), "the next takes 3 from 0 to 9"),
    ],
)
def test_parts_that_do_not_fit_are_refused(build, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        build()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda stages, _: stages.clear(), "no list of 1 to 64"),
        (lambda stages, _: stages.extend(stages * 40), "no list of 1 to 64"),
        (lambda stages, _: stages.__setitem__(0, 3), "a part of its model is not described"),
        (lambda stages, _: stages.__setitem__(0, {"factor": 2}), "begins with a shuffle"),
        (lambda stages, _: stages[0].update(kernel="3"), "not a whole one from 1 to 9"),
        (lambda stages, _: stages[0].update(kernel=True), "not a whole one from 1 to 9"),
        (lambda stages, _: stages[0].update(inputs=[1]), "a span of its model is no pair"),
        (lambda stages, _: stages[0].update(inputs=[2, 1]), "not a whole one from 2 to"),
        (lambda _, arrays: arrays.update({"s.0.shifts": np.full(8, np.iinfo(np.int64).min)}), "a layer .* too large"),
        (lambda _, arrays: arrays.update({"s.0.weight": np.zeros((2000, 5), np.int64)}), "a layer .* too large"),
    ],
)
def test_descriptions_of_no_transform_are_refused(change, message: str) -> None:
    stages, arrays = model().synthesis.describe("s")
    change(stages, arrays)
    with pytest.raises(DamagedArchiveError, match=message):
        ExactTransform.from_description("s", stages, arrays)
