"""What the checks look at: a fitted estimator and its rows, with everything that several checks need computed once."""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from latentkit.core.errors import DataError, UnsupportedOperationError
from latentkit.core.protocols import Batch, Objective
from latentkit.core.seeds import derive_seed, generator, isolated_rng
from latentkit.distributions import DiagonalGaussian, StandardNormal, kl_per_dimension
from latentkit.estimators.adversarial import AdversarialParameters
from latentkit.estimators.encoding import EncodingTasks
from latentkit.evaluation import reconstruction_likelihood
from latentkit.evaluation.two_sample import area_under_curve
from latentkit.models import inference_batch_size, map_batches
from latentkit.objectives import log_importance_weights, log_mean_exp
from latentkit.objectives.phases import log_likelihood
from latentkit.objectives.semi_amortized import refine
from latentkit.tasks import sample_latents
from latentkit.training import Feed, TrainingPlan, objective_values, training_step

__all__ = ["Amortisation", "Examination", "NotCheckable", "Part", "Trial"]

Part: TypeAlias = Literal["train", "held out"]

#: Rows of each part that are looked at, at most.
MOST_ROWS = 1500
#: Floating-point operations that one quantity may cost: a few seconds on one core.
BUDGET = 6e10
#: Fewest rows from which a share is told.
FEWEST_ROWS = 30
#: Draws of z for each row's bound.
N_DRAWS = 8
#: Rows whose posteriors are optimised, at most, steps and draws that they are then judged by.
OPTIMISED_ROWS, OPTIMISING_STEPS, JUDGING_DRAWS = 96, 40, 64
#: Seconds that one trial of training may take, and its steps at most and at least.
TRIAL_SECONDS, MOST_STEPS, FEWEST_STEPS = 4.0, 100, 10
#: Standard errors by which rows must differ for more than chance.
SURE = 3.0
#: Numbers of an example above which no linear model is fitted to the rows.
MOST_LINEAR = 4096


class NotCheckable(UnsupportedOperationError):
    """A check cannot be made; the message says why, and what would make it possible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """How the gradients of reconstruction and KL term balance.

    Attributes:
        beta: Weight of the KL term that balances them best.
        cosine: Of the angle between the two; 1 where that weight balances them wholly, 0 where one of them is zero.
    """

    beta: float
    cosine: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Amortisation:
    """What the encoder's posteriors leave of the bound of each row, nats, shape (rows,).

    Attributes:
        encoder: ELBO of the encoder's posterior.
        optimised: ELBO of the best posterior of the same family, found row by row.
        tight: Importance bound with draws from the better of the two, near log p(x).
    """

    encoder: Tensor
    optimised: Tensor
    tight: Tensor

    @property
    def gap(self) -> Tensor:
        """The amortisation gap of each row."""
        return self.optimised - self.encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What some steps of training made of a copy.

    Attributes:
        values: Objective after the steps, nats, of held-out rows, or of rows of the fit where it began with first
            weights, shape (rows,); minus infinity where it broke.
        learnt: The same of rows of the fit.
        n_steps: How many there were.
    """

    values: Tensor
    learnt: Tensor
    n_steps: int

    @property
    def value(self) -> float:
        """Mean of the values, nats."""
        return float(self.values.mean())

    def is_above(self, other: Trial) -> bool:
        """Whether more rows than chance explains have higher values than in another trial; far rows count as one."""
        n = len(self.values)
        return float((self.values > other.values).sum()) - n / 2 > SURE * math.sqrt(n) / 2


class Examination:
    """A fitted estimator and its rows; what checks share is computed when it is first asked for, and once.

    Args:
        estimator: Fitted.
        data: The data of its fit, in the form that fit took; None where they are not there.
        held_out: Rows that it has not learnt; None takes those of `data` that training was judged by.
        seed: Decides the rows and draws.

    Raises:
        DataError: If data hold fewer than two rows.
    """

    def __init__(self, estimator: Any, data: Any = None, *, held_out: Any = None, seed: int = 0) -> None:
        self.estimator = estimator
        self.model: Any = estimator.model_
        self.schema: Any = estimator.schema_
        self.specification: Any = estimator.specification_
        self.history: list[dict[str, Any]] = list(getattr(estimator, "history_", []))
        self.events: list[str] = list(getattr(estimator, "events_", []))
        self.seed = seed
        rows: dict[Part, Tensor | None] = {"train": None, "held out": None}
        if data is not None:
            storage = self._encoded(data)
            learnt, judged = estimator._split(len(storage))  # noqa: SLF001 (of our own)
            rows["train"] = storage[learnt] if len(judged) else storage
            rows["held out"] = storage[judged] if len(judged) else None
        if held_out is not None:
            rows["held out"] = self._encoded(held_out)
        self._rows = rows
        self._posteriors: dict[Part, tuple[Tensor, Tensor | None]] = {}
        self._scores: dict[Part, Tensor] = {}
        self._amortisations: dict[Part, Amortisation] = {}
        self._trials: dict[tuple[float, int, bool], Trial] = {}

    def _encoded(self, data: Any) -> Tensor:
        storage = cast(Tensor, self.estimator._encode_input(data)[0])  # noqa: SLF001 (of our own)
        if len(storage) < 2:
            raise DataError(f"a diagnosis takes at least 2 rows; got {len(storage)}.")
        return storage

    # What there is

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The settings of the estimator."""
        return dict(self.estimator.get_params(deep=False))

    @property
    def asked_beta(self) -> float:
        """Weight of the KL term that the estimator was given; 1 where it was given none."""
        beta = self.parameters.get("beta", "auto")
        return 1.0 if beta == "auto" else float(beta)

    @property
    def has_encoder(self) -> bool:
        """Whether data have latents."""
        return isinstance(self.estimator, EncodingTasks)

    @property
    def is_discrete(self) -> bool:
        """Whether latents are codes out of a codebook."""
        return bool(self.specification.is_discrete)

    @property
    def is_point(self) -> bool:
        """Whether q(z given x) has nothing to draw."""
        return bool(self.specification.is_deterministic) or self.is_discrete

    @property
    def is_adversarial(self) -> bool:
        """Whether a discriminator takes part in training."""
        return isinstance(self.estimator, AdversarialParameters)

    @property
    def has_likelihood(self) -> bool:
        """Whether there is a density p(x given z)."""
        return "likelihood" in self.specification.parts and not self.is_adversarial

    @property
    def is_numeric(self) -> bool:
        """Whether an example is a tensor of numbers in which distances mean something."""
        return self.schema.kind in ("rows", "images")

    def n(self, part: Part) -> int:
        """Rows of a part; 0 where there are none."""
        rows = self._rows[part]
        return 0 if rows is None else len(rows)

    def need_encoder(self) -> None:
        """Raises: NotCheckable, where there is no encoder."""
        if not self.has_encoder:
            raise NotCheckable(f"this {type(self.estimator).__name__} has no encoder.")

    def need_gaussian(self) -> None:
        """Raises: NotCheckable, where posteriors are no Gaussians of independent dimensions beside N(0, I)."""
        self.need_encoder()
        self.need_likelihood()
        parts = self.specification.parts
        if self.is_point or parts.get("posterior") != "diagonal" or parts.get("prior", "normal") != "normal":
            raise NotCheckable("it takes a diagonal posterior and the prior N(0, I), and this model has others.")
        if not isinstance(self.model.prior(), StandardNormal):
            raise NotCheckable("it takes the prior N(0, I), and this model has another.")

    def need_likelihood(self) -> None:
        """Raises: NotCheckable, where there is no density p(x given z)."""
        if not self.has_likelihood:
            raise NotCheckable(f"this {type(self.estimator).__name__} has no density p(x given z).")

    def need_no_condition(self) -> None:
        """Raises: NotCheckable, where samples are meant to be drawn given a condition."""
        if self.estimator.condition_schema_ is not None:
            raise NotCheckable(
                "samples of this model are drawn given a condition, which is not here; latentkit evaluate judges them."
            )

    def need_images(self) -> None:
        """Raises: NotCheckable, where data are no images of at least 8 x 8 pixels."""
        if self.schema.kind != "images":
            raise NotCheckable("it is for images.")
        if min(self.specification.event_shape[1:]) < 8:
            raise NotCheckable("it takes images of at least 8 x 8 pixels.")

    def need_numbers(self) -> None:
        """Raises: NotCheckable, where data are neither images nor rows of numbers."""
        if not self.is_numeric:
            raise NotCheckable("it is for images and rows of numbers.")

    def need_rows(self, part: Part, n: int = FEWEST_ROWS) -> None:
        """Raises: NotCheckable, where a part has fewer rows."""
        if self.n(part) >= n:
            return
        there = f"there are {self.n(part)}" if self.n(part) else "there are none"
        if part == "train":
            raise NotCheckable(f"it takes {n} rows of the fit, and {there}. Give the data of the fit.")
        raise NotCheckable(
            f"it takes {n} rows that training did not learn from, and {there}. Give some, or fit with "
            "validation_fraction above 0."
        )

    # Rows

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return cast(torch.device, next(self.model.parameters()).device)

    @cached_property
    def cost(self) -> float:
        """Floating-point operations of encoding, decoding and scoring one row, about."""
        from torch.utils.flop_counter import FlopCounterMode

        x = self.x(next(rows for rows in self._rows.values() if rows is not None)[:1])
        # with gradients, one row costs nothing more, and the counter fails on parametrised layers without them
        with FlopCounterMode(display=False) as counter:
            latent = torch.zeros(1, self.specification.latent_dim, device=self.device)
            z = self.model.encode(x).mean if self.has_encoder else latent
            likelihood = self.model.decode(z)
            if self.has_likelihood:
                likelihood.log_prob(x)
        # beside the products: the work of the likelihood itself
        return float(counter.get_total_flops() + 100 * math.prod(self.specification.event_shape))

    def storage(self, part: Part, most: int = MOST_ROWS, *, passes: float = 1.0) -> Tensor:
        """Some rows of a part as storage, always the same ones first.

        Args:
            part: Which.
            most: How many at most.
            passes: How often each goes through the networks; what would take too long is looked at on fewer rows.
        """
        self.need_rows(part)
        rows = cast(Tensor, self._rows[part])
        n = int(max(FEWEST_ROWS, min(most, len(rows), BUDGET / (passes * self.cost))))
        order = torch.randperm(len(rows), generator=generator(self.seed, "doctor", part))
        return rows[order[:n].to(rows.device)]

    def x(self, storage: Tensor) -> Tensor:
        """Storage in model units, on the model's device."""
        x: Tensor = self.schema.to_model(storage.to(self.device))
        return x if self.schema.kind == "text" else x.float()

    def numbers(self, part: Part, most: int = MOST_ROWS) -> Tensor:
        """Some rows of a part as rows of numbers, shape (n, features)."""
        return self.x(self.storage(part, most)).flatten(1).cpu()

    def map(self, function: Callable[[Tensor], Tensor], storage: Tensor, *, n_draws: int = 1) -> Tensor:
        """Apply `function` to rows in model units, batch by batch, without gradients; results are on the CPU."""
        size = inference_batch_size(self.specification.width, n_samples=n_draws)
        return map_batches(lambda rows: function(self.x(storage[rows])), torch.arange(len(storage)), batch_size=size)

    def noise(self, *shape: int, purpose: str) -> Tensor:
        """Standard normal numbers for one purpose, the same at every call."""
        return torch.randn(*shape, generator=generator(self.seed, "doctor", "noise", purpose))

    # Posteriors

    def posterior(self, part: Part) -> tuple[Tensor, Tensor | None]:
        """Means and log-variances of q(z given x) of some rows, shape (n, latent); None where posteriors are points."""
        self.need_encoder()
        if part not in self._posteriors:
            self._posteriors[part] = self._encode(part)
        return self._posteriors[part]

    def _encode(self, part: Part) -> tuple[Tensor, Tensor | None]:
        latent = int(self.specification.latent_dim)

        def moments(x: Tensor) -> Tensor:
            q = self.model.encode(x)
            return cast(Tensor, q.mean) if self.is_point else torch.cat([q.mean, q.log_var], dim=-1)

        both = self.map(moments, self.storage(part))
        return (both, None) if self.is_point else (both[:, :latent], both[:, latent:])

    def posterior_draws(self, part: Part) -> Tensor:
        """One draw of z for each of these rows, shape (n, latent); the code itself where posteriors are points."""
        mean, log_var = self.posterior(part)
        if log_var is None:
            return mean
        return mean + (0.5 * log_var).exp() * self.noise(*mean.shape, purpose=f"draws {part}")

    def kl(self, part: Part) -> Tensor:
        """Mean KL(q(z_j given x), N(0, 1)) of each latent dimension, nats, shape (latent,)."""
        mean, log_var = self.posterior(part)
        assert log_var is not None, "asked only where posteriors have a spread"
        prior = StandardNormal(mean.shape[1])
        return kl_per_dimension(DiagonalGaussian(mean.double(), log_var.double()), prior).mean(0)

    # Scores

    def scores(self, part: Part) -> Tensor:
        """ELBO of some rows, or the log-likelihood of the reconstruction where codes are points; nats, shape (n,)."""
        self.need_encoder()
        self.need_likelihood()
        if part not in self._scores:
            n_draws = 1 if self.is_point else N_DRAWS
            self._scores[part] = self.map(
                lambda x: self.score(x, n_draws), self.storage(part, passes=n_draws), n_draws=n_draws
            ).double()
        return self._scores[part]

    def score(self, x: Tensor, n_draws: int) -> Tensor:
        """ELBO of rows in model units, by draws that are the same for each batch of this size, nats."""
        if self.is_point:
            return reconstruction_likelihood(self.model, x).log_likelihood
        noise = self.noise(n_draws, len(x), int(self.specification.latent_dim), purpose="score").to(x.device)
        return log_importance_weights(self.model, x, n_draws, noise=noise).mean(0)

    @cached_property
    def shuffled(self) -> tuple[Tensor, Tensor]:
        """Fit of held-out (else trained) rows, log p(x given z), with z of their own and of another row; nats."""
        self.need_encoder()
        self.need_likelihood()
        part = self.judged
        z = self.posterior_draws(part)
        storage = self.storage(part)
        other = z.roll(1, 0)  # rows are in random order already

        def fit(latents: Tensor) -> Tensor:
            def one(rows: Tensor) -> Tensor:
                x = self.x(storage[rows])
                return log_likelihood(self.model, latents[rows].to(x.device), Batch(x))

            size = inference_batch_size(self.specification.width)
            return map_batches(one, torch.arange(len(storage)), batch_size=size).double()

        return fit(z), fit(other)

    @property
    def known(self) -> Part:
        """The part that the model knows: rows of the fit, else those held out where only they are enough."""
        return "held out" if self.n("train") < FEWEST_ROWS <= self.n("held out") else "train"

    @property
    def judged(self) -> Part:
        """The part that the model is judged by: rows held out, else those that it learnt."""
        return "held out" if self.n("held out") >= FEWEST_ROWS else "train"

    def baseline(self, part: Part) -> Tensor:
        """Log-likelihood of the rows of :meth:`scores` without z: feature by feature, as common as in training; nats.

        Of tables of mixed kinds and texts: with z of another row, which is somewhat less.
        """
        self.need_likelihood()
        if not self.is_numeric:
            return self.shuffled[1]
        family = copy.deepcopy(self.model.likelihood)
        with torch.no_grad():
            known = self.x(self.storage(self.known))
            family.initialize(known)
            alone = family(family.initial_parameters(known).unsqueeze(0))
        return self.map(alone.log_prob, self.storage(part, passes=N_DRAWS)).double()

    @cached_property
    def worth(self) -> float:
        """Nats by which the model explains a judged row better than its features one by one do; at least 1."""
        return max(1.0, float(self.scores(self.judged).mean() - self.baseline(self.judged).mean()))

    @cached_property
    def structure(self) -> float:
        """Nats by which a linear model of as many latents explains judged rows better than independent features do.

        It is that of probabilistic principal components, on standardised features: near 0, there is nothing to encode.
        Infinite for texts, whose words always depend on each other, and for examples of very many numbers.
        """
        if self.schema.kind == "text" or math.prod(self.specification.event_shape) > MOST_LINEAR:
            return math.inf
        from sklearn.decomposition import PCA

        known, seen = (torch.nan_to_num(self.numbers(part)).double() for part in (self.known, self.judged))
        spread = known.std(0)
        kept = spread > 1e-6
        if int(kept.sum()) < 2:
            return 0.0
        known, seen = ((rows[:, kept] - known.mean(0)[kept]) / spread[kept] for rows in (known, seen))
        seen = seen.clamp(-5.0, 5.0)  # a single far row shall not decide
        n_components = min(int(self.specification.latent_dim), known.shape[1] - 1, known.shape[0] - 1)
        pca = PCA(n_components, svd_solver="full" if known.shape[1] < 1000 else "randomized", random_state=0).fit(known)
        if not pca.noise_variance_ > 1e-9:
            return math.inf  # fewer directions than features: they follow from each other
        alone = -0.5 * (seen.square() + math.log(2.0 * math.pi)).sum(1).mean()
        return float(pca.score(seen.numpy()) - alone)

    def area(self, positive: Tensor, negative: Tensor) -> tuple[float, float]:
        """Probability that a positive exceeds a negative, and its standard error."""
        return area_under_curve(positive.numpy(), negative.numpy())

    # Posteriors, optimised row by row

    def amortisation(self, part: Part) -> Amortisation:
        """What the encoder leaves of the bound of some rows."""
        self.need_gaussian()
        if part not in self._amortisations:
            self._amortisations[part] = self._optimised(part)
        return self._amortisations[part]

    def _optimised(self, part: Part) -> Amortisation:
        self.need_rows(part)
        passes = 3.0 * 2 * OPTIMISING_STEPS + 2 * JUDGING_DRAWS
        # where even the fewest rows would take very long, each has fewer steps, which find a part of the gap
        share = min(1.0, 4.0 * BUDGET / (passes * self.cost * FEWEST_ROWS))
        n_steps, n_draws = (max(most // 4, round(share * most)) for most in (OPTIMISING_STEPS, JUDGING_DRAWS))
        x = self.x(self.storage(part, OPTIMISED_ROWS, passes=passes))
        with torch.no_grad():
            start = cast(DiagonalGaussian, self.model.encode(x))
        batch = Batch(x)
        with isolated_rng(derive_seed(self.seed, "doctor", "refine"), self.device):
            best = refine(self.model, batch, start, n_steps=n_steps, step_size=0.05)
            best = refine(self.model, batch, best, n_steps=n_steps, step_size=0.01)
        noise = self.noise(n_draws, *start.mean.shape, purpose="judging").to(x.device)
        weights = [self._log_weights(x, q, noise) for q in (start, best)]
        first, second = (each.mean(0).double().cpu() for each in weights)
        tight = torch.maximum(log_mean_exp(weights[0]), log_mean_exp(weights[1])).double().cpu()
        # noise may leave an optimised posterior behind the one that it began with
        return Amortisation(encoder=first, optimised=torch.maximum(first, second), tight=tight)

    def _log_weights(self, x: Tensor, q: DiagonalGaussian, noise: Tensor) -> Tensor:
        """Log-weights of draws from q, nats, shape (draws, n)."""
        with torch.no_grad():
            rows = []
            for part in torch.split(noise, max(1, inference_batch_size(self.specification.width) // len(x))):
                z = q.rsample(len(part), noise=part)
                fit = log_likelihood(self.model, z, Batch(x))
                rows.append(fit + self.model.prior().log_prob(z) - q.log_prob(z))
            return torch.cat(rows)

    @cached_property
    def balance(self) -> Balance:
        r"""Weight of the KL term at which the encoder's posteriors of rows of the fit are at rest.

        .. math:: \beta = \frac{\langle g, k \rangle}{\langle k, k \rangle}, \quad
                  g = \left(\sum_i \mu_{ij} \frac{\partial \log p}{\partial \mu_{ij}},
                  \sum_i \frac{\partial \log p}{\partial \log \sigma^2_{ij}}\right)_j, \quad
                  k = \left(\sum_i \mu_{ij}^2, \sum_i \frac{1}{2} (\sigma_{ij}^2 - 1)\right)_j

        A last layer of an encoder can scale its means and shift its log-variances; where training with the weight beta
        has ended, neither gains, so that the gradients of both terms balance along these directions. The cosine of the
        angle between g and k is then 1. Dimensions that carry nothing are left out; NaN where all carry nothing.
        """
        self.need_gaussian()
        storage = self.storage("train", 512, passes=3.0 * N_DRAWS)
        with torch.no_grad():
            q = self.model.encode(self.x(storage))
        mean, log_var = q.mean.detach().clone().requires_grad_(), q.log_var.detach().clone().requires_grad_()
        noise = self.noise(N_DRAWS, *mean.shape, purpose="balance").to(mean.device)
        x = self.x(storage)
        slopes = [torch.zeros_like(mean), torch.zeros_like(mean)]
        for draw in noise:
            z = mean + (0.5 * log_var).exp() * draw
            fit = log_likelihood(self.model, z, Batch(x)).sum()
            for slope, gradient in zip(slopes, torch.autograd.grad(fit, (mean, log_var)), strict=True):
                slope += gradient / N_DRAWS
        mean, log_var = mean.detach(), log_var.detach()
        active = self.kl("train").to(mean.device) > 0.05
        fit_slopes = torch.cat([(mean * slopes[0]).sum(0)[active], slopes[1].sum(0)[active]]).double()
        kl_slopes = torch.cat([mean.square().sum(0)[active], (0.5 * (log_var.exp() - 1.0)).sum(0)[active]]).double()
        if not bool(active.any()):
            return Balance(beta=math.nan, cosine=math.nan)
        beta = fit_slopes @ kl_slopes / kl_slopes.square().sum()
        return Balance(beta=float(beta), cosine=float(torch.cosine_similarity(fit_slopes, kl_slopes, dim=0)))

    # What the model makes

    def reconstruct(self, x: Tensor) -> Tensor:
        """Means of p(x given the posterior mean) for rows in model units."""
        return cast(Tensor, self.model.decode(self.model.encode(x).mean).mean)

    @cached_property
    def prior_draws(self) -> Tensor:
        """Latent vectors as `sample` draws them, as many as there are posterior draws, shape (n, latent)."""
        n = len(self.storage(self.known))
        source = self.estimator._prior_module(None, "auto")()  # noqa: SLF001 (of our own)
        return sample_latents(source, n, generator=generator(self.seed, "doctor", "prior")).cpu().float()

    def made(self, z: Tensor, purpose: str) -> Tensor:
        """Examples of latent vectors as `sample` gives them: means of images, draws of rows; model units, (n, ...)."""
        how = "mean" if self.schema.kind == "images" else "sample"
        source = generator(self.seed, "doctor", "made", purpose)
        return cast(Tensor, self.estimator._drawn(z.to(self.device), how, source)).float()  # noqa: SLF001 (of our own)

    @cached_property
    def samples(self) -> Tensor:
        """New examples in model units, shape (n, *event)."""
        if self.schema.kind == "text":
            raise NotCheckable("samples of texts are judged by: latentkit evaluate.")
        return self.made(self.prior_draws, "samples")

    @cached_property
    def rebuilt(self) -> Tensor:
        """Examples of posterior draws of rows of the fit (else of held-out ones), in model units, shape (n, *event)."""
        if self.schema.kind == "text":
            raise NotCheckable("reconstructions of texts are judged by: latentkit evaluate.")
        return self.made(self.posterior_draws(self.known), "rebuilt")

    # Training

    @cached_property
    def _workshop(self) -> tuple[Any, Feed, Feed, TrainingPlan]:
        """The estimator as in its fit, rows to learn from, rows to judge by, and the plan of its training."""
        self.need_rows("train")
        if self.is_adversarial:
            raise NotCheckable("the players of an adversarial training depend on steps that the run does not keep.")
        if not self.has_encoder:
            raise NotCheckable("training took a latent vector for each row, and they are not here.")
        if self.estimator.condition_schema_ is not None:
            raise NotCheckable("this model was trained with conditions, and they are not here.")
        if getattr(self.estimator, "privacy_", None) is not None:
            raise NotCheckable("further steps on the rows of a private training would tell more than was promised.")
        twin = copy.copy(self.estimator)
        train = cast(Tensor, self._rows["train"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a likelihood that does not suit the data was told of in the fit
            twin._specify(len(train), 0)  # noqa: SLF001 (of our own)  # some objectives ask how many rows there are

        def feed(rows: Tensor, *, validation: bool) -> Feed:
            lengths = self.schema.lengths(rows) if self.schema.kind == "text" else None
            augment = twin._augment(validation=validation)  # noqa: SLF001 (of our own)
            return Feed(rows, self.schema.to_model, device=self.device, augment=augment, lengths=lengths)

        learnt = feed(train, validation=False)
        judged = feed(self.storage(self.judged, 600, passes=2.0), validation=True)
        plan = twin._plan(learnt, str(self.device))  # noqa: SLF001 (of our own)
        return twin, learnt, judged, replace(plan, privacy=None, checkpoint_path=None, aggressive=0.0, anew=())

    @property
    def plan(self) -> TrainingPlan:
        """How the model was trained."""
        return self._workshop[3]

    def objective(self) -> Objective:
        """What training maximised, fresh."""
        return cast(Objective, self._workshop[0]._objective())  # noqa: SLF001 (of our own)

    @cached_property
    def untried(self) -> Trial:
        """The model as it is, after no steps."""
        return self._judged(self.model, self.objective(), 0, fresh=False, broke=False)

    def trial(self, learning_rate: float, *, batch_size: int | None = None, fresh: bool = False) -> Trial:
        """Take some steps with a copy of the model and judge it.

        Args:
            learning_rate: At the first step; it falls to zero.
            batch_size: Rows in a step; None takes that of the fit.
            fresh: Whether it begins with first weights, as the fit did, instead of the trained ones.
        """
        size = self.plan.batch_size if batch_size is None else min(batch_size, self.n("train"))
        key = (learning_rate, size, fresh)
        if key not in self._trials:
            self._trials[key] = self._try(*key)
        return self._trials[key]

    @cached_property
    def n_steps(self) -> int:
        """Steps of a trial: as many as seconds allow."""
        n_steps = int(min(MOST_STEPS, TRIAL_SECONDS / max(self._step_seconds, 1e-6)))
        if n_steps < FEWEST_STEPS:
            raise NotCheckable(f"a step of training takes {self._step_seconds:.1f} s here, too long to try some.")
        return n_steps

    @cached_property
    def _step_seconds(self) -> float:
        _, learnt, _, plan = self._workshop
        step = training_step(copy.deepcopy(self.model), self.objective(), plan)
        batch = learnt.batch(slice(0, plan.batch_size))
        self.model.train(mode=False)
        seconds = math.inf
        with isolated_rng(0, self.device):
            for _ in range(3):  # the first one takes longer, and so may any other
                start = time.perf_counter()
                step(batch, 1.0)
                seconds = min(seconds, time.perf_counter() - start)
                if seconds > TRIAL_SECONDS / 2:
                    break
        return seconds

    def _try(self, learning_rate: float, batch_size: int, fresh: bool) -> Trial:
        twin, learnt, _, plan = self._workshop
        n_steps = self.n_steps
        model = twin._build(learnt).to(self.device) if fresh else copy.deepcopy(self.model)  # noqa: SLF001 (of our own)
        objective = self.objective()
        step = training_step(model, objective, replace(plan, learning_rate=learning_rate))
        with isolated_rng(derive_seed(self.seed, "doctor", "trial"), self.device):
            model.train()
            taken, epoch = 0, 0
            while taken < n_steps:
                for batch in learnt.epoch(batch_size, seed=self.seed, epoch=epoch):
                    step.scale_learning_rate(1.0 - taken / n_steps)
                    terms = step(batch, 1.0)
                    taken += 1
                    if taken >= n_steps:
                        break
                epoch += 1
            model.eval()
            broke = not bool(torch.isfinite(terms.objective).all())
        return self._judged(model, objective, n_steps, fresh=fresh, broke=broke)

    def _judged(self, model: Any, objective: Objective, n_steps: int, *, fresh: bool, broke: bool) -> Trial:
        _, learnt, judged, _ = self._workshop
        # what training itself reaches is judged by rows that it sees; what it leaves undone, by others
        seen = learnt.subset(torch.arange(min(len(learnt), 600 if fresh else 300)))
        known = self._judge(model, objective, seen)
        values = known if fresh else self._judge(model, objective, judged)
        if broke:
            known, values = torch.full_like(known, -math.inf), torch.full_like(values, -math.inf)
        return Trial(values=values, learnt=known, n_steps=n_steps)

    def _judge(self, model: Any, objective: Objective, judged: Feed) -> Tensor:
        with isolated_rng(derive_seed(self.seed, "doctor", "judge"), self.device):
            values = objective_values(model, objective, judged, batch_size=256)
        return values if bool(torch.isfinite(values).all()) else torch.full_like(values, -math.inf)

    @cached_property
    def gradients(self) -> tuple[np.ndarray[Any, Any], dict[str, Tensor]]:
        """Norms of the gradient of some batches at the final weights, and the largest slope that each weight met.

        The weights are left as they are.
        """
        _, learnt, _, plan = self._workshop
        model, objective = copy.deepcopy(self.model).eval(), self.objective()
        objective.phases(model)  # those that learn themselves are made whole by it
        names = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        largest = {name: torch.zeros_like(weight) for name, weight in names.items()}
        norms: list[float] = []
        n_batches = int(max(8, min(40, BUDGET / (3.0 * self.cost * plan.batch_size))))
        with isolated_rng(derive_seed(self.seed, "doctor", "gradients"), self.device):
            while len(norms) < n_batches:
                for batch in learnt.epoch(plan.batch_size, seed=self.seed, epoch=len(norms)):
                    value = objective(model, batch).objective.mean()
                    slopes = torch.autograd.grad(value, list(names.values()), allow_unused=True)
                    square = 0.0
                    for name, slope in zip(names, slopes, strict=True):
                        if slope is not None:
                            torch.maximum(largest[name], slope.abs(), out=largest[name])
                            square += float(slope.square().sum())
                    norms.append(math.sqrt(square))
                    if len(norms) >= n_batches:
                        break
        return np.asarray(norms), largest
