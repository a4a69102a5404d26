"""Runs of words that texts share: how varied texts are, and how like each other."""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import TypeAlias

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.evaluation.words import ngrams, words_of

__all__ = ["bleu", "distinct_n", "self_bleu"]

_Counts: TypeAlias = Counter[tuple[str, ...]]


def distinct_n(texts: Sequence[str], n: int) -> float:
    r"""Share of different runs of n words among all such runs of a set of texts.

    .. math:: D_n = \frac{|\{g : g \in G_n\}|}{|G_n|}

    It falls with the number of texts and rises with noise, so it is compared with that of as many real texts.

    Args:
        texts: Texts; see :func:`~latentkit.evaluation.words_of` for what a word is.
        n: Words of a run, at least 1.

    Returns:
        In [0, 1]; 0 where no text has n words.

    Raises:
        InvalidParameterError: If n is below 1.

    References:
        Li et al., 2016, A Diversity-Promoting Objective Function for Neural Conversation Models, arXiv:1510.03055.

    Example:
        >>> distinct_n(["a a a", "a b"], 1), distinct_n(["a a a", "a b"], 2)
        (0.4, 0.6666666666666666)
    """
    check_integer("n", n, low=1)
    counts = _counts([words_of(text) for text in texts], n)
    return len(counts) / counts.total() if counts else 0.0


def bleu(texts: Sequence[str], references: Sequence[str | Sequence[str]], *, n: int = 4) -> float:
    r"""BLEU of a set of texts: how many of their runs of words stand in texts that they should be like.

    .. math:: B = \min(1, e^{1 - r / c}) \prod_{k=1}^{n} p_k^{1/n}

    with p_k the share of all runs of k words that stand in a reference of their text, none more often than there; c the
    number of words, and r that of the references, of several the one of nearest length, the shorter among equals.
    Counts are added up over all texts, and nothing is smoothed: without a single common run of n words it is 0.

    Args:
        texts: Texts to judge; see :func:`~latentkit.evaluation.words_of` for what a word is.
        references: For each text one, or several in a list.
        n: Words of the longest runs, at least 1.

    Returns:
        In [0, 1]; often quoted times 100. Higher is more alike.

    Raises:
        InvalidParameterError: If there is not one entry of references, of one text or more, for each text.

    References:
        Papineni et al., 2002, BLEU: a Method for Automatic Evaluation of Machine Translation.

    Example:
        >>> bleu(["the cat sat on the mat"], ["the cat sat on the mat"])
        1.0
        >>> round(bleu(["the the cat"], [["the cat", "a cat"]], n=2), 3)  # (2/3 * 1/2) ** 0.5
        0.577
    """
    check_integer("n", n, low=1)
    several = [[entry] if isinstance(entry, str) else list(entry) for entry in references]
    if len(several) != len(texts) or not all(several):
        raise InvalidParameterError(
            f"references must have an entry for each text, of one text or more; got {len(texts)} texts and "
            f"{len(several)} entries, {sum(not entry for entry in several)} of them empty."
        )
    cut = [words_of(text) for text in texts]
    beside = [[words_of(text) for text in entry] for entry in several]
    reference_length = sum(
        min((abs(len(one) - len(words)), len(one)) for one in entry)[1]
        for words, entry in zip(cut, beside, strict=True)
    )
    precisions = []
    for k in range(1, n + 1):
        matched = total = 0
        for words, entry in zip(cut, beside, strict=True):
            own = _counts([words], k)
            matched += (own & reduce(or_, (_counts([one], k) for one in entry))).total()
            total += own.total()
        precisions.append(_share(matched, total))
    return _score(precisions, sum(map(len, cut)), reference_length)


def self_bleu(texts: Sequence[str], *, n: int = 4) -> float:
    """BLEU of each text with all the others as its references: how alike the texts of a set are.

    Counts are added up over all texts, as in :func:`bleu`, rather than averaged over texts, whose figures would depend
    on how zero counts are smoothed. It rises with the number of texts, so it is compared with that of as many real
    ones. Time is linear in the number of words.

    Args:
        texts: At least two.
        n: Words of the longest runs, at least 1.

    Returns:
        In [0, 1]; 1 where every text is there twice.

    Raises:
        InvalidParameterError: If there are fewer than two texts.

    References:
        Zhu et al., 2018, Texygen: A Benchmarking Platform for Text Generation Models, arXiv:1802.01886.

    Example:
        >>> self_bleu(["a cat sat here", "a dog sat there"], n=1), self_bleu(["a b c d", "a b c d"])
        (0.5, 1.0)
    """
    check_integer("n", n, low=1)
    if len(texts) < 2:
        raise InvalidParameterError(f"texts are compared with each other, so at least 2 are needed; got {len(texts)}.")
    cut = [words_of(text) for text in texts]
    precisions = [_share(*_matches_of_others(cut, k)) for k in range(1, n + 1)]
    lengths = sorted(map(len, cut))
    return _score(precisions, sum(lengths), sum(_nearest_other(lengths, len(words)) for words in cut))


def _matches_of_others(texts: Sequence[list[str]], k: int) -> tuple[int, int]:
    """Runs of k words that stand in another text, none more often than in one of these, and runs in all."""
    counts = [_counts([words], k) for words in texts]
    # of each run: how often the text has it that has it most, which one that is, and how often any other
    most: dict[tuple[str, ...], tuple[int, int, int]] = {}
    for place, own in enumerate(counts):
        for run, count in own.items():
            first, owner, second = most.get(run, (0, -1, 0))
            most[run] = (count, place, first) if count > first else (first, owner, max(second, count))
    matched = 0
    for place, own in enumerate(counts):
        for run, count in own.items():
            first, owner, second = most[run]
            matched += min(count, second if owner == place else first)
    return matched, sum(own.total() for own in counts)


def _nearest_other(lengths: Sequence[int], length: int) -> int:
    """The length nearest to one of several in order, without that one itself; the shorter among equals."""
    left, right = bisect.bisect_left(lengths, length), bisect.bisect_right(lengths, length)
    if right - left > 1:
        return length
    others = [*lengths[max(0, left - 1) : left], *lengths[right : right + 1]]
    return min(others, key=lambda other: (abs(other - length), other))


def _counts(texts: Sequence[list[str]], n: int) -> _Counts:
    return Counter(run for words in texts for run in ngrams(words, n))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _score(precisions: Sequence[float], length: int, reference_length: int) -> float:
    if not all(precisions):
        return 0.0
    brevity = min(0.0, 1.0 - reference_length / length)
    return math.exp(brevity + sum(map(math.log, precisions)) / len(precisions))
