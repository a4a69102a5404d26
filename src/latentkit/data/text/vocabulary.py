"""Vocabularies: which tokens a text is made of. Token 0 ends every text and belongs to no piece of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, final

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.core.registry import Registry

__all__ = ["END", "UNKNOWN", "Learner", "Vocabulary", "Words", "vocabularies"]

#: The token that ends a text; behind it a row of tokens is padded with it.
END: Final = 0
#: What stands for a word that is not in a vocabulary of words, as in the published corpora.
UNKNOWN: Final = "<unk>"


class Vocabulary(Protocol):
    """A way to cut texts into tokens and to join them again."""

    @property
    def name(self) -> str:
        """Its name in the registry."""
        ...

    @property
    def n_tokens(self) -> int:
        """Number of tokens, the one that ends a text included."""
        ...

    @property
    def unknown(self) -> int:
        """Token that stands for one that is not known; of an exact vocabulary no text holds it."""
        ...

    @property
    def is_exact(self) -> bool:
        """Whether every text comes back as it was, to the byte."""
        ...

    @property
    def first_byte(self) -> int | None:
        """Token of byte 0, behind which those of the other bytes stand; None where no token is a byte."""
        ...

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, without the end."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, none of which is the end."""
        ...

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """Return what each token stands for, for people."""
        ...

    def openings(self, *, after_blank: bool) -> list[bool]:
        """Return which tokens may open a part of a text that comes, or does not come, behind a blank."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return the vocabulary as JSON values."""
        ...


@dataclass(frozen=True, slots=True)
class Learner:
    """How a kind of vocabulary comes to be.

    Attributes:
        learn: From texts, and the number of tokens, None for as many as suit them.
        restore: From what :meth:`Vocabulary.describe` gave.
    """

    learn: Callable[[Sequence[str], int | None], Vocabulary]
    restore: Callable[[dict[str, Any]], Vocabulary]


#: Kinds of vocabularies by name.
vocabularies: Registry[Learner] = Registry("vocabulary")


@final
@dataclass(frozen=True, slots=True)
class Words:
    """Words between blanks; others than those known become ``<unk>``, and every run of blanks becomes one blank.

    It is the vocabulary of the published corpora, which are cut into words and count them. Texts of other kinds come
    back changed: take :class:`~latentkit.data.text.Subwords` for them.

    Attributes:
        words: The known words, those of most uses first, ``<unk>`` among them; the first is token 1.

    Raises:
        InvalidParameterError: If a word is empty, holds a blank or is there twice, or ``<unk>`` is missing.

    Example:
        >>> words = Words.learn(["a cat sat", "a  dog sat"])
        >>> words.words, words.encode(["a bird sat"])
        (('a', 'sat', 'cat', 'dog', '<unk>'), [[1, 5, 2]])
        >>> words.decode([1, 5, 2])
        'a <unk> sat'
    """

    words: tuple[str, ...]
    _tokens: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        tokens = {word: token for token, word in enumerate(self.words, start=END + 1)}
        odd = next((word for word in self.words if word.split() != [word]), None)
        if odd is not None or len(tokens) != len(self.words) or UNKNOWN not in tokens:
            reason = (
                f"{odd!r} is empty or holds a blank"
                if odd is not None
                else f"{UNKNOWN!r} is not among them"
                if UNKNOWN not in tokens
                else f"{next(word for word, n in Counter(self.words).items() if n > 1)!r} is there twice"
            )
            raise InvalidParameterError(
                f"a vocabulary of words has each once, without blanks, and {UNKNOWN!r} for all others; {reason}."
            )
        object.__setattr__(self, "_tokens", tokens)

    @classmethod
    def learn(cls, texts: Iterable[str], n_tokens: int | None = None) -> Words:
        """Return the words of texts, those of most uses first, the earlier one first among equals.

        Args:
            texts: Texts whose words stand between blanks.
            n_tokens: How many tokens at most, the end and ``<unk>`` included; None for all words.
        """
        counts = Counter(word for text in texts for word in text.split())
        found = [word for word, _ in counts.most_common()]
        if n_tokens is not None:
            known = check_integer("n_tokens", n_tokens, low=3) - 1
            found = found[: known if UNKNOWN in found[:known] else known - 1]
        return cls(tuple(found) if UNKNOWN in found else (*found, UNKNOWN))

    @property
    def name(self) -> str:
        return "words"

    @property
    def n_tokens(self) -> int:
        return len(self.words) + 1

    @property
    def unknown(self) -> int:
        return self._tokens[UNKNOWN]

    @property
    def is_exact(self) -> bool:
        return False

    @property
    def first_byte(self) -> None:
        return None

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [[self._tokens.get(word, self.unknown) for word in text.split()] for text in texts]

    def decode(self, tokens: Sequence[int]) -> str:
        return " ".join(self.pieces(tokens))

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        return [self.words[token - 1] for token in tokens]

    def openings(self, *, after_blank: bool) -> list[bool]:
        return [False, *(word != UNKNOWN for word in self.words)]

    def describe(self) -> dict[str, Any]:
        return {"type": self.name, "words": list(self.words)}


vocabularies.register("words")(Learner(Words.learn, lambda description: Words(tuple(map(str, description["words"])))))
