"""A small network that tells an attribute from an example: what features, agreement and control are measured with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.evaluation.features import in_batches
from latentkit.nn import NetworkOptions, networks

__all__ = ["Recognizer", "epochs_for", "train_recognizer"]

_BATCH = 128
_LEARNING_RATE = 2e-3
_FEWEST_STEPS = 500  # small data are seen more often
_SMALLEST_SIDE = 8
_STATISTICS = 10_000


def epochs_for(n_rows: int) -> int:
    """Passes over so many rows: 2, or more where that would be fewer than 500 steps of 128 rows."""
    return max(2, math.ceil(_FEWEST_STEPS / math.ceil(n_rows / _BATCH)))


@final
class Recognizer(nn.Module):
    """Standardised rows, a body whose output is the features, and a head.

    Images of at least 8 x 8 pixels get two strided convolutions (16 and 32 channels), anything else a perceptron of 128
    units.

    Args:
        event_shape: Shape of one example.
        n_features: Width of the last hidden layer.
        n_outputs: Logits of classes, or numbers.
    """

    def __init__(self, event_shape: Sequence[int], n_features: int, n_outputs: int) -> None:
        super().__init__()
        event = tuple(event_shape)
        if len(event) == 3 and min(event[1:]) >= _SMALLEST_SIDE:
            options = NetworkOptions(channels=(16, 32), activation="relu", normalization="none", residual=False)
            self.body = networks["conv"].encoder(event, n_features, options)
            self._reduced: tuple[int, ...] = (0, 2, 3)
        else:
            self.body = networks["mlp"].encoder(event, n_features, NetworkOptions(widths=(128,)))
            self._reduced = (0,)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(n_features, n_outputs))
        statistics = torch.ones(event[0], 1, 1) if len(self._reduced) > 1 else torch.ones(event)
        self.register_buffer("centre", torch.zeros_like(statistics))
        self.register_buffer("scale", statistics)
        self.register_buffer("feature_centre", torch.zeros(n_features))
        self.register_buffer("feature_scale", torch.ones(()))
        self.centre: Tensor
        self.scale: Tensor
        self.feature_centre: Tensor
        self.feature_scale: Tensor

    def standardise(self, x: Tensor, rows: Tensor) -> None:
        """Take centre and scale of the inputs from these rows, at most 10,000 of them."""
        part = x[rows[:_STATISTICS].to(x.device)].float()
        keep = part.mean(self._reduced, keepdim=True)[0]
        spread = part.std(self._reduced, keepdim=True)[0]
        self.centre.copy_(keep.reshape(self.centre.shape))
        self.scale.copy_(torch.where(spread > 0, spread, 1.0).reshape(self.scale.shape))

    def standardise_features(self, x: Tensor, rows: Tensor) -> None:
        """Take centre and scale of the features from these rows, at most 10,000 of them."""
        features = in_batches(self.body, x[rows[:_STATISTICS].to(x.device)], prepare=self.prepare)
        self.feature_centre.copy_(features.mean(0))
        spread = features.var(0).mean().sqrt()
        self.feature_scale.copy_(torch.where(spread > 0, spread, 1.0))

    def prepare(self, x: Tensor) -> Tensor:
        """Standardise."""
        return (x - self.centre) / self.scale

    def forward(self, x: Tensor) -> Tensor:
        """Map x in model units to logits, or numbers, shape (n, n_outputs)."""
        outputs: Tensor = self.head(self.body(self.prepare(x)))
        return outputs


def train_recognizer(
    network: nn.Module,
    x: Tensor,
    targets: Tensor,
    rows: Tensor,
    *,
    n_epochs: int,
    order: torch.Generator,
    loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
) -> None:
    """Train a recogniser with Adam at a rate that falls to zero, and leave it in evaluation mode.

    Args:
        network: Is changed.
        x: Model units, shape (n, *event).
        targets: Classes, shape (n,), or what `loss` takes.
        rows: Those to learn from.
        n_epochs: Passes over the rows.
        order: Source of their order.
        loss: Outputs and targets of a batch to the number that falls.
    """
    targets = targets.to(x.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE)
    n_steps = n_epochs * math.ceil(rows.shape[0] / _BATCH)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1.0 / n_steps, total_iters=n_steps)
    with torch.enable_grad():
        for _ in range(n_epochs):
            for batch in torch.split(rows[torch.randperm(rows.shape[0], generator=order)], _BATCH):
                batch = batch.to(x.device)
                value = loss(network(x[batch].float()), targets[batch])
                optimizer.zero_grad()
                torch.autograd.backward(value)
                optimizer.step()
                schedule.step()
    network.eval()
