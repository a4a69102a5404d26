"""Modules of the user's own as encoders and decoders."""

from __future__ import annotations

import copy
import math
from typing import final

import torch
from torch import Tensor, nn

from latentkit.core.errors import InvalidParameterError
from latentkit.nn.activations import initialise

__all__ = ["OwnDecoder", "OwnEncoder", "adapt_decoder", "adapt_encoder"]


@final
class OwnEncoder(nn.Module):
    """A user's module, flattened, with a linear layer behind it where its width is not the one needed.

    Args:
        body: The user's module; x of shape (batch, *event) -> (batch, ...).
        event_shape: Shape of one example.
        n_body: Numbers that the module gives per example.
        n_outputs: Numbers needed per example.
    """

    def __init__(self, body: nn.Module, event_shape: tuple[int, ...], n_body: int, n_outputs: int) -> None:
        super().__init__()
        self.body = body
        self.event_shape = event_shape
        self.head = nn.Identity() if n_body == n_outputs else nn.Linear(n_body, n_outputs)
        if isinstance(self.head, nn.Linear):
            initialise(self.head, None)

    def forward(self, x: Tensor) -> Tensor:
        """Map x of shape (*batch, *event) to (*batch, n_outputs)."""
        batch = x.shape[: x.ndim - len(self.event_shape)]
        h = self.head(self.body(x.reshape(-1, *self.event_shape)).flatten(1))
        result: Tensor = h.reshape(*batch, h.shape[-1])
        return result


@final
class OwnDecoder(nn.Module):
    """A user's module whose output is reshaped to (batch, *output_shape).

    Args:
        body: The user's module; z of shape (batch, latent) -> (batch, ...).
        output_shape: Shape of one output.
    """

    def __init__(self, body: nn.Module, output_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.body = body
        self.output_shape = output_shape

    def forward(self, z: Tensor) -> Tensor:
        """Map z of shape (*batch, latent) to (*batch, *output_shape)."""
        result: Tensor = self.body(z.reshape(-1, z.shape[-1])).reshape(*z.shape[:-1], *self.output_shape)
        return result


def adapt_encoder(module: nn.Module, event_shape: tuple[int, ...], n_outputs: int) -> OwnEncoder:
    """Return a copy of `module` as an encoder; a dry run on two examples of zeros finds its width.

    Raises:
        InvalidParameterError: If the dry run fails, or its output is not a tensor with one row per example.
    """
    body = copy.deepcopy(module)
    output = _dry_run("encoder", body, event_shape)
    adapted = OwnEncoder(body, event_shape, output[0].numel(), n_outputs)
    adapted.head.to(output.device, output.dtype)
    return adapted


def adapt_decoder(module: nn.Module, latent_dim: int, output_shape: tuple[int, ...]) -> OwnDecoder:
    """Return a copy of `module` as a decoder; a dry run on two latent vectors of zeros checks its output.

    Raises:
        InvalidParameterError: If the dry run fails, or its output does not have the elements of `output_shape`.
    """
    body = copy.deepcopy(module)
    output = _dry_run("decoder", body, (latent_dim,))
    needed = math.prod(output_shape)
    if output[0].numel() != needed:
        raise InvalidParameterError(
            f"the decoder must give {needed} numbers per row, shape (batch, {', '.join(map(str, output_shape))}) "
            f"= (batch, n_parameters, *event) or flat; your module gives {output[0].numel()}, "
            f"shape (batch, {', '.join(map(str, output.shape[1:]))}). Change its last layer."
        )
    return OwnDecoder(body, output_shape)


def _dry_run(role: str, module: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """The module's output on two rows of zeros, in evaluation mode; its modes are as before afterwards."""
    parameter = next((p for p in module.parameters() if not nn.parameter.is_lazy(p)), None)
    modes = {part: part.training for part in module.modules()}
    x = torch.zeros(2, *shape)
    if parameter is not None:
        x = x.to(parameter.device, parameter.dtype)
    module.eval()
    try:
        # Lazy layers draw their weights in this run, from the caller's seed: the generator is not shielded then.
        with torch.no_grad():
            output = module(x)
    except Exception as error:
        raise InvalidParameterError(
            f"the {role} module failed on an input of shape {tuple(x.shape)}: {type(error).__name__}: {error}. "
            f"It must take (batch, {', '.join(map(str, shape))})."
        ) from error
    finally:
        for part, mode in modes.items():
            part.training = mode
    if not isinstance(output, Tensor):
        raise InvalidParameterError(
            f"the {role} module must return one tensor with a row per input row; got {type(output).__name__}."
        )
    if output.ndim < 1 or output.shape[0] != 2 or output.numel() == 0:
        raise InvalidParameterError(
            f"the {role} module must return a tensor with a row per input row; for an input of shape "
            f"{tuple(x.shape)} it returned {tuple(output.shape)}."
        )
    return output
