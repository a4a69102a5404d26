"""The search itself: trials are asked for, trained, ended early and judged, and the best one is kept."""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from latentkit.core.errors import DataError, DivergenceError, InvalidParameterError, UnsupportedOperationError
from latentkit.core.parameters import parse_duration
from latentkit.core.protocols import Objective
from latentkit.core.seeds import derive_seed
from latentkit.data import Dataset
from latentkit.estimators import load
from latentkit.estimators.fitting import TrainedEstimator
from latentkit.estimators.runs import save
from latentkit.objectives import objectives
from latentkit.search.goals import Judge, Measured
from latentkit.search.proposing import expected_worths, propose
from latentkit.search.space import Choice, Dimension, Goal, Space, Value, grid_values, settings_of
from latentkit.search.storage import StudyFolder
from latentkit.search.study import State, Study, Trial, write_trials
from latentkit.training import Engine, EpochEnd

if TYPE_CHECKING:
    import optuna

__all__ = ["PRUNERS", "SAMPLERS", "Pruner", "Sampler", "Search"]

Sampler: TypeAlias = Literal["gp", "tpe", "random", "grid", "qmc"]
Pruner: TypeAlias = Literal["auto", "median", "hyperband", "halving", "none"]
SAMPLERS: tuple[Sampler, ...] = ("gp", "tpe", "random", "grid", "qmc")
PRUNERS: tuple[Pruner, ...] = ("auto", "median", "hyperband", "halving", "none")

#: Looks at a trial while it is trained.
MARKS = 20
#: Trials before the others teach TPE anything, and before a trial is ended early for another figure than the bound.
N_STARTUP = 3
#: Why a trial ended that does not count: another one takes its place.
DIED, OUT_OF_TIME, INTERRUPTED = "the process died", "the time was over", "interrupted"
_UNCOUNTED = (DIED, OUT_OF_TIME, INTERRUPTED)
#: Name of the study in its journal.
_NAME = "study"
#: What trials are told of by attributes in the journal.
_OUTCOME, _WORKER, _AGAIN = "outcome", "worker", "again"


class _OutOfTime(Exception):
    """The time of the search is over."""


class _NotFinite(Exception):
    """A figure of a trial is no number."""


@dataclass(kw_only=True, eq=False)
class Search:
    """A search that is ready to run: what is searched, in which rows, and what each trial may take.

    Attributes:
        estimator: What is tuned, with all that is fixed.
        dataset: Rows to learn from and to be judged by.
        goal: What is searched for.
        judge: What measures it.
        space: What is searched.
        start: Where the first trial stands; empty to draw it, too.
        budget: Epochs and seconds of a trial, at most.
        sampler: Who proposes trials.
        pruner: Who ends them early.
        seed: Of everything random.
        trials: Trials of the study, of all processes and of all times that it is gone on with.
        validation_rows: Rows of all data that trials are judged by.
        test_rows: Rows of all data that nothing looks at.
        place: Where the study lies; None for memory.
        tell: Hears a line about each trial.
    """

    estimator: TrainedEstimator
    dataset: Dataset
    goal: Goal
    judge: Judge
    space: Space
    start: Mapping[str, Value]
    budget: Mapping[str, float | None]
    sampler: Sampler
    pruner: Pruner
    seed: int
    trials: int
    validation_rows: NDArray[np.int64]
    test_rows: NDArray[np.int64]
    place: StudyFolder | None = None
    tell: Callable[[str], None] = field(default=lambda text: None)

    def __post_init__(self) -> None:
        self._direction = type(self.judge).direction
        self._sign = 1.0 if self._direction == "maximize" else -1.0
        self._yardstick = _yardstick(self.estimator)
        self._engine: Engine | None = None
        self._best: Any = None
        with _quietly():
            self._study = self._open()

    # The search

    def run(self, time: float | str | None = None) -> Study:
        """Try settings until the trials, the grid or the time are used up, and return what came of it.

        Args:
            time: Of this process: seconds, or a text such as ``"1h"``; a trial that is under way then is ended.
        """
        deadline = math.inf if time is None else _now() + parse_duration("time", time)
        with _quietly(), self._at_work():
            while (start := _now()) < deadline:
                trial = self._ask()
                if trial is None:
                    break
                self._try(trial, start, deadline)
        return self.result()

    def result(self) -> Study:
        """What is known of the study now; its table of trials is written anew."""
        with _quietly(), self._alone():
            study = self._described()
            if self.place is not None:
                write_trials(study, self.place.path / "trials.csv")
        return study

    # Trials

    def _ask(self) -> optuna.Trial | None:
        """The next trial; None where no more are wanted."""
        with self._alone():
            self._bury()
            found = self._study.get_trials(deepcopy=False)
            counted = [t for t in found if t.state.name != "WAITING" and _why(t) not in _UNCOUNTED]
            if len(counted) >= min(self.trials, self._n_points):
                return None
            if not any(t.state.name == "WAITING" for t in found):
                point = self._chosen(counted, is_first=not found)
                if point is not None:
                    self._study.enqueue_trial(point)
            self._study.sampler = self._sampler(len(counted))
            trial = self._study.ask(_distributions(self.space))
            if self.place is not None:
                trial.set_user_attr(_WORKER, self.place.worker)
            return trial

    def _chosen(self, counted: Sequence[optuna.trial.FrozenTrial], *, is_first: bool) -> dict[str, Any] | None:
        """Where the next trial stands; None to leave it to a sampler of Optuna."""
        if self.sampler == "grid":
            return self._next_of_grid([trial.params for trial in counted])
        if is_first and self.start:
            return self._as_stored(self.start)
        known = [trial for trial in map(self._trial, counted) if trial.point.keys() == self.space.keys()]
        if self.sampler != "gp" or not any(trial.value is not None for trial in known):
            return None
        return self._as_stored(
            propose(
                self.space,
                known,
                maximize=self._direction == "maximize",
                is_bound=type(self.judge).is_bound,
                seed=self._sampler_seed(len(counted)),
            )
        )

    def _bury(self) -> None:
        """Count trials of dead processes as failed, and have each of them tried once more."""
        import optuna

        if self.place is None:
            return
        for trial in self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            if not self.place.is_at_work(trial.user_attrs.get(_WORKER)):
                self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
                if _AGAIN not in trial.user_attrs:
                    self._study.enqueue_trial(dict(trial.params), user_attrs={_AGAIN: True})

    def _try(self, trial: optuna.Trial, start: float, deadline: float) -> None:
        """Train and judge one trial, and write what came of it."""
        import optuna

        outcome: dict[str, Any] = {}
        try:
            fitted = self._fit(trial, deadline, outcome)
            judged = _now()
            measured = self._measure(fitted)
            outcome["judging_seconds"] = round(_now() - judged, 4)
            outcome |= {"how": measured.how, "standard_error": measured.standard_error}
        except optuna.TrialPruned:
            self._finish(trial, "pruned", start, {**outcome, "why": "behind the others"})
        except (DivergenceError, _NotFinite) as error:
            self._finish(trial, "pruned", start, {**outcome, "why": _first_line(error)})
        except _OutOfTime:
            self._finish(trial, "failed", start, {**outcome, "why": OUT_OF_TIME})
        except (InvalidParameterError, UnsupportedOperationError, DataError) as error:
            self._finish(trial, "failed", start, {**outcome, "why": _first_line(error)})
            if not self._completed():
                raise  # what the first trial cannot have is no matter of this trial
        except BaseException as error:
            is_asked_for = isinstance(error, KeyboardInterrupt | SystemExit)
            why = INTERRUPTED if is_asked_for else f"{type(error).__name__}: {_first_line(error)}"
            self._finish(trial, "failed", start, {**outcome, "why": why})
            raise
        else:
            self._keep(trial, fitted, measured, start, outcome)

    def _fit(self, trial: optuna.Trial, deadline: float, outcome: dict[str, Any]) -> Any:
        """Train the model of a trial, and have it watched."""
        fitted = clone(self.estimator).set_params(**self._settings(_point(self.space, trial.params)))
        if "ex_post" in fitted.get_params(deep=False) and not self.judge.needs_prior:
            fitted.set_params(ex_post="none")
        marked = 0

        def watch(end: EpochEnd) -> None:
            nonlocal marked
            outcome["epochs"], outcome["training_seconds"] = len(end.history), end.history[-1].seconds
            reached = min(MARKS, int(MARKS * end.progress + 1e-9))
            if reached > marked:
                value = self._judged(end)
                if value is not None:
                    if not math.isfinite(value):
                        raise _NotFinite(f"the validation bound was {value:g} after {len(end.history)} epochs")
                    # every mark on the way is filled, or trials of long epochs could not be compared
                    for mark in range(marked + 1, reached + 1):
                        trial.report(self._sign * value, mark)
                    marked = reached
                    if reached < MARKS and trial.should_prune():
                        import optuna

                        raise optuna.TrialPruned
            if _now() > deadline:
                raise _OutOfTime

        fitted.fit(self.dataset, on_epoch=watch, engine=self._engine)
        self._engine = fitted.engine_
        return fitted

    def _judged(self, end: EpochEnd) -> float | None:
        """What trials are compared by while they are trained: the bound, whatever they maximise."""
        return end.history[-1].validation if self._yardstick is None else end.validate(self._yardstick)

    def _measure(self, fitted: Any) -> Measured:
        measured = self.judge.measure(fitted)
        if not math.isfinite(measured.value):
            raise _NotFinite(f"{type(self.judge).figure} was {measured.value:g}")
        return measured

    def _keep(
        self, trial: optuna.Trial, fitted: Any, measured: Measured, start: float, outcome: dict[str, Any]
    ) -> None:
        """Write a complete trial; the best one so far stays, as a run or in memory."""
        kept = _now()
        is_best = self._is_best(measured.value)
        if is_best and not self.judge.needs_prior and "ex_post" in fitted.get_params(deep=False):
            fitted.set_params(ex_post=self.estimator.get_params(deep=False)["ex_post"])
            fitted.fit_prior(self.dataset)
        with self._alone():
            is_best = is_best and self._is_best(measured.value)
            if is_best and self.place is not None:
                save(fitted, self.place.waiting(trial.number))
            elif is_best:
                self._best = fitted
            outcome["keeping_seconds"] = round(_now() - kept, 4)
            self._finish(trial, "complete", start, outcome, measured.value)
            if self.place is not None:
                top = self._top()
                self.place.promote(None if top is None else top.number)

    def _finish(
        self, trial: optuna.Trial, state: State, start: float, outcome: Mapping[str, Any], value: float | None = None
    ) -> None:
        import optuna

        seconds = _now() - start
        trial.set_user_attr(_OUTCOME, {**outcome, "seconds": round(seconds, 4)})
        states = optuna.trial.TrialState
        kinds = {"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}
        self._study.tell(trial, value, state=kinds[state])
        if outcome.get("why") in _UNCOUNTED:
            self._study.enqueue_trial(dict(trial.params))
        figure = "" if value is None else f" {_figure(value, type(self.judge).unit)}"
        top = self._top()
        so_far = ""
        if top is not None:
            so_far = f"; best {_figure(cast(float, top.value), type(self.judge).unit)} (trial {top.number})"
        why = "" if not outcome.get("why") else f": {outcome['why']}"
        self.tell(f"trial {trial.number} {state}{figure}{why}, {seconds:.1f} s{so_far}")

    def _completed(self) -> list[optuna.trial.FrozenTrial]:
        import optuna

        return self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))

    def _top(self) -> optuna.trial.FrozenTrial | None:
        """The best complete trial, the first of equals."""
        return max(self._completed(), key=lambda trial: self._sign * cast(float, trial.value), default=None)

    def _is_best(self, value: float) -> bool:
        return all(self._sign * value > self._sign * cast(float, trial.value) for trial in self._completed())

    # What is asked of Optuna

    def _open(self) -> optuna.Study:
        """Open the study, and put in order what dead processes have left."""
        import optuna

        storage = optuna.storages.InMemoryStorage() if self.place is None else self.place.storage()
        with self._alone():
            try:
                study = optuna.load_study(study_name=_NAME, storage=storage, pruner=self._make_pruner())
            except KeyError:
                study = optuna.create_study(
                    study_name=_NAME, storage=storage, direction=self._direction, pruner=self._make_pruner()
                )
            self._study = study
            self._bury()
            if self.place is not None:
                top = self._top()
                self.place.promote(None if top is None else top.number)
        return study

    def _sampler(self, n_before: int) -> optuna.samplers.BaseSampler:
        """The sampler of Optuna for the next trial."""
        from optuna import samplers

        match self.sampler:
            case "tpe":
                return samplers.TPESampler(
                    seed=self._sampler_seed(n_before),
                    n_startup_trials=max(N_STARTUP, min(10, self.trials // 4)),
                    multivariate=True,
                    constant_liar=self.place is not None,
                )
            case "qmc":
                return samplers.QMCSampler(seed=self.seed % 2**32)
        return samplers.RandomSampler(seed=self._sampler_seed(n_before))

    def _sampler_seed(self, n_before: int) -> int:
        """By the place of the next trial: a study that is gone on with proposes what it would have."""
        return derive_seed(self.seed, "sampler", n_before) % 2**32

    def _next_of_grid(self, taken: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """A point of the grid that no trial stands at; their order is drawn by the seed."""
        values = [grid_values(dimension) for dimension in self.space.values()]
        points = list(itertools.product(*values))
        for place in np.random.default_rng(derive_seed(self.seed, "grid")).permutation(len(points)):
            point = self._as_stored(dict(zip(self.space, points[place], strict=True)))
            if point not in taken:
                return point
        raise AssertionError("there is a point for each trial that is asked for")

    def _as_stored(self, point: Mapping[str, Value]) -> dict[str, Any]:
        return {name: _stored(self.space[name], value) for name, value in point.items()}

    @property
    def _n_points(self) -> float:
        """Points of the grid."""
        if self.sampler != "grid":
            return math.inf
        return math.prod(len(grid_values(dimension)) for dimension in self.space.values())

    def _make_pruner(self) -> optuna.pruners.BasePruner:
        from optuna import pruners

        # A bound tells of a bound, from the first trial on; of other figures it tells which models are poor.
        is_bound = type(self.judge).is_bound
        share = 50.0 if is_bound or self.pruner == "median" else 75.0
        match self.pruner:
            case "none":
                return pruners.NopPruner()
            case "hyperband":
                return pruners.HyperbandPruner(min_resource=2, max_resource=MARKS, reduction_factor=3)
            case "halving":
                return pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=3)
        return pruners.PercentilePruner(
            share, n_startup_trials=1 if is_bound else N_STARTUP, n_warmup_steps=MARKS // 10
        )

    # Where it lies

    def _alone(self) -> AbstractContextManager[None]:
        return nullcontext() if self.place is None else self.place.alone()

    def _at_work(self) -> AbstractContextManager[None]:
        return nullcontext() if self.place is None else self.place.at_work()

    # What came of it

    def _settings(self, point: Mapping[str, Value]) -> dict[str, Any]:
        return settings_of(self.estimator, self._n_learnt, point)

    @property
    def _n_learnt(self) -> int:
        return self.dataset.n - len(self.validation_rows)

    def _described(self) -> Study:
        judge = type(self.judge)
        begun = [trial for trial in self._study.get_trials(deepcopy=False) if trial.state.name != "WAITING"]
        trials = [self._trial(trial) for trial in begun]
        study = Study(
            goal=self.goal,
            figure=judge.figure,
            unit=judge.unit,
            direction=self._direction,
            space=self.space,
            start=self.start,
            budget=self.budget,
            trials_=trials,
            best_estimator_=None,
            best_params_={},
            validation_rows_=self.validation_rows,
            test_rows_=self.test_rows,
            folder=None if self.place is None else self.place.path,
            importances_=self._importances(trials),
        )
        best = study.best_trial_
        if best is None:
            return study
        estimator = self._best if self.place is None else load(self.place.best)
        return replace(study, best_estimator_=estimator, best_params_=self._settings(best.point))

    def _trial(self, trial: optuna.trial.FrozenTrial) -> Trial:
        states: dict[str, State] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        outcome = trial.user_attrs.get(_OUTCOME, {})
        told = (
            "standard_error",
            "how",
            "seconds",
            "training_seconds",
            "judging_seconds",
            "keeping_seconds",
            "epochs",
        )
        known = {name: outcome[name] for name in told if name in outcome}
        return Trial(
            number=trial.number,
            state=states.get(trial.state.name, "running"),
            point=_point(self.space, trial.params),
            value=trial.value if trial.state.name == "COMPLETE" else None,
            why=_why(trial),
            curve={mark / MARKS: self._sign * value for mark, value in sorted(trial.intermediate_values.items())},
            **known,
        )

    def _importances(self, trials: Sequence[Trial]) -> dict[str, float]:
        """By a random forest over the trials (fANOVA); none where they are too few or all alike.

        Of those that were ended early it takes what is to be expected, where the figure is a bound as their curves are.
        """
        import optuna
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances

        is_bound = type(self.judge).is_bound
        told = [trial for trial in trials if trial.value is not None or (is_bound and trial.state == "pruned")]
        if not any(trial.value is not None for trial in told):
            return {}
        worths = expected_worths(told, maximize=self._direction == "maximize", is_bound=is_bound)
        varied = [name for name in self.space if len({trial.point[name] for trial in told}) > 1]
        if len(told) < 4 or len(set(worths)) < 2 or not varied:
            return {}
        distributions = _distributions(self.space)
        study = optuna.create_study()
        for trial, worth in zip(told, worths, strict=True):
            stored = self._as_stored(trial.point)
            study.add_trial(optuna.create_trial(params=stored, distributions=distributions, value=float(worth)))
        evaluator = FanovaImportanceEvaluator(seed=self.seed % 2**32)
        found = get_param_importances(study, evaluator=evaluator, params=varied)
        return {name: float(share) for name, share in found.items() if math.isfinite(share)}


def _yardstick(template: TrainedEstimator) -> Objective | None:
    """The ELBO, where members maximise bounds of their own; None where all trials maximise the same."""
    if "objective" not in template.get_params(deep=False):
        return None
    bound: Objective = objectives["elbo"]()
    return bound


# Between points of the space and what Optuna stores


def _distributions(space: Space) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    def of(dimension: Dimension) -> Any:
        if isinstance(dimension, Choice):
            return CategoricalDistribution(dimension.labels)
        if dimension.is_integer:
            step = 1 if dimension.log else dimension.step
            return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log, step=step)
        return FloatDistribution(float(dimension.low), float(dimension.high), log=dimension.log)

    return {name: of(dimension) for name, dimension in space.items()}


def _stored(dimension: Dimension, value: Value) -> Any:
    if isinstance(dimension, Choice):
        return dimension.labels[dimension.values.index(value)]
    return int(value) if dimension.is_integer else float(value)


def _point(space: Space, params: Mapping[str, Any]) -> dict[str, Value]:
    """Values of a trial by the names of dimensions."""
    point: dict[str, Value] = {}
    for name, dimension in space.items():
        if name in params:
            value = params[name]
            point[name] = dimension.values[dimension.labels.index(value)] if isinstance(dimension, Choice) else value
    return point


def _why(trial: optuna.trial.FrozenTrial) -> str:
    """Why a trial ended early or failed; one that a dead process has left has said nothing."""
    outcome = trial.user_attrs.get(_OUTCOME)
    if outcome is None:
        return DIED if trial.state.name == "FAIL" else ""
    return str(outcome.get("why", ""))


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _figure(value: float, unit: str) -> str:
    return f"{value:.5g} {unit}".rstrip()


def _now() -> float:
    return time.monotonic()


@contextmanager
def _quietly() -> Iterator[None]:
    """Optuna says nothing inside the block; its own settings are back after it."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(verbosity)
