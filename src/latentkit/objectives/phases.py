"""What the objectives share: reading a batch, and the single phase of a training step."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from latentkit.core.errors import UnsupportedOperationError
from latentkit.core.protocols import Batch, ConditionalModel, LatentVariableModel, Objective, Phase
from latentkit.core.registry import Registry
from latentkit.distributions import ObservationDistribution

__all__ = ["given", "log_likelihood", "objectives", "single_phase"]

objectives: Registry[type[Objective]] = Registry("objective")


def single_phase(objective: Objective, model: LatentVariableModel) -> list[Phase]:
    """Return the one phase in which all trainable parameters climb `objective`."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [Phase(trainable, lambda batch, kl_weight: objective(model, batch, kl_weight=kl_weight))]


def given(model: LatentVariableModel, batch: Batch) -> LatentVariableModel:
    """Return the model as the batch's condition makes it; the model itself where there is none.

    Raises:
        UnsupportedOperationError: If the batch has a condition and the model cannot see it.
    """
    if batch.condition is None:
        return model
    if not isinstance(model, ConditionalModel):
        raise UnsupportedOperationError(
            f"a {type(model).__name__} has no place for a condition. Give batches without one, or a model with `given`."
        )
    return model.given(batch.condition)


def log_likelihood(model: LatentVariableModel, z: Tensor, batch: Batch) -> Tensor:
    """Return log p(x given z) of the observed features, nats, shape of `z` without its last dimension."""
    decoded = model.decode(z)
    if batch.mask is None:
        return decoded.log_prob(batch.x)
    return cast("ObservationDistribution", decoded).log_prob(batch.x, mask=batch.mask)
