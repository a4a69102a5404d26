"""What the objectives share: reading a batch, and the phases of a training step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from latentkit.core.errors import UnsupportedOperationError
from latentkit.core.protocols import Batch, ConditionalModel, LatentVariableModel, Objective, Phase
from latentkit.core.registry import Registry
from latentkit.core.seeds import isolated_rng
from latentkit.distributions import ObservationDistribution

__all__ = ["given", "inference_parameters", "log_likelihood", "objectives", "single_phase", "trainable_parameters"]

objectives: Registry[type[Objective]] = Registry("objective")


def single_phase(objective: Objective, model: LatentVariableModel) -> list[Phase]:
    """Return the one phase in which all trainable parameters climb `objective`."""
    return [Phase(trainable_parameters(model), lambda batch, kl_weight: objective(model, batch, kl_weight=kl_weight))]


def trainable_parameters(model: LatentVariableModel) -> list[nn.Parameter]:
    """Return the parameters of a model that are not frozen."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def inference_parameters(model: LatentVariableModel) -> list[nn.Parameter]:
    """Return the trainable parameters that q(z given x) depends on; those left are of the generative model.

    They are found by following the graph of a draw and its density for one made-up x, so that every wiring has them.
    Parameters that both parts share, such as the encoder under a prior made of posteriors, count as inference.
    """
    trainable = trainable_parameters(model)
    if not trainable:
        return []
    with isolated_rng(0, trainable[0].device), _at_rest(model), torch.inference_mode(False), torch.enable_grad():
        x = model.decode(model.prior().mean.detach().unsqueeze(0)).mean.detach()
        posterior = model.encode(x)
        z = posterior.rsample()
        value = z.sum() + posterior.log_prob(z).sum()
        if not value.requires_grad:
            return []
        gradients = torch.autograd.grad(value, trainable, allow_unused=True)
    return [parameter for parameter, gradient in zip(trainable, gradients, strict=True) if gradient is not None]


@contextmanager
def _at_rest(model: LatentVariableModel) -> Iterator[None]:
    """Put a module into evaluation mode inside the block, so that one example changes no running statistics."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


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
