"""Proposals: expected worths of trials, the Gaussian process against oracles, and optima that are found."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import norm

from latentkit.search import Choice, Range, Trial
from latentkit.search.proposing import MOST_LEARNT, _features, _Process, expected_worths, propose

SPACE = {
    "rate": Range(1e-4, 1e-1, log=True),
    "size": Range(2, 64, log=True, is_integer=True),
    "batch": Choice((256, 64, 128)),
    "kind": Choice(("relu", "tanh", (3, 2))),
}


#: Places and figures that get better.
RISING = ((0.1, -110.0), (0.3, -100.0), (0.5, -90.0))


def complete(number: int, value: float, curve: tuple[float, ...] = (), **point) -> Trial:
    marks = {(i + 1) / len(curve): bound for i, bound in enumerate(curve)}
    return Trial(number=number, state="complete", point=point, value=value, curve=marks)


def pruned(number: int, curve: dict[float, float], **point) -> Trial:
    return Trial(number=number, state="pruned", point=point, curve=curve)


def worth(point) -> float:
    """Best at a rate of 0.01, 16 latents, batches of 64 and tanh."""
    rate, size = math.log10(point["rate"]) + 2.0, math.log2(point["size"]) - 4.0
    return -10.0 * rate**2 - size**2 - point["batch"] / 64 - 5.0 * (point["kind"] != "tanh")


@pytest.fixture
def process():
    random = np.random.default_rng(0)
    features = random.random((12, 3))
    return _Process.learnt(features, np.sin(3.0 * features[:, 0]) + features[:, 1]), features


# What trials are worth


def test_a_trial_that_was_ended_early_is_expected_to_gain_as_much_as_the_others():
    done = [complete(0, -90.0, (-120.0, -100.0, -95.0, -92.0)), complete(1, -80.0, (-130.0, -98.0, -85.0, -81.0))]
    found = expected_worths([*done, pruned(2, {0.25: -140.0, 0.5: -110.0})], maximize=True, is_bound=True)
    assert found.tolist() == [-90.0, -80.0, -110.0 + (10.0 + 18.0) / 2]


def test_a_figure_to_minimise_is_turned_and_curves_are_not():
    done = complete(0, 90.0, (-120.0, -95.0))
    found = expected_worths([done, pruned(1, {0.5: -140.0})], maximize=False, is_bound=True)
    assert found.tolist() == [-90.0, -110.0]


@pytest.mark.parametrize(
    ("trial", "is_bound"),
    [
        (pruned(2, {}), True),  # it diverged before the first look
        (pruned(2, {0.5: 7.0}), False),  # its curve shows another figure
        (Trial(number=2, state="failed", point={}), True),
    ],
)
def test_what_tells_nothing_is_worth_as_little_as_the_worst(trial, is_bound):
    done = [complete(0, 3.0, (1.0, 2.0)), complete(1, 5.0, (1.0, 4.0))]
    assert expected_worths([*done, trial], maximize=True, is_bound=is_bound).tolist() == [3.0, 5.0, 3.0]


def test_a_running_trial_is_worth_as_much_as_the_median():
    trials = [complete(i, value) for i, value in enumerate((1.0, 5.0, 6.0))]
    trials.append(Trial(number=3, state="running", point={}, curve={0.05: 1e9}))
    assert expected_worths(trials, maximize=True, is_bound=True)[-1] == 5.0


# The process


def test_the_gradient_of_the_posterior_is_that_of_differences(process):
    found, features = process
    theta = np.random.default_rng(1).normal(0.0, 0.5, features.shape[1] + 1)
    _, gradient = found.log_marginal_likelihood(theta, eval_gradient=True)
    assert gradient == pytest.approx(approx_fprime(theta, found.log_marginal_likelihood, 1e-6), rel=1e-3, abs=1e-3)


def test_the_prior_counts_once(process):
    found, features = process
    theta = found.expected[0] + found.expected[1]  # one standard deviation off, everywhere
    plain = super(_Process, found).log_marginal_likelihood(theta)
    assert found.log_marginal_likelihood(theta) == pytest.approx(plain - 0.5 * (features.shape[1] + 1))


def test_expected_improvement_is_the_mean_of_draws(process):
    found, _ = process
    places = np.random.default_rng(2).random((5, 3))
    mean, spread = found.predict(places, return_std=True)
    spread = np.sqrt(spread**2 - found.kernel_.k2.noise_level)
    quantiles = norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    draws = np.maximum(mean + spread * quantiles[:, None] - found.most, 0.0)
    assert found.expected_improvement(places) == pytest.approx(draws.mean(axis=0), rel=0.02, abs=1e-6)


def test_numbers_have_an_order_and_names_are_as_far_apart_as_ends():
    points = [
        {"rate": 1e-4, "size": 2, "batch": batch, "kind": kind} for batch in (64, 128, 256) for kind in ("relu", (3, 2))
    ]
    features = _features(SPACE, points)
    assert features[::2, 2].tolist() == [0.0, 0.5, 1.0]
    assert np.linalg.norm(features[0] - features[1]) == pytest.approx(1.0)
    ends = _features(SPACE, [points[0], {**points[0], "rate": 1e-1}])
    assert np.linalg.norm(ends[0] - ends[1]) == pytest.approx(1.0)


# What is proposed


def searched(n: int, seed: int, is_pruned: bool = False) -> list[Trial]:
    """Trials of a search, of which each that is behind the first ends after a tenth of its curve if `is_pruned`."""
    trials = [complete(0, -30.0, (-40.0,) * 10, rate=1e-3, size=4, batch=256, kind="relu")]
    for number in range(1, n):
        point = propose(SPACE, trials, maximize=True, is_bound=True, seed=seed + number)
        value = worth(point)
        if is_pruned and value < -30.0:
            trials.append(pruned(number, {0.1: value - 10.0}, **point))
        else:
            trials.append(complete(number, value, (value - 10.0,) * 10, **point))
    return trials


@pytest.mark.parametrize("is_pruned", [False, True])
def test_the_best_point_is_found_sooner_than_by_chance(is_pruned):
    random = np.random.default_rng(0)
    chance = [
        max(worth({name: dimension.at(random.random()) for name, dimension in SPACE.items()}) for _ in range(20))
        for _ in range(200)
    ]
    for seed in (0, 100, 200):
        best = max(trial.value for trial in searched(20, seed, is_pruned) if trial.value is not None)
        assert best > np.quantile(chance, 0.95)
        assert best == pytest.approx(-1.0, abs=0.6)


def test_a_trial_that_was_ended_early_keeps_proposals_away():
    space = {"rate": Range(0.0, 1.0)}
    trials = [complete(i, value, (value - 20.0, value), rate=rate) for i, (rate, value) in enumerate(RISING)]
    further = propose(space, trials, maximize=True, is_bound=True, seed=0)["rate"]
    assert further > 0.55
    ended = pruned(3, {0.5: -150.0}, rate=further)
    assert propose(space, [*trials, ended], maximize=True, is_bound=True, seed=0)["rate"] < further - 0.05


def test_proposals_lie_in_the_space_and_repeat_themselves():
    trials = searched(6, seed=3)
    assert [trial.point for trial in trials] == [trial.point for trial in searched(6, seed=3)]
    assert all(trial.point[name] in dimension for trial in trials for name, dimension in SPACE.items())


def test_no_point_is_tried_twice_while_there_are_others():
    space = {"size": Range(1, 4, is_integer=True), "kind": Choice(("a", "b"))}
    trials = [complete(0, 1.0, size=1, kind="a")]
    for number in range(1, 10):
        point = propose(space, trials, maximize=True, is_bound=True, seed=0)
        trials.append(complete(number, 0.5 * number, **point))
    assert len({tuple(trial.point.values()) for trial in trials[:8]}) == 8


def test_equal_and_huge_figures_are_borne():
    point = {"rate": 1e-2, "size": 16, "batch": 64, "kind": "tanh"}
    equal = [complete(i, 1.0, **{**point, "size": 2 + i}) for i in range(3)]
    assert propose(SPACE, equal, maximize=True, is_bound=True, seed=0).keys() == SPACE.keys()
    huge = [complete(0, -1e300, **point), complete(1, -1.0, **{**point, "rate": 1e-3})]
    assert propose(SPACE, huge, maximize=True, is_bound=True, seed=0).keys() == SPACE.keys()


def test_scales_are_learnt_from_the_latest_trials_and_all_are_known():
    random = np.random.default_rng(0)
    features = random.random((MOST_LEARNT + 20, 2))
    targets = np.where(np.arange(len(features)) < 20, random.normal(size=len(features)), features[:, 0])
    found = _Process.learnt(features, targets)
    assert len(found.X_train_) == len(features)
    assert found.kernel_.k2.noise_level < 0.01 < _Process.learnt(features[:40], targets[:40]).kernel_.k2.noise_level
