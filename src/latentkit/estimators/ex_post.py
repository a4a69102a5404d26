"""The mixtures that are fitted after training, for all examples and for each class."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from latentkit.core.seeds import derive_seed
from latentkit.data import Dataset
from latentkit.tasks import fit_class_priors, fit_mixture_prior

__all__ = ["fit_ex_post"]


def fit_ex_post(
    estimator: Any, means: Tensor, log_vars: Tensor | None, dataset: Dataset, *, rows: Tensor | None = None
) -> None:
    """Give an estimator its mixture, and one for each class where the data have labels.

    Args:
        estimator: Has ``ex_post_components`` and ``seed_``; gets ``mixture_``, ``class_mixtures_`` and ``classes_``.
        means: Latent vectors, or posterior means, shape (n, latent).
        log_vars: Logarithms of the posterior variances, shape of `means`; None where latent vectors are points.
        dataset: Whose labels tell the classes.
        rows: Examples that `means` are of; None for all.
    """
    options = {"n_components": estimator.ex_post_components, "seed": derive_seed(estimator.seed_, "mixture")}
    estimator.mixture_ = fit_mixture_prior(means, log_vars, **options)
    if dataset.labels is None:
        return
    labels = np.asarray(dataset.labels)
    codes = [int(code) for code in (labels if rows is None else labels[rows.numpy()])]
    mixtures = fit_class_priors(means, log_vars, codes, **options)
    names, present = dataset.label_names, sorted(set(codes))
    estimator.classes_ = tuple(str(code) if names is None else names[code] for code in present)
    estimator.class_mixtures_ = [mixtures[code] for code in present]
