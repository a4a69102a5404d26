"""Data that take one of a few values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from latentkit.core.parameters import check_integer
from latentkit.distributions.likelihood.family import Likelihood, likelihoods, sum_observed
from latentkit.distributions.noise import drawn_shape, gumbel
from latentkit.distributions.precision import at_least_float32

__all__ = ["Categorical", "CategoricalLikelihood"]


@final
class Categorical:
    """Independent features, each in one of C categories; category k stands in the data as k / (C - 1).

    .. math:: log p(x) = sum_i log softmax(l_i)[k_i],    k_i = (C - 1) x_i

    Args:
        logits: Shape (*batch, categories, *event); they need not be normalised.
        n_event_dims: Number of dimensions of one example.
    """

    __slots__ = ("_dim", "logits", "n_event_dims")

    def __init__(self, logits: Tensor, *, n_event_dims: int = 1) -> None:
        self.logits = at_least_float32(logits)
        self.n_event_dims = n_event_dims
        self._dim = -1 - n_event_dims

    @property
    def n_categories(self) -> int:
        """Number of categories C."""
        return self.logits.shape[self._dim]

    @property
    def probabilities(self) -> Tensor:
        """Probability of each category, shape (*batch, categories, *event)."""
        return torch.softmax(self.logits, self._dim)

    @property
    def mean(self) -> Tensor:
        """Expected value in model units, shape (*batch, *event), meaningful where the categories are ordered."""
        levels = torch.linspace(0.0, 1.0, self.n_categories, dtype=self.logits.dtype, device=self.logits.device)
        return (self.probabilities * levels.reshape(-1, *[1] * self.n_event_dims)).sum(self._dim)

    @property
    def mode(self) -> Tensor:
        """Most probable category in model units, shape (*batch, *event)."""
        return self._in_model_units(self.logits.argmax(self._dim))

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Log-mass of `value` in nats, shape (*batch,); features with a false `mask` do not count."""
        if mask is not None:
            value = value.masked_fill(~mask, 0.0)
        index = (value * (self.n_categories - 1)).round().long().unsqueeze(self._dim)
        log_probabilities = torch.log_softmax(self.logits, self._dim)
        lead = torch.broadcast_shapes(  # type: ignore[no-untyped-call]
            index.shape[: self._dim], log_probabilities.shape[: self._dim]
        )
        event = log_probabilities.shape[self._dim + 1 :]
        index = index.expand(*lead, 1, *event)
        log_probabilities = log_probabilities.expand(*lead, self.n_categories, *event)
        return sum_observed(log_probabilities.gather(self._dim, index).squeeze(self._dim), mask, self.n_event_dims)

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws in model units, shape (*batch, *event) or (n, *batch, *event); no gradient."""
        with torch.no_grad():
            noise = gumbel(drawn_shape(n, self.logits.shape), like=self.logits, generator=generator)
            return self._in_model_units((self.logits + noise).argmax(self._dim))

    def _in_model_units(self, index: Tensor) -> Tensor:
        return index.to(self.logits.dtype) / (self.n_categories - 1)


@likelihoods.register("categorical")
@final
class CategoricalLikelihood(Likelihood):
    """Features in categories: the decoder gives a logit for each category of each feature.

    Args:
        event_shape: Shape of one example.
        n_categories: Number of categories C, at least 2; the data hold k / (C - 1) for category k.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    Example:
        >>> family = CategoricalLikelihood((8,), n_categories=17)
        >>> family(torch.zeros(16, 17, 8)).log_prob(torch.ones(16, 8)).shape
        torch.Size([16])
    """

    discrete: ClassVar[bool] = True

    def __init__(self, event_shape: Sequence[int], *, n_categories: int = 256) -> None:
        super().__init__(event_shape, n_parameters=check_integer("n_categories", n_categories, low=2))
        self.n_categories = self.n_parameters

    def forward(self, parameters: Tensor) -> Categorical:
        """Read logits, shape (*batch, n_categories, *event)."""
        return Categorical(parameters, n_event_dims=len(self.event_shape))

    def initial_parameters(self, x: Tensor) -> Tensor:
        """Log-frequency of each category in each feature, with one count more for each: none is minus infinity."""
        x = at_least_float32(x)
        index = (x * (self.n_categories - 1)).round()
        counts = torch.stack([(index == k).sum(0) for k in range(self.n_categories)]).to(x.dtype)
        return torch.log((counts + 1.0) / (x.shape[0] + self.n_categories))
