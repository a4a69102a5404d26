"""What a study looks for: one figure of a fitted model on validation rows, for each use of a model."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.core.errors import DataError, UnsupportedOperationError
from latentkit.core.registry import Registry
from latentkit.core.seeds import derive_seed
from latentkit.data.table.cells import LabelCells
from latentkit.data.table.frames import take_rows
from latentkit.estimators.archives import made_coder
from latentkit.estimators.encoding import EncodingTasks
from latentkit.estimators.vectors import VectorTasks
from latentkit.evaluation import (
    MixedTable,
    RandomFeatures,
    RowFeatures,
    column_shapes,
    detection_quality,
    kernel_distance,
    pair_trends,
)
from latentkit.evaluation.features import FeatureMap

__all__ = ["FEWEST_ROWS", "Judge", "Measured", "goals", "recombined"]

#: Validation rows that a figure is taken from, at most.
MOST_ROWS = 1000
#: Validation rows whose holes are filled, at most: each takes a Markov chain.
MOST_FILLED = 200
#: Validation rows that a figure needs, at least.
FEWEST_ROWS = 10
#: Share of the known cells that are hidden.
HIDDEN = 0.3


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure of one fitted model.

    Attributes:
        value: The figure.
        how: How it was computed, with the number of rows.
        standard_error: Of a mean over rows; None where the figure is no mean.
    """

    value: float
    how: str
    standard_error: float | None = None


@dataclass(frozen=True, kw_only=True)
class Judge(ABC):
    """Measures fitted models on the same validation rows, with the same draws.

    Args:
        rows: Validation rows, in the user's container.
        n_learnt: Rows that models learn from.
        odd: Rows that are known to be odd, in the same container; None where nobody has said.
        seed: Of all draws.
    """

    #: What the figure is.
    figure: ClassVar[str]
    #: Its unit; empty for none.
    unit: ClassVar[str] = ""
    direction: ClassVar[Literal["maximize", "minimize"]] = "maximize"
    #: Whether the figure rests on draws from the prior that is fitted after training.
    needs_prior: ClassVar[bool] = False
    #: Whether the bound on validation rows, by which trials are pruned, is what the figure measures.
    is_bound: ClassVar[bool] = False

    rows: Any
    n_learnt: int
    odd: Any = None
    seed: int = 0

    @classmethod
    @abstractmethod
    def check(cls, estimator: Any) -> None:
        """Refuse an estimator, whose ``schema_`` is learnt, that the figure cannot be had of.

        Raises:
            UnsupportedOperationError: If it cannot be; the message says what can.
        """

    @abstractmethod
    def measure(self, fitted: Any) -> Measured:
        """Return the figure of a fitted estimator."""

    def _some(self, most: int = MOST_ROWS) -> Any:
        """The first of the validation rows, which are in no order."""
        n = len(self.rows)
        return self.rows if n <= most else take_rows(self.rows, range(most))


goals: Registry[type[Judge]] = Registry("goal")


@goals.register("nll")
@final
@dataclass(frozen=True, kw_only=True)
class LikelihoodJudge(Judge):
    """The importance-weighted bound on log p(x), mean over validation rows."""

    figure = "bound on log p(x)"
    unit = "nats"
    is_bound = True

    @classmethod
    def check(cls, estimator: Any) -> None:
        _check_scores(estimator, "nll")
        if getattr(type(estimator), "objective", "") == "reconstruction":
            raise UnsupportedOperationError(
                f"the score of {type(estimator).__name__} is no bound on log p(x): of two models it prefers the one "
                "with more latent dimensions. Use goal='samples' or goal='impute', or tune a VAE."
            )

    def measure(self, fitted: Any) -> Measured:
        rows = self._some()
        estimate = fitted.log_likelihood(rows)
        effective = float(estimate.effective_sample_size.median())
        how = f"{estimate.estimator}, K = {estimate.n_importance}, median effective sample size {effective:.2g}"
        bounds = estimate.log_likelihood
        error = float(bounds.std() / math.sqrt(len(bounds)))
        return Measured(float(bounds.mean()), f"{how}; mean of {len(rows):,} validation rows", error)


@goals.register("samples")
@final
@dataclass(frozen=True, kw_only=True)
class SampleJudge(Judge):
    """How far new rows are from validation rows."""

    figure = "distance of samples"
    direction = "minimize"
    needs_prior = True

    @classmethod
    def check(cls, estimator: Any) -> None:
        if estimator.schema_.kind == "text":
            raise UnsupportedOperationError(
                "texts of a model are judged by language models that learn for a minute, too long for a trial. Use "
                "goal='nll', and `latentkit evaluate` afterwards."
            )

    def measure(self, fitted: Any) -> Measured:
        rows = self._some()
        schema = fitted.schema_
        drawn = fitted.sample(max(MOST_ROWS, len(rows)), random_state=derive_seed(self.seed, "samples") % 2**31)
        real, new = (schema.encode(part) for part in (rows, drawn))
        sizes = f"{len(real):,} validation rows, {len(new):,} samples"
        if schema.kind == "table":
            tables = _mixed(schema, rows), _mixed(schema, drawn)
            shapes, pairs = column_shapes(*tables), pair_trends(*tables)
            value = 0.5 * (shapes.error_percent + pairs.error_percent)
            return Measured(value, f"mean of the errors of columns and of pairs of columns, %; {sizes}")
        features: FeatureMap = RandomFeatures() if schema.kind == "images" else RowFeatures()
        distance = kernel_distance(*(features(schema.to_model(part)) for part in (real, new)), seed=self.seed)
        how = f"kernel distance of {features.description}, standard error {distance.standard_error:.2g}; {sizes}"
        return Measured(distance.value, how)


@goals.register("detect")
@final
@dataclass(frozen=True, kw_only=True)
class DetectionJudge(Judge):
    """How well low scores tell odd rows: those that are known to be, or rows put together from two."""

    figure = "AUROC"

    @classmethod
    def check(cls, estimator: Any) -> None:
        _check_scores(estimator, "detect")
        if math.prod(estimator.schema_.event_shape) < 2:
            raise UnsupportedOperationError("rows of one number cannot be put together from two. Use goal='nll'.")

    def measure(self, fitted: Any) -> Measured:
        normal = self._some()
        odd = recombined(fitted.schema_, normal, seed=self.seed) if self.odd is None else self.odd
        scores = [-fitted.score_samples(part) for part in (normal, odd)]
        is_odd = np.repeat([False, True], [len(part) for part in scores])
        quality = detection_quality(is_odd, np.concatenate(scores))
        which = "rows put together from two of them" if self.odd is None else "rows labelled as odd"
        return Measured(quality.auroc, f"{len(normal):,} validation rows against {len(odd):,} {which}, by -log p(x)")


@goals.register("compress")
@final
@dataclass(frozen=True, kw_only=True)
class CompressionJudge(Judge):
    r"""Bits that an archive of all rows would take by bits-back coding, model included.

    .. math:: \left(-\text{ELBO} / \log 2 + 8 b / n\right) / d

    with b the bytes of the model in whole numbers, n the rows of learning and validation, and d numbers in a row.
    """

    figure = "bits per number, with the model"
    unit = "bits"
    direction = "minimize"
    is_bound = True

    @classmethod
    def check(cls, estimator: Any) -> None:
        schema = estimator.schema_
        if schema.kind not in ("rows", "images") or not schema.n_levels or not isinstance(estimator, VectorTasks):
            raise UnsupportedOperationError(
                "bits are counted for a VAE of rows or images of whole values, such as bytes; these data or this "
                "family are others. Use goal='nll'."
            )

    def measure(self, fitted: Any) -> Measured:
        rows = self._some()
        bound = float(fitted.log_likelihood(rows, n_importance=1).log_likelihood.mean())
        n_bytes = len(made_coder(fitted).state().to_bytes())
        size = math.prod(fitted.schema_.event_shape)
        n = self.n_learnt + len(self.rows)
        value = (-bound / math.log(2.0) + 8.0 * n_bytes / n) / size
        return Measured(
            value, f"-ELBO of {len(rows):,} validation rows, and {n_bytes:,} bytes of model over {n:,} rows"
        )


@goals.register("impute")
@final
@dataclass(frozen=True, kw_only=True)
class ImputationJudge(Judge):
    """How wrong known cells are filled in that were hidden."""

    figure = "error of hidden cells"
    direction = "minimize"

    @classmethod
    def check(cls, estimator: Any) -> None:
        if estimator.schema_.kind == "text" or not isinstance(estimator, VectorTasks):
            raise UnsupportedOperationError(
                "cells are hidden in rows, tables and images, of a family that recovers them. Use VAE, or goal='nll'."
            )

    def measure(self, fitted: Any) -> Measured:
        rows, schema = self._some(MOST_FILLED), fitted.schema_
        n = len(rows)
        shape = (n, *schema.user_shape)
        random = np.random.default_rng(derive_seed(self.seed, "hidden"))
        seen = random.random(shape) >= HIDDEN
        if schema.kind == "images":
            seen = _windows(shape, random)
        filled = fitted.recover(rows, seen)
        (truth, kinds), (found, _) = (_columns(schema, part) for part in (rows, filled))
        hidden = ~(np.moveaxis(seen, -1, 1) if schema.kind == "images" and seen.ndim == 4 else seen)
        value = _error(truth, found, hidden.reshape(truth.shape), kinds)
        what = "a window of each image" if schema.kind == "images" else f"{HIDDEN:.0%} of the cells"
        scale = "shares of wrong categories and root mean squared errors in standard deviations"
        return Measured(value, f"{what} of {n:,} validation rows; {scale}")


def _check_scores(estimator: Any, goal: str) -> None:
    if not isinstance(estimator, EncodingTasks):
        raise UnsupportedOperationError(
            f"{type(estimator).__name__} has no encoder, and so no score of rows, which goal={goal!r} rests on. Use "
            "goal='samples', or tune a VAE."
        )


# Rows for the figures


def recombined(schema: Any, rows: Any, *, seed: int) -> Any:
    """Return rows of which a half comes from another row each: every cell is usual, and how they go together is not.

    Of rows and tables it is half of the columns, of images a window, of texts the words behind the middle.

    Args:
        schema: Schema of the data.
        rows: In the user's container, at least 2.
        seed: Decides the partners and the halves.
    """
    n = len(rows)
    random = np.random.default_rng(derive_seed(seed, "recombined"))
    partner = (np.arange(n) + random.integers(1, n, n)) % n
    if schema.kind == "text":
        words = [str(text).split() for text in rows]
        return [" ".join(a[: (len(a) + 1) // 2] + words[p][len(words[p]) // 2 :]) for a, p in zip(words, partner)]  # noqa: B905
    storage: Tensor = schema.encode(rows)
    if schema.kind == "images":
        taken = torch.from_numpy(~_windows((n, *storage.shape[1:]), random, first=2))
    elif schema.kind == "table":
        groups = [places for name in schema.feature_names if (places := schema.locate(name))]
        taken = torch.zeros(storage.shape, dtype=torch.bool)
        for places, column in zip(groups, _halves(n, len(groups), random).T, strict=True):
            taken[:, list(places)] = torch.from_numpy(column)[:, None]
    else:
        taken = torch.from_numpy(_halves(n, storage.shape[1], random))
    return schema.decode(torch.where(taken, storage[torch.from_numpy(partner)], storage))


def _halves(n: int, d: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """For each row half of the columns, at least one and not all."""
    ranks = random.random((n, d)).argsort(axis=1)
    return np.asarray(ranks < max(1, d // 2))


def _windows(shape: Sequence[int], random: np.random.Generator, *, first: int = 1) -> NDArray[np.bool_]:
    """False in a window of half of the height and width of each image; `first` is the axis of the height."""
    seen = np.ones(shape, dtype=np.bool_)
    height, width = shape[first], shape[first + 1]
    for number in range(shape[0]):
        top, left = random.integers(0, height - height // 2 + 1), random.integers(0, width - width // 2 + 1)
        rows, columns = slice(top, top + max(1, height // 2)), slice(left, left + max(1, width // 2))
        image = seen[number] if first == 1 else np.moveaxis(seen[number], 0, -1)  # a view, either way
        image[rows, columns] = False
    return seen


def _mixed(schema: Any, rows: Any) -> MixedTable:
    """The columns of a table that the model sees."""
    found = schema.numbers(rows)
    return MixedTable(
        values=found.values, is_categorical=found.is_categorical, names=found.names, categories=found.categories
    )


def _columns(schema: Any, rows: Any) -> tuple[NDArray[np.float64], list[bool]]:
    """The columns of rows as numbers, and which of them hold places of categories; all pixels are one column."""
    storage = schema.encode(rows)
    if schema.kind == "table":
        kinds = [isinstance(column.cells, LabelCells) for column in schema.columns]
        return np.stack(schema.read_codes(storage), axis=1), kinds
    flat = schema.to_model(storage, torch.float64).flatten(1).numpy()
    if schema.kind == "images":
        return flat.reshape(-1, 1), [False]
    return flat, [False] * flat.shape[1]


def _error(
    truth: NDArray[np.float64], found: NDArray[np.float64], hidden: NDArray[np.bool_], kinds: Sequence[bool]
) -> float:
    """Mean over the columns of the share of wrong categories, or of the error in standard deviations."""
    errors = []
    for right, given, is_hidden, is_category in zip(truth.T, found.T, hidden.T, kinds, strict=True):
        judged, known = is_hidden & ~np.isnan(right), right[~np.isnan(right)]
        if not judged.any() or len(np.unique(known)) < 2:
            continue
        if is_category:
            errors.append(float((right[judged] != given[judged]).mean()))
        else:
            errors.append(float(np.sqrt(np.square(right[judged] - given[judged]).mean()) / known.std()))
    if not errors:
        raise DataError("no column of the validation rows has two different values that are known. Give more rows.")
    return float(np.mean(errors))
