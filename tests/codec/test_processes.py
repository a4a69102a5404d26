"""Coders whose work other processes do: the same bytes, the same errors, and nothing left behind."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from latentkit.codec import Coder, CoderState, processes
from latentkit.codec.archive import ArchiveReader, ArchiveWriter
from latentkit.codec.processes import CoderProcesses
from latentkit.core.errors import DamagedArchiveError, UnfitDataError
from tests.codec.pixels.models import block, random_coder, smooth

SHAPE = (6, 5, 1)
N = 40


@pytest.fixture(autouse=True)
def all_blocks_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "WORTH_IT", 0)


@pytest.fixture(scope="module")
def one() -> Iterator[CoderProcesses]:
    with CoderProcesses(1) as started:
        yield started


class Local(Coder):
    """A coder that no other process knows, and that counts what is asked of it."""

    name = "of this test"

    def __init__(self) -> None:
        self.n_asked = 0

    def state(self) -> CoderState:
        return CoderState(self.name)

    def encode(self, block: bytes, n: int) -> bytes:
        self.n_asked += 1
        return block[::-1]

    def decode(self, content: bytes, n: int, size: int) -> bytes:
        self.n_asked += 1
        return content[::-1]


def _content(seed: int = 0) -> bytes:
    return block(smooth(N, SHAPE, seed))


def test_they_give_the_same_bytes(one: CoderProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    coder = random_coder(SHAPE)
    code = coder.encode(_content(), N)
    elsewhere = one.of(coder)
    assert elsewhere.state().fingerprint == coder.state().fingerprint
    for method in ("encode", "decode"):  # whatever is asked here from now on fails
        monkeypatch.setattr(type(coder), method, None)
    assert elsewhere.encode_known(_content(), N) == (code, _content())
    assert elsewhere.decode(code, N, len(_content())) == _content()


def test_errors_come_back(one: CoderProcesses) -> None:
    coder = random_coder(SHAPE)
    elsewhere = one.of(coder)
    with pytest.raises(UnfitDataError, match="are not 3 images"):
        elsewhere.encode(b"none at all", 3)
    with pytest.raises(DamagedArchiveError, match="are not 7 images"):
        elsewhere.decode(b"none at all", 7, 11)
    assert elsewhere.decode(coder.encode(_content(), N), N, len(_content())) == _content()


def test_what_is_not_worth_it_is_done_here(one: CoderProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "WORTH_IT", 5)
    coder = Local()
    assert one.of(coder).encode(b"four", 1) == b"ruof"
    assert coder.n_asked == 1


def test_what_approximates_is_encoded_here(one: CoderProcesses) -> None:
    coder = Local()
    coder.quality = 50
    assert one.of(coder).encode_known(b"abc", 1) == (b"cba", b"abc")
    assert (coder.n_asked, one.of(coder).quality) == (1, 50)


def test_what_no_process_knows_is_done_here() -> None:
    coder = Local()
    with CoderProcesses(2) as some:
        elsewhere = some.of(coder)
        assert elsewhere.decode(elsewhere.encode(b"abc", 1), 1, 3) == b"abc"
        assert len(some._started) == 1  # what has failed is not tried again
    assert coder.n_asked == 2
    assert some._started[0].poll() is not None


def test_without_an_interpreter_it_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes.sys, "executable", "")
    coder = Local()
    with CoderProcesses(1) as some:
        assert some.of(coder).encode(b"abc", 1) == b"cba"


def test_a_killed_process_is_replaced_by_this_one() -> None:
    coder = random_coder(SHAPE)
    code = coder.encode(_content(), N)
    with CoderProcesses(1) as some:
        elsewhere = some.of(coder)
        assert elsewhere.decode(code, N, len(_content())) == _content()
        os.kill(some._started[0].pid, signal.SIGKILL)
        some._started[0].wait()
        assert elsewhere.decode(code, N, len(_content())) == _content()
    assert len(some._started) == 1


@pytest.mark.parametrize("n_workers", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_an_archive_is_the_same_byte_for_byte(n_workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    answer = CoderProcesses.answer

    def noted(self: CoderProcesses, *arguments: Any) -> bytes | None:
        found = answer(self, *arguments)
        asked.append(found is not None)
        return found

    monkeypatch.setattr(CoderProcesses, "answer", noted)
    coder = random_coder(SHAPE)
    blocks = [(block(smooth(20, SHAPE, seed)), 20) for seed in range(5)]
    archives = []
    for n in (1, n_workers):
        stream = io.BytesIO()
        with ArchiveWriter(stream, {"kind": "toys"}, coder=coder, embeds_model=True) as archive:
            list(archive.write_all(blocks, n_workers=n))
        archives.append(stream.getvalue())
    assert archives[0] == archives[1]
    with ArchiveReader(io.BytesIO(archives[0]), n_workers=n_workers) as reader:
        assert [found.content for found in reader] == [content for content, _ in blocks]
    assert len(asked) >= 2 * len(blocks)
    assert all(asked)


def test_one_block_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CoderProcesses, "_start", None)
    stream, coder = io.BytesIO(), random_coder(SHAPE)
    with ArchiveWriter(stream, {"kind": "toys"}, coder=coder, embeds_model=True) as archive:
        list(archive.write_all([(_content(), N)], n_workers=2))
    stream.seek(0)
    with ArchiveReader(stream, n_workers=2) as reader:
        assert [found.content for found in reader] == [_content()]
