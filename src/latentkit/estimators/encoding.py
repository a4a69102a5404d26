"""What an estimator with an encoder can do: reduce, score, explore."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from latentkit.core.errors import DataError, InvalidParameterError
from latentkit.core.parameters import check_choice, check_real
from latentkit.distributions import Drawing
from latentkit.estimators.inputs import attribute_values
from latentkit.estimators.randomness import draw_seed, python_random_kept
from latentkit.evaluation import LikelihoodEstimate
from latentkit.models import map_batches
from latentkit.tasks import (
    AttributeDirection,
    attribute_direction,
    edit,
    encode,
    interpolate,
    interpolate_texts,
    reconstruct,
)

__all__ = ["WAY_TEMPERATURE", "EncodingTasks"]

#: Temperature of the tokens of texts on a way: sentences, and not the same one many times over.
WAY_TEMPERATURE = 0.7


class EncodingTasks(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ABC):  # type: ignore[misc]
    """The tasks that take an encoder beside a decoder.

    A deterministic model's posterior is a point: its mean is the code.

    ``X`` is, in every method, what ``fit`` took: an array of rows (n, features) or images (n, height, width[,
    channels]), a torch tensor, a pandas, polars or Arrow frame of numbers, or the path of a folder of images or of a
    file. Results come back in the same form.
    """

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

    def reconstruct(self, X: Any) -> Any:
        """Return what the model makes of X through the posterior mean, in the form of X. This is also its denoiser."""
        check_is_fitted(self)
        storage, dtype = self._encode_input(X)
        return self.schema_.decode(self._map(reconstruct, storage, dtype))

    # Score

    @abstractmethod
    def log_likelihood(self, X: Any, *, n_importance: int | None = None) -> LikelihoodEstimate:
        """Return the log-likelihood of every example, or a lower bound on it; `estimator` of the result says which."""

    def score_samples(self, X: Any, *, n_importance: int | None = None) -> NDArray[np.float64]:
        """Return a lower bound on log p(x) per example, nats, shape (n,); larger means more like the training data.

        Where codes are points it is log p(x | z(x)), no bound: see :meth:`log_likelihood`, also for errors.
        """
        return self.log_likelihood(X, n_importance=n_importance).log_likelihood.double().numpy()

    def score(self, X: Any, y: Any = None, *, n_importance: int | None = None) -> float:
        """Return the mean of :meth:`score_samples`, for model selection; `y` is ignored."""
        return float(self.score_samples(X, n_importance=n_importance).mean())

    # Explore and control

    @python_random_kept()
    def interpolate(
        self,
        a: Any,
        b: Any,
        *,
        steps: int = 9,
        path: Literal["spherical", "linear"] = "spherical",
        temperature: float | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> Any:
        """Return `steps` examples on the way from `a` to `b` through the latent space, both ends included.

        Args:
            a: One example, alone or as the only row.
            b: Another.
            steps: Number of examples, at least 2.
            path: ``"spherical"`` keeps to the radii at which posteriors lie; ``"linear"`` goes straight.
            temperature: Of texts: that of their tokens, see :class:`~latentkit.distributions.Drawing`; None is 0.7, and
                0 takes the most probable ones, as :meth:`reconstruct` does, which may run in circles. All steps are
                drawn with the same random numbers, so that a text changes with z alone.
            random_state: Seed of these; None uses the estimator's own.
        Raises:
            InvalidParameterError: If a temperature is given for what are no texts, or an option cannot be.
        """
        check_is_fitted(self)
        is_text = self.schema_.kind == "text"
        if temperature is not None and not is_text:
            raise InvalidParameterError(
                f"temperature={temperature!r} is for texts, and this model was fitted to {self.schema_.kind}. Leave it "
                "out."
            )
        first, last = self._one_latent(a), self._one_latent(b)
        dtype = torch.promote_types(first.dtype, last.dtype)
        model = self._model(dtype)
        first, last = first.to(self._device, dtype), last.to(self._device, dtype)
        with torch.inference_mode():
            if is_text:
                drawing = Drawing(temperature=WAY_TEMPERATURE if temperature is None else temperature)
                seed = draw_seed(self.random_state if random_state is None else random_state)
                x = interpolate_texts(model, first, last, drawing, steps=steps, path=path, seed=seed)
            else:
                x = interpolate(model, first, last, steps=steps, path=path)
        return self.schema_.decode(x.reshape(-1, *self.specification_.event_shape).cpu())

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
        moved = self._map_latents(lambda model, part: edit(model, part, vector.to(part), step), z)
        return self.schema_.decode(moved)

    # For scikit-learn

    @property
    def _n_features_out(self) -> int:
        return int(self.latent_dim_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.non_deterministic = False
        return tags

    def _posterior_means(self, X: Any) -> Tensor:
        """:meth:`transform` as a tensor, whatever `set_output` makes of it."""
        check_is_fitted(self)
        storage, dtype = self._encode_input(X)
        return self._map(encode, storage, dtype)

    def _one_latent(self, x: Any) -> Tensor:
        """The posterior mean of one example, shape (1, latent)."""
        z = self._posterior_means(self._one(x))
        if len(z) != 1:
            raise DataError(f"one example is wanted; got {len(z)}. Choose a row.")
        return z

    # Tensors through the model

    def _to_score(self, X: Any, precision: Literal["auto", "float32", "bfloat16"]) -> tuple[Tensor, torch.dtype, bool]:
        """Data as storage, their precision, and whether products are to be of bfloat16."""
        check_choice("precision", precision, ("auto", "float32", "bfloat16"))
        storage, dtype = self._encode_input(X)
        self._check_conditions(storage.shape[0])
        wanted = self.engine_.precision if precision == "auto" else precision
        return storage, dtype, wanted == "bfloat16" and dtype == torch.float32

    def _to_model(self, storage: Tensor, dtype: torch.dtype) -> Tensor:
        x: Tensor = self.schema_.to_model(storage.to(self._device), dtype=dtype)
        return x

    def _map(self, function: Callable[[Any, Tensor], Tensor], storage: Tensor, dtype: torch.dtype) -> Tensor:
        """Apply `function` to the model and consecutive rows in model units."""
        self._check_conditions(storage.shape[0])
        order = self._order(storage)
        with self._products():
            found = map_batches(
                lambda rows: function(self._model(dtype, rows), self._to_model(storage[rows], dtype)),
                order,
                batch_size=self._batch_size,
            )
        return found[order.argsort()] if self.schema_.kind == "text" else found

    def _order(self, storage: Tensor) -> Tensor:
        """The order in which rows go through the model: texts of about one length together."""
        if self.schema_.kind != "text":
            return torch.arange(storage.shape[0])
        order: Tensor = self.schema_.lengths(storage).argsort(stable=True)
        return order
