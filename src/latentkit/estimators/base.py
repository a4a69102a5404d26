"""What every estimator with an encoder and a decoder can do."""

from __future__ import annotations

import copy
import math
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data
from torch import Tensor

from latentkit.core.errors import (
    DataError,
    InvalidParameterError,
    LatentkitError,
    SchemaMismatchError,
    UnsupportedOperationError,
)
from latentkit.core.parameters import check_choice, check_integer, check_real, suggestion
from latentkit.core.protocols import LatentVariableModel
from latentkit.core.seeds import derive_seed, generator, row_keys
from latentkit.data import Dataset, read
from latentkit.data.containers import is_frame, to_array
from latentkit.distributions import GaussianMixturePrior
from latentkit.estimators.inputs import attribute_values, is_double, label_codes
from latentkit.estimators.observed import keep_observed, observe
from latentkit.estimators.precision import model_in
from latentkit.estimators.randomness import python_random_kept
from latentkit.evaluation import LikelihoodEstimate, importance_bound
from latentkit.models import VariationalAutoencoder, WithPrior, inference_batch_size, map_batches
from latentkit.models.inference import iterate_batches
from latentkit.tasks import (
    AttributeDirection,
    attribute_direction,
    decode,
    edit,
    encode,
    interpolate,
    reconstruct,
    recover,
    sample_latents,
    traverse,
)

__all__ = ["LatentEstimator"]

Draw = Literal["auto", "mean", "sample"]


class LatentEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """A fitted schema and model, and the tasks they do; how they are fitted is the subclass's.

    ``X`` is, in every method, what ``fit`` took: an array of rows (n, features) or images (n, height, width[,
    channels]), a torch tensor, a pandas, polars or Arrow frame of numbers, or the path of a folder of images or of a
    file. Results come back in the same form.
    """

    random_state: int | np.random.RandomState | None
    verbose: int

    # Fitting is the subclass's

    @abstractmethod
    def fit(self, X: Any, y: Any = None) -> LatentEstimator:
        """Learn the schema and the model from X."""

    # Reduce

    def transform(self, X: Any) -> NDArray[Any]:
        """Return the posterior mean of z for every example.

        .. math:: z_i = E_{q(z | x_i)}[z]

        Args:
            X: Data like those of fit.
        Returns:
            Latent vectors, shape (n, latent_dim); float64 for float64 data, else float32. Nothing is drawn, so equal
            rows have equal vectors.
        """
        return self._posterior_means(X).numpy()

    def inverse_transform(self, Z: Any) -> Any:
        """Return the mean of p(x given z) for every latent vector, in the form of the data that fit took.

        Args:
            Z: Latent vectors, shape (n, latent_dim).
        """
        check_is_fitted(self)
        z = self._latents(Z)
        model = self._model(z.dtype)
        return self.schema_.decode(self._map_latents(lambda part: decode(model, part), z))

    def reconstruct(self, X: Any) -> Any:
        """Return what the model makes of X through the posterior mean, in the form of X. This is also its denoiser."""
        check_is_fitted(self)
        storage, dtype = self._encode_input(X)
        model = self._model(dtype)
        return self.schema_.decode(self._map(lambda x: reconstruct(model, x), storage, dtype))

    # Score

    def log_likelihood(
        self,
        X: Any,
        *,
        n_importance: int = 64,
        prior: Literal["model", "mixture"] = "model",
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
    ) -> LikelihoodEstimate:
        """Return the importance-sampled bound on log p(x) for every example, with its effective sample size.

        .. math:: L_K = log 1/K sum_k p(x, z_k) / q(z_k | x),    z_k ~ q(z | x)

        Args:
            X: Data like those of fit.
            n_importance: Number of importance samples K; K = 1 is the ELBO, and the bound tightens as K grows.
            prior: p(z) of the bound: the one that was trained against, or the ``"mixture"`` fitted afterwards, from
                which :meth:`sample` draws.
            precision: Of the networks' products; ``"auto"`` is that of training, and always full for float64 data.
        Returns:
            Bounds in nats of the model's units (for standardised columns, of the standardised values) and effective
            sample sizes. Each row's draws depend on its content alone: the same rows give the same numbers in any
            order and any batch.
        References:
            Burda et al., 2016, Importance Weighted Autoencoders, arXiv:1509.00519.
        """
        check_is_fitted(self)
        check_integer("n_importance", n_importance, low=1)
        check_choice("prior", prior, ("model", "mixture"))
        check_choice("precision", precision, ("auto", "float32", "bfloat16"))
        storage, dtype = self._encode_input(X)
        wanted = self.engine_.precision if precision == "auto" else precision
        bf16 = wanted == "bfloat16" and dtype == torch.float32
        model: LatentVariableModel = self._model(dtype)
        if prior == "mixture":
            mixture = copy.deepcopy(self._mixture()).to(device=self._device, dtype=dtype)
            model = WithPrior(model, mixture)
        seed = derive_seed(self.seed_, "score")
        bounds, sizes = [], []
        for rows in iterate_batches(storage.shape[0], self._batch_size):
            part = storage[rows]
            keys = row_keys(part).to(self._device)
            x = self._to_model(part, dtype)
            estimate = importance_bound(model, x, n_importance, keys=keys, seed=seed, bf16=bf16)
            bounds.append(estimate.log_likelihood)
            sizes.append(estimate.effective_sample_size)
        return LikelihoodEstimate(
            log_likelihood=torch.cat(bounds),
            effective_sample_size=torch.cat(sizes),
            n_importance=n_importance,
        )

    def score_samples(self, X: Any, *, n_importance: int = 64) -> NDArray[np.float64]:
        """Return a lower bound on log p(x) per example, nats, shape (n,); larger means more like the training data."""
        return self.log_likelihood(X, n_importance=n_importance).log_likelihood.double().numpy()

    def score(self, X: Any, y: Any = None, *, n_importance: int = 64) -> float:
        """Return the mean of :meth:`score_samples`, for model selection; `y` is ignored."""
        return float(self.score_samples(X, n_importance=n_importance).mean())

    # Generate

    def sample(
        self,
        n: int = 1,
        *,
        label: Any = None,
        temperature: float = 1.0,
        draw: Draw = "auto",
        prior: Literal["auto", "model", "mixture"] = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> Any:
        """Return exactly n new examples, in the form of the data that fit took.

        Args:
            n: Number of examples, at least 1.
            label: One of ``classes_``, where labels were given to fit: examples of that class.
            temperature: Spread of z relative to the prior's, at least 0; below 1 gives safer examples.
            draw: ``"mean"`` of p(x given z), ``"sample"`` from it, or ``"auto"``: the mean for images, where a draw
                adds pixel noise, and a draw for rows, whose noise belongs to the data.
            prior: ``"model"`` draws z from the prior that was trained, ``"mixture"`` from the Gaussian mixture fitted
                to the posteriors of the training data afterwards; ``"auto"`` takes the mixture where there is one.
            random_state: Seed; None uses the estimator's own.
        Raises:
            InvalidParameterError: If the label or an option is unknown.
        """
        check_is_fitted(self)
        n = check_integer("n", n, low=1)
        check_choice("draw", draw, ("auto", "mean", "sample"))
        check_choice("prior", prior, ("auto", "model", "mixture"))
        source = self._prior_module(label, prior)
        usual: Literal["mean", "sample"] = "mean" if self.schema_.kind == "images" else "sample"
        how = usual if draw == "auto" else draw
        random = generator(self._seed(random_state), "sample")
        model = self._model(torch.float32)
        # The mixture lies on the CPU, wherever the model is.
        z = sample_latents(source(), n, temperature=temperature, generator=random).to(self._device)
        parts = [
            decode(model, z[rows], draw=how, generator=random).cpu() for rows in iterate_batches(n, self._batch_size)
        ]
        return self.schema_.decode(torch.cat(parts))

    # Explore and control

    def interpolate(self, a: Any, b: Any, *, steps: int = 9, path: Literal["spherical", "linear"] = "spherical") -> Any:
        """Return `steps` examples on the way from `a` to `b` through the latent space, both ends included.

        Args:
            a: One example, alone or as the only row.
            b: Another.
            steps: Number of examples, at least 2.
            path: ``"spherical"`` keeps to the radii at which posteriors lie; ``"linear"`` goes straight.
        """
        check_is_fitted(self)
        first, last = self._one_latent(a), self._one_latent(b)
        dtype = torch.promote_types(first.dtype, last.dtype)
        model = self._model(dtype)
        with torch.inference_mode():
            x = interpolate(model, first.to(self._device, dtype), last.to(self._device, dtype), steps=steps, path=path)
        return self.schema_.decode(x.reshape(-1, *self.specification_.event_shape).cpu())

    def traverse(
        self, x: Any = None, *, dim: int, steps: int = 9, span: float = 3.0, values: Sequence[float] | None = None
    ) -> Any:
        """Return examples that differ in one latent dimension only.

        Args:
            x: The example to start from; None starts from z = 0, the prior's centre.
            dim: Latent dimension, from 0.
            steps: Number of values, evenly spaced over [-span, span].
            span: Largest value, in units of the prior's standard deviation.
            values: The values themselves, instead of `steps` and `span`.
        """
        check_is_fitted(self)
        check_integer("dim", dim, low=0, high=self.latent_dim_ - 1)
        check_integer("steps", steps, low=1)
        check_real("span", span)
        start = torch.zeros(1, self.latent_dim_) if x is None else self._one_latent(x)
        path = (
            torch.linspace(-span, span, steps, dtype=start.dtype)
            if values is None
            else torch.tensor([check_real("values", value) for value in values], dtype=start.dtype)
        )
        model = self._model(start.dtype)
        with torch.inference_mode():
            result = traverse(model, start.to(self._device), dim, values=path.to(self._device))
        return self.schema_.decode(result.reshape(-1, *self.specification_.event_shape).cpu())

    @python_random_kept()
    def attribute_direction(self, X: Any, y: Any) -> AttributeDirection:
        """Return the latent direction along which an attribute changes, and how well it tells the attribute.

        Args:
            X: Data like those of fit.
            y: The attribute: two classes of any type, or numbers, shape (n,). Of two texts the direction leads to
                the one that is later in the alphabet.
        """
        return attribute_direction(self._posterior_means(X), attribute_values(y))

    def edit(self, X: Any, direction: AttributeDirection | NDArray[Any], *, strength: float = 1.0) -> Any:
        """Return X moved along a latent direction, in the form of X.

        Args:
            X: Data like those of fit.
            direction: From :meth:`attribute_direction`, or a vector of shape (latent_dim,).
            strength: How far: in units of the spread of the latent vectors along a learnt direction, or in lengths of
                a vector of your own; negative goes back.
        """
        check_real("strength", strength)
        z = self._posterior_means(X)
        vector = direction.direction if isinstance(direction, AttributeDirection) else torch.as_tensor(direction)
        step = strength * direction.spread if isinstance(direction, AttributeDirection) else strength
        model = self._model(z.dtype)
        moved = self._map_latents(lambda part: edit(model, part, vector.to(part), step), z)
        return self.schema_.decode(moved)

    # Recover

    def recover(
        self,
        X: Any,
        mask: Any = None,
        *,
        n_draws: int = 20,
        n_steps: int = 50,
        result: Literal["mean", "draws"] = "mean",
    ) -> Any:
        """Return X with what is missing filled in, given what is there.

        The missing features are drawn from p(missing given observed) by sampling in latent space, then averaged or
        returned draw by draw. Without anything missing, X is denoised: reconstructed through the posterior mean.

        Args:
            X: Data like those of fit; what lies under the mask does not matter. NaN in rows counts as missing.
            mask: True where X is observed, in the shape of X.
            n_draws: Completions per example.
            n_steps: Steps of the Markov chain per draw; more steps come closer to the conditional distribution.
            result: ``"mean"`` of the draws, or the ``"draws"`` themselves as a list of `n_draws` results (equal ones
                where nothing is missing).
        Raises:
            SchemaMismatchError: If the mask has another shape than X.
        References:
            Rezende et al., 2014, arXiv:1401.4082, appendix F; Mattei and Frellsen, 2018, arXiv:1802.04826.
        """
        check_is_fitted(self)
        check_integer("n_draws", n_draws, low=1)
        check_integer("n_steps", n_steps)
        check_choice("result", result, ("mean", "draws"))
        data = self._unwrapped(X)
        dtype = self._dtype(data)
        if isinstance(data, (str, os.PathLike)) and self.schema_.kind == "rows":
            data = read(os.fspath(data)).data  # kept, so that what was observed can be put back as it was given
        storage, observed = observe(self.schema_, data, mask, dtype)
        model = self._model(dtype)
        if bool(observed.all()):
            clean = self._map(lambda x: reconstruct(model, x), storage, dtype)
            results = [self.schema_.decode(clean) for _ in range(1 if result == "mean" else n_draws)]
            return results[0] if result == "mean" else results
        seed = derive_seed(self.seed_, "recover")
        batch = inference_batch_size(self.specification_.width, n_samples=n_draws)
        parts = []
        for rows in iterate_batches(storage.shape[0], batch):
            x, seen = self._to_model(storage[rows], dtype), observed[rows].to(self._device)
            how: Literal["mean", "sample"] = "mean" if self.schema_.kind == "images" else "sample"
            draws = recover(model, x, seen, n_draws=n_draws, n_steps=n_steps, draw=how, seed=seed)
            parts.append((draws.mean(0, keepdim=True) if result == "mean" else draws).cpu())
        results = [
            keep_observed(self.schema_, self.schema_.decode(part), data, observed) for part in torch.cat(parts, dim=1)
        ]
        return results[0] if result == "mean" else results

    # For scikit-learn

    @property
    def _n_features_out(self) -> int:
        return int(self.latent_dim_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.non_deterministic = False
        return tags

    # Data in

    def _take(self, X: Any, y: Any, *, reset: bool) -> Dataset:
        """Read X wherever it is and check it; scikit-learn's own checks run on rows."""
        if reset and hasattr(self, "feature_names_in_"):
            del self.feature_names_in_  # of an earlier fit; rows with names set it again
        if isinstance(X, Dataset):
            dataset = X
        elif isinstance(X, (str, os.PathLike)):
            dataset = read(os.fspath(X))
        else:
            dataset = Dataset(data=self._checked(X, reset=reset), source="memory", kind="rows")
        if y is not None:
            labels = np.asarray(y)
            if labels.ndim < 1 or labels.shape[0] != dataset.n:
                raise DataError(f"y must have one label per example: X has {dataset.n}, y has shape {labels.shape}.")
            codes, names = label_codes(labels)
            dataset = replace(dataset, labels=codes, label_names=names)
        return dataset

    def _checked(self, X: Any, *, reset: bool) -> Any:
        if isinstance(X, (list, tuple)) and len(X) and np.ndim(X[0]) >= 2:
            X = to_array(X)  # a list of images
        if not reset and is_frame(X) and self.schema_.feature_names and not hasattr(self, "feature_names_in_"):
            return X  # fitted on a file: scikit-learn was not told the names, and the schema knows them
        if not reset and self.schema_.kind == "images":
            return to_array(X) if isinstance(X, (list, tuple)) else X  # the schema's message knows height and width
        shape = getattr(X, "shape", None)
        if shape is not None and len(shape) >= 3:
            if reset:
                self.n_features_in_ = math.prod(shape[1:])
            return X
        if isinstance(X, Tensor):
            if reset:
                self.n_features_in_ = math.prod(X.shape[1:])
            return X
        try:
            values = validate_data(
                self, X, reset=reset, dtype="numeric", ensure_all_finite=False, ensure_min_samples=2 if reset else 1
            )
        except ValueError as error:
            if isinstance(error, LatentkitError):
                raise
            to_array(X)  # where the cause is text, this says in which row and column
            kind = DataError if reset else SchemaMismatchError
            raise kind(str(error)) from error
        # A frame stays a frame, so that results come back as one; anything else is an array from here on.
        return X if hasattr(X, "columns") or hasattr(X, "column_names") else values

    def _unwrapped(self, X: Any) -> Any:
        """X checked against what fit took; a path stays a path, which the schema reads as it read the first."""
        if isinstance(X, Dataset):
            return X.data
        return X if isinstance(X, (str, os.PathLike)) else self._checked(X, reset=False)

    def _dtype(self, data: Any) -> torch.dtype:
        """The precision to compute in: that of the data."""
        if isinstance(data, (str, os.PathLike)):
            return torch.float64 if self.schema_.values == "real" and self.schema_.kind == "rows" else torch.float32
        return torch.float64 if is_double(data) else torch.float32

    def _encode_input(self, X: Any) -> tuple[Tensor, torch.dtype]:
        data = self._unwrapped(X)
        dtype = self._dtype(data)
        return self.schema_.encode(data, dtype=dtype), dtype

    def _posterior_means(self, X: Any) -> Tensor:
        """:meth:`transform` as a tensor, whatever `set_output` makes of it."""
        check_is_fitted(self)
        storage, dtype = self._encode_input(X)
        model = self._model(dtype)
        return self._map(lambda x: encode(model, x), storage, dtype)

    def _one_latent(self, x: Any) -> Tensor:
        """The posterior mean of one example, shape (1, latent)."""
        z = self._posterior_means(self._one(x))
        if len(z) != 1:
            raise DataError(f"one example is wanted; got {len(z)}. Choose a row.")
        return z

    def _one(self, x: Any) -> Any:
        """One example as a batch of one."""
        if hasattr(x, "to_frame") and hasattr(x, "index"):
            x = x.to_frame().T.infer_objects()  # a row of a pandas frame; its index holds the names of the columns
        if isinstance(x, (str, os.PathLike)) or is_frame(x):
            return x
        array = x if isinstance(x, (np.ndarray, Tensor)) else np.asarray(x)
        if tuple(array.shape) == tuple(self.schema_.user_shape):
            return array[None]
        if array.shape[:1] != (1,):
            raise DataError(
                f"one example of shape {self.schema_.user_shape} is wanted; got shape {tuple(array.shape)}."
            )
        return array

    # Tensors through the model

    def _model(self, dtype: torch.dtype) -> VariationalAutoencoder:
        return cast(VariationalAutoencoder, model_in(self.model_, dtype))

    def _to_model(self, storage: Tensor, dtype: torch.dtype) -> Tensor:
        x: Tensor = self.schema_.to_model(storage.to(self._device), dtype=dtype)
        return x

    def _map(self, function: Callable[[Tensor], Tensor], storage: Tensor, dtype: torch.dtype) -> Tensor:
        return map_batches(
            function,
            storage,
            batch_size=self._batch_size,
            prepare=lambda part: self.schema_.to_model(part, dtype=dtype),
            device=self._device,
        )

    def _map_latents(self, function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
        return map_batches(function, z, batch_size=self._batch_size, device=self._device)

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

    def _prior_module(self, label: Any, prior: str) -> Callable[[], Any]:
        mixture: GaussianMixturePrior | None = self.mixture_
        if label is not None:
            if not self.class_mixtures_:
                raise UnsupportedOperationError(
                    "this model was fitted without labels, or with ex_post='none', so it cannot sample by class. Fit "
                    "with y (or --labels) and ex_post='mixture'."
                )
            if prior == "model":
                raise InvalidParameterError("prior='model' has no classes. Leave prior out to sample by class.")
            by_class: GaussianMixturePrior = self.class_mixtures_[self._class_index(label)]
            return by_class
        if prior == "mixture":
            return self._mixture()
        if prior == "model" or mixture is None:
            return cast(Callable[[], Any], self._model(torch.float32).prior)
        return mixture

    def _mixture(self) -> GaussianMixturePrior:
        mixture: GaussianMixturePrior | None = self.mixture_
        if mixture is None:
            raise InvalidParameterError(
                "this model was fitted with ex_post='none', without a mixture. Use prior='model'."
            )
        return mixture

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

    def _seed(self, random_state: int | np.random.RandomState | None) -> int:
        chosen = self.random_state if random_state is None else random_state
        if chosen is None:
            return secrets.randbelow(2**31)  # not numpy's global generator: the user's random state is left alone
        if isinstance(chosen, (int, np.integer)):
            return check_integer("random_state", chosen)
        try:
            return int(check_random_state(chosen).randint(2**31 - 1))
        except ValueError:
            raise InvalidParameterError(
                f"random_state must be None, an integer of at least 0 or a numpy.random.RandomState; got {chosen!r}."
            ) from None
