"""What came of a search."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from latentkit.core.files import write_text
from latentkit.search.space import Space, Value

__all__ = ["State", "Study", "Trial", "write_trials"]

State: TypeAlias = Literal["complete", "pruned", "failed", "running"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One model that was tried.

    Attributes:
        number: From 0.
        state: ``"complete"``; ``"pruned"``, where it was ended early; ``"failed"``, where it died or could not be
            measured; ``"running"``.
        point: Values by the names of dimensions.
        value: The figure; None where the trial is not complete.
        standard_error: Of the mean over rows; None where the figure is no mean.
        how: How the figure was computed.
        why: Why it was ended early or failed.
        seconds: All that it took.
        training_seconds: Of this, training.
        judging_seconds: Of this, computing the figure.
        keeping_seconds: Of this, making the best model so far ready to use: its prior, and its run.
        epochs: Epochs trained.
        curve: The bound on validation rows by share of training, in [0, 1].
    """

    number: int
    state: State
    point: Mapping[str, Value]
    value: float | None = None
    standard_error: float | None = None
    how: str = ""
    why: str = ""
    seconds: float = 0.0
    training_seconds: float = 0.0
    judging_seconds: float = 0.0
    keeping_seconds: float = 0.0
    epochs: int = 0
    curve: Mapping[float, float] = field(default_factory=dict)

    @property
    def overhead_seconds(self) -> float:
        """What is left of the time: proposing, storing, setting up."""
        return self.seconds - self.training_seconds - self.judging_seconds - self.keeping_seconds


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """What came of a search: see :func:`~latentkit.search.tune`.

    Attributes:
        goal: What was searched for.
        figure: What that is measured by.
        unit: Its unit; empty for none.
        direction: ``"maximize"`` or ``"minimize"``.
        space: What was searched.
        start: Where the first trial stood: at the defaults.
        budget: What each trial may take at most: epochs, and seconds where they are limited.
        trials_: Every trial, in order.
        best_estimator_: The fitted estimator of the best trial; None where no trial was completed.
        best_params_: Its parameters, as the estimator's constructor takes them.
        validation_rows_: Rows, by number, that trials were judged by.
        test_rows_: Rows that nothing has looked at.
        folder: Where the study lies; None where it was kept in memory.
        importances_: Share of the variance of the figure that each dimension explains; empty for too few trials.
    """

    goal: str
    figure: str
    unit: str
    direction: str
    space: Space
    start: Mapping[str, Value]
    budget: Mapping[str, float | None]
    trials_: Sequence[Trial]
    best_estimator_: Any
    best_params_: Mapping[str, Any]
    validation_rows_: NDArray[np.int64]
    test_rows_: NDArray[np.int64]
    folder: Path | None = None
    importances_: Mapping[str, float] = field(default_factory=dict)

    @property
    def best_trial_(self) -> Trial | None:
        """The best of the complete trials; the first of equals."""
        done = [trial for trial in self.trials_ if trial.value is not None and trial.state == "complete"]
        sign = 1.0 if self.direction == "maximize" else -1.0
        return max(done, key=lambda trial: sign * float(trial.value or 0.0), default=None)

    @property
    def best_score_(self) -> float | None:
        """The figure of the best trial."""
        best = self.best_trial_
        return None if best is None else best.value

    def count(self, state: State) -> int:
        """Number of trials in a state."""
        return sum(trial.state == state for trial in self.trials_)


def write_trials(study: Study, path: Path) -> None:
    """Write the trials as a table, ``trials.csv``."""
    names = sorted({name for trial in study.trials_ for name in trial.point}, key=list(study.space).index)
    fields = ("trial", "state", "value", "standard_error", "seconds", "epochs", "why")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*fields, *names])
    for trial in study.trials_:
        known = (trial.number, trial.state, trial.value, trial.standard_error)
        cells = [*known, round(trial.seconds, 3), trial.epochs, trial.why]
        writer.writerow(
            ["" if cell is None else cell for cell in cells] + [trial.point.get(name, "") for name in names]
        )
    write_text(path, text.getvalue())
