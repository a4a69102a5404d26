"""Texts that a model recites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation.words import words_of

__all__ = ["CopiedTexts", "copied_texts"]

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedTexts:
    """What texts of a model repeat of its training texts, beside what held-out texts repeat.

    Attributes:
        whole: Share of the texts that are a training text, word for word, in [0, 1].
        whole_floor: The same share of held-out texts.
        mostly: Share of the texts of which more than half is one run of words of a training text, in [0, 1].
        mostly_floor: The same share of held-out texts.
        run: Mean share of a text's words in the longest run that stands in a training text, in [0, 1].
        run_floor: The same mean over held-out texts.
        n_train: Training texts.
        n_held_out: Held-out texts.
        n_samples: Texts of the model.
    """

    whole: float
    whole_floor: float
    mostly: float
    mostly_floor: float
    run: float
    run_floor: float
    n_train: int
    n_held_out: int
    n_samples: int

    @property
    def computed_with(self) -> str:
        """What the figures rest on."""
        return f"{self.n_samples:,} samples and {self.n_held_out:,} held-out texts among {self.n_train:,} of training"


def copied_texts(samples: Sequence[str], train: Sequence[str], held_out: Sequence[str]) -> CopiedTexts:
    r"""Count what is repeated of the training texts.

    .. math:: run = \frac{1}{M} \sum_j \max_i \frac{|y_j \cap x_i|}{|y_j|}

    with the number of words of a sample y below, and above that of the longest run that it has in common with a
    training text x.

    The figures of held-out texts are the floor: new texts of the same kind repeat that much by themselves, phrases,
    and whole texts where these are short. A model well above it recites.

    Args:
        samples: Texts of a model.
        train: The texts that it was fitted on: all of them, for what is left out cannot be found.
        held_out: Real texts that it was not fitted on.

    Returns:
        Shares beside their floors. Time is about linear in the number of words.

    Raises:
        InvalidParameterError: If one of the sets is empty.

    Example:
        >>> found = copied_texts(["a cat sat here", "the cat"], ["a cat sat", "the cat"], ["a new text"])
        >>> found.whole, found.run, found.whole_floor
        (0.5, 0.875, 0.0)
    """
    sets = {"samples": samples, "train": train, "held_out": held_out}
    if not all(map(len, sets.values())):
        raise InvalidParameterError(
            f"samples, train and held_out need at least one text each; got {[len(texts) for texts in sets.values()]}."
        )
    known = [words_of(text) for text in train]
    whole, mostly, run = _shares([words_of(text) for text in samples], known)
    whole_floor, mostly_floor, run_floor = _shares([words_of(text) for text in held_out], known)
    return CopiedTexts(
        whole=whole,
        whole_floor=whole_floor,
        mostly=mostly,
        mostly_floor=mostly_floor,
        run=run,
        run_floor=run_floor,
        n_train=len(train),
        n_held_out=len(held_out),
        n_samples=len(samples),
    )


def _shares(texts: Sequence[list[str]], known: Sequence[list[str]]) -> tuple[float, float, float]:
    """Share of copies, share of texts that are mostly one run, and mean share of the longest run."""
    whole = set(map(tuple, known))
    is_copy = np.array([tuple(words) in whole for words in texts])
    lengths = np.array([len(words) for words in texts])
    # a text without words is a copy or it is nothing
    share = np.where(lengths > 0, _longest_runs(texts, known) / np.maximum(lengths, 1), is_copy)
    return float(is_copy.mean()), float((share > 0.5).mean()), float(share.mean())


def _longest_runs(texts: Sequence[list[str]], known: Sequence[list[str]]) -> Integers:
    """Words of the longest run of each text that stands in a known one, shape (n,)."""
    numbers: dict[str, int] = {}
    own, left, text = _flat(texts, numbers)
    others, others_left, _ = _flat(known, numbers)
    longest = np.zeros(len(texts), np.int64)
    # runs of n words are numbered by that of the n - 1 before and the last word; those of one side alone are dropped
    places, runs = np.arange(len(own)), own
    others_places, others_runs = np.arange(len(others)), others
    n = 1
    while True:
        common = np.intersect1d(runs, others_runs)
        places, runs = _kept(places, runs, common)
        others_places, others_runs = _kept(others_places, others_runs, common)
        if not len(places):
            return longest
        longest[text[places]] = n
        places, runs = _longer(places, runs, n, own, left, len(numbers))
        others_places, others_runs = _longer(others_places, others_runs, n, others, others_left, len(numbers))
        n += 1


def _flat(texts: Sequence[list[str]], numbers: dict[str, int]) -> tuple[Integers, Integers, Integers]:
    """Of all words in a row: their numbers, how many of their text are left from each on, and which text it is."""
    words = np.array([numbers.setdefault(word, len(numbers)) for each in texts for word in each], np.int64)
    left = np.array([count for each in texts for count in range(len(each), 0, -1)], np.int64)
    return words, left, np.repeat(np.arange(len(texts)), [len(each) for each in texts])


def _kept(places: Integers, runs: Integers, common: Integers) -> tuple[Integers, Integers]:
    """The runs that both sides have, numbered anew."""
    is_common = np.isin(runs, common)
    return places[is_common], np.searchsorted(common, runs[is_common])


def _longer(
    places: Integers, runs: Integers, n: int, words: Integers, left: Integers, n_words: int
) -> tuple[Integers, Integers]:
    """The runs of n words with the word behind them, where their text goes on."""
    goes_on = left[places] > n
    places, runs = places[goes_on], runs[goes_on]
    return places, runs * n_words + words[places + n]
