"""What every likelihood family is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from latentkit.core.parameters import check_integer
from latentkit.core.registry import Registry
from latentkit.distributions.precision import at_least_float32

__all__ = ["Likelihood", "ObservationDistribution", "likelihoods", "sum_observed"]


class ObservationDistribution(Protocol):
    """A distribution over x, batched; a :class:`~latentkit.core.protocols.Distribution` that knows missing features."""

    @property
    def mean(self) -> Tensor:
        """Expected value in model units, shape (*batch, *event)."""
        ...

    @property
    def mode(self) -> Tensor:
        """Most probable value in model units, shape (*batch, *event)."""
        ...

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Log-probability of `value` in nats, shape (*batch,).

        Args:
            value: Data in model units; broadcasts against (*batch, *event).
            mask: True where a feature was observed, broadcasts like `value`; only these count. What stands in the
                other places of `value` is never read, and may be NaN.
        """
        ...

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws in model units, shape (*batch, *event), or (n, *batch, *event) when `n` is given; no gradient."""
        ...


class Likelihood(nn.Module, ABC):
    """A family p(x given z): turns a decoder's output into a distribution over x.

    Learnt parameters of the family itself (a shared variance) are parameters of this module.

    Args:
        event_shape: Shape of one example: (features,) or (channels, height, width).

    Attributes:
        event_shape: As given.
        n_parameters: Numbers that the decoder gives for each feature.
        discrete: Whether the family gives masses (True) or densities (False).
        of_tables: Whether its data are tables of mixed kinds, whose cells are codes and positions inside them.
        of_texts: Whether its data are texts, of which each example is a sequence of tokens.

    Raises:
        InvalidParameterError: If a dimension of `event_shape` is not an integer of at least 1.
    """

    discrete: ClassVar[bool]
    of_tables: ClassVar[bool] = False
    of_texts: ClassVar[bool] = False

    def __init__(self, event_shape: Sequence[int], *, n_parameters: int) -> None:
        super().__init__()
        self.event_shape = tuple(check_integer("event_shape", size, low=1) for size in event_shape)
        self.n_features = math.prod(self.event_shape)
        self.n_parameters = n_parameters

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of a decoder's output for one example."""
        return (self.n_parameters, *self.event_shape)

    @abstractmethod
    def forward(self, parameters: Tensor) -> ObservationDistribution:
        """The distribution of a decoder's output, shape (*batch, n_parameters, *event)."""

    @abstractmethod
    def initial_parameters(self, x: Tensor) -> Tensor:
        """What a decoder that knows nothing but `x` should give: a start for its last bias.

        Args:
            x: Data in model units, shape (n, *event).

        Returns:
            Shape (n_parameters, *event).
        """

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Set the family's own learnt parameters, where it has some, to fit `x` under :meth:`initial_parameters`."""

    @torch.no_grad()
    def calibrate(self, x: Tensor, mean: Tensor) -> None:
        """Set the family's own learnt parameters, where it has some, to their optimum for `x` under these means.

        Args:
            x: Data in model units, shape (n, *event).
            mean: Means of p(x given z), likewise.
        """

    def split(self, parameters: Tensor) -> tuple[Tensor, ...]:
        """Cut a decoder's output into its `n_parameters` parts of shape (*batch, *event), at least float32."""
        return at_least_float32(parameters).unbind(-1 - len(self.event_shape))


likelihoods: Registry[type[Likelihood]] = Registry("likelihood")


def sum_observed(elements: Tensor, mask: Tensor | None, n_event_dims: int) -> Tensor:
    """Sum the log-probabilities of features over the event, those with a false `mask` left out."""
    if mask is not None:
        elements = elements.masked_fill(~mask, 0.0)
    return elements.flatten(-n_event_dims).sum(-1) if n_event_dims > 1 else elements.sum(-1)
