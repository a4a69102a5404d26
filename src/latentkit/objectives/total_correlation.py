"""The divergence of the posteriors taken apart, and the objective that weighs its parts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_choice, check_integer, check_real
from latentkit.core.protocols import Batch, Distribution, LatentVariableModel, Phase, Posterior, Terms
from latentkit.distributions import DiagonalGaussian
from latentkit.objectives.draws import as_gaussian, draw_once
from latentkit.objectives.phases import objectives, single_phase

__all__ = ["BetaTc", "KlDecomposition", "kl_decomposition"]

SAMPLINGS = ("weighted", "stratified")
#: Densities that are held at once, pairs of examples times dimensions.
_PER_CALL = 1 << 24


@dataclass(frozen=True, slots=True)
class KlDecomposition:
    """Parts of the divergence of q(z given x) from p(z), one-draw estimates, nats, each of shape (batch,).

    Their means over the examples are what has a meaning; single values may be negative.

    Attributes:
        index_code_mi: Mutual information of example and code, log q(z given x) - log q(z).
        total_correlation: Dependence between the dimensions of the code, log q(z) - sum_j log q(z_j).
        dimension_wise_kl: Divergence of the dimensions from the prior, sum_j log q(z_j) - log p(z).
    """

    index_code_mi: Tensor
    total_correlation: Tensor
    dimension_wise_kl: Tensor

    @property
    def kl(self) -> Tensor:
        """Sum of the parts, log q(z given x) - log p(z)."""
        return self.index_code_mi + self.total_correlation + self.dimension_wise_kl


def kl_decomposition(
    posterior: Posterior,
    prior: Distribution,
    z: Tensor,
    *,
    n_data: int | None = None,
    sampling: str = "stratified",
) -> KlDecomposition:
    r"""Take the divergence of posteriors from the prior apart, by one draw from each.

    .. math:: E_x KL(q(z|x), p(z)) = KL(q(z, x), q(z) q(x)) + KL(q(z), \prod_j q(z_j)) + \sum_j KL(q(z_j), p(z_j))

    with q(z) the mean of the posteriors of all N examples of a data set. From a minibatch of B examples, z_i drawn from
    the posterior of x_i, log q(z_i) is estimated as

    .. math:: \log \sum_k w_{ik} q(z_i | x_k)

    with weights 1 / (N B) in ``"weighted"`` sampling, whose q(z) is far too small (its gradient is not) by a constant;
    and 1 / N for k = i, (N - 1) / (N (B - 1)) for the others in ``"stratified"`` sampling, which is unbiased for q(z),
    and exact where the batch is the data set. (Chen et al. give all that remains to one other example at random; this
    is the mean over that choice, so that the order of the batch plays no part.)

    Args:
        posterior: Gaussians of the examples, batch shape (batch,).
        prior: p(z). The last part is a sum over dimensions only where the prior has independent ones.
        z: One draw from each posterior, shape (batch, latent).
        n_data: Number N of examples of the data set that the batch was taken from; the batch is all of it by default,
            or where it is larger.
        sampling: ``"stratified"`` or ``"weighted"``.

    Returns:
        The parts for each example, nats. Time is quadratic in the batch, memory is bounded where no gradient is kept.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.
        UnsupportedOperationError: If the posterior is no Gaussian.

    References:
        Chen et al., 2018, Isolating Sources of Disentanglement in Variational Autoencoders, section 3 and appendix C,
        arXiv:1802.04942.

    Example:
        >>> from latentkit.distributions import StandardNormal
        >>> q = DiagonalGaussian(torch.tensor([[-3.0, 0.0], [3.0, 0.0]]), torch.zeros(2, 2))
        >>> parts = kl_decomposition(q, StandardNormal(2), q.mean)
        >>> [round(float(part.mean()), 2) for part in (parts.index_code_mi, parts.dimension_wise_kl, parts.kl)]
        [0.69, 3.81, 4.5]
    """
    check_choice("sampling", sampling, SAMPLINGS)
    if n_data is not None:
        check_integer("n_data", n_data, low=1)
    gaussian = as_gaussian(posterior, "the decomposition of the KL")
    n, latent_dim = z.shape
    if gaussian.mean.shape != z.shape:
        raise InvalidParameterError(
            f"z must hold one draw from each posterior, shape {tuple(gaussian.mean.shape)}; got {tuple(z.shape)}."
        )
    own, other = _log_weights(n, n if n_data is None else max(n, n_data), sampling)
    # One formula of the normal density: every dimension of every example is a distribution of its own.
    marginals = DiagonalGaussian(gaussian.mean.unsqueeze(-1), gaussian.log_var.unsqueeze(-1))
    examples = torch.arange(n, device=z.device)
    joint, product = [], []
    n_rows = max(1, _PER_CALL // (n * latent_dim))
    for rows, numbers in zip(torch.split(z, n_rows), torch.split(examples, n_rows), strict=True):
        log_weights = torch.where(numbers.unsqueeze(1) == examples, own, other).to(z)
        joint.append(torch.logsumexp(log_weights + gaussian.log_prob(rows.unsqueeze(1)), dim=1))
        elements = marginals.log_prob(rows[:, None, :, None])
        product.append(torch.logsumexp(log_weights.unsqueeze(-1) + elements, dim=1).sum(-1))
    log_joint, log_product = torch.cat(joint), torch.cat(product)
    return KlDecomposition(
        index_code_mi=gaussian.log_prob(z) - log_joint,
        total_correlation=log_joint - log_product,
        dimension_wise_kl=log_product - prior.log_prob(z),
    )


def _log_weights(n: int, n_data: int, sampling: str) -> tuple[float, float]:
    """Logarithms of the weights of an example's own posterior and of each other one in the batch."""
    if sampling == "weighted":
        return -math.log(n_data * n), -math.log(n_data * n)
    if n == 1:
        return -math.log(n_data), -math.inf
    return -math.log(n_data), math.log(n_data - 1) - math.log(n_data * (n - 1))


@objectives.register("beta_tc", cites=("chen2018isolating",))
@final
@dataclass(frozen=True, kw_only=True, slots=True)
class BetaTc:
    """ELBO whose divergence is weighed part by part: a weight on the dependence between dimensions alone.

    .. math:: L = log p(x | z) - w (alpha MI + beta TC + gamma DWKL)

    with the parts of :func:`kl_decomposition` (index-code mutual information, total correlation, dimension-wise KL),
    estimated from the minibatch, and w the weight of the schedule (`kl_weight`). Weights of 1 give the ELBO with a
    one-draw divergence.

    Args:
        alpha: Weight of the mutual information of example and code, at least 0.
        beta: Weight of the total correlation, at least 0; above 1 for dimensions that do not depend on each other.
        gamma: Weight of the dimension-wise divergence from the prior, at least 0.
        n_data: Number of training examples; None counts the minibatch as all of them.
        sampling: ``"stratified"`` or ``"weighted"``, see :func:`kl_decomposition`.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    References:
        Chen et al., 2018, Isolating Sources of Disentanglement in Variational Autoencoders, arXiv:1802.04942.

    Example:
        >>> BetaTc(n_data=1000).beta
        6.0
    """

    alpha: float = 1.0
    beta: float = 6.0
    gamma: float = 1.0
    n_data: int | None = None
    sampling: str = "stratified"

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "gamma"):
            check_real(name, getattr(self, name), low=0.0, hint="1 for all three is the ELBO.")
        if self.n_data is not None:
            check_integer("n_data", self.n_data, low=1, hint="It is the number of training examples.")
        check_choice("sampling", self.sampling, SAMPLINGS)

    def __call__(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """Objective for each example, nats; `kl` is the divergence itself."""
        draw = draw_once(model, batch)
        parts = kl_decomposition(draw.posterior, draw.prior, draw.z, n_data=self.n_data, sampling=self.sampling)
        penalty = (
            self.alpha * parts.index_code_mi
            + self.beta * parts.total_correlation
            + self.gamma * parts.dimension_wise_kl
        )
        return draw.terms(kl_weight * penalty)

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """One phase: everything climbs the objective."""
        return single_phase(self, model)
