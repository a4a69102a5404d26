"""Missing features, drawn from what the model knows of them given the observed ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, cast

import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_choice, check_integer
from latentkit.core.protocols import LatentVariableModel
from latentkit.core.seeds import RowGenerator, derive_seed, generator, row_keys
from latentkit.distributions import ObservationDistribution

__all__ = ["complete", "recover"]

_N_FROM_PRIOR: Final = 1024  # candidates that all rows share: one call of the decoder scores them for the whole batch
_N_FROM_POSTERIOR: Final = 32  # candidates of each row and round
_N_ROUNDS: Final = 3
_POOL_SIZE: Final = 20  # effective number of candidates that steps are made of
_ELEMENTS: Final = 1 << 24  # numbers that one decoded block may hold


def recover(
    model: LatentVariableModel,
    x: Tensor,
    mask: Tensor,
    *,
    n_draws: int = 1,
    n_steps: int = 50,
    draw: Literal["sample", "mean"] = "sample",
    keys: Tensor | None = None,
    seed: int = 0,
) -> Tensor:
    r"""Draw the missing features of each row given its observed ones.

    .. math:: x_{mis} \sim p(x_{mis} \mid x_{obs}) = \int p(x_{mis} \mid z) p(z \mid x_{obs}) dz

    The latent vector is drawn from p(z given x_obs) by `n_draws` independent Markov chains for each row. They start
    from candidates of the prior and of the encoder (with the missing features filled in, in three rounds), resampled by
    their importance weights. Each step is a Metropolis-within-Gibbs update,

    .. math:: x_{mis} \sim p(x_{mis} \mid z), \quad z' \sim q(z \mid x), \quad
              \log a = \log\frac{p(x, z')}{q(z' \mid x)} - \log\frac{p(x, z)}{q(z \mid x)}

    and a random walk of z under p(x_obs given z) p(z), with Gaussian steps and steps along differences of candidates,
    which keeps the chain moving where the encoder is wrong about rows with holes. Both leave p(z, x_mis given x_obs) as
    it is, so draws are exact in the limit of many steps.

    What a row draws depends on its content, its mask and the seed, not on its batch or place there (for likelihoods
    whose draws know a :class:`latentkit.core.seeds.RowGenerator`, and up to the rounding of the networks' products).
    Cost: about 3 decoder and 1 encoder evaluations per draw, row and step.

    Args:
        model: Fitted model, in evaluation mode.
        x: Data in model units, shape (batch, *event). Missing places may hold anything, NaN too.
        mask: True where a feature was observed, shape of `x`.
        n_draws: Draws per row, at least 1. Their spread shows what the observed features leave open.
        n_steps: Steps of each chain, at least 0; 0 keeps the resampled candidates.
        draw: ``"sample"`` draws x_mis from p(x_mis given z), with the noise that the likelihood stands for;
            ``"mean"`` takes its mean (for pictures: without grain). Averaged over draws both estimate E[x_mis | x_obs].
        keys: Keys of the rows for drawing, shape (batch,); by default those of the observed content and the mask.
        seed: Another seed gives other draws.

    Returns:
        Model units, shape (n_draws, batch, *event); observed features are those of `x`, bit for bit.

    Raises:
        InvalidParameterError: If the mask does not fit, an observed feature is not finite, `keys` does not have one
            key per row, or an option has a value that it cannot have.

    References:
        Mattei and Frellsen, 2018, Leveraging the Exact Likelihood of Deep Latent Variable Models, section 4,
        arXiv:1802.04826. ter Braak, 2006, A Markov Chain Monte Carlo Version of the Genetic Algorithm Differential
        Evolution (steps along differences).
    """
    check_integer("n_draws", n_draws, low=1)
    check_integer("n_steps", n_steps)
    check_choice("draw", draw, ("sample", "mean"))
    x = _observed_part(x, mask)
    n = x.shape[0]
    if keys is None:
        keys = row_keys(torch.cat((row_keys(x)[:, None], row_keys(mask)[:, None]), dim=1))
    if keys.shape != (n,):
        raise InvalidParameterError(
            f"keys must hold one key per row, shape ({n},); got shape {tuple(keys.shape)}. Use row_keys(x)."
        )
    if n == 0 or bool(mask.all()):
        return x.expand(n_draws, *x.shape).clone()
    with torch.inference_mode():
        chains = _Chains(model, x, mask, RowGenerator(keys, seed=derive_seed(seed, "recover")), seed=seed)
        chains.start(n_draws)
        for _ in range(n_steps):
            chains.step()
        draws = chains.complete(draw)
    return draws.clone()  # outside inference mode: the caller may compute gradients with it


def complete(model: LatentVariableModel, x: Tensor, mask: Tensor, *, n_steps: int = 50) -> Tensor:
    r"""Fill the missing features of each row with what the model makes of the row, again and again.

    .. math:: x_{mis} \leftarrow E[x_{mis} \mid z], \qquad z = code(x_{obs}, x_{mis})

    For models whose q(z given x) is a point, where :func:`recover` has no distribution to draw from. The missing
    features start at 0: the mean of standardised columns, and what a denoising autoencoder of masked data was shown.
    Where the iteration comes to rest, the completed row is as the model rebuilds it; nothing is drawn, and how sure the
    filling is remains open.

    Args:
        model: Fitted model, in evaluation mode.
        x: Data in model units, shape (batch, *event). Missing places may hold anything, NaN too.
        mask: True where a feature was observed, shape of `x`.
        n_steps: Passes through the model, at least 1.

    Returns:
        Model units, shape of `x`; observed features are those of `x`, bit for bit.

    Raises:
        InvalidParameterError: If the mask does not fit, an observed feature is not finite, or `n_steps` is below 1.

    References:
        Rezende et al., 2014, Stochastic Backpropagation and Approximate Inference, appendix F, arXiv:1401.4082, whose
        chain this is without its noise.
    """
    check_integer("n_steps", n_steps, low=1)
    filled = observed = _observed_part(x, mask)
    with torch.no_grad():
        for _ in range(n_steps):
            filled = torch.where(mask, observed, model.decode(model.encode(filled).mean).mean.to(x.dtype))
    return filled


def _observed_part(x: Tensor, mask: Tensor) -> Tensor:
    """`x` with zeros where nothing was observed."""
    if mask.shape != x.shape or mask.dtype != torch.bool:
        raise InvalidParameterError(
            f"mask must be bool (True = observed) of shape {tuple(x.shape)}; got {mask.dtype} of {tuple(mask.shape)}."
        )
    observed = torch.where(mask, x, torch.zeros((), dtype=x.dtype, device=x.device))
    if not torch.isfinite(observed).all():
        row = int((~torch.isfinite(observed)).flatten(1).any(1).nonzero()[0])
        raise InvalidParameterError(
            f"row {row} holds NaN or infinity in a feature that the mask calls observed. Set the mask to False there."
        )
    return observed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pool:
    """Candidates for z, scored: log p(x_obs given z), estimates of log p(x_obs), and weighted means of their data."""

    log_likelihood: Tensor
    log_evidence: Tensor
    mean: Tensor


def _mixed_mean(first: _Pool, second: _Pool) -> Tensor:
    """The means of two pools, each row's weighted by how probable the pools found its observed features."""
    evidence = torch.stack((first.log_evidence, second.log_evidence)).softmax(0).nan_to_num(nan=0.5).to(first.mean)
    shares = evidence.reshape(2, -1, *[1] * (first.mean.ndim - 1))
    return shares[0] * first.mean + shares[1] * second.mean


def _shares(log_weights: Tensor) -> Tensor:
    """Weights that sum to 1 over candidates; equal ones where every candidate is impossible."""
    return log_weights.softmax(0).nan_to_num(nan=1.0 / log_weights.shape[0])


def _flattened_shares(log_weights: Tensor, n_effective: int) -> Tensor:
    """Weights of a power of at most 1, for each row the largest tried that leaves `n_effective` candidates in play."""
    power = torch.ones_like(log_weights[0])
    for _ in range(20):
        shares = _shares(power * log_weights)
        power = torch.where(shares.square().sum(0) * n_effective > 1.0, 0.7 * power, power)
    return _shares(power * log_weights)


def _taken(candidates: Tensor, numbers: Tensor) -> Tensor:
    """The candidates, shape (candidates, batch, latent), of these numbers, shape (draws, batch)."""
    return candidates[numbers, torch.arange(candidates.shape[1], device=candidates.device)]


class _Chains:
    """Markov chains on z for every row and draw; z has shape (draws, batch, latent)."""

    def __init__(self, model: LatentVariableModel, x: Tensor, mask: Tensor, source: RowGenerator, *, seed: int) -> None:
        self._model, self._x, self._mask, self._source, self._seed = model, x, mask, source, seed
        self._prior = model.prior()
        self._dtype = torch.float64 if x.dtype == torch.float64 else torch.float32

    def start(self, n_draws: int) -> None:
        """Choose the first z of each chain by sampling-importance-resampling."""
        source = generator(self._seed, "recover", "prior")
        shared = self._prior.sample(_N_FROM_PRIOR, generator=source).to(self._x.device, self._dtype).unsqueeze(1)
        from_prior = self._pool(shared, torch.zeros(shared.shape[0], 1, device=self._x.device))
        fill = from_prior.mean
        for _ in range(_N_ROUNDS):
            posterior = self._model.encode(torch.where(self._mask, self._x, fill))
            latent_dim = posterior.mean.shape[-1]
            own = posterior.rsample(_N_FROM_POSTERIOR, noise=self._noise(_N_FROM_POSTERIOR, latent_dim))
            from_posterior = self._pool(own, self._prior.log_prob(own) - posterior.log_prob(own))
            fill = _mixed_mean(from_prior, from_posterior)
        # all candidates count as draws from the mixture of both proposals: no weight exceeds that under either alone
        candidates = torch.cat((shared.expand(-1, own.shape[1], -1), own))
        log_prior = self._prior.log_prob(candidates)
        log_proposal = torch.logaddexp(
            log_prior + math.log(shared.shape[0]), posterior.log_prob(candidates) + math.log(own.shape[0])
        )
        log_likelihood = torch.cat((from_prior.log_likelihood, from_posterior.log_likelihood))
        log_weights = (log_likelihood + log_prior - log_proposal).double().nan_to_num(nan=-math.inf)
        first = self._choose(_shares(log_weights), n_draws)
        self._z = _taken(candidates, first)
        self._candidates = candidates
        self._candidate_shares = _flattened_shares(log_weights, _POOL_SIZE)
        centre = (self._candidate_shares.unsqueeze(-1) * candidates).sum(0)
        variance = (self._candidate_shares.unsqueeze(-1) * (candidates - centre).square()).sum(0)
        self._width = torch.maximum(variance.sqrt().to(own), own.std(0))

    def step(self) -> None:
        """Update every chain by one Metropolis-within-Gibbs step and one step of a random walk."""
        self._random_walk(self._metropolis_within_gibbs())

    def complete(self, draw: str) -> Tensor:
        """Data whose missing features come from the present z, shape (draws, batch, *event)."""
        distribution = self._decode(self._z)
        missing = distribution.mean if draw == "mean" else distribution.sample(generator=self._source)
        return torch.where(self._mask, self._x, missing.to(self._x.dtype))

    def _metropolis_within_gibbs(self) -> Tensor:
        """Propose z from q(z given x) with freshly drawn missing features; return log p(x_obs given z) after it."""
        present = self._decode(self._z)
        x = torch.where(self._mask, self._x, present.sample(generator=self._source).to(self._x.dtype))
        posterior = self._model.encode(x.flatten(0, 1))
        n_draws, n, latent_dim = self._z.shape
        noise = self._noise(n_draws, latent_dim).flatten(0, 1)
        proposal = posterior.rsample(noise=noise).reshape(self._z.shape)
        proposed = self._decode(proposal)
        log_ratio = (
            proposed.log_prob(x)
            - present.log_prob(x)
            + self._prior.log_prob(proposal)
            - self._prior.log_prob(self._z)
            - posterior.log_prob(proposal.flatten(0, 1)).reshape(n_draws, n)
            + posterior.log_prob(self._z.flatten(0, 1)).reshape(n_draws, n)
        )
        accepted = self._accept(proposal, log_ratio)
        return torch.where(
            accepted,
            proposed.log_prob(self._x, mask=self._mask),
            present.log_prob(self._x, mask=self._mask),
        )

    def _random_walk(self, log_likelihood: Tensor) -> None:
        """Propose a step of many sizes that does not depend on where the chain is, so that it is symmetric.

        Half of the steps are Gaussian; the others go along the difference of two candidates, as wide as the posterior
        is in that direction, and half of those go all the way: from one mode to another.
        """
        n_draws, n, latent_dim = self._z.shape
        size = 2.4 * torch.exp(math.log(0.05) * self._source.uniform((n_draws, n, 1), dtype=self._dtype))
        usual = latent_dim**-0.5
        difference = _taken(self._candidates, self._choose(self._candidate_shares, n_draws)) - _taken(
            self._candidates, self._choose(self._candidate_shares, n_draws)
        )
        noise = self._width * self._noise(n_draws, latent_dim)
        kind = self._source.uniform((n_draws, n, 1), dtype=self._dtype)
        length = torch.where(kind < 0.25, 1.0, 0.5**0.5 * usual * size)
        # a trace of noise in every step reaches where no candidate lies
        step = torch.where(kind < 0.5, length * difference + 0.01 * usual * noise, usual * size * noise)
        proposal = self._z + step
        log_ratio = (
            self._decode(proposal).log_prob(self._x, mask=self._mask)
            - log_likelihood
            + self._prior.log_prob(proposal)
            - self._prior.log_prob(self._z)
        )
        self._accept(proposal, log_ratio)

    def _accept(self, proposal: Tensor, log_ratio: Tensor) -> Tensor:
        # a comparison with NaN is false: a proposal that the decoder cannot score is refused
        accepted = self._source.uniform(log_ratio.shape, dtype=torch.float64).log() < log_ratio
        self._z = torch.where(accepted.unsqueeze(-1), proposal, self._z)
        return accepted

    def _pool(self, z: Tensor, log_offset: Tensor) -> _Pool:
        """Score candidates, shape (candidates, batch or 1, latent), in blocks that bound the memory.

        The weight of a candidate is p(x_obs given z) exp(log_offset).
        """
        n = self._x.shape[0]
        block = max(1, _ELEMENTS // max(1, self._x.numel()))
        largest = torch.full((n,), -math.inf, dtype=torch.float64, device=z.device)
        total = torch.zeros(n, dtype=torch.float64, device=z.device)
        mean = torch.zeros(n, self._x[0].numel(), dtype=torch.float64, device=z.device)
        log_likelihoods = []
        for first in range(0, z.shape[0], block):
            decoded = self._decode(z[first : first + block])
            log_likelihoods.append(decoded.log_prob(self._x, mask=self._mask))
            log_weights = (log_likelihoods[-1] + log_offset[first : first + block]).double().nan_to_num(nan=-math.inf)
            new_largest = torch.maximum(largest, log_weights.amax(0))
            base = torch.where(new_largest == -math.inf, 0.0, new_largest)
            scale, weights = torch.exp(largest - base), torch.exp(log_weights - base)
            data = decoded.mean.double().flatten(2).expand(-1, n, -1)
            mean = mean * scale.unsqueeze(-1) + torch.einsum("sb,sbf->bf", weights, data)
            total, largest = total * scale + weights.sum(0), new_largest
        mean = mean / total.clamp_min(torch.finfo(torch.float64).tiny).unsqueeze(-1)
        return _Pool(
            log_likelihood=torch.cat(log_likelihoods),
            log_evidence=largest + total.log() - math.log(z.shape[0]),
            mean=mean.to(self._x.dtype).reshape(self._x.shape),
        )

    def _choose(self, weights: Tensor, n_draws: int) -> Tensor:
        """Numbers of `n_draws` candidates for each row, with replacement, shape (n_draws, batch)."""
        cumulative = weights.cumsum(0)
        uniform = self._source.uniform((n_draws, weights.shape[1]), dtype=torch.float64)
        threshold = uniform * cumulative[-1]
        return torch.searchsorted(cumulative.mT.contiguous(), threshold.mT.contiguous()).mT.clamp_max(len(weights) - 1)

    def _decode(self, z: Tensor) -> ObservationDistribution:
        return cast("ObservationDistribution", self._model.decode(z))

    def _noise(self, n_draws: int, latent_dim: int) -> Tensor:
        return self._source.normal((n_draws, self._x.shape[0], latent_dim), dtype=self._dtype)
