"""The likelihood of data by several posteriors at once: a mixture of the encoders of an ensemble."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.core.allocation import keep_freed_memory
from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.core.protocols import Batch, LatentVariableModel
from latentkit.core.seeds import row_keys, row_noise
from latentkit.evaluation.likelihood import LikelihoodEstimate
from latentkit.objectives import log_mean_exp
from latentkit.objectives.phases import given, log_likelihood

__all__ = ["MixtureEstimate", "miselbo"]

#: Numbers that the decoder may give in one call.
_FEATURES_PER_CALL = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureEstimate:
    """What a mixture of posteriors finds, beside what its components find alone.

    Attributes:
        mixture: The importance-weighted bound by the mixture, from all S K draws together: the figure to quote.
        miselbo: The mean over the posteriors of a bound for each one's draws, nats, float64, shape (batch,); at most
            `mixture`, and not tight as K grows.
        components: The importance-weighted bound by each posterior alone, from the same draws, nats, float64, shape
            (posteriors, batch).
    """

    mixture: LikelihoodEstimate
    miselbo: Tensor
    components: Tensor

    @property
    def gain(self) -> Tensor:
        """MISELBO minus the mean of the components' bounds, nats, shape (batch,).

        With one draw from each posterior its mean is their Jensen-Shannon divergence, from 0 (they are the same) to
        log S (they do not overlap).
        """
        return self.miselbo - self.components.mean(0)


@torch.inference_mode()
def miselbo(
    model: LatentVariableModel,
    encoders: Sequence[LatentVariableModel],
    x: Tensor,
    n_importance: int,
    *,
    condition: Tensor | None = None,
    keys: Tensor | None = None,
    seed: int = 0,
    mask: Tensor | None = None,
    chunk: int | None = None,
) -> MixtureEstimate:
    r"""Estimate log p(x) of each row under one model by the posteriors of several.

    .. math:: w_{sk} = \frac{p(x \mid z_{sk}) p(z_{sk})}{\frac{1}{S} \sum_j q_j(z_{sk} \mid x)}, \qquad
              z_{sk} \sim q_s(z \mid x)
    .. math:: MISELBO = \frac{1}{S} \sum_s \log \frac{1}{K} \sum_k w_{sk} \;\le\;
              \log \frac{1}{S K} \sum_s \sum_k w_{sk}

    The expectations of both are lower bounds of log p(x) for any posteriors over the model's z. The first is, at one
    draw, the mean of their ELBOs plus their Jensen-Shannon divergence; the second is tight as K grows. The posteriors
    must be over the *same* z: encoders trained for one decoder, such as a second encoder fitted to a finished model. A
    row's estimate depends on its content, K and the seed alone; one encoder gives :func:`importance_bound`, draw for
    draw.

    Args:
        model: Gives p(x given z) and p(z); in evaluation mode.
        encoders: S models whose `encode` gives q_s(z given x); `model` may be one of them.
        x: Data in model units, shape (batch, *event), on the models' device.
        n_importance: Draws K from each posterior, at least 1. Cost is linear in S K for the decoder.
        condition: What all models are given, shape (batch, columns), or (1, columns) for every row.
        keys: Keys of the rows for drawing, shape (batch,); by default :func:`latentkit.core.seeds.row_keys` of `x`.
        seed: Another seed gives other draws.
        mask: True where a feature was observed, shape of `x`; the bound is then that of the observed part.
        chunk: Draws, of all posteriors together, that the decoder sees in one call; by default by the size of x.

    Returns:
        Both bounds, and those of the components.

    Raises:
        InvalidParameterError: If there are no encoders, their z have another length than the model's, `n_importance`
            or `chunk` is below 1, or `keys` does not have one key per row.

    References:
        Kviman et al., 2022, Multiple Importance Sampling ELBO and Deep Ensembles of Variational Approximations,
        arXiv:2202.10951; Kviman et al., 2023, Cooperation in the Latent Space: The Benefits of Adding Mixture
        Components in Variational Autoencoders, arXiv:2209.15514.
    """
    check_integer("n_importance", n_importance, low=1)
    if not encoders:
        raise InvalidParameterError("miselbo needs at least one encoder; got none. Pass [model] for its own posterior.")
    keys = row_keys(x) if keys is None else keys
    if keys.shape != (len(x),):
        raise InvalidParameterError(
            f"keys must hold one key per row, shape ({len(x)},); got shape {tuple(keys.shape)}. Use row_keys(x)."
        )
    _check_latents(model, encoders, Batch(x[:1], condition=None if condition is None else condition[:1]))
    n_posteriors = len(encoders)
    if chunk is None:
        chunk = max(n_posteriors, _FEATURES_PER_CALL // max(1, math.prod(x.shape[1:])))
    check_integer("chunk", chunk, low=1)
    keep_freed_memory()
    n_rows = max(1, min(len(x), chunk // (n_posteriors * n_importance)))
    n_draws = max(1, min(n_importance, chunk // (n_posteriors * n_rows)))
    nothing = torch.zeros(n_posteriors, n_importance, 0, dtype=torch.float64)
    mixture, alone = [nothing], [nothing]
    for start in range(0, len(x), n_rows):
        rows = slice(start, min(len(x), start + n_rows))
        part = Batch(
            x[rows],
            None if mask is None else mask[rows],
            None if condition is None else condition if len(condition) == 1 else condition[rows],
        )
        calls = [range(first, min(first + n_draws, n_importance)) for first in range(0, n_importance, n_draws)]
        pieces = [_log_weights(model, encoders, part, keys[rows], draws, n_importance, seed) for draws in calls]
        mixture.append(torch.cat([piece[0] for piece in pieces], dim=1).cpu())
        alone.append(torch.cat([piece[1] for piece in pieces], dim=1).cpu())
    together, components = torch.cat(mixture, dim=2), torch.cat(alone, dim=2)
    pooled = together.flatten(0, 1)
    shares = torch.softmax(pooled, dim=0)
    return MixtureEstimate(
        mixture=LikelihoodEstimate(
            log_likelihood=log_mean_exp(pooled),
            effective_sample_size=shares.square().sum(0).reciprocal(),
            n_importance=n_posteriors * n_importance,
            estimator=f"importance-weighted bound by a mixture of {n_posteriors} posteriors",
        ),
        miselbo=log_mean_exp(together, dim=1).mean(0),
        components=log_mean_exp(components, dim=1),
    )


def _log_weights(
    model: LatentVariableModel,
    encoders: Sequence[LatentVariableModel],
    batch: Batch,
    keys: Tensor,
    draws: range,
    n_importance: int,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Log-weights against the mixture, and against each draw's own posterior, shape (posteriors, draws, batch)."""
    posteriors = [given(encoder, batch).encode(batch.x) for encoder in encoders]
    dtype = torch.float64 if batch.x.dtype == torch.float64 else torch.float32
    latent_dim = posteriors[0].mean.shape[-1]
    z = torch.stack(
        [
            posterior.rsample(
                len(draws),
                noise=row_noise(
                    keys, len(draws), latent_dim, seed=seed, start=number * n_importance + draws.start, dtype=dtype
                ).to(batch.x.device),
            )
            for number, posterior in enumerate(posteriors)
        ]
    )
    model = given(model, batch)
    flat = z.flatten(0, 1)
    joint = (log_likelihood(model, flat, batch) + model.prior().log_prob(flat)).double().reshape(z.shape[:-1])
    densities = torch.stack([posterior.log_prob(flat).double().reshape(z.shape[:-1]) for posterior in posteriors])
    own = densities.diagonal(dim1=0, dim2=1).movedim(-1, 0)
    return joint - log_mean_exp(densities), joint - own


def _check_latents(model: LatentVariableModel, encoders: Sequence[LatentVariableModel], batch: Batch) -> None:
    expected = model.prior().mean.shape[-1]
    for number, encoder in enumerate(encoders):
        actual = given(encoder, batch).encode(batch.x).mean.shape[-1]
        if actual != expected:
            raise InvalidParameterError(
                f"the posteriors must be over the model's {expected} latent dimensions; encoder {number} has {actual}. "
                "Use encoders that were trained for this model's decoder."
            )
