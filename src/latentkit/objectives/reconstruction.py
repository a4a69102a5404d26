"""The log-likelihood of the reconstruction, for models whose codes are points, with the penalties of the literature."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

import torch
from torch import Tensor, nn

from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.core.parameters import check_integer, check_real
from latentkit.core.protocols import Batch, LatentVariableModel, Phase, Terms
from latentkit.core.registry import Registry
from latentkit.distributions.precision import at_least_float32
from latentkit.objectives.phases import given, log_likelihood, objectives, single_phase

__all__ = ["Corruption", "Reconstruction", "corruptions"]


@dataclass(frozen=True, slots=True)
class Corruption:
    """What is done to the x that an encoder sees in training.

    Attributes:
        apply: x in model units, shape (batch, *event), and a level to the corrupted x; draws from torch's global
            generator, as reparameterised draws do.
        highest: Highest level that makes sense.
    """

    apply: Callable[[Tensor, float], Tensor]
    highest: float


corruptions: Registry[Corruption] = Registry("corruption")


def _salt_and_pepper(x: Tensor, level: float) -> Tensor:
    extreme = torch.where(torch.rand_like(x) < 0.5, x.amin(), x.amax())
    return torch.where(torch.rand_like(x) < level, extreme, x)


corruptions.register("none")(Corruption(lambda x, level: x, math.inf))
corruptions.register("gaussian")(Corruption(lambda x, level: x + level * torch.randn_like(x), math.inf))
corruptions.register("masking")(Corruption(lambda x, level: x * (torch.rand_like(x) >= level), 1.0))
corruptions.register("salt_and_pepper")(Corruption(_salt_and_pepper, 1.0))


@runtime_checkable
class _WithDecoder(Protocol):
    decoder: nn.Module


@objectives.register("reconstruction")
@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Reconstruction:
    r"""How well each example is rebuilt from its code, minus penalties.

    .. math:: L = \log p(x \mid z) - \frac{\beta}{2} |z|^2 - \lambda_1 |z|_1 - \lambda_r \sum_j KL(\rho, \bar z_j)
              - \lambda_c |\partial z / \partial \tilde x|_F^2 - \lambda_g |\partial \bar x / \partial z|_F^2
              - \lambda_w |W|^2

    with x~ what the encoder sees of x, the code z the mean of q(z given x~), x- the decoder's mean, z-_j the mean of
    z_j over the batch and W the decoder's weight matrices. It is no bound on log p(x): nothing is drawn from the
    posterior, the prior has no part in it, `kl` is zero, and so is the effect of a schedule (`kl_weight`).

    Args:
        corruption: Of what the encoder sees, never of the target: ``"none"``, ``"gaussian"`` noise, ``"masking"`` of
            features by 0, ``"salt_and_pepper"``, which is the least or the greatest number of the batch.
        corruption_level: Standard deviation of Gaussian noise in model units; else the share of features, in [0, 1].
        corruption_bounds: Least and greatest value that data can have, to which corrupted ones are clipped, as noisy
            pictures are when they are stored; None where there are none.
        latent_l2: Weight of half the squared norm of the code.
        l1: Weight of the sum of the absolute values of the code.
        rate: Mean rho over the batch that `rate_weight` asks each number of the code for, in (0, 1).
        rate_weight: Weight of the divergence of a coin of the code's mean from one of the rate. Codes must lie in
            [0, 1], as a sigmoid makes them.
        contractive: Weight of the squared Frobenius norm of the encoder's Jacobian.
        gradient_penalty: Weight of that of the Jacobian of the decoder's mean.
        decoder_l2: Weight of the squared norm of the decoder's weight matrices and kernels.
        n_probes: Random directions from which the norms of Jacobians are estimated, without bias; None for the exact
            norms, at a backward pass for each latent dimension (`contractive`) or feature (`gradient_penalty`).

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    References:
        Ghosh et al., 2020, From Variational to Deterministic Autoencoders, arXiv:1903.12436 (`latent_l2`,
        `gradient_penalty`, `decoder_l2`); Vincent et al., 2010, Stacked Denoising Autoencoders (`corruption`); Rifai et
        al., 2011, Contractive Auto-Encoders (`contractive`); Ng, 2011, Sparse autoencoder, CS294A lecture notes
        (`rate`); Hutchinson, 1990, A stochastic estimator of the trace of the influence matrix.

    Example:
        >>> Reconstruction(corruption="masking", l1=0.1).corruption_level
        0.3
    """

    corruption: str = "none"
    corruption_level: float = 0.3
    corruption_bounds: tuple[float, float] | None = None
    latent_l2: float = 0.0
    l1: float = 0.0
    rate: float = 0.05
    rate_weight: float = 0.0
    contractive: float = 0.0
    gradient_penalty: float = 0.0
    decoder_l2: float = 0.0
    n_probes: int | None = 1

    def __post_init__(self) -> None:
        check_real("corruption_level", self.corruption_level, low=0.0, high=corruptions[self.corruption].highest)
        if self.corruption_bounds is not None and not self.corruption_bounds[0] < self.corruption_bounds[1]:
            raise InvalidParameterError(
                f"corruption_bounds must be (least, greatest) value; got {self.corruption_bounds!r}. None is for none."
            )
        check_real("rate", self.rate, low=0.0, high=1.0, inclusive=(False, False))
        for name in ("latent_l2", "l1", "rate_weight", "contractive", "gradient_penalty", "decoder_l2"):
            check_real(name, getattr(self, name), low=0.0, hint="Use 0 to drop it.")
        if self.n_probes is not None:
            check_integer("n_probes", self.n_probes, low=1, hint="None is for the exact norm.")

    def __call__(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """Penalised log-likelihood for each example of `batch`, in nats."""
        weights = _weight_decay(model) if self.decoder_l2 else None
        model = given(model, batch)
        seen = corruptions[self.corruption].apply(batch.x, self.corruption_level)
        if self.corruption_bounds is not None and self.corruption != "none":
            seen = seen.clamp(*self.corruption_bounds)
        z = model.encode(seen).mean
        fit = log_likelihood(model, z, batch)
        objective = fit
        if self.latent_l2:
            objective = objective - 0.5 * self.latent_l2 * z.square().sum(-1)
        if self.l1:
            objective = objective - self.l1 * z.abs().sum(-1)
        if self.rate_weight:
            objective = objective - self.rate_weight * _rate_divergence(z, self.rate)
        if self.contractive:
            steepness = _squared_jacobian(lambda x: model.encode(x).mean, seen, self.n_probes)
            objective = objective - self.contractive * steepness
        if self.gradient_penalty:
            steepness = _squared_jacobian(lambda code: model.decode(code).mean, z, self.n_probes)
            objective = objective - self.gradient_penalty * steepness
        if weights is not None:
            objective = objective - self.decoder_l2 * weights
        return Terms(objective=objective, log_likelihood=fit, kl=torch.zeros_like(fit))

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """One phase: everything climbs the objective."""
        return single_phase(self, model)


def _rate_divergence(z: Tensor, rate: float) -> Tensor:
    """Sum over the code of KL(Bernoulli(rate), Bernoulli(mean over the batch)), a scalar."""
    mean = z.mean(0).clamp(1e-6, 1.0 - 1e-6)
    constant = rate * math.log(rate) + (1.0 - rate) * math.log1p(-rate)
    return (constant - rate * mean.log() - (1.0 - rate) * torch.log1p(-mean)).sum()


def _weight_decay(model: LatentVariableModel) -> Tensor:
    """Squared norm of the decoder's weights; biases and scales are vectors, and free."""
    if not isinstance(model, _WithDecoder):
        raise UnsupportedOperationError(
            f"decoder_l2 needs the model's network `decoder`, and a {type(model).__name__} has none of this name. Use "
            "decoder_l2=0, and weight_decay for all networks."
        )
    matrices = [parameter for parameter in model.decoder.parameters() if parameter.ndim > 1]
    return torch.stack([matrix.square().sum() for matrix in matrices]).sum()


def _squared_jacobian(function: Callable[[Tensor], Tensor], at: Tensor, n_probes: int | None) -> Tensor:
    """Squared Frobenius norm of the Jacobian of a function of rows, shape (batch,).

    Compilers cannot differentiate twice, and leave it to Python. The decorator that tells them so imports them, in 1.4
    seconds, and is therefore applied where one is at work and nowhere else.
    """
    if torch.compiler.is_compiling():
        outside: Callable[..., Tensor] = torch.compiler.disable(_differentiated)  # type: ignore[no-untyped-call]
        return outside(function, at, n_probes)
    return _differentiated(function, at, n_probes)


def _differentiated(function: Callable[[Tensor], Tensor], at: Tensor, n_probes: int | None) -> Tensor:
    r"""Squared Frobenius norm of the Jacobian J of a function of rows, shape (batch,).

    .. math:: |J|_F^2 = \sum_i |e_i^T J|^2 = E[ |v^T J|^2 ],    v_i = -1 or 1 with probability 1/2

    A reverse pass gives each row of J, or each projection; gradients of these passes reach the function's parameters.
    It holds for evaluation without gradients too.
    """
    trains = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.enable_grad():
        if not (trains and at.requires_grad):
            at = (at.clone() if at.is_inference() else at.detach()).requires_grad_()
        values = function(at).flatten(1)
        if n_probes is None:
            directions = torch.eye(values.shape[1], dtype=values.dtype, device=values.device).unsqueeze(1)
            directions = directions.expand(-1, len(values), -1)
        else:
            directions = 1.0 - 2.0 * (torch.rand(n_probes, *values.shape, device=values.device) < 0.5).to(values.dtype)
        norms = []
        for direction in directions:
            (row,) = torch.autograd.grad(values, at, direction, create_graph=trains, retain_graph=True)
            norms.append(at_least_float32(row).flatten(1).square().sum(1))
    total = torch.stack(norms).sum(0)
    return total if n_probes is None else total / n_probes
