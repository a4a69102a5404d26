"""From what the user asked for to a network: a name, a tuple of widths, or a module of the user's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, TypeAlias

from torch import nn

from latentkit.core.columns import ColumnCodes
from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.core.tokens import TokenCodes
from latentkit.nn.columns import ColumnDecoder
from latentkit.nn.convolutional import ConvDecoder, PixelBias
from latentkit.nn.families import NetworkFamily, NetworkOptions, check_sizes, networks
from latentkit.nn.grids import GridDecoder
from latentkit.nn.mlp import MLP
from latentkit.nn.own import adapt_decoder, adapt_encoder
from latentkit.nn.tokens import TokenDecoder

__all__ = ["NetworkSpec", "build_decoder", "build_encoder", "last_layer"]

NetworkSpec: TypeAlias = str | Sequence[int] | nn.Module

#: The least side of an image for which "auto" takes a convolutional network.
SMALLEST_IMAGE_SIDE = 8


def build_encoder(
    spec: NetworkSpec,
    event_shape: Sequence[int],
    n_outputs: int,
    *,
    widths: Sequence[int] | Literal["auto"] = "auto",
    channels: Sequence[int] | Literal["auto"] = "auto",
    activation: str = "auto",
    normalization: str = "auto",
    dropout: float = 0.0,
    residual: bool | Literal["auto"] = "auto",
    n_rows: int | None = None,
    columns: ColumnCodes | None = None,
    tokens: TokenCodes | None = None,
) -> nn.Module:
    """Return a network from x of shape (batch, *event) to (batch, n_outputs).

    Args:
        spec: "auto" (images of at least 8 x 8 pixels get "conv", anything else "mlp"), a name of `networks`, the
            hidden widths of a multilayer perceptron such as (500, 500), or your own module. Your module is copied;
            where its output has another width than `n_outputs`, a linear layer is added.
        event_shape: (features,) or (channels, height, width).
        n_outputs: Number of outputs, as many as the posterior has parameters.
        widths: See :class:`NetworkOptions`, also for the options below.
        channels: For "conv".
        activation: "auto" is relu for "mlp" and silu for "conv".
        normalization: "auto" is none for "mlp" and group for "conv".
        dropout: Probability in [0, 1).
        residual: "auto" is False for "mlp" and True for "conv".
        n_rows: Number of training examples, where known.
        columns: For "columns".
        tokens: For "lstm", "gru" and "transformer".

    Raises:
        InvalidParameterError: If an option has a value that it cannot have, or does not belong to this network.

    Example:
        >>> import torch
        >>> build_encoder((500, 500), (1, 28, 28), 40)(torch.zeros(16, 1, 28, 28)).shape
        torch.Size([16, 40])
    """
    event = check_sizes("event_shape", event_shape)
    check_integer("n_outputs", n_outputs, low=1)
    options = NetworkOptions(
        widths=widths,
        channels=channels,
        activation=activation,
        normalization=normalization,
        dropout=dropout,
        residual=residual,
        n_rows=n_rows,
        columns=columns,
        tokens=tokens,
    )
    if isinstance(spec, nn.Module):
        _refuse_options("encoder", options)
        return adapt_encoder(spec, event, n_outputs)
    family, options = _resolve("encoder", spec, event, options)
    return family.encoder(event, n_outputs, options)


def build_decoder(
    spec: NetworkSpec,
    latent_dim: int,
    output_shape: Sequence[int],
    *,
    widths: Sequence[int] | Literal["auto"] = "auto",
    channels: Sequence[int] | Literal["auto"] = "auto",
    activation: str = "auto",
    normalization: str = "auto",
    dropout: float = 0.0,
    residual: bool | Literal["auto"] = "auto",
    upsampling: Literal["transposed", "nearest"] = "transposed",
    n_rows: int | None = None,
    columns: ColumnCodes | None = None,
    tokens: TokenCodes | None = None,
) -> nn.Module:
    """Return a network from z of shape (batch, latent) to (batch, *output_shape).

    Args:
        spec: As for :func:`build_encoder`. Your own module must give as many numbers per row as `output_shape` has;
            they are reshaped.
        latent_dim: Length of z.
        output_shape: (n_parameters, *event): the parameters of the likelihood, then the shape of an example.
        widths: See :class:`NetworkOptions`, also for the options below.
        channels: For "conv", from the finest grid to the coarsest, as for the encoder.
        activation: "auto" is relu for "mlp" and silu for "conv".
        normalization: "auto" is none for "mlp" and group for "conv".
        dropout: Probability in [0, 1).
        residual: "auto" is False for "mlp" and True for "conv".
        upsampling: For "conv".
        n_rows: Number of training examples, where known.
        columns: For "columns".
        tokens: For "lstm", "gru" and "transformer".

    Raises:
        InvalidParameterError: If an option has a value that it cannot have, does not belong to this network, or your
            module gives another number of outputs.

    Example:
        >>> import torch
        >>> build_decoder("auto", 20, (2, 1, 28, 28))(torch.zeros(16, 20)).shape
        torch.Size([16, 2, 1, 28, 28])
    """
    shape = check_sizes("output_shape", output_shape)
    if len(shape) < 2:
        raise InvalidParameterError(
            f"output_shape must be (n_parameters, *event), such as (1, 784) or (1, 1, 28, 28); got {shape}."
        )
    check_integer("latent_dim", latent_dim, low=1)
    options = NetworkOptions(
        widths=widths,
        channels=channels,
        activation=activation,
        normalization=normalization,
        dropout=dropout,
        residual=residual,
        upsampling=upsampling,
        n_rows=n_rows,
        columns=columns,
        tokens=tokens,
    )
    if isinstance(spec, nn.Module):
        _refuse_options("decoder", options)
        return adapt_decoder(spec, latent_dim, shape)
    family, options = _resolve("decoder", spec, shape[1:], options)
    return family.decoder(latent_dim, shape, options)


def last_layer(decoder: nn.Module) -> nn.Linear | PixelBias | ColumnDecoder | TokenDecoder | None:
    """Return the part of a decoder of ours whose `bias` is added to its output, or None for a user's module.

    A module of the user's own is left as it came: it may be trained already, or bend its output after the last layer.

    Example:
        >>> last_layer(build_decoder((64,), 2, (1, 30)))
        Linear(in_features=64, out_features=30, bias=True)
    """
    if isinstance(decoder, MLP):
        layer = decoder.linears[-1]
        assert isinstance(layer, nn.Linear)
        return layer
    if isinstance(decoder, (ColumnDecoder, TokenDecoder)):
        return decoder
    return decoder.output_bias if isinstance(decoder, (ConvDecoder, GridDecoder)) else None


def _resolve(
    role: str, spec: str | Sequence[int], event: tuple[int, ...], options: NetworkOptions
) -> tuple[NetworkFamily, NetworkOptions]:
    if spec == "auto":
        is_image = len(event) == 3 and min(event[1:]) >= SMALLEST_IMAGE_SIDE
        return networks["conv" if is_image else "mlp"], options
    if isinstance(spec, str):
        return networks[spec], options
    if not isinstance(spec, Sequence):
        raise InvalidParameterError(
            f"{role} must be 'auto', one of: {', '.join(networks)}, a tuple of hidden widths such as (500, 500), "
            f"or a torch.nn.Module (an object, not a class); got {spec!r}."
        )
    if options.widths != "auto":
        raise InvalidParameterError(
            f"the widths of the {role} were given twice: {tuple(spec)} and widths={options.widths!r}. Leave one out."
        )
    return networks["mlp"], dataclasses.replace(options, widths=check_sizes(f"{role} widths", spec))


def _refuse_options(role: str, options: NetworkOptions) -> None:
    """A module of the user's own cannot honour options; to skip them in silence would mislead."""
    default = NetworkOptions()
    for name in ("widths", "channels", "activation", "normalization", "dropout", "residual", "upsampling"):
        value = getattr(options, name)
        if value != getattr(default, name):
            raise InvalidParameterError(
                f"{name}={value!r} cannot be applied to your own {role} module; leave it out and set it in the module."
            )
