"""The imputer: scikit-learn's laws, pipelines, mixed columns, other marks of what is missing."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from latentkit import VAE
from latentkit.core.errors import DataError, InvalidParameterError, SchemaMismatchError
from latentkit.estimators import TableImputer

pd = pytest.importorskip("pandas")


@parametrize_with_checks([TableImputer(VAE(2, encoder=(8,), decoder=(8,), max_epochs=1), random_state=0)])
def test_scikit_learn(estimator, check) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    kind = rng.choice(["cat", "dog", "owl"], 600)
    weight = np.select([kind == "cat", kind == "dog"], [4.0, 20.0], 1.0) * rng.lognormal(0, 0.1, 600)
    frame = pd.DataFrame({"kind": kind, "weight": weight.round(2), "legs": np.where(kind == "owl", 2, 4)})
    holes = frame.copy()
    holes.loc[rng.random(600) < 0.2, "kind"] = None
    holes.loc[rng.random(600) < 0.2, "weight"] = np.nan
    return frame, holes


def test_mixed_columns_are_filled_and_the_rest_stays(table) -> None:
    frame, holes = table
    imputer = TableImputer(VAE(max_epochs=50, learning_rate=1e-2), random_state=0).fit(holes)
    filled = imputer.transform(holes)
    missing = holes["kind"].isna()
    assert not filled.isna().any().any()
    assert list(filled.columns) == list(frame.columns)
    assert (filled.dtypes == holes.dtypes).all()
    pd.testing.assert_series_equal(filled.loc[~missing, "kind"], holes.loc[~missing, "kind"])
    told = missing & holes["weight"].notna()
    assert (filled.loc[told, "kind"] == frame.loc[told, "kind"]).mean() > 0.95
    gaps = holes["weight"].isna() & ~missing
    error = np.abs(np.log(filled.loc[gaps, "weight"] / frame.loc[gaps, "weight"]))
    assert error.median() < 0.2
    pair = [TableImputer(VAE(max_epochs=2), random_state=0).fit(holes).transform(holes) for _ in range(2)]
    pd.testing.assert_frame_equal(*pair)
    drawer = TableImputer(VAE(max_epochs=2), random_state=0, sample_posterior=True).fit(holes)
    assert not drawer.transform(holes).isna().any().any()
    assert drawer.neighbourhood_ is None, "draws come from the model"


def test_near_rows_of_fit_have_a_say_unless_none_shall_be_kept(table) -> None:
    frame, holes = table
    near, alone = (TableImputer(VAE(max_epochs=2), random_state=0, neighbors=say).fit(holes) for say in (True, False))
    assert alone.neighbourhood_ is None
    assert len(near.neighbourhood_.cells) == len(holes)
    gaps = holes["weight"].isna()
    error = [
        np.log(imputer.transform(holes).loc[gaps, "weight"] / frame.loc[gaps, "weight"]).abs().mean()
        for imputer in (near, alone)
    ]
    assert error[0] < 0.7 * error[1], "two epochs teach little"


def test_it_works_in_a_pipeline_and_with_set_output() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    X = rng.normal(size=(200, 3)) + y[:, None] * 3
    X[rng.random(X.shape) < 0.2] = np.nan
    imputer = TableImputer(VAE(max_epochs=5), random_state=0)
    assert make_pipeline(imputer, LogisticRegression()).fit(X, y).score(X, y) > 0.9
    frame = imputer.set_output(transform="pandas").fit_transform(X)
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == ["x0", "x1", "x2"]


def test_other_marks_of_what_is_missing() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    X[::7, 0] = -999
    filled = TableImputer(VAE(max_epochs=2), random_state=0, missing_values=-999).fit(X).transform(X)
    assert (filled != -999).all()
    assert np.array_equal(filled[1:7], X[1:7])
    single = X.astype(np.float32)
    single[::7, 0] = -99.9
    assert TableImputer(VAE(max_epochs=2), missing_values=[-99.9, None]).fit_transform(single).min() > -99
    frame = pd.DataFrame({"a": ["x", "y", "unknown"] * 20, "b": range(60)})
    filled = TableImputer(VAE(max_epochs=2), random_state=0, missing_values="unknown").fit(frame).transform(frame)
    assert set(filled["a"]) == {"x", "y"}
    assert (filled["b"] == frame["b"]).all()
    asked = VAE(max_epochs=2, na_values="y", unseen="error", kinds={"b": "count"})
    imputer = TableImputer(asked, random_state=0, missing_values=["unknown", 3]).fit(frame)
    assert imputer.estimator_.na_values == ("y", "unknown", "3")
    assert set(imputer.transform(frame)["a"]) == {"x"}
    with pytest.raises(DataError, match="column 1 .'a'. is 'z', a category that the model was not fitted on"):
        imputer.transform(frame.replace("x", "z"))


def test_errors() -> None:
    X = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(InvalidParameterError, match="is a text, and X is an array of numbers"):
        TableImputer(VAE(max_epochs=1), missing_values="?").fit(X)
    with pytest.raises(InvalidParameterError, match="n_draws"):
        TableImputer(n_draws=0).fit(X)
    with pytest.raises(DataError, match="row 0, column 0 .* holds 'a'"):
        TableImputer(VAE(max_epochs=1)).fit([["a", 1.0], ["b", 2.0]])
    fitted = TableImputer(VAE(max_epochs=1), random_state=0).fit(pd.DataFrame(X, columns=["a", "b"]))
    with pytest.raises(SchemaMismatchError, match="'b'"):
        fitted.transform(pd.DataFrame(X, columns=["a", "c"]))
