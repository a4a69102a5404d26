"""The variational autoencoder as an estimator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, final

from sklearn.utils._param_validation import Interval, StrOptions

from latentkit.core.protocols import Objective
from latentkit.estimators.combinations import check_batch_statistics, check_components, check_point_codes
from latentkit.estimators.fitting import BOUND, TrainedEstimator
from latentkit.estimators.parameters import (
    EncoderParameters,
    ExPostParameters,
    NetworkParameters,
    TableParameters,
    TextParameters,
    completed,
)
from latentkit.estimators.private import PRIVACY_CITES, PrivacyParameters
from latentkit.estimators.registry import estimators
from latentkit.estimators.resolving import resolve_kl_schedule, resolve_objective
from latentkit.estimators.specifying import resolve_latent_dim, specify_autoencoder
from latentkit.estimators.vectors import VectorTasks
from latentkit.models import VaeSpecification
from latentkit.objectives import objectives
from latentkit.tasks import ex_post_priors
from latentkit.training.feed import Feed
from latentkit.training.plan import TrainingPlan

__all__ = ["VAE"]

#: Nats of KL that each latent dimension has for free where the decoder looks at the known cells of a row.
FREE_BITS_OF_TABLES = 0.5
#: Nats of KL that all latent dimensions of texts have for free together.
FREE_NATS_OF_TEXTS = 8.0
#: Nats of KL that texts have at least, since their posterior means keep a spread.
LEAST_NATS_OF_TEXTS = 4.0
#: Rows for which the networks of a private training are sized, at most: noise grows with the number of weights.
PRIVATE_ROWS = 1000
#: Objectives whose value may lie above the log-likelihood: they weigh or estimate parts of the divergence otherwise.
NO_BOUNDS = frozenset({"beta_tc", "factor", "info"})


@estimators.register("vae", cites=("kingma2014auto", "rezende2014stochastic"))
@final
@completed
@dataclass(kw_only=True, eq=False, repr=False)
class VAE(
    VectorTasks,
    EncoderParameters,
    NetworkParameters,
    ExPostParameters,
    TableParameters,
    TextParameters,
    PrivacyParameters,
    TrainedEstimator,
):
    r"""Variational autoencoder: learns a latent space from data without labels, and puts it to use.

    .. math:: \log p(x) \ge E_{q(z \mid x)}[\log p(x \mid z)] - \beta\, KL(q(z \mid x), p(z))

    Everything that is ``"auto"`` is chosen from the data and written into the run.

    Args:
        posterior: Family of q(z given x): a Gaussian of ``"diagonal"`` or ``"full"`` covariance, one bent by an inverse
            autoregressive ``"flow"``, or ``"spherical"`` on the unit hypersphere.
        posterior_options: Its arguments, such as ``{"n_layers": 2}``; None is none, and for texts a ``"spread"``, which
            holds the means of each latent dimension apart.
        prior: Prior that is trained against: ``"normal"``, ``"mixture"``, ``"vamp"`` (the model's own posteriors at
            learnt pseudo-inputs), ``"flow"``, ``"autoregressive"``, or ``"spherical"`` for that posterior.
        prior_options: Its arguments, such as ``{"n_components": 100}``.
        objective: A bound: ``"elbo"``, ``"iwae"``, ``"dreg"``, ``"stl"``, ``"miwae"``, ``"piwae"``, ``"ciwae"``; for
            dimensions that do not depend on each other ``"beta_tc"``, ``"factor"``, ``"dip"``; ``"info"``.
        objective_options: Its further arguments, such as ``{"capacity": 25.0}`` or ``{"version": "ii"}``.
        beta: Weight of the objective's KL term, or of the part that it weighs; 1 is the bound, above 1 the beta-VAE.
            ``"auto"`` is the objective's own: 1, and 6 for ``"beta_tc"``, 0.5 for ``"ciwae"``.
        free_bits: Nats of KL that each latent dimension has for free; where the KL does not split into dimensions, as
            with a learnt prior, those of all of them together. ``"auto"`` is 0.5 for tables of mixed kinds and 8 over
            all dimensions for texts, whose decoders could do without z, and 0 for other data and with `epsilon`.
        n_importance: Draws per example of the importance-weighted objectives; ``"auto"`` is 5 or 8.
        kl_schedule: ``"linear"`` warm-up of the KL term, ``"cyclical"`` or ``"constant"``.
        kl_warm_up: Share of training over which a linear warm-up rises.
        pretraining: Share of training in which the KL term counts nothing; then the decoder starts anew, beside an
            encoder that has something to tell it.
        aggressive: Share of training in which the decoder is updated in one step of ten only, so that the encoder keeps
            up with it.
        ex_post: Prior that is fitted to the posteriors after training, from which :meth:`sample` draws: ``"auto"`` is a
            Gaussian ``"mixture"``, and ``"none"`` with `epsilon`; a coupling ``"flow"``, ``"flow_matching"``, a
            ``"second_stage"`` autoencoder of the latent vectors. All but the mixture are trained, in a tenth of
            `max_time`.

    References:
        Kingma and Welling, 2014, Auto-Encoding Variational Bayes, arXiv:1312.6114.
        Ghosh et al., 2020, From Variational to Deterministic Autoencoders, arXiv:1903.12436 (ex-post mixtures).
        Li et al., 2019, A Surprisingly Effective Fix for Deep Latent Variable Modeling of Text, arXiv:1909.00868
        (pre-training).
        He et al., 2019, Lagging Inference Networks and Posterior Collapse in Variational Autoencoders, arXiv:1901.05534
        (aggressive training).

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X = load_iris().data
        >>> vae = VAE(latent_dim=2, max_epochs=5, random_state=0).fit(X)
        >>> vae.transform(X).shape, vae.sample(3).shape
        ((150, 2), (3, 4))
    """

    posterior: str = "diagonal"
    posterior_options: Mapping[str, Any] | None = None
    prior: str = "normal"
    prior_options: Mapping[str, Any] | None = None
    objective: str = "elbo"
    objective_options: Mapping[str, Any] | None = None
    beta: float | Literal["auto"] = "auto"
    free_bits: float | Literal["auto"] = "auto"
    n_importance: int | Literal["auto"] = "auto"
    kl_schedule: str = "linear"
    kl_warm_up: float = 0.1
    pretraining: float = 0.0
    aggressive: float = 0.0
    ex_post: str = "auto"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "posterior": [str],
        "posterior_options": [dict, None],
        "prior": [str],
        "prior_options": [dict, None],
        "objective": [str],
        "objective_options": [dict, None],
        "beta": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "free_bits": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "n_importance": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "kl_schedule": [str],
        "kl_warm_up": [Interval(Real, 0, 1, closed="both")],
        "pretraining": [Interval(Real, 0, 1, closed="left")],
        "aggressive": [Interval(Real, 0, 1, closed="both")],
        "ex_post": [StrOptions({*ex_post_priors, "auto", "none"})],
    }

    # What is trained

    def _specify(self, n_rows: int, condition_dim: int) -> VaeSpecification:
        self._check_privacy()
        self._check_ex_post()
        check_point_codes(
            self.objective,
            posterior=self.posterior,
            prior=self.prior,
            kl_schedule=self.kl_schedule,
            kl_warm_up=float(self.kl_warm_up),
        )
        check_batch_statistics("objective", self.objective, self.batch_size)
        latent_dim = resolve_latent_dim(self)
        options = self._posterior_options(latent_dim)
        if options.get("spread") is not None:
            check_batch_statistics("posterior_options", "spread", self.batch_size, ("spread",))
        check_components(self.prior, self.prior_options, n_rows)
        self._n_train = n_rows
        return specify_autoencoder(
            self,
            min(n_rows, PRIVATE_ROWS) if self._is_private else n_rows,
            condition_dim,
            latent_dim=latent_dim,
            posterior=self.posterior,
            posterior_options=options,
            prior=self.prior,
            prior_options=dict(self.prior_options or {}),
        )

    def _objective(self) -> Objective:
        name, arguments = resolve_objective(
            self.objective,
            beta="auto" if self.beta == "auto" else float(self.beta),
            free_bits=self._free_bits(),
            n_importance=self.n_importance,
            options=self.objective_options,
            n_data=self._n_train,
        )
        objective: Objective = objectives[name](**arguments)
        return objective

    def _posterior_options(self, latent_dim: int) -> dict[str, Any]:
        """As asked for; means of texts keep a spread, or their decoder would come to do without z."""
        if self.posterior_options is None and self.posterior == "diagonal" and self.schema_.kind == "text":
            return {} if self._is_private else {"spread": min(1.0, math.sqrt(2.0 * LEAST_NATS_OF_TEXTS / latent_dim))}
        return dict(self.posterior_options or {})

    def _free_bits(self) -> float:
        if self.free_bits != "auto":
            return float(self.free_bits)
        if self._is_private:
            return 0.0
        if self.schema_.kind == "text":
            return FREE_NATS_OF_TEXTS / self.latent_dim_ if self.objective == "elbo" else 0.0
        looks_at_cells = self.specification_.decoder["network"] == "columns"
        return FREE_BITS_OF_TABLES if self.objective == "elbo" and looks_at_cells else 0.0

    def _kl_weight(self) -> Callable[[float], float]:
        schedule = resolve_kl_schedule(self.kl_schedule, float(self.kl_warm_up))
        start = float(self.pretraining)
        return (lambda at: 0.0 if at < start else schedule((at - start) / (1.0 - start))) if start else schedule

    def _plan(self, train: Feed, device: str) -> TrainingPlan:
        plan = super()._plan(train, device)
        anew = ("decoder",) if self.pretraining else ()
        return replace(plan, pretraining=float(self.pretraining), anew=anew, aggressive=float(self.aggressive))

    @property
    def _value_name(self) -> str:
        loose = self.beta != "auto" and self.beta < 1
        if self.objective in NO_BOUNDS or loose or (self.objective_options or {}).get("capacity") is not None:
            return f"objective {self.objective!r} with these settings, no bound on log p(x)"
        return BOUND

    def _cites(self) -> tuple[str, ...]:
        private = PRIVACY_CITES if self._is_private else ()
        ways = {"li2019surprisingly": self.pretraining, "he2019lagging": self.aggressive}
        texts = ("bowman2016generating", "long2019preventing") if self.schema_.kind == "text" else ()
        spread = ("zhu2020batch",) if "spread" in self.specification_.posterior_options else ()
        taken = (key for key, share in ways.items() if share)
        return (*objectives.cites(self.objective), *texts, *spread, *taken, *self._ex_post_cites(), *private)
