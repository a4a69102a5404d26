"""The posterior of a deterministic autoencoder: a single code, and the shapes that a code can have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NoReturn, final

import torch
from torch import Tensor

from latentkit.core.errors import UnsupportedOperationError
from latentkit.core.parameters import check_integer
from latentkit.core.registry import Registry
from latentkit.distributions.noise import drawn_shape
from latentkit.distributions.posterior import PosteriorFamily, posteriors
from latentkit.distributions.precision import at_least_float32

__all__ = ["CodeActivation", "PointMass", "PointPosterior", "code_activations"]


@final
class PointMass:
    r"""All probability on one code.

    .. math:: q(z \mid x) = \delta(z - code(x))

    Every draw is the code. There is no density, and so no entropy and no KL divergence from a prior: they would be
    infinite whatever the code is.

    Args:
        code: Shape (*batch, latent).

    Attributes:
        mean: The code, at least float32.

    Example:
        >>> q = PointMass(torch.tensor([[1.0, 2.0]]))
        >>> q.rsample(), q.rsample(5).shape, q.stddev
        (tensor([[1., 2.]]), torch.Size([5, 1, 2]), tensor([[0., 0.]]))
    """

    __slots__ = ("mean",)

    def __init__(self, code: Tensor) -> None:
        self.mean = at_least_float32(code)

    @property
    def stddev(self) -> Tensor:
        """Zeros, shape (*batch, latent)."""
        return torch.zeros_like(self.mean)

    def rsample(self, n: int | None = None, *, noise: Tensor | None = None) -> Tensor:
        """The code, shape (*batch, latent) or (n, *batch, latent); `noise` changes nothing."""
        return self.mean.expand(drawn_shape(n, self.mean.shape))

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """The code without gradient; nothing is drawn from `generator`."""
        return self.rsample(n).detach()

    def log_prob(self, value: Tensor) -> NoReturn:
        """Refuse: a point has no density.

        Raises:
            UnsupportedOperationError: Always.
        """
        raise UnsupportedOperationError(
            "q(z given x) of a deterministic autoencoder is a point: it has no density, and so no KL divergence and no "
            "bound on log p(x). Train it with the objective 'reconstruction', score it by log p(x given z), or use "
            "posterior='diagonal'."
        )

    def detach(self) -> PointMass:
        """The same point, cut from the graph."""
        return PointMass(self.mean.detach())


@dataclass(frozen=True, slots=True)
class CodeActivation:
    """What makes a code of an encoder's numbers.

    Attributes:
        forward: Numbers of shape (*batch, latent) to codes of the same shape.
        constrain: Any z to the nearest code that `forward` can give; it leaves codes as they are.
    """

    forward: Callable[[Tensor], Tensor]
    constrain: Callable[[Tensor], Tensor]


def _same(z: Tensor) -> Tensor:
    return z


def _unit(z: Tensor) -> Tensor:
    return z.clamp(0.0, 1.0)


code_activations: Registry[CodeActivation] = Registry("code activation")
code_activations.register("identity")(CodeActivation(_same, _same))
code_activations.register("relu")(CodeActivation(torch.relu, torch.relu))
code_activations.register("sigmoid")(CodeActivation(torch.sigmoid, _unit))


@posteriors.register("point")
@final
class PointPosterior(PosteriorFamily):
    r"""Codes instead of distributions: what a deterministic autoencoder has for a posterior.

    .. math:: code(x) = top_k(activation(encoder(x)))

    Args:
        latent_dim: Length of a code, at least 1.
        activation: ``"identity"``; ``"relu"``, which makes exact zeros; or ``"sigmoid"``, for codes in (0, 1).
        top_k: How many numbers of each code are kept, the largest in magnitude; the others are 0. None keeps all.

    Raises:
        InvalidParameterError: If there is no such activation, or `top_k` is not from 1 to `latent_dim`.

    References:
        Makhzani and Frey, 2014, k-Sparse Autoencoders, arXiv:1312.5663 (`top_k`).

    Example:
        >>> PointPosterior(3, activation="relu", top_k=1)(torch.tensor([[0.5, 2.0, -3.0]])).mean
        tensor([[0., 2., 0.]])
    """

    has_density: ClassVar[bool] = False

    def __init__(self, latent_dim: int, activation: str = "identity", top_k: int | None = None) -> None:
        super().__init__(latent_dim, n_parameters=check_integer("latent_dim", latent_dim, low=1))
        self.activation = code_activations[activation]
        self.top_k = latent_dim
        if top_k is not None:
            hint = f"A code has {latent_dim} numbers."
            self.top_k = check_integer("top_k", top_k, low=1, high=latent_dim, hint=hint)

    def forward(self, parameters: Tensor) -> PointMass:
        """The codes of an encoder's output, shape (*batch, latent)."""
        code = self.activation.forward(at_least_float32(parameters))
        return PointMass(self._kept(code, code))

    def constrain(self, z: Tensor) -> Tensor:
        """The nearest code to any z: one that the activation can give, with at most `top_k` numbers beside zeros."""
        code = self.activation.constrain(z)
        return self._kept(code, z)

    def _kept(self, code: Tensor, z: Tensor) -> Tensor:
        """The code with zeros for all but the `top_k` numbers that bring it closest to z."""
        if self.top_k == self.latent_dim:
            return code
        kept = (z.square() - (z - code).square()).detach().topk(self.top_k, dim=-1).indices
        return torch.zeros_like(code).scatter(-1, kept, code.gather(-1, kept))
