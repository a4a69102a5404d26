"""A fitted estimator and the rows that it is judged by: what several figures take, computed once."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.core.errors import DataError, UnsupportedOperationError
from latentkit.core.protocols import LatentVariableModel
from latentkit.core.seeds import derive_seed, generator, isolated_rng, row_keys
from latentkit.data import Dataset, read
from latentkit.data.table.frames import take_rows
from latentkit.data.table.sources import read_table_data
from latentkit.distributions import DiagonalGaussian, FullGaussian, kl_divergence
from latentkit.estimators.encoding import EncodingTasks
from latentkit.estimators.likelihood_units import LikelihoodUnits, likelihood_units
from latentkit.evaluation import FeatureMap, LikelihoodEstimate, MixedTable, RandomFeatures, RowFeatures, annealed_bound
from latentkit.evaluation.annealing import Start, check_free
from latentkit.models import decoding_operations
from latentkit.models.inference import iterate_batches
from latentkit.tasks import reconstruct

__all__ = ["Asked", "Estimator", "Examination", "Posteriors"]

#: How log p(x) is estimated.
Estimator: TypeAlias = Literal["iwae", "ais"]

#: Importance samples of a bound, chains and temperatures of an annealed one, where no number is given.
N_IMPORTANCE: Final = 64
N_CHAINS: Final = 16
N_TEMPERATURES: Final = 500
N_LEAPFROG: Final = 5
#: Floating-point operations that the bound may cost where no number of rows is given: half a minute on one core. And
#: rows that are scored in any case.
BUDGET: Final = 1e12
FEWEST_SCORED: Final = 500
FEWEST_ANNEALED: Final = 50
#: Decodings that a gradient is worth.
GRADIENT: Final = 3.0
#: Rows whose posteriors are compared with each other, at most.
ENCODED: Final = 10_000
#: Smallest side of images that a random convolutional network sees.
SMALLEST_SEEN: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a user of `evaluate` asks for.

    Attributes:
        estimator: How log p(x) is estimated.
        n_importance: Importance samples, or chains; None takes the usual number.
        n_temperatures: Of an annealed bound.
        n_samples: New examples that are drawn and judged.
        max_rows: Rows that are scored and rebuilt; None chooses by cost.
        features: Where images and rows of numbers are compared; None takes random features of images, and rows as
            they are.
        seed: Decides rows and draws.
    """

    estimator: Estimator
    n_importance: int | None
    n_temperatures: int
    n_samples: int
    max_rows: int | None
    features: FeatureMap | None
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Posteriors:
    """What the encoder says of rows.

    Attributes:
        means: Shape (n, latent).
        log_vars: Shape (n, latent); None where they are not those of independent dimensions.
        kl: KL(q(z given x), p(z)) of each row, shape (n,); None where posteriors are points.
        name: Of the distribution.
    """

    means: Tensor
    log_vars: Tensor | None
    kl: Tensor | None
    name: str


class Examination:
    """A fitted estimator, the rows that it is judged by and those that it was fitted on.

    Args:
        estimator: Fitted.
        X: Rows that it has not seen, in any form that it takes.
        train: The rows of fit; None where they are not at hand.
        asked: What shall be measured, and how.
    """

    def __init__(self, estimator: Any, X: Any, train: Any, asked: Asked) -> None:
        self.estimator, self.asked = estimator, asked
        self.schema: Any = estimator.schema_
        self.kind = str(self.schema.kind)
        self.name = type(estimator).__name__
        self.data = self._read(X)
        self.storage, self.dtype = estimator._encode_input(self.data)  # noqa: SLF001 (its own part)
        self.n = len(self.storage)
        if self.n < 2:
            raise DataError(
                f"at least 2 {self.noun}s are needed to measure a model by, and some hundreds to tell models apart; "
                f"got {self.n}."
            )
        estimator._check_conditions(self.n)  # noqa: SLF001 (its own part)
        #: The rows of fit in the form of the user; None where they are not at hand.
        self.train: Any = None if train is None else self._read(train)

    # What it is

    @property
    def noun(self) -> str:
        """What one example is called."""
        return {"text": "text", "images": "image"}.get(self.kind, "row")

    @property
    def has_encoder(self) -> bool:
        """Whether data have latents."""
        return isinstance(self.estimator, EncodingTasks)

    @property
    def has_likelihood(self) -> bool:
        """Whether there is p(x given z)."""
        return "likelihood" in self.estimator.specification_.parts

    @property
    def is_point(self) -> bool:
        """Whether q(z given x) is a point without a prior of training."""
        return bool(self.estimator.specification_.is_deterministic)

    @property
    def is_discrete(self) -> bool:
        """Whether latents are codes out of a codebook."""
        return bool(self.estimator.specification_.is_discrete)

    @cached_property
    def no_likelihood(self) -> str:
        """Why log p(x), or what stands for it, cannot be had; empty where it can."""
        if not self.has_likelihood:
            return f"a {self.name} has no likelihood p(x given z)"
        if self.asked.estimator == "iwae":
            if self.has_encoder:
                return ""
            return (
                f"a {self.name} has no encoder to draw importance samples from; annealed importance sampling needs "
                'none: estimator="ais" (in the shell --estimator ais)'
            )
        if self.is_point:
            return 'codes that are points have no prior of training to anneal from. Use estimator="iwae"'
        try:
            check_free(self.estimator._model(torch.float32).prior())  # noqa: SLF001 (its own part)
        except UnsupportedOperationError as error:
            return str(error)
        return ""

    @cached_property
    def units(self) -> LikelihoodUnits:
        """What the likelihood is the logarithm of."""
        return likelihood_units(self.estimator)

    @property
    def n_features(self) -> int:
        """Dimensions of one example; of a table, columns that the model sees."""
        if self.kind == "table":
            return sum(not column.is_left_out for column in self.schema.columns)
        return int(np.prod(self.schema.event_shape))

    # The rows

    def _read(self, X: Any) -> Any:
        """Data in a form of which rows can be taken."""
        data = self.estimator._unwrapped(X)  # noqa: SLF001 (its own part)
        if self.kind == "text":
            return self.schema.read(data)
        if not isinstance(data, (str, os.PathLike)):
            return data
        if self.kind == "table":
            found = read_table_data(data)
            return found.data if isinstance(found, Dataset) else found
        if self.kind == "rows":
            return read(os.fspath(data), tables="numbers").data
        return self.schema.decode(self.schema.to_model(self.schema.encode(data)))

    @property
    def is_of_fit(self) -> bool:
        """Whether the rows are those that the estimator was fitted on, one by one."""
        if self.train is None or len(self.train) != self.n:
            return False
        known, _ = self.estimator._encode_input(self.train)  # noqa: SLF001 (its own part)
        return torch.equal(self.storage, known.to(self.storage.dtype))

    @cached_property
    def order(self) -> Tensor:
        """All rows in random order."""
        return torch.randperm(self.n, generator=generator(self.asked.seed, "evaluate"))

    @cached_property
    def rows(self) -> Tensor:
        """Places of the rows that are scored and rebuilt, ascending: all of them where that is cheap."""
        return self.order[: self.n_scored].sort().values

    @cached_property
    def n_scored(self) -> int:
        """How many rows are scored: as many as were asked for, or as their cost allows."""
        if self.asked.max_rows is not None:
            return min(self.n, self.asked.max_rows)
        if self.no_likelihood or (self.asked.estimator == "iwae" and (self.is_point or self.is_discrete)):
            return min(self.n, ENCODED)
        x = self.schema.to_model(self.storage[:1], dtype=torch.float32).to(self.estimator._device)  # noqa: SLF001 (its own part)
        model = self.of_rows(torch.arange(1))._model(torch.float32)  # noqa: SLF001 (its own part)
        cost = decoding_operations(model, x, self.estimator.latent_dim_)
        draws = float(self.n_draws)
        if self.asked.estimator == "ais":
            draws *= GRADIENT * self.asked.n_temperatures * N_LEAPFROG
        fewest = FEWEST_ANNEALED if self.asked.estimator == "ais" else FEWEST_SCORED
        return min(self.n, ENCODED, max(fewest, int(BUDGET / (cost * draws))))

    @property
    def n_draws(self) -> int:
        """Importance samples, or chains."""
        usual = N_CHAINS if self.asked.estimator == "ais" else N_IMPORTANCE
        return usual if self.asked.n_importance is None else self.asked.n_importance

    def of_rows(self, rows: Tensor) -> Any:
        """The estimator with the conditions of some rows, where each has its own."""
        if self.estimator.condition_ is None or len(self.estimator.condition_) == 1:
            return self.estimator
        bound = copy.copy(self.estimator)
        bound.condition_ = self.estimator.condition_[rows]
        return bound

    def taken(self, rows: Tensor) -> Any:
        """Some rows in the form of the user."""
        return take_rows(self.data, rows.tolist())

    @cached_property
    def x(self) -> Tensor:
        """The scored rows in model units."""
        x: Tensor = self.schema.to_model(self.storage[self.rows], dtype=self.dtype)
        return x

    # What the model makes of them

    @cached_property
    def likelihood(self) -> LikelihoodEstimate:
        """Scores of :attr:`rows`."""
        bound = self.of_rows(self.rows)
        if self.asked.estimator == "ais":
            return self._annealed(bound)
        estimate: LikelihoodEstimate = bound.log_likelihood(
            self.taken(self.rows), n_importance=None if self.is_point or self.is_discrete else self.n_draws
        )
        return estimate

    def _annealed(self, bound: Any) -> LikelihoodEstimate:
        """Annealed estimates, from the encoder's posteriors where these are plain Gaussians."""
        storage = self.storage[self.rows]
        found = []
        for rows in iterate_batches(len(storage), 512):
            model = cast(LatentVariableModel, bound._model(self.dtype, rows))  # noqa: SLF001 (its own part)
            x = self.schema.to_model(storage[rows].to(bound._device), dtype=self.dtype)  # noqa: SLF001
            start: Start = "prior"
            if self.has_encoder and isinstance(model.encode(x[:1]), DiagonalGaussian | FullGaussian):
                start = "posterior"
            found.append(
                annealed_bound(
                    model,
                    x,
                    n_chains=self.n_draws,
                    n_steps=self.asked.n_temperatures,
                    n_leapfrog=N_LEAPFROG,
                    start=start,
                    keys=row_keys(storage[rows]).to(x.device),
                    seed=derive_seed(self.asked.seed, "anneal"),
                )
            )
        return LikelihoodEstimate(
            log_likelihood=torch.cat([part.log_likelihood for part in found]),
            effective_sample_size=torch.cat([part.effective_sample_size for part in found]),
            n_importance=found[0].n_importance,
            estimator=found[0].estimator,
        )

    @cached_property
    def rebuilt(self) -> Tensor:
        """The scored rows through the mean code, model units."""
        found: Tensor = self.of_rows(self.rows)._map(reconstruct, self.storage[self.rows], self.dtype)  # noqa: SLF001
        return found

    @cached_property
    def encoded(self) -> Tensor:
        """Places of the rows whose posteriors are looked at."""
        return self.order[:ENCODED]

    @cached_property
    def posteriors(self) -> Posteriors:
        """What the encoder says of :attr:`encoded`."""
        kinds: list[type] = []

        def moments(model: Any, x: Tensor) -> Tensor:
            posterior = model.encode(x)
            kinds.append(type(posterior))
            if self.is_point or self.is_discrete:
                return cast(Tensor, posterior.mean)
            z = posterior.rsample()
            kl = kl_divergence(posterior, model.prior(), z=z)[:, None]
            log_vars = posterior.log_var if isinstance(posterior, DiagonalGaussian) else posterior.mean[:, :0]
            return torch.cat([posterior.mean, log_vars, kl], dim=-1)

        rows = self.encoded
        with isolated_rng(derive_seed(self.asked.seed, "evaluate", "posteriors")):
            found = self.of_rows(rows)._map(moments, self.storage[rows], self.dtype)  # noqa: SLF001 (its own part)
        if self.is_point or self.is_discrete:
            return Posteriors(means=found, log_vars=None, kl=None, name=kinds[0].__name__)
        dim = (found.shape[1] - 1) // (2 if kinds[0] is DiagonalGaussian else 1)
        log_vars = found[:, dim : 2 * dim] if kinds[0] is DiagonalGaussian else None
        return Posteriors(means=found[:, :dim], log_vars=log_vars, kl=found[:, -1], name=kinds[0].__name__)

    # New examples beside real ones

    def sampled(self, n: int) -> Any:
        """New examples, given conditions that are drawn from those of the data, where there are any."""
        n_conditions = 1 if self.estimator.condition_ is None else len(self.estimator.condition_)
        asked = torch.randint(n_conditions, (n,), generator=generator(self.asked.seed, "evaluate", "asked"))
        seed = derive_seed(self.asked.seed, "evaluate", "samples") % 2**32
        return self.of_rows(asked).sample(n, random_state=seed)

    def drawn(self, data: Any, n: int, name: str) -> Any:
        """At most n rows of data, by the seed, in their form."""
        total = len(data)
        if total <= n:
            return data
        order = torch.randperm(total, generator=generator(self.asked.seed, "evaluate", name))[:n]
        return take_rows(data, order.sort().values.tolist())

    def units_of(self, data: Any) -> Tensor:
        """Data of the user as model units, single precision."""
        x: Tensor = self.schema.to_model(self.schema.encode(data)).float()
        return x

    def numbers(self, data: Any) -> MixedTable:
        """A table of mixed kinds as numbers and codes."""
        found = self.schema.numbers(data)
        return MixedTable(
            values=found.values, is_categorical=found.is_categorical, names=found.names, categories=found.categories
        )

    @property
    def features(self) -> FeatureMap:
        """Where images and rows of numbers are compared."""
        if self.asked.features is not None:
            return self.asked.features
        is_seen = self.kind == "images" and min(self.schema.event_shape[1:]) >= SMALLEST_SEEN
        return RandomFeatures() if is_seen else RowFeatures()

    def places(self) -> NDArray[np.int64]:
        """The places of the scored rows as an array."""
        return np.asarray(self.rows.numpy(), np.int64)
