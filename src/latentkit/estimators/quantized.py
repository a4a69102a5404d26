"""The vector-quantised autoencoder as an estimator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, cast, final

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn
from torch.nn import functional

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_choice, check_integer, parse_duration
from latentkit.core.protocols import Objective
from latentkit.core.seeds import derive_seed, isolated_rng
from latentkit.data import Dataset
from latentkit.estimators.codes import PRIOR, CodeTasks
from latentkit.estimators.ex_post import without_ex_post
from latentkit.estimators.fitting import HIDDEN, TrainedEstimator
from latentkit.estimators.parameters import NetworkParameters, completed
from latentkit.estimators.registry import estimators
from latentkit.estimators.resolving import resolve_kl_schedule
from latentkit.models import CodePrior, QuantizedSpecification, resolve_network, settle
from latentkit.nn.grids import grid_channels
from latentkit.nn.quantizers import levels_for, quantizers
from latentkit.objectives import MaximumLikelihood, VectorQuantized
from latentkit.training import Feed, Trainer, TrainingPlan
from latentkit.training.progress import Reporter

__all__ = ["VQVAE"]

#: Codes that "auto" takes at most, for grids and for slots, where the data have that many vectors for each: the prior
#: over codes has to learn what goes beside each of them.
CODES_OF_GRID, CODES_OF_SLOTS = 512, 64
VECTORS_PER_CODE_OF_GRID, VECTORS_PER_CODE_OF_SLOTS = 16, 8
#: Codes for every number that one code of a grid describes: more than it can tell apart only burden the prior.
CODES_PER_VALUE = 8
#: Length of a code vector, for grids and for slots.
CODE_DIM_OF_GRID, CODE_DIM_OF_SLOTS = 8, 4
#: Weight of the commitment term.
COMMITMENT = 0.25
#: Of the prior over codes: dropout, and rows in a step at most where nothing else is asked for.
PRIOR_DROPOUT, PRIOR_BATCH = 0.1, 64
#: Heads of attention of the prior over codes.
PRIOR_HEADS = 4


@estimators.register("vqvae", cites=("oord2017neural",))
@final
@completed
@dataclass(kw_only=True, eq=False, repr=False)
class VQVAE(CodeTasks, NetworkParameters, TrainedEstimator):
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
        n_codes: Size of the codebook; ``"auto"`` is 8 for each number that a code of a grid describes, at most 512, and
            64 for slots, or fewer for little data.
        code_dim: Length of a code vector.
        levels: Of ``"fsq"``: levels of each number; their product is n_codes.
        quantizer_options: Further arguments of the quantiser, such as ``{"decay": 0.99, "restart_below": 0.1}``.
        commitment: Weight of the squared distance between what the encoder gives and its code, nats per unit; of
            ``"ema"`` and ``"rotation"``.
        downsampling: How many times shorter the sides of the grid are than those of the image; a power of 2.
        prior_share: Time for the prior over codes relative to that of the autoencoder. They share `max_time`: at 0.5
            the autoencoder has two thirds of it and the prior one third. Without `max_time` it is relative to the
            epochs.
        prior_width: Numbers per place inside the prior; a multiple of 4.
        prior_layers: Layers of the prior.

    Attributes:
        extra_modules_: ``"code_prior"``, the prior over codes.
        prior_history_: One record per epoch of the prior over codes, after fit.
        grid_: Sides of the grid of codes, or the number of slots.
        n_codes_: Size of the codebook.
        perplexity_: Codes in use in the data of fit: the exponential of the entropy of their frequencies.
        classes_: Names of the classes, where labels were given.

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
        likelihood, options = self._resolve_likelihood()
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
            dropout=self._resolve_dropout(),
            upsampling=self.upsampling,
            condition_dim=condition_dim,
        )
        if self.latent_dim == "auto":
            specification = replace(specification, latent_dim=specification.default_places * code_dim)
        n_vectors = n_rows * math.prod(specification.grid)
        enough = n_vectors // (VECTORS_PER_CODE_OF_GRID if is_grid else VECTORS_PER_CODE_OF_SLOTS)
        if n_codes is None:
            described = math.prod(event_shape) / math.prod(specification.grid)
            wanted = min(CODES_OF_GRID, _power_of_two(CODES_PER_VALUE * described)) if is_grid else CODES_OF_SLOTS
            n_codes = max(2, min(wanted, _power_of_two(enough)))
            specification = replace(specification, quantizer_options={**choices, "n_codes": n_codes})
        if n_codes > n_vectors:
            hint = f"n_codes={max(2, _power_of_two(enough))}"
            if self.quantizer == "fsq":
                hint = f"levels={levels_for(max(2, enough))}"
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

    @property
    def _value_name(self) -> str:
        return "log p(x given codes), minus uniform code length and commitment"

    def _training_time(self, max_time: float) -> float:
        return max_time / (1.0 + self.prior_share)

    # The prior over codes

    def _complete(self, storage: Tensor, dataset: Dataset, reporter: Reporter) -> None:
        """Train the prior over codes on the codes of the training data."""
        without_ex_post(self)
        reporter.note("training a prior over the codes, from which samples are drawn; objective: log p(c)")
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
            MaximumLikelihood(),
            plan,
            train=feed.subset(train_rows),
            validation=feed.subset(validation_rows) if len(validation_rows) else None,
            reporter=reporter,
        )
        result = trainer.run()
        self.prior_history_ = [record.to_dict() for record in result.history]
        prior.usage.copy_(torch.bincount(codes.flatten(), minlength=self.n_codes_))
        self.extra_modules_ = {PRIOR: prior.eval()}
        seconds = result.history[-1].seconds if result.history else 0.0
        used = f"{self.perplexity_:.0f} of {self.n_codes_} codes in use (perplexity)"
        reporter.note(f"prior over the codes trained in {seconds:.0f} s; {used}")

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
        max_time = None
        if self.max_time is not None:
            whole = parse_duration("max_time", self.max_time)
            max_time = whole - self._training_time(whole)
        epochs = max(1, round(self.prior_share * self.n_iter_)) if max_time is None else 100_000
        return TrainingPlan(
            max_epochs=epochs,
            batch_size=min(PRIOR_BATCH if self.batch_size == "auto" else int(self.batch_size), n_rows),
            max_time=max_time,
            learning_rate=1e-2,
            weight_decay=1e-2,
            optimizer="muon",
            optimizer_options={"adjust_lr_fn": "match_rms_adamw"},
            gradient_clip=1.0,
            patience=max(5, min(epochs, 100) // 10),
            seed=derive_seed(self.seed_, "code prior"),
            engine=replace(self.engine_, compiled=False),
        )


def _power_of_two(number: float) -> int:
    """The largest power of two that is not above a number, at least 1."""
    return 1 << max(0, math.floor(math.log2(max(1.0, number))))
