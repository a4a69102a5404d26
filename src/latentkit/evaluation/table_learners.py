"""Learners for tables of mixed kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentkit.core.registry import Registry

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

__all__ = ["TableLearner", "boosting", "linear", "table_learners"]

#: A learner takes which columns are categorical, how many classes are learnt (0 for numbers), and a seed.
TableLearner = Callable[[NDArray[np.bool_], int, int], Any]

table_learners: Registry[TableLearner] = Registry("table learner")

# scikit-learn's boosting has 255 bins: so many categories, less one for all rare ones
_MOST_BINS, _MOST_COLUMNS = 250, 100


def boosting(
    is_categorical: NDArray[np.bool_], n_classes: int, seed: int, *, learning_rate: float = 0.1, max_iter: int = 200
) -> Pipeline:
    """Histogram gradient boosting on categories and missing cells as they are; rare categories beyond 250 are one.

    Of more than two classes, leaves are regularised: without, the steps of a class of few rows are divided by next to
    nothing, and the probabilities of all classes go astray.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline

    learner = HistGradientBoostingClassifier if n_classes else HistGradientBoostingRegressor
    n_categorical = int(is_categorical.sum())
    return make_pipeline(
        _ordinal(is_categorical, _MOST_BINS),
        learner(
            categorical_features=np.arange(n_categorical) if n_categorical else None,
            learning_rate=learning_rate,
            max_iter=max_iter,
            l2_regularization=1.0 if n_classes > 2 else 0.0,
            early_stopping=False,
            random_state=seed,
        ),
    )


def linear(is_categorical: NDArray[np.bool_], n_classes: int, seed: int) -> Pipeline:
    """Logistic or ridge regression on standardised numbers and one-hot categories; all beyond 100 are one.

    A missing category is a category; a missing number is the median, and a column of its own says so.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True), StandardScaler()
    )
    categories = OneHotEncoder(max_categories=_MOST_COLUMNS, handle_unknown="infrequent_if_exist")
    return make_pipeline(
        ColumnTransformer(
            [
                ("categories", categories, np.flatnonzero(is_categorical)),
                ("numbers", numbers, np.flatnonzero(~is_categorical)),
            ]
        ),
        LogisticRegression(max_iter=1000) if n_classes else Ridge(),
    )


def _forest(is_categorical: NDArray[np.bool_], n_classes: int, seed: int) -> Pipeline:
    """100 trees on categories as the numbers of their codes."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.pipeline import make_pipeline

    learner = RandomForestClassifier if n_classes else RandomForestRegressor
    return make_pipeline(_ordinal(is_categorical, None), learner(100, min_samples_leaf=5, random_state=seed))


def _ordinal(is_categorical: NDArray[np.bool_], most: int | None) -> Any:
    """Categories as codes, in front of the numbers; one that was not seen in fit is missing."""
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OrdinalEncoder

    def numbers(x: NDArray[np.float64]) -> NDArray[np.intp]:
        return np.flatnonzero(~is_categorical & ~np.isnan(x).all(axis=0))  # boosting refuses columns without a number

    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=most)
    return ColumnTransformer(
        [("categories", codes, np.flatnonzero(is_categorical)), ("numbers", "passthrough", numbers)]
    )


table_learners.register("boosting")(boosting)
table_learners.register("linear")(linear)
table_learners.register("forest")(_forest)
