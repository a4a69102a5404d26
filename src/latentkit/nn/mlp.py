"""Multilayer perceptrons."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_choice, check_integer
from latentkit.nn.activations import BRANCH_SCALE, activations, initialise
from latentkit.nn.families import (
    NORMALIZATIONS,
    NetworkFamily,
    NetworkOptions,
    check_dropout,
    check_sizes,
    n_groups,
    networks,
)

__all__ = ["MLP", "default_widths", "row_normalization"]


@final
class MLP(nn.Module):
    r"""Multilayer perceptron between two shapes.

    .. math::
        h_1 = W_1 x + b_1, \quad
        h_{i+1} = W_{i+1} \, d(a(n_i(h_i))) + b_{i+1} \; [\, + \, h_i \,], \quad
        y = h_{L+1}

    with activation a, normalisation n_i and dropout d. The term in brackets is the skip connection of
    ``residual=True``; it stands where a hidden layer is as wide as its input.

    Args:
        input_shape: Shape of one input; its features are flattened.
        output_shape: Shape of one output.
        widths: Hidden widths; () is a linear map.
        activation: A name of `latentkit.nn.activations`.
        normalization: "none", "batch", "layer" or "group", in front of each activation.
        dropout: Probability in [0, 1), behind each activation.
        residual: Whether there are skip connections.

    Attributes:
        linears: The linear layers, in order; the last one has no activation.
        activation: Name of the activation.
        is_plain: Whether there is nothing but linear layers and activations between them.

    Raises:
        InvalidParameterError: If an argument has a value that it cannot have.

    Example:
        >>> import torch
        >>> mlp = MLP((1, 28, 28), (40,), widths=(500, 500), activation="tanh")
        >>> mlp(torch.zeros(16, 1, 28, 28)).shape
        torch.Size([16, 40])
        >>> mlp.is_plain, [layer.out_features for layer in mlp.linears]
        (True, [500, 500, 40])
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        output_shape: Sequence[int],
        *,
        widths: Sequence[int],
        activation: str = "relu",
        normalization: str = "none",
        dropout: float = 0.0,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.input_shape = check_sizes("input_shape", input_shape)
        self.output_shape = check_sizes("output_shape", output_shape)
        self.widths = check_sizes("widths", widths)
        self.activation = activation
        self._activate = activations[activation].function
        self.normalization = check_choice("normalization", normalization, NORMALIZATIONS[1:])
        if self.normalization in {"layer", "group"} and 1 in self.widths:
            raise InvalidParameterError(
                f"normalization={normalization!r} of a layer of width 1 leaves nothing of it; "
                f"got widths {self.widths}. Use wider layers or normalization='none'."
            )
        self.dropout = nn.Dropout(check_dropout(dropout))
        self.residual = residual

        sizes = (math.prod(self.input_shape), *self.widths, math.prod(self.output_shape))
        self._n_inputs = sizes[0]
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.norms = nn.ModuleList(row_normalization(self.normalization, width) for width in self.widths)
        last = len(self.linears) - 1
        self._has_skip = tuple(residual and 0 < i < last and sizes[i] == sizes[i + 1] for i in range(last + 1))
        for i, (layer, skip) in enumerate(zip(self.linears, self._has_skip, strict=True)):
            assert isinstance(layer, nn.Linear)
            initialise(layer, None if i == last else activation, scale=BRANCH_SCALE if skip else 1.0)

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing but linear layers and activations between them."""
        return self.normalization == "none" and self.dropout.p == 0.0 and not any(self._has_skip)

    def forward(self, x: Tensor) -> Tensor:
        """Map x of shape (*batch, *input_shape) to (*batch, *output_shape).

        Raises:
            InvalidParameterError: If batch normalisation is to learn from a single row.
        """
        batch = x.shape[: x.ndim - len(self.input_shape)]
        h = x.reshape(-1, self._n_inputs)
        if self.normalization == "batch" and self.training and h.shape[0] == 1:
            raise InvalidParameterError(
                "batch normalisation needs at least 2 rows in a training batch; got 1. "
                "Use another batch_size or normalization='layer'."
            )
        h = self.linears[0](h)
        if self.is_plain:  # half of a small layer's time would go into modules that do nothing
            for linear in self.linears[1:]:
                h = linear(self._activate(h))
            plain: Tensor = h.reshape(*batch, *self.output_shape)
            return plain
        for norm, linear, skip in zip(self.norms, self.linears[1:], self._has_skip[1:], strict=True):
            y = linear(self.dropout(self._activate(norm(h))))
            h = h + y if skip else y
        result: Tensor = h.reshape(*batch, *self.output_shape)
        return result

    def extra_repr(self) -> str:
        """What `repr` shows beside the layers."""
        return f"activation={self.activation!r}, residual={self.residual}"


def default_widths(n_features: int, *, n_rows: int | None = None) -> tuple[int, ...]:
    """Hidden widths by number of features: two layers of twice the features, within 64 and 512.

    Fewer than 1,000 examples get at most 128: wider layers learn such data by heart.

    Example:
        >>> default_widths(32), default_widths(784), default_widths(784, n_rows=400)
        ((64, 64), (512, 512), (128, 128))
    """
    widest = 128 if n_rows is not None and n_rows < 1000 else 512
    return (min(max(2 * n_features, 64), widest),) * 2


def row_normalization(name: str, width: int) -> nn.Module:
    """Return the normalisation of this name for features of shape (batch, width)."""
    match name:
        case "batch":
            return nn.BatchNorm1d(width)
        case "layer":
            return nn.LayerNorm(width)
        case "group":
            return nn.GroupNorm(n_groups(width), width)
        case _:
            return nn.Identity()


def _build(
    input_shape: tuple[int, ...], output_shape: tuple[int, ...], event: tuple[int, ...], options: NetworkOptions
) -> MLP:
    if options.channels != "auto":
        raise InvalidParameterError(
            f"channels belongs to a convolutional network, and this is a multilayer perceptron; "
            f"got channels={options.channels!r}. Give widths instead, or choose 'conv'."
        )
    if options.upsampling != "transposed":
        raise InvalidParameterError(
            f"upsampling belongs to a convolutional network, and this is a multilayer perceptron; "
            f"got upsampling={options.upsampling!r}. Leave it out, or choose 'conv'."
        )
    widths = options.widths
    if isinstance(widths, str):
        widths = default_widths(math.prod(event), n_rows=options.n_rows)
    return MLP(
        input_shape,
        output_shape,
        widths=widths,
        activation="relu" if options.activation == "auto" else options.activation,
        normalization="none" if options.normalization == "auto" else options.normalization,
        dropout=options.dropout,
        residual=options.residual is True,
    )


def _encoder(event_shape: tuple[int, ...], n_outputs: int, options: NetworkOptions) -> MLP:
    return _build(event_shape, (check_integer("n_outputs", n_outputs, low=1),), event_shape, options)


def _decoder(latent_dim: int, output_shape: tuple[int, ...], options: NetworkOptions) -> MLP:
    return _build((check_integer("latent_dim", latent_dim, low=1),), output_shape, output_shape[1:], options)


networks.register("mlp")(NetworkFamily(encoder=_encoder, decoder=_decoder))
