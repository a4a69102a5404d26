"""The registry of network families, and the options that they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from latentkit.core.columns import ColumnCodes
from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_choice, check_integer, check_real
from latentkit.core.registry import Registry
from latentkit.core.tokens import TokenCodes
from latentkit.nn.activations import activations

__all__ = ["NetworkFamily", "NetworkOptions", "check_sizes", "n_groups", "networks"]

NORMALIZATIONS = ("auto", "none", "batch", "layer", "group")
UPSAMPLINGS = ("transposed", "nearest")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    """What can be asked of a network; "auto" leaves the choice to the family.

    Attributes:
        widths: Hidden widths of a multilayer perceptron, in the order in which the data pass; () is a linear map.
        channels: Channels of the stages of a convolutional network, from the finest grid to the coarsest, for the
            encoder and for the decoder alike.
        activation: A name of `latentkit.nn.activations`.
        normalization: "none", "batch", "layer" or "group".
        dropout: Probability with which a hidden unit is dropped while training.
        residual: Whether layers add to their input. True in a multilayer perceptron puts a skip connection around
            every hidden layer whose width is that of its input; False in a convolutional network leaves out the
            residual blocks.
        upsampling: How a convolutional decoder doubles its grid: "transposed" convolution or "nearest" neighbour
            followed by a convolution.
        n_rows: Number of training examples, where known: few examples get a smaller network.
        columns: Codes of the columns of a table of mixed kinds.
        tokens: Tokens of texts.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.
    """

    widths: Sequence[int] | Literal["auto"] = "auto"
    channels: Sequence[int] | Literal["auto"] = "auto"
    activation: str = "auto"
    normalization: str = "auto"
    dropout: float = 0.0
    residual: bool | Literal["auto"] = "auto"
    upsampling: str = "transposed"
    n_rows: int | None = None
    columns: ColumnCodes | None = None
    tokens: TokenCodes | None = None

    def __post_init__(self) -> None:
        if self.activation != "auto":
            activations[self.activation]
        check_choice("normalization", self.normalization, NORMALIZATIONS)
        check_choice("upsampling", self.upsampling, UPSAMPLINGS)
        check_dropout(self.dropout)
        if self.widths != "auto":
            check_sizes("widths", self.widths)
        if self.channels != "auto":
            check_sizes("channels", self.channels)
        if not (isinstance(self.residual, bool) or self.residual == "auto"):
            raise InvalidParameterError(f"residual must be True, False or 'auto'; got {self.residual!r}.")
        if self.n_rows is not None:
            check_integer("n_rows", self.n_rows, low=1)


@dataclass(frozen=True, slots=True)
class NetworkFamily:
    """How one kind of network is built.

    Attributes:
        encoder: Called with event_shape, n_outputs and options; x (batch, *event) -> (batch, n_outputs).
        decoder: Called with latent_dim, output_shape and options; z (batch, latent) -> (batch, *output_shape), where
            output_shape is (n_parameters, *event).
        of_tables: Whether its data are tables of mixed kinds, whose cells are codes and positions inside them.
        of_texts: Whether its data are texts, of which each example is a sequence of tokens.
    """

    encoder: Callable[[tuple[int, ...], int, NetworkOptions], nn.Module]
    decoder: Callable[[int, tuple[int, ...], NetworkOptions], nn.Module]
    of_tables: bool = False
    of_texts: bool = False


networks: Registry[NetworkFamily] = Registry("network")


def check_sizes(name: str, sizes: object) -> tuple[int, ...]:
    """Return `sizes` as a tuple of integers, each at least 1.

    Raises:
        InvalidParameterError: If it is not a list or tuple of such integers.

    Example:
        >>> check_sizes("widths", [500, 500])
        (500, 500)
    """
    if isinstance(sizes, str) or not isinstance(sizes, Sequence):
        raise InvalidParameterError(
            f"{name} must be a list or tuple of integers of at least 1, such as (500, 500); got {sizes!r}."
        )
    return tuple(check_integer(f"{name}[{i}]", size, low=1) for i, size in enumerate(sizes))


def check_dropout(dropout: object) -> float:
    """Return `dropout` as a probability below 1.

    Raises:
        InvalidParameterError: If it is not a number in [0, 1).
    """
    return check_real("dropout", dropout, low=0.0, high=1.0, inclusive=(True, False), hint="Use dropout=0 for none.")


def n_groups(channels: int) -> int:
    """Number of groups of a group normalisation: the largest divisor of `channels` that leaves 8 or more per group.

    Eight channels a group, rather than a fixed number of groups, keeps the statistics of narrow networks stable.

    Example:
        >>> n_groups(64), n_groups(6), n_groups(20), n_groups(512)
        (8, 1, 2, 32)
    """
    return max(d for d in range(1, 33) if channels % d == 0 and (channels // d >= 8 or d == 1))
