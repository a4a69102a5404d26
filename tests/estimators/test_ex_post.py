"""The prior that is fitted after training, as a choice of the estimators."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentkit import VAE, load
from latentkit.cli.options import Prior
from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.estimators.ex_post import ex_post_time
from latentkit.estimators.runs import read_config
from latentkit.report import write_report
from latentkit.tasks import ex_post_priors
from tests.estimators.cases import classes, pixels, rows, small
from tests.estimators.members import MEMBERS, by_default

OPTIONS: dict[str, dict[str, Any]] = {
    "mixture": {"n_components": 2},
    "flow": {"n_steps": 5, "n_layers": 2, "width": 8},
    "flow_matching": {"n_steps": 5, "width": 8, "n_ode_steps": 4},
    "second_stage": {"n_steps": 5, "width": 8, "n_layers": 1},
}
everyone = pytest.mark.parametrize("kind", ex_post_priors)
#: Estimators that have the parameter.
FITTED = [name for name, member in MEMBERS.items() if "ex_post" in member.make(name).get_params()]
#: By default each member with one kind of prior, and each kind with one member.
each_once = pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=[] if name == "vae" or kind == "mixture" else pytest.mark.slow)
        for name, kind in itertools.product(FITTED, ex_post_priors)
    ],
)


def fit(kind: str, **settings: Any) -> VAE:
    return small(ex_post=kind, ex_post_options=OPTIONS[kind], **settings).fit(rows(), classes())


def test_the_names_are_the_same_everywhere() -> None:
    assert set(OPTIONS) == set(ex_post_priors)
    assert {prior.value for prior in Prior} == {"auto", "model", *ex_post_priors}


@each_once
def test_every_member_draws_from_what_was_fitted(name: str, kind: str, tmp_path: Path) -> None:
    model = MEMBERS[name].make(name, ex_post=kind, ex_post_options=OPTIONS[kind]).fit(rows(), classes())
    drawn = model.sample(5)
    assert np.isfinite(drawn).all()
    np.testing.assert_array_equal(drawn, model.sample(5, prior=kind))
    label = model.classes_[1]
    assert len(model.class_priors_) == len(model.classes_)
    assert model.sample(4, label=label, temperature=0.5).shape == (4, 5)
    model.save(tmp_path / "run")
    again = load(tmp_path / "run")
    np.testing.assert_array_equal(again.sample(5), drawn)
    np.testing.assert_array_equal(again.sample(5, label=label), model.sample(5, label=label))
    twin = MEMBERS[name].make(name, ex_post=kind, ex_post_options=OPTIONS[kind]).fit(rows(), classes())
    np.testing.assert_array_equal(twin.sample(5), drawn)


@everyone
def test_the_bound_under_what_was_fitted(kind: str) -> None:
    vae, X = fit(kind), rows()
    if kind == "second_stage":
        with pytest.raises(UnsupportedOperationError, match="no density in closed form"):
            vae.log_likelihood(X, prior=kind)
        return

    def bound(x: Any, prior: str = kind) -> Any:
        return vae.log_likelihood(x, prior=prior).log_likelihood.numpy()

    assert np.isfinite(bound(X)).all()
    assert np.abs(bound(X) - bound(X, "model")).max() > 1e-3
    np.testing.assert_allclose(bound(X[::-1].copy())[::-1], bound(X), atol=1e-3)
    assert np.isfinite(bound(X.astype(np.float64))).all()


@everyone
def test_another_prior_than_the_fitted_one_is_refused(kind: str) -> None:
    vae = fit(kind)
    other = next(name for name in ex_post_priors if name != kind)
    words = f"fitted with ex_post='{kind}', and has no .* Use prior='model' or prior='{kind}', or fit with"
    with pytest.raises(InvalidParameterError, match=words):
        vae.sample(2, prior=other)
    with pytest.raises(InvalidParameterError, match=words):
        vae.log_likelihood(rows(), prior=other)
    with pytest.raises(InvalidParameterError, match="prior must be one of: auto, model, .* Did you mean"):
        vae.sample(2, prior=kind[:-1])


def test_a_prior_that_is_trained_gets_a_tenth_of_the_time(tmp_path: Path) -> None:
    assert ex_post_time(VAE(max_time=60)) is None
    assert ex_post_time(VAE(max_time=60, ex_post="none")) is None
    assert ex_post_time(VAE(ex_post="flow")) is None
    assert ex_post_time(VAE(max_time="1m", ex_post="flow")) == pytest.approx(6.0)
    options = {"ex_post": "flow", "ex_post_options": OPTIONS["flow"], "max_epochs": 1, "max_time": 60}
    small(**options).fit(rows(), run=tmp_path / "run")
    assert read_config(tmp_path / "run")["training"]["max_time"] == pytest.approx(54.0)


@everyone
def test_a_citation_names_the_prior(kind: str) -> None:
    for key in ex_post_priors.cites(kind):
        assert f"{{{key}," in fit(kind).citation()


@pytest.mark.parametrize("kind", by_default(ex_post_priors, "mixture", "flow"))
def test_a_report_says_what_was_fitted(kind: str, tmp_path: Path) -> None:
    vae = small(ex_post=kind, ex_post_options=OPTIONS[kind]).fit(pixels(40, 8, 8), classes(40))
    vae.save(tmp_path / "run")
    write_report(vae, tmp_path / "report.html")
    words = {"mixture": "a mixture of 2 Gaussians", "flow": "a flow prior", "flow_matching": "a flow-matching prior"}
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert words.get(kind, "a second-stage prior") + " fitted to the latent space" in text
    assert words.get(kind, "a second-stage prior").split(" of ")[0] in (tmp_path / "run" / "README.md").read_text()
