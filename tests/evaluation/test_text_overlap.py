"""Shared runs of words against sums by hand and the definitions written out."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import bleu, distinct_n, self_bleu

# Papineni et al., 2002, section 2: examples 1 and 2
REFERENCES = [
    "It is a guide to action that ensures that the military will forever heed Party commands",
    "It is the guiding principle which guarantees the military forces always being under the command of the Party",
    "It is the practical guide for the army always to heed the directions of the party",
]
GOOD = "It is a guide to action which ensures that the military always obeys the commands of the party"


def texts(n: int, seed: int, *, longest: int = 9) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(list("abc"), random.integers(0, longest))) for _ in range(n)]


def test_the_example_of_the_paper() -> None:
    # 17 of 18 words, 10 of 17 pairs, 7 of 16 triples, 4 of 15 runs of four; a reference of 18 words is there too
    expected = (17 / 18 * 10 / 17 * 7 / 16 * 4 / 15) ** 0.25
    assert bleu([GOOD], [REFERENCES]) == pytest.approx(expected, rel=1e-12)
    # no word counts more often than in a reference
    assert bleu(["the the the the the the the"], [["The cat is on the mat the", "a mat"]], n=1) == pytest.approx(2 / 7)


def test_short_texts_pay() -> None:
    # all runs stand there; c = 4 and r = 6, pooled over both texts: c = 8, r = 10
    assert bleu(["a b c d"], ["a b c d e f"]) == pytest.approx(math.exp(1 - 6 / 4))
    assert bleu(["a b c d", "e f g h"], ["a b c d e f", "e f g h"]) == pytest.approx(math.exp(1 - 10 / 8))
    # of the lengths 2 and 6 the shorter one is as near to 4
    assert bleu(["a b c d"], [["x y", "a b c d e f"]]) == 1.0
    assert bleu(["a b c d e f g"], ["a b c d"], n=1) == pytest.approx(4 / 7)  # long ones pay by what is wrong


def test_counts_are_pooled_and_not_smoothed() -> None:
    assert bleu(["a b", "c d"], ["a b", "x y"], n=2) == pytest.approx(0.5)
    assert bleu(["a b c"], ["a b c"]) == 0.0
    assert bleu(["a c b"], ["a b c"], n=2) == 0.0
    assert bleu([""], ["a"]) == 0.0


def test_the_order_of_texts_does_not_matter() -> None:
    made, real = texts(30, 0), texts(30, 1)
    order = np.random.default_rng(2).permutation(30)
    shuffled = bleu([made[row] for row in order], [real[row] for row in order], n=2)
    assert shuffled == pytest.approx(bleu(made, real, n=2), rel=1e-12)
    assert self_bleu([made[row] for row in order], n=2) == pytest.approx(self_bleu(made, n=2), rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_self_bleu_is_bleu_with_all_others_as_references(seed: int) -> None:
    made = texts(12, seed) + ["a b c a b c c c", "a b c a b c c c"]
    others = [[*made[:place], *made[place + 1 :]] for place in range(len(made))]
    for n in (1, 2, 4):
        assert self_bleu(made, n=n) == pytest.approx(bleu(made, others, n=n), rel=1e-12)


def test_self_bleu_of_repeats_and_of_strangers() -> None:
    assert self_bleu(["a b c d", "e f g h", "a b c d", "e f g h"]) == 1.0
    assert self_bleu(["a b c d", "e f g h"]) == 0.0


@pytest.mark.parametrize("n", [1, 2, 3])
def test_distinct_is_a_count(n: int) -> None:
    made = texts(40, 5)
    runs = [tuple(text.split()[i : i + n]) for text in made for i in range(len(text.split()) - n + 1)]
    assert distinct_n(made, n) == len(Counter(runs)) / len(runs)
    assert distinct_n(made * 2, n) == pytest.approx(distinct_n(made, n) / 2)
    assert distinct_n(["天地"], 1) == 1.0
    assert distinct_n(["", "a"], n + 1) == 0.0


def test_what_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="an entry for each text, of one text or more; got 1 texts and 2"):
        bleu(["a"], ["a", "b"])
    with pytest.raises(InvalidParameterError, match="1 of them empty"):
        bleu(["a"], [[]])
    with pytest.raises(InvalidParameterError, match="at least 2 are needed; got 1"):
        self_bleu(["a"])
    for measure in (lambda: bleu(["a"], ["a"], n=0), lambda: self_bleu(["a", "b"], n=0), lambda: distinct_n([], 0)):
        with pytest.raises(InvalidParameterError, match="n must be"):
            measure()
