"""Texts of one class rewritten as texts of another: what speaks for the one makes way for what speaks for the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast, final

import torch
from torch import Tensor

from latentkit.core.protocols import LatentVariableModel
from latentkit.core.tokens import reached
from latentkit.distributions import Tokens
from latentkit.tasks.texts.infilling import GappedText, infill

__all__ = ["Rewriter"]

#: Tokens that make way, one more list after the other until the text is of the class.
STEPS: Final = (1, 2, 3, 5, 8)
#: Draws of what takes their place.
N_DRAWS: Final = 8
#: Tokens in the place of a stretch that made way, at most.
LONGEST: Final = 5


@final
@dataclass(frozen=True, slots=True)
class Rewriter:
    r"""Rewrites texts with a model that was fitted under a class as its condition.

    What a token says for a class is

    .. math:: r_t = \log p(x_t \mid x_{<t}, z_0, c) - \log p(x_t \mid x_{<t}, z_0, c')

    with c the class that is asked for, c' the most probable of the others for the text, and z_0 = 0, the centre of the
    prior, so that the class speaks and not what the posterior knows of the text. The tokens that say most for c' make
    way, in stretches; what takes their place is drawn given c (:func:`infill`). Of the draws the one is kept whose sum
    of r_t is greatest; where that is below a margin, more tokens make way.

    Attributes:
        target: The model given c.
        others: The models given each of the other classes.
        latent_dim: Length of z.
        openings: Which tokens may take the place of one that does not open a word, and of one that does, shape
            (2, n_tokens), bool.
        margin: Nats by which the text shall be more probable as one of c.

    References:
        Li et al., 2018, Delete, Retrieve, Generate: a Simple Approach to Sentiment and Style Transfer, arXiv:1804.06437
        (the order of steps; here one model judges, and fills in by what stands on both sides).
    """

    target: LatentVariableModel
    others: Sequence[LatentVariableModel]
    latent_dim: int
    openings: Tensor
    margin: float = 2.0

    def odds(self, texts: Sequence[Sequence[int]]) -> list[Tensor]:
        """What the tokens of each text say for the class, with the end, nats, shape (tokens + 1,)."""
        width = max(map(len, texts)) + 1
        x = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=self._device)
        z = torch.zeros(len(x), self.latent_dim, device=self._device)
        with torch.no_grad():
            asked = cast(Tokens, self.target.decode(z)).log_prob_tokens(x)
            others = torch.stack([cast(Tokens, other.decode(z)).log_prob_tokens(x) for other in self.others])
        rival = others.sum(-1).argmax(0)
        differences = asked - others[rival, torch.arange(len(x), device=x.device)]
        return [row[seen] for row, seen in zip(differences.cpu(), reached(x).cpu(), strict=True)]

    def rewrite(self, texts: Sequence[Sequence[int]], max_length: int, *, seed: int) -> list[list[int]]:
        """Return texts of the class, as tokens without the end; those that are of it already stay as they are.

        Args:
            texts: Tokens of each, without the end.
            max_length: Tokens of a text, at most.
            seed: Seed of the draws; what a text gets does not depend on the others.
        """
        best = [list(text) for text in texts]
        odds = self.odds(best)
        totals = [float(each.sum()) for each in odds]
        for n_tokens in STEPS:
            open_ = [row for row, total in enumerate(totals) if total < self.margin and texts[row]]
            if not open_:
                break
            gapped = [self._without(texts[row], odds[row], n_tokens, max_length) for row in open_]
            drawn = infill(self.target, gapped, n_draws=N_DRAWS, n_rounds=1, seed=seed)
            judged = self.odds([draw for draws in drawn for draw in draws])
            for place, row in enumerate(open_):
                sums = [float(each.sum()) for each in judged[place * N_DRAWS : (place + 1) * N_DRAWS]]
                chosen = max(range(N_DRAWS), key=sums.__getitem__)
                if sums[chosen] > totals[row]:
                    best[row], totals[row] = drawn[place][chosen], sums[chosen]
        return best

    def _without(self, text: Sequence[int], odds: Tensor, n_tokens: int, max_length: int) -> GappedText:
        """A text without the tokens that say most against the class, and what lies between two of them."""
        order = odds[: len(text)].argsort(stable=True)[:n_tokens].tolist()
        goes = [place in order for place in range(len(text))]
        for place in range(1, len(text) - 1):  # one token between two gaps goes, too
            goes[place] = goes[place] or (goes[place - 1] and goes[place + 1])
        parts: list[list[int]] = [[]]
        first = []
        for place, token in enumerate(text):
            if not goes[place]:
                parts[-1].append(token)
            elif place == 0 or not goes[place - 1]:
                first.append(int(self.openings[1, token]))
                parts.append([])
        room = (max_length - 1 - sum(map(len, parts))) // max(1, len(first))
        return GappedText(tuple(map(tuple, parts)), self.openings[first], max(1, min(LONGEST, room)))

    @property
    def _device(self) -> torch.device:
        weights: Tensor = next(iter(cast(Any, self.target).parameters()))
        return weights.device
