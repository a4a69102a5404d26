"""What every estimator with a decoder can do: make data from latent vectors."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from latentkit.core.errors import DataError, InvalidParameterError, UnsupportedOperationError
from latentkit.core.parameters import check_choice, check_integer, suggestion
from latentkit.core.products import fast_products
from latentkit.core.protocols import ConditionalModel
from latentkit.core.seeds import generator
from latentkit.data.conditions import ConditionSchema
from latentkit.distributions import Drawing, Prior, Tokens
from latentkit.estimators.control import measure_control
from latentkit.estimators.evaluating import asked_for, evaluate_estimator
from latentkit.estimators.ex_post import ex_post_name, in_words
from latentkit.estimators.parameters import ExPostParameters
from latentkit.estimators.precision import model_in
from latentkit.estimators.randomness import draw_seed, python_random_kept
from latentkit.estimators.table_tasks import HeldRows, sample_held
from latentkit.estimators.text_tasks import stream_text
from latentkit.evaluation import AttributeControl, Evaluation, FeatureMap
from latentkit.models import ConditionalPrior, inference_batch_size, iterate_batches, map_batches
from latentkit.tasks import decode, ex_post_priors, sample_latents, tempered, write

__all__ = ["Draw", "GenerativeTasks", "VectorPriors"]

Draw = Literal["auto", "mean", "sample"]

#: Rows by which the probability of a condition is measured.
_COUNTED = 512
#: Texts that are written side by side.
TEXTS = 512
#: Width of a network from which on oneDNN's float32 products are the faster ones.
WIDE = 256


class GenerativeTasks(ABC):
    """The tasks that take a decoder and a prior. Results come in the form of the data that fit took."""

    specification_: Any
    schema_: Any
    model_: Any
    engine_: Any
    latent_dim_: int
    condition_schema_: ConditionSchema | None
    condition_: Tensor | None
    ex_post_prior_: Prior | None
    class_priors_: list[Prior]
    condition_prior_: ConditionalPrior | None
    classes_: tuple[str, ...]
    random_state: int | np.random.RandomState | None
    seed_: int
    #: Rows that the last call of :meth:`sample` drew again, because they broke a constraint.
    n_redrawn_: int = 0

    def given(self, condition: Any) -> Self:
        """Return this estimator with a condition: all that the result does is given it.

        Args:
            condition: One value (or a mapping from names to values) for every example, or one for each in an array or
                frame of the form that fit took; then the result is for exactly that many examples.
        Raises:
            UnsupportedOperationError: If the estimator was fitted without conditions.
            DataError: If a class is unknown or a number is not finite.
        Example:
            >>> from sklearn.datasets import load_iris
            >>> from latentkit import VAE
            >>> X, y = load_iris(return_X_y=True)
            >>> vae = VAE(latent_dim=2, max_epochs=5, random_state=0).fit(X, condition=y)
            >>> vae.given(2).sample(3).shape
            (3, 4)
        """
        check_is_fitted(self)
        if self.condition_schema_ is None:
            raise UnsupportedOperationError(
                "this model was fitted without conditions. Fit with condition= to give one, or use label= to draw from "
                "a class's own prior."
            )
        is_one = isinstance(condition, Mapping) or np.ndim(condition) == 0
        columns = self.condition_schema_.encode_one(condition) if is_one else self.condition_schema_.encode(condition)
        bound = copy.copy(self)
        bound.condition_ = columns
        return bound

    def sample(
        self,
        n: int = 1,
        *,
        label: Any = None,
        condition: Any = None,
        constraints: Any = (),
        temperature: float = 1.0,
        guidance: float = 1.0,
        draw: Draw = "auto",
        prior: str = "auto",
        top_k: int | None = None,
        top_p: float = 1.0,
        n_beams: int = 1,
        random_state: int | np.random.RandomState | None = None,
    ) -> Any:
        """Return exactly n new examples, in the form of the data that fit took.

        Args:
            n: Number of examples, at least 1.
            label: One of ``classes_``, where labels were given to fit: examples of that class.
            condition: What the examples shall be given, as :meth:`given` takes it. For a table that was fitted without
                conditions, what its columns shall hold: ``{"sex": "Female", "age": (30, 40)}``, a value, a range with
                both ends, or a set of values for each column. Rows are drawn given that, none is thrown away for it.
            constraints: What every row of a table of mixed kinds shall keep, one or a list: texts such as
                ``"start <= end"``, ``"0 <= age < 90"``, ``"total = net + tax"``; :class:`~latentkit.data.Inequality`,
                :class:`~latentkit.data.Range`, :class:`~latentkit.data.Sum`, :class:`~latentkit.data.Combinations`; or,
                as the last resort, functions from rows to a truth value for each. Rows are drawn given the former, and
                drawn again until they pass the latter; ``n_redrawn_`` then says how many were. A constraint with a
                missing cell holds.
            temperature: Spread of z relative to the prior's, at least 0; below 1 gives safer examples. Of texts it is
                that of the tokens, see :class:`~latentkit.distributions.Drawing`; 0 takes the most probable ones.
            guidance: Weight of the condition (or label) against none, at least 0; above 1 gives plainer and less
                varied cases of it. Only where z is drawn given the condition, as the codes of a :class:`VQVAE` are.
            draw: ``"mean"`` of p(x given z), ``"sample"`` from it, or ``"auto"``: the mean for images, where a draw
                adds pixel noise, and a draw for rows and texts, whose noise belongs to the data. The mean of a text is
                made of the most probable token each time.
            prior: ``"model"`` draws z from the prior that was trained, which knows of no condition unless it is one
                over codes; the name of the prior that was fitted to the posteriors of the training data afterwards,
                such as ``"mixture"``, from that, given the condition where there is one; ``"auto"`` takes the latter
                where there is one. A deterministic autoencoder has no other.
            top_k: Of texts: how many of the most probable tokens are left to choose from each time; None for all.
            top_p: Of texts: to what the probabilities of those sum that are left to choose from; 1 for all.
            n_beams: Of texts: above 1, the most probable text given z that a search with so many beams finds; nothing
                else is drawn then.
            random_state: Seed; None uses the estimator's own.
        Raises:
            InvalidParameterError: If the label or an option is unknown, or what is asked of columns makes no sense,
                contradicts itself or is too rare.
            UnsupportedOperationError: If the model has no such prior, or it cannot be guided or constrained.
        """
        check_is_fitted(self)
        n = check_integer("n", n, low=1)
        seed = draw_seed(self.random_state if random_state is None else random_state)
        asks = self._asks_of_columns(condition)
        if condition is not None and not asks:
            bound = self.given(condition)
            data = bound.sample(
                n,
                label=label,
                constraints=constraints,
                temperature=temperature,
                guidance=guidance,
                draw=draw,
                prior=prior,
                top_k=top_k,
                top_p=top_p,
                n_beams=n_beams,
                random_state=seed,
            )
            self.n_redrawn_ = bound.n_redrawn_
            return data
        rules = _several(constraints)
        if asks or rules:
            if draw == "mean" or guidance != 1.0:
                raise InvalidParameterError(
                    f"rows given a condition on columns or constraints are drawn as they are; got draw={draw!r}, "
                    f"guidance={guidance!r}. Leave them out."
                )
            latents = tempered(self._column_prior(label, prior), temperature)
            held = self._held(n, condition or {}, rules, latents, seed)
            self.n_redrawn_ = held.n_redrawn
            return held.data
        if guidance != 1.0 and self.condition_ is None and label is None:
            raise InvalidParameterError(
                f"guidance={guidance!r} needs a condition to be guided by, and there is none. Give condition= (or "
                "label=), or leave guidance out."
            )
        self._check_conditions(n)
        check_choice("draw", draw, ("auto", "mean", "sample"))
        check_choice("prior", prior, ("auto", *self._prior_names()))
        source = self._prior_module(label, prior)
        usual: Literal["mean", "sample"] = "mean" if self.schema_.kind == "images" else "sample"
        how = usual if draw == "auto" else draw
        random = generator(seed, "sample")
        if self.schema_.kind == "text":
            drawing = Drawing(temperature=0.0 if how == "mean" else temperature, top_k=top_k, top_p=top_p)
            z = sample_latents(source(), n, guidance=guidance, generator=random).to(self._device)
            return self.schema_.decode(self._written(z, drawing, random, n_beams=n_beams))
        if top_k is not None or top_p != 1.0 or n_beams != 1:
            raise InvalidParameterError(
                "top_k, top_p and n_beams choose among the tokens of texts, and this model was fitted to "
                f"{self.schema_.kind}; got top_k={top_k!r}, top_p={top_p!r}, n_beams={n_beams!r}. Leave them out."
            )
        # A prior that was fitted afterwards lies on the CPU, wherever the model is.
        z = sample_latents(source(), n, temperature=temperature, guidance=guidance, generator=random).to(self._device)
        return self.schema_.decode(self._drawn(z, how, random))

    @python_random_kept()
    def stream(
        self,
        n: int = 1,
        *,
        label: Any = None,
        condition: Any = None,
        temperature: float = 1.0,
        prior: str = "auto",
        top_k: int | None = None,
        top_p: float = 1.0,
        random_state: int | np.random.RandomState | None = None,
    ) -> Iterator[Iterator[str]]:
        """Yield new texts as they are written: of each, its pieces.

        They are the texts that :meth:`sample` returns for the same arguments, which are described there.

        Raises:
            UnsupportedOperationError: If the model was not fitted to texts.
        """
        check_is_fitted(self)
        if self.schema_.kind != "text":
            raise UnsupportedOperationError(
                f"texts are written piece by piece, and this model was fitted to {self.schema_.kind}. Use sample."
            )
        n = check_integer("n", n, low=1)
        seed = draw_seed(self.random_state if random_state is None else random_state)
        if condition is not None:
            return self.given(condition).stream(
                n,
                label=label,
                temperature=temperature,
                prior=prior,
                top_k=top_k,
                top_p=top_p,
                random_state=seed,
            )
        self._check_conditions(n)
        check_choice("prior", prior, ("auto", *self._prior_names()))
        drawing, random = Drawing(temperature=temperature, top_k=top_k, top_p=top_p), generator(seed, "sample")
        z = sample_latents(self._prior_module(label, prior)(), n, generator=random).to(self._device)
        return (
            stream_text(self.schema_, self._tokens(z[row : row + 1], torch.tensor([row]), drawing, random))
            for row in range(n)
        )

    def probability(
        self,
        condition: Mapping[Any, Any] | None = None,
        *,
        constraints: Any = (),
        label: Any = None,
        prior: str = "auto",
    ) -> float:
        r"""Return how probable it is that a new row fits a condition on columns, and keeps constraints by itself.

        .. math:: P(x_A \in A) = E_{p(z)}[P(x_A \in A \mid z)]

        Args:
            condition: What columns of a table of mixed kinds shall hold, as :meth:`sample` takes it.
            constraints: As for :meth:`sample`, but no functions. Sums count as kept: they are computed.
            label: As for :meth:`sample`.
            prior: As for :meth:`sample`.
        Returns:
            A probability, estimated with some thousand draws of z; small ones with more.
        Raises:
            UnsupportedOperationError: If the model was not fitted to a table of mixed kinds, or with conditions.
            InvalidParameterError: If a column or category is unknown, or the condition is so improbable that no draw
                counts.
        """
        check_is_fitted(self)
        condition, rules = {} if condition is None else condition, _several(constraints)
        if not self._asks_of_columns(condition):
            raise UnsupportedOperationError(
                "a condition asks for values of columns, as in {'sex': 'Female'}, of a model that was fitted to a "
                "table of mixed kinds without conditions of its own."
            )
        if any(map(callable, rules)):
            raise InvalidParameterError(
                "the probability of a function is not known. Draw rows without it and count how many pass."
            )
        latents = self._column_prior(label, prior)
        return self._held(_COUNTED, condition, rules, latents, draw_seed(self.random_state)).probability

    @python_random_kept()
    def attribute_control(
        self,
        X: Any,
        condition: Any,
        *,
        n_samples: int = 1000,
        temperature: float = 1.0,
        guidance: float = 1.0,
        prior: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> tuple[AttributeControl, ...]:
        """Return, for each attribute, how far samples have what was asked for, beside what real rows would have.

        Samples are drawn with the conditions of rows of X, chosen at random (by label, where the model was fitted with
        labels instead of conditions). A recogniser, trained on four fifths of X, tells the attributes of the samples,
        and those of the other fifth, which give the ceiling: see :func:`latentkit.evaluation.attribute_control`.

        Args:
            X: Data like those of fit, at least 50; rows that fit has not seen make the ceiling a fair one.
            condition: Their conditions, in the form that fit took, or their labels.
            n_samples: Number of samples, at least 2.
            temperature: As for :meth:`sample`.
            guidance: As for :meth:`sample`.
            prior: As for :meth:`sample`.
            random_state: Seed; None uses the estimator's own.
        Raises:
            UnsupportedOperationError: If the estimator was fitted with neither conditions nor labels.
            DataError: If there are fewer than 50 rows, or the conditions do not fit.
        Example:
            >>> from sklearn.datasets import load_iris
            >>> from latentkit import VAE
            >>> X, y = load_iris(return_X_y=True)
            >>> vae = VAE(latent_dim=2, max_epochs=5, random_state=0).fit(X, condition=y)
            >>> (species,) = vae.attribute_control(X, y)
            >>> species.metric, species.ceiling > 0.8, tuple(species.confusion.shape)
            ('accuracy', True, (3, 3))
        """
        check_is_fitted(self)
        options = {"temperature": temperature, "guidance": guidance, "prior": prior}
        seed = draw_seed(self.random_state if random_state is None else random_state)
        return measure_control(self, X, condition, n_samples=n_samples, seed=seed, options=options)

    @python_random_kept()
    def evaluate(
        self,
        X: Any,
        *,
        train: Any = None,
        parts: Sequence[str] | None = None,
        estimator: Literal["iwae", "ais"] = "iwae",
        n_importance: int | None = None,
        n_temperatures: int | None = None,
        n_samples: int = 5000,
        max_rows: int | None = None,
        features: FeatureMap | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> Evaluation:
        """Return every figure that suits the data and this model, with what each rests on, and why others lack.

        How probable the data are; how well they are rebuilt; what z carries; how good new data are beside held-out
        ones, and whether they are copies of the rows of fit. Each figure has its estimator, a 95 % interval where one
        is known, and a floor: see :class:`~latentkit.evaluation.Figure`. Figures are never infinite or NaN.

        Args:
            X: Data that fit has not seen, at least 2; 10 to judge samples by, and some thousand to judge them well.
            train: The data of fit, all of them; without them samples are not judged.
            parts: Names of :data:`~latentkit.estimators.evaluating.evaluation_parts`; all that suit by default.
            estimator: Of log p(x): importance samples from the encoder, ``"iwae"``, or annealed importance sampling,
                ``"ais"``, which needs no encoder, is tighter, and takes hundreds of times as long.
            n_importance: Importance samples of a row, or chains; None takes 64, or 16. Time is linear in it.
            n_temperatures: Of ``"ais"``; None takes 500.
            n_samples: New examples that are drawn and judged, at most; at least 10.
            max_rows: Rows of X that are scored and rebuilt, drawn at random; None takes as many as half a minute on one
                core allows, by the size of the decoder, and at least 500, or 50.
            features: Where images and rows of numbers are compared; None takes features of a random convolutional
                network for images, and rows as they are.
            random_state: Seed; None uses the estimator's own.
        Raises:
            InvalidParameterError: If an option has a value that it cannot have.
            DataError: If the data are not like those of fit, or fewer than two.
        Example:
            >>> from sklearn.datasets import load_iris
            >>> from latentkit import VAE
            >>> X = load_iris().data
            >>> vae = VAE(latent_dim=2, max_epochs=5, random_state=0).fit(X[::2])
            >>> found = vae.evaluate(X[1::2], n_importance=500)
            >>> found["log p(x)"].n_draws, found["variance not rebuilt"].floor
            (500, 100.0)
            >>> print(found.missing[0])
            samples: it takes the rows of fit, for the floor and to look for copies; give train= (in the shell --train
            DATA)
        """
        check_is_fitted(self)
        return evaluate_estimator(
            self,
            X,
            train=train,
            parts=parts,
            asked=asked_for(
                likelihood=estimator,
                n_importance=n_importance,
                n_temperatures=n_temperatures,
                n_samples=n_samples,
                max_rows=max_rows,
                features=features,
                seed=draw_seed(self.random_state if random_state is None else random_state),
            ),
        )

    def inverse_transform(self, Z: Any) -> Any:
        """Return the mean of p(x given z) for every latent vector, in the form of the data that fit took.

        Args:
            Z: Latent vectors, shape (n, latent_dim).
        """
        check_is_fitted(self)
        z = self._latents(Z)
        return self.schema_.decode(self._map_latents(decode, z))

    # Tensors through the model

    def _drawn(self, z: Tensor, draw: Literal["mean", "sample"], random: torch.Generator) -> Tensor:
        """Examples of latent vectors, in model units, on the CPU."""
        with self._drawing():
            parts = [
                decode(self._model(torch.float32, rows), z[rows], draw=draw, generator=random).cpu()
                for rows in iterate_batches(len(z), self._batch_size)
            ]
        return torch.cat(parts)

    def _written(self, z: Tensor, drawing: Drawing, random: torch.Generator, *, n_beams: int) -> Tensor:
        """Texts of latent vectors, token by token, as model units on the CPU."""
        parts = [
            write(self._model(torch.float32, rows), z[rows], drawing, n_beams=n_beams, generator=random).cpu()
            for rows in iterate_batches(len(z), TEXTS)
        ]
        return torch.cat(parts)

    def _tokens(self, z: Tensor, row: Tensor, drawing: Drawing, random: torch.Generator) -> Iterator[int]:
        """The tokens of one text, as they are chosen."""
        text = cast("Tokens", self._model(torch.float32, row).decode(z))
        return (int(token) for token in text.written(drawing, generator=random))

    def _held(self, n: int, condition: Mapping[Any, Any], rules: list[Any], latents: Any, seed: int) -> HeldRows:
        """Rows that fit a condition on columns and keep constraints."""
        if self.schema_.kind != "table":
            raise UnsupportedOperationError(
                "constraints are between columns of a table of mixed kinds, and this model was fitted to "
                f"{self.schema_.kind}. Fit a table of mixed kinds (one of numbers alone as Dataset(frame, 'memory', "
                "'table'), or fit --table)."
            )
        if self.condition_ is not None and len(self.condition_) > 1:
            raise DataError(
                f"rows that keep constraints are drawn given one condition; got {len(self.condition_)}. Give one "
                "condition at a time."
            )
        model, order = self._model(torch.float32), self.model_.likelihood.order
        with self._drawing():
            return sample_held(self.schema_, model, latents, n, condition, rules, order=order, seed=seed)

    def _column_prior(self, label: Any, prior: str) -> Any:
        """The distribution of z that rows given a condition on columns are drawn from."""
        check_choice("prior", prior, ("auto", *self._prior_names()))
        return self._prior_module(label, prior)()

    def _asks_of_columns(self, condition: Any) -> bool:
        """Whether a condition is one on columns of the table that was fitted."""
        return self.schema_.kind == "table" and self.condition_schema_ is None and isinstance(condition, Mapping)

    def _model(self, dtype: torch.dtype, rows: slice | Tensor | None = None) -> Any:
        """The model in this precision, given the condition that was set: that of `rows`, where each has its own."""
        model, condition = model_in(self.model_, dtype), self._condition(dtype, rows)
        return model if condition is None else cast(ConditionalModel, model).given(condition)

    def _condition(self, dtype: torch.dtype, rows: slice | Tensor | None = None) -> Tensor | None:
        """The condition that was set, on the model's device: that of `rows`, where each example has its own."""
        if self.condition_ is None:
            return None
        shared = len(self.condition_) == 1 or rows is None
        return (self.condition_ if shared else self.condition_[rows]).to(self._device, dtype)

    def _products(self) -> AbstractContextManager[None]:
        """The kernels of float32 products that suit the width of the networks."""
        return fast_products() if self.specification_.width >= WIDE else nullcontext()

    def _drawing(self) -> AbstractContextManager[Any]:
        """The precision in which rows are drawn column by column: that of training, as every column is one pass."""
        is_fast = self.schema_.kind == "table" and self.engine_.precision == "bfloat16"
        return torch.autocast(self._device.type, torch.bfloat16, enabled=is_fast)

    def _check_conditions(self, n: int) -> None:
        """Refuse a condition of another number of examples than `n`; one goes with any number."""
        if self.condition_ is not None and len(self.condition_) not in (1, n):
            raise DataError(f"there are {len(self.condition_)} conditions for {n} examples. Give one, or one for each.")

    def _map_latents(self, function: Callable[[Any, Tensor], Tensor], z: Tensor) -> Tensor:
        """Apply `function` to the model and consecutive latent vectors."""
        self._check_conditions(len(z))
        with self._products():
            return map_batches(
                lambda rows: function(self._model(z.dtype, rows), z[rows].to(self._device)),
                torch.arange(len(z)),
                batch_size=self._batch_size,
            )

    def _latents(self, Z: Any) -> Tensor:
        array = np.asarray(Z)
        if array.ndim != 2 or array.shape[1] != self.latent_dim_ or array.dtype.kind not in "fiu":
            raise DataError(
                f"latent vectors must be numbers of shape (n, {self.latent_dim_}); got shape {array.shape}, "
                f"dtype {array.dtype}."
            )
        if not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array))[0, 0])
            raise DataError(f"latent vectors must be finite; row {row} (counted from 0) holds NaN or infinity.")
        return torch.from_numpy(array.astype(np.float64 if array.dtype == np.float64 else np.float32))

    @abstractmethod
    def _prior_module(self, label: Any, prior: str) -> Callable[[], Any]:
        """What gives the distribution that z is drawn from: of a class, or of all where `label` is None."""

    def _prior_names(self) -> tuple[str, ...]:
        return ("model", *ex_post_priors)

    def _class_index(self, label: Any) -> int:
        names = [str(name) for name in self.classes_]
        if str(label) not in names:
            raise InvalidParameterError(
                f"label must be one of: {', '.join(names)}; got {label!r}.{suggestion(str(label), names)}"
            )
        return names.index(str(label))

    @property
    def _device(self) -> torch.device:
        return cast(torch.device, next(self.model_.parameters()).device)

    @property
    def _batch_size(self) -> int:
        return inference_batch_size(self.specification_.width)


def _several(constraints: Any) -> list[Any]:
    """Constraints as a list; one may stand alone."""
    is_list = isinstance(constraints, Iterable) and not isinstance(constraints, str)
    return list(constraints) if is_list else [constraints]


class VectorPriors(GenerativeTasks):
    """Generating from latents that are vectors: from the prior of training, or from priors fitted afterwards."""

    ex_post: str

    def _prior_module(self, label: Any, prior: str) -> Callable[[], Any]:
        fitted = self._ex_post_prior
        if label is not None:
            if not self.class_priors_:
                raise UnsupportedOperationError(
                    "this model was fitted without labels, or with ex_post='none', so it cannot sample by class. Fit "
                    "with y (or --labels) and ex_post='mixture'."
                )
            if prior == "model":
                raise InvalidParameterError("prior='model' has no classes. Leave prior out to sample by class.")
            by_class: Prior = self.class_priors_[self._class_index(label)]
            return by_class
        if prior not in ("auto", "model"):
            return self._bound(self._fitted_prior(prior))
        if self.specification_.is_deterministic and (prior == "model" or fitted is None):
            raise UnsupportedOperationError(
                "codes of a deterministic autoencoder have no prior of training to draw from, only one fitted "
                f"afterwards; got prior={prior!r}{'' if fitted else ' of a model fitted with ex_post=none'}. Use "
                "prior='auto', and fit with ex_post='mixture'."
            )
        if prior == "model" or fitted is None:
            return cast(Callable[[], Any], self._model(torch.float32).prior)
        return self._bound(fitted)

    @property
    def _ex_post_prior(self) -> Prior | None:
        """The prior that was fitted after training: of all examples, or the conditional one under a condition."""
        return self.ex_post_prior_ if self.condition_ is None else self.condition_prior_ or self.ex_post_prior_

    def _bound(self, prior: Prior) -> Callable[[], Any]:
        """A prior, given the condition that was set where it can be."""
        if isinstance(prior, ConditionalPrior) and self.condition_ is not None:
            return partial(prior.given, self.condition_)
        return prior

    def _fitted_prior(self, name: str) -> Prior:
        if not isinstance(self, ExPostParameters):
            raise InvalidParameterError(
                f"a {type(self).__name__} draws z from the prior that it was trained with, and fits no "
                f"{in_words(name)} afterwards. Leave prior out."
            )
        fitted: Prior | None = self._ex_post_prior
        kind = "none" if fitted is None else ex_post_name(self)
        if fitted is None or kind != name:
            raise InvalidParameterError(
                f"this model was fitted with ex_post={kind!r}, and has no {in_words(name)}. Use prior='model'"
                f"{'' if fitted is None else f' or prior={kind!r}'}, or fit with ex_post={name!r}."
            )
        return fitted
