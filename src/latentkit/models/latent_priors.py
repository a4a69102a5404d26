"""Priors that networks learn from latent vectors: a flow, flow matching, and a second autoencoder."""

from __future__ import annotations

import math
from functools import partial
from typing import Final, Protocol, cast, final, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.core.errors import UnsupportedOperationError
from latentkit.core.parameters import check_integer
from latentkit.core.protocols import Distribution
from latentkit.core.seeds import generator as seeded
from latentkit.distributions import Flow, Prior, StandardNormal
from latentkit.distributions.bijection import Bijection, Univariate, coupling_layers
from latentkit.distributions.moments import MomentsOfDraws, moment_noise
from latentkit.distributions.noise import drawn_shape, standard_normal
from latentkit.distributions.precision import at_least_float32, without_autocast
from latentkit.distributions.prior import Encode, draw_components
from latentkit.models.vae import VaeSpecification, VariationalAutoencoder
from latentkit.nn import MLP

__all__ = [
    "Decoded",
    "FlowMatched",
    "LatentFlow",
    "LatentNetwork",
    "LearntPrior",
    "Rescaled",
    "SecondStage",
    "VelocityField",
]

_N_MOMENTS: Final = 1024
#: Units of the layer that sees time and condition.
_CONTEXT: Final = 64
#: Points of the latent space whose density is integrated together.
_ROWS: Final = 4096


@runtime_checkable
class LatentNetwork(Protocol):
    """A module that gives a distribution of standardised latent vectors."""

    def distribution(self, condition: Tensor | None) -> Distribution:
        """The distribution given a condition, shape (1, columns) or one for each of n draws; None for no condition."""
        ...


@final
class LearntPrior(Prior):
    r"""Gives what a network has learnt of latent vectors, in their own location and scale.

    .. math:: z = m + s \odot u, \qquad p(u) = \sum_c w_c\, p_\theta(u \mid c)

    Args:
        network: A module that is a :class:`LatentNetwork`. Its condition is the class c, one column for each.
        latent_dim: Number of latent dimensions, at least 1.
        n_classes: Number of classes; 0 for none, and then there is no sum.

    Attributes:
        centre: The location m, shape (latent,).
        scale: The scale s, shape (latent,).
        log_weights: Logarithms of the shares w of the classes, shape (n_classes,).

    Example:
        >>> prior = LearntPrior(LatentFlow(2, condition_dim=3, n_layers=2, width=8), 2, n_classes=3)
        >>> prior().sample(5).shape, prior.of_class(1)().log_prob(torch.zeros(4, 2)).shape
        (torch.Size([5, 2]), torch.Size([4]))
    """

    centre: Tensor
    scale: Tensor
    log_weights: Tensor

    def __init__(self, network: nn.Module, latent_dim: int, *, n_classes: int = 0) -> None:
        super().__init__()
        self.latent_dim = check_integer("latent_dim", latent_dim, low=1)
        self.n_classes = check_integer("n_classes", n_classes)
        self.network = network
        self.register_buffer("centre", torch.zeros(latent_dim))
        self.register_buffer("scale", torch.ones(latent_dim))
        self.register_buffer("log_weights", torch.full((n_classes,), -math.log(max(1, n_classes))))

    def forward(self, encode: Encode | None = None) -> Rescaled:
        """The distribution of all classes together."""
        network = cast(LatentNetwork, self.network)
        base = OverClasses(network, self.log_weights) if self.n_classes else network.distribution(None)
        return Rescaled(base, self.centre, self.scale)

    def of_class(self, index: int) -> Prior:
        """The prior of one class, by its number from 0; it shares the network."""
        return _OfClass(self, index)


@final
class _OfClass(Prior):
    """One class of a :class:`LearntPrior`."""

    def __init__(self, whole: LearntPrior, index: int) -> None:
        super().__init__()
        self.latent_dim, self.whole, self.index = whole.latent_dim, whole, index

    def forward(self, encode: Encode | None = None) -> Rescaled:
        condition = _one_hot(torch.tensor([self.index]), self.whole.log_weights)
        base = cast(LatentNetwork, self.whole.network).distribution(condition)
        return Rescaled(base, self.whole.centre, self.whole.scale)


def _one_hot(classes: Tensor, log_weights: Tensor) -> Tensor:
    return functional.one_hot(classes.to(log_weights.device), len(log_weights)).to(log_weights)


@final
class OverClasses(MomentsOfDraws):
    r"""Standardised latent vectors of all classes: each draw is of a class by chance, batch shape ().

    .. math:: p(u) = \sum_c w_c\, p(u \mid c)

    Args:
        network: Gives p(u given c).
        log_weights: Normalised logarithms of the shares w, shape (classes,).
        temperature: Spread of the draws of a class; see the network's distributions.
    """

    __slots__ = ("_log_weights", "_network", "_temperature")

    def __init__(self, network: LatentNetwork, log_weights: Tensor, *, temperature: float = 1.0) -> None:
        self._network, self._log_weights, self._temperature = network, log_weights, temperature

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats of `value`, shape (*batch, latent) to (*batch,)."""
        conditions = torch.split(_one_hot(torch.arange(len(self._log_weights)), self._log_weights), 1)
        each = torch.stack([self._network.distribution(row).log_prob(value) for row in conditions], dim=-1)
        return torch.logsumexp(each + self._log_weights, dim=-1)

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws, shape (latent,) or (n, latent)."""
        chosen = draw_components(self._log_weights, 1 if n is None else n, generator=generator)
        base = self._network.distribution(_one_hot(chosen, self._log_weights))
        if self._temperature != 1.0:
            base = cast(_Tempered, base).tempered(self._temperature)
        draws = base.sample(len(chosen), generator=generator)
        return draws[0] if n is None else draws

    def tempered(self, temperature: float) -> OverClasses:
        """The distribution with draws of another spread within each class."""
        return OverClasses(self._network, self._log_weights, temperature=temperature)

    @property
    def _typical(self) -> Tensor:
        return self.sample(_N_MOMENTS, generator=seeded(0, "moments"))


class _Tempered(Protocol):
    def tempered(self, temperature: float) -> Distribution: ...


@final
class Rescaled:
    r"""A distribution moved and stretched along each dimension, batch shape ().

    .. math:: z = m + s \odot u, \qquad \log p(z) = \log p(u) - \sum_j \log s_j

    Args:
        base: Distribution of u.
        centre: The location m, shape (latent,).
        scale: The scale s, above 0, shape (latent,).

    Example:
        >>> Rescaled(StandardNormal(2), torch.ones(2), torch.full((2,), 3.0)).stddev
        tensor([3., 3.])
    """

    __slots__ = ("base", "centre", "scale")

    def __init__(self, base: Distribution, centre: Tensor, scale: Tensor) -> None:
        self.base, self.centre, self.scale = base, centre, scale

    @property
    def mean(self) -> Tensor:
        """Shape (latent,)."""
        return self.centre + self.scale * self.base.mean

    @property
    def stddev(self) -> Tensor:
        """Standard deviation of each dimension, shape (latent,)."""
        return self.scale * self.base.stddev  # type: ignore[attr-defined, no-any-return]  # those that are rescaled

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats of `value`, shape (*batch, latent) to (*batch,); see the base's for errors."""
        return self.base.log_prob((at_least_float32(value) - self.centre) / self.scale) - self.scale.log().sum()

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws, shape (latent,) or (n, latent)."""
        return self.centre + self.scale * self.base.sample(n, generator=generator)


@final
class LatentFlow(nn.Module):
    """A coupling flow over latent vectors that may depend on a condition; it starts as the standard normal.

    Args:
        latent_dim: Number of latent dimensions, at least 1.
        condition_dim: Columns of a condition; 0 for none.
        n_layers: Number of coupling layers, at least 1.
        width: Units of the two hidden layers of each, at least 1.
        transform: What a layer does to a dimension, ``"affine"`` or ``"spline"``.

    References:
        Dinh et al., 2017, Density Estimation Using Real NVP, arXiv:1605.08803; Durkan et al., 2019, Neural Spline
        Flows, arXiv:1906.04032.

    Example:
        >>> LatentFlow(2, n_layers=2, width=8).log_prob(torch.zeros(5, 2)).shape
        torch.Size([5])
    """

    reference: Tensor

    def __init__(
        self,
        latent_dim: int,
        *,
        condition_dim: int = 0,
        n_layers: int = 8,
        width: int = 128,
        transform: Univariate = "affine",
    ) -> None:
        super().__init__()
        self.latent_dim = check_integer("latent_dim", latent_dim, low=1)
        layers = coupling_layers(
            latent_dim, n_layers=n_layers, width=width, context_dim=condition_dim, univariate=transform
        )
        self.bijection = Bijection(layers)
        self.register_buffer("reference", torch.zeros(()), persistent=False)

    def distribution(self, condition: Tensor | None) -> Flow:
        """The flow given a condition, shape (1 or n, columns)."""
        return Flow(partial(self.bijection, context=condition), self.latent_dim, like=self.reference)

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Log-density in nats of standardised latent vectors, shape (batch, latent), each given its own condition."""
        return self.distribution(condition).log_prob(z)


@final
class VelocityField(nn.Module):
    r"""A field of velocities that carries the standard normal at t = 0 to the latent vectors at t = 1.

    .. math:: v(z, t, c) = \frac{1}{\sigma_t} \left( \frac{2t - 1}{\sigma_t} z + f(z / \sigma_t, t, c) \right),
              \qquad \sigma_t^2 = (1 - t)^2 + t^2

    For standard normal latents f = 0 is exact, and it starts there; the scales keep what f takes and gives of unit
    variance. f has two hidden layers, scaled and shifted by what time and condition say, so that its divergence is
    two products of matrices whatever the number of dimensions:

    .. math:: tr(W_3 D_2 W_2 D_1 W_1) = d_2^T (W_2 \circ (W_1 W_3)^T) d_1

    with D the diagonal matrices of the layers' slopes d.

    Args:
        latent_dim: Number of latent dimensions, at least 1.
        condition_dim: Columns of a condition; 0 for none.
        width: Units of the hidden layers, at least 1.
        n_frequencies: Waves in which f sees time, at least 1.
        n_steps: Steps of Heun's method from t = 0 to 1 and back, at least 1.

    References:
        Lipman et al., 2023, Flow Matching for Generative Modeling, arXiv:2210.02747; Karras et al., 2022, Elucidating
        the Design Space of Diffusion-Based Generative Models, arXiv:2206.00364 (scales, Heun's method).

    Example:
        >>> field = VelocityField(3, width=8)
        >>> field(torch.ones(5, 3), torch.full((5, 1), 0.5)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        latent_dim: int,
        *,
        condition_dim: int = 0,
        width: int = 256,
        n_frequencies: int = 8,
        n_steps: int = 32,
    ) -> None:
        super().__init__()
        self.latent_dim = check_integer("latent_dim", latent_dim, low=1)
        self.condition_dim = check_integer("condition_dim", condition_dim)
        self.width = check_integer("width", width, low=1)
        self.n_frequencies = check_integer("n_frequencies", n_frequencies, low=1)
        self.n_steps = check_integer("n_steps", n_steps, low=1)
        self.first = nn.Linear(latent_dim, width)
        self.second = nn.Linear(width, width)
        self.last = nn.Linear(width, latent_dim)
        n_inputs = 2 * n_frequencies + condition_dim
        self.context = MLP((n_inputs,), (4 * width,), widths=(_CONTEXT,), activation="silu")
        for layer in (self.last, self.context.linears[-1]):
            nn.init.zeros_(cast(Tensor, layer.weight))
            nn.init.zeros_(cast(Tensor, layer.bias))

    def forward(self, z: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Velocities of standardised latent vectors, shape (batch, latent).

        Args:
            z: Shape (batch, latent).
            t: Times in [0, 1], shape (batch or 1, 1).
            condition: Shape (batch or 1, columns); None for none.
        """
        sigma = _sigma(t)
        u = z / sigma
        h, _ = self._hidden(u, self._context(t, condition))
        velocity: Tensor = ((2.0 * t - 1.0) * u + self.last(functional.silu(h))) / sigma
        return velocity

    def distribution(self, condition: Tensor | None) -> FlowMatched:
        """Where the field carries the standard normal, given a condition, shape (1, columns)."""
        return FlowMatched(self, condition)

    def with_divergence(self, z: Tensor, t: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Velocities and their divergences, shapes (batch, latent) and (batch,); see :meth:`forward`."""
        sigma = _sigma(t)
        u = z / sigma
        scale_1, _, scale_2, _ = context = self._context(t, condition)
        h_2, h_1 = self._hidden(u, context)
        velocity = ((2.0 * t - 1.0) * u + self.last(functional.silu(h_2))) / sigma
        around = self.second.weight * (self.first.weight @ self.last.weight).mT
        carried = (_silu_slope(h_1) * scale_1) @ around.mT
        trace = (carried * _silu_slope(h_2) * scale_2).sum(-1)
        return velocity, (((2.0 * t - 1.0) * self.latent_dim).squeeze(-1) + trace) / sigma.squeeze(-1).square()

    def _hidden(self, u: Tensor, context: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """The second and the first hidden layer before their activations."""
        scale_1, shift_1, scale_2, shift_2 = context
        h_1 = scale_1 * self.first(u) + shift_1
        return scale_2 * self.second(functional.silu(h_1)) + shift_2, h_1

    def _context(self, t: Tensor, condition: Tensor | None) -> tuple[Tensor, ...]:
        """Scales and shifts of the hidden layers, each of shape (batch or 1, width)."""
        angles = t * (math.pi * torch.arange(1, self.n_frequencies + 1, dtype=t.dtype, device=t.device))
        seen = torch.cat((angles.sin(), angles.cos()), dim=-1)
        if self.condition_dim:
            given = seen.new_zeros(1, self.condition_dim) if condition is None else condition.to(seen)
            rows = max(len(seen), len(given))
            seen = torch.cat((seen.expand(rows, -1), given.expand(rows, -1)), dim=-1)
        scale_1, shift_1, scale_2, shift_2 = self.context(seen).chunk(4, dim=-1)
        return 1.0 + scale_1, shift_1, 1.0 + scale_2, shift_2


def _sigma(t: Tensor) -> Tensor:
    """Standard deviation at time t on the straight way from one standard normal to another."""
    return ((1.0 - t).square() + t.square()).sqrt()


def _silu_slope(h: Tensor) -> Tensor:
    gate = torch.sigmoid(h)
    return gate * (1.0 + h * (1.0 - gate))


@final
class FlowMatched(MomentsOfDraws):
    r"""Where a field of velocities carries the standard normal, batch shape ().

    .. math:: \frac{dz}{dt} = v(z, t), \quad z_0 \sim N(0, I), \qquad
              \log p(z_1) = \log N(z_0; 0, I) - \int_0^1 \nabla \cdot v(z_t, t)\, dt

    Both ways go by Heun's method; the divergence is exact, so that the density is exact up to the size of the steps.

    Args:
        field: The velocities.
        condition: What they are given, shape (1, columns), or None.
        temperature: Standard deviation of z_0 relative to 1, of draws.

    References:
        Chen et al., 2018, Neural Ordinary Differential Equations, arXiv:1806.07366 (the density).

    Example:
        >>> p = FlowMatched(VelocityField(2, width=8))
        >>> bool((p.log_prob(torch.ones(5, 2)) - StandardNormal(2).log_prob(torch.ones(5, 2))).abs().max() < 1e-3)
        True
    """

    __slots__ = ("_condition", "_field", "_temperature")

    def __init__(self, field: VelocityField, condition: Tensor | None = None, *, temperature: float = 1.0) -> None:
        self._field, self._condition, self._temperature = field, condition, temperature

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats of `value`, shape (*batch, latent) to (*batch,)."""
        rows = at_least_float32(value).reshape(-1, self._field.latent_dim)
        return torch.cat([self._log_prob(part) for part in torch.split(rows, _ROWS)]).reshape(value.shape[:-1])

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws, shape (latent,) or (n, latent)."""
        shape = drawn_shape(n, (self._field.latent_dim,))
        return self._carried(standard_normal(shape, like=self._like, generator=generator))

    def tempered(self, temperature: float) -> FlowMatched:
        """The distribution whose draws start from a standard normal of another spread."""
        return FlowMatched(self._field, self._condition, temperature=temperature)

    @property
    def _like(self) -> Tensor:
        return self._field.first.weight

    @property
    def _typical(self) -> Tensor:
        return self._carried(moment_noise(_N_MOMENTS, self._like[0, :1].expand(self._field.latent_dim)))

    def _time(self, step: int) -> Tensor:
        return self._like.new_full((1, 1), step / self._field.n_steps)

    @torch.no_grad()
    def _carried(self, noise: Tensor) -> Tensor:
        z = (self._temperature * noise).reshape(-1, self._field.latent_dim)
        length = 1.0 / self._field.n_steps
        with without_autocast(z):
            for step in range(self._field.n_steps):
                start = self._field(z, self._time(step), self._condition)
                end = self._field(z + length * start, self._time(step + 1), self._condition)
                z = z + 0.5 * length * (start + end)
        return z.reshape(noise.shape)

    def _log_prob(self, z: Tensor) -> Tensor:
        length = 1.0 / self._field.n_steps
        change = z.new_zeros(len(z))
        with without_autocast(z):
            for step in range(self._field.n_steps, 0, -1):
                end, growth_end = self._field.with_divergence(z, self._time(step), self._condition)
                start, growth_start = self._field.with_divergence(
                    z - length * end, self._time(step - 1), self._condition
                )
                z = z - 0.5 * length * (start + end)
                change = change + 0.5 * length * (growth_start + growth_end)
        return StandardNormal(self._field.latent_dim).log_prob(z) - change


@final
class SecondStage(nn.Module):
    r"""A variational autoencoder of latent vectors, of the same number of dimensions.

    .. math:: u \sim N(0, I), \qquad z \sim N(\mu(u), s^2 I)

    The first model's posteriors fill its prior badly because the data lie on a surface of fewer dimensions; latent
    vectors do not, so that a second model matches them well.

    Args:
        latent_dim: Number of latent dimensions, of z and of u, at least 1.
        condition_dim: Columns of a condition; 0 for none.
        width: Units of the hidden layers, at least 1.
        n_layers: Number of hidden layers of encoder and decoder, at least 1.

    Attributes:
        model: The second autoencoder.

    References:
        Dai and Wipf, 2019, Diagnosing and Enhancing VAE Models, arXiv:1903.05789.

    Example:
        >>> SecondStage(2, width=8).distribution(None).sample(5).shape
        torch.Size([5, 2])
    """

    def __init__(self, latent_dim: int, *, condition_dim: int = 0, width: int = 512, n_layers: int = 2) -> None:
        super().__init__()
        widths = [check_integer("width", width, low=1)] * check_integer("n_layers", n_layers, low=1)
        self.model: VariationalAutoencoder = VaeSpecification(
            event_shape=(check_integer("latent_dim", latent_dim, low=1),),
            latent_dim=latent_dim,
            encoder={"network": "mlp", "widths": widths},
            decoder={"network": "mlp", "widths": widths},
            condition_dim=condition_dim,
        ).build()

    def distribution(self, condition: Tensor | None) -> Decoded:
        """What the second decoder makes of the standard normal, given a condition, shape (1, columns)."""
        return Decoded(self.model, condition)


@final
class Decoded:
    r"""Latent vectors that an autoencoder of them makes of its own prior, batch shape ().

    .. math:: p(z) = \int p(z \mid u)\, p(u)\, du

    Args:
        model: The autoencoder of latent vectors.
        condition: What it is given, shape (1, columns), or None.
        temperature: Spread of draws of u, and of z given u, relative to the model's.
    """

    __slots__ = ("_condition", "_model", "_temperature")

    def __init__(
        self, model: VariationalAutoencoder, condition: Tensor | None = None, *, temperature: float = 1.0
    ) -> None:
        self._model, self._condition, self._temperature = model, condition, temperature

    @property
    def mean(self) -> Tensor:
        """Expected value, estimated from 1,024 fixed draws of u, shape (latent,)."""
        return self._typical.mean.mean(0)

    @property
    def stddev(self) -> Tensor:
        """Standard deviation of each dimension, estimated from the same draws, shape (latent,)."""
        decoded = self._typical
        return (decoded.mean.var(0, correction=0) + decoded.stddev.square().mean(0)).sqrt()

    def log_prob(self, value: Tensor) -> Tensor:
        """There is no density in closed form.

        Raises:
            UnsupportedOperationError: Always.
        """
        raise UnsupportedOperationError(
            "a second-stage prior has no density in closed form, only a lower bound on it, and a bound on log p(x) "
            "that is made of it would be loose by an unknown amount. Use prior='model', or fit with ex_post='flow'."
        )

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws, shape (latent,) or (n, latent)."""
        with torch.no_grad():
            like = next(self._model.parameters())
            shape = (1 if n is None else n, self._model.latent_dim)
            u = standard_normal(shape, like=like, generator=generator)
            decoded = self._model.decode(self._temperature * u, self._condition)
            draws = decoded.mean + self._temperature * (decoded.sample(generator=generator) - decoded.mean)
            return draws[0] if n is None else draws

    def tempered(self, temperature: float) -> Decoded:
        """The distribution with draws of another spread."""
        return Decoded(self._model, self._condition, temperature=temperature)

    @property
    def _typical(self) -> _Spread:
        like = next(self._model.parameters()).detach().flatten()[:1].expand(self._model.latent_dim)
        return cast(_Spread, self._model.decode(moment_noise(_N_MOMENTS, like), self._condition))


class _Spread(Protocol):
    mean: Tensor
    stddev: Tensor
