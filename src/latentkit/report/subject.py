"""What a report is about: a fitted estimator and, where there are data, a sample of them seen through the model."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentkit.core.protocols import Distribution
from latentkit.core.seeds import derive_seed, generator
from latentkit.data import Dataset, learn_table_schema
from latentkit.data.containers import to_array
from latentkit.data.table.frames import take_rows
from latentkit.estimators import LatentExplanation
from latentkit.estimators.codes import PRIOR
from latentkit.estimators.detector import AnomalyDetector
from latentkit.estimators.encoding import EncodingTasks
from latentkit.estimators.ex_post import ex_post_name, in_words
from latentkit.estimators.generating import GenerativeTasks
from latentkit.evaluation import LatentSummary, LikelihoodEstimate, Perplexity, perplexity, summarize_latents
from latentkit.models import CodePrior, VariationalAutoencoder, decoding_operations, inference_batch_size, map_batches
from latentkit.report.language import message, said, say
from latentkit.report.wording import number
from latentkit.tasks import sample_latents

__all__ = ["Neighbours", "Sample", "Source", "Subject"]

#: Rows of the data that a report looks at, at most.
MOST_ROWS = 2000
#: Numbers in those rows, at most: large images are fewer.
MOST_NUMBERS = 1 << 26
#: Floating-point operations that the bound may cost: some seconds on one core.
LIKELIHOOD_BUDGET = 1.5e11
#: Rows on which the meaning of dimensions is measured, at most; numbers of an example from which on it takes long.
N_EXPLAINED, LARGE = 1000, 6000
#: Texts of the model that are compared with the data.
N_OWN_TEXTS = 500


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows of the data in model units.

    Attributes:
        data: The rows in the user's form.
        x: Model units, shape (n, *event).
        rows: Their places in the data, from 0, ascending.
        labels: Class codes, shape (n,); None without labels.
        n_total: Rows that there are.
        source: Where the data came from.
    """

    data: Any
    x: Tensor
    rows: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    n_total: int
    source: str

    @property
    def n(self) -> int:
        """Number of rows in the sample."""
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class Source:
    """A distribution of latents to draw new examples from.

    Attributes:
        name: Short name, for files.
        heading: What it is.
        caption: What to see in its samples.
        distribution: The distribution.
    """

    name: str
    heading: str
    caption: str
    distribution: Distribution


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Samples of the model, and the examples of the data nearest to each.

    Attributes:
        samples: Model units, shape (n, *event).
        nearest: Model units, shape (n, *event).
        rows: Places of the nearest in the data, from 0.
        distances: Euclidean distances in model units, shape (n,).
        among_data: The same distances from some examples of the data to the nearest other one.
        n_searched: Examples that were searched.
    """

    samples: Tensor
    nearest: Tensor
    rows: NDArray[np.int64]
    distances: Tensor
    among_data: Tensor
    n_searched: int


class Subject:
    """A fitted estimator with everything that several parts of the report need; computed once, when first needed.

    Args:
        estimator: Fitted.
        data: Data to look at; None for none.
        detector: Detector of odd rows that was fitted beside it; None for none.
    """

    #: Rows without which nothing is said of what dimensions mean.
    FEWEST = 20

    def __init__(
        self, estimator: GenerativeTasks, data: Dataset | None, *, detector: AnomalyDetector | None = None
    ) -> None:
        self.estimator: Any = estimator
        self.detector = detector
        self.schema: Any = self.estimator.schema_
        self.model = cast(VariationalAutoencoder, self.estimator.model_)
        self.seed = int(self.estimator.seed_)
        self.latent_dim = int(self.estimator.latent_dim_)
        self.event_shape = tuple(int(size) for size in self.estimator.specification_.event_shape)
        self.is_images = self.schema.kind == "images"
        self.is_table = self.schema.kind == "table"
        self.is_text = self.schema.kind == "text"
        self.ex_post: Any = self.estimator.ex_post_prior_
        if data is not None and self.is_text:
            data = replace(data, data=self.schema.read(data.data))  # whatever the texts came in
        self._data = data
        self.sample = None if data is None else self._draw(data)
        self.class_names = self._names(data)

    # The data

    def _draw(self, data: Dataset) -> Sample:
        """A sample of the rows, the same for the same seed."""
        n = data.n
        size = max(1, min(n, MOST_ROWS, MOST_NUMBERS // math.prod(self.event_shape)))
        rows = torch.arange(n)
        if size < n:
            rows = torch.randperm(n, generator=generator(self.seed, "report", "rows"))[:size].sort().values
        labels = None if data.labels is None else np.asarray(data.labels, np.int64)[rows.numpy()]
        chosen = take_rows(data.data, rows.tolist()) if size < n else data.data
        x = self.schema.to_model(self.schema.encode(chosen))
        x = x if self.is_text else x.float()
        return Sample(chosen, x, rows.numpy(), labels, n, data.source)

    def rows_of(self, rows: NDArray[np.int64]) -> Any:
        """Rows of the data in the user's form."""
        assert self._data is not None, "asked only where there are data"
        return take_rows(self._data.data, rows.tolist())

    @cached_property
    def split(self) -> tuple[Tensor, Tensor] | None:
        """Rows of a table or texts that the model learnt from, and those held out; None if the data are not of fit.

        Rows are those of fit if as many give the same kinds, categories, shares of missing cells and quantiles; texts
        if they are as many.
        """
        data = self._data
        if data is None or data.n != self.schema.n_examples:
            return None
        if self.is_table and learn_table_schema(data).columns != self.schema.columns:
            return None
        both: tuple[Tensor, Tensor] = self.estimator._split(data.n)  # noqa: SLF001 (of our own)
        return both

    def _names(self, data: Dataset | None) -> tuple[str, ...]:
        """Name of each class code; empty without labels."""
        if data is None or data.labels is None:
            return ()
        if data.label_names is not None:
            return tuple(str(name) for name in data.label_names)
        return tuple(str(code) for code in range(int(np.max(data.labels)) + 1))

    @property
    def noun(self) -> str:
        """What one example is called: a message."""
        return message("text") if self.is_text else message("row")

    @property
    def nouns(self) -> str:
        """What examples are called, in the language of the page."""
        return say("texts") if self.is_text else say("rows")

    def seen(self, places: NDArray[np.int64]) -> list[str]:
        """Texts of the sample as the model sees them: cut to its length, and words that it does not know unknown."""
        assert self.sample is not None, "asked only where there are data"
        return self.texts(self.sample.x[places])

    def texts(self, x: Tensor) -> list[str]:
        """Tokens as texts."""
        result: list[str] = self.schema.texts(x)
        return result

    @property
    def n_features(self) -> int:
        """Numbers of an example; of a table, columns that the model sees."""
        if self.is_table:
            return sum(not column.is_left_out for column in self.schema.columns)
        return math.prod(self.event_shape)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features of rows."""
        names = self.schema.feature_names
        if names is not None:
            return tuple(str(name) for name in names)
        return tuple(say("column {n}", n=index) for index in range(self.event_shape[0]))

    def values(self, x: Tensor) -> NDArray[np.float64]:
        """Rows in the user's units, shape (n, features)."""
        array = to_array(self.schema.decode(x))
        return np.asarray(array, np.float64).reshape(len(x), -1)

    def pictures(self, x: Tensor) -> NDArray[np.uint8]:
        """Images as bytes to look at, shape (n, height, width[, channels])."""
        return np.asarray(self.schema.pictures(x), np.uint8)

    def label(self, place: int) -> str:
        """Name of the class of a row of the sample; empty without labels."""
        if self.sample is None or self.sample.labels is None:
            return ""
        return self.class_names[int(self.sample.labels[place])]

    # The model

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def n_parameters(self) -> dict[str, int]:
        """Trained numbers of each network, of what was trained after the model, and of all together."""
        parts = {role: getattr(self.model, role) for role in self.estimator.specification_.networks}
        extra = {name.replace("_", " "): part for name, part in self.estimator.extra_modules_.items()}
        sizes = {name: _n_trained(part) for name, part in {**parts, **extra}.items()}
        return {**sizes, "all": sum(map(_n_trained, (cast(nn.Module, self.model), *extra.values())))}

    @property
    def is_deterministic(self) -> bool:
        """Whether codes are points, which have no divergence, no bound on log p(x) and no prior of training."""
        return bool(self.estimator.specification_.is_deterministic)

    @property
    def is_discrete(self) -> bool:
        """Whether latents are codes out of a codebook."""
        return bool(self.estimator.specification_.is_discrete)

    @property
    def has_encoder(self) -> bool:
        """Whether data have latents."""
        return isinstance(self.estimator, EncodingTasks)

    @property
    def has_likelihood(self) -> bool:
        """Whether there is a density p(x given z)."""
        return "likelihood" in self.estimator.specification_.parts

    @property
    def value_name(self) -> str:
        """What the objective's value is."""
        return said(self.estimator._value_name)  # noqa: SLF001 (of our own)

    @property
    def value_unit(self) -> str:
        """Unit of the objective's value; empty for none."""
        return said(self.estimator._value_unit)  # noqa: SLF001 (of our own)

    @cached_property
    def sources(self) -> list[Source]:
        """What new examples are drawn from, first what sample() takes."""
        result = []
        if self.ex_post is not None:
            caption = say("What sample() gives: codes drawn from where the training data lie.")
            result.append(
                Source(
                    "ex-post",
                    say("From the fitted {prior}", prior=self.ex_post_name),
                    caption,
                    self.ex_post(),
                )
            )
        if self.is_discrete:
            caption = say("What sample() gives: codes drawn one after the other, each given those before it.")
            result.append(Source("prior", say("From the prior over codes"), caption, self.source()))
            caption = say("Every code alike and on its own: what the prior adds is the difference.")
            result.append(Source("uniform", say("From uniform codes"), caption, self.prior()))
        elif not self.is_deterministic and (self.has_encoder or self.ex_post is None):
            caption = say("Codes from the prior of training; blurs and hybrids show the gaps between it and the data.")
            if not self.has_encoder:
                caption = say("What sample() gives.")
            heading = (
                say("From N(0, I)")
                if self.has_encoder or not self.has_likelihood
                else say("From a normal distribution")
            )
            result.append(Source("prior", heading, caption, self.prior()))
        return result

    def source(self, label: str | None = None) -> Distribution:
        """What sample() draws from, of a class or of all."""
        distribution: Distribution = self.estimator._prior_module(label, "auto")()  # noqa: SLF001 (of our own)
        return distribution

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Classes that new examples can be drawn of: those of the labels, else those of the one condition."""
        if self.estimator.classes_:
            return tuple(str(name) for name in self.estimator.classes_)
        schema = self.estimator.condition_schema_
        return () if schema is None or len(schema.attributes) != 1 else tuple(schema.attributes[0].classes)

    def of_group(self, name: str, n: int, *, draw: bool = False) -> Tensor:
        """New examples of a class, model units, shape (n, *event): means of p(x given z), or draws from it."""
        subject, label = self, cast("str | None", name)
        purpose = ("class", str(self.groups.index(name)))
        if not self.estimator.classes_:
            subject = copy.copy(self)
            subject.estimator = self.estimator.given(name)
            subject.model = subject.estimator._model(torch.float32)  # noqa: SLF001 (of our own)
            label = None
        z = subject.latents(subject.source(label), n, *purpose)
        return subject.draw(z, *purpose) if draw else subject.decode(z)

    @property
    def ex_post_name(self) -> str:
        """What was fitted to the codes after training, in words."""
        return said(in_words(ex_post_name(self.estimator)))

    @property
    def origin(self) -> str:
        """What sample() draws latent vectors from, in words."""
        return (
            say("from the prior") if self.ex_post is None else say("from the fitted {prior}", prior=self.ex_post_name)
        )

    def seed_of(self, purpose: str) -> int:
        """A seed for one purpose."""
        return derive_seed(self.seed, "report", purpose) % 2**32

    def prior(self) -> Distribution:
        """The prior that was trained."""
        return self.model.prior()

    def scale(self) -> tuple[Tensor, Tensor]:
        """Centre and unit of each latent dimension, shape (latent,): of the prior, or of the codes under theirs."""
        if self.is_deterministic and self.ex_post is not None:
            return self.ex_post().mean, self.ex_post().stddev
        return torch.zeros(self.latent_dim), torch.ones(self.latent_dim)

    def walk(self, dim: int, steps: int) -> Tensor:
        """Values of a latent dimension, from three units below its centre to three above, shape (steps,)."""
        centre, unit = self.scale()
        return centre[dim] + unit[dim] * torch.linspace(-3.0, 3.0, steps)

    def weight(self, dim: int) -> str:
        """What a latent dimension carries: its KL, or the spread of the codes; empty where neither is known."""
        figures = self.summary
        if figures is None:
            return ""
        if figures.kl_per_dimension is None:
            return say("sd {sd}", sd=number(float(figures.mean_variance[dim].sqrt()), 3))
        return say("{nats} nats", nats=number(float(figures.kl_per_dimension[dim]), 3))

    def latents(self, distribution: Distribution, n: int, *purpose: str) -> Tensor:
        """Draws of z for one purpose, shape (n, latent)."""
        return sample_latents(distribution, n, generator=generator(self.seed, "report", *purpose)).cpu().float()

    def decode(self, z: Tensor) -> Tensor:
        """Means of p(x given z), model units, shape (n, *event)."""
        return map_batches(lambda part: self.model.decode(part).mean, z, batch_size=self._batch, device=self.device)

    def draw(self, z: Tensor, *purpose: str) -> Tensor:
        """Draws from p(x given z), model units, shape (n, *event)."""
        random = generator(self.seed, "report", *purpose, "noise", device=self.device)
        return map_batches(
            lambda part: self.model.decode(part).sample(generator=random),
            z,
            batch_size=self._batch,
            device=self.device,
        )

    @cached_property
    def posterior(self) -> tuple[Tensor, Tensor | None]:
        """Means and log-variances of q(z given x) of the sample, each of shape (n, latent); codes and None."""
        assert self.sample is not None, "asked only where there are data"
        return self._encode(self.sample.x)

    @cached_property
    def reconstructions(self) -> Tensor:
        """The sample through the posterior mean, model units, shape (n, *event)."""
        return self.decode(self.posterior[0])

    @cached_property
    def summary(self) -> LatentSummary | None:
        """The posteriors by dimension: of the data, else of the model's own samples; None where there is neither."""
        if self.sample is not None:
            return summarize_latents(*self.posterior) if self.sample.n > 1 else None
        if self.ex_post is None and self.is_deterministic:
            return None  # nothing to draw codes from
        source = self.ex_post() if self.ex_post is not None else self.prior()
        own = self.draw(self.latents(source, 512, "own data"), "own data")
        return summarize_latents(*self._encode(own))

    @cached_property
    def explanation(self) -> LatentExplanation | None:
        """What each latent dimension does, on some rows of the sample, whose places it counts; None of too few rows."""
        assert self.sample is not None, "asked only where there are data"
        if self.sample.n < self.FEWEST:
            return None
        names = None
        if self.sample.labels is not None:
            names = {say("class"): np.array([self.class_names[code] for code in self.sample.labels])}
        is_large = math.prod(self.event_shape) > LARGE
        found: LatentExplanation = self.estimator.explain_latents(
            self.sample.data, names, n_rows=N_EXPLAINED, n_dims=4 if is_large else 10
        )
        return found

    @cached_property
    def dimensions(self) -> NDArray[np.int64]:
        """Latent dimensions, the one that carries most first."""
        if self.summary is None:
            return np.arange(self.latent_dim)
        return np.asarray(self.summary.order.numpy(), np.int64)

    @cached_property
    def likelihood(self) -> LikelihoodEstimate:
        """The scores of the rows of :attr:`scored`: the same figures that the estimator gives."""
        assert self.sample is not None, "asked only where there are data"
        places, n_importance = self.scored
        chosen = self.sample.data if len(places) == self.sample.n else take_rows(self.sample.data, places.tolist())
        estimate: LikelihoodEstimate = self.estimator.log_likelihood(
            chosen, n_importance=None if self._is_point else n_importance
        )
        return estimate

    @cached_property
    def perplexity(self) -> Perplexity:
        """What the scores of texts come to for a word and a byte."""
        assert self.sample is not None, "asked only where there are data"
        return perplexity(self.likelihood.log_likelihood, self.sample.x[self.scored[0]], self.schema)

    @cached_property
    def own_texts(self) -> list[str]:
        """New texts, as sample() gives them, to be compared with those of the data."""
        return list(self.estimator.sample(N_OWN_TEXTS, random_state=self.seed_of("own texts")))

    @cached_property
    def scored(self) -> tuple[NDArray[np.int64], int]:
        """Places in the sample of the rows that are scored, and the number K of importance samples that time allows.

        Codes that are points take one. The choice follows the number of floating-point operations of one decoding, so
        it is the same on every machine.
        """
        assert self.sample is not None, "asked only where there are data"
        cost = max(1.0, self._decoding_operations())
        n, n_importance = self.sample.n, 1 if self._is_point else 64
        while n * n_importance * cost > LIKELIHOOD_BUDGET:
            if n_importance > 16:
                n_importance //= 2
            elif n > 200:
                n = max(200, n // 2)
            elif n_importance > 4:
                n_importance //= 2
            elif n > 24:
                n = max(24, n // 2)
            else:
                break
        places = torch.randperm(self.sample.n, generator=generator(self.seed, "report", "scored"))[:n]
        return places.sort().values.numpy(), n_importance

    def _decoding_operations(self) -> float:
        assert self.sample is not None, "asked only where there are data"
        return decoding_operations(self.model, self.sample.x[:1].to(self.device), self.latent_dim)

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        order = self.schema.lengths(x).argsort(stable=True) if self.is_text else torch.arange(len(x))

        def moments(rows: Tensor) -> Tensor:
            part = self.schema.to_model(x[rows]) if self.is_text else x[rows]
            posterior: Any = self.model.encode(part.to(self.device))
            if self._is_point:
                return cast(Tensor, posterior.mean)
            return torch.cat([posterior.mean, posterior.log_var], dim=-1)

        both = map_batches(moments, order, batch_size=self._batch)[order.argsort()]
        if self._is_point:
            return both, None
        return both[:, : self.latent_dim], both[:, self.latent_dim :]

    @cached_property
    def codes(self) -> Tensor:
        """Codes of the sample, shape (n, places)."""
        assert self.sample is not None, "asked only where there are data"
        return self.codes_of(self.posterior[0])

    def codes_of(self, z: Tensor) -> Tensor:
        """Codes of latent vectors, shape (n, places)."""
        model: Any = self.model
        vectors = z.reshape(len(z), model.n_places, -1)
        return map_batches(model.quantizer.nearest, vectors, batch_size=self._batch, device=self.device)

    @property
    def usage(self) -> NDArray[np.float64]:
        """Frequency of each code in the data of fit, shape (n_codes,)."""
        counts = cast(CodePrior, self.estimator.extra_modules_[PRIOR]).usage.double().cpu().numpy()
        return np.asarray(counts / counts.sum(), np.float64)

    @cached_property
    def bits_per_code(self) -> float:
        """Mean information of a code of the scored rows under the prior over codes."""
        prior: Any = self.source()
        places = torch.from_numpy(self.scored[0])
        bounds = map_batches(prior.log_prob, self.posterior[0][places], batch_size=self._batch, device=self.device)
        return -float(bounds.double().mean()) / self.codes.shape[1] / math.log(2.0)

    def neighbours(self, n: int) -> Neighbours:
        """Samples, and the examples nearest to each among as many of the data as memory allows."""
        assert self._data is not None, "asked only where there are data"
        size = max(1, min(self._data.n, MOST_NUMBERS // math.prod(self.event_shape)))
        rows = torch.arange(self._data.n)
        if size < self._data.n:
            rows = torch.randperm(self._data.n, generator=generator(self.seed, "report", "searched"))[:size]
        z = self.latents(self.sources[0].distribution, n, "samples")
        made = self.decode(z) if self.is_images else self.draw(z, "samples")
        own = rows[:n]  # of which the nearest other one is looked for
        wanted = torch.cat([made.flatten(1), self._rows(own).flatten(1)])
        best = torch.full((len(wanted),), torch.inf)
        found = torch.zeros(len(wanted), dtype=torch.int64)
        for part in torch.split(rows, 4096):
            distances = torch.cdist(wanted, self._rows(part).flatten(1))
            distances[n:][own[:, None] == part] = torch.inf
            nearest = distances.min(1)
            closer = nearest.values < best
            best, found = torch.where(closer, nearest.values, best), torch.where(closer, part[nearest.indices], found)
        return Neighbours(made, self._rows(found[:n]), found[:n].numpy(), best[:n], best[n:], size)

    def _rows(self, rows: Tensor) -> Tensor:
        assert self._data is not None, "asked only where there are data"
        x: Tensor = self.schema.to_model(self.schema.encode(take_rows(self._data.data, rows.tolist()))).float()
        return x

    @property
    def _is_point(self) -> bool:
        """Whether a posterior has nothing to draw."""
        return self.is_deterministic or self.is_discrete

    @property
    def _batch(self) -> int:
        return inference_batch_size(self.estimator.specification_.width)


def _n_trained(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
