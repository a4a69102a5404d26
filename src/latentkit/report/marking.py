"""Texts on a page: what can be read of them, and which words differ."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final

from latentkit.data.text import with_signs
from latentkit.evaluation import words_of
from latentkit.report.language import message, say
from latentkit.report.page import Piece

__all__ = ["differing", "plain", "readable"]

#: Characters of a text that are shown.
LONGEST: Final = 320
#: What stands for a text of blanks alone, or without a character.
EMPTY: Final = message("(empty)")


def readable(text: str, length: int = LONGEST) -> str:
    r"""Return a text as a page shows it: with signs for what would steer it, and not too long; cut at a blank.

    Example:
        >>> readable("one two three", 9), readable(" "), readable("a\tb")
        ('one two …', '(empty)', 'a␉b')
    """
    shown = with_signs(text[: length + 1])
    if len(shown) <= length:
        return shown if shown.strip() else say(EMPTY)
    start = shown[: length - 1]
    whole_words = re.match(r".*\s", start)
    return f"{whole_words.group() if whole_words and whole_words.end() > length // 2 else start}…"


def plain(text: str) -> tuple[Piece, ...]:
    """Return a text as a page shows it, with nothing marked."""
    return (Piece(readable(text)),)


def differing(text: str, other: str) -> tuple[Piece, ...]:
    """Return a text as a page shows it, with the words marked that another text does not have there.

    Words are those of :func:`~latentkit.evaluation.words_of`; those that stay are a longest common part of both, as
    :class:`difflib.SequenceMatcher` finds it.

    Example:
        >>> [piece.text for piece in differing("a cat sat here", "a dog sat") if piece.is_marked]
        ['cat', 'here']
    """
    shown = readable(text)
    words, others = words_of(shown), words_of(readable(other))
    marked = [False] * len(words)
    for kind, start, end, _, _ in SequenceMatcher(None, words, others, autojunk=False).get_opcodes():
        if kind in ("replace", "delete"):
            marked[start:end] = [True] * (end - start)
    return _joined(shown, words, marked)


def _joined(text: str, words: Sequence[str], marked: Sequence[bool]) -> tuple[Piece, ...]:
    """The text in as few pieces as can be; what stands between two marked words is marked, too."""
    pieces: list[Piece] = []
    place = 0

    def add(part: str, is_marked: bool) -> None:
        if part and pieces and pieces[-1].is_marked == is_marked:
            pieces[-1] = Piece(pieces[-1].text + part, is_marked)
        elif part:
            pieces.append(Piece(part, is_marked))

    for index, (word, is_marked) in enumerate(zip(words, marked, strict=True)):
        start = text.index(word, place)
        add(text[place:start], is_marked and index > 0 and marked[index - 1])
        add(word, is_marked)
        place = start + len(word)
    add(text[place:], False)
    return tuple(pieces)
