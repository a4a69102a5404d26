"""Distributions on the unit hypersphere: von Mises-Fisher and uniform.

Densities are with respect to the surface measure of the sphere.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Final, final

import torch
from torch import Tensor

from latentkit.core.parameters import check_integer
from latentkit.distributions.kl import register_kl
from latentkit.distributions.noise import drawn_shape, standard_normal
from latentkit.distributions.posterior import PosteriorFamily, posteriors
from latentkit.distributions.precision import at_least_float32, wide
from latentkit.distributions.prior import Encode, Prior, priors

__all__ = [
    "SphericalPosterior",
    "SphericalPrior",
    "UniformSphere",
    "VonMisesFisher",
    "bessel_ratio",
    "log_bessel",
    "log_sphere_area",
]

LOG_CONCENTRATION_BOUND: Final = 7.0
"""Networks cannot make the concentration leave (e^-7, e^7) times the number of latent dimensions."""

_N_STEPS: Final = 24  # orders above the wanted one where the expansion starts; its error there is about 1e-10
_N_CELLS: Final = 256  # of the table of an angle's distribution
_N_WIDTHS: Final = 9.0  # the table's reach to either side of the mode, in standard deviations at the mode
_N_NEWTON: Final = 4
_SMALLEST_NORM: Final = 1e-12


def log_sphere_area(dim: int) -> float:
    """Return the log of the surface area of the unit sphere in R^dim.

    .. math:: log 2 + d/2 log pi - log Gamma(d/2)

    Example:
        >>> round(math.exp(log_sphere_area(3)) / math.pi, 6)
        4.0
    """
    return math.log(2.0) + 0.5 * dim * math.log(math.pi) - math.lgamma(0.5 * dim)


def _debye(order: float, x: Tensor) -> Tensor:
    """Log of exp(-x) I_order(x) by the uniform expansion for large orders (DLMF 10.41.3), float64."""
    root = torch.hypot(x, torch.full_like(x, order))
    t = order / root
    squared = t.square()
    terms = (
        (3.0 - 5.0 * squared) / 24.0,
        (81.0 - 462.0 * squared + 385.0 * squared**2) / 1152.0,
        (30375.0 - 369603.0 * squared + 765765.0 * squared**2 - 425425.0 * squared**3) / 414720.0,
        (4465125.0 - 94121676.0 * squared + 349922430.0 * squared**2 - 446185740.0 * squared**3
         + 185910725.0 * squared**4) / 39813120.0,
    )  # fmt: skip
    small = t / order
    series = torch.stack([term * small**k for k, term in enumerate(terms, start=1)]).sum(0)
    # root - x without the difference of large numbers
    exponent = order**2 / (root + x) + order * (torch.log(x) - torch.log(order + root))
    return exponent - 0.5 * torch.log(2.0 * math.pi * root) + torch.log1p(series)


def _bessel(order: float, x: Tensor) -> tuple[Tensor, Tensor]:
    """Log of exp(-x) I_order(x), and I_{order+1}(x) / I_order(x), both float64.

    Amos' recurrence r_n = 1 / (2 (n + 1) / x + r_{n+1}) goes down, its stable direction, from an order where the
    uniform expansion is accurate: for every x alike, where power series and continued fractions need x terms.
    """
    top = order + _N_STEPS
    log_top = _debye(top, x)
    ratio = torch.exp(_debye(top + 1.0, x) - log_top)
    product = torch.ones_like(x)
    for step in range(_N_STEPS - 1, -1, -1):
        ratio = 1.0 / (2.0 * (order + step + 1.0) / x + ratio)
        product = product * ratio
    return log_top - torch.log(product), ratio


class _Bessel(torch.autograd.Function):
    """:func:`_bessel` with its derivatives in closed form."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: float) -> tuple[Tensor, Tensor]:
        log_value, ratio = _bessel(order, x)
        ctx.save_for_backward(x, ratio)
        ctx.order = order
        return log_value, ratio

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        x, ratio = ctx.saved_tensors
        to_log, to_ratio = gradients
        d_log = ratio + ctx.order / x - 1.0
        d_ratio = 1.0 - ratio.square() - (2.0 * ctx.order + 1.0) / x * ratio
        return to_log * d_log + to_ratio * d_ratio, None


def log_bessel(order: float, x: Tensor) -> Tensor:
    """Log of the exponentially scaled modified Bessel function of the first kind.

    .. math:: log( e^{-x} I_nu(x) )

    Args:
        order: nu, at least 0.
        x: Above 0, any shape.

    Returns:
        Shape of `x`, float64; differentiable once.

    References:
        Amos, 1974, Computation of Modified Bessel Functions and their Ratios; DLMF 10.41.

    Example:
        >>> x = torch.tensor([0.1, 10.0, 1000.0], dtype=torch.float64)
        >>> torch.allclose(log_bessel(0.0, x), torch.special.i0e(x).log())
        True
    """
    value: Tensor = _Bessel.apply(wide(x), order)[0]  # type: ignore[no-untyped-call]
    return value


def bessel_ratio(order: float, x: Tensor) -> Tensor:
    """Ratio of successive modified Bessel functions of the first kind.

    .. math:: I_{nu+1}(x) / I_nu(x)

    Args:
        order: nu, at least 0.
        x: Above 0, any shape.

    Returns:
        In (0, 1), shape of `x`, float64; differentiable once.

    Example:
        >>> x = torch.tensor([0.1, 10.0, 1000.0], dtype=torch.float64)
        >>> torch.allclose(bessel_ratio(0.0, x), torch.special.i1e(x) / torch.special.i0e(x))
        True
    """
    value: Tensor = _Bessel.apply(wide(x), order)[1]  # type: ignore[no-untyped-call]
    return value


def _sums_aside(cells: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of what stands before each cell, and of what stands after it, each added up from its own end."""
    return cells.cumsum(-1) - cells, cells.flip(-1).cumsum(-1).flip(-1) - cells


class _Angle(torch.autograd.Function):
    r"""Inverse distribution function of the angle between a von Mises-Fisher draw and its direction.

    .. math:: p(t) \propto \sin(t)^{d-2} e^{k \cos t}, \qquad 0 < t < \pi

    Args of `apply`: concentrations k, shape (batch,), levels in (0, 1), shape (draws, batch), both float64, and d.
    Returns the angles, shape (draws, batch). Gradients are implicit: at a fixed level,
    dt/dk = -(dF/dk) / p and dt/du = 1 / p.

    The density is tabulated at the middles of 256 cells around the mode; within a cell it is a parabola.
    """

    @staticmethod
    def forward(ctx: Any, concentration: Tensor, level: Tensor, dim: int) -> Tensor:
        k, extra = concentration.unsqueeze(-1), float(dim - 2)
        # cos of the mode: the root of extra cos = k sin^2; and the density's width there
        mode_cos = 2.0 * k / (extra + torch.sqrt(extra**2 + 4.0 * k.square()))
        mode_sin = torch.sqrt((1.0 - mode_cos) * (1.0 + mode_cos)).clamp_min(1e-150)
        curvature = (extra / mode_sin.square() if extra else 0.0) + k * mode_cos
        reach = _N_WIDTHS / torch.sqrt(curvature)
        mode = torch.atan2(mode_sin, mode_cos)
        low, high = (mode - reach).clamp_min(0.0), (mode + reach).clamp_max(math.pi)
        step = (high - low) / _N_CELLS
        middle = low + step * (torch.arange(_N_CELLS, dtype=k.dtype, device=k.device) + 0.5)
        sin, cos = torch.sin(middle), torch.cos(middle)
        # cos t - cos mode without cancellation
        shift = -2.0 * torch.sin(0.5 * (middle + mode)) * torch.sin(0.5 * (middle - mode))
        density = torch.exp(k * shift + extra * torch.log(sin / mode_sin if extra else sin))
        slope = extra * cos / sin - k * sin
        bend = slope.square() - extra / sin.square() - k * cos
        mass = density * step * (1.0 + bend * step.square() / 24.0)
        total = mass.sum(-1, keepdim=True)
        density, mass = density / total, mass / total
        before, after = _sums_aside(mass)
        wanted = level.T.contiguous()  # (batch, draws): searchsorted runs along the last dimension
        is_upper = wanted > 0.5  # from the nearer end: a difference of large sums would drown the tail
        cell = torch.searchsorted(before + mass, wanted).clamp_max(_N_CELLS - 1)

        def here(table: Tensor) -> Tensor:
            return table.gather(-1, cell)

        p, a, b, half = here(density), here(slope), here(bend), 0.5 * step
        rest = torch.where(is_upper, here(mass) - (1.0 - wanted - here(after)), wanted - here(before))
        start = half * p * (1.0 - a * half / 2.0 + b * half.square() / 6.0)
        offset = torch.zeros_like(wanted)
        for _ in range(_N_NEWTON):
            filled = p * offset * (1.0 + a * offset / 2.0 + b * offset.square() / 6.0) + start
            local = p * (1.0 + a * offset + b * offset.square() / 2.0)
            offset = (offset - (filled - rest) / local.clamp_min(1e-300)).clamp(-half, half)
        angle = here(middle) + offset
        local = (p * (1.0 + a * offset + b * offset.square() / 2.0)).clamp_min(1e-300)
        if any(ctx.needs_input_grad):
            # dF/dk = integral of (cos - E cos) p up to the angle, by the same parabolas
            centred = cos - (mass * (cos - step.square() / 12.0 * slope * sin)).sum(-1, keepdim=True)
            first = density * (slope * centred - sin)
            second = density * (bend * centred - 2.0 * slope * sin - cos)
            cells = step * (density * centred + second * step.square() / 24.0)
            c0, c1, c2 = here(density * centred), here(first), here(second)
            before, after = _sums_aside(cells)
            end = torch.where(is_upper, half, -half)
            within = c0 * (offset - end) + c1 * (offset.square() - end.square()) / 2.0 + c2 * (offset**3 - end**3) / 6.0
            value = torch.where(is_upper, -here(after), here(before)) + within
            ctx.save_for_backward((-value / local).T, (1.0 / local).T)
        return angle.T

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        to_concentration, to_level = ctx.saved_tensors
        (gradient,) = gradients
        return (gradient * to_concentration).sum(0), gradient * to_level, None


@final
class UniformSphere:
    r"""Uniform distribution over the unit hypersphere in R^d, batch shape ().

    .. math:: p(z) = \Gamma(d/2) / (2 \pi^{d/2}), \qquad |z| = 1

    Args:
        latent_dim: Number of dimensions d, at least 2.
        like: Tensor whose device and dtype draws take; float32 on the CPU by default.

    Example:
        >>> p = UniformSphere(3)
        >>> z = p.sample(5)
        >>> torch.allclose(z.norm(dim=-1), torch.ones(5)), p.log_prob(z).shape
        (True, torch.Size([5]))
    """

    __slots__ = ("_like", "latent_dim")

    def __init__(self, latent_dim: int, *, like: Tensor | None = None) -> None:
        self.latent_dim = latent_dim
        self._like = torch.zeros(()) if like is None else at_least_float32(like)

    @property
    def mean(self) -> Tensor:
        """Zeros, shape (latent,)."""
        return torch.zeros_like(self._like).expand(self.latent_dim)

    @property
    def stddev(self) -> Tensor:
        """Square root of 1 / latent, shape (latent,)."""
        return torch.full_like(self._like, self.latent_dim**-0.5).expand(self.latent_dim)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats of `value`, unit vectors, shape (*batch, latent) to (*batch,)."""
        value = at_least_float32(value)
        return value.new_full(value.shape[:-1], -log_sphere_area(self.latent_dim))

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws, shape (latent,) or (n, latent)."""
        noise = standard_normal(drawn_shape(n, (self.latent_dim,)), like=self._like, generator=generator)
        return noise / _length(noise)


@priors.register("spherical")
@final
class SphericalPrior(Prior):
    """Gives the uniform distribution over the unit hypersphere; it goes with the ``"spherical"`` posterior.

    Args:
        latent_dim: Number of latent dimensions, at least 2: the sphere has one less.

    Raises:
        InvalidParameterError: If `latent_dim` is not an integer of at least 2.

    References:
        Davidson et al., 2018, Hyperspherical Variational Auto-Encoders, arXiv:1804.00891.
    """

    support: ClassVar[str] = "sphere"
    reference: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = _check_dim(latent_dim)
        self.register_buffer("reference", torch.zeros(()), persistent=False)

    def forward(self, encode: Encode | None = None) -> UniformSphere:
        """The uniform distribution on this module's device."""
        return UniformSphere(self.latent_dim, like=self.reference)


@final
class VonMisesFisher:
    r"""Von Mises-Fisher distribution: a Gaussian of equal variances, conditioned on the unit sphere.

    .. math:: q(z) = C_d(k) e^{k m^T z}, \quad C_d(k) = \frac{k^{d/2-1}}{(2\pi)^{d/2} I_{d/2-1}(k)}, \qquad |z| = 1

    Draws are reparameterised without rejection. Standard normal numbers e, one for each dimension, have a part along m
    and a part across it: the across part, scaled to length 1, is the direction in which z leaves m, and the normal
    distribution function of the part along m is the level at which the distribution of the angle between z and m is
    inverted numerically. Gradients are those of this map, so they need no correction for accepted proposals, and equal
    noise gives equal draws.

    Args:
        direction: Unit vectors m, shape (*batch, latent).
        concentration: k above 0, shape (*batch,).

    Attributes:
        direction: As given, at least float32.
        concentration: As given, at least float32.

    References:
        Davidson et al., 2018, Hyperspherical Variational Auto-Encoders, arXiv:1804.00891 (which draws by rejection,
        after Ulrich and Wood); Figurnov et al., 2018, Implicit Reparameterization Gradients, arXiv:1805.08498.

    Example:
        >>> q = VonMisesFisher(torch.tensor([1.0, 0.0, 0.0]), torch.tensor(1000.0))
        >>> q.rsample(5).shape, bool((q.rsample(5)[:, 0] > 0.98).all())
        (torch.Size([5, 3]), True)
    """

    __slots__ = ("_log_bessel", "_ratio", "concentration", "direction")

    _log_bessel: Tensor
    _ratio: Tensor

    def __init__(self, direction: Tensor, concentration: Tensor) -> None:
        self.direction = at_least_float32(direction)
        self.concentration = at_least_float32(concentration)
        order = 0.5 * direction.shape[-1] - 1.0
        self._log_bessel, self._ratio = _Bessel.apply(wide(self.concentration), order)  # type: ignore[no-untyped-call]

    @classmethod
    def from_parameters(cls, parameters: Tensor) -> VonMisesFisher:
        """Read a direction of any length, then a raw log-concentration, from an output of shape (*batch, latent + 1).

        A raw value r becomes k = d exp(7 tanh(r / 7)) with d the number of dimensions: the spread of a draw about its
        direction then does not depend on d. A direction of length 0 becomes the first axis.
        """
        parameters = at_least_float32(parameters)
        raw, log_k = parameters[..., :-1], parameters[..., -1]
        axis = torch.zeros_like(raw)
        axis[..., 0] = 1.0
        raw = torch.where(_length(raw.detach()) > _SMALLEST_NORM, raw, raw + axis)
        bounded = torch.tanh(log_k / LOG_CONCENTRATION_BOUND) * LOG_CONCENTRATION_BOUND
        return cls(raw / _length(raw), raw.shape[-1] * torch.exp(bounded))

    @property
    def mean(self) -> Tensor:
        """Expected value A(k) m, shape (*batch, latent), of length A(k) = I_{d/2}(k) / I_{d/2-1}(k) below 1."""
        return self._ratio.to(self.direction.dtype).unsqueeze(-1) * self.direction

    @property
    def stddev(self) -> Tensor:
        """Standard deviation of each dimension, shape (*batch, latent)."""
        ratio, k, m = self._ratio.unsqueeze(-1), wide(self.concentration).unsqueeze(-1), wide(self.direction)
        across = ratio / k
        along = 1.0 - ratio.square() - (m.shape[-1] - 1) * across
        variance = across + (along - across) * m.square()
        return variance.clamp_min(1e-30).sqrt().to(self.direction.dtype)

    @property
    def log_var(self) -> Tensor:
        """Logarithm of the variance of each dimension, shape (*batch, latent)."""
        return 2.0 * self.stddev.log()

    def rsample(self, n: int | None = None, *, noise: Tensor | None = None) -> Tensor:
        """Reparameterised draws, unit vectors of shape (*batch, latent) or (n, *batch, latent).

        Args:
            n: Number of draws for each example; None for one draw without a leading dimension.
            noise: Standard normal numbers of the shape of the result; drawn from torch's global generator by default.
        """
        m = self.direction
        if noise is None:
            noise = standard_normal(drawn_shape(n, m.shape), like=m)
        along = (noise * m).sum(-1)
        across = noise - along.unsqueeze(-1) * m
        across = across / _length(across)
        # the further along m the noise, the smaller the angle
        level = torch.special.ndtr(-wide(along)).reshape(-1, self.concentration.numel())
        angle = _Angle.apply(wide(self.concentration).reshape(-1), level, m.shape[-1])  # type: ignore[no-untyped-call]
        angle = angle.reshape(*along.shape, 1)
        return torch.cos(angle).to(m.dtype) * m + torch.sin(angle).to(m.dtype) * across

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws without gradient, shape (*batch, latent) or (n, *batch, latent)."""
        with torch.no_grad():
            like = self.direction
            return self.rsample(n, noise=standard_normal(drawn_shape(n, like.shape), like=like, generator=generator))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of unit vectors in nats, shape (*batch,); `value` may have leading dimensions of draws."""
        # k (m^T z - 1) as a squared distance: the product would lose digits where both are nearly equal.
        distance = (at_least_float32(value) - self.direction).square().sum(-1)
        return self._log_peak.to(self.direction.dtype) - 0.5 * self.concentration * distance

    def entropy(self) -> Tensor:
        """Differential entropy in nats with respect to the surface measure, shape (*batch,)."""
        return (wide(self.concentration) * (1.0 - self._ratio) - self._log_peak).to(self.direction.dtype)

    def detach(self) -> VonMisesFisher:
        """The same distribution, cut from the graph."""
        return VonMisesFisher(self.direction.detach(), self.concentration.detach())

    @property
    def _log_peak(self) -> Tensor:
        """Log-density at the direction itself, nats, float64, shape (*batch,)."""
        half = 0.5 * self.direction.shape[-1]
        power = (half - 1.0) * torch.log(wide(self.concentration))
        return power - half * math.log(2.0 * math.pi) - self._log_bessel


@posteriors.register("spherical")
@final
class SphericalPosterior(PosteriorFamily):
    """Von Mises-Fisher distributions: the encoder gives a direction and a raw log-concentration.

    It goes with the ``"spherical"`` prior, for which the divergence has a closed form.

    Args:
        latent_dim: Number of latent dimensions, at least 2: the sphere has one less.

    Raises:
        InvalidParameterError: If `latent_dim` is not an integer of at least 2.

    References:
        Davidson et al., 2018, Hyperspherical Variational Auto-Encoders, arXiv:1804.00891.

    Example:
        >>> family = SphericalPosterior(3)
        >>> family.n_parameters, family(torch.zeros(16, 4)).rsample().shape
        (4, torch.Size([16, 3]))
    """

    support: ClassVar[str] = "sphere"

    def __init__(self, latent_dim: int) -> None:
        super().__init__(_check_dim(latent_dim), n_parameters=latent_dim + 1)

    def forward(self, parameters: Tensor) -> VonMisesFisher:
        """See :meth:`VonMisesFisher.from_parameters`."""
        return VonMisesFisher.from_parameters(parameters)


@register_kl(VonMisesFisher, UniformSphere)
def _von_mises_fisher_uniform(q: VonMisesFisher, p: UniformSphere) -> Tensor:
    # Davidson et al., 2018, appendix B: minus the entropy, plus the log of the area.
    return (log_sphere_area(p.latent_dim) - q.entropy()).clamp_min(0.0)


def _length(vectors: Tensor) -> Tensor:
    """Lengths of vectors, shape (*batch, 1), never zero."""
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return lengths.clamp_min(_SMALLEST_NORM)


def _check_dim(latent_dim: object) -> int:
    return check_integer("latent_dim", latent_dim, low=2, hint="A sphere in one dimension is two points.")
