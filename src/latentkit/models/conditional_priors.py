"""Priors p(z given a condition), made of priors of what the condition leaves open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from latentkit.core.errors import InvalidParameterError
from latentkit.core.protocols import Distribution
from latentkit.core.seeds import RowGenerator
from latentkit.distributions import Prior
from latentkit.distributions.precision import at_least_float32, without_autocast
from latentkit.distributions.prior import Encode

__all__ = ["ConditionalPrior", "GivenConditions", "LinearMeans"]


@final
class LinearMeans(nn.Module):
    r"""The mean of z given a condition: linear in its columns, with coefficients of each combination of classes.

    .. math:: m(c) = W_{k(c)}^T c

    with k(c) the combination that c has, or the last coefficients where it has none of those that are known. The first
    column of a condition is 1, and its coefficients are the intercept.

    Args:
        combinations: The columns that tell each combination, ones in the first column and in those of its classes, else
            zeros, shape (combinations, columns). A row of zeros is no condition's.
        coefficients: W, shape (combinations + 1, columns, latent).

    Raises:
        InvalidParameterError: If the shapes do not fit together.

    Example:
        >>> means = LinearMeans(torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([[[5.0], [0.0], [0.0]], [[0.0]] * 3]))
        >>> conditions = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
        >>> means.places(conditions), means(conditions)
        (tensor([0, 1]), tensor([[5.],
                [0.]]))
    """

    combinations: Tensor
    coefficients: Tensor

    def __init__(self, combinations: Tensor, coefficients: Tensor) -> None:
        super().__init__()
        if coefficients.ndim != 3 or combinations.shape != (coefficients.shape[0] - 1, coefficients.shape[1]):
            raise InvalidParameterError(
                "means of z need combinations (combinations, columns) and coefficients (combinations + 1, columns, "
                f"latent); got shapes {tuple(combinations.shape)} and {tuple(coefficients.shape)}."
            )
        self.register_buffer("combinations", combinations.clone())
        self.register_buffer("coefficients", coefficients.clone())

    @property
    def n_combinations(self) -> int:
        """Number of combinations that have coefficients of their own."""
        return self.combinations.shape[0]

    def places(self, condition: Tensor) -> Tensor:
        """Numbers of the combinations of conditions, shape (n, columns) to (n,); `n_combinations` for any other."""
        with without_autocast(condition):
            shared = at_least_float32(condition) @ self.combinations.mT.to(at_least_float32(condition))
        wanted = self.combinations.sum(1).to(shared)
        has = torch.cat(((shared == wanted) & (wanted > 0), shared.new_ones(len(shared), 1, dtype=torch.bool)), dim=1)
        return has.int().argmax(1)

    def forward(self, condition: Tensor) -> Tensor:
        """Means of z, shape (n, columns) to (n, latent); zeros for conditions of zeros, which stand for none."""
        coefficients = self.coefficients[self.places(condition)]
        with without_autocast(coefficients):
            return torch.einsum("nc,ncl->nl", condition.to(coefficients), coefficients)


@final
class ConditionalPrior(Prior):
    r"""Gives p(z given a condition), which a decoder that sees the condition leaves to the prior.

    .. math:: z = m(c) + u, \qquad u \sim p_{k(c)}(u)

    Args:
        means: The means m.
        classes: Priors of u of each combination of classes that `means` knows.
        pooled: Prior of u of any other combination.
        whole: Prior of z without a condition.

    Raises:
        InvalidParameterError: If there is not one prior for each combination.

    Example:
        >>> from latentkit.distributions import StandardNormalPrior
        >>> means = LinearMeans(torch.zeros(0, 2), torch.tensor([[[1.0], [10.0]]]))
        >>> prior = ConditionalPrior(means, [], StandardNormalPrior(1), StandardNormalPrior(1))
        >>> prior.given(torch.tensor([[1.0, 2.0]])).mean, prior().mean
        (tensor([21.]), tensor([0.]))
    """

    def __init__(self, means: LinearMeans, classes: Sequence[Prior], pooled: Prior, whole: Prior) -> None:
        super().__init__()
        if len(classes) != means.n_combinations:
            raise InvalidParameterError(
                f"a conditional prior needs one prior for each combination of classes; got {len(classes)} for "
                f"{means.n_combinations}."
            )
        self.latent_dim = whole.latent_dim
        self.means, self.classes, self.pooled = means, nn.ModuleList(classes), pooled
        self.whole = whole

    def forward(self, encode: Encode | None = None) -> Distribution:
        """The distribution of z without a condition."""
        distribution: Distribution = self.whole()
        return distribution

    def given(self, condition: Tensor) -> GivenConditions:
        """The distribution of z given conditions, shape (1 or n, columns); a row of zeros stands for none."""
        sources = [*self.classes, self.pooled, self.whole]
        places = torch.where(condition[:, 0] == 0, len(sources) - 1, self.means.places(condition))
        used, places = torch.unique(places, return_inverse=True)
        return GivenConditions([sources[index]() for index in used.tolist()], places, self.means(condition))


@final
class GivenConditions:
    """Latent vectors given one condition, batch shape (), or a condition for each, batch shape (conditions,).

    Args:
        bases: Distributions around the centres.
        places: Which of the bases each condition has, shape (conditions,).
        centres: Where it lies, shape (conditions, latent).

    Example:
        >>> from latentkit.distributions import StandardNormal
        >>> p = GivenConditions([StandardNormal(2)], torch.tensor([0, 0]), torch.tensor([[0.0, 0.0], [9.0, 9.0]]))
        >>> p.mean, p.sample(2).shape
        (tensor([[0., 0.],
                [9., 9.]]), torch.Size([2, 2]))
    """

    __slots__ = ("bases", "centres", "places")

    def __init__(self, bases: Sequence[Distribution], places: Tensor, centres: Tensor) -> None:
        self.bases, self.places, self.centres = bases, places, centres

    @property
    def mean(self) -> Tensor:
        """Shape (latent,), or (conditions, latent)."""
        return self._batched(self.centres + torch.stack([base.mean for base in self.bases])[self.places])

    @property
    def stddev(self) -> Tensor:
        """Standard deviation of each dimension, shape (latent,), or (conditions, latent)."""
        spreads = [base.stddev for base in self.bases]  # type: ignore[attr-defined]  # those of latent vectors have it
        return self._batched(torch.stack(spreads)[self.places])

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats of `value`, shape (*batch, latent) to (*batch,); see the bases for errors.

        With several conditions the last dimension of the batch counts them.
        """
        value = at_least_float32(value)
        if len(self.places) == 1:
            return self.bases[0].log_prob(value - self.centres[0])
        offsets = value - self.centres
        result = offsets.new_empty(offsets.shape[:-1])
        for index, base in enumerate(self.bases):
            rows = self.places == index
            result[..., rows] = base.log_prob(offsets[..., rows, :]).to(result)
        return result

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws, shape (n, latent): all of the one condition, or each of its own; as many as conditions without `n`.

        What a row draws depends on its place and its condition, not on those of other rows.

        Raises:
            InvalidParameterError: If there are several conditions, and not as many as draws.
        """
        n_conditions = len(self.places)
        count = n_conditions if n is None else n
        if n_conditions not in (1, count):
            raise InvalidParameterError(
                f"draws given {n_conditions} conditions are as many; got n={n}. Give one condition, or one for each."
            )
        device = None if generator is None else generator.device
        seed = int(torch.randint(2**62, (), generator=generator, device=device))
        places = self.places.expand(count)
        draws = self.centres.expand(count, -1).clone()
        for index, base in enumerate(self.bases):
            rows = (places == index).nonzero().flatten()
            draws[rows] += base.sample(len(rows), generator=RowGenerator(rows, seed=seed, row_dim=0))
        return self._batched(draws) if n is None else draws

    def _batched(self, rows: Tensor) -> Tensor:
        return rows[0] if len(self.places) == 1 else rows
