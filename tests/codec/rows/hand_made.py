"""A small model of tables that no training has made: the same numbers everywhere."""

from __future__ import annotations

import numpy as np

from latentkit.codec.exact import ExactLayer
from latentkit.codec.rows import RowCoder
from latentkit.codec.rows.columns import Column, NumberFormat
from latentkit.codec.rows.conditional import HIDDEN, LOGITS, N_KIN, ColumnTables, Conditionals
from latentkit.codec.rows.lines import LineFormat
from latentkit.codec.rows.states import Memories, RowModel

N_HIDDEN = 4
HEADER = b"weight,age,name,group\n"


def columns() -> list[Column]:
    """A key with wide bins, numbers of one decimal, words, and numbers that the third column decides on."""
    wide = Column(NumberFormat(), np.array([0, 1000]), np.array([1000, 30_000_000]), [b""])
    age = Column(NumberFormat(decimals=1, least_decimals=1), np.array([0, 10, 20, 30]), np.array([10, 10, 1, 70]), [])
    name = Column(NumberFormat(), np.zeros(0, np.int64), np.zeros(0, np.int64), [b'"a, b"', b"c", b"d"])
    group = Column(NumberFormat(), np.array([1, 2]), np.array([1, 1]), [b"?"])
    return [wide, age, name, group]


def tables(alphabets: list[Column]) -> list[ColumnTables]:
    made = []
    for number, column in enumerate(alphabets):
        n = column.n_symbols
        n_bump = column.n_bins if number == 1 else 0
        shape = (n + 2 * (n_bump > 0), N_HIDDEN)
        weight = (np.arange(shape[0] * shape[1]).reshape(shape) * 37 % 19 - 9) * (number > 0)
        positions = np.zeros(n, np.int64)
        positions[: column.n_bins] = np.linspace(-800, 800, column.n_bins).astype(int)
        table = ColumnTables(
            biases=-7 * (np.arange(n) * 5 % 3),
            positions=positions,
            groups=np.arange(n),
            embeddings=np.arange(n * N_HIDDEN).reshape(n, N_HIDDEN) * 29 % 31 - 9,
            slopes=np.array([3, -2, 1, 0]),
            offsets=np.array([5, 10, -5, 20]),
            head=ExactLayer(weight, np.full(len(weight), 8), np.full(len(weight), 4), inputs=HIDDEN, outputs=LOGITS),
            n_bump=n_bump,
            direct=np.array([128, 0, 0, 0]) * (n_bump > 0),
            parent=2 if number == 3 else -1,
            usual=np.array([0, 1, 2, 3]) if number == 3 else np.zeros(0, np.int64),
            boost=96,
            kin_boosts=np.array([64, 32]) * (number > 0),
            kin_peaks=np.array([40, 20]) * (n_bump > 0),
            kin_sharpness=np.array([30, 20]),
            kin_embeddings=np.arange(n * N_HIDDEN).reshape(n, N_HIDDEN) * 23 % 17 - 8,
        )
        made.append(table)
    return made


def model(*, remembers: bool = True) -> RowModel:
    alphabets = columns()
    n = 3 if remembers else 0
    rows = np.array([[[0, 1, 0, 0], [0, 2, 0, 0]], [[1, 0, 1, 1], [-1] * 4], [[1, 3, 2, 1], [1, 3, 0, 0]]])[:n]
    memories = Memories(np.array([77, 1500, 2_000_000])[:n], np.array([2, 1, 5])[:n], rows.reshape(n, N_KIN, 4), 6, 9)
    conditionals = Conditionals(range(4), tables(alphabets), np.array([[0] * 4, [4, 0, 2, 0], [6, 0, 3, 0]]))
    return RowModel(LineFormat(4, header=HEADER.strip()), alphabets, conditionals, 0, memories, HEADER)


def coder(*, remembers: bool = True) -> RowCoder:
    return RowCoder(model(remembers=remembers))


def block(n: int, seed: int = 0) -> bytes:
    """A header and n lines, most of them like those that the model knows."""
    random = np.random.default_rng(seed)
    keys = random.integers(0, 3_000_000, max(n // 3, 1))
    lines = []
    for _ in range(n):
        key = random.choice([b"77", b"%d" % keys[random.integers(len(keys))], b"2000000", b""])
        place = int(random.integers(3))
        age = b"%.1f" % random.choice([0.3, 1.4, 2.0, 5.5, 9.9])
        lines.append(b",".join([key, age, [b'"a, b"', b"c", b"d"][place], [b"1", b"2", b"?"][place]]) + b"\n")
    return HEADER + b"".join(lines)
