"""What every estimator keeps: a new one is tested by being registered, and given a small setting in `members.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone

from latentkit import load
from latentkit.core.errors import DivergenceError, InvalidParameterError, UnsupportedOperationError
from latentkit.estimators.registry import estimators
from tests.estimators.members import MEMBERS, data

CASES = [(name, kind) for name, member in MEMBERS.items() for kind in member.kinds]
everyone = pytest.mark.parametrize(("name", "kind"), CASES)
#: For what takes a fit or several: by default on one kind of data, which is as much of a training.
each_once = pytest.mark.parametrize(
    ("name", "kind"), [pytest.param(*case, marks=pytest.mark.slow if case[1] == "images" else []) for case in CASES]
)

_REBUILT = "reconstruction, log p(x given z) minus penalties"
#: What the value of an objective is that is no bound.
VALUES = {
    **dict.fromkeys(("autoencoder", "denoising", "sparse"), _REBUILT),
    "vqvae": "log p(x given codes), minus uniform code length and commitment",
    "gan": "value of the game for the generator, no likelihood",
    "generator": "log p(x given z), no bound on log p(x)",
    "vaegan": "value of the game for the encoder, no bound on log p(x)",
}


@pytest.fixture(scope="module")
def fit() -> Any:
    """Fitted members, each fitted once."""
    kept: dict[tuple[str, str], Any] = {}

    def get(name: str, kind: str) -> Any:
        if (name, kind) not in kept:
            kept[name, kind] = MEMBERS[name].make(name).fit(data(kind))
        return kept[name, kind]

    return get


def random_state() -> str:
    return repr(np.random.get_state())  # noqa: NPY002 (the global state that must not change)


def test_every_estimator_has_a_small_setting() -> None:
    assert set(MEMBERS) == set(estimators)


@everyone
def test_samples_are_as_many_as_asked_for_and_in_the_form_of_the_data(fit: Any, name: str, kind: str) -> None:
    X = data(kind)
    for n in (1, 7):
        samples = fit(name, kind).sample(n)
        assert samples.shape == (n, *X.shape[1:])
        assert samples.dtype == X.dtype
        assert kind == "texts" or np.isfinite(samples).all()


@each_once
def test_a_seed_decides_everything(fit: Any, name: str, kind: str) -> None:
    model, twin = fit(name, kind), MEMBERS[name].make(name).fit(data(kind))
    np.testing.assert_array_equal(model.sample(5), twin.sample(5))
    assert not np.array_equal(model.sample(5, random_state=1), model.sample(5, random_state=2))
    other = MEMBERS[name].make(name, random_state=1).fit(data(kind))
    weights, others = (dict(fitted.model_.named_parameters()) for fitted in (model, other))
    assert any(not torch.equal(weights[key], others[key]) for key in weights if weights[key].is_floating_point())


@each_once
def test_the_global_random_state_is_left_alone(name: str, kind: str) -> None:
    before, numbers = torch.random.get_rng_state(), random_state()
    MEMBERS[name].make(name).fit(data(kind)).sample(3)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert random_state() == numbers


@everyone
def test_a_run_gives_the_same_model_back(fit: Any, name: str, kind: str, tmp_path: Path) -> None:
    model = fit(name, kind)
    model.save(tmp_path / "run")
    again = load(tmp_path / "run")
    assert type(again) is type(model)
    assert {key: repr(value) for key, value in again.get_params().items()} == {
        key: repr(value) for key, value in model.get_params().items()
    }
    np.testing.assert_array_equal(again.sample(5), model.sample(5))
    if MEMBERS[name].encodes:
        np.testing.assert_array_equal(again.transform(data(kind)), model.transform(data(kind)))


@everyone
def test_a_clone_is_unfitted_and_equal(fit: Any, name: str, kind: str) -> None:
    model = fit(name, kind)
    twin = clone(model)
    assert not hasattr(twin, "model_")
    assert repr(twin.get_params()) == repr(model.get_params())


@everyone
def test_encoding_does_not_depend_on_the_batch(fit: Any, name: str, kind: str) -> None:
    if not MEMBERS[name].encodes:
        assert not hasattr(fit(name, kind), "transform")
        return
    model, X = fit(name, kind), data(kind)
    Z = model.transform(X)
    assert Z.shape == (len(X), model.latent_dim_)
    assert Z.dtype == (np.float64 if X.dtype == np.float64 else np.float32)
    np.testing.assert_allclose(model.transform(X[3:4]), Z[3:4], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.transform(X[::-1]), Z[::-1], rtol=1e-4, atol=1e-5)


@everyone
def test_latent_vectors_decode_to_data(fit: Any, name: str, kind: str) -> None:
    model, X = fit(name, kind), data(kind)
    decoded = model.inverse_transform(np.zeros((3, model.latent_dim_), dtype=np.float32))
    assert decoded.shape == (3, *X.shape[1:])


@everyone
def test_what_goes_in_comes_back_in_its_form(fit: Any, name: str, kind: str) -> None:
    if not MEMBERS[name].encodes:
        return
    model, X = fit(name, kind), data(kind)
    back = model.reconstruct(X)
    assert back.shape == X.shape
    assert back.dtype == X.dtype


@each_once
def test_an_interrupted_training_ends_in_the_same_weights(name: str, kind: str, tmp_path: Path) -> None:
    X = data(kind)
    whole = MEMBERS[name].make(name, max_epochs=4).fit(X, run=tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop(history: Any) -> None:
        if len(history) == 2:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latentkit.training.TrainingPlan.checkpoint_interval", 0.0, raising=False)
        patch.setattr("latentkit.estimators.runs.RunWriter.epoch", lambda self, history: stop(history))
        patch.setattr("latentkit.training.loop.time.monotonic", iter(range(10**6)).__next__)
        with pytest.raises(Stop):
            MEMBERS[name].make(name, max_epochs=4).fit(X, run=tmp_path / "half")
    resumed = MEMBERS[name].make(name, max_epochs=4).fit(X, run=tmp_path / "half", resume=True)
    for key, weight in whole.model_.state_dict().items():
        assert torch.equal(weight, resumed.model_.state_dict()[key]), key


@everyone
def test_nonsense_is_refused(name: str, kind: str) -> None:
    with pytest.raises((InvalidParameterError, UnsupportedOperationError)):
        MEMBERS[name].make(name, decoder="mpl").fit(data(kind))
    with pytest.raises(InvalidParameterError):
        MEMBERS[name].make(name, learning_rate=-1.0).fit(data(kind))


@each_once
def test_divergence_is_an_error_and_no_run(name: str, kind: str, tmp_path: Path) -> None:
    wild = MEMBERS[name].make(
        name, optimizer="sgd", learning_rate=1e30, max_epochs=30, schedule="constant", warm_up=0.0
    )
    with pytest.raises(DivergenceError):
        wild.fit(data(kind), run=tmp_path / "run")
    assert not (tmp_path / "run" / "weights.safetensors").exists()


@each_once
def test_every_member_samples_what_it_is_given(name: str, kind: str, tmp_path: Path) -> None:
    X = data(kind)
    y = np.where(np.arange(len(X)) % 2 == 0, "even", "odd")
    model = MEMBERS[name].make(name).fit(X, condition=y)
    assert model.sample(4, condition="odd").shape == (4, *X.shape[1:])
    assert model.given(["odd", "even"]).sample(2).shape == (2, *X.shape[1:])
    model.save(tmp_path / "run")
    np.testing.assert_array_equal(load(tmp_path / "run").sample(3, condition="even"), model.sample(3, condition="even"))


@each_once
def test_a_warm_start_goes_on_from_the_weights(name: str, kind: str) -> None:
    estimator = MEMBERS[name].make(name).fit(data(kind))
    before = {key: value.clone() for key, value in estimator.model_.named_parameters()}
    still = {"learning_rate": 1e-12, "max_epochs": 1}
    warm = estimator.set_params(warm_start=True, **still).fit(data(kind))
    for key, value in warm.model_.named_parameters():
        torch.testing.assert_close(value, before[key], rtol=0, atol=1e-6, msg=key)
    cold = MEMBERS[name].make(name, **still).fit(data(kind))
    assert any(not torch.allclose(value, before[key], atol=1e-3) for key, value in cold.model_.named_parameters())


def test_a_warm_start_of_other_networks_is_refused() -> None:
    estimator = MEMBERS["vae"].make("vae").fit(data("rows"))
    with pytest.raises(InvalidParameterError, match=r"warm_start=True .* size mismatch .* warm_start=False"):
        estimator.set_params(warm_start=True, latent_dim=4).fit(data("rows"))


@pytest.mark.parametrize("name", list(MEMBERS))
def test_what_is_printed_names_the_value_for_what_it_is(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    estimator = MEMBERS[name].make(name, verbose=1).fit(data("rows"), run=tmp_path / "run")
    headline = capsys.readouterr().err.splitlines()[0]
    value = VALUES.get(name, "bound on log p(x)")
    assert headline.endswith(f"objective: {value}")
    assert ("no likelihood)" in headline) == (name == "gan")
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert f"{value[0].upper()}{value[1:]}: " in card
    assert f"# A{'n' if name == 'autoencoder' else ''} {type(estimator).__name__} of" in card


def test_a_weighted_objective_is_no_bound() -> None:
    for settings in ({"beta": 0.5}, {"objective": "info"}, {"objective_options": {"capacity": 3.0}}):
        assert "no bound" in MEMBERS["vae"].make("vae", **settings)._value_name
    assert "no bound" in MEMBERS["hierarchical"].make("hierarchical", beta=0.5)._value_name
    for settings in ({"beta": 4.0}, {"objective": "iwae"}, {"free_bits": 0.5}):
        assert MEMBERS["vae"].make("vae", **settings)._value_name == "bound on log p(x)"
