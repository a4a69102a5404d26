"""Lost words of texts: what stands in a gap, given what stands before and behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast, final

import torch
from torch import Tensor

from latentkit.core.parameters import check_integer
from latentkit.core.protocols import LatentVariableModel
from latentkit.distributions import Tokens
from latentkit.distributions.likelihood.columns import drawn_codes
from latentkit.distributions.noise import uniform

__all__ = ["Gap", "infill"]

#: Rounds of drawing z and then what stands in the gaps.
N_ROUNDS: Final = 3
#: Tokens in a gap, at most.
LONGEST: Final = 8
#: Tokens behind a gap by which what stands in it is judged.
JUDGED: Final = 16
#: Log-weight of what has ended before the gap does.
_NEVER: Final = -1e4


@final
@dataclass(frozen=True, slots=True)
class Gap:
    """A place in a text where tokens are lost.

    Attributes:
        before: Tokens from the gap before, or from the start, up to this one.
        is_first: Which tokens may be the first in it, shape (n_tokens,), bool.
    """

    before: tuple[int, ...]
    is_first: Tensor


def infill(
    model: LatentVariableModel,
    gaps: Sequence[Gap],
    rest: Sequence[int],
    *,
    n_draws: int = 20,
    n_rounds: int = N_ROUNDS,
    longest: int = LONGEST,
    generator: torch.Generator | None = None,
) -> list[list[int]]:
    r"""Draw what stands in the gaps of one text.

    Each draw has a z of its own. It writes into a gap as the decoder goes on from what stands before. Of the places j
    where it may stop, one is drawn by how probable what stands behind then is,

    .. math:: w_j = p(x_{behind} \mid x_{before}, t_1, \ldots, t_j, z)

    and of all draws some are kept by the product of their weights' sums over gaps. The next round takes z from the
    posteriors of the whole texts that were kept.

    Args:
        model: Model that was fitted to texts.
        gaps: The gaps, in their order, at least one.
        rest: Tokens behind the last gap, without the end.
        n_draws: Draws.
        n_rounds: Rounds; the first one takes z from the text without what is lost.
        longest: Tokens in a gap, at most; there is at least one.
        generator: Source of randomness.

    Returns:
        Whole texts as tokens, without the end, one a draw.

    References:
        Gordon et al., 1993, Novel approach to nonlinear/non-Gaussian Bayesian state estimation (weighing and keeping).
    """
    check_integer("n_draws", n_draws, low=1)
    check_integer("n_rounds", n_rounds, low=1)
    check_integer("longest", longest, low=1)
    device = next(iter(model.parameters())).device
    texts = [[token for gap in gaps for token in gap.before] + list(rest)] * n_draws
    with torch.no_grad():
        for _ in range(n_rounds):
            z = cast(Any, model.encode(_padded(texts, device))).sample(generator=generator)
            texts, log_weights = _filled(model, z, gaps, rest, longest, generator)
            kept = _drawn(log_weights.expand(n_draws, -1), generator)
            texts = [texts[row] for row in kept.tolist()]
    return texts


def _filled(
    model: LatentVariableModel,
    z: Tensor,
    gaps: Sequence[Gap],
    rest: Sequence[int],
    longest: int,
    generator: torch.Generator | None,
) -> tuple[list[list[int]], Tensor]:
    """The text of each z with its gaps filled, and log-weights, shape (n,)."""
    texts: list[list[int]] = [[] for _ in z]
    log_weights = z.new_zeros(len(z))
    behind = [list(gap.before) for gap in gaps[1:]] + [[*rest, 0]]
    for gap, known in zip(gaps, behind, strict=True):
        texts = [[*text, *gap.before] for text in texts]
        written = _written(model, z, texts, gap.is_first, longest, generator)
        by_stop = _judged(model, z, texts, written, known[:JUDGED])
        stops = _drawn(by_stop, generator).tolist()
        texts = [[*text, *row[: stop + 1]] for text, row, stop in zip(texts, written, stops, strict=True)]
        log_weights = log_weights + torch.logsumexp(by_stop, 1)
    return [[*text, *rest] for text in texts], log_weights


def _written(
    model: LatentVariableModel,
    z: Tensor,
    texts: Sequence[Sequence[int]],
    is_first: Tensor,
    longest: int,
    generator: torch.Generator | None,
) -> list[list[int]]:
    """Tokens with which each text goes on, as many for each."""
    rows: list[list[int]] = [[] for _ in texts]
    for length in {len(text) for text in texts}:  # texts of one length go on together
        places = [place for place, text in enumerate(texts) if len(text) == length]
        walk = cast(Tokens, model.decode(z[places])).begin()
        for tokens in zip(*(texts[place] for place in places), strict=True):
            walk.add(torch.tensor(tokens, device=z.device))
        for step in range(longest):
            logits = walk.logits().float()
            if step == 0:
                logits = logits.masked_fill(~is_first.to(z.device), -torch.inf)
            tokens_drawn = _drawn(logits, generator)
            for place, token in zip(places, tokens_drawn.tolist(), strict=True):
                rows[place].append(token)
            walk.add(tokens_drawn)
    return rows


def _judged(
    model: LatentVariableModel,
    z: Tensor,
    texts: Sequence[Sequence[int]],
    written: Sequence[Sequence[int]],
    known: Sequence[int],
) -> Tensor:
    """Log-probability of the known tokens behind each place where a text may stop, shape (n, places)."""
    stops = range(1, len(written[0]) + 1)
    whole = [[*text, *row[:stop], *known] for text, row in zip(texts, written, strict=True) for stop in stops]
    starts = torch.tensor([[len(row) - len(known)] for row in whole], device=z.device)
    x = _padded(whole, z.device)
    is_known = torch.arange(x.shape[1], device=z.device) >= starts
    by_place = cast(Tokens, model.decode(z.repeat_interleave(len(stops), 0))).log_prob_tokens(x)
    found = by_place.masked_fill(~is_known, 0.0).sum(1).reshape(len(z), -1)
    has_ended = torch.tensor([[0 in row[:stop] for stop in stops] for row in written], device=z.device)
    return found.masked_fill(has_ended, _NEVER)


def _drawn(log_weights: Tensor, generator: torch.Generator | None) -> Tensor:
    """A place of each row by its weights, shape (rows,)."""
    return drawn_codes(log_weights, uniform((len(log_weights),), like=log_weights, generator=generator))


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Rows of tokens with the end behind each, shape (rows, longest + 1)."""
    width = max(map(len, rows)) + 1
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
