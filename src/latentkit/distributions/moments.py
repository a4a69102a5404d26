"""Mean and spread of distributions that have no closed form of them: by fixed draws."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from latentkit.core.seeds import generator as seeded
from latentkit.distributions.noise import standard_normal

__all__ = ["MomentsOfDraws", "moment_noise"]


class MomentsOfDraws(ABC):
    """A distribution whose mean and standard deviation are those of some fixed draws."""

    __slots__ = ()

    @property
    def mean(self) -> Tensor:
        """Expected value, estimated from fixed draws, shape (*batch, latent); exact where they are affine in noise."""
        return self._typical.mean(0)

    @property
    def stddev(self) -> Tensor:
        """Standard deviation of each dimension, estimated from the same draws, shape (*batch, latent)."""
        return self._typical.std(0, correction=0)

    @property
    @abstractmethod
    def _typical(self) -> Tensor:
        """The draws, shape (draws, *batch, latent)."""


def moment_noise(n: int, like: Tensor) -> Tensor:
    """Return fixed numbers that stand for the standard normal where an expectation has no closed form.

    They come in pairs of opposite sign and have unit variance, so that the mean and the standard deviation of anything
    affine in one of them are exact.

    Args:
        n: How many, even.
        like: Last dimension, device and dtype.

    Returns:
        Shape (n, like.shape[-1]).
    """
    half = standard_normal((n // 2, like.shape[-1]), like=like, generator=seeded(0, "moments"))
    half = half / half.square().mean(0).sqrt()
    return torch.cat((half, -half))
