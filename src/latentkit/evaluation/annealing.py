"""How probable the model finds the data, by annealed importance sampling: without an encoder, or beside one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import torch
from torch import Tensor

from latentkit.core.allocation import keep_freed_memory
from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.core.parameters import check_choice, check_integer
from latentkit.core.protocols import Batch, Distribution, LatentVariableModel
from latentkit.core.seeds import RowGenerator, derive_seed, generator, row_keys
from latentkit.distributions import PointMass, StandardNormal, UniformSphere, VonMisesFisher
from latentkit.evaluation.likelihood import LikelihoodEstimate
from latentkit.models import CodeDistribution
from latentkit.objectives import log_mean_exp
from latentkit.objectives.phases import given, log_likelihood

__all__ = ["BidirectionalBounds", "Start", "annealed_bound", "bidirectional_bounds", "check_free", "temperatures"]

#: Where chains begin.
Start: TypeAlias = Literal["prior", "posterior"]

#: Share of the proposals that shall be taken, and how fast a step follows what was taken.
_TARGET: Final = 0.65
_RATE: Final = 0.1
#: Length of the first step, in units of the latent space.
_FIRST_STEP: Final = 0.2
#: Chains of each row in the run before, which finds the lengths of the steps.
_PILOTS: Final = 4
#: Steepness of the schedule of temperatures.
_STEEPNESS: Final = 4.0
#: Numbers that the decoder may give in one call.
_FEATURES_PER_CALL: Final = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BidirectionalBounds:
    """log p(x) of examples of the model itself, from below and from above.

    Attributes:
        x: The examples, model units, shape (n, *event).
        lower: Annealed bound from below.
        upper: Annealed bound from above, nats, float64, shape (n,); on average at least log p(x).
    """

    x: Tensor
    lower: LikelihoodEstimate
    upper: Tensor

    @property
    def gap(self) -> float:
        """Mean of the upper bound minus that of the lower one, nats: neither is further than this from log p(x)."""
        return float((self.upper - self.lower.log_likelihood).mean())


def temperatures(n_steps: int) -> Tensor:
    r"""Inverse temperatures of the annealing, from 0 to 1, dense at both ends.

    .. math:: \beta_t = \frac{s(t) - s(0)}{s(T) - s(0)}, \qquad s(t) = \sigma(4 (2 t / T - 1))

    Args:
        n_steps: T, at least 1.

    Returns:
        Float64, shape (n_steps + 1,).

    Example:
        >>> temperatures(2)
        tensor([0.0000, 0.5000, 1.0000], dtype=torch.float64)
    """
    check_integer("n_steps", n_steps, low=1)
    values = torch.sigmoid(_STEEPNESS * torch.linspace(-1.0, 1.0, n_steps + 1, dtype=torch.float64))
    return (values - values[0]) / (values[-1] - values[0])


def annealed_bound(
    model: LatentVariableModel,
    x: Tensor,
    *,
    n_chains: int = 16,
    n_steps: int = 500,
    n_leapfrog: int = 5,
    start: Start = "prior",
    condition: Tensor | None = None,
    keys: Tensor | None = None,
    seed: int = 0,
    mask: Tensor | None = None,
) -> LikelihoodEstimate:
    r"""Estimate log p(x) of each row by annealed importance sampling with Hamiltonian transitions.

    .. math::
        \log w_c = \sum_{t=1}^{T} (\beta_t - \beta_{t-1}) \log \frac{p(x, z_{t-1})}{f_0(z_{t-1})}, \quad
        z_t \sim T_t(\cdot \mid z_{t-1}), \qquad L = \log \frac{1}{C} \sum_c w_c

    where the transition T_t leaves f_0(z)^(1 - beta_t) p(x, z)^beta_t as it is and z_0 is drawn from f_0: the prior,
    or q(z given x). The mean of the weights is p(x) whatever the transitions, so that L is a lower bound on average; it
    is tight where there are many temperatures. Unlike :func:`~latentkit.evaluation.importance_bound` it needs no good
    encoder, and from the prior none at all: it can check what an encoder says.

    The lengths of the steps are found row by row and temperature by temperature in a run before with other random
    numbers, and then held, so that the transitions are exact ones. A row's estimate depends on its content, the options
    and the seed alone.

    Args:
        model: Fitted model, in evaluation mode.
        x: Data in model units, shape (batch, *event), on the model's device.
        n_chains: Chains C of each row, at least 2.
        n_steps: Temperatures T, at least 1. Cost is that of n_steps * n_leapfrog gradients of the decoder for each
            chain, and a quarter more for the run before.
        n_leapfrog: Steps of each Hamiltonian trajectory, at least 1.
        start: f_0, ``"prior"`` or ``"posterior"``; the latter is much nearer where the encoder is any good.
        condition: What the model is given, shape (batch, columns), or (1, columns) for every row.
        keys: Keys of the rows for drawing, shape (batch,); by default :func:`latentkit.core.seeds.row_keys` of `x`.
        seed: Another seed gives other draws.
        mask: True where a feature was observed, shape of `x`; the estimate is then that of the observed part.

    Returns:
        Bound and effective sample size over the chains of each row.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have, or `keys` has not one key per row.
        UnsupportedOperationError: If latents do not move freely: codes, points, or vectors on a sphere.

    References:
        Neal, 2001, Annealed Importance Sampling. Wu et al., 2017, On the Quantitative Analysis of Decoder-Based
        Generative Models, arXiv:1611.04273.
    """
    check_integer("n_chains", n_chains, low=2)
    check_integer("n_leapfrog", n_leapfrog, low=1)
    check_choice("start", start, ("prior", "posterior"))
    betas = temperatures(n_steps)
    keys = row_keys(x) if keys is None else keys
    if keys.shape != (len(x),):
        raise InvalidParameterError(
            f"keys must hold one key per row, shape ({len(x)},); got shape {tuple(keys.shape)}. Use row_keys(x)."
        )
    nothing = torch.zeros(n_chains, 0, dtype=torch.float64)
    weights = [nothing]
    for rows, path in _parts(model, x, n_chains, start, condition, mask):
        steps = path.step_lengths(betas, n_leapfrog, keys[rows], seed)
        weights.append(path.forward(betas, steps, n_leapfrog, n_chains, keys[rows], seed).cpu())
    log_weights = torch.cat(weights, dim=1)
    shares = torch.softmax(log_weights, dim=0).square().sum(0)
    return LikelihoodEstimate(
        log_likelihood=log_mean_exp(log_weights),
        # where every weight is zero, as of impossible rows, nothing counts
        effective_sample_size=torch.where(shares > 0, shares.reciprocal(), 1.0),
        n_importance=n_chains,
        estimator=f"annealed importance sampling from the {start}, {n_chains} chains of {n_steps:,} temperatures and "
        f"{n_leapfrog} leapfrog steps each",
    )


def bidirectional_bounds(
    model: LatentVariableModel,
    n: int,
    *,
    n_chains: int = 16,
    n_steps: int = 500,
    n_leapfrog: int = 5,
    start: Start = "prior",
    seed: int = 0,
) -> BidirectionalBounds:
    r"""Enclose log p(x) of examples that the model makes itself between two annealed bounds.

    .. math:: \log p(x) \le -\log \frac{1}{C} \sum_c \frac{1}{w'_c}

    where w' is the weight of a chain that goes the other way, from the z that made x, which is an exact draw of p(z
    given x), down to f_0. How far the bounds are apart says how far :func:`annealed_bound` with the same options can be
    from the truth, on such examples; on real ones that is a guess as good as the model.

    Args:
        model: Fitted model, in evaluation mode.
        n: Examples to make, at least 1.
        n_chains: As for :func:`annealed_bound`, as are the following.
        n_steps: Temperatures.
        n_leapfrog: Steps of each trajectory.
        start: f_0.
        seed: Decides the examples and the draws.

    Returns:
        The examples with both bounds.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.
        UnsupportedOperationError: As for :func:`annealed_bound`.

    References:
        Grosse et al., 2015, Sandwiching the marginal likelihood using bidirectional Monte Carlo, arXiv:1511.02543.
    """
    check_integer("n", n, low=1)
    random = generator(seed, "bidirectional")
    with torch.no_grad():
        prior = model.prior()
        z = prior.sample(n, generator=random).to(prior.mean.device)
        x = model.decode(z).sample(generator=random)
    options: dict[str, Any] = {"n_chains": n_chains, "n_steps": n_steps, "n_leapfrog": n_leapfrog, "start": start}
    lower = annealed_bound(model, x, seed=seed, **options)
    betas, keys = temperatures(n_steps), row_keys(x)
    uppers = []
    for rows, path in _parts(model, x, n_chains, start, None, None):
        steps = path.step_lengths(betas, n_leapfrog, keys[rows], seed)
        ends = z[rows].expand(n_chains, -1, -1)
        uppers.append(-log_mean_exp(-path.backward(betas, steps, n_leapfrog, ends, keys[rows], seed).cpu()))
    return BidirectionalBounds(x=x, lower=lower, upper=torch.cat(uppers))


def _parts(
    model: LatentVariableModel,
    x: Tensor,
    n_chains: int,
    start: Start,
    condition: Tensor | None,
    mask: Tensor | None,
) -> Iterator[tuple[slice, _Path]]:
    """The rows in parts whose chains go together, and where these lead."""
    keep_freed_memory()
    n_rows = max(1, _FEATURES_PER_CALL // (n_chains * max(1, math.prod(x.shape[1:]))))
    for first in range(0, len(x), n_rows):
        rows = slice(first, min(len(x), first + n_rows))
        seen = None if mask is None else _own(mask[rows])
        part = Batch(
            # what was not observed may be NaN, which no gradient survives
            _own(x[rows] if seen is None else torch.where(seen, x[rows], 0.0)),
            seen,
            None if condition is None else _own(condition if len(condition) == 1 else condition[rows]),
        )
        yield rows, _Path(model, part, start)


def _own(part: Tensor) -> Tensor:
    """A tensor that a graph may hold."""
    return part.clone() if part.is_inference() else part


@dataclass(slots=True)
class _State:
    """Where chains are: z, shape (chains, batch, latent), with both log-densities there and their slopes."""

    z: Tensor
    start: Tensor
    ratio: Tensor
    start_slope: Tensor
    ratio_slope: Tensor

    def density(self, beta: float) -> Tensor:
        """Log of f_0^(1 - beta) p^beta, shape (chains, batch)."""
        return self.start + beta * self.ratio

    def slope(self, beta: float) -> Tensor:
        """Gradient of that by z."""
        return self.start_slope + beta * self.ratio_slope

    def where(self, taken: Tensor, other: _State) -> _State:
        """The other state where `taken`, shape (chains, batch), and this one elsewhere."""
        wide = taken.unsqueeze(-1)
        return _State(
            torch.where(wide, other.z, self.z),
            torch.where(taken, other.start, self.start),
            torch.where(taken, other.ratio, self.ratio),
            torch.where(wide, other.start_slope, self.start_slope),
            torch.where(wide, other.ratio_slope, self.ratio_slope),
        )


class _Path:
    """The way of some rows from f_0 to p(x, z)."""

    def __init__(self, model: LatentVariableModel, batch: Batch, start: Start) -> None:
        with torch.inference_mode(False), torch.no_grad():
            self._model = given(model, batch)
            self._prior = self._model.prior()
            self._first: Any = self._prior if start == "prior" else self._model.encode(batch.x)
        self._batch, self._start = batch, start
        for distribution in (self._prior, self._first):
            check_free(distribution)
        self._dtype = torch.float64 if batch.x.dtype == torch.float64 else torch.float32
        self._latent_dim = int(self._first.mean.shape[-1])

    def forward(self, betas: Tensor, steps: Tensor, n_leapfrog: int, n_chains: int, keys: Tensor, seed: int) -> Tensor:
        """Log-weights of chains from f_0 to p(x, z), shape (chains, batch)."""
        seed = derive_seed(seed, "annealing", "forward")
        random = RowGenerator(keys, seed=seed)
        state = self._state(self._begin(n_chains, random, keys, seed))
        total = torch.zeros_like(state.ratio, dtype=torch.float64)
        for place, (beta, step) in enumerate(zip(betas[1:].diff(prepend=betas[:1]), steps, strict=True), 1):
            total += float(beta) * state.ratio.double()
            if place < len(betas) - 1:
                state, _ = self._moved(state, float(betas[place]), step, n_leapfrog, random)
        return total

    def backward(self, betas: Tensor, steps: Tensor, n_leapfrog: int, ends: Tensor, keys: Tensor, seed: int) -> Tensor:
        """Log-weights of chains from draws of p(z given x) back to f_0, shape (chains, batch)."""
        random = RowGenerator(keys, seed=derive_seed(seed, "annealing", "backward"))
        state = self._state(ends.to(self._batch.x.device, self._dtype))
        total = torch.zeros_like(state.ratio, dtype=torch.float64)
        for place in range(len(betas) - 1, 0, -1):
            total += float(betas[place] - betas[place - 1]) * state.ratio.double()
            if place > 1:
                state, _ = self._moved(state, float(betas[place - 1]), steps[place - 2], n_leapfrog, random)
        return total

    def step_lengths(self, betas: Tensor, n_leapfrog: int, keys: Tensor, seed: int) -> Tensor:
        """Lengths of steps at each temperature but the first, shape (temperatures, batch), by chains of their own."""
        seed = derive_seed(seed, "annealing", "steps")
        random = RowGenerator(keys, seed=seed)
        state = self._state(self._begin(_PILOTS, random, keys, seed))
        length = torch.full((len(keys),), _FIRST_STEP, dtype=self._dtype, device=state.z.device)
        found = []
        for beta in betas[1:].tolist():
            found.append(length)
            state, taken = self._moved(state, beta, length, n_leapfrog, random)
            length = length * torch.exp(_RATE * (taken.mean(0) - _TARGET))
        return torch.stack(found)

    def _begin(self, n_chains: int, random: RowGenerator, keys: Tensor, seed: int) -> Tensor:
        """Draws of f_0, shape (chains, batch, latent)."""
        shape = (n_chains, len(self._batch.x), self._latent_dim)
        if self._start == "posterior":
            drawn: Tensor = self._first.rsample(n_chains, noise=random.normal(shape, dtype=self._dtype))
            return drawn.detach()
        if isinstance(self._prior, StandardNormal):
            return random.normal(shape, dtype=self._dtype)
        # other priors know no rows: each row has a generator of its own
        sources = (generator(seed, int(key)) for key in keys)
        draws = torch.stack([self._prior.sample(n_chains, generator=source) for source in sources], dim=1)
        return draws.detach().to(self._batch.x.device, self._dtype)

    def _state(self, z: Tensor) -> _State:
        """The chains at z."""
        # of what inference mode made there is no gradient, and cuDNN has none of recurrent networks outside of training
        with torch.inference_mode(False), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            z = z.detach().clone().requires_grad_()
            start = self._first.log_prob(z)
            joint = log_likelihood(self._model, z, self._batch)
            if self._start == "posterior":
                joint = joint + self._prior.log_prob(z) - start
            (start_slope,) = torch.autograd.grad(start.sum(), z, retain_graph=True)
            (ratio_slope,) = torch.autograd.grad(joint.sum(), z)
        return _State(z.detach(), start.detach(), joint.detach(), start_slope, ratio_slope)

    def _moved(
        self, state: _State, beta: float, length: Tensor, n_leapfrog: int, random: RowGenerator
    ) -> tuple[_State, Tensor]:
        """One Hamiltonian transition at a temperature, and the probability with which each move was taken."""
        wide = length.unsqueeze(-1)
        # one request for both, as most of its time is that of the call
        numbers = random.normal((*state.z.shape[:-1], self._latent_dim + 1), dtype=self._dtype)
        momentum, uniform = numbers[..., :-1], torch.special.ndtr(numbers[..., -1])
        energy = state.density(beta) - 0.5 * momentum.square().sum(-1)
        moved, speed = state, momentum
        for _ in range(n_leapfrog):
            speed = speed + 0.5 * wide * moved.slope(beta)
            moved = self._state(moved.z + wide * speed)
            speed = speed + 0.5 * wide * moved.slope(beta)
        gain = moved.density(beta) - 0.5 * speed.square().sum(-1) - energy
        # a move into nowhere is not taken
        probability = gain.clamp_max(0.0).exp().nan_to_num(nan=0.0)
        return state.where(uniform < probability, moved), probability


#: Latents that do not move freely, by what they are drawn from.
_HELD: Final = (
    (CodeDistribution, "codes out of a codebook"),
    (PointMass, "codes that are points"),
    (UniformSphere, "vectors on a sphere"),
    (VonMisesFisher, "vectors on a sphere"),
)


def check_free(distribution: Distribution) -> None:
    """Refuse latents in which no gradient leads anywhere, or only along a surface.

    Raises:
        UnsupportedOperationError: For those.
    """
    for kind, name in _HELD:
        if isinstance(distribution, kind):
            raise UnsupportedOperationError(
                f"annealing moves latents along gradients, and {name} do not move so. Use the importance-weighted "
                "bound."
            )
