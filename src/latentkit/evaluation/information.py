"""How much the codes tell about the data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.seeds import generator
from latentkit.distributions import DiagonalGaussian
from latentkit.evaluation.inputs import Numbers, check_integers, check_pair
from latentkit.evaluation.latents import summarize_latents

__all__ = ["InformationEstimate", "codebook_perplexity", "mutual_information"]

_BLOCK = 1 << 21  # pairs of rows per pass: 16 MiB in float64


@dataclass(frozen=True, slots=True, kw_only=True)
class InformationEstimate:
    """Mutual information of data and codes between two estimates, nats.

    Attributes:
        lower: On average a lower bound of I(x; z); never above log n.
        upper: On average an upper bound of I(x; z), infinite or very large where posteriors do not overlap.
        standard_error: Standard error of `lower` over the rows.
        kl: Mean KL(q(z given x), N(0, I)), exact.
        n: Rows.
    """

    lower: float
    upper: float
    standard_error: float
    kl: float
    n: int

    @property
    def aggregate_kl(self) -> float:
        """KL(q(z), N(0, I)) = kl - I, on average an upper bound of it as `lower` is a lower bound of I."""
        return self.kl - self.lower

    @property
    def computed_with(self) -> str:
        """What the figures rest on."""
        return f"{self.n:,} rows against each other, one draw each (at most log n = {math.log(self.n):.2f} nats)"


def mutual_information(means: Numbers, log_vars: Numbers, *, seed: int = 0) -> InformationEstimate:
    r"""Mutual information of data and codes, by the posteriors of one sample of rows.

    .. math::
        L = E_i \log \frac{q(z_i | x_i)}{\frac{1}{n} \sum_j q(z_i | x_j)} \le I(x; z) \le
        E_i \log \frac{q(z_i | x_i)}{\frac{1}{n - 1} \sum_{j \ne i} q(z_i | x_j)} = U
        \quad \text{(on average)}

    In nats; `lower` lies below log n, so that it says nothing where I is larger: then `upper` is far above it, and
    more rows are needed. More information is neither better nor worse by itself; 0 is a collapsed posterior. `lower`
    is biased downwards at small samples, `upper` upwards, and a single draw may put either slightly below 0.

    Args:
        means: Posterior means, shape (n, latent), n at least 2.
        log_vars: Logarithms of the posterior variances, shape (n, latent).
        seed: Decides the draws.

    Returns:
        Both bounds. Time is quadratic in n, memory is bounded.

    Raises:
        InvalidParameterError: If the shapes differ, there are fewer than 2 rows, or a number is not finite.

    References:
        Hoffman and Johnson, 2016, ELBO surgery (the decomposition). Poole et al., 2019, On Variational Bounds of
        Mutual Information, section 2.3, arXiv:1905.06922 (both bounds).

    Example:
        >>> abs(round(mutual_information(torch.zeros(100, 2), torch.zeros(100, 2)).lower, 6))
        0.0
        >>> apart = mutual_information(100.0 * torch.arange(8.0)[:, None], torch.zeros(8, 1))
        >>> round(apart.lower, 6) == round(math.log(8), 6)
        True
    """
    means, log_vars = check_pair(("means", means), ("log_vars", log_vars), at_least=2)
    kl = summarize_latents(means, log_vars).kl
    assert kl is not None, "posteriors with variances have a divergence"
    n, dim = means.shape
    noise = torch.randn(n, dim, generator=generator(seed, "mutual-information"), dtype=torch.float64).to(means.device)
    q = DiagonalGaussian(means, log_vars)
    z = means + q.stddev * noise
    # log q(z_i | x_j) for all pairs as products of matrices: the square is multiplied out, in float64
    precision = (-log_vars).exp()
    offset = (means.square() * precision + log_vars).sum(1) + dim * math.log(2.0 * math.pi)
    own = q.log_prob(z)
    with_own, without = torch.empty_like(own), torch.empty_like(own)
    step = max(1, _BLOCK // n)
    for start in range(0, n, step):
        rows = torch.arange(start, min(n, start + step), device=z.device)
        part = z[rows]
        pairs = -0.5 * (part.square() @ precision.mT - 2.0 * part @ (means * precision).mT + offset)
        pairs[rows - start, rows] = -math.inf
        without[rows] = pairs.logsumexp(1)
        # own is computed without cancellation, so that the ratio never exceeds n
        with_own[rows] = torch.logaddexp(without[rows], own[rows])
    lower = own - with_own + math.log(n)
    return InformationEstimate(
        lower=float(lower.mean()),
        upper=float((own - without).mean() + math.log(n - 1)),
        standard_error=float(lower.std() / math.sqrt(n)),
        kl=kl,
        n=n,
    )


def codebook_perplexity(codes: Numbers, n_codes: int) -> float:
    r"""Effective number of codes in use.

    .. math:: \exp(-\sum_k p_k \log p_k)

    with p_k the share of code k among all codes given. In [1, `n_codes`], higher is better: `n_codes` where all are
    used alike, 1 where one is used alone. Biased downwards for few codes (the entropy by about (n_codes - 1) / (2 n)
    nats): give many times `n_codes`, from rows of the whole set rather than of one batch.

    Args:
        codes: Integers from 0 below `n_codes`, any shape, at least one.
        n_codes: Size of the codebook.

    Returns:
        The perplexity.

    Raises:
        InvalidParameterError: If there is no code, one is out of range, or they are not integers.

    References:
        van den Oord et al., 2017, Neural Discrete Representation Learning, arXiv:1711.00937.

    Example:
        >>> round(codebook_perplexity(torch.tensor([[0, 1], [2, 3]]), 512), 6)
        4.0
    """
    numbers: Tensor = check_integers("codes", codes).flatten()
    if not numbers.numel() or int(numbers.min()) < 0 or int(numbers.max()) >= n_codes:
        extremes = f"from {int(numbers.min())} to {int(numbers.max())}" if numbers.numel() else "none"
        raise InvalidParameterError(f"codes must be integers from 0 to {n_codes - 1}, at least one; got {extremes}.")
    shares = torch.bincount(numbers, minlength=n_codes).double() / numbers.numel()
    return float(torch.special.entr(shares).sum().exp())
