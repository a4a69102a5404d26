"""A user's own networks: copied, cloned, saved without their code, and wanted back when the run is loaded."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import Tensor, nn

from latentkit import load
from latentkit.core.errors import InvalidParameterError
from latentkit.estimators.runs import read_config
from tests.estimators.cases import LATENT_DIM, N, pixels, rows, small


class Net(nn.Module):
    def __init__(self, n_inputs: int, n_outputs: int, width: int = 6) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_inputs, width), nn.Tanh(), nn.Linear(width, n_outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.flatten(1))


def pair() -> dict[str, nn.Module]:
    return {"encoder": Net(5, 7), "decoder": Net(LATENT_DIM, 5)}


def test_they_are_trained_as_copies() -> None:
    modules = pair()
    before = {name: copy.deepcopy(module.state_dict()) for name, module in modules.items()}
    modules["encoder"].eval()
    vae = small(**modules, max_epochs=3).fit(rows())
    for name, module in modules.items():
        for key, weight in module.state_dict().items():
            assert torch.equal(weight, before[name][key])
        assert all(parameter.grad is None for parameter in module.parameters())
    assert not modules["encoder"].training
    assert modules["decoder"].training
    trained = vae.model_.encoder.body.state_dict()
    assert any(not torch.equal(weight, before["encoder"][key]) for key, weight in trained.items())
    assert vae.sample(3).shape == (3, 5)
    assert vae.specification_.encoder == {"network": "custom"}


def test_training_starts_from_their_weights() -> None:
    modules = pair()
    vae = small(**modules, max_epochs=1, learning_rate=1e-12).fit(rows())
    trained = vae.model_.decoder.body.state_dict()
    for key, weight in modules["decoder"].state_dict().items():
        torch.testing.assert_close(trained[key], weight)


def test_clones_and_equal_seeds_agree() -> None:
    vae = small(**pair())
    twin = clone(vae)
    assert twin.encoder is not vae.encoder
    np.testing.assert_array_equal(twin.fit(rows()).transform(rows()), vae.fit(rows()).transform(rows()))


def test_images_and_lazy_layers_work() -> None:
    encoder = nn.Sequential(nn.LazyConv2d(4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10))
    vae = small(encoder=encoder).fit(pixels(N, 8, 8, 3))
    assert vae.transform(pixels(2, 8, 8, 3)).shape == (2, LATENT_DIM)


def test_a_run_wants_them_back_and_says_which(tmp_path: Path) -> None:
    modules = pair()
    vae = small(**modules).fit(rows())
    vae.save(tmp_path / "run")
    assert read_config(tmp_path / "run")["parameters"]["encoder"] == "custom: Net"
    with pytest.raises(
        InvalidParameterError, match="the encoder of this model is a module of your own.* give it as encoder="
    ):
        load(tmp_path / "run")
    with pytest.raises(
        InvalidParameterError, match="the decoder of this model is a module of your own.* give it as decoder="
    ):
        load(tmp_path / "run", encoder=Net(5, 7))
    restored = load(tmp_path / "run", **pair())  # fresh weights, which the run replaces
    np.testing.assert_array_equal(restored.transform(rows()), vae.transform(rows()))
    np.testing.assert_array_equal(restored.sample(5), vae.sample(5))
    assert isinstance(restored.encoder, Net)


def test_another_module_than_the_one_that_was_fitted_is_refused(tmp_path: Path) -> None:
    small(encoder=Net(5, 7)).fit(rows()).save(tmp_path / "run")
    with pytest.raises(InvalidParameterError, match="do not fit your encoder"):
        load(tmp_path / "run", encoder=Net(5, 7, width=9))


def test_a_module_for_a_network_of_ours_is_refused(tmp_path: Path) -> None:
    small().fit(rows()).save(tmp_path / "run")
    with pytest.raises(InvalidParameterError, match="the decoder of this run is 'mlp' .* leave decoder= out"):
        load(tmp_path / "run", decoder=Net(LATENT_DIM, 5))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"decoder": Net(LATENT_DIM, 4)}, r"decoder must give 5 numbers per row, .* your module gives 4"),
        ({"encoder": Net(4, 6)}, r"the encoder module failed on an input of shape \(2, 5\)"),
        ({"encoder": Net(5, 6), "dropout": 0.1}, "dropout=0.1 cannot be applied to your own encoder"),
        ({"encoder": Net(5, 6), "activation": "tanh"}, "activation='tanh' cannot be applied to your own encoder"),
        ({"decoder": Net(LATENT_DIM, 5), "upsampling": "nearest"}, "upsampling='nearest'"),
    ],
)
def test_what_they_cannot_do_is_said(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        small(**settings).fit(rows())
