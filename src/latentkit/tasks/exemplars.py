"""Examples that stand for the data, and examples that these do not speak for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer, check_real

__all__ = ["Exemplars", "find_exemplars"]

#: Share of the identity that keeps the determinant of the kernel of criticisms away from 0.
_JITTER = 1e-6
#: Rows from whose distances the bandwidth is taken.
_FOR_BANDWIDTH = 1000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exemplars:
    """Prototypes and criticisms.

    Attributes:
        prototypes: Rows that stand for all, the most telling first.
        criticisms: Rows that the prototypes do not speak for, the worst spoken for first.
        witness: Of each criticism: how much denser the data are there than the prototypes (above 0) or sparser.
        discrepancy: MMD^2 of the data and the first 1, 2, ... prototypes, shape (prototypes,).
        bandwidth: Of the kernel, in units of z.
    """

    prototypes: tuple[int, ...]
    criticisms: tuple[int, ...]
    witness: tuple[float, ...]
    discrepancy: tuple[float, ...]
    bandwidth: float


def find_exemplars(
    z: Tensor, *, n_prototypes: int = 8, n_criticisms: int = 8, bandwidth: float | None = None
) -> Exemplars:
    r"""Choose prototypes whose distribution is nearest to that of all rows, and criticisms where it is not.

    .. math:: \text{MMD}^2(S) = \frac{1}{n^2} \sum_{i,j} k(z_i, z_j) - \frac{2}{n |S|} \sum_{i, s} k(z_i, z_s)
              + \frac{1}{|S|^2} \sum_{s, t} k(z_s, z_t)

    with :math:`k(a, b) = \exp(-|a - b|^2 / 2 h^2)`. Prototypes are taken one by one, each the one that lowers it most.
    Criticisms are taken likewise, each the one that most raises the sum of :math:`|w(z_c)|` plus
    :math:`\log \det k(C, C)`, which keeps them apart; w is the mean of the kernel over the data minus that over the
    prototypes.

    Args:
        z: Latent vectors, shape (n, latent), n at least 2. Time and memory are quadratic in n.
        n_prototypes: At least 1.
        n_criticisms: At least 0; both together at most n.
        bandwidth: h, above 0; None is the median distance of rows.

    Returns:
        Rows of z, all different.

    Raises:
        InvalidParameterError: If there are too few rows, a number is not finite, or an option cannot be.

    References:
        Kim et al., 2016, Examples are not Enough, Learn to Criticize!, NeurIPS (MMD-critic).

    Example:
        >>> z = torch.tensor([[0.0], [0.1], [0.2], [9.0], [9.1], [9.2], [4.5]])
        >>> found = find_exemplars(z, n_prototypes=2, n_criticisms=1, bandwidth=1.0)
        >>> sorted(found.prototypes), found.criticisms
        ([1, 4], (6,))
    """
    check_integer("n_prototypes", n_prototypes, low=1)
    check_integer("n_criticisms", n_criticisms, low=0)
    if z.ndim != 2 or len(z) < max(2, n_prototypes + n_criticisms):
        raise InvalidParameterError(
            f"{n_prototypes} prototypes and {n_criticisms} criticisms need as many rows of latent vectors; got shape "
            f"{tuple(z.shape)}. Ask for fewer, or give more rows."
        )
    rows = z.detach().cpu().double()
    if not torch.isfinite(rows).all():
        raise InvalidParameterError("z must be finite.")
    if bandwidth is None:
        some = rows[:: max(1, len(rows) // _FOR_BANDWIDTH)]
        bandwidth = float(torch.pdist(some).median()) or 1.0
    check_real("bandwidth", bandwidth, low=0.0, inclusive=(False, True))
    kernel = torch.exp(-0.5 * torch.cdist(rows, rows).square() / bandwidth**2)
    overall = kernel.mean(1)
    prototypes, discrepancy = _prototypes(kernel, overall, n_prototypes)
    witness = overall - kernel[:, prototypes].mean(1)
    criticisms = _criticisms(kernel, witness.abs(), prototypes, n_criticisms)
    return Exemplars(
        prototypes=tuple(prototypes),
        criticisms=tuple(criticisms),
        witness=tuple(witness[criticisms].tolist()),
        discrepancy=tuple(discrepancy),
        bandwidth=bandwidth,
    )


def _prototypes(kernel: Tensor, overall: Tensor, n: int) -> tuple[list[int], list[float]]:
    """Rows taken one by one, each the one that lowers MMD^2 most, and MMD^2 after each."""
    chosen: list[int] = []
    discrepancy: list[float] = []
    towards, among = 0.0, 0.0  # sums of `overall` and of the kernel over what is chosen
    to_chosen = torch.zeros_like(overall)
    whole = float(overall.mean())
    for size in range(1, n + 1):
        value = 2.0 * (towards + overall) / size - (among + 2.0 * to_chosen + kernel.diagonal()) / size**2
        value[chosen] = -torch.inf
        best = int(value.argmax())
        discrepancy.append(whole - float(value[best]))
        towards += float(overall[best])
        among += float(2.0 * to_chosen[best] + kernel[best, best])
        to_chosen = to_chosen + kernel[best]
        chosen.append(best)
    return chosen, discrepancy


def _criticisms(kernel: Tensor, surprise: Tensor, prototypes: list[int], n: int) -> list[int]:
    """Rows taken one by one, each the one that most raises the surprise plus the log-determinant of their kernel."""
    chosen: list[int] = []
    # what of each row the chosen ones do not span: a row more multiplies the determinant by it (Cholesky)
    apart = kernel.diagonal() + _JITTER
    factors: list[Tensor] = []
    for _ in range(n):
        value = surprise + apart.clamp_min(_JITTER**2).log()
        value[[*prototypes, *chosen]] = -torch.inf
        best = int(value.argmax())
        column = kernel[best] - sum((factor[best] * factor for factor in factors), torch.zeros_like(surprise))
        factors.append(column / apart[best].sqrt())
        apart = apart - factors[-1].square()
        chosen.append(best)
    return chosen
