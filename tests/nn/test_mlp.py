"""Multilayer perceptrons."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from latentkit.core.errors import InvalidParameterError
from latentkit.nn import MLP, activations
from latentkit.nn.mlp import default_widths


def n_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_net_of_the_articles_has_its_number_of_parameters() -> None:
    encoder = MLP((784,), (40,), widths=(500, 500))
    decoder = MLP((20,), (1, 784), widths=(500, 500))
    assert n_parameters(encoder) == 784 * 500 + 500 + 500 * 500 + 500 + 500 * 40 + 40
    assert n_parameters(decoder) == 20 * 500 + 500 + 500 * 500 + 500 + 500 * 784 + 784
    assert encoder.is_plain
    assert decoder.is_plain


@pytest.mark.parametrize("activation", activations.names())
def test_a_plain_net_equals_the_sequential_one(activation: str) -> None:
    mlp = MLP((7,), (3,), widths=(5, 6), activation=activation)
    x = torch.randn(4, 7)
    h = x
    for layer in mlp.linears[:-1]:
        h = activations[activation].function(layer(h))
    torch.testing.assert_close(mlp(x), mlp.linears[-1](h), rtol=0, atol=0)
    assert mlp.activation == activation


@settings(max_examples=25, deadline=None)
@given(
    lead=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    inputs=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    outputs=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    widths=st.lists(st.integers(2, 9), max_size=3),
    normalization=st.sampled_from(["none", "batch", "layer", "group"]),
    residual=st.booleans(),
)
def test_shapes(
    lead: list[int], inputs: list[int], outputs: list[int], widths: list[int], normalization: str, residual: bool
) -> None:
    mlp = MLP(inputs, outputs, widths=widths, normalization=normalization, residual=residual).eval()
    assert mlp(torch.randn(*lead, *inputs)).shape == (*lead, *outputs)


def test_no_widths_give_a_linear_map() -> None:
    mlp = MLP((3,), (2,), widths=())
    x, y = torch.randn(5, 3), torch.randn(5, 3)
    torch.testing.assert_close(mlp(x + y), mlp(x) + mlp(y))
    assert len(mlp.linears) == 1
    assert mlp.is_plain


def test_residual_puts_skips_around_layers_of_equal_width_only() -> None:
    mlp = MLP((8,), (4,), widths=(8, 8, 4), residual=True)
    with torch.no_grad():
        mlp.linears[1].weight.zero_()
    x = torch.randn(5, 8)
    h = mlp.linears[0](x)  # the first layer has none, the second adds to its input, the third and the last have none
    expected = mlp.linears[3](mlp.linears[2](h.relu()).relu())
    torch.testing.assert_close(mlp(x), expected)
    assert not mlp.is_plain
    assert mlp.linears[1].weight.shape == (8, 8)


def test_residual_branches_start_small() -> None:
    torch.manual_seed(0)
    mlp = MLP((64,), (4,), widths=(64, 64, 64), residual=True)
    scales = [layer.weight.std().item() for layer in mlp.linears[:3]]
    assert scales[1] == pytest.approx(0.1 * scales[0], rel=0.1)
    assert scales[2] == pytest.approx(0.1 * scales[0], rel=0.1)


def test_residual_without_equal_widths_is_plain() -> None:
    assert MLP((8,), (4,), widths=(8, 4), residual=True).is_plain


@pytest.mark.parametrize("option", [{"dropout": 0.1}, {"normalization": "layer"}])
def test_dropout_or_normalisation_is_not_plain(option: dict[str, object]) -> None:
    assert not MLP((8,), (4,), widths=(8,), **option).is_plain  # type: ignore[arg-type]


def test_dropout_acts_in_training_only() -> None:
    mlp = MLP((8,), (4,), widths=(32,), dropout=0.5)
    x = torch.randn(3, 8)
    assert not torch.equal(mlp(x), mlp(x))
    mlp.eval()
    assert torch.equal(mlp(x), mlp(x))


@pytest.mark.parametrize("normalization", ["none", "batch", "layer", "group"])
def test_normalisation_learns_and_rows_are_independent_in_evaluation(normalization: str) -> None:
    mlp = MLP((8,), (4,), widths=(16, 16), normalization=normalization, dropout=0.2, residual=True)
    x = torch.randn(6, 8)
    mlp(x).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in mlp.parameters() if p.ndim > 1)
    mlp.eval()
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    torch.testing.assert_close(mlp(x)[order], mlp(x[order]))
    torch.testing.assert_close(mlp(x)[:1], mlp(x[:1]))


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("normalization", ["none", "batch", "layer", "group"])
def test_the_gradient_reaches_every_parameter(normalization: str, residual: bool) -> None:
    torch.manual_seed(0)
    mlp = MLP((8,), (4,), widths=(16, 16), activation="tanh", normalization=normalization, residual=residual)
    mlp(torch.randn(32, 8)).square().sum().backward()
    for name, parameter in mlp.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_batch_normalisation_refuses_a_single_row() -> None:
    mlp = MLP((8,), (4,), widths=(16,), normalization="batch")
    with pytest.raises(InvalidParameterError, match="at least 2 rows in a training batch; got 1"):
        mlp(torch.randn(1, 8))
    assert mlp.eval()(torch.randn(1, 8)).shape == (1, 4)


def test_double_precision_and_bf16_autocast() -> None:
    mlp = MLP((8,), (2, 4), widths=(16,), normalization="group")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert mlp(torch.randn(3, 8)).shape == (3, 2, 4)
    assert mlp.double()(torch.randn(3, 8, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ((500, 0), r"widths\[1\] must be an integer of at least 1; got 0"),
        ((2.5,), r"widths\[0\] must be an integer of at least 1; got 2.5"),
        (500, r"widths must be a list or tuple of integers of at least 1, such as \(500, 500\); got 500"),
        ("500", r"widths must be a list or tuple"),
    ],
)
def test_wrong_widths(widths: object, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        MLP((8,), (4,), widths=widths)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"activation": "rellu"}, r"unknown activation 'rellu'.*Did you mean 'relu'\?"),
        (
            {"normalization": "bach"},
            r"normalization must be one of: none, batch, layer, group; .*Did you mean 'batch'\?",
        ),
        ({"dropout": 1.0}, r"dropout must be a float in \[0, 1\); got 1.0. Use dropout=0 for none."),
    ],
)
def test_wrong_options(option: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        MLP((8,), (4,), widths=(8,), **option)  # type: ignore[arg-type]


@pytest.mark.parametrize("normalization", ["layer", "group"])
def test_a_layer_of_width_one_cannot_be_normalised(normalization: str) -> None:
    with pytest.raises(InvalidParameterError, match=r"of a layer of width 1 leaves nothing of it; got widths \(8, 1\)"):
        MLP((8,), (4,), widths=(8, 1), normalization=normalization)


@pytest.mark.parametrize(
    ("n_features", "n_rows", "expected"),
    [(2, None, 64), (32, 10_000, 64), (100, None, 200), (3072, None, 512), (3072, 999, 128), (3072, 1000, 512)],
)
def test_default_widths(n_features: int, n_rows: int | None, expected: int) -> None:
    assert default_widths(n_features, n_rows=n_rows) == (expected, expected)
