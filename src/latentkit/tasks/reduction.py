"""From data to latent vectors."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from latentkit.core.parameters import check_choice
from latentkit.core.protocols import LatentVariableModel

__all__ = ["encode"]


def encode(
    model: LatentVariableModel,
    x: Tensor,
    *,
    draw: Literal["mean", "sample"] = "mean",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Latent vectors of data.

    Args:
        model: Fitted model.
        x: Model units, shape (batch, *event).
        draw: The posterior's ``"mean"``, or a ``"sample"`` of it.
        generator: Source of randomness of ``draw="sample"``.

    Returns:
        Shape (batch, latent), without gradient.

    Raises:
        InvalidParameterError: If `draw` is neither.
    """
    check_choice("draw", draw, ("mean", "sample"))
    with torch.no_grad():
        posterior = model.encode(x)
        return posterior.mean if draw == "mean" else posterior.sample(generator=generator)
