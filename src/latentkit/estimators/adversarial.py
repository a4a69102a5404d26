"""What the estimators with a discriminator share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

from sklearn.utils._param_validation import Interval, StrOptions

from latentkit.core.errors import InvalidParameterError
from latentkit.estimators.parameters import NetworkParameters, TrainingParameters
from latentkit.models import NetworkChoice, resolve_network, settle
from latentkit.objectives import adversarial_losses

__all__ = ["AdversarialParameters"]


@dataclass(kw_only=True, eq=False, repr=False)
class AdversarialParameters(NetworkParameters, TrainingParameters):
    """A discriminator and how it is held in balance, and what of training is different with one.

    Args:
        discriminator: ``"auto"``, ``"mlp"``, ``"conv"``, or a tuple of hidden widths such as ``(500, 500)``.
        objective: ``"nonsaturating"`` or ``"hinge"`` loss.
        r1: Weight of the penalty on the discriminator's slope at the data, 0 for none.
        r1_every: Steps from one penalty to the next; it weighs as many times more.
        spectral_norm: Whether the discriminator's matrices are divided by their largest singular values.
    """

    discriminator: str | Sequence[int] = "auto"
    objective: Literal["nonsaturating", "hinge"] = "nonsaturating"
    r1: float = 0.1
    r1_every: int = 16
    spectral_norm: bool = False
    # Defaults of TrainingParameters that do not serve here: the value of a game says nothing of quality, so that there
    # is nothing to stop early by, and the last weights would be those of one moment of it. A likelihood smooths what a
    # transposed convolution makes grainy; a discriminator does so only late.
    upsampling: Literal["auto", "transposed", "nearest"] = "auto"  # type: ignore[assignment]
    weight_averaging: float = 0.999
    validation_fraction: float = 0.0

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "discriminator": [str, tuple, list],
        "objective": [StrOptions(set(adversarial_losses))],
        "upsampling": [StrOptions({"auto", "transposed", "nearest"})],
        "r1": [Interval(Real, 0, None, closed="left")],
        "r1_every": [Interval(Integral, 1, None, closed="left")],
        "spectral_norm": ["boolean"],
    }
    #: A short memory of the gradient follows an opponent that moves.
    _optimizer_defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        name: {"betas": (0.5, 0.99)} for name in ("adam", "adamw", "nadam", "radam")
    }

    def _check_adversarial(self) -> None:
        """Refuse the settings of training that cannot be honoured.

        Raises:
            InvalidParameterError: For the first of them.
        """
        if self.validation_fraction:
            raise InvalidParameterError(
                f"validation_fraction={self.validation_fraction!r} has nothing to judge by: the value of an "
                "adversarial game does not say how good the samples are. Use 0; the averaged last weights are kept."
            )
        judged = {"patience": self.patience not in ("auto", None), "schedule": self.schedule == "plateau"}
        for name in (name for name, is_judged in judged.items() if is_judged):
            raise InvalidParameterError(
                f"{name}={getattr(self, name)!r} waits for an improvement, and the value of an adversarial game does "
                "not say how good the samples are. Leave it out, and set max_epochs or max_time."
            )
        if self.compile:
            raise InvalidParameterError(
                "compile=True cannot be honoured: the r1 penalty needs second derivatives, which torch.compile does "
                "not give. Leave it out."
            )

    def _resolve_upsampling(self, decoder: NetworkChoice) -> str:
        """How a convolutional decoder enlarges: by nearest neighbours unless told otherwise."""
        if self.upsampling != "auto":
            return self.upsampling
        return "nearest" if decoder["network"] == "conv" else "transposed"

    def _resolve_discriminator(self, event_shape: tuple[int, ...], n_rows: int) -> NetworkChoice:
        """The discriminator's network; by default leaky rectifiers and no normalisation, which would hide scale.

        Of images it is as wide as for many, however few there are: a narrow one does not see the grain of samples.
        """
        choice = resolve_network(self.discriminator, event_shape, n_rows=n_rows if len(event_shape) == 1 else None)
        return settle(
            choice,
            activation="leaky_relu" if self.activation == "auto" else self.activation,
            normalization="none" if self.normalization == "auto" else self.normalization,
        )
