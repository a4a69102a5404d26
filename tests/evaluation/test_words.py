"""Words: blanks part them, and scripts without blanks are cut into characters."""

from __future__ import annotations

import numpy as np
import pytest

from latentkit.evaluation import words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  \t a\u00a0b\u3000c ", ["a", "b", "c"]),
        ("don't stop-it , <unk>!", ["don't", "stop-it", ",", "<unk>!"]),
        ("中国股市,涨3.5%。", ["中", "国", "股", "市", ",", "涨", "3.5%", "。"]),
        ("私はPython3が好き！", ["私", "は", "Python3", "が", "好", "き", "！"]),
        ("나는 학교에 간다", ["나는", "학교에", "간다"]),
        ("NLP！b「a」", ["NLP", "！", "b", "「", "a", "」"]),
        ("𠀀𠀁 a", ["𠀀", "𠀁", "a"]),
        ("สวัสดี", list("สวัสดี")),
    ],
)
def test_cuts(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_scripts_with_blanks_are_split_as_python_splits_them() -> None:
    random = np.random.default_rng(0)
    letters = list("ab \n\t\x1c\u2003éßжωअé가'-\U0001f600")
    for _ in range(200):
        text = "".join(random.choice(letters, random.integers(0, 12)))
        assert words_of(text) == text.split()
