"""How well texts are predicted, a word and a byte at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.data import TextSchema
from latentkit.data.text import END
from latentkit.evaluation.words import words_of

__all__ = ["Perplexity", "perplexity", "word_counts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Perplexity:
    r"""How well texts are predicted, whatever tokens they are made of.

    .. math:: P_{word} = \exp \frac{N}{W}, \qquad b = \frac{N}{B \log 2}

    with N the nats of all texts together, W their words and B their bytes.

    Attributes:
        nats: Negative log-likelihood of all texts, N.
        n_texts: Texts.
        n_words: Words, and one for the end of each text, as the literature counts; see
            :func:`~latentkit.evaluation.words_of`.
        n_bytes: Bytes of UTF-8, and one for the end of each text, the line feed of a file.
    """

    nats: float
    n_texts: int
    n_words: int
    n_bytes: int

    @property
    def per_word(self) -> float:
        """Perplexity of a word: as uncertain as an even choice among so many."""
        return float(torch.tensor(self.nats / self.n_words, dtype=torch.float64).exp())

    @property
    def bits_per_byte(self) -> float:
        """Bits of a byte: the logarithm to base 2 of the perplexity of a byte."""
        return self.nats / (self.n_bytes * math.log(2.0))

    @property
    def computed_with(self) -> str:
        """What the figures rest on."""
        return f"{self.n_texts:,} texts of {self.n_words:,} words, their ends included"


def perplexity(log_likelihood: Tensor, storage: Tensor, schema: TextSchema) -> Perplexity:
    """Count words and bytes of texts, as a model sees them.

    Words and bytes are those of the texts that the tokens stand for: of a text that was cut, those that are left, and
    no end; of a vocabulary of words ``<unk>`` in place of others, as the literature has it.

    Args:
        log_likelihood: Of each text, its end included, nats, shape (n,).
        storage: Their tokens, shape (n, max_length).
        schema: What made them.

    Example:
        >>> from latentkit.data import learn_text_schema
        >>> schema = learn_text_schema(["a b", "a c"], vocabulary="words")
        >>> found = perplexity(torch.tensor([-math.log(8.0)]), schema.encode(["a b"]), schema)
        >>> round(found.per_word, 6), found.n_bytes, round(found.bits_per_byte, 6)
        (2.0, 4, 0.75)
    """
    words, octets = word_counts(storage, schema)
    return Perplexity(
        nats=-float(log_likelihood.double().sum()), n_texts=len(words), n_words=sum(words), n_bytes=sum(octets)
    )


def word_counts(storage: Tensor, schema: TextSchema) -> tuple[list[int], list[int]]:
    """Count the words and the bytes of each text, its end included unless it was cut; see :func:`perplexity`."""
    texts, ends = schema.texts(storage), (storage == END).any(1).long().tolist()
    words = [end + len(words_of(text)) for end, text in zip(ends, texts, strict=True)]
    return words, [end + len(text.encode()) for end, text in zip(ends, texts, strict=True)]
