"""Fitted estimators side by side: the same figures on the same rows, and tests of their differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from latentkit.core.errors import DataError, InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.estimators.evaluating import asked_for, evaluate_estimator
from latentkit.estimators.examination import Estimator, Examination
from latentkit.evaluation import ComparedPair, Comparison, Evaluation, FeatureMap, paired_difference
from latentkit.evaluation.comparison import holm

__all__ = ["compare_models"]


def compare_models(
    models: Mapping[str, Any],
    X: Any,
    *,
    train: Any = None,
    estimator: Estimator = "iwae",
    n_importance: int | None = None,
    n_temperatures: int | None = None,
    n_samples: int = 5000,
    max_rows: int | None = None,
    features: FeatureMap | None = None,
    random_state: int = 0,
) -> Comparison:
    """Measure fitted estimators on the same rows, and test each pair's difference of log p(x) row by row.

    Rows, numbers of draws and features are the same for all. Differences are tested by the paired t test, with Holm's
    correction for the number of pairs, and by Wilcoxon's signed-rank test beside it. Only likelihoods of one kind are
    compared: no density with a mass, and no reconstruction with a bound. Densities are compared in the units of the
    data, so that models that standardise otherwise are told apart fairly.

    Args:
        models: Fitted estimators by name, at least 2.
        X: Data that none of them has seen.
        train: The data that all of them were fitted on; None leaves samples unjudged.
        estimator: Of log p(x), as for :meth:`VAE.evaluate`, as are the following.
        n_importance: Importance samples, or chains.
        n_temperatures: Of ``"ais"``.
        n_samples: New examples.
        max_rows: Rows of X that are scored; None takes as many as the dearest model allows.
        features: Where examples are compared.
        random_state: Seed of rows and draws.

    Returns:
        The figures of each model that takes the data, all pairs, and why models were left out.

    Raises:
        InvalidParameterError: If there are fewer than two models, or an option has a value that it cannot have.
        DataError: If fewer than two of them take the data.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from latentkit import VAE
        >>> X = load_iris().data
        >>> models = {str(dim): VAE(latent_dim=dim, max_epochs=5, random_state=0).fit(X[::2]) for dim in (1, 2)}
        >>> (pair,) = compare_models(models, X[1::2]).pairs
        >>> pair.first, pair.second, pair.difference.n
        ('1', '2', 75)
    """
    if len(models) < 2:
        raise InvalidParameterError(f"it takes at least 2 models to compare; got {len(models)}.")
    asked = asked_for(
        likelihood=estimator,
        n_importance=n_importance,
        n_temperatures=n_temperatures,
        n_samples=n_samples,
        max_rows=max_rows,
        features=features,
        seed=check_integer("random_state", random_state),
    )
    left_out: dict[str, str] = {}
    sizes: list[int] = []
    for name, model in models.items():
        try:
            seen = Examination(model, X, train, asked)
        except DataError as error:
            left_out[name] = f"it does not take these data: {error}"
        else:
            sizes.append(seen.n_scored)
    if len(sizes) < 2:
        why = "; ".join(f"{name}: {text}" for name, text in left_out.items())
        raise DataError(f"fewer than two of the models take these data, so there is nothing to compare. {why}")
    asked = replace(asked, max_rows=min(sizes))
    evaluations = {
        name: evaluate_estimator(model, X, train=train, parts=None, asked=asked)
        for name, model in models.items()
        if name not in left_out
    }
    pairs = [_pair(first, second, evaluations) for first, second in combinations(evaluations, 2)]
    tested = [pair for pair in pairs if pair.difference is not None]
    corrected = iter(holm([pair.difference.p_value for pair in tested if pair.difference is not None]))
    return Comparison(
        evaluations=evaluations,
        pairs=tuple(pair if pair.difference is None else replace(pair, p_value=next(corrected)) for pair in pairs),
        left_out=left_out,
    )


def _pair(first: str, second: str, evaluations: Mapping[str, Evaluation]) -> ComparedPair:
    """The difference of two models, or why there is none."""
    why = _why_apart(first, second, evaluations)
    if why:
        return ComparedPair(first=first, second=second, difference=None, p_value=None, note=why)
    scores, loose = [], []
    for name in (first, second):
        each = evaluations[name]
        assert each.likelihood is not None, "else there is a reason above"
        scores.append(each.likelihood.log_likelihood.numpy() - each.log_scale)
        loose += [] if each.likelihood.is_tight else [name]
    note = ""
    if loose:
        note = (
            f"of {' and '.join(loose)} the figures are lower bounds, so that a part of the difference may be "
            "that of the bounds"
        )
    return ComparedPair(first=first, second=second, difference=paired_difference(*scores), p_value=None, note=note)


def _why_apart(first: str, second: str, evaluations: Mapping[str, Evaluation]) -> str:
    """Why the likelihoods of two models cannot be compared; empty where they can."""
    for name in (first, second):
        likelihood = evaluations[name].likelihood
        if likelihood is None:
            return f"{name} has no likelihood of data"
        if not likelihood.is_bound:
            return (
                f"log p(x given z) of the reconstructions of {name} is no bound on log p(x): it leaves out what "
                "the code costs, and compares no models"
            )
        if not np.isfinite(likelihood.log_likelihood.numpy()).all():
            return f"{name} calls some of these rows impossible, so that the mean difference is infinite"
    a, b = evaluations[first], evaluations[second]
    if a.likelihood_of != b.likelihood_of:
        return f"{first} gives the {a.likelihood_of}, {second} the {b.likelihood_of}: they have no common unit"
    return ""
