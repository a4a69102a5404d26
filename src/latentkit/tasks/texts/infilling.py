"""Lost words of texts: what stands in a gap, given what stands before and behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast, final

import torch
from torch import Tensor

from latentkit.core.parameters import check_integer
from latentkit.core.protocols import LatentVariableModel
from latentkit.core.seeds import RowGenerator, derive_seed
from latentkit.distributions import Tokens
from latentkit.distributions.likelihood.columns import drawn_codes

__all__ = ["GappedText", "infill"]

#: Rounds of drawing z and then what stands in the gaps.
N_ROUNDS: Final = 3
#: Tokens in a gap, at most.
LONGEST: Final = 8
#: Tokens behind a gap by which what stands in it is judged.
JUDGED: Final = 16
#: Rows whose continuations are judged at once.
ROWS: Final = 2048
#: Log-weight of what has ended before the gap does.
_NEVER: Final = -1e4


@final
@dataclass(frozen=True, slots=True)
class GappedText:
    """A text some of whose tokens are lost.

    Attributes:
        parts: Tokens before the first gap, between gaps, and behind the last one, without the end; at least two.
        openings: Which tokens may be the first in each gap, shape (gaps, n_tokens), bool, the end not among them.
        longest: Tokens in a gap, at most; there is at least one.
    """

    parts: tuple[tuple[int, ...], ...]
    openings: Tensor
    longest: int = LONGEST

    @property
    def known(self) -> list[int]:
        """The tokens that are there."""
        return [token for part in self.parts for token in part]

    @property
    def n_gaps(self) -> int:
        """Number of gaps."""
        return len(self.parts) - 1

    def behind(self, gap: int) -> list[int]:
        """What stands behind a gap, up to the next one, or with the end."""
        is_last = gap == self.n_gaps - 1
        return [*self.parts[gap + 1], *((0,) if is_last else ())][:JUDGED]


def infill(
    model: LatentVariableModel,
    texts: Sequence[GappedText],
    *,
    n_draws: int = 20,
    n_rounds: int = N_ROUNDS,
    seed: int = 0,
) -> list[list[list[int]]]:
    r"""Draw what stands in the gaps of texts.

    Each draw has a z of its own. It writes into a gap as the decoder goes on from what stands before. Of the places j
    where it may stop, one is drawn by how probable what stands behind then is,

    .. math:: w_j = p(x_{behind} \mid x_{before}, t_1, \ldots, t_j, z)

    and of all draws of a text some are kept by the product of the sums of their weights over gaps. The next round takes
    z from the posteriors of the whole texts that were kept.

    Args:
        model: Model that was fitted to texts.
        texts: The texts; what one gets does not depend on the others.
        n_draws: Draws of each.
        n_rounds: Rounds; the first one takes z from the text without what is lost.
        seed: Seed of the draws.

    Returns:
        Of each text its draws as tokens, without the end.

    References:
        Gordon et al., 1993, Novel approach to nonlinear/non-Gaussian Bayesian state estimation (weighing and keeping).
    """
    check_integer("n_draws", n_draws, low=1)
    check_integer("n_rounds", n_rounds, low=1)
    device = next(iter(model.parameters())).device
    rows = [text for text in texts for _ in range(n_draws)]
    keys = torch.tensor([derive_seed(seed, str(text.parts), draw) for text in texts for draw in range(n_draws)])
    found = [text.known for text in rows]
    with torch.no_grad():
        for number in range(n_rounds):
            walk = _Round(model, rows, keys, derive_seed(seed, "round", number))
            z = model.encode(_padded(found, device)).sample(generator=walk.source("z"))
            found, log_weights = walk.filled(z)
            of_text = log_weights.reshape(len(texts), 1, n_draws).expand(-1, n_draws, -1).flatten(0, 1)
            kept = drawn_codes(of_text, walk.source("kept").uniform((len(rows),)).to(device)).tolist()
            found = [found[row // n_draws * n_draws + place] for row, place in enumerate(kept)]
    return [found[start : start + n_draws] for start in range(0, len(found), n_draws)]


@final
@dataclass(frozen=True, slots=True)
class _Round:
    """One pass over the gaps.

    Attributes:
        model: The model.
        texts: The text of each row.
        keys: Keys of the random numbers of the rows, shape (rows,).
        seed: Seed of the round.
    """

    model: LatentVariableModel
    texts: list[GappedText]
    keys: Tensor
    seed: int

    @property
    def longest(self) -> int:
        """Tokens in a gap of any text, at most."""
        return max(text.longest for text in self.texts)

    def source(self, *purpose: str | int, rows: Tensor | None = None) -> RowGenerator:
        """Random numbers of the rows, or of some of them."""
        keys = self.keys if rows is None else self.keys[rows]
        return RowGenerator(keys, seed=derive_seed(self.seed, *purpose), row_dim=0)

    def filled(self, z: Tensor) -> tuple[list[list[int]], Tensor]:
        """The text of each row with its gaps filled, and log-weights, shape (rows,)."""
        found = [list(text.parts[0]) for text in self.texts]
        log_weights = z.new_zeros(len(z))
        for gap in range(max(text.n_gaps for text in self.texts)):
            rows = torch.tensor([row for row, text in enumerate(self.texts) if gap < text.n_gaps])
            begun = [found[row] for row in rows.tolist()]
            written = self._written(z[rows], rows, begun, gap)
            by_stop = self._judged(z[rows], rows, begun, written, gap)
            places = self.source("stop", gap, rows=rows).uniform((len(rows),)).to(z.device)
            stops = drawn_codes(by_stop, places).tolist()
            for row, text, stop in zip(rows.tolist(), written, stops, strict=True):
                found[row] = [*found[row], *text[: stop + 1], *self.texts[row].parts[gap + 1]]
            log_weights = log_weights.index_add(0, rows.to(z.device), torch.logsumexp(by_stop, 1))
        return found, log_weights

    def _written(self, z: Tensor, rows: Tensor, begun: list[list[int]], gap: int) -> list[list[int]]:
        """Tokens with which each text that has begun goes on, as many for each; behind what a gap may hold, the end."""
        written: list[list[int]] = [[] for _ in begun]
        openings = torch.stack([self.texts[row].openings[gap] for row in rows.tolist()]).to(z.device)
        numbers = self.source("write", gap, rows=rows).uniform((len(rows), self.longest)).to(z.device)
        for length in sorted({len(text) for text in begun}):  # texts of one length go on together
            places = [place for place, text in enumerate(begun) if len(text) == length]
            decoded = cast(Tokens, self.model.decode(z[places]))
            walk, utf8 = decoded.begin(), decoded.family.utf8
            states = torch.zeros(len(places), dtype=torch.long, device=z.device)
            for tokens in zip(*(begun[place] for place in places), strict=True):
                walk.add(torch.tensor(tokens, device=z.device))
            most = torch.tensor([self.texts[int(rows[place])].longest for place in places], device=z.device)
            for step in range(int(most.max())):
                logits = walk.logits().float()
                if step == 0:
                    logits = logits.masked_fill(~openings[places], -torch.inf)
                if utf8 is not None:
                    logits = logits.masked_fill(utf8.is_ruled_out(states, most - 1 - step), -torch.inf)
                drawn = drawn_codes(logits, numbers[places, step]) * (step < most)
                for place, token in zip(places, drawn.tolist(), strict=True):
                    written[place].append(token)
                if utf8 is not None:
                    states = utf8.after(states, drawn)
                if step + 1 < int(most.max()):
                    walk.add(drawn)
        return [[*row, *[0] * (self.longest - len(row))] for row in written]

    def _judged(self, z: Tensor, rows: Tensor, begun: list[list[int]], written: list[list[int]], gap: int) -> Tensor:
        """Log-probability of what stands behind each place where a text may stop, shape (rows, stops)."""
        behind = [self.texts[row].behind(gap) for row in rows.tolist()]
        stops = range(1, self.longest + 1)
        parts = []
        for some in torch.split(torch.arange(len(rows)), max(1, ROWS // self.longest)):
            whole = [[*begun[place], *written[place][:stop], *behind[place]] for place in some for stop in stops]
            starts = [len(begun[place]) + stop for place in some for stop in stops]
            decoded = cast(Tokens, self.model.decode(z[some].repeat_interleave(self.longest, 0)))
            x = _padded(whole, z.device)[:, : decoded.family.codes.max_length]
            places = torch.arange(x.shape[1], device=z.device)
            ends = torch.tensor([len(row) for row in whole], device=z.device).unsqueeze(1)
            is_behind = (places >= torch.tensor(starts, device=z.device).unsqueeze(1)) & (places < ends)
            parts.append(decoded.log_prob(x, mask=is_behind).reshape(len(some), -1))
        has_ended = torch.tensor([[0 in row[:stop] for stop in stops] for row in written], device=z.device)
        return torch.cat(parts).masked_fill(has_ended, _NEVER)


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Rows of tokens with the end behind each, shape (rows, longest + 1)."""
    width = max(map(len, rows)) + 1
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
