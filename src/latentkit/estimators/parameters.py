"""The parameters that estimators share: written, described and checked once.

scikit-learn reads an estimator's parameters off the signature of its constructor. The constructors here are those of
dataclasses, so that a group of parameters is a base class, and :func:`completed` joins descriptions and checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils._param_validation import InvalidParameterError as SklearnInvalidParameterError
from torch import nn

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import suggestion

__all__ = [
    "EX_POST_CITES",
    "EncoderParameters",
    "EstimatorParameterError",
    "ExPostParameters",
    "NetworkParameters",
    "TrainingParameters",
    "completed",
    "validate",
]

#: What to cite for the priors that are fitted after training.
EX_POST_CITES: dict[str, tuple[str, ...]] = {"mixture": ("ghosh2020variational",), "none": ()}

Constraints = dict[str, list[Any]]
T = TypeVar("T")


@dataclass(kw_only=True, eq=False, repr=False)
class EncoderParameters:
    """How long a latent vector is, and what gives it.

    Args:
        latent_dim: Number of latent dimensions.
        encoder: ``"auto"``, ``"mlp"``, ``"conv"``, a tuple of hidden widths such as ``(500, 500)``, or a module of your
            own, which is copied.
    """

    latent_dim: int | Literal["auto"] = field(default="auto", kw_only=False)
    encoder: str | Sequence[int] | nn.Module = "auto"

    _parameter_constraints: ClassVar[Constraints] = {
        "latent_dim": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "encoder": [str, tuple, list, nn.Module],
    }


@dataclass(kw_only=True, eq=False, repr=False)
class NetworkParameters:
    """What a decoder is made of, and what it gives.

    Args:
        decoder: ``"auto"``, ``"mlp"``, ``"conv"``, a tuple of hidden widths such as ``(500, 500)``, or a module of your
            own, which is copied; it maps z to the likelihood's parameters.
        likelihood: ``"bernoulli"``, ``"categorical"``, ``"gaussian"``, ``"discretized_logistic"``, or ``"auto"`` for
            the one that is proper for the kind of the data.
        likelihood_options: Its arguments, such as ``{"variance": "feature"}``.
        activation: Of the networks; ``"auto"`` is each network's own.
        normalization: ``"auto"``, ``"none"``, ``"batch"``, ``"layer"`` or ``"group"``.
        dropout: Probability with which a hidden unit is dropped while training.
        upsampling: ``"transposed"`` or ``"nearest"``, of a convolutional decoder; beside a discriminator ``"auto"``,
            which is the latter.
    """

    decoder: Any = "auto"
    likelihood: str = "auto"
    likelihood_options: Mapping[str, Any] | None = None
    activation: str = "auto"
    normalization: str = "auto"
    dropout: float = 0.0
    upsampling: Literal["transposed", "nearest"] = "transposed"

    _parameter_constraints: ClassVar[Constraints] = {
        "decoder": [str, tuple, list, nn.Module],
        "likelihood": [str],
        "likelihood_options": [dict, None],
        "activation": [str],
        "normalization": [str],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "upsampling": [StrOptions({"transposed", "nearest"})],
    }


@dataclass(kw_only=True, eq=False, repr=False)
class ExPostParameters:
    """The prior that is fitted after training.

    Args:
        ex_post: ``"mixture"`` fits a Gaussian mixture to the posteriors after training, from which :meth:`sample`
            draws; ``"none"`` does not.
        ex_post_components: Components of that mixture, at most.
    """

    ex_post: Literal["mixture", "none"] = "mixture"
    ex_post_components: int = 10

    _parameter_constraints: ClassVar[Constraints] = {
        "ex_post": [StrOptions({"mixture", "none"})],
        "ex_post_components": [Interval(Integral, 1, None, closed="left")],
    }

    def _check_ex_post(self) -> None:
        if self.ex_post == "none" and self.ex_post_components != 10:
            raise InvalidParameterError(
                f"ex_post='none' fits no mixture that could have ex_post_components={self.ex_post_components!r}. Use "
                "ex_post='mixture', or leave it out."
            )


@dataclass(kw_only=True, eq=False, repr=False)
class TrainingParameters:
    """How a model is trained.

    Args:
        max_epochs: Passes over the data; ``"auto"`` makes about 10,000 steps, or as many as `max_time` allows.
        max_time: Time budget: seconds, or a text such as ``"5m"``. It steers the learning rate too.
        batch_size: Rows in a step.
        optimizer: Any optimiser of ``torch.optim`` by name.
        optimizer_options: Its arguments, such as ``{"betas": (0.9, 0.99)}``.
        learning_rate: At full strength.
        schedule: ``"cosine"``, ``"constant"``, ``"step"``, ``"exponential"`` or ``"plateau"``.
        warm_up: Share of training over which the learning rate rises.
        weight_decay: Of weight matrices.
        gradient_clip: Largest norm of the gradient; None for no clipping.
        weight_averaging: Decay of an exponential moving average of the weights, which is then used; 0 for none.
        validation_fraction: Share of the rows held out to stop early and keep the best state; 0 for none.
        patience: Epochs without improvement before training stops; ``"auto"`` is a tenth of max_epochs, at least 10;
            None never stops.
        precision: ``"float32"``, ``"bfloat16"``, or ``"auto"`` to measure which is faster.
        compile: Whether the training step goes through ``torch.compile``.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        random_state: Seed; with an int the same data give the same model.
        verbose: 0 is silent; 1 shows progress on standard error.
    """

    max_epochs: int | Literal["auto"] = "auto"
    max_time: float | str | None = None
    batch_size: int | Literal["auto"] = "auto"
    optimizer: str = "adam"
    optimizer_options: Mapping[str, Any] | None = None
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warm_up: float = 0.02
    weight_decay: float = 0.0
    gradient_clip: float | None = None
    weight_averaging: float = 0.0
    validation_fraction: float = 0.1
    patience: int | Literal["auto"] | None = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False
    device: str = "auto"
    random_state: int | np.random.RandomState | None = None
    verbose: int = 0

    _parameter_constraints: ClassVar[Constraints] = {
        "max_epochs": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_time": [str, Interval(Real, 0, None, closed="neither"), None],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "optimizer": [str],
        "optimizer_options": [dict, None],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "schedule": [str],
        "warm_up": [Interval(Real, 0, 1, closed="both")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "gradient_clip": [Interval(Real, 0, None, closed="neither"), None],
        "weight_averaging": [Interval(Real, 0, 1, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "patience": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left"), None],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "compile": ["boolean"],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }


def completed(kind: type[T]) -> type[T]:
    """Complete an estimator: its description and its table of checks get those of the groups that it inherits."""
    groups = [base for base in kind.__mro__[1:] if "_parameter_constraints" in vars(base) and is_dataclass(base)]
    own = vars(kind).get("_parameter_constraints", {})
    tables: list[Constraints] = [vars(group)["_parameter_constraints"] for group in groups]
    rules = {name: rule for table in (*reversed(tables), own) for name, rule in table.items()}
    kind._parameter_constraints = rules  # type: ignore[attr-defined]  # noqa: SLF001 (scikit-learn's own table)
    lines = [line for group in groups for line in _described(group)]
    head, mark, rest = (kind.__doc__ or "").partition("    Args:\n")
    arguments, blank, after = rest.partition("\n\n")
    kind.__doc__ = f"{head}{mark}{arguments}\n" + "\n".join(lines) + f"{blank}{after}" if mark else kind.__doc__
    return kind


def validate(estimator: Any) -> None:
    """Check every parameter of an estimator against its ``_parameter_constraints``.

    Raises:
        EstimatorParameterError: For the first value that is not allowed, with what is.
    """
    try:
        estimator._validate_params()  # noqa: SLF001 (scikit-learn's own way)
    except SklearnInvalidParameterError as error:
        raise EstimatorParameterError(f"{error}{_suggestion(estimator, str(error))}") from None


class EstimatorParameterError(InvalidParameterError, SklearnInvalidParameterError):  # type: ignore[misc]
    """A parameter that the estimator's table refuses; both latentkit's and scikit-learn's error."""


def _described(group: type) -> list[str]:
    """The lines of a group's description of its parameters."""
    _, _, rest = (group.__doc__ or "").partition("    Args:\n")
    return rest.partition("\n    \n")[0].rstrip().split("\n") if rest else []


def _suggestion(estimator: Any, message: str) -> str:
    """The word that was meant, where the parameter that the message names takes words."""
    for name, constraints in estimator._parameter_constraints.items():  # noqa: SLF001 (scikit-learn's own table)
        if message.startswith(f"The {name!r} parameter"):
            words = [word for constraint in constraints for word in getattr(constraint, "options", ())]
            return suggestion(str(getattr(estimator, name)), sorted(words))
    return ""
