"""What each latent dimension of a fitted estimator does, in figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.core.errors import DataError
from latentkit.core.parameters import check_choice, check_integer
from latentkit.core.seeds import derive_seed, generator
from latentkit.core.tokens import reached
from latentkit.data.containers import to_array
from latentkit.data.table.frames import take_rows
from latentkit.data.table.sources import read_table_data
from latentkit.estimators.inputs import attribute_values
from latentkit.evaluation import LatentInformation, LatentSummary, latent_information, quantile_bins, summarize_latents
from latentkit.models import map_batches
from latentkit.tasks import (
    AttributeDirection,
    Exemplars,
    attribute_direction,
    exchange_effects,
    find_exemplars,
    integrated_gradients,
    latent_gradients,
)

__all__ = ["Attribute", "LatentExplanation", "explain_latents"]

#: Rows of which sensitivities are means, at most, and rows that go through the encoder at once.
N_SENSITIVE, TOGETHER = 256, 64
#: Rows without which nothing can be said, and rows of a directions' class.
FEWEST, FEWEST_OF_CLASS = 20, 5
#: Different whole numbers of an attribute up to which they are classes; bins of other numbers.
MOST_CLASSES, N_BINS = 20, 10
#: Attributes whose directions are learnt, at most.
MOST_DIRECTIONS = 24
#: Texts in which a token must stand before anything is said of it.
FEWEST_OF_TOKEN = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attribute:
    """A label or a column that latent dimensions may tell about.

    Attributes:
        name: What it is called.
        values: One for each row: class codes, or numbers in which NaN is missing.
        classes: Names of the classes; empty for numbers.
        is_label: Whether it was given beside the data.
    """

    name: str
    values: NDArray[Any]
    classes: tuple[str, ...] = ()
    is_label: bool = False

    @property
    def bins(self) -> NDArray[np.int64]:
        """Class of each row, those of numbers by quantiles."""
        return np.asarray(self.values, np.int64) if self.classes else quantile_bins(self.values, N_BINS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatentExplanation:
    """What each latent dimension does.

    Attributes:
        rows: Places in X of the rows that were looked at.
        summary: KL and variance by dimension.
        dims: Dimensions whose sensitivity was measured, the one that carries most first.
        features: What the inputs are called: features, columns or tokens; empty for the pixels of images.
        sensitivity: How far the posterior mean of each of `dims` moves, in standard deviations of the prior, shape
            (dims, features), of images (dims, channels, height, width); see :meth:`sensitivity_of`.
        sensitivity_of: How it was measured.
        attributes: Names of the labels and columns of `information`.
        information: What dimensions tell about them; None where there are none that vary.
        directions: Directions of the latent space along which attributes grow, with their score on held-out rows.
        exemplars: Places in X of prototypes and criticisms.
    """

    rows: NDArray[np.int64]
    summary: LatentSummary
    dims: tuple[int, ...]
    features: tuple[str, ...]
    sensitivity: NDArray[np.float64]
    sensitivity_of: Literal["gradients", "integrated gradients", "exchanges"]
    attributes: tuple[str, ...]
    information: LatentInformation | None
    directions: Mapping[str, AttributeDirection]
    exemplars: Exemplars

    @property
    def order(self) -> NDArray[np.int64]:
        """All latent dimensions, the one that carries most first."""
        return np.asarray(self.summary.order.numpy(), np.int64)

    def strongest(self, dim: int, n: int = 3) -> list[tuple[str, float]]:
        """Return the features that move a dimension of `dims` most, with how far; empty for images."""
        if not self.features:
            return []
        values = self.sensitivity[self.dims.index(dim)]
        return [(self.features[place], float(values[place])) for place in np.argsort(-values, kind="stable")[:n]]

    def tells(self, dim: int, n: int = 3) -> list[tuple[str, float]]:
        """Return the attributes that a dimension tells most about, nats beyond chance, those above the floor alone."""
        if self.information is None:
            return []
        told, is_above = self.information.told[dim], self.information.is_above_floor[dim]
        places = [int(place) for place in np.argsort(-told, kind="stable") if is_above[place]]
        return [(self.attributes[place], float(told[place])) for place in places[:n]]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the sensitivity of pixels as JSON values."""
        kl, told = self.summary.kl_per_dimension, self.information
        return {
            "n": len(self.rows),
            "dimensions": [
                {
                    "dimension": int(dim),
                    "kl_nats": None if kl is None else float(kl[dim]),
                    "variance_of_mean": float(self.summary.mean_variance[dim]),
                    "active": bool(self.summary.active[dim]),
                    "tells": dict(self.tells(int(dim))),
                    "moved_by": dict(self.strongest(int(dim))) if int(dim) in self.dims else {},
                }
                for dim in self.order
            ],
            "sensitivity": self.sensitivity_of,
            "information": None
            if told is None
            else {
                "attributes": list(self.attributes),
                "nats": told.told.tolist(),
                "floor_nats": told.floor.tolist(),
                "entropy_nats": told.entropy.tolist(),
                "computed_with": told.computed_with,
            },
            "directions": {
                name: {
                    "direction": found.direction.tolist(),
                    "score": found.score,
                    "baseline": found.baseline,
                    "metric": found.metric,
                    "n": found.n,
                }
                for name, found in self.directions.items()
            },
            "prototypes": [int(row) for row in self.exemplars.prototypes],
            "criticisms": [int(row) for row in self.exemplars.criticisms],
        }


def explain_latents(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    sensitivity: Literal["gradient", "integrated"],
    n_rows: int,
    n_dims: int,
    n_exemplars: int,
    seed: int,
) -> LatentExplanation:
    """Look at what each latent dimension does; see :meth:`~latentkit.VAE.explain_latents`."""
    check_choice("sensitivity", sensitivity, ("gradient", "integrated"))
    for name, value, low in (("n_rows", n_rows, FEWEST), ("n_dims", n_dims, 1), ("n_exemplars", n_exemplars, 1)):
        check_integer(name, value, low=low)
    if estimator.condition_ is not None and len(estimator.condition_) != 1:
        raise DataError(
            f"one condition for all rows is wanted; got {len(estimator.condition_)}. Explain the rows of a condition."
        )
    data = estimator._unwrapped(X)  # noqa: SLF001 (of our own)
    if estimator.schema_.kind == "table":
        data = read_table_data(data)
    storage, dtype = estimator._encode_input(data)  # noqa: SLF001 (of our own)
    n = len(storage)
    if n < FEWEST:
        raise DataError(f"what latent dimensions do is seen in at least {FEWEST} rows; got {n}. Give more rows.")
    given = _given(y, n)
    rows = torch.arange(n)
    if n > n_rows:
        rows = torch.randperm(n, generator=generator(seed, "explain", "rows"))[:n_rows].sort().values
    means, log_vars = _moments(estimator, storage[rows], dtype)
    summary = summarize_latents(means, log_vars)
    dims = tuple(int(dim) for dim in summary.order[:n_dims])
    attributes = [*_labels(given, rows.numpy()), *_columns(estimator.schema_, data, storage, rows)]
    varied = [attribute for attribute in attributes if np.ptp(attribute.bins) > 0]
    information = None
    if varied:
        factors = np.stack([attribute.bins for attribute in varied], axis=1)
        information = latent_information(means, factors, seed=derive_seed(seed, "explain", "information"))
    some = torch.randperm(len(rows), generator=generator(seed, "explain", "sensitivity"))[:N_SENSITIVE]
    features, values, how = _sensitivity(estimator, storage[rows][some.sort().values], dtype, dims, sensitivity, seed)
    active = summary.active if bool(summary.active.any()) else torch.ones_like(summary.active)
    n_each = min(n_exemplars, len(rows) // 2)
    found = find_exemplars(means[:, active], n_prototypes=n_each, n_criticisms=n_each)
    return LatentExplanation(
        rows=rows.numpy(),
        summary=summary,
        dims=dims,
        features=features,
        sensitivity=values,
        sensitivity_of=how,
        attributes=tuple(attribute.name for attribute in varied),
        information=information,
        directions=_directions(means, varied, seed),
        exemplars=Exemplars(
            prototypes=tuple(int(rows[place]) for place in found.prototypes),
            criticisms=tuple(int(rows[place]) for place in found.criticisms),
            witness=found.witness,
            discrepancy=found.discrepancy,
            bandwidth=found.bandwidth,
        ),
    )


# What dimensions may tell about


def _given(y: Any, n: int) -> dict[str, NDArray[Any]]:
    """Labels by their names; one column alone is called "label"."""
    if y is None:
        return {}
    if isinstance(y, Mapping):
        columns = {str(name): np.asarray(values) for name, values in y.items()}
    elif hasattr(y, "columns"):
        columns = {str(name): np.asarray(y[name]) for name in y.columns}
    else:
        columns = {"label": np.asarray(y)}
    for name, values in columns.items():
        if values.shape != (n,):
            raise DataError(f"{name} must have one value for each of the {n} rows of X; got shape {values.shape}.")
    return columns


def _labels(given: Mapping[str, NDArray[Any]], rows: NDArray[np.int64]) -> list[Attribute]:
    result = []
    for name, values in given.items():
        each = values[rows]
        is_number = each.dtype.kind in "iuf"
        if is_number and (each.dtype.kind == "f" or len(np.unique(each)) > MOST_CLASSES):
            result.append(Attribute(name=name, values=each.astype(np.float64), is_label=True))
            continue
        classes, codes = np.unique(each.astype(str), return_inverse=True)
        result.append(Attribute(name=name, values=codes, classes=tuple(classes.tolist()), is_label=True))
    return result


def _columns(schema: Any, data: Any, storage: Tensor, rows: Tensor) -> list[Attribute]:
    """The columns of a table, or the features of rows; those of images and texts have no names."""
    if schema.kind == "table":
        table = schema.numbers(take_rows(data, rows.tolist()))
        return [
            _categories(name, values, table.categories[name]) if is_categorical else Attribute(name=name, values=values)
            for name, values, is_categorical in zip(table.names, table.values.T, table.is_categorical, strict=True)
        ]
    if schema.kind == "rows":
        values = to_array(schema.decode(schema.to_model(storage[rows])))
        return [
            Attribute(name=name, values=np.asarray(column, np.float64))
            for name, column in zip(_feature_names(schema, values.shape[1]), values.T, strict=True)
        ]
    return []


def _categories(name: str, values: NDArray[np.float64], names: Sequence[str]) -> Attribute:
    """A column of categories, in which missing is one of them."""
    missing = np.isnan(values)
    codes = np.where(missing, len(names), values).astype(np.int64)
    return Attribute(name=name, values=codes, classes=(*names, "missing"))


def _feature_names(schema: Any, n: int) -> tuple[str, ...]:
    names = schema.feature_names
    return tuple(f"column {place}" for place in range(n)) if names is None else tuple(map(str, names))


def _directions(means: Tensor, attributes: Sequence[Attribute], seed: int) -> dict[str, AttributeDirection]:
    """A direction for each number, for two classes, and for each class of a label, or the largest of a column."""
    result: dict[str, AttributeDirection] = {}
    state = derive_seed(seed, "explain", "directions") % 2**32
    for attribute in attributes:
        if not attribute.classes:
            known = ~np.isnan(attribute.values)
            targets = {attribute.name: (known, attribute.values)}
        else:
            present = Counter(np.asarray(attribute.values).tolist())
            enough = [code for code, size in sorted(present.items()) if size >= FEWEST_OF_CLASS]
            if len(present) == 2:
                enough = enough[-1:]  # the one is what the other is not
            elif not attribute.is_label:
                enough = [code for code, _ in present.most_common(1) if code in enough]  # columns are many
            known = np.ones(len(means), np.bool_)
            targets = {
                f"{attribute.name}: {attribute.classes[code]}": (known, attribute.values == code) for code in enough
            }
        for name, (rows, target) in targets.items():
            values = attribute_values(np.asarray(target)[rows])
            if len(result) < MOST_DIRECTIONS and _can_be_told(values):
                result[name] = attribute_direction(means[torch.from_numpy(rows)], values, seed=state)
    return result


def _can_be_told(values: Tensor) -> bool:
    """Whether there are enough rows, and enough of each of two values."""
    different, counts = torch.unique(values, return_counts=True)
    return len(values) >= FEWEST and len(different) > 1 and (len(different) > 2 or int(counts.min()) >= FEWEST_OF_CLASS)


# What moves dimensions

_Sensitivity = tuple[tuple[str, ...], NDArray[np.float64], Literal["gradients", "integrated gradients", "exchanges"]]


def _moments(estimator: Any, storage: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Means and log-variances of the posteriors; no variance where they are points."""
    is_point = bool(estimator.specification_.is_deterministic)

    def moments(model: Any, x: Tensor) -> Tensor:
        posterior = model.encode(x)
        return posterior.mean if is_point else torch.cat([posterior.mean, posterior.log_var], dim=-1)

    found = estimator._map(moments, storage, dtype)  # noqa: SLF001 (of our own)
    if is_point:
        return found, None
    return found[:, : estimator.latent_dim_], found[:, estimator.latent_dim_ :]


def _sensitivity(
    estimator: Any,
    storage: Tensor,
    dtype: torch.dtype,
    dims: Sequence[int],
    kind: Literal["gradient", "integrated"],
    seed: int,
) -> _Sensitivity:
    """How far each dimension moves: by gradients where inputs are numbers, by exchanging what are codes."""
    schema = estimator.schema_
    if schema.kind == "table":
        return _by_column(estimator, storage, dtype, dims, seed)
    if schema.kind == "text":
        return _by_token(estimator, storage, dtype, dims, seed)
    x = estimator._to_model(storage, dtype)  # noqa: SLF001 (of our own)
    model = estimator._model(dtype)  # noqa: SLF001 (of our own)
    spread, mean = x.std(0, correction=0), x.mean(0)
    total = torch.zeros(len(dims), *x.shape[1:], dtype=torch.float64, device=x.device)
    for part in torch.split(x, TOGETHER):
        if kind == "gradient":
            found = latent_gradients(model, part, dims) * spread
        else:
            found = integrated_gradients(model, part, dims, baseline=mean)
        total += found.abs().sum(1)
    values = (total / len(x)).double().cpu().numpy()
    features = _feature_names(schema, values.shape[1]) if schema.kind == "rows" else ()
    return features, values, "gradients" if kind == "gradient" else "integrated gradients"


def _encoder(estimator: Any, dtype: torch.dtype) -> Any:
    model = estimator._model(dtype)  # noqa: SLF001 (of our own)
    size, device = estimator._batch_size, estimator._device  # noqa: SLF001 (of our own)
    return lambda x: map_batches(lambda part: model.encode(part).mean, x, batch_size=size, device=device)


def _by_column(estimator: Any, storage: Tensor, dtype: torch.dtype, dims: Sequence[int], seed: int) -> _Sensitivity:
    schema = estimator.schema_
    x = schema.to_model(storage, dtype=dtype)
    groups = {str(name): schema.locate(name) for name in schema.feature_names}
    groups = {name: places for name, places in groups.items() if places}
    donors = x[torch.randperm(len(x), generator=generator(seed, "explain", "donors"))]
    moved = exchange_effects(_encoder(estimator, dtype), x, donors, list(groups.values()))
    return tuple(groups), moved.abs().mean(1)[:, list(dims)].T.double().cpu().numpy(), "exchanges"


def _by_token(estimator: Any, storage: Tensor, dtype: torch.dtype, dims: Sequence[int], seed: int) -> _Sensitivity:
    """Means over the places where a token stands; those that stand in a few texts alone are left out."""
    schema = estimator.schema_
    x = schema.to_model(storage)
    inner = reached(x) & (x != 0)
    known = x[inner]
    draws = torch.randint(len(known), x.shape, generator=generator(seed, "explain", "donors"))
    donors = torch.where(inner, known[draws], x)
    used = [[place] for place in range(x.shape[1]) if bool(inner[:, place].any())]
    moved = exchange_effects(_encoder(estimator, dtype), x, donors, used).abs()[..., list(dims)]
    sums: dict[int, Tensor] = {}
    stands: Counter[int] = Counter()
    for index, (place,) in enumerate(used):
        for row in inner[:, place].nonzero().flatten().tolist():
            token = int(x[row, place])
            sums[token] = sums.get(token, torch.zeros(len(dims))) + moved[index, row]
            stands[token] += 1
    kept = [token for token, n in stands.most_common() if n >= FEWEST_OF_TOKEN] or list(stands)
    values = torch.stack([sums[token] / stands[token] for token in kept], dim=1)
    return tuple(schema.vocabulary.pieces(kept)), values.double().cpu().numpy(), "exchanges"
