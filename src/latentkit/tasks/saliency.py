"""Which parts of an example a latent dimension looks at."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.core.protocols import LatentVariableModel

__all__ = ["exchange_effects", "integrated_gradients", "latent_gradients"]


def latent_gradients(model: LatentVariableModel, x: Tensor, dims: Sequence[int]) -> Tensor:
    r"""How fast the posterior mean of each latent dimension changes with each number of an example.

    .. math:: g_{ij} = \frac{\partial \mu_j(x_i)}{\partial x_i}

    Args:
        model: Fitted model whose inputs are numbers, not codes or tokens.
        x: Model units, shape (batch, *event).
        dims: Latent dimensions.

    Returns:
        Signed, shape (dims, batch, *event), detached.

    Raises:
        InvalidParameterError: If a dimension does not exist, or the encoder has no gradient.

    References:
        Simonyan et al., 2014, Deep Inside Convolutional Networks, arXiv:1312.6034.
    """
    with torch.enable_grad():
        inputs = x.detach().clone().requires_grad_(True)
        means = model.encode(inputs).mean
        _check_dims(dims, means.shape[-1])
        if not means.requires_grad:
            raise InvalidParameterError(
                "the encoder has no gradient: its latents are codes, or its inputs are. Use exchange_effects."
            )
        found = [torch.autograd.grad(means[:, dim].sum(), inputs, retain_graph=True)[0] for dim in dims]
    return torch.stack(found)


def integrated_gradients(
    model: LatentVariableModel, x: Tensor, dims: Sequence[int], *, baseline: Tensor, steps: int = 32
) -> Tensor:
    r"""What each number of an example adds to the posterior mean of each latent dimension, against a baseline.

    .. math:: a_{ij} = (x_i - b) \odot \int_0^1 \frac{\partial \mu_j(b + t (x_i - b))}{\partial x} dt

    The parts of an example add up to :math:`\mu_j(x_i) - \mu_j(b)`, but for the error of the integral, which is taken
    at the middles of `steps` equal parts.

    Args:
        model: Fitted model whose inputs are numbers.
        x: Model units, shape (batch, *event).
        dims: Latent dimensions.
        baseline: What an example is compared with, such as the mean of the data, shape (*event).
        steps: Parts of the way, at least 1.

    Returns:
        Signed, in the units of z, shape (dims, batch, *event), detached.

    Raises:
        InvalidParameterError: If a dimension does not exist, the shapes differ, or the encoder has no gradient.

    References:
        Sundararajan et al., 2017, Axiomatic Attribution for Deep Networks, arXiv:1703.01365.
    """
    check_integer("steps", steps, low=1)
    if baseline.shape != x.shape[1:]:
        raise InvalidParameterError(
            f"baseline must have the shape of one example, {tuple(x.shape[1:])}; got {tuple(baseline.shape)}."
        )
    way = x - baseline
    total = torch.zeros(len(dims), *x.shape, dtype=x.dtype, device=x.device)
    for step in range(steps):
        total += latent_gradients(model, baseline + (step + 0.5) / steps * way, dims)
    return total / steps * way


def exchange_effects(
    encode: Callable[[Tensor], Tensor], x: Tensor, donors: Tensor, groups: Sequence[Sequence[int]]
) -> Tensor:
    r"""How far the posterior mean moves when a part of an example becomes that of another one.

    .. math:: e_{ig} = \mu(x_i) - \mu(x_i \text{ with the places } g \text{ of } x'_i)

    For codes and tokens, between which there is nothing to differentiate along.

    Args:
        encode: Posterior means of rows, shape (n, latent).
        x: Rows, shape (batch, places).
        donors: Rows whose parts are taken, shape (batch, places); a shuffling of rows of the data keeps the frequencies
            of what is put in.
        groups: Places that are exchanged together, such as those of one column.

    Returns:
        Shape (groups, batch, latent).

    Raises:
        InvalidParameterError: If the shapes differ or a group is empty.
    """
    if x.ndim != 2 or donors.shape != x.shape:
        raise InvalidParameterError(
            f"x and donors must both have shape (batch, places); got {tuple(x.shape)} and {tuple(donors.shape)}."
        )
    if not groups or not all(len(group) for group in groups):
        raise InvalidParameterError("groups must be at least one sequence of places, none of them empty.")
    means = encode(x)
    found = []
    for group in groups:
        changed = x.clone()
        changed[:, list(group)] = donors[:, list(group)]
        found.append(means - encode(changed))
    return torch.stack(found)


def _check_dims(dims: Sequence[int], latent_dim: int) -> None:
    if not dims:
        raise InvalidParameterError("dims must name at least 1 latent dimension.")
    for dim in dims:
        check_integer("dims", dim, low=0, high=latent_dim - 1, hint=f"The model has {latent_dim} latent dimensions.")
