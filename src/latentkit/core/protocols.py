"""The few contracts through which the parts meet.

Shapes: ``batch`` stands for the leading dimensions (``(n,)`` or, with several latent draws per example, ``(k, n)``),
``event`` for the dimensions of one example (``(features,)`` or ``(channels, height, width)``), ``latent`` for the
number of latent dimensions. Every log-probability is in nats and summed over the event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

__all__ = [
    "Batch",
    "ConditionalModel",
    "Distribution",
    "LatentVariableModel",
    "Objective",
    "Phase",
    "Posterior",
    "Schema",
    "Terms",
    "Watchful",
]


@runtime_checkable
class Distribution(Protocol):
    """A distribution over an event, batched."""

    @property
    def mean(self) -> Tensor:
        """Expected value, shape (*batch, *event)."""
        ...

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density or log-mass of `value` in nats, shape (*batch,); `value` broadcasts against (*batch, *event)."""
        ...

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws, shape (*batch, *event), or (n, *batch, *event) when `n` is given; no gradient."""
        ...


@runtime_checkable
class Posterior(Distribution, Protocol):
    """A distribution over z whose draws carry gradients to its parameters."""

    def rsample(self, n: int | None = None, *, noise: Tensor | None = None) -> Tensor:
        """Reparameterised draws, shape (*batch, latent) or (n, *batch, latent).

        `noise`, of the shape of the result, replaces the standard normal numbers that would be drawn.
        """
        ...

    def detach(self) -> Posterior:
        """The same distribution, its parameters cut from the graph (for STL and DReG)."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """One minibatch in model units.

    Attributes:
        x: Data, shape (batch, *event), float.
        mask: True where x was observed, shape of x; None where nothing is missing.
        condition: What generation is conditioned on, shape (batch, features); None without conditioning.
        rows: Numbers of the examples among all that are trained on or held out, shape (batch,), int64, for what belongs
            to one example, such as a latent vector of its own; None where the examples have none.
    """

    x: Tensor
    mask: Tensor | None = None
    condition: Tensor | None = None
    rows: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What an objective gives for a batch, in nats; only the training loop averages.

    Attributes:
        objective: What training maximises, shape (batch,).
        log_likelihood: log p(x given z) of the drawn z, shape (batch,).
        kl: KL(q(z given x), p(z)) or its one-draw estimate, shape (batch,).
    """

    objective: Tensor
    log_likelihood: Tensor
    kl: Tensor


class LatentVariableModel(Protocol):
    """A wiring of encoder, prior and decoder."""

    def encode(self, x: Tensor) -> Posterior:
        """q(z given x) for x of shape (batch, *event)."""
        ...

    def decode(self, z: Tensor) -> Distribution:
        """p(x given z) for z of shape (*batch, latent)."""
        ...

    def prior(self) -> Distribution:
        """p(z), batch shape ()."""
        ...

    def parameters(self) -> Iterable[nn.Parameter]: ...


@runtime_checkable
class ConditionalModel(Protocol):
    """A model whose networks see what generation is conditioned on."""

    def given(self, condition: Tensor) -> LatentVariableModel:
        """The model of x given conditions, shape (batch, features); one row, shape (1, features), goes with every x."""
        ...


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of a training step: these parameters climb these terms.

    Attributes:
        parameters: What this phase updates.
        terms: Called with the batch and the weight of the KL term, in [0, 1]; returns what to maximise.
    """

    parameters: Sequence[nn.Parameter]
    terms: Callable[[Batch, float], Terms]


class Objective(Protocol):
    """What training maximises, one value per example, in nats."""

    def __call__(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms: ...

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """The parts of a training step: one for most objectives, two for adversarial ones."""
        ...


@runtime_checkable
class Watchful(Protocol):
    """An objective that can tell that training has failed although every number is finite."""

    def failure(self) -> str | None:
        """What has gone wrong in the last steps, and what would help; None where nothing has."""
        ...


class Schema(Protocol):
    """How the user's data become tensors and come back.

    There are three forms of the data. *User form*: what the user gave (array, frame, folder). *Storage*: a tensor in
    its smallest dtype that stays resident in memory, shape (n, *event). *Model units*: floats that networks and
    likelihoods see, shape (n, *event).
    """

    @property
    def kind(self) -> str:
        """``"rows"``, ``"images"`` ..."""
        ...

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one example in model units."""
        ...

    def encode(self, data: Any, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """User form to storage; raises SchemaMismatchError where the data do not fit."""
        ...

    def to_model(self, storage: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Storage to model units."""
        ...

    def decode(self, x: Tensor) -> Any:
        """Model units to user form."""
        ...

    def describe(self) -> dict[str, Any]:
        """The schema as JSON values."""
        ...
