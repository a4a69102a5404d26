"""Where training starts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latentkit.distributions import Likelihood
from latentkit.nn.columns import ColumnDecoder
from latentkit.nn.convolutional import PixelBias
from latentkit.nn.tokens import TokenDecoder

__all__ = ["start_at_mean"]


@torch.no_grad()
def start_at_mean(
    likelihood: Likelihood, layer: nn.Linear | PixelBias | ColumnDecoder | TokenDecoder | None, x: Tensor
) -> None:
    """Set the bias of a decoder's last layer to the likelihood's parameters of the marginal distribution of x.

    Args:
        likelihood: What it learns itself, such as a variance, starts from x, too.
        layer: None leaves it at that; a user's own module is left as it came.
        x: Some data in model units, shape (n, *event).
    """
    likelihood.initialize(x)
    initial: Tensor = likelihood.initial_parameters(x)
    if isinstance(layer, TokenDecoder):
        layer.start_at(initial.flatten())
        return
    bias = None if layer is None else layer.bias
    if bias is None:
        return
    if bias.numel() == initial.numel():
        bias.copy_(initial.reshape(bias.shape))
    else:  # a convolution has one bias per channel: the mean over the grid
        per_channel = initial.flatten(2).mean(-1) if initial.dim() > 2 else initial
        if per_channel.numel() == bias.numel():
            bias.copy_(per_channel.reshape(bias.shape))
