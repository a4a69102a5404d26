"""The vector-quantised autoencoder as an estimator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, cast, final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn import functional

from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.core.parameters import check_choice, check_integer, parse_duration
from latentkit.core.protocols import Objective
from latentkit.core.seeds import derive_seed, isolated_rng
from latentkit.data import Dataset
from latentkit.distributions import GaussianMixturePrior
from latentkit.estimators.encoding import EncodingTasks
from latentkit.estimators.fitting import HIDDEN, TrainedEstimator
from latentkit.estimators.generating import GenerativeTasks
from latentkit.estimators.parameters import NetworkParameters, completed
from latentkit.estimators.precision import model_in
from latentkit.estimators.registry import estimators
from latentkit.estimators.resolving import resolve_kl_schedule, resolve_likelihood
from latentkit.evaluation import LikelihoodEstimate
from latentkit.models import CodeDistribution, CodePrior, QuantizedSpecification, resolve_network, settle
from latentkit.models.inference import iterate_batches
from latentkit.nn.grids import grid_channels
from latentkit.nn.quantizers import levels_for, perplexity, quantizers
from latentkit.objectives import CodeLikelihood, VectorQuantized
from latentkit.training import Feed, Trainer, TrainingPlan
from latentkit.training.progress import Reporter

__all__ = ["VQVAE"]

#: Codes that "auto" takes, for grids and for slots, where the data have eight vectors for each.
CODES_OF_GRID, CODES_OF_SLOTS, VECTORS_PER_CODE = 512, 64, 8
#: Length of a code vector, for grids and for slots.
CODE_DIM_OF_GRID, CODE_DIM_OF_SLOTS = 8, 4
#: Weight of the commitment term.
COMMITMENT = 0.25
#: Of the prior over codes: dropout, and rows in a step at most where nothing else is asked for.
PRIOR_DROPOUT, PRIOR_BATCH = 0.1, 64
#: Heads of attention of the prior over codes.
PRIOR_HEADS = 4
#: Name of the prior over codes among the extra modules.
PRIOR = "code_prior"


@estimators.register("vqvae", cites=("oord2017neural",))
@final
@completed
@dataclass(kw_only=True, eq=False, repr=False)
class VQVAE(EncodingTasks, GenerativeTasks, NetworkParameters, TrainedEstimator):
    r"""Vector-quantised autoencoder: describes an example by a few codes out of a codebook, and learns to write them.

    .. math:: c_i = \arg\min_k \|h_i(x) - e_k\|, \qquad \log p(x) \ge \log p(c) + \log p(x \mid c)

    Images become a grid of codes, rows a few slots. After the autoencoder an autoregressive prior p(c) is trained on
    the codes of the data, from which :meth:`sample` draws: by class, where labels were given to fit, or given a
    condition. A latent vector is the code vectors one after the other; any vector is decoded as the codes nearest to
    it.

    Args:
        latent_dim: Numbers in a latent vector: codes per example times code_dim. It sets the number of slots of rows;
            that of a grid follows from the image.
        encoder: ``"auto"``, ``"mlp"``, ``"conv"``, a tuple of hidden widths such as ``(500, 500)``, or a module of your
            own, which is copied. Only ``"conv"`` gives a grid.
        quantizer: ``"ema"`` (a codebook of moving averages), ``"rotation"`` (the same with the rotation trick's
            gradient), ``"gumbel"`` (codes drawn by Gumbel-softmax) or ``"fsq"`` (finite scalar quantisation).
        n_codes: Size of the codebook.
        code_dim: Length of a code vector.
        levels: Of ``"fsq"``: levels of each number; their product is n_codes.
        quantizer_options: Further arguments of the quantiser, such as ``{"decay": 0.99, "restart_below": 0.1}``.
        commitment: Weight of the squared distance between what the encoder gives and its code, nats per unit; of
            ``"ema"`` and ``"rotation"``.
        downsampling: How many times shorter the sides of the grid are than those of the image; a power of 2.
        prior_share: Time for the prior over codes as a share of training: of its epochs, and of `max_time`, to which
            it is added.
        prior_width: Numbers per place inside the prior; a multiple of 4.
        prior_layers: Layers of the prior.

    Attributes:
        model_: The trained torch module.
        extra_modules_: ``"code_prior"``, the prior over codes.
        schema_: How the data become tensors and come back.
        specification_: What the model is made of.
        history_: One record per epoch.
        prior_history_: One record per epoch of the prior over codes, after fit.
        n_iter_: Epochs trained.
        latent_dim_: Latent dimensions.
        grid_: Sides of the grid of codes, or the number of slots.
        n_codes_: Size of the codebook.
        perplexity_: Codes in use in the data of fit: the exponential of the entropy of their frequencies.
        classes_: Names of the classes, where labels were given.
        engine_: How training was computed.
        n_features_in_: Numbers per example.

    References:
        van den Oord et al., 2017, Neural Discrete Representation Learning, arXiv:1711.00937.
        Fifty et al., 2024, Restructuring Vector Quantization with the Rotation Trick, arXiv:2410.06424.
        Mentzer et al., 2024, Finite Scalar Quantization: VQ-VAE Made Simple, arXiv:2309.15505.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X = load_iris().data
        >>> vqvae = VQVAE(n_codes=16, max_epochs=5, random_state=0).fit(X)
        >>> vqvae.codes(X).shape, vqvae.sample(3).shape
        ((150, 2), (3, 4))
    """

    latent_dim: int | Literal["auto"] = field(default="auto", kw_only=False)
    encoder: str | Sequence[int] | nn.Module = "auto"
    quantizer: str = "ema"
    n_codes: int | Literal["auto"] = "auto"
    code_dim: int | Literal["auto"] = "auto"
    levels: Sequence[int] | None = None
    quantizer_options: Mapping[str, Any] | None = None
    commitment: float | Literal["auto"] = "auto"
    downsampling: int | Literal["auto"] = "auto"
    prior_share: float = 0.5
    prior_width: int = 128
    prior_layers: int = 2

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "latent_dim": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "encoder": [str, tuple, list, nn.Module],
        "quantizer": [str],
        "n_codes": [StrOptions({"auto"}), Interval(Integral, 2, None, closed="left")],
        "code_dim": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "levels": [tuple, list, None],
        "quantizer_options": [dict, None],
        "commitment": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "downsampling": [StrOptions({"auto"}), Interval(Integral, 2, None, closed="left")],
        "prior_share": [Interval(Real, 0, None, closed="neither")],
        "prior_width": [Interval(Integral, 4, None, closed="left")],
        "prior_layers": [Interval(Integral, 1, None, closed="left")],
    }

    # What is trained

    def _specify(self, n_rows: int, condition_dim: int) -> QuantizedSpecification:
        event_shape = tuple(self.schema_.event_shape)
        likelihood, options = resolve_likelihood(self.likelihood, self.likelihood_options, self.schema_)
        encoder, decoder = (self._network(network, event_shape, n_rows) for network in (self.encoder, self.decoder))
        is_grid = encoder["network"] == "conv" and len(event_shape) == 3
        if self.downsampling != "auto" and not is_grid:
            raise InvalidParameterError(
                f"downsampling={self.downsampling!r} belongs to a grid of codes, which a convolutional encoder gives "
                "of images. Leave it out, or use encoder='conv'."
            )
        check_choice("quantizer", self.quantizer, quantizers.names())
        if self.prior_width % PRIOR_HEADS:
            wider = PRIOR_HEADS * (self.prior_width // PRIOR_HEADS + 1)
            raise InvalidParameterError(
                f"prior_width must be a multiple of {PRIOR_HEADS}; got {self.prior_width}. Use prior_width={wider}."
            )
        code_dim, n_codes, choices = self._codebook(is_grid)
        specification = QuantizedSpecification(
            event_shape=event_shape,
            latent_dim=1 if self.latent_dim == "auto" else int(self.latent_dim),
            encoder=encoder,
            decoder=decoder,
            code_dim=code_dim,
            quantizer=self.quantizer,
            quantizer_options=choices,
            likelihood=likelihood,
            likelihood_options=options,
            activation=self.activation,
            normalization=self.normalization,
            dropout=float(self.dropout),
            upsampling=self.upsampling,
            condition_dim=condition_dim,
        )
        if self.latent_dim == "auto":
            specification = replace(specification, latent_dim=specification.default_places * code_dim)
        n_vectors = n_rows * math.prod(specification.grid)
        if n_codes is None:
            wanted = CODES_OF_GRID if is_grid else CODES_OF_SLOTS
            n_codes = max(2, min(wanted, _power_of_two(n_vectors / VECTORS_PER_CODE)))
            specification = replace(specification, quantizer_options={**choices, "n_codes": n_codes})
        if n_codes > n_vectors:
            hint = f"n_codes={max(2, _power_of_two(n_vectors / VECTORS_PER_CODE))}"
            if self.quantizer == "fsq":
                hint = f"levels={levels_for(max(2, n_vectors // VECTORS_PER_CODE))}"
            raise InvalidParameterError(
                f"a codebook of {n_codes} codes is larger than the data: {n_rows} examples for training of "
                f"{math.prod(specification.grid)} codes each are {n_vectors} code vectors. Use {hint}, or more data."
            )
        with torch.device("meta"):  # a wrong setting of the prior is not to be found out after training
            self._code_prior(specification, condition_dim)
        return specification

    def _network(self, network: Any, event_shape: tuple[int, ...], n_rows: int) -> dict[str, Any]:
        """A network with its sizes; a convolutional one has stages down to the grid."""
        choice = resolve_network(network, event_shape, n_rows=n_rows)
        if "channels" in choice:
            factor = None if self.downsampling == "auto" else int(self.downsampling)
            choice = {**choice, "channels": list(grid_channels(event_shape, downsampling=factor, n_rows=n_rows))}
        return settle(choice, activation=self.activation, normalization=self.normalization)

    def _codebook(self, is_grid: bool) -> tuple[int, int | None, dict[str, Any]]:
        """Length of a code, number of codes (None where it is yet to follow from the data), and the options."""
        options = dict(self.quantizer_options or {})
        for name in ("n_codes", "levels"):
            if name in options:
                raise InvalidParameterError(f"quantizer_options has {name!r}; give it as {name}= of the estimator.")
        n_codes = None if self.n_codes == "auto" else int(self.n_codes)
        if self.quantizer != "fsq":
            if self.levels is not None:
                raise InvalidParameterError(
                    f"levels={self.levels!r} belong to finite scalar quantisation, and quantizer={self.quantizer!r} "
                    "has a codebook. Use quantizer='fsq', or give n_codes."
                )
            default = CODE_DIM_OF_GRID if is_grid else CODE_DIM_OF_SLOTS
            code_dim = default if self.code_dim == "auto" else int(self.code_dim)
            return code_dim, n_codes, options if n_codes is None else {**options, "n_codes": n_codes}
        levels = self.levels
        if levels is None:
            levels = levels_for(n_codes or (CODES_OF_GRID if is_grid else CODES_OF_SLOTS))
        levels = tuple(check_integer(f"levels[{i}]", level, low=2) for i, level in enumerate(levels))
        product = math.prod(levels)
        if n_codes not in (None, product):
            raise InvalidParameterError(
                f"n_codes={n_codes} cannot be had of levels {levels}, which make {product}. Use n_codes={product}, or "
                "give levels whose product it is."
            )
        if self.code_dim not in ("auto", len(levels)):
            raise InvalidParameterError(
                f"code_dim={self.code_dim!r} cannot be had of {len(levels)} levels, {levels}: there is one number for "
                f"each. Use code_dim={len(levels)}, or give as many levels."
            )
        return len(levels), product, {**options, "levels": list(levels)}

    def _objective(self) -> Objective:
        if not self.specification_.outline.commits and self.commitment != "auto":
            raise InvalidParameterError(
                f"commitment={self.commitment!r} has no place with quantizer={self.quantizer!r}, which has no distance "
                "to a codebook to weigh. Leave it out, or use quantizer='ema'."
            )
        return VectorQuantized(commitment=COMMITMENT if self.commitment == "auto" else float(self.commitment))

    def _kl_weight(self) -> Callable[[float], float]:
        return resolve_kl_schedule("constant", 0.0)

    def _cites(self) -> tuple[str, ...]:
        return ()

    # The prior over codes

    def _complete(self, storage: Tensor, dataset: Dataset, reporter: Reporter) -> None:
        """Train the prior over codes on the codes of the training data."""
        self.mixture_: GaussianMixturePrior | None = None
        self.class_mixtures_: list[GaussianMixturePrior] = []
        self.classes_: tuple[str, ...] = ()
        reporter.note("training a prior over the codes, from which samples are drawn")
        codes = self._map(lambda model, x: model.codes(x), storage, torch.float32)
        columns = self.condition_
        if columns is None and dataset.labels is not None:
            present, places = np.unique(np.asarray(dataset.labels), return_inverse=True)
            names = dataset.label_names
            self.classes_ = tuple(str(code) if names is None else names[code] for code in present)
            columns = functional.one_hot(torch.from_numpy(places), len(present)).float()
        prior = cast(CodePrior, self._extra_modules()[PRIOR])
        feed = Feed(codes, lambda rows: rows, device=self._device, condition=columns, hidden=HIDDEN)
        train_rows, validation_rows = self._split(len(codes))
        model: Any = self.model_
        vectors = model.quantizer.vectors(torch.arange(self.n_codes_, device=self._device))
        prior.start(codes[train_rows], vectors.float().cpu())
        plan = self._prior_plan(len(train_rows))
        trainer = Trainer(
            prior.to(self._device),
            CodeLikelihood(),
            plan,
            train=feed.subset(train_rows),
            validation=feed.subset(validation_rows) if len(validation_rows) else None,
            reporter=reporter,
        )
        result = trainer.run()
        self.prior_history_ = [record.to_dict() for record in result.history]
        prior.usage.copy_(torch.bincount(codes.flatten(), minlength=self.n_codes_))
        self.extra_modules_ = {PRIOR: prior.eval()}
        reporter.note(f"{self.perplexity_:.0f} of {self.n_codes_} codes in use (perplexity)")

    def _extra_modules(self) -> dict[str, nn.Module]:
        n_columns = self.specification_.condition_dim or len(self.classes_)
        with isolated_rng(derive_seed(self.seed_, "code prior")):
            return {PRIOR: self._code_prior(self.specification_, n_columns)}

    def _code_prior(self, specification: QuantizedSpecification, condition_dim: int) -> CodePrior:
        return CodePrior(
            specification.grid,
            specification.outline.n_codes,
            code_dim=specification.code_dim,
            condition_dim=condition_dim,
            width=int(self.prior_width),
            n_layers=int(self.prior_layers),
            n_heads=PRIOR_HEADS,
            dropout=PRIOR_DROPOUT,
        )

    def _prior_plan(self, n_rows: int) -> TrainingPlan:
        max_time = None if self.max_time is None else self.prior_share * parse_duration("max_time", self.max_time)
        epochs = max(1, round(self.prior_share * self.n_iter_)) if max_time is None else 100_000
        return TrainingPlan(
            max_epochs=epochs,
            batch_size=min(PRIOR_BATCH if self.batch_size == "auto" else int(self.batch_size), n_rows),
            max_time=max_time,
            learning_rate=5e-3,
            weight_decay=1e-2,
            optimizer="adamw",
            optimizer_options={"betas": (0.9, 0.95)},
            gradient_clip=1.0,
            patience=max(5, min(epochs, 100) // 10),
            seed=derive_seed(self.seed_, "code prior"),
            engine=replace(self.engine_, compiled=False),
        )

    @property
    def grid_(self) -> tuple[int, ...]:
        """Sides of the grid of codes: (height, width), or (slots,)."""
        grid: tuple[int, ...] = self.specification_.grid
        return grid

    @property
    def n_codes_(self) -> int:
        """Size of the codebook."""
        return int(self.specification_.outline.n_codes)

    @property
    def perplexity_(self) -> float:
        """Exponential of the entropy of the codes' frequencies in the data of fit."""
        usage = cast(CodePrior, self.extra_modules_[PRIOR]).usage.double()
        return float(torch.special.entr(usage / usage.sum()).sum().exp())

    # Codes

    def codes(self, X: Any) -> NDArray[np.int64]:
        """Return the codes of every example.

        Args:
            X: Data like those of fit.
        Returns:
            Integers from 0 to n_codes - 1, shape (n, *grid).
        """
        check_is_fitted(self)
        storage, dtype = self._encode_input(X)
        codes = self._map(lambda model, x: model.codes(x), storage, dtype)
        return codes.reshape(-1, *self.grid_).numpy()

    def perplexity(self, X: Any) -> float:
        r"""Return how many codes are in use in X: the exponential of the entropy of their frequencies.

        .. math:: \exp(- \sum_k f_k \log f_k)

        Args:
            X: Data like those of fit.
        """
        return perplexity(torch.from_numpy(self.codes(X)), self.n_codes_)

    # What codes change in the tasks that all share

    def log_likelihood(
        self,
        X: Any,
        *,
        n_importance: int | None = None,
        prior: Literal["model", "mixture"] = "model",
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
    ) -> LikelihoodEstimate:
        r"""Return the length of the code of every example: a lower bound on log p(x), exact and without draws.

        .. math:: \log p(x) = \log \sum_{c'} p(c')\, p(x \mid c') \ge \log p(c) + \log p(x \mid c), \quad c = c(x)

        Args:
            X: Data like those of fit.
            n_importance: Of no effect: all draws of codes that are certain are alike, and one of them is computed.
            prior: p(c) is always the prior over codes, ``"model"``.
            precision: Of the networks' products; ``"auto"`` is that of training, and always full for float64 data.
        Returns:
            Bounds in nats of the model's units.
        """
        check_is_fitted(self)
        check_integer("n_importance", 1 if n_importance is None else n_importance, low=1)
        check_choice("prior", prior, ("model",))
        check_choice("precision", precision, ("auto", "float32", "bfloat16"))
        storage, dtype = self._encode_input(X)
        wanted = self.engine_.precision if precision == "auto" else precision
        bf16 = wanted == "bfloat16" and dtype == torch.float32
        self._check_conditions(storage.shape[0])
        model: Any = model_in(self.model_, dtype)
        bounds = []
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16, enabled=bf16):
            for rows in iterate_batches(storage.shape[0], self._batch_size):
                x = self._to_model(storage[rows], dtype)
                z = model.encode(x).mean
                bound = self._code_distribution(dtype, self._condition(dtype, rows)).log_prob(z)
                bounds.append((bound + model.decode(z).log_prob(x)).double().cpu())
        bound = torch.cat(bounds)
        return LikelihoodEstimate(
            log_likelihood=bound,
            effective_sample_size=torch.ones_like(bound),
            n_importance=1,
            estimator="code length, log p(c) + log p(x given c): a lower bound",
        )

    def traverse(self, *arguments: Any, **options: Any) -> Any:
        """Codes have no dimensions to move along.

        Raises:
            UnsupportedOperationError: Always.
        """
        raise UnsupportedOperationError(
            "latents are codes: one number of a code's vector has no meaning of its own to move along. Use interpolate "
            "between two examples, edit along an attribute_direction, or a VAE to traverse."
        )

    def recover(self, *arguments: Any, **options: Any) -> Any:
        """What is missing cannot be drawn given what is there.

        Raises:
            UnsupportedOperationError: Always.
        """
        raise UnsupportedOperationError(
            "recovering draws latents given what was observed by moving in a continuous latent space, and these are "
            "codes. Use reconstruct to denoise, or a VAE to fill in what is missing."
        )

    def _prior_module(self, label: Any, prior: str) -> Callable[[], Any]:
        """The prior over codes, of a class or given the condition that was set."""
        if prior == "mixture":
            raise InvalidParameterError(
                "codes have no mixture to draw from. Leave prior out: it is the one over codes."
            )
        condition = self._condition(torch.float32)
        if label is not None:
            if not self.classes_:
                raise UnsupportedOperationError(
                    "this model was fitted without labels, or with a condition, so it cannot sample by class. Fit with "
                    "y (or --labels) and no condition, or give condition=."
                )
            row = torch.zeros(1, len(self.classes_))
            row[0, self._class_index(label)] = 1.0
            condition = row.to(self._device)
        return lambda: self._code_distribution(torch.float32, condition)

    def _code_distribution(self, dtype: torch.dtype, condition: Tensor | None) -> CodeDistribution:
        model: Any = model_in(self.model_, dtype)
        prior = cast(CodePrior, model_in(self.extra_modules_[PRIOR], dtype))
        return CodeDistribution(model.quantizer, model.n_places, prior=prior, condition=condition)


def _power_of_two(number: float) -> int:
    """The largest power of two that is not above a number, at least 1."""
    return 1 << max(0, math.floor(math.log2(max(1.0, number))))
