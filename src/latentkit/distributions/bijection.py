"""Invertible maps of the latent space, made of zuko's layers."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Any, Final, Literal, final

import torch
from torch import Tensor, nn

from latentkit.core.parameters import check_choice, check_integer
from latentkit.distributions.precision import without_autocast

__all__ = ["Bijection", "Univariate", "autoregressive_layers", "coupling_layers"]

Univariate = Literal["affine", "spline"]
_N_BINS: Final = 8


def _zuko() -> ModuleType:
    """Import zuko, which turns off the validation of arguments in torch.distributions for the whole process."""
    validates = torch.distributions.Distribution._validate_args  # noqa: SLF001 (it has a setter and no getter)
    try:
        return importlib.import_module("zuko")
    finally:
        torch.distributions.Distribution.set_default_validate_args(validates)


@final
class Bijection(nn.Module):
    """An invertible map of vectors, composed of layers; it starts as the identity.

    Args:
        layers: Lazy transformations of zuko: modules that give a ``torch.distributions.Transform`` for a context.

    References:
        Rozet et al., 2022, Zuko: Normalizing flows in PyTorch, doi:10.5281/zenodo.7625672.

    Example:
        >>> import torch
        >>> layers = coupling_layers(3, n_layers=2, width=8)
        >>> z, log_det = Bijection(layers)(torch.zeros(5, 3))
        >>> z.shape, log_det.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        for layer in layers:
            _make_identity(layer)

    def forward(self, value: Tensor, context: Tensor | None = None, *, inverse: bool = False) -> tuple[Tensor, Tensor]:
        """Map `value` through the layers, or back.

        Args:
            value: At least float32, shape (*draws, *batch, dim).
            context: What the map depends on, shape (*batch, columns); None where it depends on nothing.
            inverse: Whether to go from the last layer to the first.

        Returns:
            Image, shape of `value`, and the log of the absolute determinant of the map's Jacobian, shape
            (*draws, *batch).
        """
        log_det = value.new_zeros(value.shape[:-1])
        if not value.numel():  # zuko's layers cannot tell the shape of nothing
            return value, log_det
        with without_autocast(value):
            for layer in reversed(self.layers) if inverse else self.layers:
                transform = layer(context)
                value, change = (transform.inv if inverse else transform).call_and_ladj(value)
                log_det = log_det + change
        return value, log_det

    def __repr__(self) -> str:
        """Name and number of layers; zuko's own text draws from torch's global generator."""
        return f"{type(self).__name__}({len(self.layers)} layers)"


def coupling_layers(
    dim: int, *, n_layers: int, width: int, context_dim: int = 0, univariate: Univariate = "affine"
) -> list[nn.Module]:
    """Layers that change every other dimension by what the rest says; fast in both directions.

    Args:
        dim: Number of dimensions, at least 1; a single one is changed by what does not depend on it.
        n_layers: Number of layers, at least 1; they take turns in what they change.
        width: Units of the two hidden layers of each.
        context_dim: Columns of the context that every dimension depends on.
        univariate: ``"affine"`` (RealNVP), or ``"spline"``: rational quadratic with 8 bins on [-5, 5], and
            the identity outside.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    References:
        Dinh et al., 2017, Density Estimation Using Real NVP, arXiv:1605.08803; Durkan et al., 2019, Neural Spline
        Flows, arXiv:1906.04032.
    """
    check_integer("n_layers", n_layers, low=1)
    check_integer("width", width, low=1)
    layer = _zuko().flows.GeneralCouplingTransform
    options = {**_univariate(univariate), **_hidden(width)}
    return [layer(dim, context_dim, mask=torch.arange(dim) % 2 == i % 2, **options) for i in range(n_layers)]


def autoregressive_layers(
    dim: int, *, n_layers: int, width: int, context_dim: int = 0, univariate: Univariate = "affine"
) -> list[nn.Module]:
    """Layers that change each dimension by what those before it say; the inverse takes `dim` passes.

    Args:
        dim: Number of dimensions, at least 1.
        n_layers: Number of layers, at least 1; the order of the dimensions turns round from one to the next.
        width: Units of the two hidden layers of each, at least `dim`.
        context_dim: Columns of the context that every dimension depends on.
        univariate: As in :func:`coupling_layers`.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    References:
        Papamakarios et al., 2017, Masked Autoregressive Flow for Density Estimation, arXiv:1705.07057; Kingma et al.,
        2016, Improved Variational Inference with Inverse Autoregressive Flow, arXiv:1606.04934.
    """
    check_integer("n_layers", n_layers, low=1)
    check_integer("width", width, low=dim, hint="Every latent dimension needs a hidden unit of its own.")
    layer = _zuko().flows.MaskedAutoregressiveTransform
    options = {**_univariate(univariate), **_hidden(width)}
    orders = (torch.arange(dim), torch.arange(dim).flip(0))
    return [layer(dim, context_dim, order=orders[i % 2], **options) for i in range(n_layers)]


def _univariate(name: str) -> dict[str, Any]:
    check_choice("transform", name, ["affine", "spline"])
    if name == "affine":
        return {}
    spline = partial(_zuko().transforms.MonotonicRQSTransform, slope=1e-3)
    return {"univariate": spline, "shapes": [(_N_BINS,), (_N_BINS,), (_N_BINS - 1,)]}


def _hidden(width: int) -> dict[str, Any]:
    # A smooth activation: densities are differentiated with respect to z.
    return {"hidden_features": (width, width), "activation": nn.SiLU}


@torch.no_grad()
def _make_identity(layer: nn.Module) -> None:
    """Set to zero what gives the parameters of the univariate maps: a network's last layer, or the parameters."""
    networks = [child for child in layer.children() if isinstance(child, nn.Sequential)]
    last = [network[len(network) - 1] for network in networks]
    for parameter in [parameter for module in last or [layer] for parameter in module.parameters()]:
        parameter.zero_()
