"""The generative adversarial network as an estimator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, ClassVar, Literal, final

from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.protocols import Objective
from latentkit.data import Dataset
from latentkit.estimators.adversarial import AdversarialParameters
from latentkit.estimators.ex_post import without_ex_post
from latentkit.estimators.fitting import TrainedEstimator
from latentkit.estimators.latents import LatentTasks
from latentkit.estimators.parameters import completed
from latentkit.estimators.registry import estimators
from latentkit.estimators.resolving import default_latent_dim
from latentkit.models import GanSpecification, resolve_network, settle
from latentkit.objectives import GanObjective, kl_schedules
from latentkit.training.progress import Reporter

__all__ = ["GAN"]


@estimators.register("gan", cites=("goodfellow2014generative", "mescheder2018which"))
@final
@completed
@dataclass(kw_only=True, eq=False, repr=False)
class GAN(LatentTasks, AdversarialParameters, TrainedEstimator):
    r"""Generative adversarial network: learns to make data that a discriminator cannot tell from those of fit.

    .. math:: x = G(z), \quad z \sim N(0, I)

    It samples, and decodes and interpolates latent vectors; it has no encoder and no likelihood, so that it does not
    reduce, score or recover. `weight_averaging`, `validation_fraction` and `upsampling` have other defaults than
    elsewhere: the average of the last weights is kept, no row is held out, and images are enlarged smoothly. A training
    in which the discriminator wins, or the samples collapse, ends in a DivergenceError.

    Args:
        latent_dim: Number of latent dimensions.

    Attributes:
        history_: One record per epoch; `objective` is the generator's, -log 2 where the non-saturating game is even.

    References:
        Goodfellow et al., 2014, Generative Adversarial Nets, arXiv:1406.2661.
        Mescheder et al., 2018, Which Training Methods for GANs do actually Converge?, arXiv:1801.04406.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> gan = GAN(latent_dim=2, max_epochs=5, random_state=0).fit(load_iris().data)
        >>> gan.sample(3).shape, gan.interpolate([0.0, 1.0], [1.0, 0.0]).shape
        ((3, 4), (9, 4))
    """

    latent_dim: int | Literal["auto"] = field(default="auto", kw_only=False)

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "latent_dim": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    }
    _value_unit: ClassVar[str] = ""

    @property
    def _value_name(self) -> str:
        return "value of the game for the generator, no likelihood"

    def _specify(self, n_rows: int, condition_dim: int) -> GanSpecification:
        self._check_adversarial()
        if self.likelihood != "auto" or self.likelihood_options:
            raise InvalidParameterError(
                f"a GAN has no likelihood; got likelihood={self.likelihood!r}, "
                f"likelihood_options={self.likelihood_options!r}. Leave them out, or use VAEGAN or VAE."
            )
        event_shape = tuple(self.schema_.event_shape)
        decoder = settle(
            resolve_network(self.decoder, event_shape, n_rows=n_rows),
            activation=self.activation,
            normalization=self.normalization,
        )
        return GanSpecification(
            event_shape=event_shape,
            latent_dim=default_latent_dim(event_shape) if self.latent_dim == "auto" else int(self.latent_dim),
            decoder=decoder,
            discriminator=self._resolve_discriminator(event_shape, n_rows),
            # of which the mean alone is used: a sigmoid for values from 0 to 1, else the numbers themselves
            likelihood="gaussian" if self.schema_.values == "real" else "bernoulli",
            likelihood_options={"variance": "fixed"} if self.schema_.values == "real" else {},
            activation=self.activation,
            normalization=self.normalization,
            dropout=self._resolve_dropout(),
            upsampling=self._resolve_upsampling(decoder),
            spectral_norm=bool(self.spectral_norm),
            condition_dim=condition_dim,
        )

    def _objective(self) -> Objective:
        return GanObjective(loss=self.objective, r1=float(self.r1), r1_every=int(self.r1_every))

    def _kl_weight(self) -> Callable[[float], float]:
        constant: Callable[[float], float] = kl_schedules["constant"]()
        return constant

    def _complete(self, storage: Tensor, dataset: Dataset, reporter: Reporter) -> None:
        """Nothing is fitted afterwards: p(z) is what the generator was trained on."""
        without_ex_post(self)

    def _cites(self) -> tuple[str, ...]:
        return ()
