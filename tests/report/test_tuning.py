"""The page of a study: it shows what there is, and says so where there is nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from latentkit.report import write_study
from latentkit.report.tuning import curves_chart, history_chart, slice_chart
from latentkit.search import Choice, Range, Study, Trial

SPACE = {
    "latent_dim": Range(2, 64, log=True, is_integer=True),
    "dropout": Range(0.0, 0.3),
    "prior": Choice(("normal", "mixture", "a prior <b>of</b> a long name")),
}


def make_study(n: int = 24, **changes) -> Study:
    random = np.random.default_rng(0)
    trials = []
    for number in range(n):
        point = {
            "latent_dim": int(2 ** random.integers(1, 7)),
            "dropout": float(random.uniform(0, 0.3)),
            "prior": SPACE["prior"].values[int(random.integers(3))],
        }
        if number == 0:
            point = {"latent_dim": 16, "dropout": 0.0, "prior": "normal"}
        final = -100.0 + 3 * math.log2(point["latent_dim"]) - 30 * point["dropout"] + random.normal()
        if number == 7:
            final -= 5000.0
        is_pruned, is_failed = number % 4 == 3, number == 10
        shares = np.arange(1, 7 if is_pruned else 21) / 20
        trials.append(
            Trial(
                number=number,
                state="failed" if is_failed else "pruned" if is_pruned else "complete",
                point=point,
                value=None if is_pruned or is_failed else final,
                how="importance-weighted bound, K = 64, median effective sample size 8.1; mean of 100 validation rows",
                why="training diverged at step 9: KL was <nan>" if is_failed else "",
                seconds=12.0,
                epochs=len(shares),
                curve={float(share): final - 40 * math.exp(-6 * share) for share in shares},
            )
        )
    known = {
        "goal": "nll",
        "figure": "bound on log p(x)",
        "unit": "nats",
        "direction": "maximize",
        "space": SPACE,
        "start": {"latent_dim": 16, "dropout": 0.0, "prior": "normal"},
        "budget": {"max_epochs": 20, "max_time": 60.0},
        "trials_": trials,
        "best_estimator_": None,
        "best_params_": {},
        "validation_rows_": np.arange(100),
        "test_rows_": np.arange(10),
        "importances_": {"latent_dim": 0.7, "dropout": 0.25, "prior": 0.05} if n >= 4 else {},
    }
    return Study(**{**known, **changes})


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "results.html"
    return write_study(make_study(), path, source="data/photos/", family="VAE").read_text(encoding="utf-8")


def test_the_page_is_whole_and_escapes(page):
    assert "Settings of a VAE for photos" in page
    assert "<script" not in page
    assert "a prior <b>of</b>" not in page
    assert "&lt;nan&gt;" in page
    assert len(page) < 1_000_000


def test_the_page_says_what_was_best_and_by_how_much(page):
    best = make_study().best_trial_
    assert f"trial {best.number}" in page
    assert "Better than the defaults by" in page
    assert "17 complete, 6 pruned, 1 failed" in page
    assert "Most of the differences between trials come from latent_dim, dropout." in page
    assert "10 test rows were looked at by nothing" in page


def test_a_study_without_complete_trials_says_why(tmp_path):
    study = make_study(12, trials_=[trial for trial in make_study(12).trials_ if trial.state != "complete"])
    text = write_study(study, tmp_path / "results.html").read_text(encoding="utf-8")
    assert "No trial was completed yet. They ended: training diverged at step 9" in text


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_few_trials_make_a_page(tmp_path, n, direction):
    write_study(make_study(n, direction=direction), tmp_path / "results.html")


def test_the_history_never_gets_worse():
    figure = history_chart(make_study())
    best = figure.axes[0].lines[0].get_ydata()
    assert (np.diff(best) >= 0).all()
    least = history_chart(make_study(direction="minimize")).axes[0].lines[0].get_ydata()
    assert (np.diff(least) <= 0).all()


def test_one_bad_trial_does_not_flatten_the_others():
    study = make_study()
    for figure in (history_chart(study), slice_chart(study, "dropout")):
        assert figure.axes[0].get_ylim()[0] > -1000.0


def test_every_trial_has_a_curve():
    assert len(curves_chart(make_study()).axes[0].lines) == 24


def test_choices_stand_side_by_side_and_ranges_on_their_scale():
    study = make_study()
    assert slice_chart(study, "latent_dim").axes[0].get_xscale() == "log"
    assert slice_chart(study, "dropout").axes[0].get_xscale() == "linear"
    assert len(slice_chart(study, "prior").axes[0].get_xticks()) == 3
