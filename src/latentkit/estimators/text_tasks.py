"""What an estimator does with texts in ways of its own: fill gaps, and say which tokens are odd."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor

from latentkit.core.errors import DataError
from latentkit.core.protocols import LatentVariableModel
from latentkit.data import TextSchema
from latentkit.tasks import GappedText, Rewriter, infill
from latentkit.tasks.texts import LONGEST

__all__ = ["GAP", "TokenScore", "recover_texts", "rewrite_texts", "stream_text", "tokens_of"]

#: What marks lost words.
GAP: Final = "___"

_N_DRAWS: Final = 20
_TOGETHER: Final = 32  # texts whose gaps are filled side by side
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
    models: Iterable[tuple[list[int], LatentVariableModel]],
    texts: list[str],
    *,
    n_draws: int | None,
    result: Literal["mean", "draws"],
    seed: int,
) -> Any:
    """Return texts with their gaps filled in, and everything else as it was.

    Args:
        schema: Schema of the texts.
        models: Rows, and the model for them; together all rows.
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
    rows = [[text] * wanted for text in texts]
    for group, model in models:
        gapped = [row for row in group if GAP in texts[row]]
        for start in range(0, len(gapped), _TOGETHER):
            some = gapped[start : start + _TOGETHER]
            asked = [_gapped(schema, texts[row], row) for row in some]
            for row, draws in zip(some, infill(model, asked, n_draws=wanted, seed=seed), strict=True):
                rows[row] = [schema.vocabulary.decode(tokens) for tokens in draws]
    if result == "draws":
        return [schema.container.rebuild(list(draw)) for draw in zip(*rows, strict=True)]
    return schema.container.rebuild([Counter(row).most_common(1)[0][0] for row in rows])


def rewrite_texts(
    schema: TextSchema,
    bound: Callable[[Any], LatentVariableModel],
    texts: list[str],
    condition: Any,
    *,
    classes: list[str],
    latent_dim: int,
    margin: float,
    seed: int,
) -> Any:
    """Return texts rewritten as texts of a class; see :class:`~latentkit.tasks.Rewriter`.

    Args:
        schema: Schema of the texts.
        bound: The model given a class.
        texts: The texts.
        condition: The class that is asked for.
        classes: All classes.
        latent_dim: Length of z.
        margin: Nats by which a text shall be more probable as one of the class.
        seed: Seed of the draws; what a text gets does not depend on the others.
    """
    vocabulary = schema.vocabulary
    rewriter = Rewriter(
        bound(condition),
        [bound(name) for name in classes if name != str(condition)],
        latent_dim,
        torch.tensor([vocabulary.openings(after_blank=after_blank) for after_blank in (False, True)]),
        margin,
    )
    found: list[str] = []
    for start in range(0, len(texts), _TOGETHER):
        some = texts[start : start + _TOGETHER]
        tokens = [row[: schema.max_length - 1] for row in vocabulary.encode(some)]
        again = rewriter.rewrite(tokens, schema.max_length, seed=seed)
        found += [
            text if after == before else vocabulary.decode(after)
            for text, before, after in zip(some, tokens, again, strict=True)
        ]
    return schema.container.rebuild(found)


def _gapped(schema: TextSchema, text: str, row: int) -> GappedText:
    """A text as tokens with gaps."""
    vocabulary = schema.vocabulary
    parts = _GAPS.split(text)
    blanks = [match.group().startswith((" ", "\t")) for match in _GAPS.finditer(text)]
    tokens = vocabulary.encode(parts)
    room = (schema.max_length - 1 - sum(map(len, tokens))) // len(blanks)
    if room < 1:
        raise DataError(
            f"row {row} (counted from 0): beside its gaps the text fills the {schema.max_length:,} tokens that the "
            "model has room for. Shorten it"
        )
    openings = torch.tensor([vocabulary.openings(after_blank=blank) for blank in blanks])
    return GappedText(tuple(map(tuple, tokens)), openings, min(LONGEST, room))


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
