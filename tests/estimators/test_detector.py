"""The detector: scikit-learn's laws, planted odd rows and why they are odd, guarantees, bad input."""

# ruff: noqa: NPY002 (the old global state of numpy is what must not move)

from __future__ import annotations

import copy
import random
import warnings
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

from latentkit import GAN, VAE, VQVAE, AnomalyDetector
from latentkit.core.errors import DataError, InvalidParameterError, SchemaMismatchError, UnsupportedOperationError
from latentkit.estimators import detector as ensembles
from latentkit.tasks.detection import PARTS
from tests.estimators.detecting import COLUMNS, animals, digits, impossible, numbers, patched, swapped

#: Checks of scikit-learn that it does not yield by itself, as far as they are for detectors.
EXTRA = (
    "check_dataframe_column_names_consistency",
    "check_inplace_ensure_writeable",
    "check_param_validation",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_f_contiguous_array_estimator",
    "check_outliers_fit_predict",
)


def frame(X: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(X, columns=list(COLUMNS))


@pytest.fixture(scope="module")
def plain() -> AnomalyDetector:
    return AnomalyDetector(random_state=0).fit(frame(numbers(600)))


@pytest.fixture(scope="module")
def strict() -> AnomalyDetector:
    return AnomalyDetector(regime="clean", random_state=0).fit(frame(numbers(600)))


@pytest.fixture(scope="module")
def mixed() -> AnomalyDetector:
    return AnomalyDetector(random_state=0).fit(animals())


@pytest.fixture(scope="module")
def pictured() -> AnomalyDetector:
    inside = VAE(latent_dim=8, encoder=(64,), decoder=(64,), likelihood="gaussian", max_epochs=20, random_state=0)
    return AnomalyDetector(inside, random_state=0).fit(digits())


@pytest.fixture(scope="module")
def clean() -> AnomalyDetector:
    return AnomalyDetector(false_alarm_rate=0.1, calibration_fraction=0.3, random_state=0).fit(numbers(900))


@pytest.fixture
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ensembles learn for a tenth of their steps, where how well they find is not the question."""
    monkeypatch.setattr(ensembles, "fit_ensemble", partial(ensembles.fit_ensemble, n_steps=40))


# scikit-learn


#: Of a moment; the default ensembles are some seventy in all, and among the slow tests.
INSIDE = AnomalyDetector(
    VAE(latent_dim=2, encoder=(8,), decoder=(8,), max_epochs=1, ex_post="none"), regime="contaminated"
)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # scikit-learn's checks warn on purpose
@estimator_checks.parametrize_with_checks([AnomalyDetector()])
def test_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.filterwarnings("ignore")
@estimator_checks.parametrize_with_checks([INSIDE])
def test_scikit_learn_with_a_model_inside(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("check", EXTRA)
@pytest.mark.parametrize(
    "detector", [pytest.param(AnomalyDetector(), marks=pytest.mark.slow, id="ensemble"), pytest.param(INSIDE, id="vae")]
)
def test_the_checks_that_are_not_yielded_pass_too(detector: AnomalyDetector, check: str) -> None:
    getattr(estimator_checks, check)("AnomalyDetector", clone(detector))


@pytest.mark.usefixtures("briefly")
def test_it_works_at_the_end_of_a_pipeline() -> None:
    X = numbers(300)
    pipeline = make_pipeline(StandardScaler(), AnomalyDetector(contamination=0.05, random_state=0)).fit(X)
    assert (pipeline.predict(X) == -1).sum() == 15
    assert pipeline.score_samples(X).shape == (300,)


def test_nothing_warns_in_ordinary_use(plain: AnomalyDetector) -> None:
    X = frame(numbers(20, seed=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain.predict(X), plain.explain(X), plain.confidence(X), plain.drift(X), plain.discover(X)


# The same again


@pytest.mark.usefixtures("briefly")
def test_the_same_seed_gives_the_same_detector_bit_for_bit() -> None:
    first, again = (AnomalyDetector(random_state=0).fit(animals(120)) for _ in range(2))
    new = animals(10, seed=1)
    assert again.score_samples(new).tobytes() == first.score_samples(new).tobytes()
    assert again.explain(new).contributions.tobytes() == first.explain(new).contributions.tobytes()
    assert again.offset_ == first.offset_


@pytest.mark.parametrize("name", ["plain", "mixed", "pictured"])
def test_scores_do_not_depend_on_the_company_bit_for_bit(name: str, request: pytest.FixtureRequest) -> None:
    detector = request.getfixturevalue(name)
    X: Any = {"plain": frame(numbers(60, seed=1)), "mixed": animals(60, seed=1), "pictured": digits(60, start=900)}[
        name
    ]
    take = (lambda places: X.iloc[places]) if hasattr(X, "iloc") else (lambda places: X[places])
    whole = detector.score_samples(X)
    order = np.random.default_rng(0).permutation(60)
    assert detector.score_samples(X).tobytes() == whole.tobytes()
    assert detector.score_samples(take(order)).tobytes() == whole[order].tobytes()
    assert detector.score_samples(take([7])).tobytes() == whole[[7]].tobytes()
    assert np.isfinite(whole).all()


@pytest.mark.usefixtures("briefly")
@pytest.mark.parametrize("random_state", [0, None])
def test_the_users_random_states_are_left_alone(random_state: int | None) -> None:
    before = (random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state())
    detector = AnomalyDetector(random_state=random_state).fit(numbers(40))
    detector.explain(numbers(3)), detector.drift(numbers(9)), detector.calibrate(numbers(200, seed=1))
    assert random.getstate() == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert torch.equal(torch.get_rng_state(), before[2])


def test_frames_and_arrays_are_the_same_rows(plain: AnomalyDetector) -> None:
    X = numbers(50, seed=1)
    with pytest.warns(UserWarning, match="feature names"):
        bare = plain.score_samples(X)
    assert bare.tobytes() == plain.score_samples(frame(X)).tobytes()


# Planted odd rows


@pytest.mark.parametrize(("first", "second"), [(0, 3), (1, 4), (4, 8), (0, 6)])
def test_swapped_columns_are_found_and_named(plain: AnomalyDetector, first: int, second: int) -> None:
    X = numbers(600)
    units = (X - X.mean(0)) / X.std(0)
    apart = np.argsort(-np.abs(units[:, first] - units[:, second]))
    found = plain.explain(frame(np.concatenate([swapped(X, row, first, second) for row in apart[[0, 5, 10, 20]]])))
    usual = -plain.score_samples(frame(X))
    assert ((usual[:, None] > found.scores).mean(0) < 0.01).all(), "near the top, beside rows of training"
    named = [name for (name,) in found.top(1)]
    assert {name[0] for name in named} <= {COLUMNS[first][0], COLUMNS[second][0]}, (
        "one of them, or what it belongs with"
    )


@pytest.mark.parametrize(("first", "second"), [(0, 3), (1, 4), (4, 8), (0, 6)])
def test_a_detector_of_clean_rows_names_both_swapped_columns(strict: AnomalyDetector, first: int, second: int) -> None:
    X = numbers(600)
    units = (X - X.mean(0)) / X.std(0)
    apart = int(np.argmax(np.abs(units[:, first] - units[:, second])))
    found = strict.explain(frame(swapped(X, apart, first, second)))
    assert set(found.top(2)[0]) == {COLUMNS[first], COLUMNS[second]}
    assert found.scores[0] > found.threshold


def test_an_impossible_combination_is_found_and_named(mixed: AnomalyDetector) -> None:
    table = animals()
    odd = impossible(table)
    assert mixed.score_samples(odd)[0] < mixed.score_samples(table).min()
    assert mixed.predict(odd)[0] == -1
    found = mixed.explain(odd)
    assert set(found.top(2)[0]) == {"kind", "skin"}
    assert found.contributions[0, :2].sum() > 0.7 * found.contributions[0].sum()
    assert "kind" in found.sentence(0)


def test_a_corrupted_patch_is_found_and_seen_in_the_heat_map(pictured: AnomalyDetector) -> None:
    new = digits(60, start=1200)
    usual = -pictured.score_samples(new)
    for top, left in ((0, 0), (5, 0), (2, 0)):
        odd = np.stack([patched(image, top, left) for image in new])
        found = pictured.explain(odd)
        assert roc_auc_score(np.r_[np.zeros(60), np.ones(60)], np.r_[usual, found.scores]) > 0.99
        assert found.contributions.shape == (60, 8, 8)
        heat = np.clip(found.contributions, 0, None)
        masses = {(i, j): heat[:, i : i + 3, j : j + 3].sum((1, 2)) for i in range(6) for j in range(6)}
        largest = np.array(list(masses))[np.argmax(list(masses.values()), axis=0)]
        assert (largest == [top, left]).all(1).mean() > 0.9, "of all patches it has the largest mass"
    assert found.columns[:9][-1] == "1,0"
    assert found.counterparts.shape == (60, 8, 8)
    assert found.changes == ()


def test_contributions_and_baseline_are_the_score(plain, mixed, pictured) -> None:
    for detector, X in (
        (plain, frame(numbers(30, seed=2))),
        (mixed, animals(30, seed=2)),
        (pictured, digits(30, start=1300)),
    ):
        found = detector.explain(X)
        total = found.contributions.reshape(30, -1).sum(1) + found.baseline
        np.testing.assert_allclose(total, found.scores, rtol=0, atol=1e-9)
        assert np.array_equal(found.scores, -detector.score_samples(X))
        assert found.threshold == -detector.offset_


def test_what_would_be_normal_is(plain: AnomalyDetector, mixed: AnomalyDetector) -> None:
    X = numbers(600)
    odd = frame(np.concatenate([swapped(X, row, 0, 3) for row in range(40)]))
    for detector, table in ((plain, odd), (mixed, impossible(animals()))):
        found, verdict = detector.explain(table), detector.predict(table)
        assert (verdict == -1).any()
        for row, changes in enumerate(found.changes):
            assert bool(changes) == (verdict[row] == -1)
            other = table.iloc[[row]].copy()
            for column, value, normal in changes:
                given = other[column].iloc[0]
                assert value == (None if pd.isna(given) else given)
                other[column] = [normal]
            assert detector.predict(other)[0] == 1, changes
            if len(changes) > 1:
                almost = table.iloc[[row]].copy()
                for column, _, normal in changes[:-1]:
                    almost[column] = [normal]
                assert detector.predict(almost)[0] == -1, "none is in vain"


@pytest.mark.usefixtures("briefly")
def test_a_cell_that_is_missing_is_told_as_such() -> None:
    table = animals(300, holes=0.0)
    odd = table.head(1).assign(weight=np.nan, kind=None, length=500.0)
    detector = AnomalyDetector(random_state=0).fit(table)
    found = detector.explain(odd)
    assert np.isfinite(found.scores).all()
    assert found.top(1) == [["length"]]
    assert {change.column: change.value for change in found.changes[0]}["length"] == 500.0


# Rates and guarantees


def test_normal_rows_are_flagged_as_rarely_as_was_asked_for(clean: AnomalyDetector) -> None:
    assert clean.is_held_out_
    assert clean.regime_ == "clean"
    assert clean.calibration_.n_rows == 270
    rate = (clean.predict(numbers(4000, seed=5)) == -1).mean()
    assert 0.1 - 3 * 0.0183 < rate < 0.1 + 3 * 0.0183  # the rate of one calibration by 270 rows
    detector, rates = copy.deepcopy(clean), []
    for seed in range(12):
        detector.calibrate(numbers(150, seed=100 + seed), false_alarm_rate=0.1)
        rates.append((detector.predict(numbers(300, seed=200 + seed)) == -1).mean())
    assert np.mean(rates) <= 0.1 + 3 * 0.0301 / np.sqrt(12), "on average at most the rate"
    assert np.mean(rates) > 0.05


def test_p_values_of_normal_rows_are_uniform_and_of_odd_ones_small(clean: AnomalyDetector) -> None:
    p = clean.p_values(numbers(2000, seed=6))
    for alpha in (0.05, 0.2, 0.5):
        assert abs((p <= alpha).mean() - alpha) < 0.09
    odd = np.concatenate([swapped(numbers(50), row, 0, 3) for row in range(50)]) * np.tile([5.0, 1, 1], 3)
    assert np.median(clean.p_values(odd)) == pytest.approx(1 / 271)
    assert np.array_equal(clean.probability(odd), 1 - clean.p_values(odd))
    confidence = clean.confidence(odd)
    assert ((confidence >= 0) & (confidence <= 1)).all()
    assert np.median(confidence) > 0.95


def test_few_of_what_is_discovered_is_normal(clean: AnomalyDetector) -> None:
    detector, false, found = copy.deepcopy(clean), [], []
    for seed in range(10):
        detector.calibrate(numbers(300, seed=600 + seed), false_alarm_rate=0.1)
        normal = numbers(180, seed=300 + seed)
        odd = numbers(20, seed=400 + seed)
        odd[:, 0] += np.where(odd[:, 0] > 0, -6.0, 6.0)
        called = detector.discover(np.concatenate([normal, odd]), false_discovery_rate=0.1)
        false.append(called[:180].sum() / max(1, called.sum()))
        found.append(called[180:].mean())
    assert np.mean(false) < 0.1 * 180 / 200 + 3 * 0.08 / np.sqrt(10)
    assert np.mean(found) > 0.9


@pytest.mark.usefixtures("briefly")
@pytest.mark.parametrize("share", [0.02, 0.5])
def test_contamination_is_the_share_that_is_flagged(share: float) -> None:
    X = numbers(150)
    detector = AnomalyDetector(contamination=share, random_state=0).fit(X)
    assert (detector.predict(X) == -1).sum() == round(share * 150)
    assert detector.regime_ == "contaminated"
    assert detector.parts_ == PARTS["contaminated"]


def test_odd_rows_among_those_of_fit_are_found() -> None:
    X = numbers(600)
    X[:30] += np.tile([6.0, -120.0, 0.06], 3) * np.random.default_rng(0).choice([-1, 1], (30, 9))
    detector = AnomalyDetector(contamination=0.05, trim=0.1, random_state=0)
    flagged = detector.fit_predict(X)
    assert (flagged[:30] == -1).mean() > 0.9
    assert np.array_equal(flagged, detector.predict(X))


@pytest.mark.usefixtures("briefly")
def test_the_regime_follows_from_what_was_said(plain: AnomalyDetector, clean: AnomalyDetector) -> None:
    assert (plain.regime_, plain.parts_, plain.is_held_out_) == ("mixed", PARTS["mixed"], False)
    assert clean.parts_ == PARTS["clean"]
    said = AnomalyDetector(regime="clean", parts=["elbo", "nearest"], random_state=0).fit(numbers(60))
    assert (said.regime_, said.parts_) == ("clean", ("elbo", "nearest"))
    assert set(said.score_parts(numbers(3))) == {"elbo", "nearest"}


def test_a_calibration_by_labels_has_the_best_f1_on_the_other_half(plain: AnomalyDetector) -> None:
    detector = copy.deepcopy(plain)
    X = numbers(400, seed=7)
    X[:60, 0] += 5.0
    odd = np.arange(400) < 60
    detector.calibrate(frame(X), odd)
    assert detector.calibration_.n_rows == 200
    assert detector.calibration_.f1 > 0.85
    flagged = detector.predict(frame(X)) == -1
    assert 2 * (flagged & odd).sum() / (flagged.sum() + odd.sum()) > 0.85
    for labels in (odd.astype(int), np.where(odd, -1, 1), odd.astype(float)):
        again = copy.deepcopy(plain).calibrate(frame(X), labels)
        assert again.offset_ == detector.offset_
    quality = detector.evaluate(frame(X), odd)
    assert quality.auroc == pytest.approx(roc_auc_score(odd, -detector.score_samples(frame(X))))
    assert quality.auroc > 0.95


def test_a_calibration_without_labels_takes_the_rows_for_a_reference(plain: AnomalyDetector) -> None:
    detector = copy.deepcopy(plain)
    fresh = frame(numbers(300, seed=8))
    detector.calibrate(fresh)
    assert detector.is_held_out_
    assert np.array_equal(detector.reference_, np.sort(-detector.score_samples(fresh)))
    assert (detector.predict(frame(numbers(2000, seed=9))) == -1).mean() < 0.03
    assert detector.calibration_.f1 is None


def test_drift_is_found_where_there_is_some_and_rarely_where_there_is_none(plain: AnomalyDetector) -> None:
    alarms = [plain.drift(frame(numbers(100, seed=500 + s)), false_alarm_rate=0.1).has_drifted for s in range(20)]
    assert sum(alarms) <= 6, "a rate of 0.1; more in one of 500 cases"
    moved = numbers(200, seed=10)
    moved[:, 4] += 20.0
    drift = plain.drift(frame(moved))
    assert drift.has_drifted
    assert drift.columns[0].name == "b2"
    torn = numbers(200, seed=11)
    torn[:, 4] = np.random.default_rng(0).permutation(torn[:, 4])
    assert plain.drift(frame(torn)).has_drifted, "each column is as it was, but they do not go together"


# Models inside


@pytest.mark.usefixtures("briefly")
def test_a_frozen_estimator_is_taken_as_it_is() -> None:
    X = numbers(300)
    vae = VAE(max_epochs=5, random_state=0).fit(X)
    weights = {name: tensor.clone() for name, tensor in vae.model_.state_dict().items()}
    detector = AnomalyDetector(FrozenEstimator(vae), random_state=0).fit(X)
    assert detector.estimator_ is vae
    assert all(torch.equal(vae.model_.state_dict()[name], weights[name]) for name in weights)
    assert np.isfinite(detector.score_samples(X)).all()
    with pytest.raises(NotFittedError):
        AnomalyDetector(FrozenEstimator(VAE())).fit(X)
    given = VAE(max_epochs=1)
    AnomalyDetector(given, random_state=0).fit(X)
    assert not hasattr(given, "model_"), "a copy is fitted"


def test_a_model_of_tables_stands_inside() -> None:
    table = animals(200)
    inside = VAE(max_epochs=10, random_state=0)
    detector = AnomalyDetector(inside, parts=["residuals", "exemplars", "elbo"], random_state=0).fit(table)
    found = detector.explain(impossible(table))
    assert np.isfinite(found.contributions).all()
    np.testing.assert_allclose(found.contributions.sum(1) + found.baseline, found.scores, rtol=0, atol=1e-9)
    assert found.contributions.shape == (1, 5)


@pytest.mark.parametrize("inside", [GAN(max_epochs=1), VQVAE(max_epochs=1)])
def test_models_without_vectors_for_codes_are_refused(inside: Any) -> None:
    with pytest.raises(UnsupportedOperationError, match="cannot stand inside a detector.*or estimator='auto'"):
        AnomalyDetector(inside).fit(numbers(20))


def test_models_under_conditions_are_refused() -> None:
    X = numbers(60)
    vae = VAE(max_epochs=1, random_state=0).fit(X, condition=np.arange(60) % 2)
    with pytest.raises(UnsupportedOperationError, match="fitted under conditions"):
        AnomalyDetector(FrozenEstimator(vae)).fit(X)


# Hard and bad input


@pytest.mark.usefixtures("briefly")
def test_few_rows_are_enough_and_one_is_not() -> None:
    X = numbers(5)
    assert np.isfinite(AnomalyDetector(random_state=0).fit(X).score_samples(X)).all()
    with pytest.raises((DataError, InvalidParameterError), match=r"1 (row|sample|example)"):
        AnomalyDetector().fit(X[:1])


@pytest.mark.usefixtures("briefly")
def test_constant_and_duplicate_columns_are_no_trouble() -> None:
    X = numbers(100)
    X = np.c_[X, np.full(100, 7.0), X[:, 0], X[:, 0]]
    detector = AnomalyDetector(random_state=0).fit(X)
    assert np.isfinite(detector.score_samples(X)).all()
    odd = X[:1].copy()
    odd[0, 9] = 1e6
    assert detector.predict(odd)[0] == -1
    assert detector.explain(odd).top(1) == [["9"]]


@pytest.mark.usefixtures("briefly")
def test_rows_that_are_all_the_same_have_finite_scores() -> None:
    X = np.full((30, 3), 2.5)
    detector = AnomalyDetector(random_state=0).fit(X)
    assert np.isfinite(detector.score_samples(X)).all()
    assert (detector.predict(X) == 1).all()
    assert detector.predict(X[:1] + 3.0)[0] == -1
    assert np.isfinite(detector.explain(X[:2] + 3.0).contributions).all()


@pytest.mark.usefixtures("briefly")
def test_missing_numbers_are_for_the_ensemble_alone(plain: AnomalyDetector) -> None:
    X = numbers(30, seed=1)
    X[::3, 2] = np.nan
    assert np.isfinite(plain.score_samples(frame(X))).all()
    X[0] = np.nan
    assert np.isfinite(plain.score_samples(frame(X))).all()
    assert np.isfinite(AnomalyDetector(random_state=0).fit(X).score_samples(X)).all()
    with pytest.raises(DataError, match="NaN|missing"):
        AnomalyDetector(VAE(max_epochs=1)).fit(X)


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_infinity_is_refused_by_name(plain: AnomalyDetector, bad: float) -> None:
    X = numbers(30, seed=1)
    X[3, 2] = bad
    with pytest.raises(DataError, match="inf"):
        AnomalyDetector().fit(X)
    with pytest.raises(DataError, match="inf"):
        plain.score_samples(frame(X))


def test_far_numbers_are_odd_and_finite(plain: AnomalyDetector) -> None:
    X = numbers(4, seed=1)
    X[:, 0] = [1e6, -1e12, 1e30, 1e300]
    scores = plain.score_samples(frame(X))
    assert np.isfinite(scores).all()
    assert (plain.predict(frame(X)) == -1).all()


def test_categories_not_seen_before_are_odd(mixed: AnomalyDetector) -> None:
    usual = animals(50, seed=3, holes=0.0).head(1)
    new = usual.assign(kind="yak")
    assert mixed.score_samples(new)[0] < mixed.score_samples(usual)[0]
    found = mixed.explain(new)
    assert found.top(1)[0][0] in {"kind", "skin"}
    assert np.isfinite(found.contributions).all()


def test_other_schemas_are_refused(plain: AnomalyDetector, mixed: AnomalyDetector, pictured: AnomalyDetector) -> None:
    with pytest.raises(ValueError, match="feature names"):
        plain.score_samples(frame(numbers(3)).rename(columns={"a1": "z"}))
    with pytest.raises(ValueError, match="feature names"):
        plain.score_samples(frame(numbers(3)).iloc[:, :4])
    with pytest.raises((SchemaMismatchError, ValueError), match="skin"):
        mixed.score_samples(animals(3).drop(columns="skin"))
    with pytest.raises(SchemaMismatchError, match="8"):
        pictured.score_samples(np.zeros((3, 9, 9), np.float32))
    with pytest.raises(UnsupportedOperationError, match="drift is tested by columns"):
        pictured.drift(digits(5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"contamination": 0.0}, "'contamination' parameter|contamination"),
        ({"contamination": 0.51}, "contamination"),
        ({"contamination": "some"}, "contamination"),
        ({"regime": "dirty"}, "regime"),
        ({"parts": []}, "at least one part"),
        ({"parts": ["nearst"]}, "unknown score part 'nearst'.*nearest"),
        ({"false_alarm_rate": 1.0}, "false_alarm_rate"),
        ({"calibration_fraction": 1.0}, "calibration_fraction"),
        ({"trim": 0.6}, "trim"),
        ({"estimator": "vae"}, "estimator must be 'auto' or an estimator"),
        ({"contamination": 0.1, "false_alarm_rate": 0.1}, "both say where to cut. Give one of them"),
        ({"regime": "contaminated", "false_alarm_rate": 0.1}, "guaranteed by held-out rows that are normal"),
        ({"estimator": VAE(max_epochs=1), "trim": 0.1}, "trim=0.1 is for estimator='auto'"),
        ({"estimator": VAE(max_epochs=1), "kinds": {"a": "count"}}, "kinds=.* is for estimator='auto'"),
        ({"estimator": VAE(max_epochs=1), "na_values": "?"}, "na_values=.* is for estimator='auto'"),
        ({"calibration_fraction": 0.99}, "leaves 0 to learn from; at least 2"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        AnomalyDetector(**settings).fit(numbers(30))


def test_calibrations_that_cannot_be_are_refused(plain: AnomalyDetector) -> None:
    X, odd, before = frame(numbers(30, seed=1)), np.arange(30) < 5, plain.offset_
    with pytest.raises(InvalidParameterError, match="leave false_alarm_rate out"):
        plain.calibrate(X, odd, false_alarm_rate=0.1)
    with pytest.raises(DataError, match="from 99 held-out normal rows on; there are 30"):
        copy.deepcopy(plain).calibrate(X, false_alarm_rate=0.01)
    with pytest.raises(DataError, match=r"one label a row, shape \(30,\); got shape \(29,\)"):
        plain.calibrate(X, odd[1:])
    with pytest.raises(DataError, match="got 'fraud', 'ok'. Compare first"):
        plain.calibrate(X, np.where(odd, "fraud", "ok"))
    with pytest.raises(DataError, match="got 0, 1, 2"):
        plain.evaluate(X, np.arange(30) % 3)
    with pytest.raises(DataError, match="labels of both kinds"):
        plain.calibrate(X, np.zeros(30, bool))
    assert plain.offset_ == before


def test_a_failed_calibration_leaves_the_detector_as_it_was(plain: AnomalyDetector) -> None:
    detector = copy.deepcopy(plain)
    with pytest.raises(DataError, match="held-out normal rows"):
        detector.calibrate(frame(numbers(30, seed=1)), false_alarm_rate=0.01)
    assert (detector.is_held_out_, detector.offset_) == (plain.is_held_out_, plain.offset_)
    assert np.array_equal(detector.reference_, plain.reference_)


def test_unfitted_detectors_say_so() -> None:
    X = numbers(5)
    for call in ("score_samples", "predict", "explain", "p_values", "drift", "calibrate", "score_parts", "confidence"):
        with pytest.raises(NotFittedError):
            getattr(AnomalyDetector(), call)(X)
    with pytest.raises(NotFittedError):
        AnomalyDetector().save("nowhere")


@pytest.mark.usefixtures("briefly")
def test_a_rate_too_low_for_the_rows_is_refused() -> None:
    with pytest.raises(DataError, match="from 999 held-out normal rows on; there are 9"):
        AnomalyDetector(false_alarm_rate=0.001, random_state=0).fit(numbers(30))


def test_a_table_of_nothing_to_compare_is_refused() -> None:
    table = pd.DataFrame({"same": ["x"] * 30, "name": [f"id-{i}" for i in range(30)]})
    with pytest.raises(DataError, match="no column to learn from"):
        AnomalyDetector().fit(table)
