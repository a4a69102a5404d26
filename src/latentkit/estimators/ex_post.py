"""The priors that are fitted after training: of all examples, of each class, and given a condition."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from latentkit.core.parameters import parse_duration
from latentkit.core.seeds import derive_seed
from latentkit.data import Dataset
from latentkit.models.specification import build_part
from latentkit.tasks import FitBudget, Latents, ex_post_priors
from latentkit.tasks.ex_post import Conditions, ExPostFamily, fit_conditional_prior
from latentkit.training.progress import Reporter

__all__ = ["ex_post_family", "ex_post_name", "ex_post_time", "fit_ex_post", "in_words", "without_ex_post"]


def ex_post_family(estimator: Any) -> ExPostFamily | None:
    """What an estimator's ``ex_post`` and ``ex_post_options`` say; None for ``"none"``.

    Raises:
        InvalidParameterError: If an option is unknown or has a value that it cannot have.
    """
    name = ex_post_name(estimator)
    if name == "none":
        return None
    options = dict(estimator.ex_post_options or {})
    return cast(ExPostFamily, build_part("ex_post", ex_post_priors, name, options))


def ex_post_name(estimator: Any) -> str:
    """The prior that an estimator fits after training: ``"auto"`` is a mixture, and none where training is private."""
    if estimator.ex_post != "auto":
        return str(estimator.ex_post)
    return "none" if estimator._is_private else "mixture"  # noqa: SLF001 (of our own)


def ex_post_time(estimator: Any) -> float | None:
    """Seconds of an estimator's ``max_time`` that the fit of its prior gets; None without such a budget."""
    family = ex_post_family(estimator)
    if family is None or estimator.max_time is None:
        return None
    return family.time_share * parse_duration("max_time", estimator.max_time) or None


def in_words(name: str) -> str:
    """The name of a prior in a sentence: ``"flow_matching"`` is "flow-matching prior"."""
    return "mixture" if name == "mixture" else f"{name.replace('_', '-')} prior"


def without_ex_post(estimator: Any) -> None:
    """Give an estimator no prior beside that of its training."""
    estimator.ex_post_prior_, estimator.condition_prior_ = None, None
    estimator.class_priors_, estimator.classes_ = [], ()


def fit_ex_post(
    estimator: Any,
    means: Tensor,
    log_vars: Tensor | None,
    dataset: Dataset,
    reporter: Reporter,
    *,
    rows: Tensor | None = None,
) -> None:
    """Give an estimator its ex-post prior, one for each class where the data have labels, and one given conditions.

    Args:
        estimator: Has the parameters of an ex-post prior, ``seed_`` and ``engine_``, and ``condition_schema_`` and
            ``condition_`` of all examples where it was fitted with conditions; gets ``ex_post_prior_``,
            ``class_priors_``, ``classes_`` and ``condition_prior_``.
        means: Latent vectors, or posterior means, shape (n, latent).
        log_vars: Logarithms of the posterior variances, shape of `means`; None where latent vectors are points.
        dataset: Whose labels tell the classes.
        reporter: Hears how it goes.
        rows: Examples that `means` are of; None for all.
    """
    family = ex_post_family(estimator)
    assert family is not None, "asked only where there is a prior to fit"
    latents = Latents(means=means, log_vars=log_vars)
    budget = FitBudget(
        seed=derive_seed(estimator.seed_, "mixture"),
        max_time=ex_post_time(estimator),
        engine=estimator.engine_,
        reporter=reporter,
    )
    if estimator.condition_ is not None:
        budget = _half(budget)
    classes, names = _labels(dataset, rows)
    priors = family.fit(replace(latents, classes=classes, n_classes=len(names)), budget)
    estimator.ex_post_prior_, estimator.class_priors_, estimator.classes_ = priors.whole, list(priors.classes), names
    if estimator.condition_ is not None:
        columns = estimator.condition_ if rows is None else estimator.condition_[rows]
        conditions = Conditions(columns=columns, of_classes=estimator.condition_schema_.of_classes)
        budget = replace(budget, seed=derive_seed(estimator.seed_, "conditional prior"))
        estimator.condition_prior_ = fit_conditional_prior(family, latents, conditions, budget, whole=priors.whole)


def _half(budget: FitBudget) -> FitBudget:
    """Half of the time, for one of two fits."""
    return budget if budget.max_time is None else replace(budget, max_time=budget.max_time / 2)


def _labels(dataset: Dataset, rows: Tensor | None) -> tuple[Tensor | None, tuple[str, ...]]:
    """The class of each row, from 0, and the names of the classes; None and no names without labels."""
    if dataset.labels is None:
        return None, ()
    labels = np.asarray(dataset.labels)
    present, places = np.unique(labels if rows is None else labels[rows.numpy()], return_inverse=True)
    names = (str(code) if dataset.label_names is None else dataset.label_names[code] for code in present)
    return torch.from_numpy(places), tuple(names)
