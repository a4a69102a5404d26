"""The schema of texts: how they become rows of tokens and come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, final

import numpy as np
import torch
from torch import Tensor

from latentkit.core.errors import DataError, InvalidParameterError, SchemaMismatchError
from latentkit.core.parameters import check_integer
from latentkit.data.dataset import Dataset
from latentkit.data.text.reading import TEXT_ENDINGS, read_texts, read_words
from latentkit.data.text.vocabulary import END, UNKNOWN, Vocabulary, Words, vocabularies
from latentkit.data.validation import from_source, show

__all__ = ["TextContainer", "TextSchema", "are_texts", "learn_text_schema", "to_texts"]

#: Number of the format of descriptions.
TEXT_VERSION = 1
#: Tokens of a text, its end included, up to which texts are taken as they are where nothing else is asked for.
_LONGEST = 512


@final
@dataclass(frozen=True, slots=True)
class TextContainer:
    """What texts came in.

    Attributes:
        library: ``"list"``, ``"numpy"``, ``"pandas"`` or ``"polars"``.
        name: Of a series; None where it has none.
    """

    library: Literal["list", "numpy", "pandas", "polars"] = "list"
    name: str | None = None

    def rebuild(self, texts: list[str]) -> Any:
        """Return texts in this container."""
        if self.library == "list":
            return texts
        if self.library == "numpy":
            return np.array(texts, dtype=object)
        try:
            if self.library == "pandas":
                import pandas as pd

                return pd.Series(texts, name=self.name, dtype=object)
            import polars as pl

            return pl.Series(self.name or "", texts, dtype=pl.String)
        except ImportError as error:
            raise DataError(
                f"the model was fitted on a {self.library} series, and gives one back, but {self.library} is not "
                f"installed here. Install it: pip install {self.library}"
            ) from error


def to_texts(data: Any, *, source: str = "") -> list[str]:
    """Return texts out of a list, an array or a series.

    Raises:
        DataError: If there is none, or something is no text that UTF-8 can hold; the row is named.
    """
    if isinstance(data, str):
        raise DataError("one text came where texts are wanted. Give a list of texts: [text]")
    values = data.tolist() if isinstance(data, np.ndarray) else list(data)
    if not values:
        raise DataError(f"{from_source(source)}there are no texts. Give at least one")
    odd = next((row for row, value in enumerate(values) if not isinstance(value, str)), None)
    if odd is not None:
        raise DataError(
            f"{from_source(source)}texts are needed, but row {odd} (counted from 0) holds {show(values[odd])}. "
            "Leave such rows out, or write them as text"
        )
    try:
        "".join(values).encode()
    except UnicodeEncodeError:
        row = next(row for row, value in enumerate(values) if not _is_whole(value))
        raise DataError(
            f"{from_source(source)}row {row} (counted from 0) holds half of a pair of surrogates, which is no text: "
            f"{show(values[row])}. Read the data as UTF-8 again"
        ) from None
    return values


def are_texts(data: Any) -> bool:
    """Whether data are a list, an array or a series whose first entry is a text; numbers written as texts are none.

    Example:
        >>> are_texts(["a cat", "a dog"]), are_texts([["1", "2"]]), are_texts(["1.5", "2"])
        (True, False, False)
    """
    if isinstance(data, str | bytes) or getattr(data, "ndim", 1) != 1 or not hasattr(data, "__len__") or not len(data):
        return False
    first = data[0] if isinstance(data, list | tuple | np.ndarray) else next(iter(data))
    if not isinstance(first, str):
        return False
    values = list(data)
    return not all(isinstance(value, str) and _is_number(value) for value in values)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@final
@dataclass(frozen=True, slots=True)
class TextSchema:
    """How texts become rows of tokens and come back.

    *User form*: texts in a list, an array or a series. *Storage*: integers, shape (n, max_length): the tokens of a
    text, then token 0, its end, to the last place. Of a text of more tokens the first `max_length` are taken, and it
    then has no end. *Model units*: the same as int64, without the places behind the longest text of a batch.

    Attributes:
        vocabulary: Cuts texts into tokens.
        max_length: Tokens of a text at most, its end included.
        container: What the texts came in.
        n_examples: Number of texts that it was learnt from.
        notes: What was recognised, a sentence each.

    Example:
        >>> schema = learn_text_schema(["a cat sat", "a dog"], vocabulary="words")
        >>> schema.encode(["a cat", "a dog sat"])
        tensor([[1, 2, 0, 0],
                [1, 4, 3, 0]], dtype=torch.int16)
        >>> schema.decode(torch.tensor([[1, 4, 0, 0]]))
        ['a dog']
    """

    vocabulary: Vocabulary
    max_length: int
    container: TextContainer = TextContainer()
    n_examples: int = 0
    notes: tuple[str, ...] = ()

    @property
    def kind(self) -> Literal["text"]:
        """``"text"``."""
        return "text"

    @property
    def values(self) -> Literal["text"]:
        """``"text"``."""
        return "text"

    @property
    def n_levels(self) -> None:
        """None: tokens are no grid of numbers."""
        return

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(max_length,)."""
        return (self.max_length,)

    @property
    def user_shape(self) -> tuple[int, ...]:
        """(): one text."""
        return ()

    @property
    def feature_names(self) -> None:
        """None: texts have no columns."""
        return

    def read(self, data: Any) -> list[str]:
        """Return texts out of any container, or the path of a file of them.

        Raises:
            DataError: If something is no text.
        """
        return _texts(data)[0]

    def encode(self, data: Any, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return texts as storage.

        Args:
            data: Texts in any container, or the path of a file of them.
            dtype: Without meaning: tokens are integers.
        Raises:
            DataError: If something is no text.
        """
        texts = self.read(data)
        rows = self.vocabulary.encode(texts)
        small = torch.int16 if self.vocabulary.n_tokens <= 1 << 15 else torch.int32
        storage = torch.full((len(rows), self.max_length), END, dtype=small)
        for row, tokens in zip(storage.numpy(), rows, strict=True):
            row[: len(tokens)] = tokens[: self.max_length]
        return storage

    def to_model(self, storage: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return storage as int64, shape (n, longest), without the places that no text of it reaches."""
        longest = int((storage != END).any(0).sum()) if len(storage) else 0
        return storage[:, : min(longest + 1, self.max_length)].long()

    def lengths(self, storage: Tensor) -> Tensor:
        """Return the tokens of each text with its end, shape (n,), int64."""
        return ((storage != END).sum(1) + 1).clamp_max(self.max_length)

    def decode(self, x: Tensor, *, snap: bool = True) -> Any:
        """Return tokens as texts in the container of fit.

        Args:
            x: Tokens, shape (*batch, length); what stands behind the first end does not count.
            snap: Without meaning.
        Raises:
            SchemaMismatchError: If `x` holds something else than tokens.
        """
        return self.container.rebuild(self.texts(x))

    def texts(self, x: Tensor) -> list[str]:
        """Return tokens, shape (*batch, length), as a list of texts."""
        return [self.vocabulary.decode(tokens) for tokens in self.rows(x)]

    def rows(self, x: Tensor) -> list[list[int]]:
        """Return tokens, shape (*batch, length), as a list for each text, without the end.

        Raises:
            SchemaMismatchError: If `x` holds something else than tokens.
        """
        tokens = x.detach().cpu().long()
        if tokens.ndim < 2 or (tokens.numel() and not 0 <= int(tokens.min()) <= int(tokens.max()) < self.n_tokens):
            raise SchemaMismatchError(
                f"expected tokens from 0 to {self.n_tokens - 1}, shape (*batch, length); got shape {tuple(x.shape)}."
            )
        return [row[: row.index(END)] if END in row else row for row in tokens.flatten(0, -2).tolist()]

    @property
    def n_tokens(self) -> int:
        """Number of tokens of the vocabulary."""
        return self.vocabulary.n_tokens

    def summary(self) -> list[tuple[str, str]]:
        """Return what was recognised, for people: name and text of each line; warnings begin with "warning"."""
        shown = "every text comes back to the byte" if self.vocabulary.is_exact else "blanks and unknown words change"
        return [
            ("kind", "texts"),
            ("vocabulary", f"{self.vocabulary.name}, {self.n_tokens:,} tokens; {shown}"),
            ("length", f"up to {self.max_length:,} tokens"),
            *(("note", note) for note in self.notes),
        ]

    def describe(self) -> dict[str, Any]:
        """Return the schema as JSON values."""
        return {
            "version": TEXT_VERSION,
            "type": "text",
            "vocabulary": self.vocabulary.describe(),
            "max_length": self.max_length,
            "container": {"library": self.container.library, "name": self.container.name},
            "n_examples": self.n_examples,
            "notes": list(self.notes),
        }

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> TextSchema:
        """Return the schema that :meth:`describe` described; a part that is missing or makes no sense raises."""
        vocabulary = description["vocabulary"]
        library = description["container"]["library"]
        if library not in ("list", "numpy", "pandas", "polars"):
            raise ValueError(f"container {library!r}")
        return cls(
            vocabulary=vocabularies[vocabulary["type"]].restore(vocabulary),
            max_length=check_integer("max_length", description["max_length"], low=1),
            container=TextContainer(library, description["container"]["name"]),
            n_examples=int(description["n_examples"]),
            notes=tuple(map(str, description["notes"])),
        )


def learn_text_schema(
    data: Any,
    *,
    vocabulary: str | Path | Sequence[str] = "subwords",
    n_tokens: int | None = None,
    max_length: int | None = None,
) -> TextSchema:
    """Learn how texts become tokens.

    Args:
        data: Texts in a list, an array, a series, or the path of a file of them.
        vocabulary: ``"subwords"`` that suit the texts, from which every text comes back to the byte; ``"words"``
            between blanks; or the words themselves, ``<unk>`` among them, as published protocols give them, or the
            path of a ``.txt`` file of them, one a line.
        n_tokens: How many tokens at most; None for as many as suit the texts.
        max_length: Tokens of a text at most, its end included; longer ones are cut. None for those of the longest, and
            for 512 where it has more.
    Raises:
        DataError: If something is no text, there are fewer than two, or words that were given are not those of the
            texts.
        UnreadableDataError: If a file cannot be read.
        InvalidParameterError: If an option has a value that it cannot have.
    """
    texts, source = _texts(data)
    if len(texts) < 2:
        raise DataError(
            f"{from_source(source)}at least 2 texts are needed to learn from, and some thousands to learn anything "
            "useful; got 1"
        )
    given = _given_words(vocabulary)
    if given is not None and n_tokens is not None:
        raise InvalidParameterError(f"n_tokens={n_tokens!r} is for a vocabulary that is learnt, and words were given.")
    learnt = vocabularies[str(vocabulary)].learn(texts, n_tokens) if given is None else given
    tokens = learnt.encode(texts)
    lengths = np.array([len(row) + 1 for row in tokens])
    longest = int(lengths.max())
    most = min(longest, _LONGEST) if max_length is None else check_integer("max_length", max_length, low=1)
    notes = [f"{len(texts):,} texts of {lengths.mean():.0f} {learnt.name} on average, of {learnt.n_tokens:,} in all"]
    if n_cut := int((lengths > most).sum()):
        notes.append(
            f"longer than {most:,} tokens: {n_cut:,} of the texts, the longest has {longest:,}; the first {most:,} "
            "of each are taken (max_length)"
        )
    n_words = max(1, int(lengths.sum()) - len(texts))
    n_unknown = 0 if learnt.is_exact else sum(row.count(learnt.unknown) for row in tokens)
    if given is not None and 2 * n_unknown > n_words:
        raise DataError(
            f"{from_source(source)}the vocabulary does not fit: it knows less than half of the words of the texts, "
            f"not {show(_unknown_word(learnt, texts))}. Take the one that belongs to them, or vocabulary='words'"
        )
    if n_unknown:
        notes.append(f"{n_unknown / n_words:.1%} of the words are not known: {UNKNOWN}")
    container = _container(data.data if isinstance(data, Dataset) else data)
    schema = TextSchema(learnt, min(most, longest), container, len(texts))
    return replace(schema, notes=tuple(notes))


def _texts(data: Any) -> tuple[list[str], str]:
    """Texts, and the name of where they came from."""
    found = read_texts(data)
    return to_texts(found.data, source=found.source), found.source


def _given_words(vocabulary: str | Path | Sequence[str]) -> Words | None:
    """The words that were given, or are in the file that was; None where a vocabulary is to be learnt."""
    if isinstance(vocabulary, Path) or (isinstance(vocabulary, str) and vocabulary.endswith(TEXT_ENDINGS)):
        return Words(read_words(vocabulary))
    return None if isinstance(vocabulary, str) else Words(tuple(vocabulary))


def _unknown_word(vocabulary: Vocabulary, texts: Sequence[str]) -> str:
    """The first word of the texts that a vocabulary does not know."""
    words = (word for text in texts for word in text.split())
    return next((word for word in words if vocabulary.encode([word]) == [[vocabulary.unknown]]), "")


def _container(data: Any) -> TextContainer:
    module = type(data).__module__.partition(".")[0]
    if module in ("pandas", "polars"):
        name = None if data.name is None else str(data.name)
        return TextContainer(cast(Any, module), name)
    return TextContainer("numpy" if isinstance(data, np.ndarray) else "list")
