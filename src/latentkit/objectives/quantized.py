"""What models with codes for latents maximise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast, final

from torch import Tensor

from latentkit.core.parameters import check_real
from latentkit.core.protocols import Batch, LatentVariableModel, Phase, Terms
from latentkit.distributions import ObservationDistribution
from latentkit.nn import Quantized
from latentkit.objectives.phases import single_phase

__all__ = ["QuantizedModel", "VectorQuantized"]


class QuantizedModel(Protocol):
    """A model whose latents are codes."""

    def quantize(self, x: Tensor) -> Quantized:
        """The codes of x, shape (batch, *event), with vectors that carry gradients to the encoder."""
        ...

    def decode_vectors(self, vectors: Tensor) -> ObservationDistribution:
        """p(x given codes) of code vectors, shape (batch, positions, code_dim)."""
        ...


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class VectorQuantized:
    r"""Bound of a model with codes for latents, and what keeps its encoder close to them.

    .. math:: L = \log p(x \mid c) - w\, KL(q(c \mid x), \mathrm{uniform}) - \beta \sum_i \|h_i - e_{c_i}\|^2

    with w the weight of the schedule (`kl_weight`), h_i what the encoder gives at place i and e the codebook. For codes
    that are certain the divergence is the constant (number of places) log(number of codes): the first two terms are
    then a lower bound on log p(x) under uniform codes. The last term, in nats for each example, is summed over places
    and dimensions; it has no gradient for the codebook, which follows by moving averages.

    Args:
        commitment: beta, at least 0.

    Raises:
        InvalidParameterError: If `commitment` is below 0.

    References:
        van den Oord et al., 2017, Neural Discrete Representation Learning, section 3.2, arXiv:1711.00937.

    Example:
        >>> VectorQuantized(commitment=0.5)
        VectorQuantized(commitment=0.5)
    """

    commitment: float = 0.25

    def __post_init__(self) -> None:
        check_real("commitment", self.commitment, low=0.0)

    def __call__(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """Terms for each example of `batch`, in nats; `kl` is the divergence from uniform codes."""
        coder = cast(QuantizedModel, model)
        quantized = coder.quantize(batch.x)
        fit = coder.decode_vectors(quantized.vectors).log_prob(batch.x, mask=batch.mask)
        bound = fit - kl_weight * quantized.kl
        return Terms(objective=bound - self.commitment * quantized.commitment, log_likelihood=fit, kl=quantized.kl)

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """One phase: everything climbs the bound."""
        return single_phase(self, model)
