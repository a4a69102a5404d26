"""VAE is a scikit-learn estimator to the letter."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 (makes the last one importable)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingRandomSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

from latentkit import VAE
from latentkit.estimators.registry import estimators
from tests.estimators.members import MEMBERS, by_default

SMALL = {"encoder": (8,), "decoder": (8,), "max_epochs": 3, "batch_size": 32}

#: Checks of scikit-learn that check_estimator does not yield by itself.
EXTRA = (
    "check_dataframe_column_names_consistency",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_inplace_ensure_writeable",
    "check_param_validation",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_f_contiguous_array_estimator",
)


#: Those that another one of them shows, too.
TWICE = ("check_global_output_transform_pandas", "check_set_output_transform_polars")

ENCODING = [name for name, member in MEMBERS.items() if member.encodes and "rows" in member.kinds]


def small(name: str) -> Any:
    return estimators[name](**{**MEMBERS[name].settings, "latent_dim": "auto", "max_epochs": 2, "batch_size": 32})


@pytest.mark.filterwarnings("ignore")  # scikit-learn's checks warn on purpose
@pytest.mark.parametrize("name", by_default(ENCODING, "vae"))
def test_check_estimator_finds_nothing(name: str) -> None:
    results = estimator_checks.check_estimator(small(name), on_fail=None, on_skip=None)
    failed = {result["check_name"]: repr(result["exception"]) for result in results if result["status"] == "failed"}
    assert failed == {}
    assert not [result for result in results if result["status"] == "xfail"]
    assert sum(result["status"] == "passed" for result in results) >= 45


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", by_default(ENCODING, "vae"))
@pytest.mark.parametrize("check", by_default(EXTRA, *(name for name in EXTRA if name not in TWICE)))
def test_the_checks_that_are_not_yielded_pass_too(name: str, check: str) -> None:
    getattr(estimator_checks, check)(type(small(name)).__name__, small(name))


def test_it_works_in_a_pipeline_under_a_grid_search() -> None:
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), VAE(random_state=0, **SMALL), LogisticRegression())
    search = GridSearchCV(pipeline, {"vae__latent_dim": [1, 2]}, cv=2).fit(X, y)
    assert search.best_params_["vae__latent_dim"] in {1, 2}
    assert search.predict(X).shape == (150,)


def test_its_own_score_selects_models() -> None:
    X = load_iris().data
    search = GridSearchCV(VAE(random_state=0, **SMALL), {"max_epochs": [1, 30]}, cv=2).fit(X)
    assert search.best_params_ == {"max_epochs": 30}


@pytest.mark.parametrize("kind", [RandomizedSearchCV, HalvingRandomSearchCV])
def test_other_searches_of_scikit_learn_select_models(kind: type) -> None:
    X = load_iris().data
    halving = {"resource": "max_epochs", "max_resources": 9, "min_resources": 3, "n_candidates": 2}
    options = {"n_iter": 2} if kind is RandomizedSearchCV else halving
    space = {"learning_rate": [1e-9, 1e-2], "batch_size": [64]}
    small_vae = VAE(random_state=0, **{**SMALL, "max_epochs": 9})
    search = kind(small_vae, space, cv=2, random_state=0, **options).fit(X)
    assert search.best_params_["learning_rate"] == 1e-2


def test_output_can_be_a_frame() -> None:
    X = load_iris(as_frame=True).data
    vae = VAE(latent_dim=2, random_state=0, **SMALL).set_output(transform="pandas").fit(X)
    Z = vae.transform(X)
    assert list(Z.columns) == ["vae0", "vae1"]
    assert (Z.index == X.index).all()


def test_clones_are_unfitted_and_equal() -> None:
    vae = VAE(latent_dim=2, beta=4.0, encoder=(8, 8), random_state=3)
    twin = clone(vae)
    assert twin.get_params() == vae.get_params()
    assert not hasattr(twin, "model_")


def test_nothing_warns_in_ordinary_use() -> None:
    X = load_iris().data
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vae = VAE(random_state=0, **SMALL).fit(X)
        vae.sample(3)
        vae.score_samples(X[:5])


def test_scores_do_not_depend_on_the_batch_or_the_order() -> None:
    X = load_iris().data
    vae = VAE(random_state=0, **SMALL).fit(X)
    scores = vae.score_samples(X)
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(vae.score_samples(X[order]), scores[order], rtol=1e-12)
    np.testing.assert_allclose(vae.score_samples(X[7:8]), scores[7:8], rtol=1e-12)
