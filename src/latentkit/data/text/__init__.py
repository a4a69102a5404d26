"""Texts: how they are read, cut into tokens, and joined again."""

from latentkit.data.text.reading import TEXT_ENDINGS, BadText, read_lines, read_text_column, read_texts, read_words
from latentkit.data.text.schema import TextContainer, TextSchema, are_texts, learn_text_schema, to_texts
from latentkit.data.text.signs import with_signs
from latentkit.data.text.subwords import Subwords
from latentkit.data.text.vocabulary import END, Learner, Vocabulary, Words, vocabularies

__all__ = [
    "END",
    "TEXT_ENDINGS",
    "BadText",
    "Learner",
    "Subwords",
    "TextContainer",
    "TextSchema",
    "Vocabulary",
    "Words",
    "are_texts",
    "learn_text_schema",
    "read_lines",
    "read_text_column",
    "read_texts",
    "read_words",
    "to_texts",
    "vocabularies",
    "with_signs",
]
