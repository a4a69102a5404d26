"""What an estimator does with texts in ways of its own: fill gaps, and say which tokens are odd."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor

from latentkit.core.errors import DataError
from latentkit.core.protocols import LatentVariableModel
from latentkit.core.seeds import derive_seed, generator
from latentkit.data import TextSchema
from latentkit.tasks import Gap, infill
from latentkit.tasks.infilling import LONGEST

__all__ = ["GAP", "TokenScore", "recover_texts", "stream_text", "tokens_of"]

#: What marks lost words.
GAP: Final = "___"

_N_DRAWS: Final = 20
_GAPS: Final = re.compile(r"\s*_{3,}")


class TokenScore(NamedTuple):
    """A token of a text, and how probable it is.

    Attributes:
        piece: What it stands for; empty for the end of a text.
        log_prob: Given the tokens before it, nats.
    """

    piece: str
    log_prob: float


def tokens_of(schema: TextSchema, storage: Tensor, scores: Tensor) -> list[list[TokenScore]]:
    """Return the tokens of texts with the score of each.

    Args:
        schema: Schema of the texts.
        storage: Texts, shape (n, max_length).
        scores: Nats of each place, same shape; what stands behind the end does not count.
    """
    found = []
    for tokens, nats in zip(schema.rows(storage), scores.tolist(), strict=True):
        pieces = schema.vocabulary.pieces(tokens)
        pieces += [""] if len(tokens) < schema.max_length else []  # a text that was cut has no end
        found.append([TokenScore(piece, score) for piece, score in zip(pieces, nats, strict=False)])
    return found


def recover_texts(
    schema: TextSchema,
    model_of: Callable[[int], LatentVariableModel],
    texts: list[str],
    *,
    n_draws: int | None,
    result: Literal["mean", "draws"],
    seed: int,
) -> Any:
    """Return texts with their gaps filled in, and everything else as it was.

    Args:
        schema: Schema of the texts.
        model_of: The model for the text of a row.
        texts: With ``___`` where words are lost.
        n_draws: Completions of each text.
        result: ``"mean"``: the completion that is drawn most often; ``"draws"``: all, in a list of texts for each draw.
        seed: Seed of the draws; what a text gets does not depend on the others.

    Raises:
        DataError: If no text has a gap, or one is too long to have one filled.
    """
    if not any(GAP in text for text in texts):
        raise DataError(f"no text has a gap. Write {GAP} where words are lost, as in 'the {GAP} sat on the mat'")
    wanted = _N_DRAWS if n_draws is None else n_draws
    rows = []
    for row, text in enumerate(texts):
        if GAP in text:
            random = generator(derive_seed(seed, text), "gaps")
            rows.append(_completions(schema, model_of(row), text, row, wanted, random))
        else:
            rows.append([text] * wanted)
    if result == "draws":
        return [schema.container.rebuild(list(draw)) for draw in zip(*rows, strict=True)]
    return schema.container.rebuild([Counter(row).most_common(1)[0][0] for row in rows])


def _completions(
    schema: TextSchema, model: LatentVariableModel, text: str, row: int, n_draws: int, random: torch.Generator
) -> list[str]:
    """A text with its gaps filled, draw by draw."""
    vocabulary = schema.vocabulary
    parts = _GAPS.split(text)
    blanks = [match.group().startswith((" ", "\t")) for match in _GAPS.finditer(text)]
    *known, rest = vocabulary.encode(parts)
    room = schema.max_length - 1 - sum(map(len, known)) - len(rest)
    if room < len(known):
        raise DataError(
            f"row {row} (counted from 0): beside its gaps the text fills the {schema.max_length:,} tokens that the "
            "model has room for. Shorten it"
        )
    gaps = [
        Gap(tuple(tokens), torch.tensor(vocabulary.openings(after_blank=blank)))
        for tokens, blank in zip(known, blanks, strict=True)
    ]
    found = infill(model, gaps, rest, n_draws=n_draws, longest=min(LONGEST, room // len(known)), generator=random)
    return [vocabulary.decode(tokens) for tokens in found]


def stream_text(schema: TextSchema, tokens: Iterator[int]) -> Iterator[str]:
    """Yield a text piece by piece as its tokens come; bytes wait for the character that they are part of.

    Args:
        schema: Schema of the texts.
        tokens: The tokens of one text, without the end.
    """
    seen: list[int] = []
    shown = ""
    for token in tokens:
        seen.append(token)
        text = schema.vocabulary.decode(seen)
        if text.endswith("\ufffd"):
            continue
        yield text[len(shown) :]
        shown = text
    whole = schema.vocabulary.decode(seen)
    if whole != shown:
        yield whole[len(shown) :]
