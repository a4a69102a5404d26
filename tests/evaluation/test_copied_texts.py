"""Recited texts against a search by hand."""

from __future__ import annotations

import numpy as np
import pytest

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import copied_texts
from latentkit.evaluation.copied_texts import _longest_runs


def texts(n: int, seed: int, *, words: str = "abcd") -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(list(words), random.integers(0, 10))) for _ in range(n)]


@pytest.mark.parametrize("seed", range(3))
def test_longest_runs_are_those_of_a_search(seed: int) -> None:
    own, known = ([text.split() for text in texts(n, place + 10 * seed)] for place, n in enumerate((25, 8)))
    runs = {tuple(text[i:j]) for text in known for i in range(len(text)) for j in range(i + 1, len(text) + 1)}
    expected = [
        max(
            (j - i for i in range(len(text)) for j in range(i + 1, len(text) + 1) if tuple(text[i:j]) in runs),
            default=0,
        )
        for text in own
    ]
    assert _longest_runs(own, known).tolist() == expected


def test_a_model_that_recites_is_found() -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    train, fresh = texts(200, 0, words=letters), texts(100, 1, words=letters)
    recited = [train[row] for row in np.random.default_rng(2).integers(0, 200, 80)]
    found = copied_texts(recited, train, fresh)
    assert found.whole == found.mostly == found.run == 1.0
    assert max(found.whole_floor, found.mostly_floor, found.run_floor) < 0.7
    honest = copied_texts(fresh, train, fresh)
    assert (honest.whole, honest.mostly, honest.run) == (found.whole_floor, found.mostly_floor, found.run_floor)
    assert found.computed_with == "80 samples and 100 held-out texts among 200 of training"


def test_runs_do_not_cross_texts() -> None:
    found = copied_texts(["a b c d"], ["x a b", "c d y"], ["q"])
    assert (found.whole, found.mostly, found.run, found.run_floor) == (0.0, 0.0, 0.5, 0.0)


def test_blanks_and_empty_texts() -> None:
    found = copied_texts(["a  b", "", " "], ["a b"], [""])
    assert (found.whole, found.mostly, found.run) == (1 / 3, 1 / 3, 1 / 3)
    assert copied_texts([""], ["a", " "], ["", "a"]).whole == 1.0


def test_empty_sets_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match=r"at least one text each; got \[1, 0, 1\]"):
        copied_texts(["a"], [], ["b"])
