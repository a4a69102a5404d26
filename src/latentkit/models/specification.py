"""What a model is made of, as values that can be written down and built again."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from math import prod
from typing import Any, ClassVar, Self

from torch import nn

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import suggestion
from latentkit.core.registry import Registry
from latentkit.distributions import likelihoods, posteriors, priors
from latentkit.models.networks import NetworkChoice, NetworkSettings

__all__ = ["Specification", "build_part", "models", "specification_from_dict"]


@dataclass(frozen=True, kw_only=True)
class Specification(ABC):
    """Every choice that the shape of a model depends on; nothing is ``"auto"`` here.

    Attributes:
        kind: Name of the model in the registry.
        event_shape: Shape of one example in model units.
        latent_dim: Number of latent dimensions.
        decoder: Resolved network.
        likelihood: Name of the family of p(x given z).
        likelihood_options: Its arguments.
        activation: Of all networks; ``"auto"`` is each network's own.
        normalization: Likewise.
        dropout: Probability.
        upsampling: Of a convolutional decoder.
    """

    kind: ClassVar[str]

    event_shape: tuple[int, ...]
    latent_dim: int
    decoder: NetworkChoice
    likelihood: str = "gaussian"
    likelihood_options: Mapping[str, Any] = field(default_factory=dict)
    activation: str = "auto"
    normalization: str = "auto"
    dropout: float = 0.0
    upsampling: str = "transposed"

    @abstractmethod
    def build(self, **own: nn.Module | None) -> nn.Module:
        """Return the model with fresh weights.

        Args:
            own: The user's own modules by role, where the specification says ``"custom"``.
        Raises:
            InvalidParameterError: If a part is unknown, has a wrong option, or is the user's own and was not given.
        """

    @property
    @abstractmethod
    def networks(self) -> dict[str, NetworkChoice]:
        """The networks by their role, such as ``"encoder"``."""

    @property
    @abstractmethod
    def parts(self) -> dict[str, str]:
        """What the model is made of besides networks, in words: ``{"likelihood": "gaussian", ...}``."""

    @property
    def cites(self) -> tuple[str, ...]:
        """Keys of the bibliography of the parts."""
        registries: dict[str, Registry[Any]] = {"likelihood": likelihoods, "posterior": posteriors, "prior": priors}
        named = ((registries[role], name) for role, name in self.parts.items() if role in registries)
        return tuple(key for registry, name in named for key in registry.cites(name))

    @property
    def is_deterministic(self) -> bool:
        """Whether q(z given x) is a point: then there is no bound on log p(x), and z has no prior of training."""
        return False

    @property
    def is_discrete(self) -> bool:
        """Whether latents are codes out of a codebook instead of vectors."""
        return False

    @property
    def settings(self) -> NetworkSettings:
        """What the networks share."""
        return NetworkSettings(
            activation=self.activation,
            normalization=self.normalization,
            dropout=self.dropout,
            upsampling=self.upsampling,
        )

    @property
    def width(self) -> int:
        """Numbers in the widest layer of one example: what memory at inference grows with."""
        sizes = [prod(self.event_shape)]
        for choice in self.networks.values():
            sizes.extend(choice.get("widths", ()))
            sizes.append(sum(choice.get("cardinalities", ())))
            if "n_tokens" in choice:
                # the gates of a cell at every place
                sizes.append(4 * choice["widths"][0] * choice["max_length"])
            if choice["network"] == "conv":
                # The first stage halves the grid and is the largest; three copies are alive in a residual block.
                sizes.append(3 * choice["channels"][0] * prod(self.event_shape[1:]) // 4)
        return max(sizes)

    def to_dict(self) -> dict[str, Any]:
        """The kind and the fields as JSON values."""
        values = {name: dict(value) if isinstance(value, Mapping) else value for name, value in asdict(self).items()}
        return {"kind": self.kind, **values, "event_shape": list(self.event_shape)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`; names that this version does not know are left out."""
        known = {item.name for item in fields(cls)}
        arguments = {name: value for name, value in values.items() if name in known}
        return cls(**{**arguments, "event_shape": tuple(arguments["event_shape"])})


#: The wirings by name, each as the specification that builds it.
models: Registry[type[Specification]] = Registry("model")


def specification_from_dict(values: Mapping[str, Any]) -> Specification:
    """Return the specification of whatever kind that :meth:`Specification.to_dict` wrote.

    Raises:
        InvalidParameterError: If there is no model of this kind.
    """
    return models[values["kind"]].from_dict(values)


def build_part(axis: str, registry: Registry[Any], name: str, options: Mapping[str, Any], *given: Any) -> Any:
    """A part of a model, made of what the model gives it and of its options.

    Raises:
        InvalidParameterError: If there is no part of this name, or it does not know an option.
    """
    family = registry[name]
    allowed = list(inspect.signature(family).parameters)[len(given) :]
    for option in options:
        if option not in allowed:
            raise InvalidParameterError(
                f"{axis}_options has {option!r}, which {axis} {name!r} does not know; it takes "
                f"{', '.join(allowed) or 'no options'}.{suggestion(str(option), allowed)}"
            )
    return family(*given, **options)
