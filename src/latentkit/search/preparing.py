"""Before the first trial: which rows are for what, what is searched, and what a trial may take."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from latentkit.core.errors import DataError, InvalidParameterError, UnsupportedOperationError
from latentkit.core.parameters import check_choice, check_integer, check_real, parse_duration
from latentkit.core.seeds import row_keys
from latentkit.data import Dataset, read
from latentkit.data.parts import put_aside, take_examples
from latentkit.data.table.frames import take_rows
from latentkit.estimators.describing import to_yaml
from latentkit.estimators.fitting import TrainedEstimator
from latentkit.estimators.inputs import odd_labels
from latentkit.estimators.parameters import validate
from latentkit.estimators.randomness import draw_seed
from latentkit.estimators.registry import name_of
from latentkit.estimators.resolving import default_batch_size, default_epochs
from latentkit.search.goals import FEWEST_ROWS, goals
from latentkit.search.searching import PRUNERS, SAMPLERS, Pruner, Sampler, Search
from latentkit.search.space import Goal, completed_space, recognise_space
from latentkit.search.storage import StudyFolder

__all__ = ["prepare"]

#: Share of the rows that trials are judged by, at most, where rows are few; and as many rows as are wanted.
LARGEST_SHARE, ENOUGH_ROWS = 0.25, 200
#: How much more of the time a trial may take than its equal share, since most are ended early.
OVERBOOKED = 2.0


def prepare(
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
    n_processes: int = 1,
    tell: Callable[[str], None] | None = None,
) -> Search:
    """Return the search that :func:`tune` runs: what it says of itself can be read before it is run.

    Args:
        estimator: As for :func:`tune`; so are all others but these.
        X: Data.
        y: Labels of odd rows.
        goal: What for.
        trials: How many.
        time: For all of them.
        search: What to search.
        only: Whether nothing else.
        sampler: Who proposes.
        pruner: Who ends early.
        test_fraction: Share of the rows that nothing looks at.
        folder: Where the study lies.
        random_state: Seed.
        n_processes: Processes that will work on the study at once, among which the time is shared out.
        tell: Hears a line about each trial.
    """
    check_choice("goal", goal, goals.names())
    check_choice("sampler", sampler, SAMPLERS)
    check_choice("pruner", pruner, PRUNERS)
    check_integer("trials", trials, low=1)
    check_real("test_fraction", test_fraction, low=0.0, high=1.0, inclusive=(True, False))
    if not isinstance(estimator, TrainedEstimator):
        raise InvalidParameterError(
            f"tune takes an estimator of latentkit that is trained by gradient steps, such as VAE(); got "
            f"{type(estimator).__name__}. For others there are scikit-learn's own searches."
        )
    if estimator.get_params(deep=False).get("epsilon") is not None:
        raise UnsupportedOperationError(
            "a search tells of the rows that it judges by, and trains on the others again and again: what epsilon "
            "promises would not hold. Tune on data that need no protection, and fit with epsilon afterwards."
        )
    seconds = None if time is None else parse_duration("time", time)
    template = cast(TrainedEstimator, clone(estimator)).set_params(verbose=0)
    validate(template)
    place = None if folder is None else StudyFolder(Path(folder))
    with nullcontext() if place is None else place.alone():
        known = None if place is None else place.known()
        seed = _seed(template, random_state, known)
        template.set_params(random_state=seed)
        fixed = _fixed(template)
        dataset = _dataset(template, X, None if goal == "detect" else y)
        if goal == "detect":
            dataset = replace(dataset, labels=None, label_names=None)  # of odd rows, and no classes to draw from
        rows = _split(
            dataset, odd_labels(y, dataset.n) if goal == "detect" and y is not None else None, test_fraction, seed
        )
        learnt = take_examples(dataset, rows.learnt.tolist())
        if rows.odd is None:  # the run of a trial tells which rows it was given
            learnt = replace(learnt, reading={**dataset.reading, "test_fraction": test_fraction, "test_seed": seed})
        _schema_of(template, learnt)
        goals[goal].check(template)
        if "validation_fraction" not in fixed:
            share = min(LARGEST_SHARE, max(float(template.validation_fraction), ENOUGH_ROWS / learnt.n))
            template.set_params(validation_fraction=share)
        template.seed_ = seed
        validation = template._split(learnt.n)[1].numpy()  # noqa: SLF001 (of our own)
        if len(validation) < FEWEST_ROWS:
            raise DataError(
                f"{learnt.n} rows leave {len(validation)} to judge trials by (validation_fraction="
                f"{template.validation_fraction:g}); at least {FEWEST_ROWS} are needed. Give more rows, or a larger "
                "validation_fraction."
            )
        n_learnt = learnt.n - len(validation)
        recognised, start = recognise_space(template, n_learnt, goal)
        names = list(template.get_params(deep=False))
        space = completed_space(recognised, search or {}, only=only, known=names, fixed=fixed)
        budget = _budget(template, n_learnt, None if seconds is None else seconds * n_processes / trials)
        description = {
            "estimator": name_of(type(template)),
            "goal": goal,
            "seed": seed,
            "test_fraction": test_fraction,
            "settings": {name: to_yaml(template.get_params(deep=False)[name]) for name in sorted(fixed)},
            "data": {"examples": dataset.n, "fingerprint": _fingerprint(template, learnt)},
            "space": {name: dimension.to_dict() for name, dimension in space.items()},
            "sampler": sampler,
            "pruner": pruner,
            "budget": budget,
            "source": {"source": dataset.source, "kind": dataset.kind, "reading": dict(dataset.reading)},
            "rows": {"validation": rows.learnt[validation].tolist(), "test": rows.test.tolist()},
        }
        if place is not None:
            budget = place.settle(description)["budget"]
        template.set_params(**budget)
        judge = goals[goal](
            rows=take_rows(learnt.data, validation.tolist()),
            n_learnt=n_learnt,
            odd=None if rows.odd is None else take_rows(dataset.data, rows.odd.tolist()),
            seed=seed,
        )
        return Search(
            estimator=template,
            dataset=learnt,
            goal=goal,
            judge=judge,
            space=space,
            start={name: value for name, value in start.items() if name in space and value in space[name]},
            budget=budget,
            sampler=sampler,
            pruner=pruner,
            seed=seed,
            trials=trials,
            validation_rows=rows.learnt[validation],
            test_rows=rows.test,
            place=place,
            tell=tell or (lambda text: None),
        )


# Its parts


@dataclass(frozen=True)
class _Rows:
    """Which rows are for what, by number."""

    learnt: NDArray[np.int64]
    test: NDArray[np.int64]
    odd: NDArray[np.int64] | None


def _split(dataset: Dataset, odd: NDArray[np.bool_] | None, test_fraction: float, seed: int) -> _Rows:
    """Put the test rows aside; of the others, those that are known to be odd are not learnt from."""
    rest, test = put_aside(dataset.n, test_fraction, seed)
    if odd is None:
        return _Rows(rest, test, None)
    known = rest[odd[rest]]
    if len(known) < FEWEST_ROWS or len(known) == len(rest):
        raise DataError(
            f"{len(known)} of {len(rest)} rows beside the test rows are labelled as odd; at least {FEWEST_ROWS} odd "
            "rows, and others beside them, are needed. Leave the labels out to judge by rows put together from two."
        )
    return _Rows(rest[~odd[rest]], test, known)


def _dataset(template: TrainedEstimator, X: Any, y: Any) -> Dataset:
    """The data as the estimator takes them, with rows that can be chosen."""
    if isinstance(X, (str, os.PathLike)):
        X = read(os.fspath(X))
    return template._take(X, y, reset=True)  # noqa: SLF001 (of our own)


def _schema_of(template: TrainedEstimator, dataset: Dataset) -> None:
    template.schema_ = template._learn_schema(dataset)  # noqa: SLF001 (of our own)


def _fingerprint(template: TrainedEstimator, dataset: Dataset) -> str:
    """A name of the content of the rows, the same on every machine."""
    schema = template.schema_
    keys = row_keys(schema.encode(dataset.data)).numpy()
    learnt = json.dumps(schema.describe(), sort_keys=True, default=str)  # standardised rows do not tell their scale
    return hashlib.sha256(keys.tobytes() + learnt.encode()).hexdigest()[:32]


def _seed(template: TrainedEstimator, random_state: Any, known: Mapping[str, Any] | None) -> int:
    if random_state is None:
        random_state = template.random_state
    if random_state is None and known is not None:
        return int(known["seed"])
    return draw_seed(random_state)


def _fixed(template: TrainedEstimator) -> set[str]:
    """Names of the parameters that are not at their defaults."""
    usual = type(template)().get_params(deep=False)
    given = template.get_params(deep=False)
    apart = {"verbose", "random_state"}
    return {name for name, value in given.items() if name not in apart and to_yaml(value) != to_yaml(usual[name])}


def _budget(template: TrainedEstimator, n_learnt: int, share: float | None) -> dict[str, float | None]:
    """Epochs and seconds of a trial: as set, else the epochs that the estimator would take, in twice the share."""
    epochs, seconds = template.max_epochs, template.max_time
    if epochs == "auto":
        batch = template.batch_size
        if batch == "auto":
            batch = default_batch_size(n_learnt, tuple(template.schema_.event_shape))
        epochs = default_epochs(math.ceil(n_learnt / int(batch)))
    limit = None if seconds is None else parse_duration("max_time", seconds)
    if limit is None and share is not None:
        limit = float(f"{OVERBOOKED * share:.4g}")
    return {"max_epochs": int(epochs), "max_time": limit}
