"""The ELBO with a discrepancy of all codes from the prior: InfoVAE, and the Wasserstein autoencoder within it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_real
from latentkit.core.protocols import Batch, LatentVariableModel, Phase, Terms
from latentkit.core.registry import Registry
from latentkit.objectives.draws import draw_once
from latentkit.objectives.phases import objectives, single_phase

__all__ = ["Info", "kernels", "maximum_mean_discrepancy"]

#: Squared distances and a squared width, both in the same unit, to values in (0, 1].
Kernel = Callable[[Tensor, float], Tensor]
kernels: Registry[Kernel] = Registry("kernel")
kernels.register("rbf")(lambda squared, width: torch.exp(-squared / width))
kernels.register("imq")(lambda squared, width: width / (width + squared))

#: Multiples of the mean squared distance of two standard normal vectors.
BANDWIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def maximum_mean_discrepancy(
    a: Tensor, b: Tensor, *, kernel: str = "imq", bandwidths: Sequence[float] = BANDWIDTHS
) -> Tensor:
    r"""Squared maximum mean discrepancy of two samples, without bias.

    .. math:: \frac{1}{n(n-1)} \sum_{i \ne j} k(a_i, a_j) + \frac{1}{m(m-1)} \sum_{i \ne j} k(b_i, b_j)
              - \frac{2}{n m} \sum_{i,j} k(a_i, b_j)

    The kernel is a sum over the bandwidths s, with C = 2 d s and d the dimension: exp(-r^2 / C) (``"rbf"``) or
    C / (C + r^2) (``"imq"``), r the distance.

    Args:
        a: Sample, shape (n, d).
        b: Sample, shape (m, d).
        kernel: ``"imq"``, whose tails reach far, or ``"rbf"``.
        bandwidths: Multiples s of the mean squared distance of two standard normal vectors, each above 0.

    Returns:
        Scalar with the mean 0 where both come from one distribution, so that it may be negative; 0 where a sample has
        fewer than two rows, and so no pairs.

    Raises:
        InvalidParameterError: If there is no such kernel, or a bandwidth is not above 0.

    References:
        Gretton et al., 2012, A Kernel Two-Sample Test, lemma 6; Tolstikhin et al., 2018, Wasserstein Auto-Encoders,
        section 4, arXiv:1711.01558 (the scales).

    Example:
        >>> a = torch.tensor([[0.0], [1.0]])
        >>> float(maximum_mean_discrepancy(a, a + 100.0, bandwidths=[0.5])) > 0.9
        True
    """
    function, scales = kernels[kernel], _checked(bandwidths)
    if min(len(a), len(b)) < 2:
        return (a.sum() + b.sum()) * 0.0

    def mean(first: Tensor, second: Tensor, n_pairs: int, surplus: float) -> Tensor:
        squared = torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist").square()
        values = torch.stack([function(squared, 2.0 * a.shape[1] * scale).sum() for scale in scales])
        return (values.sum() - surplus) / n_pairs

    n, m = len(a), len(b)
    # A point's value with itself is 1 for each bandwidth, and does not count.
    within = mean(a, a, n * (n - 1), n * len(scales)) + mean(b, b, m * (m - 1), m * len(scales))
    return within - 2.0 * mean(a, b, n * m, 0.0)


def _checked(bandwidths: object) -> tuple[float, ...]:
    if not isinstance(bandwidths, Sequence) or isinstance(bandwidths, str) or not bandwidths:
        raise InvalidParameterError(
            f"bandwidths must be a sequence of at least one number above 0, such as [0.5, 1, 2]; got {bandwidths!r}."
        )
    return tuple(check_real("bandwidths", scale, low=0.0, inclusive=(False, True)) for scale in bandwidths)


@objectives.register("info", cites=("zhao2019infovae", "tolstikhin2018wasserstein"))
@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Info:
    r"""ELBO with less weight on each example's divergence and more on that of all codes together.

    .. math:: L = \log p(x | z) - w ((1 - \alpha) KL(q(z | x), p(z)) + (\alpha + \lambda - 1) MMD(q(z), p(z)))

    with w the weight of the schedule (`kl_weight`) and MMD that of :func:`maximum_mean_discrepancy` between the codes
    of the minibatch and as many draws from the prior. alpha = 0 and lambda = 1 give the ELBO; alpha = 1 drops the
    divergence: the MMD-VAE, and with a narrow posterior the Wasserstein autoencoder. The discrepancy is one number
    for the batch, and every example carries it. It is of order 1 whatever the data are, so lambda must grow with the
    log-likelihood. A prior that learns does so by the divergence alone.

    Args:
        alpha: Preference for mutual information of example and code, at most 1.
        lambda_mmd: Weight lambda of the divergence of all codes; alpha + lambda must be at least 1.
        kernel: ``"imq"`` or ``"rbf"``.
        bandwidths: Multiples of the mean squared distance of two standard normal vectors.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    References:
        Zhao et al., 2019, InfoVAE: Balancing Learning and Inference in Variational Autoencoders, equation 6,
        arXiv:1706.02262; Tolstikhin et al., 2018, Wasserstein Auto-Encoders, arXiv:1711.01558.

    Example:
        >>> Info(alpha=1.0, lambda_mmd=100.0).kernel
        'imq'
    """

    alpha: float = 0.5
    lambda_mmd: float = 10.0
    kernel: str = "imq"
    bandwidths: Sequence[float] = BANDWIDTHS

    def __post_init__(self) -> None:
        check_real("alpha", self.alpha, high=1.0, hint="1 drops the KL term, 0 keeps all of it.")
        check_real(
            "lambda_mmd",
            self.lambda_mmd,
            low=1.0 - self.alpha,
            hint="The discrepancy has the weight alpha + lambda - 1.",
        )
        kernels[self.kernel]
        object.__setattr__(self, "bandwidths", _checked(self.bandwidths))

    def __call__(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """Objective for each example, nats; `kl` is the divergence without weight."""
        draw = draw_once(model, batch)
        penalty = (1.0 - self.alpha) * draw.kl
        weight = self.alpha + self.lambda_mmd - 1.0
        if weight > 1e-12:
            drawn = draw.prior.sample(len(draw.z)).to(draw.z)
            penalty = penalty + weight * maximum_mean_discrepancy(
                draw.z, drawn, kernel=self.kernel, bandwidths=self.bandwidths
            )
        return draw.terms(kl_weight * penalty)

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """One phase: everything climbs the objective."""
        return single_phase(self, model)
