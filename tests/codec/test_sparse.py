"""Packed arrays come back, take about what their numbers tell, and damage of them is an error or other numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentkit.codec import sparse
from latentkit.codec.sparse import packed_arrays, unpacked_arrays
from latentkit.core.errors import DamagedArchiveError

FARTHEST = (1 << 62) - 1


@given(
    arrays=st.lists(
        st.lists(st.integers(-3, 3) | st.integers(-FARTHEST, FARTHEST), max_size=12).map(
            lambda values: np.array(values, np.int64)
        ),
        max_size=3,
    )
)
def test_numbers_come_back(arrays: list[np.ndarray]) -> None:
    given_arrays = {f"a{number}": array for number, array in enumerate(arrays)}
    found = unpacked_arrays(packed_arrays(given_arrays), given_arrays)
    assert found.keys() == given_arrays.keys()
    for name, array in given_arrays.items():
        assert found[name].dtype == np.int64
        assert np.array_equal(found[name], array)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 4), (2, 3, 4), (1, 2, 3, 2)])
def test_shapes_come_back(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
    assert np.array_equal(unpacked_arrays(packed_arrays({"a": array}), ["a"])["a"], array)


def test_few_numbers_that_are_not_zero_take_about_their_entropy() -> None:
    random = np.random.default_rng(0)
    weights = np.where(random.random((200, 64)) < 0.05, random.integers(1, 9, (200, 64)), 0)
    shares = np.bincount(weights.ravel()) / weights.size
    entropy = -(shares[shares > 0] * np.log2(shares[shares > 0])).sum() * weights.size / 8
    assert entropy * 0.98 < len(packed_arrays({"weights": weights})) < entropy * 1.06


def test_columns_and_rows_of_zeros_cost_little() -> None:
    random = np.random.default_rng(0)
    weights = np.where(random.random((200, 64)) < 0.05, random.integers(1, 9, (200, 64)), 0)
    gathered = np.zeros((400, 128), np.int64)
    gathered[::2, 1::2] = weights
    assert len(packed_arrays({"weights": gathered})) < 1.2 * len(packed_arrays({"weights": weights}))


def test_what_all_numbers_are_multiples_of_costs_nothing() -> None:
    weights = np.random.default_rng(0).integers(-20, 21, (30, 20))
    assert len(packed_arrays({"weights": 24 * weights})) <= len(packed_arrays({"weights": weights})) + 2


def test_the_bytes_are_those_of_the_format() -> None:
    arrays = {"b": np.array([5, -1, 0, 0, 1000]), "a": np.array([[0, 0, 2], [0, 0, -4]])}
    assert packed_arrays(arrays).hex() == "5b3de9ad4ebb00dc5a26"


def test_damage_is_refused_or_gives_other_numbers() -> None:
    random, n_refused = np.random.default_rng(0), 0
    code = packed_arrays({"a": random.integers(-9, 10, (8, 8)), "b": np.arange(20)})
    for _ in range(300):
        damaged = bytearray(code[: random.integers(len(code) + 1)]) + random.bytes(random.integers(0, 3))
        damaged[int(random.integers(len(damaged)))] ^= int(random.integers(1, 256)) if damaged else 0
        try:
            unpacked_arrays(bytes(damaged), ["a", "b"])
        except DamagedArchiveError:
            n_refused += 1
    assert n_refused > 200


@pytest.mark.parametrize("content", [b"", b"\0" * 10, b"\xff" * 20])
def test_what_is_no_arrays_is_refused(content: bytes) -> None:
    with pytest.raises(DamagedArchiveError, match="its numbers"):
        unpacked_arrays(content, ["a"])


def test_more_numbers_than_there_may_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    code = packed_arrays({"a": np.zeros((10, 10), np.int64)})
    monkeypatch.setattr(sparse, "MOST_ENTRIES", 99)
    with pytest.raises(DamagedArchiveError, match="more than 99 numbers"):
        unpacked_arrays(code, ["a"])


def test_bytes_behind_the_last_number_are_refused() -> None:
    with pytest.raises(DamagedArchiveError, match="end where they have to"):
        unpacked_arrays(packed_arrays({"a": np.arange(9)}) + b"more bytes", ["a"])
