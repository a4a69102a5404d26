"""What a model is made of, as values that can be written down and built again."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from math import prod
from typing import Any, TypeAlias

from torch import nn

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer, suggestion
from latentkit.distributions import Likelihood, likelihoods, posteriors, priors
from latentkit.models.vae import VariationalAutoencoder
from latentkit.nn import NetworkSpec, build_decoder, build_encoder
from latentkit.nn.building import SMALLEST_IMAGE_SIDE
from latentkit.nn.convolutional import default_channels
from latentkit.nn.families import check_sizes, networks
from latentkit.nn.mlp import default_widths

__all__ = ["ModelSpecification", "NetworkChoice", "resolve_network", "settle"]

#: One network, resolved: {"network": "mlp", "widths": [...]}, {"network": "conv", "channels": [...]} or
#: {"network": "custom"} for a module of the user's own.
NetworkChoice: TypeAlias = dict[str, Any]

#: Activation and normalisation that "auto" means, by network. A run holds the names, so that it outlives a change here.
_AUTO = {"mlp": ("relu", "none"), "conv": ("silu", "group")}


def resolve_network(spec: NetworkSpec, event_shape: Sequence[int], *, n_rows: int | None = None) -> NetworkChoice:
    """Return what `spec` means for these data, with every size written out.

    Example:
        >>> resolve_network("auto", (30,))
        {'network': 'mlp', 'widths': [64, 64]}
        >>> resolve_network((500, 500), (1, 28, 28))
        {'network': 'mlp', 'widths': [500, 500]}
    """
    if isinstance(spec, nn.Module):
        return {"network": "custom"}
    name: object = spec
    if isinstance(spec, str) and spec == "auto":
        is_image = len(event_shape) == 3 and min(event_shape[1:]) >= SMALLEST_IMAGE_SIDE
        name = "conv" if is_image else "mlp"
    if name == "mlp":
        return {"network": "mlp", "widths": list(default_widths(prod(event_shape), n_rows=n_rows))}
    if name == "conv" and len(event_shape) == 3:
        return {"network": "conv", "channels": list(default_channels(event_shape, n_rows=n_rows))}
    if isinstance(spec, str):
        return {"network": spec}  # the builder knows it, or says what it knows
    return {"network": "mlp", "widths": list(spec)}


def settle(choice: NetworkChoice, *, activation: str, normalization: str) -> NetworkChoice:
    """Return a network with the activation and normalisation that ``"auto"`` means for it written out.

    Example:
        >>> settle({"network": "mlp", "widths": [8]}, activation="auto", normalization="auto")
        {'network': 'mlp', 'widths': [8], 'activation': 'relu', 'normalization': 'none'}
    """
    if choice["network"] not in _AUTO:
        return choice
    default_activation, default_normalization = _AUTO[choice["network"]]
    return {
        **choice,
        "activation": default_activation if activation == "auto" else activation,
        "normalization": default_normalization if normalization == "auto" else normalization,
    }


@dataclass(frozen=True, kw_only=True)
class ModelSpecification:
    """Every choice that the shape of a model depends on; nothing is ``"auto"`` here.

    Attributes:
        event_shape: Shape of one example in model units.
        latent_dim: Number of latent dimensions.
        encoder: Resolved network.
        decoder: Resolved network.
        posterior: Name of the family of q(z given x).
        likelihood: Name of the family of p(x given z).
        likelihood_options: Its arguments.
        prior: Name of the family of p(z).
        activation: Of both networks; ``"auto"`` is each network's own.
        normalization: Likewise.
        dropout: Probability.
        upsampling: Of a convolutional decoder.
    """

    event_shape: tuple[int, ...]
    latent_dim: int
    encoder: NetworkChoice
    decoder: NetworkChoice
    posterior: str = "diagonal"
    likelihood: str = "gaussian"
    likelihood_options: Mapping[str, Any] = field(default_factory=dict)
    prior: str = "normal"
    activation: str = "auto"
    normalization: str = "auto"
    dropout: float = 0.0
    upsampling: str = "transposed"

    def build(self, *, encoder: nn.Module | None = None, decoder: nn.Module | None = None) -> VariationalAutoencoder:
        """Return the model with fresh weights.

        Args:
            encoder: The user's own module, where the specification says ``"custom"``.
            decoder: Likewise.
        Raises:
            InvalidParameterError: If a part is unknown, has a wrong option, or is the user's own and was not given.
        """
        check_integer("latent_dim", self.latent_dim, low=1)
        posterior = posteriors[self.posterior]
        likelihood = self._likelihood()
        common: dict[str, Any] = {
            "activation": self.activation,
            "normalization": self.normalization,
            "dropout": self.dropout,
        }
        n_outputs = posterior.n_parameters(self.latent_dim)
        output_shape = (likelihood.n_parameters, *self.event_shape)
        encoder_spec, encoder_options = _arguments("encoder", self.encoder, encoder, common, len(self.event_shape))
        decoder_spec, decoder_options = _arguments("decoder", self.decoder, decoder, common, len(self.event_shape))
        if self.decoder["network"] == "conv":
            decoder_options["upsampling"] = self.upsampling
        elif self.upsampling != "transposed":
            raise InvalidParameterError(
                f"upsampling={self.upsampling!r} belongs to a convolutional decoder, and this one is "
                f"{self.decoder['network']!r}. Leave it out, or use decoder='conv'."
            )
        return VariationalAutoencoder(
            encoder=build_encoder(encoder_spec, self.event_shape, n_outputs, **encoder_options),
            decoder=build_decoder(decoder_spec, self.latent_dim, output_shape, **decoder_options),
            posterior=posterior,
            likelihood=likelihood,
            prior=priors[self.prior](self.latent_dim),
            latent_dim=self.latent_dim,
            event_shape=self.event_shape,
        )

    def _likelihood(self) -> Likelihood:
        family = likelihoods[self.likelihood]
        allowed = [name for name in inspect.signature(family).parameters if name != "event_shape"]
        for name in self.likelihood_options:
            if name not in allowed:
                raise InvalidParameterError(
                    f"likelihood_options has {name!r}, which likelihood {self.likelihood!r} does not know; it takes "
                    f"{', '.join(allowed) or 'no options'}.{suggestion(str(name), allowed)}"
                )
        likelihood: Likelihood = family(self.event_shape, **self.likelihood_options)
        return likelihood

    @property
    def width(self) -> int:
        """Numbers in the widest layer of one example: what memory at inference grows with."""
        sizes = [prod(self.event_shape)]
        for choice in (self.encoder, self.decoder):
            sizes.extend(choice.get("widths", ()))
            if choice["network"] == "conv":
                # The first stage halves the grid and is the largest; three copies are alive in a residual block.
                sizes.append(3 * choice["channels"][0] * prod(self.event_shape[1:]) // 4)
        return max(sizes)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {
            **asdict(self),
            "event_shape": list(self.event_shape),
            "likelihood_options": dict(self.likelihood_options),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelSpecification:
        """Inverse of :meth:`to_dict`."""
        known = {item.name for item in fields(cls)}
        arguments = {name: value for name, value in values.items() if name in known}
        return cls(**{**arguments, "event_shape": tuple(arguments["event_shape"])})


def _arguments(
    role: str, choice: NetworkChoice, own: nn.Module | None, common: dict[str, Any], n_event_dims: int
) -> tuple[NetworkSpec, dict[str, Any]]:
    if choice["network"] == "custom":
        if own is None:
            raise InvalidParameterError(
                f"the {role} of this model is a module of your own, which a run does not hold; "
                f"give it as {role}=, as when the model was fitted."
            )
        return own, common
    if choice["network"] not in networks:
        raise InvalidParameterError(
            f"{role} must be 'auto', one of: {', '.join(networks)}, a tuple of widths such as (500, 500), or a module "
            f"of your own; got {choice['network']!r}.{suggestion(str(choice['network']), networks)}"
        )
    if choice["network"] == "conv" and n_event_dims != 3:
        raise InvalidParameterError(f"{role}='conv' needs images, and these data are rows. Use {role}='mlp' or 'auto'.")
    if "widths" in choice:
        check_sizes(f"{role} widths", choice["widths"])
    sizes: dict[str, Any] = {name: tuple(choice[name]) for name in ("widths", "channels") if name in choice}
    names: dict[str, Any] = {name: choice[name] for name in ("activation", "normalization") if name in choice}
    return choice["network"], {**common, **names, **sizes}
