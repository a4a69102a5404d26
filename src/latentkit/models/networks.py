"""From what the user asked for to networks, with every size written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

from torch import nn

from latentkit.core.columns import ColumnCodes
from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import suggestion
from latentkit.core.tokens import TokenCodes
from latentkit.nn import NetworkSpec, build_decoder, build_encoder, normalize_spectrally
from latentkit.nn.attention import default_transformer_widths
from latentkit.nn.building import SMALLEST_IMAGE_SIDE
from latentkit.nn.columns import default_column_widths
from latentkit.nn.convolutional import default_channels
from latentkit.nn.families import check_sizes, networks
from latentkit.nn.mlp import default_widths
from latentkit.nn.sequences import default_sequence_widths

__all__ = ["NetworkChoice", "NetworkSettings", "resolve_network", "settle"]

#: One network, resolved: {"network": "mlp", "widths": [...]}, {"network": "conv", "channels": [...]} or
#: {"network": "custom"} for a module of the user's own; with "spectral": True where its layers have spectral norm 1.
NetworkChoice: TypeAlias = dict[str, Any]

#: Sizes that a resolved network may have.
SIZES = ("widths", "channels")
#: Networks over other data than texts.
OF_NUMBERS = tuple(name for name in networks if not networks[name].of_texts)
#: Networks over texts.
SEQUENCES = tuple(name for name in networks if networks[name].of_texts)
#: Activation and normalisation that "auto" means, by network. A run holds the names, so that it outlives a change here.
_AUTO = {
    "mlp": ("relu", "none"),
    "conv": ("silu", "group"),
    "columns": ("silu", "layer"),
    "lstm": ("tanh", "none"),
    "gru": ("tanh", "none"),
    "transformer": ("gelu", "layer"),
}
#: Widths that "auto" means of a network over texts, by number of texts.
_WIDTHS = {
    "lstm": default_sequence_widths,
    "gru": default_sequence_widths,
    "transformer": default_transformer_widths,
}


def resolve_network(
    spec: NetworkSpec | tuple[str, *tuple[int, ...]],
    event_shape: Sequence[int],
    *,
    n_rows: int | None = None,
    columns: ColumnCodes | None = None,
    tokens: TokenCodes | None = None,
) -> NetworkChoice:
    """Return what `spec` means for these data, with every size written out.

    A tuple is of widths, or of a network's name and its sizes. A table of mixed kinds, of which `columns` are the codes
    of its columns, has its own network; a tuple of widths is that of its blocks. Texts, of which `tokens` are the
    codes, have recurrent networks or transformers; a tuple of widths is that of the layers of an LSTM.

    Example:
        >>> resolve_network("auto", (30,))
        {'network': 'mlp', 'widths': [64, 64]}
        >>> resolve_network((500, 500), (1, 28, 28))
        {'network': 'mlp', 'widths': [500, 500]}
        >>> resolve_network(("conv", 16, 32), (1, 28, 28))
        {'network': 'conv', 'channels': [16, 32]}
    """
    if isinstance(spec, nn.Module):
        return {"network": "custom"}
    if not isinstance(spec, str) and len(spec) > 1 and isinstance(spec[0], str):
        first, *sizes = spec
        choice = resolve_network(str(first), event_shape, n_rows=n_rows, columns=columns, tokens=tokens)
        return {**choice, "channels" if "channels" in choice else "widths": list(sizes)}
    name: object = spec
    if tokens is not None:
        if isinstance(spec, str) and spec not in ("auto", *SEQUENCES):
            raise InvalidParameterError(
                f"texts have networks of their own: 'auto', {', '.join(map(repr, SEQUENCES))} or widths such as (256,);"
                f" got {spec!r}.{suggestion(spec, SEQUENCES)}"
            )
        network = spec if isinstance(spec, str) and spec != "auto" else "lstm"
        widths = _WIDTHS[network](n_rows) if isinstance(spec, str) else spec
        return {"network": network, "widths": list(widths), **tokens.describe()}
    if isinstance(spec, str) and spec == "auto":
        is_image = len(event_shape) == 3 and min(event_shape[1:]) >= SMALLEST_IMAGE_SIDE
        name = "columns" if columns is not None else "conv" if is_image else "mlp"
    if columns is not None and (name == "columns" or not isinstance(name, str)):
        widths = default_column_widths(len(columns), n_rows=n_rows) if isinstance(spec, str) else spec
        return {"network": "columns", "widths": list(widths), "n_rows": n_rows, **columns.describe()}
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
class NetworkSettings:
    """What the networks of a model share.

    Attributes:
        activation: Of hidden layers; ``"auto"`` is each network's own.
        normalization: Likewise.
        dropout: Probability.
        upsampling: Of a convolutional decoder.
    """

    activation: str = "auto"
    normalization: str = "auto"
    dropout: float = 0.0
    upsampling: str = "transposed"

    def encoder(
        self,
        choice: NetworkChoice,
        event_shape: tuple[int, ...],
        n_outputs: int,
        *,
        own: nn.Module | None = None,
        role: str = "encoder",
    ) -> nn.Module:
        """A network from x of shape (batch, *event) to (batch, n_outputs).

        Args:
            choice: Resolved network.
            event_shape: Shape of one example.
            n_outputs: Number of outputs.
            own: The user's own module, where the choice is ``"custom"``.
            role: What it is called in messages.
        Raises:
            InvalidParameterError: If the choice is unknown, does not fit the data, or is the user's own and not given.
        """
        spec, options = self._arguments(role, choice, own, len(event_shape))
        return _limited(build_encoder(spec, event_shape, n_outputs, **options), choice)

    def decoder(
        self,
        choice: NetworkChoice,
        latent_dim: int,
        output_shape: tuple[int, ...],
        *,
        own: nn.Module | None = None,
        role: str = "decoder",
    ) -> nn.Module:
        """A network from z of shape (batch, latent) to (batch, *output_shape), which is (n_parameters, *event).

        Raises:
            InvalidParameterError: As for :meth:`encoder`.
        """
        spec, options = self._arguments(role, choice, own, len(output_shape) - 1)
        if choice["network"] == "conv":
            options["upsampling"] = self.upsampling
        elif self.upsampling != "transposed":
            raise InvalidParameterError(
                f"upsampling={self.upsampling!r} belongs to a convolutional decoder, and this one is "
                f"{choice['network']!r}. Leave it out, or use decoder='conv'."
            )
        return _limited(build_decoder(spec, latent_dim, output_shape, **options), choice)

    def _arguments(
        self, role: str, choice: NetworkChoice, own: nn.Module | None, n_event_dims: int
    ) -> tuple[NetworkSpec, dict[str, Any]]:
        common: dict[str, Any] = {
            "activation": self.activation,
            "normalization": self.normalization,
            "dropout": self.dropout,
        }
        if choice["network"] == "custom":
            if own is None:
                raise InvalidParameterError(
                    f"the {role} of this model is a module of your own, which a run does not hold; "
                    f"give it as {role}=, as when the model was fitted."
                )
            return own, common
        if choice["network"] not in networks:
            raise InvalidParameterError(
                f"{role} must be 'auto', one of: {', '.join(OF_NUMBERS)}, a tuple of widths such as (500, 500), or a "
                f"module of your own; got {choice['network']!r}.{suggestion(str(choice['network']), networks)}"
            )
        if choice["network"] == "conv" and n_event_dims != 3:
            raise InvalidParameterError(
                f"{role}='conv' needs images, and these data are rows. Use {role}='mlp' or 'auto'."
            )
        if "widths" in choice:
            check_sizes(f"{role} widths", choice["widths"])
        sizes: dict[str, Any] = {name: tuple(choice[name]) for name in SIZES if name in choice}
        if "cardinalities" in choice:
            sizes["columns"], sizes["n_rows"] = ColumnCodes.from_description(choice), choice.get("n_rows")
        if "n_tokens" in choice:
            sizes["tokens"] = TokenCodes.from_description(choice)
        names: dict[str, Any] = {name: choice[name] for name in ("activation", "normalization") if name in choice}
        return choice["network"], {**common, **names, **sizes}


def _limited(network: nn.Module, choice: NetworkChoice) -> nn.Module:
    return normalize_spectrally(network) if choice.get("spectral") else network
