"""Modules of the user's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from latentkit.core.errors import InvalidParameterError
from latentkit.nn import build_decoder, build_encoder, last_layer
from latentkit.nn.own import OwnDecoder, OwnEncoder


class Returning(nn.Module):
    """Gives what it was made with, whatever the input."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Any:
        return self.value


def test_the_module_is_copied() -> None:
    mine = nn.Sequential(nn.Flatten(), nn.Linear(16, 6))
    before = {name: value.clone() for name, value in mine.state_dict().items()}
    encoder = build_encoder(mine, (1, 4, 4), 6)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(value, before[name]) for name, value in mine.state_dict().items())
    x = torch.rand(3, 1, 4, 4)
    assert not torch.equal(encoder(x), mine(x))


def test_an_encoder_of_the_right_width_is_taken_as_it_is() -> None:
    mine = nn.Sequential(nn.Flatten(), nn.Linear(16, 6))
    encoder = build_encoder(mine, (1, 4, 4), 6)
    x = torch.rand(3, 1, 4, 4)
    assert torch.equal(encoder(x), mine(x))
    assert len(list(encoder.parameters())) == 2


def test_an_encoder_of_another_width_gets_a_linear_layer() -> None:
    encoder = build_encoder(nn.Conv2d(1, 3, 3), (1, 6, 6), 10)
    assert isinstance(encoder, OwnEncoder)
    assert encoder(torch.rand(5, 1, 6, 6)).shape == (5, 10)
    assert isinstance(encoder.head, nn.Linear)
    assert encoder.head.in_features == 3 * 4 * 4


def test_a_decoder_is_reshaped() -> None:
    mine = nn.Linear(3, 32)
    decoder = build_decoder(mine, 3, (2, 1, 4, 4))
    assert isinstance(decoder, OwnDecoder)
    z = torch.randn(5, 3)
    assert torch.equal(decoder(z), mine(z).reshape(5, 2, 1, 4, 4))
    assert decoder(torch.randn(2, 5, 3)).shape == (2, 5, 2, 1, 4, 4)


def test_the_last_layer_of_the_users_module_is_left_alone() -> None:
    assert last_layer(build_decoder(nn.Linear(3, 32), 3, (2, 1, 4, 4))) is None


def test_the_dry_run_leaves_statistics_and_modes_alone() -> None:
    mine = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    mine[2].eval()
    encoder = build_encoder(mine, (4,), 4)
    body = encoder.get_submodule("body")
    assert [part.training for part in body.modules()] == [True, True, True, False]
    assert torch.equal(body.get_buffer("1.running_mean"), torch.zeros(4))
    assert int(body.get_buffer("1.num_batches_tracked")) == 0


def test_double_precision_and_lazy_modules() -> None:
    encoder = build_encoder(nn.Linear(4, 5).double(), (4,), 3)
    assert encoder(torch.rand(2, 4, dtype=torch.float64)).dtype == torch.float64
    lazy = build_encoder(nn.LazyLinear(5), (4,), 3)
    assert lazy(torch.rand(2, 4)).shape == (2, 3)
    assert sum(p.numel() for p in lazy.parameters()) == 4 * 5 + 5 + 5 * 3 + 3


def test_a_decoder_with_the_wrong_number_of_outputs() -> None:
    message = (
        r"must give 32 numbers per row, shape \(batch, 2, 1, 4, 4\) .*your module gives 16, shape \(batch, 16\). "
        r"Change its last layer."
    )
    with pytest.raises(InvalidParameterError, match=message):
        build_decoder(nn.Linear(3, 16), 3, (2, 1, 4, 4))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Linear(7, 2), r"encoder module failed on an input of shape \(2, 4\): RuntimeError: .*take \(batch, 4\)"),
        (Returning((torch.zeros(2, 3), torch.zeros(2, 3))), r"must return one tensor .*; got tuple"),
        (Returning(torch.zeros(1, 3)), r"a row per input row; for an input of shape \(2, 4\) it returned \(1, 3\)"),
        (Returning(torch.tensor(1.0)), r"it returned \(\)"),
    ],
)
def test_modules_that_cannot_be_encoders(module: nn.Module, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        build_encoder(module, (4,), 3)


def test_a_decoder_that_fails() -> None:
    with pytest.raises(InvalidParameterError, match=r"decoder module failed on an input of shape \(2, 3\)"):
        build_decoder(nn.Linear(7, 2), 3, (1, 2))


@pytest.mark.parametrize(
    ("option", "value"),
    [("widths", (3,)), ("channels", (3,)), ("activation", "tanh"), ("dropout", 0.1), ("residual", True)],
)
def test_options_cannot_be_applied_to_the_users_module(option: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError, match=rf"{option}=.* cannot be applied to your own encoder module"):
        build_encoder(nn.Linear(4, 3), (4,), 3, **{option: value})
    with pytest.raises(InvalidParameterError, match=rf"{option}=.* cannot be applied to your own decoder module"):
        build_decoder(nn.Linear(4, 3), 4, (1, 3), **{option: value})
