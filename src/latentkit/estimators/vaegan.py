"""The marriage of the variational autoencoder and the adversarial network as an estimator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, final

from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from latentkit.core.protocols import Objective
from latentkit.estimators.adversarial import AdversarialParameters
from latentkit.estimators.encoding import EncodingTasks
from latentkit.estimators.fitting import TrainedEstimator
from latentkit.estimators.generating import GenerativeTasks
from latentkit.estimators.parameters import EX_POST_CITES, ExPostParameters, completed
from latentkit.estimators.registry import estimators
from latentkit.estimators.resolving import default_latent_dim, resolve_kl_schedule, resolve_likelihood
from latentkit.models import VaeGanSpecification, resolve_network, settle
from latentkit.objectives import VaeGanObjective

__all__ = ["VAEGAN"]


@estimators.register("vaegan", cites=("larsen2016autoencoding",))
@final
@completed
@dataclass(kw_only=True, eq=False, repr=False)
class VAEGAN(EncodingTasks, GenerativeTasks, AdversarialParameters, ExPostParameters, TrainedEstimator):
    r"""Variational autoencoder that is trained by a discriminator: sharp reconstructions and samples, and an encoder.

    How like a reconstruction is to its original is measured by the features that the discriminator has learnt, not by
    their pixels. What training climbs is therefore no bound on log p(x). `log_likelihood` and the scores are the bound
    of the model that is left, with its likelihood of pixels or columns: they are proper bounds, but lower than those of
    a VAE, which is trained for them; they tell what is unusual, and are no measure of sharpness.

    `weight_averaging`, `validation_fraction` and `upsampling` have other defaults than elsewhere: the average of the
    last weights is kept, no row is held out, and images are enlarged smoothly. A training in which the discriminator
    wins, or the samples collapse, ends in a DivergenceError. The likelihood is one whose mean alone the decoder gives:
    ``"auto"`` is Bernoulli for binary data, else Gaussian with one learnt variance, and with means from 0 to 1 for
    images in that range.

    Args:
        latent_dim: Number of latent dimensions.
        encoder: ``"auto"``, ``"mlp"``, ``"conv"``, a tuple of hidden widths such as ``(500, 500)``, or a module of your
            own, which is copied.
        posterior: Family of q(z given x), such as ``"diagonal"`` or ``"full"`` covariance.
        prior: Prior that is trained against: ``"normal"``.
        gamma: Weight of the likeness of features against the discriminator's judgement: larger is more faithful,
            smaller freer.
        beta: Weight of the KL term.
        kl_schedule: ``"linear"`` warm-up of the KL term, ``"cyclical"`` or ``"constant"``.
        kl_warm_up: Share of training over which a linear warm-up rises.

    Attributes:
        model_: The trained torch module.
        schema_: How the data become tensors and come back.
        specification_: What the model is made of.
        history_: One record per epoch; `objective` is the encoder's.
        n_iter_: Epochs trained.
        latent_dim_: Latent dimensions.
        mixture_: The ex-post mixture, or None.
        classes_: Names of the classes, where labels were given.
        n_features_in_: Numbers per example.

    References:
        Larsen et al., 2016, Autoencoding beyond pixels using a learned similarity metric, arXiv:1512.09300.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X = load_iris().data
        >>> vaegan = VAEGAN(latent_dim=2, max_epochs=5, random_state=0).fit(X)
        >>> vaegan.transform(X).shape, vaegan.sample(3).shape
        ((150, 2), (3, 4))
    """

    latent_dim: int | Literal["auto"] = field(default="auto", kw_only=False)
    encoder: str | Sequence[int] | nn.Module = "auto"
    posterior: str = "diagonal"
    prior: str = "normal"
    gamma: float = 0.1
    beta: float = 1.0
    kl_schedule: str = "linear"
    kl_warm_up: float = 0.1

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "latent_dim": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "encoder": [str, tuple, list, nn.Module],
        "posterior": [str],
        "prior": [str],
        "gamma": [Interval(Real, 0, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "kl_schedule": [str],
        "kl_warm_up": [Interval(Real, 0, 1, closed="both")],
    }
    _value_name: ClassVar[str] = "Value of the game for the encoder, no bound on log p(x)"

    def _specify(self, n_rows: int, condition_dim: int) -> VaeGanSpecification:
        self._check_ex_post()
        self._check_adversarial()
        event_shape = tuple(self.schema_.event_shape)
        likelihood, options = self._resolve_likelihood()
        encoder, decoder = (
            settle(
                resolve_network(network, event_shape, n_rows=n_rows),
                activation=self.activation,
                normalization=self.normalization,
            )
            for network in (self.encoder, self.decoder)
        )
        return VaeGanSpecification(
            event_shape=event_shape,
            latent_dim=default_latent_dim(event_shape) if self.latent_dim == "auto" else int(self.latent_dim),
            encoder=encoder,
            decoder=decoder,
            discriminator=self._resolve_discriminator(event_shape, n_rows),
            posterior=self.posterior,
            likelihood=likelihood,
            likelihood_options=options,
            prior=self.prior,
            activation=self.activation,
            normalization=self.normalization,
            dropout=float(self.dropout),
            upsampling=self._resolve_upsampling(decoder),
            spectral_norm=bool(self.spectral_norm),
            condition_dim=condition_dim,
        )

    def _resolve_likelihood(self) -> tuple[str, dict[str, Any]]:
        """A likelihood of which the decoder gives the mean alone."""
        values = self.schema_.values
        if self.likelihood != "auto" or self.likelihood_options or values == "binary":
            return resolve_likelihood(self.likelihood, self.likelihood_options, self.schema_)
        return resolve_likelihood("gaussian", {"bounded": values != "real"}, self.schema_)

    def _objective(self) -> Objective:
        return VaeGanObjective(
            gamma=float(self.gamma),
            beta=float(self.beta),
            loss=self.objective,
            r1=float(self.r1),
            r1_every=int(self.r1_every),
        )

    def _kl_weight(self) -> Callable[[float], float]:
        return resolve_kl_schedule(self.kl_schedule, float(self.kl_warm_up))

    def _cites(self) -> tuple[str, ...]:
        return EX_POST_CITES[self.ex_post]
