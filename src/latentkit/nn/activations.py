"""Activation functions by name, and how weights start for each.

The rule of initialisation, used by every network here:

- weights into a rectifier (relu, leaky_relu, gelu, silu, elu, softplus) are uniform with variance 2 / fan_in (Kaiming);
- weights into tanh, and weights of a last layer, are uniform with variance 2 / (fan_in + fan_out) (Glorot);
- the last layer of a residual branch is then scaled by 0.1, so that a deep network starts near the identity;
- biases are zero.

References:
    He et al., 2015, Delving Deep into Rectifiers, section 2.2, arXiv:1502.01852.
    Glorot and Bengio, 2010, Understanding the difficulty of training deep feedforward neural networks, section 4.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.core.registry import Registry

__all__ = ["BRANCH_SCALE", "Activation", "WeightedLayer", "activations", "initialise"]

#: Factor on the last weights of a residual branch at the start of training.
BRANCH_SCALE = 0.1

WeightedLayer: TypeAlias = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


@dataclass(frozen=True, slots=True)
class Activation:
    """An element-wise function, and whether weights in front of it follow the rule for rectifiers."""

    function: Callable[[Tensor], Tensor]
    is_rectifier: bool = True


activations: Registry[Activation] = Registry("activation")
activations.register("relu")(Activation(functional.relu))
activations.register("gelu")(Activation(functional.gelu))
activations.register("silu")(Activation(functional.silu))
activations.register("tanh")(Activation(torch.tanh, is_rectifier=False))
activations.register("leaky_relu")(Activation(functional.leaky_relu))
activations.register("elu")(Activation(functional.elu))
activations.register("softplus")(Activation(functional.softplus))


def initialise(layer: WeightedLayer, activation: str | None, *, scale: float = 1.0) -> None:
    """Set the weights of `layer` by the rule of this module, and its bias to zero, in place.

    .. math:: w ~ U(-b, b), b = scale * sqrt(6 / fan_in) or scale * sqrt(6 / (fan_in + fan_out))

    Args:
        layer: A linear layer, a convolution or a transposed convolution.
        activation: What follows the layer; None for a last layer.
        scale: Factor on the weights.

    Raises:
        InvalidParameterError: If the activation is unknown.

    Example:
        >>> layer = nn.Linear(6, 4)
        >>> initialise(layer, "relu")
        >>> bool((layer.weight.abs() <= 1.0).all()), layer.bias.tolist()
        (True, [0.0, 0.0, 0.0, 0.0])
    """
    fan_in, fan_out = _fans(layer)
    rectified = activation is not None and activations[activation].is_rectifier
    bound = scale * math.sqrt(6.0 / (fan_in if rectified else fan_in + fan_out))
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound)
        if layer.bias is not None:
            layer.bias.zero_()


def _fans(layer: WeightedLayer) -> tuple[float, float]:
    """Numbers of terms that one output sums and that one input feeds, averaged over positions."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    area = math.prod(layer.kernel_size)
    strides = math.prod(layer.stride)
    # A stride thins out the outputs that an input of a convolution feeds, and the inputs that an output of a
    # transposed convolution sums.
    if isinstance(layer, nn.ConvTranspose2d):
        return layer.in_channels * area / strides, layer.out_channels * area
    return layer.in_channels * area, layer.out_channels * area / strides
