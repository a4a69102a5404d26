"""Where training starts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latentkit.distributions import Likelihood
from latentkit.nn import last_layer

__all__ = ["start_output"]


@torch.no_grad()
def start_output(decoder: nn.Module, likelihood: Likelihood, x: Tensor) -> None:
    """Start a decoder of ours where the average example is, in place; a user's own module is left as it came.

    The last layer's bias becomes the likelihood's parameters of the marginal distribution of each feature, and a learnt
    variance that of the data.

    Args:
        decoder: Network from z to the likelihood's parameters.
        likelihood: Family of p(x given z).
        x: Some data in model units, shape (n, *event).
    """
    likelihood.initialize(x)
    layer = last_layer(decoder)
    initial: Tensor = likelihood.initial_parameters(x)
    bias = None if layer is None else layer.bias
    if bias is None:
        return
    if bias.numel() == initial.numel():
        bias.copy_(initial.reshape(bias.shape))
    else:  # a convolution has one bias per channel: the mean over the grid
        per_channel = initial.flatten(2).mean(-1) if initial.dim() > 2 else initial
        if per_channel.numel() == bias.numel():
            bias.copy_(per_channel.reshape(bias.shape))
