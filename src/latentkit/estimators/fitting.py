"""From data to a trained model: what every estimator that is trained by gradient steps does in ``fit``."""

from __future__ import annotations

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from latentkit.codec.coders import Coder
from latentkit.core.citations import bibtex
from latentkit.core.errors import DataError, InvalidParameterError
from latentkit.core.parameters import check_integer, parse_duration
from latentkit.core.protocols import LatentVariableModel, Objective, Schema
from latentkit.core.seeds import derive_seed, generator, isolated_rng
from latentkit.data import Dataset, learn_schema, learn_table_schema, learn_text_schema
from latentkit.data.conditions import learn_conditions
from latentkit.data.containers import is_frame
from latentkit.estimators.inputs import DataIntake
from latentkit.estimators.parameters import TrainingParameters, validate
from latentkit.estimators.private import check_private_data, check_private_model, draft_privacy, settle_privacy
from latentkit.estimators.randomness import draw_seed, python_random_kept
from latentkit.estimators.registry import estimators, name_of
from latentkit.estimators.resolving import default_batch_size, default_epochs, default_pace
from latentkit.estimators.runs import RunWriter, describe_data, save
from latentkit.models import Specification
from latentkit.training import (
    Checkpoint,
    Engine,
    EpochEnd,
    Feed,
    Interruption,
    PrivacySpent,
    PrivateStep,
    Trainer,
    TrainingPlan,
    build_augmentation,
    choose_engine,
    make_reporter,
    pick_device,
    training_step,
)
from latentkit.training.augmentation import Augment
from latentkit.training.engine import count_parameters
from latentkit.training.progress import Reporter

__all__ = ["TrainedEstimator"]

#: Share of the rows whose condition an epoch hides.
HIDDEN = 0.1
#: What the value of an objective is that bounds the log-likelihood of the data.
BOUND = "bound on log p(x)"
#: Floating-point operations of a training that is over before a measurement would be.
SHORT = 1e11


class TrainedEstimator(TrainingParameters, DataIntake, BaseEstimator, ABC):  # type: ignore[misc]
    """An estimator whose model is trained by gradient steps.

    What the model is, what training maximises and what is fitted after it are the subclass's. The parameters of
    training have the same names and meanings in all of them.

    Attributes:
        model_: The trained torch module.
        schema_: How the data become tensors and come back.
        specification_: What the model is made of.
        latent_dim_: Latent dimensions.
        history_: One record per epoch.
        n_iter_: Epochs trained.
        engine_: How training was computed.
        data_: What it was fitted on: where it was read, examples, kind; None of a run that does not tell.
        privacy_: What differential privacy training has spent; None where it was not private.
        n_features_in_: Numbers per example.
        coder_: What archives are written by; None before the first one.
    """

    #: The trained module.
    model_: Any
    condition_: Tensor | None
    coder_: Coder | None
    privacy_: PrivacySpent | None
    #: Modules beside the model that a run keeps, by name, such as a prior that is trained after it.
    extra_modules_: dict[str, nn.Module]

    #: Unit of the objective's value, for people; empty for none.
    _value_unit: ClassVar[str] = "nats"
    #: Arguments of an optimiser, by its name, where the user gives none.
    _optimizer_defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    # What is trained is the subclass's

    @abstractmethod
    def _specify(self, n_rows: int, condition_dim: int) -> Specification:
        """What the model is made of, for data of the learnt schema, this many rows and columns of conditions."""

    @abstractmethod
    def _objective(self) -> Objective:
        """What training maximises."""

    @abstractmethod
    def _kl_weight(self) -> Callable[[float], float]:
        """Progress in [0, 1] to the weight of the KL term in [0, 1]."""

    @abstractmethod
    def _cites(self) -> tuple[str, ...]:
        """Keys of the bibliography of what is used besides the model and its parts."""

    @abstractmethod
    def _complete(self, storage: Tensor, dataset: Dataset, reporter: Reporter) -> None:
        """Fit what is fitted after training, such as a prior for sampling."""

    @property
    def _value_name(self) -> str:
        """What the objective's value is, for people."""
        return BOUND

    @property
    def _is_private(self) -> bool:
        """Whether training is differentially private."""
        return False

    def _training_time(self, max_time: float) -> float:
        """Seconds of a time budget that the training itself gets: what is fitted after it may need some."""
        return max_time

    def _extra_modules(self) -> dict[str, nn.Module]:
        """Fresh modules of the names and shapes of ``extra_modules_``, into which a run is restored."""
        return {}

    @python_random_kept()
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        condition: Any = None,
        run: str | os.PathLike[str] | None = None,
        resume: bool = False,
        overwrite: bool = False,
        on_epoch: Callable[[EpochEnd], None] | None = None,
        engine: Engine | None = None,
    ) -> Self:
        """Learn the schema, the model and the ex-post priors.

        Args:
            X: Rows (n, features), images (n, height, width[, channels]), a tensor, a frame of numbers, or a path.
            y: Optional class labels, shape (n,): then :meth:`sample` can draw by class. They do not affect training.
            condition: What the model shall be given: one label or number for each example, shape (n,), several, shape
                (n, attributes), or a frame. Texts, bools and few different integers are classes. Training hides it from
                one row in ten, so that the model does without, too; see :meth:`given`.
            run: Folder that receives the run while it is trained, with checkpoints; then SIGINT and SIGTERM save the
                state before they stop the training.
            resume: Go on from the checkpoint in `run`, with the settings written there; ends in the same weights as a
                training that was not interrupted, bit for bit, as long as no `max_time` steers it.
            overwrite: Replace a run that is in `run`; without it such a run is left alone.
            on_epoch: Called at the end of every epoch; what it raises ends the training and is raised here, too.
            engine: How to compute, such as the ``engine_`` of another fit; None measures what is fast.
        Raises:
            RunError: If `run` holds a run that may not be replaced, or something else.
            InvalidParameterError: If a parameter has a value that it cannot have, or one that the data do not allow.
            DataError: If the data cannot be used.
            DivergenceError: If training met NaN again and again.
        """
        validate(self)
        dataset = self._take(X, y, reset=True)
        if self._is_private:
            check_private_data(dataset, condition)
        self.data_ = describe_data(dataset)
        self.schema_ = self._learn_schema(dataset)
        storage = self.schema_.encode(dataset.data)
        self.n_features_in_ = int(np.prod(self.schema_.user_shape))
        writer = None if run is None else RunWriter(Path(run), resume=resume, overwrite=overwrite)
        self.seed_ = draw_seed(self.random_state) if writer is None or not resume else writer.seed(self)
        train_rows, validation_rows = self._split(storage.shape[0])

        device = pick_device(self.device)
        columns = self._learn_conditions(condition, storage.shape[0])
        drawn, judged = self._augment(), self._augment(validation=True)
        lengths = self.schema_.lengths(storage) if self.schema_.kind == "text" else None
        feed = Feed(
            storage,
            self.schema_.to_model,
            device=device,
            condition=columns,
            hidden=HIDDEN,
            augment=drawn,
            lengths=lengths,
        )
        train = feed.subset(train_rows, augment=drawn) if len(validation_rows) else feed
        validation = feed.subset(validation_rows, augment=judged) if len(validation_rows) else None

        self.specification_ = self._specify(len(train), 0 if columns is None else columns.shape[1])
        self.latent_dim_ = self.specification_.latent_dim
        model = self._build(train)
        if self.warm_start and hasattr(self, "model_"):
            _take_weights(model, self.model_)
        model.to(device)
        objective = self._objective()
        plan = self._plan(train, device)
        if writer is not None and resume:
            engine = writer.engine()
        elif engine is None:
            engine = self._engine(model, objective, plan, train)
        plan = self._with_engine(plan, engine, writer)
        self.engine_ = engine
        checkpoint = self._checkpoint(writer, resume)
        if plan.privacy is not None:
            recorded = None if writer is None or not resume else writer.privacy()
            plan = settle_privacy(plan, model, objective, train, recorded=recorded, checkpoint=checkpoint)

        reporter = make_reporter(self.verbose)
        interruption = Interruption() if writer is not None else _NeverInterrupted()
        # Tried and built before anything is written: a wrong setting must not cost the run that is there.
        _try(model, objective, plan, train)
        trainer = Trainer(
            model,
            objective,
            plan,
            train=train,
            validation=validation,
            reporter=reporter,
            is_interrupted=lambda: interruption.requested,
            on_epoch=_together([] if writer is None else [lambda end: writer.epoch(end.history)], on_epoch),
        )
        for note in self.schema_.notes if self.schema_.kind in ("table", "text") else ():
            reporter.note(note)
        if plan.privacy is not None:
            reporter.note(plan.privacy.summary())
        reporter.start(self._headline(dataset, len(train), plan))
        if writer is not None:
            writer.begin(self, plan)
        with interruption:
            result = trainer.run(checkpoint)
        self.model_ = model
        self.history_ = [record.to_dict() for record in result.history]
        self.n_iter_ = len(result.history)
        self.best_epoch_ = result.best_epoch
        self.stopped_ = result.stopped
        self.events_ = result.events
        self.privacy_ = None if plan.privacy is None else plan.privacy.spent(result.n_steps)
        self.extra_modules_ = {}
        self.coder_ = None
        self._complete_given(columns, storage, dataset, reporter)
        if writer is not None:
            writer.finish(self)
        return self

    @python_random_kept()
    def fit_prior(self, X: Any, y: Any = None, *, condition: Any = None) -> Self:
        """Fit anew what :meth:`fit` fits after training, such as the ex-post prior of ``ex_post``; the model stays.

        Args:
            X: The data of fit, or others like them.
            y: Class labels, as for :meth:`fit`.
            condition: What the model is given, as for :meth:`fit`; needed where fit was given one.
        Raises:
            InvalidParameterError: If a parameter has a value that it cannot have.
            DataError: If the data or the conditions are not like those of fit.
        Example:
            >>> from latentkit import VAE
            >>> X = [[0.0, 1.0], [1.0, 0.0], [0.5, 0.5], [0.2, 0.8]]
            >>> vae = VAE(latent_dim=1, max_epochs=1, ex_post="none", random_state=0).fit(X)
            >>> vae.set_params(ex_post="mixture").fit_prior(X).ex_post_prior_ is None
            False
        """
        check_is_fitted(self)
        validate(self)
        if (condition is None) != (self.condition_schema_ is None):
            raise InvalidParameterError(
                "fit_prior needs the conditions where fit was given some, and only there. Give condition= as to fit."
            )
        dataset = self._take(X, y, reset=False)
        storage = self.schema_.encode(dataset.data)
        columns = None if self.condition_schema_ is None else self.condition_schema_.encode(condition)
        self.coder_ = None
        self._complete_given(columns, storage, dataset, make_reporter(self.verbose))
        return self

    def _complete_given(self, columns: Tensor | None, storage: Tensor, dataset: Dataset, reporter: Reporter) -> None:
        self.condition_ = columns  # the codes that are fitted to are those of the conditions
        try:
            self._complete(storage, dataset, reporter)
        finally:
            self.condition_ = None

    def citation(self) -> str:
        """Return BibTeX entries of what this estimator uses: the model, its parts, the objective, and latentkit.

        Example:
            >>> from latentkit import VAE
            >>> X = [[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]]
            >>> print(VAE(latent_dim=1, max_epochs=1, validation_fraction=0).fit(X).citation()[:26])
            @inproceedings{kingma2014a
        """
        check_is_fitted(self)
        given = () if self.condition_schema_ is None else ("sohn2015learning",)
        keys = [*estimators.cites(name_of(type(self))), *self.specification_.cites, *self._cites(), *given]
        return bibtex([*keys, "latentkit"])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a run folder from which :func:`latentkit.load` gives this estimator back; no pickle is in it."""
        check_is_fitted(self)
        return save(self, path)

    # The parts of fit

    def _learn_schema(self, dataset: Dataset) -> Schema:
        """How these data become tensors; tables of mixed kinds are for members that have networks for them."""
        if dataset.kind == "text":
            if not self._takes_texts:
                raise DataError(f"{type(self).__name__} takes numbers and images, and these data are texts. Use VAE.")
            asked = {name: value for name, value in self._text_options().items() if name != "word_dropout"}
            return learn_text_schema(dataset, **asked)
        for name, value in self._text_options().items():
            raise InvalidParameterError(f"{name}={value!r} is for texts, and these data are none. Leave it out.")
        if dataset.kind != "table":
            for name, value in self._table_options().items():
                raise InvalidParameterError(
                    f"{name}={value!r} is for tables of mixed kinds, and these data are "
                    f"{'images' if dataset.kind == 'images' else 'numbers'}. Leave it out."
                )
            # A frame with holes would be a table of mixed kinds; here its cells have to be numbers.
            return learn_schema(dataset.data, kind="rows" if is_frame(dataset.data) else "auto")
        if not self._takes_tables:
            raise DataError(
                f"{type(self).__name__} takes numbers and images, and these data are a table of mixed kinds. Use VAE, "
                "or give the numeric columns without missing values."
            )
        return learn_table_schema(dataset, **self._table_options())

    def _learn_conditions(self, condition: Any, n: int) -> Tensor | None:
        """Learn the schema of the conditions and return their columns, shape (n, columns)."""
        self.condition_ = None
        self.condition_schema_ = None if condition is None else learn_conditions(condition)
        if self.condition_schema_ is None:
            return None
        columns = self.condition_schema_.encode(condition)
        if len(columns) != n:
            raise DataError(f"condition must have one row per example: X has {n}, condition has {len(columns)}.")
        return columns

    def _augment(self, *, validation: bool = False) -> Augment | None:
        """What is drawn anew of each example, of those to learn from or of those to judge by."""
        return build_augmentation(
            self.augmentation,
            event_shape=self.schema_.event_shape,
            is_bounded=self.schema_.values != "real",
            validation=validation,
        )

    def validation_rows(self, n: int) -> NDArray[np.int64]:
        """Return which rows of fit, by number, training was judged by and did not learn from; ascending.

        Args:
            n: How many rows fit was given.
        """
        check_is_fitted(self)
        return self._split(check_integer("n", n, low=1))[1].numpy()

    def _split(self, n_rows: int) -> tuple[Tensor, Tensor]:
        """Rows to learn from and rows to judge by; fewer than five are too few to judge by."""
        n_validation = min(round(n_rows * self.validation_fraction), 10_000)
        order = torch.randperm(n_rows, generator=generator(self.seed_, "split"))
        if n_validation < 5:
            n_validation = 0
        if n_rows - n_validation < 2:
            raise InvalidParameterError(
                f"validation_fraction={self.validation_fraction!r} of {n_rows} examples leaves {n_rows - n_validation} "
                "to learn from; at least 2 are needed. Use a smaller fraction, or 0 for none."
            )
        return order[n_validation:].sort().values, order[:n_validation].sort().values

    def _build(self, train: Feed) -> nn.Module:
        """The model of `specification_` before training; it starts at the average example, unless that is private."""
        networks = {role: getattr(self, role) for role in self.specification_.networks}
        own = {role: network for role, network in networks.items() if isinstance(network, nn.Module)}
        with isolated_rng(derive_seed(self.seed_, "weights")):
            model: Any = self.specification_.build(**own)
        if self._is_private:
            check_private_model(model)
        else:
            model.initialise_output(train.batch(slice(0, min(len(train), 5000))).x.cpu())
        return cast(nn.Module, model)

    def _plan(self, train: Feed, device: str) -> TrainingPlan:
        pace = default_pace(len(train), kind=self.schema_.kind, is_private=self._is_private)
        batch_size = (
            default_batch_size(len(train), self.specification_.event_shape, most_rows=pace.most_rows)
            if self.batch_size == "auto"
            else min(int(self.batch_size), len(train))
        )
        max_time = None
        if self.max_time is not None:
            max_time = self._training_time(parse_duration("max_time", self.max_time))
        if self.max_epochs != "auto":
            max_epochs = int(self.max_epochs)
        else:
            planned = max_time is None or self._is_private  # the noise is that of the steps that are planned
            max_epochs = default_epochs(train.steps_per_epoch(batch_size)) if planned else 100_000
        if self.patience not in ("auto", None) and not self.validation_fraction:
            raise InvalidParameterError(
                f"patience={self.patience!r} needs a validation part to judge by, and validation_fraction is 0. Set "
                "one, or leave patience out."
            )
        patience = max(10, min(max_epochs, 1000) // 10) if self.patience == "auto" else self.patience
        plan = TrainingPlan(
            max_epochs=max_epochs,
            batch_size=batch_size,
            max_time=max_time,
            optimizer=self.optimizer,
            optimizer_options=dict(self._optimizer_options()),
            learning_rate=pace.learning_rate if self.learning_rate == "auto" else float(self.learning_rate),
            schedule=self.schedule,
            warm_up=float(self.warm_up),
            weight_decay=float(self.weight_decay),
            gradient_clip=None if self.gradient_clip is None else float(self.gradient_clip),
            averaging=pace.weight_averaging if self.weight_averaging == "auto" else float(self.weight_averaging),
            patience=patience,
            kl_weight=self._kl_weight(),
            seed=derive_seed(self.seed_, "fit"),
            engine=Engine(device=device),
        )
        return replace(plan, privacy=draft_privacy(self, len(train), plan)) if self._is_private else plan

    def _optimizer_options(self) -> Mapping[str, Any]:
        if self.optimizer_options is None:
            return self._optimizer_defaults.get(self.optimizer.lower(), {})
        return self.optimizer_options

    def _engine(self, model: nn.Module, objective: Objective, plan: TrainingPlan, train: Feed) -> Engine:
        """How to compute; trainings of well below a second take the default and touch no cache."""
        epochs = plan.max_epochs if plan.max_time is None else 100
        n_steps = epochs * train.steps_per_epoch(plan.batch_size)
        precision = "float32" if self._is_private else self.precision
        if 6.0 * count_parameters(model) * plan.batch_size * n_steps < SHORT and plan.max_time is None:
            given = "float32" if precision == "auto" else precision
            return Engine(
                device=plan.engine.device, precision=given, threads=torch.get_num_threads(), compiled=bool(self.compile)
            )
        sample = train.batch(slice(0, plan.batch_size))

        def make_step(engine: Engine) -> Callable[[], Tensor]:
            step = training_step(copy.deepcopy(model), objective, replace(plan, engine=engine))

            def run() -> Tensor:
                return step(sample, 1.0).objective

            return run

        shapes = f"{self.specification_.to_dict()} {count_parameters(model)} {len(train)} {epochs} {plan.batch_size}"
        with isolated_rng(0, device := plan.engine.device):
            return choose_engine(
                device=device,
                precision=precision,
                compiled=bool(self.compile),
                signature=f"{shapes} {plan.optimizer} {objective}{' private' * self._is_private}",
                make_step=make_step,
                n_steps=n_steps,
            )

    def _with_engine(self, plan: TrainingPlan, engine: Engine, writer: Any) -> TrainingPlan:
        path = None if writer is None else writer.checkpoint_path
        return replace(plan, engine=engine, checkpoint_path=path)

    def _checkpoint(self, writer: Any, resume: bool) -> Checkpoint | None:
        if not resume:
            return None
        if writer is None:
            raise InvalidParameterError(
                "resume=True needs the folder to go on from: fit(X, run='folder', resume=True)."
            )
        checkpoint: Checkpoint | None = writer.checkpoint()
        return checkpoint

    def _headline(self, dataset: Dataset, n_train: int, plan: TrainingPlan) -> str:
        shape = " x ".join(str(size) for size in self.specification_.event_shape)
        shape = {"table": f"{shape} columns", "text": f"up to {shape} tokens"}.get(self.schema_.kind, shape)
        parts = self.specification_.parts
        likelihood = f"{parts['likelihood']} likelihood" if "likelihood" in parts else "no likelihood"
        latents = f"codes: {parts['codes']}" if "codes" in parts else f"{self.latent_dim_} latent dimensions"
        return (
            f"{type(self).__name__} on {n_train:,} examples of {shape} ({self.schema_.values}, {likelihood}), "
            f"{latents}, batch {plan.batch_size}; {plan.engine.summary()}; "
            f"objective: {self._value_name}"
        )


def _take_weights(model: nn.Module, previous: nn.Module) -> None:
    """Start from the weights of the fit before."""
    try:
        model.load_state_dict(previous.state_dict())
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InvalidParameterError(
            f"warm_start=True goes on from the weights of the fit before, and these networks differ: {reason} Use the "
            "same settings of the networks and data of the same shape, or warm_start=False."
        ) from None


def _try(model: nn.Module, objective: Objective, plan: TrainingPlan, train: Feed) -> None:
    """Evaluate the objective once, for the errors of parts that do not go together."""
    sample = train.batch(slice(0, 2))
    with isolated_rng(0, train.device):
        with torch.no_grad():
            objective(cast(LatentVariableModel, model.eval()), sample)
        model.train()
        if plan.privacy is not None:
            PrivateStep(model, objective, plan).clipped_sum(sample, 1.0)


def _together(
    watchers: list[Callable[[EpochEnd], None]], another: Callable[[EpochEnd], None] | None
) -> Callable[[EpochEnd], None] | None:
    """All watchers of a training as one; None where there is none."""
    all_of_them = [*watchers, *([] if another is None else [another])]

    def tell(end: EpochEnd) -> None:
        for watcher in all_of_them:
            watcher(end)

    return tell if all_of_them else None


class _NeverInterrupted:
    requested = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        return None
