"""Priors given a condition, as members use them: samples do as asked, row by row, and a run keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from latentkit import Autoencoder, load
from latentkit.core.errors import DataError
from latentkit.core.files import sha256
from latentkit.estimators.runs import WEIGHTS, read_config, write_config
from latentkit.tasks import ex_post_priors
from tests.estimators.cases import classes, rows, small
from tests.estimators.members import MEMBERS, by_default
from tests.estimators.test_ex_post import FITTED, OPTIONS, each_once

everyone = pytest.mark.parametrize("kind", ex_post_priors)
#: Settings with which a member learns the digits in seconds.
DIGITS: dict[str, dict[str, Any]] = {
    name: {"latent_dim": 8, "decoder": (64,), **({} if name == "generator" else {"encoder": (64,)})} for name in FITTED
}
DIGITS["hierarchical"] = {"latent_dim": (6, 4), "decoder": (64, 32)}
DIGITS["sparse"]["top_k"] = 4


def mixed(n: int = 48) -> np.ndarray:
    """A class and a number for each of the rows of `rows`."""
    import pandas as pd

    return pd.DataFrame({"kind": classes(n), "size": rows(n)[:, 1]})


@pytest.mark.parametrize("name", by_default(FITTED, "vae"))
def test_samples_are_of_the_class_that_was_asked_for(name: str) -> None:
    """The latent vectors carry the class too, so that drawn without regard to it they contradict the condition."""
    digits = load_digits()
    X, y = (digits.images * 15).astype(np.uint8), digits.target
    settings = {"max_epochs": 15, "batch_size": 64, "learning_rate": 3e-3, **DIGITS[name]}
    model = MEMBERS[name].make(name, **settings).fit(X, condition=y)
    seen = LogisticRegression(max_iter=200).fit(X.reshape(len(X), -1) / 255, y)
    asked = np.repeat(np.arange(10), 30)

    def agreement() -> float:
        drawn = model.sample(300, condition=asked, draw="mean")
        return float((seen.predict(drawn.reshape(300, -1) / 255) == asked).mean())

    given = agreement()
    model.condition_prior_ = None
    assert given > 0.6
    assert 1 - given < 0.6 * (1 - agreement())


@each_once
def test_every_member_draws_row_by_row_and_a_run_keeps_it(name: str, kind: str, tmp_path: Path) -> None:
    model = MEMBERS[name].make(name, ex_post=kind, ex_post_options=OPTIONS[kind]).fit(rows(), condition=classes())
    together = model.sample(6, condition=["cat", "dog"] * 3)
    np.testing.assert_array_equal(together, model.sample(6, condition=["cat", "dog"] * 3, prior=kind))
    for place, label in enumerate(("cat", "dog")):
        alone = model.sample(6, condition=label)
        np.testing.assert_allclose(together[place::2], alone[place::2], rtol=1e-4, atol=1e-4)
    assert np.isfinite(model.sample(4, condition="cat", temperature=0.5)).all()
    model.save(tmp_path / "run")
    again = load(tmp_path / "run")
    np.testing.assert_array_equal(again.sample(6, condition=["cat", "dog"] * 3), together)
    np.testing.assert_array_equal(again.sample(5), model.sample(5))


@everyone
def test_the_bound_given_a_condition_is_under_the_prior_given_it(kind: str) -> None:
    vae, X, given = small(ex_post=kind, ex_post_options=OPTIONS[kind]).fit(rows(), condition=mixed()), rows(), mixed()
    if kind == "second_stage":
        return

    def bound(estimator: Any, data: Any) -> Any:
        return estimator.log_likelihood(data, prior=kind).log_likelihood.numpy()

    together = bound(vae.given(given), X)
    apart = [bound(vae.given(given.iloc[[row]]), X[[row]])[0] for row in range(5)]
    np.testing.assert_allclose(together[:5], apart, atol=1e-2)
    assert np.isfinite(bound(vae, X)).all()
    vae.condition_prior_ = None
    assert np.abs(bound(vae.given(given), X) - together).max() > 1e-3


@pytest.mark.slow
def test_numbers_of_a_condition_move_the_samples() -> None:
    X, random = rows(400), np.random.default_rng(0)
    size = X[:, 1] + random.normal(scale=0.1, size=400)
    vae = small(max_epochs=40, learning_rate=1e-2).fit(X, condition=size)
    low, high = (np.mean(vae.sample(200, condition=value)[:, 1]) for value in np.quantile(size, [0.1, 0.9]))
    assert high - low > 0.7 * np.diff(np.quantile(size, [0.1, 0.9]))[0]


def test_without_a_condition_and_by_label_all_is_as_it_was() -> None:
    given = small().fit(rows(), classes(), condition=mixed())
    assert len(given.class_priors_) == 2
    assert given.sample(4, label="cat").shape == given.sample(4, label="cat", condition=mixed().iloc[:4]).shape
    plain = given.sample(4)
    given.condition_prior_ = None
    np.testing.assert_array_equal(plain, given.sample(4))


def test_the_prior_of_training_knows_no_condition() -> None:
    vae = small().fit(rows(), condition=classes())
    drawn = vae.sample(4, condition="cat", prior="model", draw="mean")
    vae.condition_prior_ = None
    np.testing.assert_array_equal(drawn, vae.sample(4, condition="cat", prior="model", draw="mean"))


def test_points_are_traversed_around_those_of_the_condition() -> None:
    model = Autoencoder(3, encoder=(8,), decoder=(8,), max_epochs=2, random_state=0).fit(rows(), condition=classes())
    assert model.condition_prior_ is not None
    condition = model.given("cat").condition_
    centre = model.given("cat").inverse_transform(model.condition_prior_.given(condition).mean[None].numpy())
    np.testing.assert_allclose(model.given("cat").traverse(dim=0, values=[0.0]), centre, rtol=1e-4)
    with pytest.raises(DataError, match="there are 48 conditions for 1 examples"):
        model.given(classes()).traverse(dim=0)


def test_a_run_of_the_first_format_has_no_prior_given_a_condition(tmp_path: Path) -> None:
    vae = small().fit(rows(), condition=classes())
    run = vae.save(tmp_path / "run")
    tensors = {key: part for key, part in load_file(run / WEIGHTS).items() if not key.startswith("condition")}
    save_file(tensors, run / WEIGHTS)
    config = json.loads(json.dumps(read_config(run)))
    config["format"] = 1
    config["fitted"]["sha256"][WEIGHTS] = sha256(run / WEIGHTS)
    write_config(run, config)
    again = load(run)
    assert again.condition_prior_ is None
    vae.condition_prior_ = None
    np.testing.assert_array_equal(again.sample(4, condition="cat"), vae.sample(4, condition="cat"))


def test_both_fits_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    family = type(ex_post_priors["flow"]())
    times: list[float | None] = []
    fit = family.fit
    monkeypatch.setattr(family, "fit", lambda self, z, budget: (times.append(budget.max_time), fit(self, z, budget))[1])
    options: dict[str, Any] = {"ex_post": "flow", "ex_post_options": OPTIONS["flow"], "max_epochs": 1, "max_time": 60}
    small(**options).fit(rows(), condition=classes())
    small(**options).fit(rows())
    assert times == pytest.approx([3.0, 3.0, 6.0])


@pytest.mark.slow
def test_control_is_measured_under_the_prior_that_is_asked_for() -> None:
    X, y = (part[:800] for part in load_digits(return_X_y=True))
    vae = small(max_epochs=10, latent_dim=8, encoder=(64,), decoder=(64,)).fit(X, condition=y)
    (fitted,), (model,) = (vae.attribute_control(X, y, n_samples=300, prior=prior) for prior in ("auto", "model"))
    assert fitted.agreement > model.agreement + 0.1
    assert torch.equal(vae.attribute_control(X, y, n_samples=300)[0].confusion, fitted.confusion)
