"""Settings with which an estimator does best on rows that it has not learnt."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from latentkit.core.errors import DataError
from latentkit.estimators.fitting import TrainedEstimator
from latentkit.search.preparing import prepare
from latentkit.search.searching import Pruner, Sampler
from latentkit.search.space import Goal, Range
from latentkit.search.study import Study

__all__ = ["choose_latent_dim", "smallest", "tune"]


def tune(
    estimator: TrainedEstimator,
    X: Any,
    y: Any = None,
    *,
    goal: Goal = "nll",
    trials: int = 30,
    time: float | str | None = None,
    search: Mapping[str, Any] | None = None,
    only: bool = False,
    sampler: Sampler = "gp",
    pruner: Pruner = "auto",
    test_fraction: float = 0.1,
    folder: str | os.PathLike[str] | None = None,
    random_state: int | np.random.RandomState | None = None,
    tell: Callable[[str], None] | None = None,
) -> Study:
    """Find settings with which an estimator does best on rows that it has not learnt.

    The rows are split once: a test part, which nothing looks at; a validation part, by which every trial is judged; and
    the rest, from which trials learn. The first trial has the estimator's own settings, so that the best one is no
    worse. Trials that fall behind the others at the same share of their training are ended early.

    Args:
        estimator: Any estimator of latentkit that is trained by gradient steps. What is set in it stays as it is.
        X: Data, as ``fit`` takes them.
        y: For ``goal="detect"`` which rows are odd, True or 1; trials do not learn from these. For others class labels.
        goal: What the model is for. ``"nll"``: the importance-weighted bound on log p(x). ``"samples"``: how far new
            rows are from validation rows. ``"detect"``: AUROC of low scores, for rows that `y` calls odd; without
            labels for rows put together from two, in which each cell is usual. ``"compress"``: bits of an archive with
            its model. ``"impute"``: the error of known cells that are hidden.
        trials: Trials of the study, with those that it has already.
        time: Seconds, or a text such as ``"1h"``, after which the search ends. Each trial then gets twice its share.
        search: What to search beside, or in the place of, what is recognised, by name: a pair of numbers, a list of
            values, a :class:`Range` or :class:`Choice`, or None for what is recognised. ``width`` and ``depth`` size
            encoder and decoder alike.
        only: Whether nothing but `search` is searched.
        sampler: ``"gp"`` (Gaussian process), ``"tpe"``, ``"random"``, ``"grid"`` or ``"qmc"`` (Sobol).
        pruner: Who ends trials early: ``"median"``, ``"hyperband"``, ``"halving"`` or ``"none"``; ``"auto"`` is the
            median where the goal is a bound, and the last quarter for others, of which the bound tells less.
        test_fraction: Share of the rows that nothing looks at; 0 where test data lie elsewhere.
        folder: Where the study lies. A study that is there is gone on with, also by several processes at once. None
            keeps it in memory.
        random_state: Seed of the split, the trials and the sampler; None takes the estimator's, or that of the study.
        tell: Hears a line about each trial.

    Returns:
        The study, with ``best_estimator_``, ``best_params_`` and ``trials_``.

    Raises:
        InvalidParameterError: If an option or a name of `search` is unknown, or nothing is left to search.
        DataError: If there are too few rows, or the data cannot be used.
        UnsupportedOperationError: If the estimator or the data cannot be judged by this goal.
        StudyError: If `folder` holds a study of other data or settings.
        StudyVersionError: If it is of another version.

    References:
        Akiba et al., 2019, Optuna, arXiv:1907.10902; Snoek, Larochelle and Adams, 2012, Practical Bayesian
        Optimization of Machine Learning Algorithms, arXiv:1206.2944; Bergstra et al., 2011, Algorithms for
        Hyper-Parameter Optimization (TPE); Li et al., 2018, Hyperband, arXiv:1603.06560.

    Example:
        >>> from sklearn.datasets import load_wine
        >>> from latentkit import VAE
        >>> vae = VAE(max_epochs=2, random_state=0)
        >>> study = tune(vae, load_wine().data, trials=2, search={"latent_dim": (1, 4)}, only=True)
        >>> sorted(study.best_params_), len(study.trials_)
        (['latent_dim'], 2)
    """
    return prepare(
        estimator,
        X,
        y,
        goal=goal,
        trials=trials,
        time=time,
        search=search,
        only=only,
        sampler=sampler,
        pruner=pruner,
        test_fraction=test_fraction,
        folder=folder,
        random_state=random_state,
        tell=tell,
    ).run(time)


def choose_latent_dim(
    estimator: TrainedEstimator,
    X: Any,
    *,
    dims: Sequence[int] | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> int:
    """Return the smallest latent size whose bound on validation rows is within one standard error of the best.

    Args:
        estimator: What is fitted with each size; nothing else of it changes.
        X: Data, as ``fit`` takes them; all rows are learnt from or judged by.
        dims: Sizes to try; by default powers of two around what the estimator would choose.
        random_state: Seed; None takes the estimator's.

    References:
        Breiman et al., 1984, Classification and Regression Trees, section 3.4.3 (the one-standard-error rule).

    Example:
        >>> from sklearn.datasets import load_wine
        >>> from latentkit import VAE
        >>> choose_latent_dim(VAE(max_epochs=2, random_state=0), load_wine().data, dims=[1, 2]) in (1, 2)
        True
    """
    if dims is None:
        found = prepare(
            estimator, X, search={"latent_dim": None}, only=True, test_fraction=0.0, random_state=random_state
        ).space["latent_dim"]
        assert isinstance(found, Range), "sizes are recognised as a range"
        dims = [2**i for i in range(32) if 2**i in found]
    study = tune(
        estimator,
        X,
        trials=len(dims),
        search={"latent_dim": list(dims)},
        only=True,
        sampler="grid",
        pruner="none",
        test_fraction=0.0,
        random_state=random_state,
    )
    return smallest(study)


def smallest(study: Study) -> int:
    """Return the smallest latent size whose figure is within one standard error of the best.

    Raises:
        DataError: If no trial was completed.
    """
    best = study.best_trial_
    if best is None or best.value is None:
        raise DataError("no trial was completed, so no size can be chosen. See why in the study of tune().")
    least = best.value - (best.standard_error or 0.0)
    good = [trial for trial in study.trials_ if trial.state == "complete" and (trial.value or 0.0) >= least]
    return min(int(trial.point["latent_dim"]) for trial in good)
