"""Deterministic autoencoders as estimators: undercomplete, sparse and denoising."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Final, Literal, final

from sklearn.utils._param_validation import Interval, StrOptions

from latentkit.core.errors import InvalidParameterError
from latentkit.core.protocols import Objective
from latentkit.estimators.combinations import check_batch_statistics
from latentkit.estimators.fitting import TrainedEstimator
from latentkit.estimators.parameters import (
    EncoderParameters,
    ExPostParameters,
    NetworkParameters,
    completed,
)
from latentkit.estimators.registry import estimators
from latentkit.estimators.resolving import resolve_kl_schedule
from latentkit.estimators.specifying import resolve_latent_dim, specify_autoencoder
from latentkit.estimators.vectors import VectorTasks
from latentkit.models import VaeSpecification
from latentkit.objectives import objectives

__all__ = ["Autoencoder", "DenoisingAutoencoder", "SparseAutoencoder"]

NON_NEGATIVE: Final = Interval(Real, 0, None, closed="left")


class _PointEstimator(VectorTasks, EncoderParameters, NetworkParameters, ExPostParameters, TrainedEstimator, ABC):
    """An autoencoder whose codes are points: no prior is trained against, and samples come from the ex-post prior."""

    #: Name of the objective, and what the latent dimensions of ``"auto"`` are multiplied by.
    objective: ClassVar[str] = "reconstruction"
    _overcomplete: ClassVar[int] = 1

    @property
    def _value_name(self) -> str:
        return "reconstruction, log p(x given z) minus penalties"

    @abstractmethod
    def _code(self, latent_dim: int) -> Mapping[str, Any]:
        """Options of the point posterior."""

    @abstractmethod
    def _terms(self) -> Mapping[str, Any]:
        """Options of the objective: what is corrupted, and what is penalised."""

    @property
    def _has_spectral_decoder(self) -> bool:
        return False

    def _specify(self, n_rows: int, condition_dim: int) -> VaeSpecification:
        self._check_ex_post()
        latent_dim = resolve_latent_dim(self, overcomplete=self._overcomplete)
        return specify_autoencoder(
            self,
            n_rows,
            condition_dim,
            latent_dim=latent_dim,
            has_spectral_decoder=self._has_spectral_decoder,
            posterior="point",
            posterior_options=dict(self._code(latent_dim)),
        )

    def _objective(self) -> Objective:
        objective: Objective = objectives[self.objective](**self._terms())
        return objective

    def _kl_weight(self) -> Callable[[float], float]:
        return resolve_kl_schedule("constant", 0.0)

    def _cites(self) -> tuple[str, ...]:
        return self._ex_post_cites()


@estimators.register("autoencoder", cites=("hinton2006reducing", "ghosh2020variational", "rifai2011contractive"))
@final
@completed
@dataclass(kw_only=True, eq=False, repr=False)
class Autoencoder(_PointEstimator):
    r"""Undercomplete autoencoder: rebuilds each example from a short code, with or without a penalty.

    .. math:: \max E_x[\log p(x \mid z(x)) - \frac{\beta}{2} |z(x)|^2] - \lambda\, penalty

    The code is a point, so there is no bound on log p(x): scores are log p(x | z(x)), and samples come from the
    prior that is fitted to the codes after training. The penalties keep neighbouring codes alike, which is what makes
    samples good:

    ================  ====================================================================================
    penalty           what is subtracted for each example, in nats
    ================  ====================================================================================
    ``contractive``   squared Frobenius norm of the encoder's Jacobian dz/dx (CAE)
    ``l2``            squared norm of the decoder's weights (RAE-L2)
    ``gradient``      squared norm of the gradient of the decoder's mean by z (RAE-GP)
    ``spectral``      nothing: each layer of the decoder has spectral norm 1 instead (RAE-SN)
    ================  ====================================================================================

    Args:
        penalty: ``"none"``, ``"contractive"``, ``"l2"``, ``"gradient"`` or ``"spectral"``.
        penalty_weight: Weight λ of the penalty; ``"auto"`` is 0.1, chosen by the reconstructions and samples of
            rows that were held out.
        latent_l2: Weight β of the squared norm of the code; ``"auto"`` is 0.01 with ``"l2"`` and ``"gradient"``, which
            need it lest the code grow instead, and 0 without.

    References:
        Ghosh et al., 2020, From Variational to Deterministic Autoencoders, arXiv:1903.12436 (RAE).
        Rifai et al., 2011, Contractive Auto-Encoders: Explicit Invariance During Feature Extraction (CAE).

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X = load_iris().data
        >>> ae = Autoencoder(latent_dim=2, max_epochs=5, random_state=0).fit(X)
        >>> ae.transform(X).shape, ae.sample(3).shape
        ((150, 2), (3, 4))
    """

    penalty: str = "none"
    penalty_weight: float | Literal["auto"] = "auto"
    latent_l2: float | Literal["auto"] = "auto"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "penalty": [StrOptions({"none", "contractive", "l2", "gradient", "spectral"})],
        "penalty_weight": [StrOptions({"auto"}), NON_NEGATIVE],
        "latent_l2": [StrOptions({"auto"}), NON_NEGATIVE],
    }

    @property
    def _has_spectral_decoder(self) -> bool:
        return self.penalty == "spectral"

    def _code(self, latent_dim: int) -> Mapping[str, Any]:
        return {}

    def _terms(self) -> Mapping[str, Any]:
        penalty = PENALTIES[self.penalty]
        if self.penalty == "spectral" and self.normalization not in ("auto", "none"):
            raise InvalidParameterError(
                f"normalization={self.normalization!r} would rescale what penalty='spectral' keeps at norm 1. Leave it "
                "out, or use another penalty."
            )
        if penalty.field is None and self.penalty_weight != "auto":
            raise InvalidParameterError(
                f"penalty={self.penalty!r} has no weight; got penalty_weight={self.penalty_weight!r}. Leave it out, or "
                "use penalty='contractive', 'l2' or 'gradient'."
            )
        weight = penalty.weight if self.penalty_weight == "auto" else float(self.penalty_weight)
        latent_l2 = penalty.latent_l2 if self.latent_l2 == "auto" else float(self.latent_l2)
        return {"latent_l2": latent_l2, **({} if penalty.field is None else {penalty.field: weight})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Penalty:
    """What a penalty means for the objective.

    Attributes:
        field: The objective's name for its weight; None where it has none.
        weight: What ``"auto"`` means for it.
        latent_l2: Weight of the squared norm of the code that goes with it.
    """

    field: str | None = None
    weight: float = 0.0
    latent_l2: float = 0.0


PENALTIES: Final = {
    "none": Penalty(),
    "contractive": Penalty(field="contractive", weight=0.1),
    "l2": Penalty(field="decoder_l2", weight=0.1, latent_l2=0.01),
    "gradient": Penalty(field="gradient_penalty", weight=0.1, latent_l2=0.01),
    # a decoder of norm 1 spreads its codes far, and held together they carry little
    "spectral": Penalty(),
}


@estimators.register("sparse", cites=("makhzani2014k",))
@final
@completed
@dataclass(kw_only=True, eq=False, repr=False)
class SparseAutoencoder(_PointEstimator):
    r"""Sparse autoencoder: rebuilds each example from a long code of which few numbers are in use.

    .. math:: \max E_x[\log p(x \mid z(x))] - \lambda\, sparsity(z)

    ==============  ==========================  ========================================================
    sparsity        activation of the code      what is subtracted, in nats
    ==============  ==========================  ========================================================
    ``top_k``       none, k largest kept        nothing: at most k numbers are not zero, of either sign
    ``l1``          ReLU                        sum of the absolute values of the code
    ``kl``          sigmoid                     KL of a Bernoulli of rate ρ from one of the mean activation of
                                                each number over the batch, summed
    ==============  ==========================  ========================================================

    The code is a point: scores are log p(x | z(x)), no bound on log p(x). Samples come from a prior fitted to the
    codes, and what it draws is brought to the nearest code that the encoder could give.

    Args:
        sparsity: ``"top_k"``, ``"l1"`` or ``"kl"``.
        sparsity_weight: Weight λ of the penalty; ``"auto"`` is 0.5 for ``"l1"`` and 10 for ``"kl"``.
        rate: Mean activation ρ that ``"kl"`` asks for, between 0 and 1; ``"auto"`` is 0.05.
        top_k: Numbers k of each code that ``"top_k"`` keeps; ``"auto"`` is an eighth of them.

    Attributes:
        latent_dim_: Latent dimensions; ``"auto"`` takes four times those of the other autoencoders.

    References:
        Makhzani and Frey, 2014, k-Sparse Autoencoders, arXiv:1312.5663 (``top_k``).
        Ng, 2011, Sparse autoencoder, CS294A lecture notes (``kl``).

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X = load_iris().data
        >>> sae = SparseAutoencoder(latent_dim=8, top_k=2, max_epochs=5, random_state=0).fit(X)
        >>> int((sae.transform(X) != 0).sum(1).max())
        2
    """

    sparsity: str = "top_k"
    sparsity_weight: float | Literal["auto"] = "auto"
    rate: float | Literal["auto"] = "auto"
    top_k: int | Literal["auto"] = "auto"

    _overcomplete: ClassVar[int] = 4
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "sparsity": [StrOptions({"top_k", "l1", "kl"})],
        "sparsity_weight": [StrOptions({"auto"}), NON_NEGATIVE],
        "rate": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="neither")],
        "top_k": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    }

    def _code(self, latent_dim: int) -> Mapping[str, Any]:
        kind = SPARSITIES[self.sparsity]
        if "top_k" not in kind.parameters:
            return {"activation": kind.activation}
        top_k = max(1, latent_dim // 8) if self.top_k == "auto" else int(self.top_k)
        return {"activation": kind.activation, "top_k": top_k}

    def _terms(self) -> Mapping[str, Any]:
        kind = SPARSITIES[self.sparsity]
        check_batch_statistics("sparsity", self.sparsity, self.batch_size, ("kl",))
        for name in ("sparsity_weight", "rate", "top_k"):
            if getattr(self, name) != "auto" and name not in kind.parameters:
                takes = ", ".join(kind.parameters)
                raise InvalidParameterError(
                    f"sparsity={self.sparsity!r} has no {name}; got {name}={getattr(self, name)!r}. It takes {takes}."
                )
        weight = kind.weight if self.sparsity_weight == "auto" else float(self.sparsity_weight)
        rate = 0.05 if self.rate == "auto" else float(self.rate)
        return kind.terms(weight, rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparsity:
    """What a kind of sparsity means for code and objective.

    Attributes:
        activation: Of the code.
        parameters: The estimator's parameters that it heeds.
        weight: What ``"auto"`` means for the weight of its penalty.
        terms: Weight and rate to options of the objective.
    """

    activation: str
    parameters: tuple[str, ...]
    terms: Callable[[float, float], Mapping[str, Any]]
    weight: float = 0.0


SPARSITIES: Final = {
    # Behind a ReLU more numbers are never among the largest and die: on the digits with k = 8, two layers of 256 and 40
    # epochs 36 of 64, and none without it. With fewer epochs and narrow networks some die without it, too.
    "top_k": Sparsity(activation="identity", parameters=("top_k",), terms=lambda weight, rate: {}),
    "l1": Sparsity(
        activation="relu",
        parameters=("sparsity_weight",),
        terms=lambda weight, rate: {"l1": weight},
        weight=0.5,
    ),
    "kl": Sparsity(
        activation="sigmoid",
        parameters=("sparsity_weight", "rate"),
        terms=lambda weight, rate: {"rate": rate, "rate_weight": weight},
        weight=10.0,
    ),
}


@estimators.register("denoising", cites=("vincent2010stacked",))
@final
@completed
@dataclass(kw_only=True, eq=False, repr=False)
class DenoisingAutoencoder(_PointEstimator):
    r"""Denoising autoencoder: rebuilds each example from a code of a corrupted copy.

    .. math:: \max E_{x, x' \sim C(x' \mid x)}[\log p(x \mid z(x'))]

    ``reconstruct`` and ``recover`` take noise of the kind that it was trained on away; data without noise pass almost
    unchanged. The code is a point: scores are log p(x | z(x)) of x as it is given, no bound on log p(x), and samples
    come from the prior that is fitted to the codes of the clean data.

    Args:
        corruption: Of what the encoder sees while it is trained: ``"gaussian"`` noise, ``"masking"`` of features by 0,
            or ``"salt_and_pepper"``, which sets features to the least or the largest value.
        corruption_level: Standard deviation of Gaussian noise in model units (pixels are in [0, 1], columns have unit
            variance; what leaves the range of pixels is cut off, as it is in noisy pictures), or the share of the
            features that are masked or set; ``"auto"`` is 0.3.

    References:
        Vincent et al., 2010, Stacked Denoising Autoencoders, JMLR 11:3371-3408.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> X = load_digits().images
        >>> dae = DenoisingAutoencoder(latent_dim=8, max_epochs=1, random_state=0).fit(X)
        >>> dae.reconstruct(X).shape
        (1797, 8, 8)
    """

    corruption: str = "gaussian"
    corruption_level: float | Literal["auto"] = "auto"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "corruption": [StrOptions({"gaussian", "masking", "salt_and_pepper"})],
        "corruption_level": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    }

    def _code(self, latent_dim: int) -> Mapping[str, Any]:
        return {}

    def _terms(self) -> Mapping[str, Any]:
        level = 0.3 if self.corruption_level == "auto" else float(self.corruption_level)
        if self.corruption != "gaussian" and level == 1.0:
            raise InvalidParameterError(
                f"corruption={self.corruption!r} with corruption_level=1 leaves the encoder nothing of an example to "
                "see. Use a share below 1, such as 0.3."
            )
        bounds = None if self.schema_.values == "real" else (0.0, 1.0)
        return {"corruption": self.corruption, "corruption_level": level, "corruption_bounds": bounds}
