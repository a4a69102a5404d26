"""The search: it repeats itself, it prunes, it exhausts a grid, it refuses, and its goals order good and bad models."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.datasets import load_wine

from latentkit import GAN, VAE, Autoencoder
from latentkit.core.errors import DataError, InvalidParameterError, UnsupportedOperationError
from latentkit.data import read
from latentkit.search import Choice, Study, Trial, choose_latent_dim, goals, prepare, tune
from latentkit.search.goals import recombined
from latentkit.search.tuning import smallest

X = load_wine().data
QUICK = {"max_epochs": 3, "encoder": (8,), "decoder": (8,), "batch_size": 128, "random_state": 0}


def quick(**options):
    return VAE(**{**QUICK, **options})


def small(estimator=None, data=X, **options):
    defaults = {"trials": 4, "search": {"latent_dim": (1, 8), "learning_rate": (1e-4, 1e-1)}, "only": True}
    return tune(quick() if estimator is None else estimator, data, **{**defaults, **options})


@pytest.fixture(scope="module")
def study():
    return small(trials=6)


def test_the_best_trial_is_the_best_estimator(study):
    done = [trial for trial in study.trials_ if trial.state == "complete"]
    assert study.best_score_ == max(trial.value for trial in done)
    best = study.best_estimator_
    assert {name: getattr(best, name) for name in study.best_params_} == dict(study.best_params_)
    rows = X[study.validation_rows_]
    assert best.score(rows) == pytest.approx(study.best_score_, rel=1e-6)


def test_the_first_trial_stands_at_the_defaults(study):
    assert study.trials_[0].point == dict(study.start)


def test_the_best_estimator_samples_from_a_prior_that_was_fitted(study):
    assert study.best_estimator_.ex_post_prior_ is not None
    assert study.best_estimator_.sample(3).shape == (3, X.shape[1])


def test_equal_seeds_are_equal_studies(study):
    again = small(trials=6)
    assert [(t.point, t.state, t.value) for t in again.trials_] == [(t.point, t.state, t.value) for t in study.trials_]


@pytest.mark.slow
def test_another_seed_is_another_study(study):
    other = small(estimator=quick(random_state=1), trials=6)
    assert [t.point for t in other.trials_][1:] != [t.point for t in study.trials_][1:]


def test_parts_do_not_overlap_and_test_rows_are_never_seen():
    poisoned = X.copy()
    known = small(trials=1)
    poisoned[known.test_rows_] = 1e9
    assert small(data=poisoned, trials=1).trials_[0].value == known.trials_[0].value
    assert not set(known.test_rows_) & set(known.validation_rows_)
    assert len(known.test_rows_) == round(0.1 * len(X))
    assert len(small(trials=1, test_fraction=0.0).test_rows_) == 0


def test_trials_that_fall_behind_are_ended_early():
    search = {"learning_rate": Choice((1e-2, 2e-2, 3e-2, 1e-7))}
    found = small(quick(max_epochs=10, batch_size=32), trials=9, search=search, sampler="random", pruner="median")
    pruned = [trial for trial in found.trials_ if trial.state == "pruned"]
    assert 1e-7 in {trial.point["learning_rate"] for trial in pruned}
    assert all(trial.epochs < 10 and max(trial.curve) < 1.0 for trial in pruned)


@pytest.mark.slow
def test_nothing_is_ended_early_without_a_pruner():
    found = small(quick(max_epochs=6), trials=6, search={"learning_rate": Choice((1e-2, 1e-7))}, pruner="none")
    assert found.count("complete") == 6


def test_trials_of_other_objectives_are_compared_by_one_bound():
    search = {"beta": Choice((1.0, 50.0))}
    unmoved = quick(max_epochs=1, learning_rate=1e-12)
    first, second = small(unmoved, trials=2, search=search, sampler="grid", pruner="none").trials_
    assert dict(first.curve) == pytest.approx(dict(second.curve), rel=1e-5)  # their own objectives differ


def test_a_grid_is_searched_to_its_end_and_no_further():
    search = {"latent_dim": [1, 2], "depth": Choice((1, 2))}
    found = tune(
        VAE(max_epochs=2, random_state=0), X, trials=50, search=search, only=True, sampler="grid", pruner="none"
    )
    points = [tuple(trial.point.values()) for trial in found.trials_]
    assert sorted(points) == [(1, 1), (1, 2), (2, 1), (2, 2)]


@pytest.mark.parametrize(
    "sampler", ["gp", "qmc", *(pytest.param(sampler, marks=pytest.mark.slow) for sampler in ("tpe", "random"))]
)
def test_every_sampler_searches(sampler):
    found = small(quick(max_epochs=1), trials=5, sampler=sampler)
    assert len({tuple(trial.point.values()) for trial in found.trials_}) == 5


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["hyperband", "halving"])
def test_every_pruner_prunes(pruner):
    search = {"learning_rate": Choice((1e-2, 3e-2, 1e-7))}
    found = small(quick(max_epochs=10), trials=9, search=search, sampler="random", pruner=pruner)
    assert found.count("pruned") >= 1


def test_a_trial_that_waits_to_be_tried_once_more_is_not_yet_one():
    ready = prepare(quick(), X, trials=4, search={"latent_dim": (1, 8)}, only=True)
    ready._finish(ready._ask(), "failed", 0.0, {"why": "interrupted"})
    assert [trial.state for trial in ready.result().trials_] == ["failed"]


def test_the_time_ends_a_search():
    found = small(trials=10_000, time=1.0)
    assert 1 <= len(found.trials_) < 1000


def test_a_trial_that_diverges_counts_and_says_why():
    search = {"learning_rate": Choice((1e-3, 1e30))}
    found = small(quick(optimizer="sgd"), trials=2, search=search, sampler="grid")
    assert "nan" in next(trial.why for trial in found.trials_ if trial.state == "pruned")
    assert found.best_params_ == {"learning_rate": 1e-3}


def test_a_combination_that_cannot_be_is_a_failed_trial():
    search = {"free_bits": Choice((0.0, 0.1)), "objective": Choice(("elbo", "iwae"))}
    found = small(quick(max_epochs=1), trials=4, search=search, sampler="grid", pruner="none")
    failed = [trial for trial in found.trials_ if trial.state == "failed"]
    assert [trial.point for trial in failed] == [{"free_bits": 0.1, "objective": "iwae"}]
    assert "free" in failed[0].why


def test_settings_that_no_trial_can_have_are_told_at_once():
    with pytest.raises(InvalidParameterError, match="bernoulli"):
        small(quick(likelihood="bernoulli"))


def test_importances_find_what_matters():
    search = {"learning_rate": (1e-6, 1e-1), "dropout": (0.0, 0.01)}
    found = small(quick(max_epochs=4), trials=8, search=search, sampler="random", pruner="none")
    assert found.importances_["learning_rate"] > 0.6
    assert sum(found.importances_.values()) == pytest.approx(1.0)


def test_importances_count_trials_that_were_ended_early():
    search = {"learning_rate": Choice((1e-2, 2e-2, 1e-7, 2e-7)), "dropout": (0.0, 0.01)}
    found = small(quick(max_epochs=10, batch_size=32), trials=8, search=search, sampler="random", pruner="median")
    assert found.count("pruned") >= 3
    assert found.count("complete") <= 5
    assert found.importances_["learning_rate"] > 0.6


# Goals


def prepared(goal, data, estimator=None):
    given = quick() if estimator is None else estimator
    return prepare(given, data, goal=goal, search={"dropout": (0.0, 0.5)}, only=True, random_state=0)


@pytest.fixture(scope="module")
def good_and_poor():
    random = np.random.default_rng(0)
    data = random.normal(size=(300, 1)) + random.normal(size=(300, 6)) / 4
    options = {"latent_dim": 2, "encoder": (16,), "decoder": (16,), "random_state": 0}
    good = VAE(max_epochs=30, learning_rate=0.01, **options).fit(data)
    return data, good, VAE(max_epochs=1, learning_rate=1e-6, **options).fit(data)


@pytest.mark.parametrize(
    "goal", ["detect", "nll", *(pytest.param(goal, marks=pytest.mark.slow) for goal in ("samples", "impute"))]
)
def test_a_goal_prefers_a_model_that_has_learnt(goal, good_and_poor):
    data, *models = good_and_poor
    judge = prepared(goal, data).judge
    good, poor = (judge.measure(model) for model in models)
    sign = 1.0 if goals[goal].direction == "maximize" else -1.0
    assert sign * good.value > sign * poor.value
    assert good.how


def test_bits_count_the_model():
    digits = read("digits").data[:200].astype(np.uint8)
    found = []
    for width in (4, 256):
        vae = VAE(latent_dim=2, encoder=(width,), decoder=(width,), max_epochs=1, random_state=0)
        ready = prepared("compress", digits, vae)
        found.append(ready.judge.measure(vae.fit(ready.dataset)))
    assert found[1].value > found[0].value
    assert "bytes of model" in found[0].how


def test_known_odd_rows_are_judged_by_and_not_learnt():
    rng = np.random.default_rng(0)
    data = np.concatenate([rng.normal(size=(200, 4)), 9.0 + rng.normal(size=(40, 4))])
    odd = np.arange(240) >= 200
    found = tune(quick(max_epochs=10), data, odd, goal="detect", trials=1, search={"latent_dim": (1, 2)}, only=True)
    assert found.best_score_ > 0.99
    assert not odd[found.validation_rows_].any()
    assert "labelled as odd" in found.best_trial_.how


@pytest.mark.slow
def test_tables_are_judged_by_every_goal_but_bits(adult_like):
    vae = VAE(max_epochs=1, random_state=0).fit(adult_like)
    for goal in ("impute", "samples", "detect", "nll"):
        measured = prepared(goal, adult_like, VAE(max_epochs=1)).judge.measure(vae)
        assert math.isfinite(measured.value), goal


@pytest.fixture
def adult_like():
    import pandas as pd

    rng = np.random.default_rng(0)
    age = rng.integers(18, 80, 150)
    return pd.DataFrame({"age": age, "sex": rng.choice(["F", "M"], 150), "job": np.where(age > 40, "old", "young")})


def test_rows_put_together_keep_their_cells():
    ready = prepared("detect", X)
    rows = X[:50]
    mixed = recombined(ready.estimator.schema_, rows, seed=0)
    for column in range(X.shape[1]):
        assert set(np.round(mixed[:, column], 4)) <= set(np.round(rows[:, column], 4))
    changed = (np.abs(mixed - rows) > 1e-6).mean(axis=1)
    assert 0.3 < changed.mean() < 0.6


def test_texts_put_together_begin_as_one_and_end_as_another():
    ready = prepared("detect", TEXTS, VAE(max_epochs=1))
    texts = ["a b c d", "e f g h"]
    assert recombined(ready.estimator.schema_, texts, seed=0) == ["a b g h", "e f c d"]


@pytest.mark.slow
def test_texts_are_tuned():
    found = tune(VAE(max_epochs=1, random_state=0), TEXTS, trials=2)
    assert found.count("complete") == 2


TEXTS = [
    f"the {a} {b} today" for a in ("cat", "dog", "bird", "cow") for b in ("sat", "ran", "ate", "slept", "sang")
] * 6


@pytest.mark.parametrize(
    ("estimator", "goal", "message"),
    [
        (GAN(), "nll", "has no encoder"),
        (Autoencoder(), "nll", "no bound on log p"),
        (VAE(), "compress", "bits are counted for a VAE of rows or images of whole values"),
        (GAN(), "impute", "cells are hidden in rows"),
        (VAE(epsilon=3.0), "nll", "what epsilon promises would not hold"),
    ],
)
def test_goals_that_cannot_be_are_refused(estimator, goal, message):
    with pytest.raises(UnsupportedOperationError, match=message):
        tune(
            estimator.set_params(max_epochs=1),
            X,
            goal=goal,
            trials=1,
            search={"learning_rate": (1e-4, 1e-2)},
            only=True,
        )


def test_samples_of_texts_take_too_long_for_trials():
    with pytest.raises(UnsupportedOperationError, match="too long for a trial"):
        tune(VAE(max_epochs=1), TEXTS, goal="samples", trials=1)


def test_a_member_without_a_bound_is_tuned_for_what_it_has():
    found = tune(
        Autoencoder(max_epochs=2, random_state=0),
        X,
        goal="impute",
        trials=2,
        search={"latent_dim": (1, 4)},
        only=True,
    )
    assert found.count("complete") == 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"goal": "speed"}, InvalidParameterError, "goal must be one of"),
        ({"sampler": "tpee"}, InvalidParameterError, "Did you mean 'tpe'"),
        ({"pruner": "axe"}, InvalidParameterError, "pruner must be one of"),
        ({"trials": 0}, InvalidParameterError, "trials must be an integer of at least 1"),
        ({"test_fraction": 1.0}, InvalidParameterError, "test_fraction must be"),
        ({"search": {"latent_dmi": (1, 2)}}, InvalidParameterError, "Did you mean 'latent_dim'"),
        ({"data": X[:20]}, DataError, "at least 10 are needed"),
        ({"goal": "detect", "y": np.zeros(178, bool)}, DataError, "are labelled as odd"),
    ],
)
def test_bad_input_is_told(options, error, message):
    with pytest.raises(error, match=message):
        small(**options)


def test_other_estimators_have_their_own_searches():
    from sklearn.decomposition import PCA

    with pytest.raises(InvalidParameterError, match="scikit-learn's own searches"):
        tune(PCA(), X)


@pytest.mark.slow
def test_the_smallest_latent_size_within_an_error_of_the_best_is_chosen():
    values = {1: -30.0, 2: -20.3, 4: -20.0, 8: -20.1}
    trials = [
        Trial(number=n, state="complete", point={"latent_dim": dim}, value=value, standard_error=0.4)
        for n, (dim, value) in enumerate(values.items())
    ]
    known = {name: getattr(small(trials=1), name) for name in ("space", "start", "budget", "best_estimator_")}
    study = Study(
        goal="nll",
        figure="bound",
        unit="nats",
        direction="maximize",
        trials_=trials,
        best_params_={},
        validation_rows_=np.arange(3),
        test_rows_=np.arange(0),
        **known,
    )
    assert smallest(study) == 2


def test_a_latent_size_is_chosen_among_those_that_are_given():
    assert choose_latent_dim(quick(max_epochs=1), X, dims=[1, 3]) in (1, 3)
