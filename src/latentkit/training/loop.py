"""The training loop: there is one, for every model and objective."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from latentkit.core.allocation import release_freed_memory
from latentkit.core.errors import DivergenceError, TrainingInterrupted
from latentkit.core.protocols import Batch, LatentVariableModel, Objective, Phase, Terms, Watchful
from latentkit.core.seeds import derive_seed, isolated_rng
from latentkit.objectives.phases import inference_parameters, trainable_parameters
from latentkit.training.checkpoints import Checkpoint, write_checkpoint
from latentkit.training.feed import Feed
from latentkit.training.optimizers import build_optimizer
from latentkit.training.plan import EpochEnd, EpochRecord, TrainingPlan, TrainingResult
from latentkit.training.private_step import PrivateStep
from latentkit.training.progress import Reporter, Silent, Status
from latentkit.training.schedules import Schedule, schedules, warm_up

__all__ = ["PRIVACY_KEY", "Trainer", "TrainingStep", "mean_objective", "objective_values", "training_step"]

#: Steps between looks at the loss. At each one the state is kept in memory, so that a divergence loses little.
CHECK_EVERY = 100

#: Steps of which the generative model takes one while training is aggressive.
DECODER_EVERY = 10

#: Where a checkpoint keeps the secret of a private training.
PRIVACY_KEY = "privacy_key"

_TERMS = ("objective", "log_likelihood", "kl")
_Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]


class TrainingStep:
    """One step of optimisation: forward, backward, update, for every phase of the objective.

    Args:
        model: The model that is trained.
        objective: What it maximises.
        plan: The settings; this uses the optimiser's, the clipping and the engine.
    """

    def __init__(self, model: nn.Module, objective: Objective, plan: TrainingPlan) -> None:
        self.phases = objective.phases(cast(LatentVariableModel, model))
        self.optimizers = [
            build_optimizer(
                plan.optimizer,
                phase.parameters,
                learning_rate=plan.learning_rate,
                weight_decay=plan.weight_decay,
                options=plan.optimizer_options,
            )
            for phase in self.phases
        ]
        self.engine = plan.engine
        self.gradient_clip = plan.gradient_clip
        self.aggressive = plan.aggressive
        self._generative = _generative_parameters(model) if plan.aggressive else []
        self._terms = [self._compile(phase) for phase in self.phases]

    def __call__(self, batch: Batch, kl_weight: float, number: int = 0, progress: float = 1.0) -> Terms:
        """Take one step and return the last phase's terms, detached.

        Args:
            batch: The rows.
            kl_weight: Weight of the KL term.
            number: Steps that were taken before; only an aggressive training depends on it.
            progress: Likewise.
        """
        is_held = progress < self.aggressive and (number + 1) % DECODER_EVERY != 0
        terms: Terms | None = None
        for phase, compute, optimizer in zip(self.phases, self._terms, self.optimizers, strict=True):
            optimizer.zero_grad()
            if self.engine.precision == "float32":
                terms = compute(batch, kl_weight)
            else:
                with self.engine.autocast():
                    terms = compute(batch, kl_weight)
            (-terms.objective.mean()).backward()  # type: ignore[no-untyped-call]
            for parameter in self._generative if is_held else ():
                parameter.grad = None
            if self.gradient_clip is not None:
                nn.utils.clip_grad_norm_(phase.parameters, self.gradient_clip)
            optimizer.step()
        assert terms is not None
        return Terms(terms.objective.detach(), terms.log_likelihood.detach(), terms.kl.detach())

    def scale_learning_rate(self, factor: float) -> None:
        """Set the learning rate of every phase to `factor` times its full strength."""
        for optimizer in self.optimizers:
            optimizer.scale_learning_rate(factor)

    def _compile(self, phase: Phase) -> Callable[[Batch, float], Terms]:
        if not self.engine.compiled:
            return phase.terms
        mode = "reduce-overhead" if torch.device(self.engine.device).type == "cuda" else None
        compiled = torch.compile(phase.terms, mode=mode)
        # The weight changes at every step: as a number it would be compiled in, as a tensor it is an input.
        return lambda batch, kl_weight: compiled(batch, torch.tensor(kl_weight, device=batch.x.device))  # type: ignore[arg-type]


def training_step(model: nn.Module, objective: Objective, plan: TrainingPlan) -> TrainingStep | PrivateStep:
    """Return the step that a plan asks for: a private one where it has a privacy."""
    return (TrainingStep if plan.privacy is None else PrivateStep)(model, objective, plan)


@dataclass
class _State:
    """Where training stands; every field is a JSON value, so that a checkpoint holds it exactly."""

    epoch: int = 0
    step_in_epoch: int = 0
    n_steps: int = 0
    elapsed: float = 0.0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    n_summed: int = 0
    epoch_seconds: float = 0.0
    rate_factor: float = 1.0
    rollbacks: int = 0
    has_pretrained: bool = False
    first: float | None = None
    best_check: float = -math.inf
    best: float = -math.inf
    best_epoch: int = 0
    waited: int = 0
    schedule: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    stopped: str | None = None


class Trainer:
    """Trains a model on a feed.

    Early stopping, the best state, weight averaging, rollbacks and checkpoints are here; what a step maximises is the
    objective's, how fast it runs is the engine's.

    Args:
        model: Trained in place; ends with the best (or averaged, or last) weights, in evaluation mode.
        objective: What training maximises. One that learns itself (with a discriminator) is a module, made whole by its
            `phases`; its state is part of the checkpoints.
        plan: The settings.
        train: Examples to learn from.
        validation: Examples to judge by; None to judge by nothing and keep the last weights.
        reporter: Hears how it goes.
        is_interrupted: Asked after every step; True saves the state and raises TrainingInterrupted.
        on_epoch: Called at the end of every epoch. What it raises ends the training.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        plan: TrainingPlan,
        *,
        train: Feed,
        validation: Feed | None = None,
        reporter: Reporter | None = None,
        is_interrupted: Callable[[], bool] | None = None,
        on_epoch: Callable[[EpochEnd], None] | None = None,
    ) -> None:
        self.model = model
        self.objective = objective
        self.plan = plan
        self.train = train
        self.validation = validation
        self.reporter = reporter or Silent()
        self.is_interrupted = is_interrupted or (lambda: False)
        self.on_epoch = on_epoch
        self.step = training_step(model, objective, plan)
        self._first_weights = {name: _clone(getattr(model, name).state_dict()) for name in plan.anew}
        self.schedule: Schedule = schedules[plan.schedule]()
        self.averaged = _averaged(model, plan.averaging) if plan.averaging else None
        self.state = _State()
        self._best: dict[str, Tensor] | None = None
        self._window: list[Terms] = []
        self._snapshot: Checkpoint | None = None
        self._written = self._told = 0.0
        self._clock = 0.0

    def run(self, resume: Checkpoint | None = None) -> TrainingResult:
        """Train to the end and return how it went.

        Args:
            resume: State to go on from, as :func:`read_checkpoint` gives it.
        Raises:
            DivergenceError: If training met NaN or infinity again and again.
            TrainingInterrupted: If `is_interrupted` said so; the state has been saved.
            StorageError: If a checkpoint could not be written.
        """
        with self.plan.engine.applied(), isolated_rng(derive_seed(self.plan.seed, "training"), self.train.device):
            if resume is not None:
                self._restore(resume)
                if self.state.stopped == "epochs" and self.state.epoch < self.plan.max_epochs:
                    self.state.stopped = None
            self._clock = time.perf_counter()
            self._written = time.monotonic()
            try:
                self._keep(force=False)
                while self.state.stopped is None:
                    if self._run_epoch():
                        self._end_epoch()
                        self._keep(force=self.state.stopped is not None)
            finally:
                self.reporter.close()
                release_freed_memory()
            self._settle()
        history = [EpochRecord(**record) for record in self.state.history]
        best_epoch = self.state.best_epoch if self._best is not None else self.state.epoch
        stopped = self.state.stopped or "epochs"
        return TrainingResult(history, self.state.n_steps, best_epoch, stopped, list(self.state.events))

    # One epoch

    def _run_epoch(self) -> bool:
        """Run the steps that are left of this epoch; False if a rollback moved the state elsewhere."""
        state, plan = self.state, self.plan
        self.model.train()
        n_batches = self.train.steps_per_epoch(plan.batch_size)
        for batch in self.train.epoch(
            plan.batch_size, seed=plan.seed, epoch=state.epoch, start=state.step_in_epoch, draw=self._draw
        ):
            progress = self._progress(n_batches)
            if progress >= plan.pretraining > 0.0 and not state.has_pretrained:
                if not self._check():
                    return False
                self._start_anew()
            self.step.scale_learning_rate(self._rate(progress))
            terms = self.step(batch, plan.kl_weight(progress), state.n_steps, progress)
            if self.averaged is not None:
                self.averaged.update_parameters(self.model)
            self._window.append(terms)
            state.n_steps += 1
            state.step_in_epoch += 1
            self._tick()
            last = state.step_in_epoch >= n_batches
            if (state.n_steps % CHECK_EVERY == 0 or last) and not self._check():
                return False
            if state.n_steps % CHECK_EVERY == 0 and not last:
                self._keep(force=False)
            if self._window and time.monotonic() - self._told > 0.2 and len(batch.x):
                self._tell(progress)
            if self.is_interrupted():
                self._interrupt()
            if plan.max_time is not None and state.elapsed >= plan.max_time:
                # The epoch is cut short, and its record says so by its step.
                return last or self._check()
        return True

    def _end_epoch(self) -> None:
        """Validate, keep the best state, decide whether to go on, and write the record."""
        state, plan = self.state, self.plan
        progress = self._progress(self.train.steps_per_epoch(plan.batch_size))
        rate = state.n_summed / state.epoch_seconds if state.epoch_seconds > 0 else 0.0
        objective, log_likelihood, kl = (total / max(1, state.n_summed) for total in state.sums)
        validation = None
        if self.validation is not None:
            validation = self._validate(self.validation)
            self._tick(training=False)
        state.epoch += 1
        score = objective if validation is None else validation
        self.schedule.observe(score)
        if validation is not None and plan.privacy is None and (state.has_pretrained or not plan.pretraining):
            if validation > state.best:
                state.best, state.best_epoch, state.waited = validation, state.epoch, 0
                self._best = _clone(self._judged().state_dict())
            else:
                state.waited += 1
        record = EpochRecord(
            epoch=state.epoch,
            step=state.n_steps,
            objective=objective,
            log_likelihood=log_likelihood,
            kl=kl,
            validation=validation,
            learning_rate=plan.learning_rate * self._rate(progress),
            kl_weight=plan.kl_weight(progress),
            seconds=round(state.elapsed, 3),
            samples_per_second=round(rate, 1),
            event=None,
        )
        state.history.append(record.to_dict())
        state.sums, state.n_summed, state.step_in_epoch, state.epoch_seconds = [0.0, 0.0, 0.0], 0, 0, 0.0
        if state.epoch >= plan.max_epochs:
            state.stopped = "epochs"
        elif plan.max_time is not None and state.elapsed >= plan.max_time:
            state.stopped = "time"
        elif plan.patience is not None and validation is not None and state.waited >= plan.patience:
            state.stopped = "patience"
        self.reporter.epoch(self._status(objective, kl, rate, progress))
        if self.on_epoch is not None:
            history = [EpochRecord(**line) for line in state.history]
            self.on_epoch(EpochEnd(history, progress, self._validated_by))
            self._tick(training=False)

    def _start_anew(self) -> None:
        """End the pre-training: give parts of the model their first weights again, with a new optimiser."""
        for name, weights in self._first_weights.items():
            getattr(self.model, name).load_state_dict(weights)
        self.step = training_step(self.model, self.objective, self.plan)
        if self.averaged is not None:
            self.averaged = _averaged(self.model, self.plan.averaging)
        self.state.has_pretrained, self.state.first, self.state.best_check = True, None, -math.inf
        text = f"step {self.state.n_steps}: pre-training is over; {' and '.join(self.plan.anew)} started anew"
        self.state.events.append(text)
        self.reporter.event(text)
        self._keep(force=False)

    def _validated_by(self, objective: Objective) -> float | None:
        """Mean of another objective on held-out rows; that of training is known already."""
        if self.validation is None:
            return None
        if objective == self.objective:
            known: float | None = self.state.history[-1]["validation"]
            return known
        return self._validate(self.validation, objective)

    def _validate(self, feed: Feed, objective: Objective | None = None) -> float:
        """Mean objective on held-out rows at full KL weight, with the same latent noise in every epoch."""
        model = self._judged()
        model.eval()
        seed = derive_seed(self.plan.seed, "validation")
        with isolated_rng(seed, feed.device), self.plan.engine.autocast():
            judge = self.objective if objective is None else objective
            value = mean_objective(model, judge, feed, batch_size=max(self.plan.batch_size, 256))
        self.model.train()
        return value

    # The guard

    def _check(self) -> bool:
        """Add the window's terms to the epoch's sums; on NaN or divergence go back, lower the rate and return False."""
        state = self.state
        window, self._window = self._window, []
        if not window:
            return True
        columns = [[getattr(terms, name) for terms in window] for name in _TERMS]
        sums = [torch.cat(column).sum(dtype=torch.float64).item() for column in columns]
        n = sum(terms.objective.shape[0] for terms in window)
        if self.plan.privacy is not None:
            self._check_weights()
            self._add(sums, n)
            return True
        mean = sums[0] / n
        if state.first is None and math.isfinite(mean):
            state.first = mean
        failure = self.objective.failure() if isinstance(self.objective, Watchful) else None
        if failure is None and all(math.isfinite(total) for total in sums) and not self._has_diverged(mean):
            self._add(sums, n)
            state.best_check = max(state.best_check, mean)
            return True
        means = dict(zip(("objective", "log-likelihood", "KL"), (total / n for total in sums), strict=True))
        broken = [(name, number) for name, number in means.items() if not math.isfinite(number)]
        culprit, value = broken[0] if broken else ("objective", mean)
        self._roll_back(f"{culprit} was {value:g}" if failure is None or broken else failure)
        return False

    def _add(self, sums: Sequence[float], n: int) -> None:
        """Add the terms of n examples to the epoch's sums."""
        self.state.sums = [total + part for total, part in zip(self.state.sums, sums, strict=True)]
        self.state.n_summed += n

    def _check_weights(self) -> None:
        """All that a private training may be judged by: weights are public, and the value of the objective is not."""
        if not all(bool(parameter.isfinite().all()) for parameter in self.model.parameters()):
            raise DivergenceError(
                f"training diverged at step {self.state.n_steps}: a weight is not finite. Use a smaller learning_rate, "
                "or optimizer='adam'."
            )

    def _has_diverged(self, mean: float) -> bool:
        """Far below the start: worse than the first window by ten times what was won since, and then some."""
        state = self.state
        if state.first is None or state.best_check == -math.inf:
            return False
        scale = max(abs(state.first), abs(state.best_check), 1.0)
        return mean < min(state.first, state.best_check) - 10.0 * scale

    def _roll_back(self, reason: str) -> None:
        state = self.state
        step, rollbacks, factor = state.n_steps, state.rollbacks, state.rate_factor
        if rollbacks >= self.plan.max_rollbacks or self._snapshot is None:
            raise DivergenceError(
                f"training diverged at step {step}: {reason}, after {rollbacks} rollbacks and with the "
                f"learning rate at {self.plan.learning_rate * factor:.3g}. Use a smaller learning_rate, set "
                "gradient_clip=1.0, or check the data for extreme values."
            )
        self._restore(self._snapshot)
        self.state.rollbacks, self.state.rate_factor = rollbacks + 1, factor * 0.5
        text = (
            f"step {step}: {reason}; went back to step {self.state.n_steps} and halved the learning "
            f"rate to {self.plan.learning_rate * self.state.rate_factor:.3g}"
        )
        self.state.events.append(text)
        self.reporter.event(text)
        self._keep(force=False)

    # State

    def _capture(self) -> Checkpoint:
        tensors: dict[str, dict[str, Tensor]] = {
            "model": _clone(self.model.state_dict()),
            "rng": {"cpu": torch.random.get_rng_state()},
        }
        # lists grow and the records in them stay as they are: copies of the lists are enough
        copied = {name: list(value) if isinstance(value, list) else value for name, value in vars(self.state).items()}
        values: dict[str, Any] = {"state": {**copied, "schedule": dict(self.schedule.state())}}
        if self.train.device.type == "cuda":
            tensors["rng"]["cuda"] = torch.cuda.get_rng_state(self.train.device)
        for phase, optimizer in enumerate(self.step.optimizers):
            state, numbers = optimizer.state()
            tensors[f"optimizer{phase}"] = _clone(state)
            values[f"optimizer{phase}"] = numbers
        if isinstance(self.objective, nn.Module):
            tensors["objective"] = _clone(self.objective.state_dict())
        if self.averaged is not None:
            tensors["averaged"] = _clone(self.averaged.state_dict())
        if self._best is not None:
            tensors["best"] = self._best
        if self.plan.privacy is not None:
            values[PRIVACY_KEY] = self.plan.privacy.key
        if self._window:  # steps since the last look, whose terms are yet to be summed
            tensors["window"] = {name: torch.cat([getattr(t, name) for t in self._window]) for name in _TERMS}
        return Checkpoint(tensors, values)

    def _restore(self, checkpoint: Checkpoint) -> None:
        tensors, values = checkpoint.tensors, checkpoint.values
        self.model.load_state_dict(tensors["model"])
        for phase, optimizer in enumerate(self.step.optimizers):
            optimizer.load_state(tensors.get(f"optimizer{phase}", {}), values[f"optimizer{phase}"])
        if isinstance(self.objective, nn.Module):
            self.objective.load_state_dict(tensors["objective"])
        if self.averaged is not None:
            self.averaged.load_state_dict(tensors["averaged"])
        self._best = tensors.get("best")
        torch.random.set_rng_state(tensors["rng"]["cpu"])
        if "cuda" in tensors["rng"]:
            torch.cuda.set_rng_state(tensors["rng"]["cuda"], self.train.device)
        elapsed = self.state.elapsed
        self.state = _State(**copy.deepcopy(values["state"]))
        # After a rollback the time that was lost still counts against the budget.
        self.state.elapsed = max(elapsed, self.state.elapsed)
        self.schedule.load_state(self.state.schedule)
        window = tensors.get("window")
        self._window = [] if window is None else [Terms(**{name: window[name] for name in _TERMS})]

    def _keep(self, *, force: bool) -> None:
        """Keep the state in memory, and on disk when it is due."""
        self._snapshot = self._capture()
        if self.plan.checkpoint_path is None:
            return
        if force or time.monotonic() - self._written >= self.plan.checkpoint_interval:
            write_checkpoint(self.plan.checkpoint_path, self._snapshot)
            self._written = time.monotonic()

    def _interrupt(self) -> None:
        where = "nothing was saved, as no run folder was given"
        if not all(bool(torch.isfinite(terms.objective).all()) for terms in self._window):
            self._check()  # never save a state that has already diverged
        if self.plan.checkpoint_path is not None:
            write_checkpoint(self.plan.checkpoint_path, self._capture())
            where = f"the state is in {self.plan.checkpoint_path}; --resume goes on from there"
        raise TrainingInterrupted(f"training was interrupted at step {self.state.n_steps}; {where}.")

    def _settle(self) -> None:
        """Put the weights in place that are to be used."""
        if self._best is not None:
            self.model.load_state_dict(self._best)
        elif self.averaged is not None:
            self.model.load_state_dict(self.averaged.module.state_dict())
        self.model.eval()

    def _judged(self) -> nn.Module:
        return self.model if self.averaged is None else self.averaged.module

    # Time and telling

    def _tick(self, *, training: bool = True) -> None:
        now = time.perf_counter()
        self.state.elapsed += now - self._clock
        if training:
            self.state.epoch_seconds += now - self._clock
        self._clock = now

    def _progress(self, n_batches: int) -> float:
        by_steps = (self.state.epoch * n_batches + self.state.step_in_epoch) / (self.plan.max_epochs * n_batches)
        by_time = 0.0 if self.plan.max_time is None else self.state.elapsed / self.plan.max_time
        return min(1.0, max(by_steps, by_time))

    def _rate(self, progress: float) -> float:
        return self.state.rate_factor * self.schedule.factor(progress) * warm_up(progress, self.plan.warm_up)

    def _draw(self, step: int) -> Tensor | None:
        """Numbers of the rows of a step of this epoch where each is drawn by itself; None where the epoch cuts them."""
        privacy = self.plan.privacy
        if privacy is None:
            return None
        return privacy.rows(len(self.train), self.state.n_steps)

    def _tell(self, progress: float) -> None:
        self._told = time.monotonic()
        objective, kl = (
            torch.cat([getattr(terms, name) for terms in self._window]).mean().item() for name in ("objective", "kl")
        )
        seen = self.state.step_in_epoch * self.plan.batch_size
        rate = seen / self.state.epoch_seconds if self.state.epoch_seconds > 0 else 0.0
        self.reporter.update(self._status(objective, kl, rate, progress))

    def _status(self, objective: float, kl: float, rate: float, progress: float) -> Status:
        validation = self.state.history[-1]["validation"] if self.state.history else None
        running = 0 if self.state.step_in_epoch == 0 else 1
        return Status(
            epoch=self.state.epoch + running,
            max_epochs=self.plan.max_epochs if self.plan.max_time is None else None,
            progress=progress,
            elapsed=self.state.elapsed,
            objective=objective,
            validation=validation,
            kl=kl,
            samples_per_second=rate,
        )


def mean_objective(model: nn.Module, objective: Objective, feed: Feed, *, batch_size: int) -> float:
    """Return the mean of :func:`objective_values`, nats."""
    return float(objective_values(model, objective, feed, batch_size=batch_size).mean())


def objective_values(model: nn.Module, objective: Objective, feed: Feed, *, batch_size: int) -> torch.Tensor:
    """Return an objective of each example of a feed at full KL weight, nats, without gradients, shape (n,), on the CPU.

    What is drawn anew of the examples is drawn alike at every call, and the order is the same. Examples of about one
    length go together.
    """
    values = []
    order = None if feed.lengths is None else feed.lengths.argsort(stable=True)
    with torch.no_grad():
        for start in range(0, len(feed), batch_size):
            rows = slice(start, start + batch_size)
            some = feed.batch(rows if order is None else order[rows].to(feed.storage.device))
            batch = feed.augmented(some, seed=0, keys=("judge", start))
            terms = objective(cast(LatentVariableModel, model), batch)
            values.append(terms.objective.double())
    return torch.cat(values).cpu()


def _generative_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Trainable parameters that q(z given x) does not depend on."""
    latent_variable_model = cast(LatentVariableModel, model)
    inference = {id(parameter) for parameter in inference_parameters(latent_variable_model)}
    return [each for each in trainable_parameters(latent_variable_model) if id(each) not in inference]


def _averaged(model: nn.Module, decay: float) -> AveragedModel:
    def update(averages: _Tensors, weights: _Tensors, n_averaged: Tensor | int) -> None:
        n = int(n_averaged)
        # A young average forgets faster, or the random start would stay in it.
        torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + n) / (10 + n)))

    return AveragedModel(model, multi_avg_fn=torch.no_grad()(update), use_buffers=False)


def _clone(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
