"""The model inside a detector: what it is shown, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from latentkit.core.errors import DataError, InvalidParameterError, UnsupportedOperationError
from latentkit.core.seeds import derive_seed
from latentkit.data import ArraySchema, Dataset, TableSchema, TextSchema, learn_schema
from latentkit.data.containers import is_frame, to_array
from latentkit.data.parts import take_examples
from latentkit.estimators.detector_rows import DetectorRows
from latentkit.estimators.vae import VAE
from latentkit.estimators.vectors import VectorTasks
from latentkit.models import AutoencoderEnsemble, inference_batch_size
from latentkit.tasks.detection import BATCH, CodesWitness, EnsembleWitness, ModelWitness, RowScale, TextWitness, Witness

__all__ = ["DetectorModel", "fit_inside", "learn_rows", "number_schema"]

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


@final
@dataclass(frozen=True, slots=True, eq=False)
class DetectorModel:
    """A model, and how rows are shown to it.

    Attributes:
        rows: How the user's rows become numbers.
        ensemble: The ensemble of small autoencoders; None where there is an estimator.
        estimator: The fitted estimator; None where there is an ensemble.
        units: Centre and spread of the numbers of training rows in model units, where these are what is compared; of
            texts of the indicators that they have a token.
    """

    rows: DetectorRows
    ensemble: AutoencoderEnsemble | None = None
    estimator: VectorTasks | None = None
    units: tuple[Tensor, Tensor] | None = None

    @property
    def batch_size(self) -> int:
        """Rows that are asked about at once; how many texts a model is shown is up to their witness."""
        if self.estimator is None or isinstance(self.rows.schema, TextSchema):
            return BATCH
        return min(BATCH, inference_batch_size(self.estimator.specification_.width))

    @property
    def witness(self) -> Witness:
        """The model as the score asks it."""
        scale = self.rows.scale
        if self.ensemble is not None and scale is not None:
            return EnsembleWitness(self.ensemble, scale.owners)
        assert self.estimator is not None, "there is a model"
        model = self.estimator._model(torch.float32)  # noqa: SLF001 (of our own)
        is_point = self.estimator.specification_.is_deterministic
        if scale is not None:
            return CodesWitness(model, self.rows.code_owners, scale.owners, is_point=is_point)
        assert self.units is not None, "model units are what is compared"
        if isinstance(self.rows.schema, TextSchema):
            return TextWitness(model, self.rows.schema.max_length, self.units[0])
        shape, owners = self.estimator.specification_.event_shape, torch.arange(len(self.units[0]))
        return ModelWitness(model, shape, owners, *self.units, is_point=is_point)

    def with_units(self, shown: Tensor) -> DetectorModel:
        """The same, compared in units of what was shown of training rows; pixels have one spread."""
        if self.rows.scale is not None:
            return self
        if isinstance(self.rows.schema, TextSchema):
            shares = _token_shares(shown, self.rows.schema.n_tokens)
            return replace(self, units=(shares, (shares * (1.0 - shares)).sqrt()))
        is_image = self.rows.schema.kind == "images"
        spread = shown.std(correction=0).repeat(shown.shape[1]) if is_image else shown.std(0, correction=0)
        return replace(self, units=(shown.mean(0), spread))


def _token_shares(storage: Tensor, n_tokens: int) -> Tensor:
    """Share of the texts that have each token, as if one text more had all of them, shape (n_tokens,)."""
    tokens = storage.sort(dim=1).values
    is_first = torch.ones_like(tokens, dtype=torch.bool)
    is_first[:, 1:] = tokens[:, 1:] != tokens[:, :-1]
    counts = torch.bincount(tokens[is_first].long(), minlength=n_tokens)
    return (counts + 1.0) / (len(storage) + 1.0)


def number_schema(dataset: Dataset) -> ArraySchema:
    """The schema of rows of numbers, whatever range they have; holes are let through."""
    data = dataset.data
    if not is_frame(data):  # the schema is asked for names and shape alone
        data = np.nan_to_num(np.asarray(to_array(data), np.float64), posinf=np.inf, neginf=-np.inf)
    return learn_schema(data, kind="rows", values="real")


def learn_rows(schema: ArraySchema | TableSchema, values: Floats, train: Places, *, stretch: bool) -> DetectorRows:
    """How rows of a schema become features.

    Args:
        schema: Of rows or a table.
        values: All rows as numbers and codes.
        train: Which of them to learn from.
        stretch: Whether columns of heavy tails are stretched.
    Raises:
        DataError: If there is no column that can be compared.
    """
    sizes = DetectorRows(schema, None).cardinalities
    if not sizes:
        raise DataError(
            "the table has no column that can be compared: all are constant, identifiers or free text. Name the kind "
            "of one with kinds=."
        )
    return DetectorRows(schema, RowScale(sizes).learn(values[train], stretch=stretch))


def fit_inside(given: Any, dataset: Dataset, train: Places, *, seed: int, verbose: int) -> VectorTasks:
    """Return the fitted estimator that stands inside: the one that is frozen, or a copy of what is given.

    Args:
        given: An estimator, one in a ``FrozenEstimator``, or ``"auto"`` for a VAE.
        dataset: What to fit to.
        train: Which of its rows.
        seed: Of the fit, where the estimator has none of its own.
        verbose: Of a VAE that is made here.
    Raises:
        InvalidParameterError: If it is no estimator.
        UnsupportedOperationError: If it cannot stand inside a detector.
    """
    from sklearn.frozen import FrozenEstimator

    if isinstance(given, str) and given != "auto":
        raise InvalidParameterError(f"estimator must be 'auto' or an estimator such as VAE(); got {given!r}.")
    is_frozen = isinstance(given, FrozenEstimator)
    if isinstance(given, str):
        inside = VAE(verbose=verbose)
    else:
        inside = given.estimator if is_frozen else given
    if not isinstance(inside, VectorTasks):
        raise UnsupportedOperationError(
            f"{type(inside).__name__} cannot stand inside a detector, which needs an encoder whose codes are vectors. "
            "Use VAE, an autoencoder, HierarchicalVAE or VAEGAN, or estimator='auto'."
        )
    if is_frozen:
        check_is_fitted(inside)
    else:
        inside = clone(inside)
        if inside.random_state is None:
            inside.set_params(random_state=derive_seed(seed, "estimator") % 2**31)
        is_whole = len(train) == dataset.n
        inside.fit(dataset if is_whole else take_examples(dataset, train.tolist()))
    if inside.condition_schema_ is not None:
        raise UnsupportedOperationError(
            "this model was fitted under conditions, and a detector gives it none. Fit one without condition=."
        )
    return inside
