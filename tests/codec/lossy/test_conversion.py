"""Whole numbers that stand for trained transforms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from latentkit.codec import Span, exact_arithmetic
from latentkit.codec.exact import EXACT_BELOW
from latentkit.codec.lossy import Grid, exact_transform
from latentkit.core.errors import InvalidParameterError
from latentkit.core.seeds import generator, isolated_rng
from latentkit.nn import ResidualConvolutions

STEP = torch.tensor(1 / 64)
INPUTS = Grid(Span(-512, 511), STEP)


def decoder() -> nn.Sequential:
    with isolated_rng(0):
        return nn.Sequential(
            nn.Conv2d(6, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 1),
            ResidualConvolutions(16),
            nn.PixelShuffle(2),
            ResidualConvolutions(4),
            nn.Conv2d(4, 12, 3, padding=1),
            nn.PixelShuffle(2),
        )


def whole_inputs(n: int = 8) -> torch.Tensor:
    return torch.randint(-300, 301, (n, 6, 5, 7), generator=generator(0, "x")).float()


def test_it_stands_for_the_transform() -> None:
    modules, x = decoder(), whole_inputs()
    outputs = Grid(Span(0, 255), torch.tensor(1 / 100), offset=-1.2)
    transform, grid = exact_transform(modules, x * STEP, inputs=INPUTS, outputs=outputs, weight_bits=12)
    assert grid == outputs
    assert (transform.factor, transform.n_inputs, transform.n_outputs, transform.span) == (4, 6, 3, Span(0, 255))
    assert all(layer.bound < EXACT_BELOW for stage in transform.stages for layer in stage.layers())
    with torch.no_grad():
        real = modules(x * STEP)
    expected = ((real + 1.2) * 100).round().clamp(0, 255).permute(0, 2, 3, 1)
    with exact_arithmetic():
        found = transform(x.permute(0, 2, 3, 1))
    errors = {12: (found - expected).abs().mean()}
    assert expected.std() > 15
    assert errors[12] < 0.6
    for bits in (4, 8):
        coarse, _ = exact_transform(modules, x * STEP, inputs=INPUTS, outputs=outputs, weight_bits=bits, body_bits=bits)
        errors[bits] = (coarse(x.permute(0, 2, 3, 1)) - expected).abs().mean()
    assert errors[12] < errors[8] < errors[4]


def test_steps_of_channels_and_of_outputs_are_taken_from_examples() -> None:
    """Inputs whose channels have steps of their own; an output whose step is not given."""
    with isolated_rng(1):
        modules = nn.Sequential(nn.Conv2d(2, 5, 1), nn.ReLU())
    x = torch.randint(0, 256, (4, 2, 3, 3), generator=generator(0, "x")).float()
    steps = torch.tensor([0.01, 0.5])
    real = x * steps[:, None, None]
    transform, grid = exact_transform(
        modules, real, inputs=Grid(Span(0, 255), steps), activation_bits=9, weight_bits=12
    )
    assert grid.span == Span(0, 511) == transform.span
    with torch.no_grad():
        expected = modules(real).permute(0, 2, 3, 1)
    assert float(grid.steps) == pytest.approx(float(expected.max()) / 511, rel=1e-5)
    found = transform(x.permute(0, 2, 3, 1)) * grid.steps
    assert float((found - expected).abs().max()) < 0.01 * float(expected.max())


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (nn.Sequential(nn.Conv2d(6, 4, 1), nn.Tanh()), "Tanh has no form in whole numbers"),
        (nn.Sequential(nn.Conv2d(6, 4, 3)), "does not keep the size of its input"),
        (nn.Sequential(nn.Conv2d(6, 4, 3, padding=1, stride=2)), "does not keep the size of its input"),
        (nn.Sequential(nn.Conv2d(6, 4, (1, 3), padding=(0, 1))), "does not keep the size of its input"),
    ],
)
def test_what_has_no_such_form_is_refused(modules: nn.Sequential, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        exact_transform(modules, whole_inputs() * STEP, inputs=INPUTS)


def test_inputs_whose_zero_is_not_zero_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match="inputs have no offset"):
        exact_transform(decoder(), whole_inputs(), inputs=Grid(Span(0, 9), STEP, offset=1.0))


def test_sums_of_residual_blocks_are_not_cut_off() -> None:
    """The span before a block leaves room for what the block adds: here four times as much."""
    modules = nn.Sequential(nn.Conv2d(2, 2, 1), ResidualConvolutions(2))
    block = modules[1]
    with torch.no_grad():
        for layer in (modules[0], block.inner, block.outer):
            layer.weight.zero_()
            layer.bias.zero_()
            middle = layer.kernel_size[0] // 2
            layer.weight[:, :, middle, middle] = torch.eye(2) * (3.0 if layer is block.outer else 1.0)
    x = torch.randint(-500, 501, (4, 2, 6, 6), generator=generator(0, "x")).float()
    transform, grid = exact_transform(modules, x * STEP, inputs=INPUTS, weight_bits=12)
    found = transform(x.permute(0, 2, 3, 1)) * grid.steps
    real = modules(x * STEP).detach().permute(0, 2, 3, 1)
    assert float(real.max()) > 3.9 * float((x * STEP).max())
    assert float((found - real).abs().max()) < 0.02 * float(real.max())
