"""Distributions of columns: each part has its say, and what does not fit is refused."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from latentkit.codec.exact import ExactLayer, Span
from latentkit.codec.rows.conditional import HIDDEN, LOGITS, ColumnTables, Conditionals
from latentkit.core.errors import DamagedArchiveError
from tests.codec.rows.hand_made import columns, tables

KIN = np.zeros((3, 4), np.int64)


def changed(number: int, **parts: object) -> Conditionals:
    made = tables(columns())
    old = made[number]
    made[number] = ColumnTables(**{f.name: parts.get(f.name, getattr(old, f.name)) for f in fields(old)})
    return Conditionals(range(4), made, KIN)


def shares(
    conditionals: Conditionals, number: int, symbols: list[int], kin: list[list[int]] | None = None
) -> np.ndarray:
    """Probabilities of a column of a row whose columns before have these symbols."""
    told = np.full((1, 2, 4), -1, np.int64) if kin is None else np.array([kin])
    context = conditionals.context(told)
    for place, symbol in enumerate(symbols):
        conditionals.tell(context, place, np.array([symbol]))
    return np.diff(conditionals.frequencies(context, number))[0] / (1 << 20)


def test_a_parent_suggests_a_symbol() -> None:
    for symbol in range(4):
        with_boost = shares(changed(3), 3, [0, 0, symbol])
        without = shares(changed(3, boost=0), 3, [0, 0, symbol])
        odds = (with_boost / (1 - with_boost)) / (without / (1 - without))
        assert odds[symbol] == pytest.approx(np.exp(96 / 32), rel=0.02)


def test_kin_suggest_their_symbols() -> None:
    none, first = [-1] * 4, [0, 2, 1, 2]
    plain = shares(changed(2, kin_boosts=np.array([0, 0])), 2, [0, 0], [first, none])
    told = shares(changed(2), 2, [0, 0], [first, none])
    twice = shares(changed(2), 2, [0, 0], [first, first])
    assert plain[1] < told[1] < twice[1]
    odds = (told / (1 - told)) / (plain / (1 - plain))
    assert odds[1] == pytest.approx(np.exp(64 / 32), rel=0.02)
    near = shares(changed(1, kin_boosts=np.array([0, 0])), 1, [0], [first, none])
    apart = shares(changed(1, kin_boosts=np.array([0, 0]), kin_peaks=np.array([0, 0])), 1, [0], [first, none])
    assert near[2] / apart[2] > 1.5 > near[0] / apart[0]


def test_the_bump_follows_what_the_position_of_another_column_says() -> None:
    left = shares(changed(1, direct=np.array([600, 0, 0, 0])), 1, [0])
    right = shares(changed(1, direct=np.array([-600, 0, 0, 0])), 1, [0])
    assert left[0] > right[0]
    assert right[3] > left[3]


def test_hidden_units_are_what_the_symbols_add() -> None:
    conditionals = changed(0)
    context = conditionals.context(np.full((2, 2, 4), -1))
    conditionals.tell(context, 1, np.array([3, 4]))
    table = conditionals.tables[1]
    expected = table.embeddings[3] + (table.positions[3] * table.slopes >> 9)
    assert context.hidden[0].tolist() == expected.tolist()
    assert context.hidden[1].tolist() == table.embeddings[4].tolist()
    assert context.positions[:, 1].tolist() == [table.positions[3], 0]


def layer(shape: tuple[int, int], inputs: Span = HIDDEN, outputs: Span = LOGITS) -> ExactLayer:
    return ExactLayer(
        np.ones(shape, int), np.zeros(shape[0], int), np.zeros(shape[0], int), inputs=inputs, outputs=outputs
    )


@pytest.mark.parametrize(
    ("number", "parts", "message"),
    [
        (1, {"groups": np.array([0, 1, 2, 3, 5])}, "no group"),
        (1, {"groups": np.array([0, 1])}, "no group"),
        (1, {"positions": np.array([0] * 4 + [5000])}, "no position"),
        (1, {"positions": np.array([0] * 4 + [-(1 << 63)])}, "no position"),
        (1, {"biases": np.array([0] * 4 + [1 << 40])}, "no logits"),
        (1, {"slopes": np.array([1 << 20] * 4)}, "entries are too large"),
        (1, {"offsets": np.zeros(3, int)}, "hidden units are missing"),
        (1, {"head": layer((5, 4))}, "layer does not fit"),
        (1, {"head": layer((7, 4), inputs=Span(0, 127))}, "layer does not fit"),
        (1, {"head": layer((7, 4), outputs=Span(-9, 9))}, "layer does not fit"),
        (1, {"n_bump": 5}, "bump is not of its symbols"),
        (1, {"direct": np.zeros(3, int)}, "direct weights do not fit"),
        (1, {"boost": 1 << 40}, "boost is too large"),
        (1, {"kin_peaks": np.zeros(3, int)}, "kin do not fit"),
        (1, {"parent": 2}, "parent does not come first"),
        (3, {"parent": -2}, "parent does not come first"),
        (3, {"usual": np.array([0, 1])}, "suggestions that cannot be"),
        (3, {"usual": np.array([0, 1, 2, 4])}, "suggestions that cannot be"),
    ],
)
def test_tables_that_do_not_fit_are_refused(number: int, parts: dict, message: str) -> None:
    with pytest.raises(DamagedArchiveError, match=message):
        changed(number, **parts)


def test_columns_have_an_order_and_hidden_units() -> None:
    made = tables(columns())
    for order in ([0, 1, 2], [0, 1, 2, 2], [1, 2, 3, 4]):
        with pytest.raises(DamagedArchiveError, match="missing from their order"):
            Conditionals(order, made, KIN)
    for kin in (np.zeros((3, 0), int), np.zeros((2, 4), int), np.full((3, 4), 1 << 30)):
        with pytest.raises(DamagedArchiveError, match="hidden units are not what they can be"):
            Conditionals(range(4), made, kin)
