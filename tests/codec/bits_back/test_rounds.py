"""The sizes of rounds in few bytes."""

from __future__ import annotations

import pytest

from latentkit.codec.bits_back.rounds import Round, read, written
from latentkit.core.errors import DamagedArchiveError


def test_rounds_are_written_in_few_bytes() -> None:
    rounds = [Round(8, gives_back=False), *[Round(200, gives_back=True)] * 300]
    content = written(rounds)
    assert content.hex() == "1001" + "9103" + "ac02" + "00"
    assert read(content + b"rest", 60_008, 200) == (rounds, 7)


@pytest.mark.parametrize("content", [b"", b"\x80", b"\x80" * 20, b"\x02", b"\x10\x01", b"\xff" * 20 + b"\1\1\0"])
def test_what_ends_early_cannot_be_read(content: bytes) -> None:
    with pytest.raises(DamagedArchiveError, match="the sizes of its rounds cannot be read"):
        read(content, 8, 16)


@pytest.mark.parametrize(
    "content",
    [
        b"\0",
        b"\x0e\0\x10\1\0",
        b"\x12\x01\0",
        b"\x10\x02\0",
        b"\x01\x01\0",
        b"\x02" + b"\xff" * 7 + b"\x7f\0",
        b"\x0e\x01\0",
    ],
    ids=["none", "no times", "9 rows", "twice 8", "no rows", "for ever", "7 rows"],
)
def test_other_rows_than_there_are_are_refused(content: bytes) -> None:
    with pytest.raises(DamagedArchiveError, match="its rounds are not of 8 rows in 16 lanes"):
        read(content, 8, 16)


def test_more_rows_than_lanes_are_no_round() -> None:
    content = written([Round(8, gives_back=True)])
    assert read(content, 8, 8)[0] == [Round(8, gives_back=True)]
    with pytest.raises(DamagedArchiveError, match="its rounds are not of 8 rows in 7 lanes"):
        read(content, 8, 7)
