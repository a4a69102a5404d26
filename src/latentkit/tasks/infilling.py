"""Lost words of texts: what stands in a blank, given what stands before and behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast, final

import torch
from torch import Tensor
from torch.nn import functional

from latentkit.core.errors import DataError
from latentkit.core.parameters import check_integer
from latentkit.core.protocols import LatentVariableModel
from latentkit.distributions import Tokens
from latentkit.distributions.likelihood.columns import drawn_codes
from latentkit.distributions.noise import uniform

__all__ = ["Blank", "infill"]

#: Tokens behind a blank by which what stands in it is judged.
JUDGED: Final = 24


@final
@dataclass(frozen=True, slots=True)
class Blank:
    """A place in a text where words are lost.

    Attributes:
        before: Tokens from the blank before, or from the start, up to this one.
        first: Which tokens may be the first in it, shape (n_tokens,), bool; None for any.
    """

    before: tuple[int, ...]
    first: Tensor | None = None


def infill(
    model: LatentVariableModel,
    blanks: Sequence[Blank],
    rest: Sequence[int],
    *,
    n_draws: int = 32,
    n_rounds: int = 3,
    most: int = 8,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Draw what stands in the blanks of one text.

    Each draw has a z of its own. It writes `most` tokens into a blank, as the decoder goes on from what stands before;
    of the places where it may stop, one is drawn by how probable what stands behind then is,

    .. math:: w_j \propto p(x_{behind} \mid x_{before}, t_1, \ldots, t_j, z)

    The next round takes z from the posterior of whole texts, those of the round before being drawn by their weights.

    Args:
        model: Model that was fitted to texts.
        blanks: The blanks, in their order.
        rest: Tokens behind the last blank, without the end.
        n_draws: Draws K.
        n_rounds: Rounds; the first one takes z from the text without its blanks.
        most: Tokens in a blank, at most.
        generator: Source of randomness.

    Returns:
        Whole texts as tokens, shape (K, length), padded with the end; and their log-weights, nats, shape (K,): how
        probable what stands behind the blanks is.

    Raises:
        DataError: If there is no blank, or the text leaves no place for one.
    """
    check_integer("n_draws", n_draws, low=1)
    check_integer("n_rounds", n_rounds, low=1)
    check_integer("most", most, low=1)
    if not blanks:
        raise DataError("there is no blank in the text. Mark lost words by ___")
    device = next(iter(model.parameters())).device
    known = [token for blank in blanks for token in blank.before] + list(rest)
    with torch.no_grad():
        texts = _padded([known] * n_draws, device)
        for _ in range(n_rounds):
            z = cast(Any, model.encode(texts)).sample(generator=generator)
            rows, log_weights = _filled(model, z, blanks, rest, most, generator)
            texts = _padded(rows, device)
            chosen = _drawn(log_weights.expand(n_draws, -1), generator)
            texts, log_weights = texts[chosen], log_weights[chosen]
    return texts, log_weights


def _filled(
    model: LatentVariableModel,
    z: Tensor,
    blanks: Sequence[Blank],
    rest: Sequence[int],
    most: int,
    generator: torch.Generator | None,
) -> tuple[list[list[int]], Tensor]:
    """Each draw's text with its blanks filled, and the log-weights."""
    distribution = cast(Tokens, model.decode(z))
    texts: list[list[int]] = [[] for _ in z]
    log_weights = z.new_zeros(len(z))
    for number, blank in enumerate(blanks):
        texts = [[*text, *blank.before] for text in texts]
        behind = list(blanks[number + 1].before if number + 1 < len(blanks) else [*rest, 0])[:JUDGED]
        written = _written(distribution, texts, blank.first, most, generator)
        # every place where a draw may stop, with what stands behind it: shape (draws, most)
        candidates = [
            [*text, *row[:stop], *behind]
            for text, row in zip(texts, written, strict=True)
            for stop in range(1, most + 1)
        ]
        whole = _padded(candidates, z.device)
        repeated = cast(Tokens, model.decode(z.repeat_interleave(most, 0)))
        by_place = repeated.log_prob_tokens(whole)
        places = torch.arange(whole.shape[1], device=z.device)
        starts = torch.tensor([len(text) + stop for text in texts for stop in range(1, most + 1)], device=z.device)
        is_behind = (places >= starts[:, None]) & (places < starts[:, None] + len(behind))
        judged = (by_place * is_behind).sum(1).reshape(len(z), most)
        ended = torch.tensor([[0 in row[:stop] for stop in range(1, most + 1)] for row in written], device=z.device)
        judged = judged.masked_fill(ended, -torch.inf)
        judged[:, 0] = judged[:, 0].clamp_min(-1e4)  # one token stands there whatever it is
        stops = _drawn(judged, generator)
        texts = [[*text, *row[: int(stop) + 1]] for text, row, stop in zip(texts, written, stops, strict=True)]
        log_weights = log_weights + torch.logsumexp(judged, 1)
    return [[*text, *rest] for text in texts], log_weights


def _written(
    distribution: Tokens,
    texts: Sequence[Sequence[int]],
    first: Tensor | None,
    most: int,
    generator: torch.Generator | None,
) -> list[list[int]]:
    """What the decoder goes on with behind each text, `most` tokens."""
    lengths = {len(text) for text in texts}
    rows: list[list[int]] = [[] for _ in texts]
    for length in lengths:  # texts of one length walk together
        places = [place for place, text in enumerate(texts) if len(text) == length]
        walk = distribution.begin(torch.tensor(places))
        for token in zip(*(texts[place] for place in places), strict=True):
            walk.add(torch.tensor(token))
        for step in range(most):
            logits = walk.logits().clone()
            if step == 0:
                logits[:, 0] = -torch.inf
                if first is not None:
                    logits = logits.masked_fill(~first, -torch.inf)
            tokens = drawn_codes(logits, uniform((len(places),), like=logits, generator=generator))
            for place, token in zip(places, tokens.tolist(), strict=True):
                rows[place].append(token)
            walk.add(tokens)
    return rows


def _drawn(log_weights: Tensor, generator: torch.Generator | None) -> Tensor:
    """A place of each row, by weights, shape (rows,)."""
    return drawn_codes(log_weights, uniform((len(log_weights),), like=log_weights, generator=generator))


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    longest = max(map(len, rows)) + 1
    return torch.tensor(
        [functional.pad(torch.tensor(row), (0, longest - len(row))).tolist() for row in rows], device=device
    )
