"""What training is asked to do, and what it tells afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from latentkit.core.protocols import Objective
from latentkit.training.engine import Engine
from latentkit.training.privacy import Privacy

__all__ = ["EpochEnd", "EpochRecord", "TrainingPlan", "TrainingResult"]


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Every setting of a training, resolved: nothing is ``"auto"`` here.

    Attributes:
        max_epochs: Passes over the data.
        batch_size: Rows in a step.
        max_time: Seconds after which training stops; it steers the schedules too. None for no limit.
        optimizer: Name in ``torch.optim``.
        optimizer_options: Its further arguments.
        learning_rate: At full strength.
        schedule: Learning-rate schedule.
        warm_up: Share of training over which the learning rate rises from 0.
        weight_decay: Of matrices and kernels.
        gradient_clip: Largest Euclidean norm of the gradient; None for no clipping.
        averaging: Decay of the exponential moving average of the weights, 0 for none.
        patience: Epochs without improvement on the validation part after which training stops; None for never.
        kl_weight: Progress in [0, 1] to the weight of the KL term in [0, 1].
        pretraining: Share of training after which the parts named by `anew` have their first weights again, and the
            optimiser starts anew; no state of before counts as the best. 0 for none.
        anew: Attributes of the model.
        aggressive: Share of training in which only q(z given x) is updated in nine steps of ten.
        seed: Seed of everything random in training.
        engine: How to compute.
        checkpoint_path: Where to keep the state; None to keep none.
        checkpoint_interval: Seconds between checkpoints.
        max_rollbacks: How often a divergence is answered by going back before it is an error.
        privacy: How training is kept differentially private; None where it is not. No value of the objective then
            decides anything: not what is kept, not when training stops, not whether it goes back.
    """

    max_epochs: int
    batch_size: int
    max_time: float | None = None
    optimizer: str = "adam"
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warm_up: float = 0.02
    weight_decay: float = 0.0
    gradient_clip: float | None = None
    averaging: float = 0.0
    patience: int | None = None
    kl_weight: Callable[[float], float] = lambda progress: 1.0
    pretraining: float = 0.0
    anew: tuple[str, ...] = ()
    aggressive: float = 0.0
    seed: int = 0
    engine: Engine = field(default_factory=Engine)
    checkpoint_path: Path | None = None
    checkpoint_interval: float = 20.0
    max_rollbacks: int = 5
    privacy: Privacy | None = None


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One line of the history.

    Attributes:
        epoch: From 1.
        step: Optimiser steps so far.
        objective: Mean over the epoch of what training maximised, nats.
        log_likelihood: Mean log p(x given z), nats.
        kl: Mean KL, nats.
        validation: Mean objective on the validation part at full KL weight, nats; None without one.
        learning_rate: At the end of the epoch.
        kl_weight: At the end of the epoch.
        seconds: Wall time since the start, of all attempts together.
        samples_per_second: Training rate within the epoch, validation left out.
        event: What else happened, such as a rollback.
    """

    epoch: int
    step: int
    objective: float
    log_likelihood: float
    kl: float
    validation: float | None
    learning_rate: float
    kl_weight: float
    seconds: float
    samples_per_second: float
    event: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """Where training stands at the end of an epoch, for whoever watches it.

    Attributes:
        history: One record per epoch so far.
        progress: Share of training that is done, by epochs or by time, in [0, 1].
        validate: Returns the mean of an objective over the validation part, such as one by which trainings with
            different objectives are compared; None without such a part.
    """

    history: Sequence[EpochRecord]
    progress: float
    validate: Callable[[Objective], float | None]


@dataclass(frozen=True)
class TrainingResult:
    """How training went.

    Attributes:
        history: One record per epoch.
        n_steps: Optimiser steps taken.
        best_epoch: The epoch whose weights were kept; the last one without a validation part.
        stopped: Why it ended: ``"epochs"``, ``"time"`` or ``"patience"``.
        events: Rollbacks and the like, in words.
    """

    history: list[EpochRecord]
    n_steps: int
    best_epoch: int
    stopped: str
    events: list[str]
