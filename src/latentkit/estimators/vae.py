"""The variational autoencoder as an estimator."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Self, cast, final

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import parse_duration
from latentkit.core.protocols import LatentVariableModel, Objective
from latentkit.core.seeds import derive_seed, generator, isolated_rng
from latentkit.data import Dataset, learn_schema
from latentkit.distributions import GaussianMixturePrior
from latentkit.estimators.base import LatentEstimator
from latentkit.estimators.parameters import validate
from latentkit.estimators.randomness import python_random_kept
from latentkit.estimators.resolving import (
    default_batch_size,
    default_epochs,
    default_latent_dim,
    resolve_kl_schedule,
    resolve_likelihood,
    resolve_objective,
)
from latentkit.estimators.runs import RunWriter, estimators, save
from latentkit.models import ModelSpecification, resolve_network, settle
from latentkit.objectives import objectives
from latentkit.tasks import fit_class_priors, fit_mixture_prior
from latentkit.training import (
    Checkpoint,
    Engine,
    Feed,
    Interruption,
    Trainer,
    TrainingPlan,
    TrainingStep,
    choose_engine,
    make_reporter,
    pick_device,
)
from latentkit.training.engine import count_parameters

__all__ = ["VAE"]

#: Floating-point operations of a training that is over before a measurement would be.
SHORT = 1e11
#: Rows used to fit the ex-post mixture, at most.
MIXTURE_ROWS = 20_000


@estimators.register("vae")
@final
class VAE(LatentEstimator):
    r"""Variational autoencoder: learns a latent space from data without labels, and puts it to use.

    .. math:: \log p(x) \ge E_{q(z \mid x)}[\log p(x \mid z)] - \beta\, KL(q(z \mid x), p(z))

    Everything that is ``"auto"`` is chosen from the data and written into the run.

    Args:
        latent_dim: Number of latent dimensions.
        encoder: ``"auto"``, ``"mlp"``, ``"conv"``, a tuple of hidden widths such as ``(500, 500)``, or a module of your
            own, which is copied.
        decoder: Likewise; a module of your own maps z to the likelihood's parameters.
        posterior: ``"diagonal"`` or ``"full"`` covariance of q(z given x).
        likelihood: ``"bernoulli"``, ``"categorical"``, ``"gaussian"``, ``"discretized_logistic"``, or ``"auto"`` for
            the one that is proper for the kind of the data.
        likelihood_options: Its arguments, such as ``{"variance": "feature"}``.
        prior: Prior that is trained against: ``"normal"``.
        ex_post: ``"mixture"`` fits a Gaussian mixture to the posteriors after training, from which :meth:`sample`
            draws; ``"none"`` does not.
        ex_post_components: Components of that mixture, at most.
        objective: ``"elbo"``, ``"iwae"``, ``"dreg"`` or ``"stl"``.
        beta: Weight of the KL term; 1 is the bound, above 1 the beta-VAE.
        free_bits: Nats of KL that each latent dimension has for free.
        n_importance: Draws per example of the importance-weighted objectives; ``"auto"`` is 5 for them.
        kl_schedule: ``"linear"`` warm-up of the KL term, ``"cyclical"`` or ``"constant"``.
        kl_warm_up: Share of training over which a linear warm-up rises.
        activation: Of the networks; ``"auto"`` is each network's own.
        normalization: ``"auto"``, ``"none"``, ``"batch"``, ``"layer"`` or ``"group"``.
        dropout: Probability with which a hidden unit is dropped while training.
        upsampling: ``"transposed"`` or ``"nearest"``, of a convolutional decoder.
        max_epochs: Passes over the data; ``"auto"`` makes about 10,000 steps, or as many as `max_time` allows.
        max_time: Time budget: seconds, or a text such as ``"5m"``. It steers the learning rate too.
        batch_size: Rows in a step.
        optimizer: Any optimiser of ``torch.optim`` by name.
        optimizer_options: Its arguments, such as ``{"betas": (0.9, 0.99)}``.
        learning_rate: At full strength.
        schedule: ``"cosine"``, ``"constant"``, ``"step"``, ``"exponential"`` or ``"plateau"``.
        warm_up: Share of training over which the learning rate rises.
        weight_decay: Of weight matrices.
        gradient_clip: Largest norm of the gradient; None for no clipping.
        weight_averaging: Decay of an exponential moving average of the weights, which is then used; 0 for none.
        validation_fraction: Share of the rows held out to stop early and keep the best state; 0 for none.
        patience: Epochs without improvement before training stops; ``"auto"`` is a tenth of max_epochs, at least 10;
            None never stops.
        precision: ``"float32"``, ``"bfloat16"``, or ``"auto"`` to measure which is faster.
        compile: Whether the training step goes through ``torch.compile``.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        random_state: Seed; with an int the same data give the same model.
        verbose: 0 is silent; 1 shows progress on standard error.

    Attributes:
        model_: The trained torch module.
        schema_: How the data become tensors and come back.
        specification_: What the model is made of.
        history_: One record per epoch.
        n_iter_: Epochs trained.
        latent_dim_: Latent dimensions.
        mixture_: The ex-post mixture, or None.
        classes_: Names of the classes, where labels were given.
        engine_: How training was computed.
        n_features_in_: Numbers per example.

    References:
        Kingma and Welling, 2014, Auto-Encoding Variational Bayes, arXiv:1312.6114.
        Ghosh et al., 2020, From Variational to Deterministic Autoencoders, arXiv:1903.12436 (ex-post mixtures).

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X = load_iris().data
        >>> vae = VAE(latent_dim=2, max_epochs=5, random_state=0).fit(X)
        >>> vae.transform(X).shape, vae.sample(3).shape
        ((150, 2), (3, 4))
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012 (scikit-learn's convention)
        "latent_dim": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "encoder": [str, tuple, list, nn.Module],
        "decoder": [str, tuple, list, nn.Module],
        "posterior": [str],
        "likelihood": [str],
        "likelihood_options": [dict, None],
        "prior": [str],
        "ex_post": [StrOptions({"mixture", "none"})],
        "ex_post_components": [Interval(Integral, 1, None, closed="left")],
        "objective": [str],
        "beta": [Interval(Real, 0, None, closed="left")],
        "free_bits": [Interval(Real, 0, None, closed="left")],
        "n_importance": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "kl_schedule": [str],
        "kl_warm_up": [Interval(Real, 0, 1, closed="both")],
        "activation": [str],
        "normalization": [str],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "upsampling": [StrOptions({"transposed", "nearest"})],
        "max_epochs": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_time": [str, Interval(Real, 0, None, closed="neither"), None],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "optimizer": [str],
        "optimizer_options": [dict, None],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "schedule": [str],
        "warm_up": [Interval(Real, 0, 1, closed="both")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "gradient_clip": [Interval(Real, 0, None, closed="neither"), None],
        "weight_averaging": [Interval(Real, 0, 1, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "patience": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left"), None],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "compile": ["boolean"],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        latent_dim: int | Literal["auto"] = "auto",
        *,
        encoder: str | Sequence[int] | nn.Module = "auto",
        decoder: str | Sequence[int] | nn.Module = "auto",
        posterior: str = "diagonal",
        likelihood: str = "auto",
        likelihood_options: Mapping[str, Any] | None = None,
        prior: str = "normal",
        ex_post: Literal["mixture", "none"] = "mixture",
        ex_post_components: int = 10,
        objective: str = "elbo",
        beta: float = 1.0,
        free_bits: float = 0.0,
        n_importance: int | Literal["auto"] = "auto",
        kl_schedule: str = "linear",
        kl_warm_up: float = 0.1,
        activation: str = "auto",
        normalization: str = "auto",
        dropout: float = 0.0,
        upsampling: Literal["transposed", "nearest"] = "transposed",
        max_epochs: int | Literal["auto"] = "auto",
        max_time: float | str | None = None,
        batch_size: int | Literal["auto"] = "auto",
        optimizer: str = "adam",
        optimizer_options: Mapping[str, Any] | None = None,
        learning_rate: float = 1e-3,
        schedule: str = "cosine",
        warm_up: float = 0.02,
        weight_decay: float = 0.0,
        gradient_clip: float | None = None,
        weight_averaging: float = 0.0,
        validation_fraction: float = 0.1,
        patience: int | Literal["auto"] | None = "auto",
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        compile: bool = False,  # noqa: A002 (the word of torch)
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.latent_dim = latent_dim
        self.encoder = encoder
        self.decoder = decoder
        self.posterior = posterior
        self.likelihood = likelihood
        self.likelihood_options = likelihood_options
        self.prior = prior
        self.ex_post = ex_post
        self.ex_post_components = ex_post_components
        self.objective = objective
        self.beta = beta
        self.free_bits = free_bits
        self.n_importance = n_importance
        self.kl_schedule = kl_schedule
        self.kl_warm_up = kl_warm_up
        self.activation = activation
        self.normalization = normalization
        self.dropout = dropout
        self.upsampling = upsampling
        self.max_epochs = max_epochs
        self.max_time = max_time
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.optimizer_options = optimizer_options
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warm_up = warm_up
        self.weight_decay = weight_decay
        self.gradient_clip = gradient_clip
        self.weight_averaging = weight_averaging
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.precision = precision
        self.compile = compile
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @python_random_kept()
    def fit(self, X: Any, y: Any = None, *, run: str | os.PathLike[str] | None = None, resume: bool = False) -> Self:
        """Learn the schema, the model and the ex-post priors.

        Args:
            X: Rows (n, features), images (n, height, width[, channels]), a tensor, a frame of numbers, or a path.
            y: Optional class labels, shape (n,): then :meth:`sample` can draw by class. They do not affect training.
            run: Folder that receives the run while it is trained, with checkpoints; then SIGINT and SIGTERM save the
                state before they stop the training.
            resume: Go on from the checkpoint in `run`, with the settings written there; ends in the same weights as a
                training that was not interrupted, bit for bit, as long as no `max_time` steers it.
        Raises:
            InvalidParameterError: If a parameter has a value that it cannot have, or one that the data do not allow.
            DataError: If the data cannot be used.
            DivergenceError: If training met NaN again and again.
        """
        validate(self)
        if self.ex_post == "none" and self.ex_post_components != 10:
            raise InvalidParameterError(
                f"ex_post='none' fits no mixture that could have ex_post_components={self.ex_post_components!r}. Use "
                "ex_post='mixture', or leave it out."
            )
        dataset = self._take(X, y, reset=True)
        self.schema_ = learn_schema(dataset.data)
        storage = self.schema_.encode(dataset.data)
        if not hasattr(self, "n_features_in_") or isinstance(X, (Dataset, str, os.PathLike)):
            self.n_features_in_ = int(np.prod(self.schema_.event_shape))
        writer = None if run is None else RunWriter(Path(run), resume=resume)
        self.seed_ = self._seed(None) if writer is None or not resume else writer.seed(self)
        train_rows, validation_rows = self._split(storage.shape[0])

        device = pick_device(self.device)
        feed = Feed(storage, self.schema_.to_model, device=device)
        train = feed.subset(train_rows) if len(validation_rows) else feed
        validation = feed.subset(validation_rows) if len(validation_rows) else None

        self.specification_ = self._specify(len(train))
        self.latent_dim_ = self.specification_.latent_dim
        model = self._build(train).to(device)
        objective = self._objective()
        plan = self._plan(train, device)
        engine = self._engine(model, objective, plan, train) if writer is None or not resume else writer.engine()
        plan = self._with_engine(plan, engine, writer)
        self.engine_ = engine

        reporter = make_reporter(self.verbose)
        interruption = Interruption() if writer is not None else _NeverInterrupted()
        # Tried and built before anything is written: a wrong setting must not cost the run that is there.
        _try(model, objective, train)
        trainer = Trainer(
            model,
            objective,
            plan,
            train=train,
            validation=validation,
            reporter=reporter,
            is_interrupted=lambda: interruption.requested,
            on_epoch=None if writer is None else writer.epoch,
        )
        reporter.start(self._headline(dataset, len(train), plan))
        if writer is not None:
            writer.begin(self, dataset, plan)
        with interruption:
            result = trainer.run(self._checkpoint(writer, resume))
        self.model_ = model
        self.history_ = [record.to_dict() for record in result.history]
        self.n_iter_ = len(result.history)
        self.best_epoch_ = result.best_epoch
        self.stopped_ = result.stopped
        self.events_ = result.events
        if self.ex_post != "none":
            reporter.note("fitting a mixture to the latent space, from which samples are drawn")
        self._fit_mixtures(storage, dataset)
        if writer is not None:
            writer.finish(self)
        return self

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a run folder from which :func:`latentkit.load` gives this estimator back; no pickle is in it."""
        check_is_fitted(self)
        return save(self, path)

    # The parts of fit

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

    def _specify(self, n_rows: int) -> ModelSpecification:
        event_shape = tuple(self.schema_.event_shape)
        likelihood, options = resolve_likelihood(self.likelihood, self.likelihood_options, self.schema_)
        encoder, decoder = (
            settle(
                resolve_network(network, event_shape, n_rows=n_rows),
                activation=self.activation,
                normalization=self.normalization,
            )
            for network in (self.encoder, self.decoder)
        )
        return ModelSpecification(
            event_shape=event_shape,
            latent_dim=default_latent_dim(event_shape) if self.latent_dim == "auto" else int(self.latent_dim),
            encoder=encoder,
            decoder=decoder,
            posterior=self.posterior,
            likelihood=likelihood,
            likelihood_options=options,
            prior=self.prior,
            activation=self.activation,
            normalization=self.normalization,
            dropout=float(self.dropout),
            upsampling=self.upsampling,
        )

    def _build(self, train: Feed) -> nn.Module:
        with isolated_rng(derive_seed(self.seed_, "weights")):
            model = self.specification_.build(
                encoder=self.encoder if isinstance(self.encoder, nn.Module) else None,
                decoder=self.decoder if isinstance(self.decoder, nn.Module) else None,
            )
        model.initialise_output(train.batch(slice(0, min(len(train), 5000))).x.cpu())
        return model

    def _objective(self) -> Objective:
        name, arguments = resolve_objective(
            self.objective, beta=float(self.beta), free_bits=float(self.free_bits), n_importance=self.n_importance
        )
        objective: Objective = objectives[name](**arguments)
        return objective

    def _plan(self, train: Feed, device: str) -> TrainingPlan:
        batch_size = (
            default_batch_size(len(train), self.specification_.event_shape)
            if self.batch_size == "auto"
            else min(int(self.batch_size), len(train))
        )
        max_time = None if self.max_time is None else parse_duration("max_time", self.max_time)
        if self.max_epochs != "auto":
            max_epochs = int(self.max_epochs)
        else:
            max_epochs = default_epochs(train.steps_per_epoch(batch_size)) if max_time is None else 100_000
        if self.patience not in ("auto", None) and not self.validation_fraction:
            raise InvalidParameterError(
                f"patience={self.patience!r} needs a validation part to judge by, and validation_fraction is 0. Set "
                "one, or leave patience out."
            )
        patience = max(10, min(max_epochs, 1000) // 10) if self.patience == "auto" else self.patience
        return TrainingPlan(
            max_epochs=max_epochs,
            batch_size=batch_size,
            max_time=max_time,
            optimizer=self.optimizer,
            optimizer_options=dict(self.optimizer_options or {}),
            learning_rate=float(self.learning_rate),
            schedule=self.schedule,
            warm_up=float(self.warm_up),
            weight_decay=float(self.weight_decay),
            gradient_clip=None if self.gradient_clip is None else float(self.gradient_clip),
            averaging=float(self.weight_averaging),
            patience=patience,
            kl_weight=resolve_kl_schedule(self.kl_schedule, float(self.kl_warm_up)),
            seed=derive_seed(self.seed_, "fit"),
            engine=Engine(device=device),
        )

    def _engine(self, model: nn.Module, objective: Objective, plan: TrainingPlan, train: Feed) -> Engine:
        """How to compute; trainings of well below a second take the default and touch no cache."""
        epochs = plan.max_epochs if plan.max_time is None else 100
        n_steps = epochs * train.steps_per_epoch(plan.batch_size)
        if 6.0 * count_parameters(model) * plan.batch_size * n_steps < SHORT and plan.max_time is None:
            given = "float32" if self.precision == "auto" else self.precision
            return Engine(
                device=plan.engine.device, precision=given, threads=torch.get_num_threads(), compiled=bool(self.compile)
            )
        sample = train.batch(slice(0, plan.batch_size))

        def make_step(engine: Engine) -> Callable[[], Tensor]:
            step = TrainingStep(copy.deepcopy(model), objective, replace(plan, engine=engine))

            def run() -> Tensor:
                return step(sample, 1.0).objective

            return run

        shapes = f"{self.specification_.to_dict()} {count_parameters(model)} {len(train)} {epochs} {plan.batch_size}"
        with isolated_rng(0, device := plan.engine.device):
            return choose_engine(
                device=device,
                precision=self.precision,
                compiled=bool(self.compile),
                signature=f"{shapes} {plan.optimizer} {objective}",
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
        return (
            f"VAE on {n_train:,} examples of {shape} ({self.schema_.values}, "
            f"{self.specification_.likelihood} likelihood), {self.latent_dim_} latent dimensions, "
            f"batch {plan.batch_size}; {plan.engine.summary()}"
        )

    def _fit_mixtures(self, storage: Tensor, dataset: Dataset) -> None:
        """Fit the ex-post mixture to posterior draws of the training data, and one per class where there are labels."""
        self.mixture_: GaussianMixturePrior | None = None
        self.class_mixtures_: list[GaussianMixturePrior] = []
        self.classes_: tuple[str, ...] = ()
        if self.ex_post == "none":
            return
        rows = torch.arange(storage.shape[0])
        if len(rows) > MIXTURE_ROWS:
            order = torch.randperm(len(rows), generator=generator(self.seed_, "mixture"))
            rows = order[:MIXTURE_ROWS].sort().values
        model = self._model(torch.float32)

        def moments(x: Tensor) -> Tensor:
            posterior: Any = model.encode(x)
            return torch.cat([posterior.mean, posterior.log_var], dim=-1)

        means, log_vars = self._map(moments, storage[rows], torch.float32).chunk(2, dim=-1)
        seed = derive_seed(self.seed_, "mixture")
        self.mixture_ = fit_mixture_prior(means, log_vars, n_components=self.ex_post_components, seed=seed)
        if dataset.labels is None:
            return
        codes = [int(code) for code in np.asarray(dataset.labels)[rows.numpy()]]
        mixtures = fit_class_priors(means, log_vars, codes, n_components=self.ex_post_components, seed=seed)
        names = dataset.label_names
        present = sorted(set(codes))
        self.classes_ = tuple(str(code) if names is None else names[code] for code in present)
        self.class_mixtures_ = [mixtures[code] for code in present]


def _try(model: nn.Module, objective: Objective, train: Feed) -> None:
    """Evaluate the objective once, for the errors of parts that do not go together."""
    with isolated_rng(0, train.device), torch.no_grad():
        objective(cast(LatentVariableModel, model.eval()), train.batch(slice(0, 2)))
    model.train()


class _NeverInterrupted:
    requested = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        return None
