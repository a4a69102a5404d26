"""Tokens of texts: how probable each is given those before it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from latentkit.core.parameters import check_integer
from latentkit.core.protocols import LatentVariableModel
from latentkit.core.seeds import row_keys, row_noise

__all__ = ["preferred_tokens", "score_tokens"]


def score_tokens(
    model: LatentVariableModel, x: Tensor, *, n_draws: int = 8, keys: Tensor | None = None, seed: int = 0
) -> Tensor:
    r"""Return how probable each token of texts is given those before it, averaged over draws of z.

    .. math:: s_t = \frac{1}{K} \sum_k \log p(x_t \mid x_{<t}, z_k), \qquad z_k \sim q(z \mid x)

    The scores of a text add up to an unbiased estimate of :math:`E_q[\log p(x \mid z)]`, the reconstruction term of the
    bound. That is more than the bound itself, by the divergence of q(z given x): z has seen the whole text.

    Args:
        model: Model that was fitted to texts, in evaluation mode.
        x: Tokens in model units, shape (batch, length).
        n_draws: Draws K of z for each text, at least 1.
        keys: Keys of the texts for drawing, shape (batch,); by default those of their content in `x`.
        seed: Another seed gives other draws.
    Returns:
        Nats, float64, shape (batch, length); 0 behind the end.
    """
    check_integer("n_draws", n_draws, low=1)
    names = row_keys(x) if keys is None else keys
    total = torch.zeros(x.shape, dtype=torch.float64, device=x.device)
    with torch.inference_mode():
        q: Any = model.encode(x)
        for draw in range(n_draws):
            noise = row_noise(names, 1, q.mean.shape[-1], seed=seed, start=draw, dtype=q.mean.dtype)
            p: Any = model.decode(q.rsample(1, noise=noise)[0])
            total += p.log_prob_tokens(x)
    return total / n_draws


def preferred_tokens(model: LatentVariableModel, x: Tensor) -> Tensor:
    r"""Return the most probable token at each place, given those before it in the text itself.

    .. math:: \arg\max_v p(x_t = v \mid x_{<t}, z = \mu(x))

    Args:
        model: Model that was fitted to texts, in evaluation mode.
        x: Tokens in model units, shape (batch, length).
    Returns:
        Tokens, shape of `x`; what stands behind the end of a text has no meaning.
    """
    found = []
    with torch.inference_mode():
        p: Any = model.decode(model.encode(x).mean)
        walk = p.begin()
        for tokens in x.unbind(1):
            found.append(walk.logits().argmax(-1))
            walk.add(tokens)
    return torch.stack(found, 1)
