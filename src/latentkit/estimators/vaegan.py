"""The marriage of the variational autoencoder and the adversarial network as an estimator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, final

import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn

from latentkit.core.protocols import Objective
from latentkit.core.seeds import derive_seed, isolated_rng
from latentkit.data import Dataset
from latentkit.estimators.adversarial import AdversarialParameters
from latentkit.estimators.fitting import TrainedEstimator
from latentkit.estimators.parameters import ExPostParameters, completed
from latentkit.estimators.registry import estimators
from latentkit.estimators.resolving import default_latent_dim, resolve_kl_schedule, resolve_likelihood
from latentkit.estimators.vectors import VectorTasks
from latentkit.models import VaeGanSpecification, resolve_network, settle
from latentkit.objectives import VaeGanObjective
from latentkit.training.progress import Reporter

__all__ = ["VAEGAN"]

#: Rows of the training data, at most, whose reconstructions a learnt variance is set by.
CALIBRATION_ROWS = 2000


@estimators.register("vaegan", cites=("larsen2016autoencoding",))
@final
@completed
@dataclass(kw_only=True, eq=False, repr=False)
class VAEGAN(VectorTasks, AdversarialParameters, ExPostParameters, TrainedEstimator):
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
        history_: One record per epoch; `objective` is the encoder's.

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

    @property
    def _value_name(self) -> str:
        return "value of the game for the encoder, no bound on log p(x)"

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
            dropout=self._resolve_dropout(),
            upsampling=self._resolve_upsampling(decoder),
            spectral_norm=bool(self.spectral_norm),
            condition_dim=condition_dim,
        )

    def _resolve_likelihood(self) -> tuple[str, dict[str, Any]]:
        """A likelihood of which the decoder gives the mean alone."""
        name, options = super()._resolve_likelihood()
        if self.likelihood != "auto" or name == "bernoulli":
            return name, options
        return resolve_likelihood("gaussian", {"bounded": self.schema_.values != "real"}, self.schema_)

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

    def _complete(self, storage: Tensor, dataset: Dataset, reporter: Reporter) -> None:
        """Set a learnt variance to what the reconstructions leave, which gradient steps only come near; then as others.

        The bound on log p(x) of given means is highest there.
        """
        rows = self._some_rows(len(storage), CALIBRATION_ROWS, "variance")
        with isolated_rng(derive_seed(self.seed_, "variance"), self._device):
            means = self._map_rows(lambda model, x: model.decode(model.encode(x).rsample()).mean, storage, rows)
        self.model_.autoencoder.likelihood.calibrate(self._to_model(storage[rows], torch.float32).cpu(), means)
        super()._complete(storage, dataset, reporter)

    def _cites(self) -> tuple[str, ...]:
        return self._ex_post_cites()
