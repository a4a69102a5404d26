"""How probable the model finds the data, with what the figure rests on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor

from latentkit.core.allocation import keep_freed_memory
from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer, check_real
from latentkit.core.protocols import Batch, ConditionalModel, LatentVariableModel
from latentkit.core.seeds import row_keys, row_noise
from latentkit.objectives import log_importance_weights
from latentkit.objectives.phases import log_likelihood

__all__ = ["LikelihoodEstimate", "bits_per_dimension", "importance_bound", "reconstruction_likelihood"]

_ROWS_PER_CALL = 2048  # 784-500-500-20: anything from 512 to 4096 was measured to be alike
_FEATURES_PER_CALL = 1 << 22  # wide examples: numbers that the decoder may give in one call
_NORMAL_95 = 1.959963984540054
#: Draws below which the spread of the weights is not known, and variance of a row's estimate above which the delta
#: method does not say how far below log p(x) it lies; as many rows may have a larger one.
_FEWEST_DRAWS, _LARGEST_VARIANCE, _LOOSE_ROWS = 10, 0.1, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class LikelihoodEstimate:
    """Estimate of log p(x) for each row, and how far to trust it.

    Attributes:
        log_likelihood: Nats, float64, shape (batch,); on average a lower bound of log p(x) where `is_bound`.
        effective_sample_size: Kish's effective number of the draws, in [1, n_importance], float64, shape (batch,).
            Near 1, one draw carries all the weight: the estimate is then noisy and well below log p(x).
        n_importance: Draws per row, K.
        estimator: What was computed, in words.
        is_bound: Whether it bounds log p(x) from below; a reconstruction's log-likelihood does not.
    """

    log_likelihood: Tensor
    effective_sample_size: Tensor
    n_importance: int
    estimator: str = "importance-weighted bound"
    is_bound: bool = True

    @property
    def standard_error(self) -> Tensor:
        """Standard error of each row's estimate, nats, by the delta method: sqrt(1 / ESS - 1 / K).

        It is too small where the effective sample size is close to 1.
        """
        return (1.0 / self.effective_sample_size - 1.0 / self.n_importance).clamp_min(0.0).sqrt()

    @property
    def is_tight(self) -> bool:
        """Whether the draws suffice for an interval of log p(x) itself.

        At least 10 draws, and for 95 of 100 rows a squared :attr:`standard_error` of at most 0.1: an effective sample
        size of 10 where there are many draws. Else the figure is a lower bound and no more. Draws from a posterior that
        is far too narrow can look alike and still miss what matters: :func:`~latentkit.evaluation.annealed_bound` finds
        that out.
        """
        variances = self.standard_error.square()
        loose = float((variances > _LARGEST_VARIANCE).double().mean())
        return self.is_bound and self.n_importance >= _FEWEST_DRAWS and loose <= _LOOSE_ROWS

    @property
    def mean(self) -> float:
        """Mean over the rows, nats."""
        return float(self.log_likelihood.mean())

    def interval(self, *, over: Literal["population", "rows"] = "population") -> tuple[float, float]:
        r"""95 % interval of the mean of log p(x), nats.

        .. math:: [\bar L - 1.96\, s, \; \bar L + 1.96\, s + b], \qquad
                  b = \frac{1}{2 n} \sum_i v_i, \quad v_i = 1 / ESS_i - 1 / K

        with b the bias of the logarithm by the delta method, by which L lies below log p(x) on average. Over the
        population, s is the standard error of the mean over rows like these, in which the noise of the draws is
        contained; over the rows, it is :math:`\sqrt{\sum_i v_i} / n`, the noise of the draws alone. Where the estimate
        is not :attr:`is_tight` nothing is known of log p(x) but that it lies above; then, and of what bounds nothing,
        the interval is that of the mean of the estimates themselves, without b.

        Args:
            over: Whether the rows stand for others like them, or for themselves.

        Raises:
            InvalidParameterError: If there are fewer than two rows for an interval over the population, or some row is
                impossible, so that the mean is not finite.
        """
        n = len(self.log_likelihood)
        impossible = int((~torch.isfinite(self.log_likelihood)).sum())
        if impossible or n < (2 if over == "population" else 1):
            raise InvalidParameterError(
                f"an interval takes at least 2 rows of finite log p(x); got {n:,}, of which {impossible:,} are not. "
                "Give more rows, or look for those that the model calls impossible."
            )
        variances = self.standard_error.square()
        error = float(self.log_likelihood.std() / math.sqrt(n))
        if over == "rows":
            error = float(variances.sum().sqrt() / n)
        bias = 0.5 * float(variances.mean()) if self.is_tight else 0.0
        return self.mean - _NORMAL_95 * error, self.mean + _NORMAL_95 * error + bias


def importance_bound(
    model: LatentVariableModel,
    x: Tensor,
    n_importance: int,
    *,
    condition: Tensor | None = None,
    keys: Tensor | None = None,
    seed: int = 0,
    mask: Tensor | None = None,
    chunk: int | None = None,
    bf16: bool = False,
) -> LikelihoodEstimate:
    r"""Estimate log p(x) of each row from K importance samples, with bounded memory.

    .. math:: L_K = \log \frac{1}{K} \sum_k \frac{p(x \mid z_k) p(z_k)}{q(z_k \mid x)}, \qquad z_k \sim q(z \mid x)

    The expectation of L_K is a lower bound of log p(x), equal to the ELBO at K = 1, that rises with K and is tight in
    the limit. A row's estimate depends on its content, K and the seed alone: not on its batch, its place or `chunk`
    (up to the rounding of the networks' products). Weights are summed in float64 whatever the model's precision.

    Args:
        model: Fitted model, in evaluation mode.
        x: Data in model units, shape (batch, *event), on the model's device.
        n_importance: Importance samples per row, K, at least 1. Cost is linear in it.
        condition: What the model is given, shape (batch, columns), or (1, columns) for every row.
        keys: Keys of the rows for drawing, shape (batch,); by default :func:`latentkit.core.seeds.row_keys` of `x`.
        seed: Another seed gives other draws.
        mask: True where a feature was observed, shape of `x`; the bound is then that of the observed part.
        chunk: Draws that the decoder sees in one call; by default what was measured to be fast, fewer for wide
            examples.
        bf16: Run the networks in bfloat16, which is faster on recent processors; weights are summed in float64 still.

    Returns:
        Bound and effective sample size of each row.

    Raises:
        InvalidParameterError: If `n_importance` or `chunk` is below 1, or `keys` does not have one key per row.

    References:
        Burda et al., 2016, Importance Weighted Autoencoders, section 3, arXiv:1509.00519.
        Kong, 1992, A Note on Importance Sampling using Standardized Weights (effective sample size).
    """
    check_integer("n_importance", n_importance, low=1)
    if chunk is None:
        features = max(1, math.prod(x.shape[1:]))
        chunk = max(1, min(_ROWS_PER_CALL, _FEATURES_PER_CALL // features))
    check_integer("chunk", chunk, low=1)
    keep_freed_memory()
    n = x.shape[0]
    if keys is None:
        keys = row_keys(x)
    if keys.shape != (n,):
        raise InvalidParameterError(
            f"keys must hold one key per row, shape ({n},); got shape {tuple(keys.shape)}. Use row_keys(x)."
        )
    n_rows = max(1, min(n, chunk // n_importance))
    # equal parts: 5000 draws in calls of 2048 are 3 x 1667, not two full calls and a short one
    n_calls = math.ceil(n_importance / max(1, chunk // n_rows))
    n_draws = math.ceil(n_importance / n_calls)
    bounds = torch.empty(n, dtype=torch.float64)
    effective = torch.empty(n, dtype=torch.float64)
    with torch.inference_mode(), torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
        latent_dim = model.encode(x[:1]).mean.shape[-1]
        for first in range(0, n, n_rows):
            rows = slice(first, min(n, first + n_rows))
            part, part_mask = x[rows], None if mask is None else mask[rows]
            seen = model if condition is None else _given(model, condition, rows)
            sums = _WeightSums(rows.stop - rows.start, x.device)
            for start in range(0, n_importance, n_draws):
                count = min(n_draws, n_importance - start)
                noise = row_noise(keys[rows], count, latent_dim, seed=seed, start=start, dtype=_noise_dtype(x))
                sums.add(log_importance_weights(seen, part, count, noise=noise.to(x.device), mask=part_mask))
            bounds[rows] = (sums.log_sum() - math.log(n_importance)).cpu()
            effective[rows] = sums.effective_sample_size(n_importance).cpu()
    return LikelihoodEstimate(log_likelihood=bounds, effective_sample_size=effective, n_importance=n_importance)


def reconstruction_likelihood(
    model: LatentVariableModel,
    x: Tensor,
    *,
    condition: Tensor | None = None,
    mask: Tensor | None = None,
    bf16: bool = False,
) -> LikelihoodEstimate:
    r"""How well each row is rebuilt from its code, for models whose q(z given x) is a point.

    .. math:: \log p(x \mid z(x))

    It is not a bound on log p(x): what the code itself costs is left out, and a longer code always scores higher. It
    ranks rows under one model, but does not compare models.

    Args:
        model: Fitted model, in evaluation mode; the mean of its posterior is the code.
        x: Data in model units, shape (batch, *event), on the model's device.
        condition: What the model is given, shape (batch, columns), or (1, columns) for every row.
        mask: True where a feature was observed, shape of `x`; the others do not count.
        bf16: Run the networks in bfloat16.

    Returns:
        Nats of each row; nothing is drawn, so `n_importance` and every effective sample size are 1.
    """
    with torch.inference_mode(), torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
        seen = model if condition is None else _given(model, condition, slice(None))
        fit = log_likelihood(seen, seen.encode(x).mean, Batch(x, mask))
    return LikelihoodEstimate(
        log_likelihood=fit.double().cpu(),
        effective_sample_size=torch.ones(len(x), dtype=torch.float64),
        n_importance=1,
        estimator="log p(x given z) of the reconstruction, not a bound on log p(x)",
        is_bound=False,
    )


def bits_per_dimension(log_likelihood: Tensor, n_dimensions: int, *, step: float | None = None) -> Tensor:
    r"""Turn nats per example into bits per dimension, the figure that compression and image papers quote.

    .. math:: b = -\frac{\log p(x) + D \log s}{D \log 2}

    Args:
        log_likelihood: Nats, any shape.
        n_dimensions: Number D of features of one example, at least 1.
        step: Where `log_likelihood` is the log of a density over values on a grid: the grid's step s in model units
            (1/255 for bytes in [0, 1]), which makes a mass of it. None where it is the log of a mass already.

    Returns:
        Bits per dimension, shape of `log_likelihood`; lower is better.

    Raises:
        InvalidParameterError: If `n_dimensions` is below 1 or `step` is not above zero.

    Example:
        >>> bits_per_dimension(torch.tensor([-784 * math.log(2.0)]), 784)
        tensor([1.])
    """
    check_integer("n_dimensions", n_dimensions, low=1)
    offset = 0.0 if step is None else math.log(check_real("step", step, low=0.0, inclusive=(False, True)))
    return -(log_likelihood / n_dimensions + offset) / math.log(2.0)


class _WeightSums:
    """Sums of the weights and of their squares, scaled by the largest weight met so far, in float64."""

    def __init__(self, n: int, device: torch.device) -> None:
        self._largest = torch.full((n,), -math.inf, dtype=torch.float64, device=device)
        self._first = torch.zeros(n, dtype=torch.float64, device=device)
        self._second = torch.zeros(n, dtype=torch.float64, device=device)

    def add(self, log_weights: Tensor) -> None:
        """Take in log-weights, shape (draws, n)."""
        log_weights = log_weights.double()
        largest = torch.maximum(self._largest, log_weights.amax(0))
        # where every weight so far is zero there is nothing to rescale, and -inf - -inf would be NaN
        base = torch.where(largest == -math.inf, 0.0, largest)
        scale = torch.exp(self._largest - base)
        weights = torch.exp(log_weights - base)
        self._first = self._first * scale + weights.sum(0)
        self._second = self._second * scale.square() + weights.square().sum(0)
        self._largest = largest

    def log_sum(self) -> Tensor:
        """Log of the sum of the weights, shape (n,)."""
        return self._largest + self._first.log()

    def effective_sample_size(self, n_importance: int) -> Tensor:
        """Square of the sum over the sum of the squares, shape (n,); 1 where all weights are zero."""
        size = self._first.square() / self._second
        return torch.where(self._second > 0, size, 1.0).clamp(1.0, n_importance)


def _given(model: LatentVariableModel, condition: Tensor, rows: slice) -> LatentVariableModel:
    return cast(ConditionalModel, model).given(condition if condition.shape[0] == 1 else condition[rows])


def _noise_dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32
