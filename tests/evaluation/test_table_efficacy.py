from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import r2_score, roc_auc_score, root_mean_squared_error

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import table_learners, train_synthetic_test_real
from latentkit.evaluation.table_efficacy import _class_scores, _number_scores
from tests.evaluation.mixed_rows import rows, shuffled, table

#: Trees of many classes take seconds; those of numbers and of few classes show the same.
SLOWLY = {("job", "boosting"), ("job", "forest")}


@pytest.mark.parametrize(
    ("target", "learner"),
    [
        pytest.param(target, learner, marks=pytest.mark.slow if (target, learner) in SLOWLY else [])
        for target, learner in itertools.product(("job", "pay"), table_learners)
    ],
)
def test_every_learner_learns_from_good_rows_and_not_from_shuffled_ones(learner, target) -> None:
    train, test = rows(250, 0), rows(400, 1)
    good = train_synthetic_test_real(train, rows(250, 2), test, target=target, learners=[learner])
    bad = train_synthetic_test_real(train, shuffled(train), test, target=target, learners=[learner])
    known = 400 - int(np.isnan(test.column(target)).sum())
    assert [score.measure for score in good] == (["AUC"] if target == "job" else ["R2", "RMSE"])
    for fine, poor in zip(good, bad, strict=True):
        sign = -1 if fine.measure == "RMSE" else 1
        assert poor.real == fine.real
        assert abs(fine.synthetic - fine.real) < 0.2 * abs(fine.real)
        assert sign * (fine.synthetic - poor.synthetic) > 0.15
        assert fine.n_test == known
        assert f"{learner} learner of '{target}', 2" in fine.computed_with
    assert good == train_synthetic_test_real(train, rows(250, 2), test, target=target, learners=[learner])


class Told:
    """A learner that says what it was given, whatever the rows."""

    def __init__(self, answer) -> None:
        self.answer = answer

    def fit(self, x, y):
        return self

    def predict(self, x):
        return self.answer

    predict_proba = predict


def test_the_measures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 60)
    p = rng.dirichlet([1, 1, 1], 60)
    x = np.zeros((60, 1))
    expected = roc_auc_score(y, p, multi_class="ovr")
    assert _class_scores(Told(p), x, y, x, y)["AUC"] == pytest.approx(expected)
    two = np.where(y == 0, 0, 5)
    expected = roc_auc_score(two, p[:, 1])
    given = np.column_stack((1 - p[:, 1], p[:, 1]))
    assert _class_scores(Told(given), x, two, x, two)["AUC"] == pytest.approx(expected)
    # a class that the learner never saw is guessed
    seen = np.where(y == 0, 1, y)
    areas = [roc_auc_score(y == label, given[:, label - 1]) for label in (1, 2)]
    assert _class_scores(Told(given), x, seen, x, y)["AUC"] == pytest.approx(np.mean([*areas, 0.5]))
    assert _class_scores(Told(given), x, np.zeros(60), x, y)["AUC"] == 0.5
    numbers = rng.normal(size=60)
    scores = _number_scores(Told(numbers + 0.5), x, numbers, x, numbers)
    assert scores["R2"] == pytest.approx(r2_score(numbers, numbers + 0.5))
    assert scores["RMSE"] == pytest.approx(root_mean_squared_error(numbers, numbers + 0.5))


@pytest.mark.parametrize(
    "learner", [pytest.param(name, marks=pytest.mark.slow if name == "forest" else []) for name in table_learners]
)
def test_columns_of_one_kind_of_many_categories_or_without_cells_are_no_obstacle(learner) -> None:
    rng = np.random.default_rng(0)

    def sample(columns, kinds):
        return table(np.column_stack(columns), kinds)

    y = rng.integers(0, 2, 600).astype(float)
    many = 2.0 * rng.integers(0, 400, 600) + y
    for columns, kinds, least in (
        ((rng.normal(size=600) + 3 * y, y), [False, True], 0.8),
        ((many, y), [True, True], 0.4),  # most categories occur once
        ((np.full(600, np.nan), y + rng.integers(0, 2, 600), y), [False, True, True], 0.7),
        ((np.full(600, np.nan), y + rng.integers(0, 2, 600), y), [True, False, True], 0.7),
    ):
        given = sample(columns, kinds)
        holes = given.take(np.arange(300, 600))
        holes.values[::7, 0] = np.nan
        (score,) = train_synthetic_test_real(given, given, holes, target=given.names[-1], learners=[learner])
        assert score.real > least


@pytest.mark.parametrize(
    "learner", [pytest.param(name, marks=pytest.mark.slow if name == "boosting" else []) for name in table_learners]
)
def test_classes_of_few_rows_do_not_lead_astray(learner) -> None:
    rng = np.random.default_rng(0)
    sizes = [1500, 700, 300, 40, 8, 3, 2, 1]
    label = np.repeat(np.arange(len(sizes)), sizes)
    values = [
        np.column_stack([label + 0.2 * rng.normal(size=len(label)), rng.normal(size=(len(label), 3)), label])
        for _ in range(2)
    ]
    train, test = (table(part, [False] * 4 + [True], ("a", "b", "c", "d", "e")) for part in values)
    (score,) = train_synthetic_test_real(train, train, test, target="e", learners=[learner])
    assert score.real > 0.95


def test_wrong_input_is_named() -> None:
    train = rows(60, 0)
    with pytest.raises(InvalidParameterError, match="unknown table learner 'forrest'.*Did you mean 'forest'"):
        train_synthetic_test_real(train, train, train, target="job", learners=["forrest"])
    with pytest.raises(InvalidParameterError, match="no column 'jobs'"):
        train_synthetic_test_real(train, train, train, target="jobs")
    alone = table(np.zeros((9, 1)), [False])
    with pytest.raises(InvalidParameterError, match="no column beside 'age'"):
        train_synthetic_test_real(alone, alone, alone, target="age")
    unknown = train.take(np.arange(60))
    unknown.values[1:, 2] = np.nan
    with pytest.raises(InvalidParameterError, match="synthetic must have at least 2 rows in which 'job'"):
        train_synthetic_test_real(train, unknown, train, target="job")
    same = train.take(train.column("job") == 0)
    with pytest.raises(InvalidParameterError, match="at least 2 classes of 'job'"):
        train_synthetic_test_real(train, train, same, target="job")
