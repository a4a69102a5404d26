"""Writing: what it says of itself, what it refuses, and that nothing half-written is left behind."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import latentkit
from latentkit.codec import Coder, CoderState
from latentkit.codec.archive import MOST_BLOCK_BYTES, ArchiveReader, ArchiveWriter, Method, index, writer
from latentkit.core.errors import (
    DamagedArchiveError,
    InvalidParameterError,
    StorageError,
    UnfitDataError,
    UnsupportedOperationError,
)
from tests.codec.archive.examples import (
    META,
    MIXED,
    CoarseCoder,
    ToyCoder,
    coarse,
    near,
    noise,
    read,
    text,
    toy,
    written,
)


class LyingCoder(Coder):
    """Keeps the first byte, and gives something else back."""

    name = "lying"

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def state(self) -> CoderState:
        return CoderState(self.name)

    def encode(self, block: bytes, n: int) -> bytes:
        if isinstance(self.error, (UnfitDataError, UnsupportedOperationError)):
            raise self.error
        return block[:1]

    def decode(self, content: bytes, n: int, size: int) -> bytes:
        if self.error is not None:
            raise self.error
        return content * size


def test_the_summary_tells_what_was_written() -> None:
    stream = io.BytesIO()
    with ArchiveWriter(stream, META, coder=toy(), embeds_model=True) as archive:
        for block in MIXED:
            archive.write(*block)
    content, summary = stream.getvalue(), archive.summary
    assert (summary.n_items, summary.n_blocks, summary.raw_bytes) == (15, 3, 2000)
    assert summary.file_bytes == len(content)
    without_model = written(MIXED, coder=toy())
    assert summary.model_bytes > 256
    assert 0 <= len(content) - len(without_model) - summary.model_bytes <= 2, "offsets may be longer"
    assert summary.n_blocks_by == {Method.STORED: 1, Method.ZSTD: 1, Method.CODER: 1}
    around = summary.file_bytes - summary.model_bytes - sum(summary.bytes_by.values())
    assert 100 < around < 230, "the rest is frames, heads, index and end"
    assert (summary.n_unfit, summary.n_mismatches) == (2, 0)
    assert summary.bytes_without_coder - sum(summary.bytes_by.values()) == len(written(MIXED)) + 64 - len(without_model)
    assert 0 < summary.seconds == archive.summary.seconds < 60


def test_a_model_that_codes_nothing_is_not_written() -> None:
    stream = io.BytesIO()
    with ArchiveWriter(stream, META, coder=toy(), embeds_model=True) as archive:
        archive.write(text(500), 1)
    assert archive.summary.model_bytes == 0
    assert read(stream.getvalue())[0].content == text(500)


@pytest.mark.parametrize("error", [None, DamagedArchiveError("this cannot be decoded.")])
def test_a_coder_that_does_not_give_back_what_it_took_is_not_believed(error: Exception | None) -> None:
    stream = io.BytesIO()
    with ArchiveWriter(stream, META, coder=LyingCoder(error)) as archive:
        for block in MIXED:
            archive.write(*block)
    assert archive.summary.n_mismatches == 3
    assert [block.content for block in read(stream.getvalue())] == [block for block, _ in MIXED]
    unproven = written(MIXED, coder=LyingCoder(error), verify=False)
    with pytest.raises(DamagedArchiveError, match=r"items 0 to 4: (a block does not become|this cannot be)"):
        read(unproven, coder=LyingCoder(error))


def test_what_a_coder_cannot_take_is_packed_otherwise_and_other_errors_are_raised() -> None:
    assert read(written(MIXED, coder=LyingCoder(UnfitDataError("no.")))) == read(written(MIXED))
    with pytest.raises(UnsupportedOperationError, match="not exact"):
        written(MIXED, coder=LyingCoder(UnsupportedOperationError("not exact here.")))


def test_a_coder_is_not_asked_for_blocks_of_fewer_bytes_than_items() -> None:
    stream = io.BytesIO()
    with ArchiveWriter(stream, META, coder=LyingCoder()) as archive:
        for block, n_items in [(b"", 0), (b"", 5), (b"aaaa", 0), (b"aaaa", 5)]:
            archive.write(block, n_items)
    assert archive.summary.n_mismatches == 0
    assert read(stream.getvalue())[3].n_items == 5


# Approximations


def compared(block: bytes, kept: bytes, n_items: int) -> tuple[bytes, bytes, int]:
    return block, kept, n_items


@pytest.mark.parametrize("n_workers", [0, 1, 3])
def test_a_block_that_is_approximated_is_what_the_coder_makes_of_it(n_workers: int) -> None:
    """Where that is smaller than what zstd makes of the block itself, which is kept else."""
    blocks = [(noise(400, str(number)), number + 1) for number in range(5)]
    blocks.insert(2, (text(600), 3))
    stream = io.BytesIO()
    with ArchiveWriter(stream, META, coder=CoarseCoder(), compare=compared) as archive:
        if n_workers:
            assert list(archive.write_all(blocks, n_workers=n_workers))[-1] == 2600
        else:
            for block in blocks:
                archive.write(*block)
    found = read(stream.getvalue(), coder=CoarseCoder())
    assert [block.method for block in found].count(Method.CODER) == 5
    wanted = [(coarse(block), n) if len(block) == 400 else (block, n) for block, n in blocks]
    assert [(block.content, block.n_items) for block in found] == wanted
    assert archive.comparisons == [(block, coarse(block), n) for block, n in blocks if len(block) == 400]
    assert archive.summary.n_mismatches == 0
    assert archive.summary.raw_bytes == 2600


def test_an_approximation_that_is_not_what_was_said_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CoarseCoder, "encode_known", lambda self, block, n: (self.encode(block, n), block))
    stream = io.BytesIO()
    with ArchiveWriter(stream, META, coder=CoarseCoder(), compare=compared) as archive:
        archive.write(noise(400), 5)
    assert archive.summary.n_mismatches == 1
    assert archive.comparisons == []
    assert read(stream.getvalue())[0].content == noise(400)


def test_nothing_is_approximated_whose_model_does_not_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    state = CoderState("coarse", {"padding": noise(2000).hex()})
    monkeypatch.setattr(CoarseCoder, "state", lambda self: state)
    for n, pays in ((400, False), (20_000, True)):
        stream = io.BytesIO()
        options = {"coder": CoarseCoder(), "embeds_model": "if it pays", "compare": compared}
        with ArchiveWriter(stream, META, **options) as archive:  # type: ignore[arg-type]
            archive.write(noise(n), 5)
        assert len(archive.comparisons) == pays
        found = read(stream.getvalue(), coder=CoarseCoder() if pays else None)
        assert found[0].content == (coarse(noise(n)) if pays else noise(n))


def test_what_cannot_be_written_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for meta, message in [
        ({"x": float("nan")}, "JSON"),
        ({"x": {1}}, "JSON"),
        ({"x": "a" * (1 << 20)}, "at most 1,048,"),
    ]:
        with pytest.raises(InvalidParameterError, match=message):
            ArchiveWriter(io.BytesIO(), meta)
    with pytest.raises(InvalidParameterError, match="embeds_model asks for a coder"):
        ArchiveWriter(io.BytesIO(), META, embeds_model=True)
    for level in (0, 23, 1.5):
        with pytest.raises(InvalidParameterError, match="level must be an integer from 1 to 22"):
            ArchiveWriter(io.BytesIO(), META, level=level)
    with ArchiveWriter(io.BytesIO(), META, level=1) as archive:
        with pytest.raises(
            InvalidParameterError, match=r"at most 67,108,864 bytes; got 67,108,865\. Write it in parts"
        ):
            archive.write(bytes(MOST_BLOCK_BYTES + 1), 1)
        archive.write(bytes(MOST_BLOCK_BYTES), 1 << 61)
        for n_items in (-1, 1 << 61):
            with pytest.raises(InvalidParameterError, match="n_items"):
                archive.write(b"", n_items)
    monkeypatch.setattr(writer, "MOST_MODEL_BYTES", 100)
    with pytest.raises(InvalidParameterError, match="at most 100 bytes"):
        ArchiveWriter(io.BytesIO(), META, coder=toy(), embeds_model=True)


def test_an_archive_has_so_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    content = written(MIXED)
    monkeypatch.setattr(writer, "MOST_BLOCKS", 2)
    with pytest.raises(InvalidParameterError, match="at most 2 blocks. Write larger ones"):
        written(MIXED)
    monkeypatch.setattr(index, "MOST_BLOCKS", 2)
    with pytest.raises(DamagedArchiveError, match="more than 2 blocks"):
        read(content)


# Files


def test_a_file_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.lkz"
    with ArchiveWriter(path, META) as archive:
        archive.write(*MIXED[0])
        assert not path.exists()
    assert path.read_bytes() == written(MIXED[:1])
    before = path.read_bytes()

    def write_what_is_not_there() -> None:
        with ArchiveWriter(path, META) as archive:
            archive.write(*MIXED[1])
            archive.write((tmp_path / "none").read_bytes(), 1)

    with pytest.raises(FileNotFoundError, match="none"):
        write_what_is_not_there()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path], "no debris"


def test_a_disk_that_is_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.lkz"

    def full(stream: object, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    def write(n_blocks: int) -> None:
        with ArchiveWriter(path, META) as archive:
            for block in MIXED[:n_blocks]:
                archive.write(*block)
            monkeypatch.setattr(writer, "_write_all", full)
            for block in MIXED[n_blocks:2]:
                archive.write(*block)

    for n_blocks in (0, 1, 2):
        with pytest.raises(StorageError, match=r"a\.lkz: No space left"):
            write(n_blocks)
        monkeypatch.undo()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.lkz"
    path.write_bytes(b"what was there")
    program = f"""
import os, sys, time
from latentkit.codec.archive import ArchiveWriter
with ArchiveWriter({str(path)!r}, {{}}, level=None) as archive:
    for _ in range(100):
        archive.write(os.urandom(100_000), 1)
    print("half", flush=True)
    time.sleep(100)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(latentkit.__file__).parent.parent)}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        process.send_signal(signal.SIGKILL)
    assert path.read_bytes() == b"what was there"
    assert all(left == path or left.name.startswith(".") for left in tmp_path.iterdir())


# Pipes


class Grudging(io.RawIOBase):
    """Takes seven bytes at a time, and cannot be moved in."""

    def __init__(self) -> None:
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, content) -> int:  # type: ignore[override]
        self.content += bytes(content[:7])
        return min(7, len(content))


def test_a_stream_may_take_it_in_parts() -> None:
    stream = Grudging()
    with ArchiveWriter(stream, META, coder=toy()) as archive:
        for block in MIXED:
            archive.write(*block)
    assert stream.content == written(MIXED, coder=toy())
    assert not stream.closed
    with pytest.raises(AssertionError, match="inside its `with`"):
        archive.write(b"", 1)
    with pytest.raises(AssertionError, match="written once"), archive:
        pass


@pytest.mark.parametrize(
    ("n_workers", "embeds_model"),
    [
        (1, True),
        (3, False),
        pytest.param(1, False, marks=pytest.mark.slow),
        pytest.param(3, True, marks=pytest.mark.slow),
    ],
)
def test_an_archive_goes_through_a_pipe(n_workers: int, embeds_model: bool) -> None:
    blocks = [(near(9_000, str(number)), 3) for number in range(12)] + [(noise(1 << 20), 4)]
    out, into = os.pipe()

    def write() -> None:
        with (
            os.fdopen(into, "wb", buffering=0) as stream,
            ArchiveWriter(stream, META, coder=toy(), embeds_model=embeds_model, level=1) as archive,
        ):
            for block in blocks:
                archive.write(*block)

    thread = Thread(target=write)
    thread.start()
    with os.fdopen(out, "rb") as stream:
        reader = ArchiveReader(stream, coder=None if embeds_model else toy(), n_workers=n_workers)
        assert [(block.content, block.n_items) for block in reader] == blocks
    thread.join()
    assert reader.n_items == 40
    assert (reader.model() is not None) if embeds_model else True


def test_a_block_is_any_bytes() -> None:
    blocks = [(memoryview(b"abcd")[1:], 1), (bytearray(b"xyz"), 1)]
    assert [block.content for block in read(written(blocks))] == [b"bcd", b"xyz"]


def test_the_toy_is_what_it_says() -> None:
    """Its state gives it back; the other tests rest on that."""
    again = ToyCoder.of(CoderState.from_bytes(toy().state().to_bytes()))
    assert again.decode(toy().encode(near(100), 1), 1, 100) == near(100)


# Blocks packed at once, and models that pay


class Patient(ToyCoder):
    """Takes longer for earlier blocks, so that they are finished in another order."""

    def encode(self, block: bytes, n: int) -> bytes:
        time.sleep(0.005 / n)
        return super().encode(block, n)


def written_at_once(blocks: list[tuple[bytes, int]], n_workers: int, **options: Any) -> bytes:
    stream = io.BytesIO()
    with ArchiveWriter(stream, META, **options) as archive:
        told = list(archive.write_all(blocks, n_workers=n_workers))
    assert len(told) == len(blocks)
    assert told == sorted(told)
    return stream.getvalue()


MANY = [block for n in range(1, 9) for block in ((near(400 * n, str(n)), n), (text(90 * n), 2), (noise(9 * n), 1))]


@pytest.mark.parametrize("n_workers", [1, 5, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 40))])
@pytest.mark.parametrize("embeds_model", [False, True, "if it pays"])
def test_blocks_packed_at_once_are_written_in_their_order(n_workers: int, embeds_model: Any) -> None:
    coder = Patient(noise(256, "background"), toy().tables.frequencies[0].tolist())
    one_by_one = written(MANY, coder=coder, embeds_model=embeds_model)
    assert written_at_once(MANY, n_workers, coder=coder, embeds_model=embeds_model) == one_by_one
    assert [block.content for block in read(one_by_one, coder=toy())] == [block for block, _ in MANY]
    assert written_at_once([], n_workers, coder=coder, embeds_model=embeds_model) == written(
        [], coder=coder, embeds_model=embeds_model
    )


def test_blocks_are_taken_as_they_are_wanted() -> None:
    taken = []

    def blocks() -> Iterator[tuple[bytes, int]]:
        for number in range(20):
            taken.append(number)
            yield noise(50, str(number)), 1

    with ArchiveWriter(io.BytesIO(), META) as archive:
        for n_done, n_bytes in enumerate(archive.write_all(blocks(), n_workers=3), 1):
            assert n_bytes == 50 * n_done
            assert len(taken) <= n_done + 3, "a block a thread, and one"
    with pytest.raises(InvalidParameterError, match="n_workers must be an integer of at least 1; got 0"):
        list(ArchiveWriter(io.BytesIO(), META).write_all([], n_workers=0))


def test_an_error_of_a_block_that_is_packed_beside_others_is_raised(tmp_path: Path) -> None:
    coder = LyingCoder(UnsupportedOperationError("not exact here."))

    def write(blocks: Iterable[tuple[bytes, int]], **options: Any) -> None:
        with ArchiveWriter(tmp_path / "a.lkz", META, **options) as archive:
            list(archive.write_all(blocks, n_workers=2))

    with pytest.raises(UnsupportedOperationError, match="not exact here"):
        write([(noise(50), 1)] * 9, coder=coder)

    def failing() -> Iterator[tuple[bytes, int]]:
        yield noise(50), 1
        raise KeyError("source")

    with pytest.raises(KeyError, match="source"):
        write(failing())
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_does_not_pay_costs_nothing() -> None:
    for n_bytes in (10, 100, 300):
        for blocks in ([(near(n_bytes), 3)], [(text(n_bytes), 3), (near(n_bytes), 3)], [(noise(n_bytes), 1)], []):
            assert written(blocks, coder=toy(), embeds_model="if it pays") == written(blocks)
    stream = io.BytesIO()
    with ArchiveWriter(stream, META, coder=toy(), embeds_model="if it pays") as archive:
        assert archive.write(near(300), 1) is Method.CODER, "it may pay yet"
    assert archive.summary.model_bytes == 0
    saved = len(written([(near(300), 1)])) + 32 - len(written([(near(300), 1)], coder=toy()))
    assert 0 <= saved - archive.summary.forgone_bytes <= 1, "sizes may have a digit more"
    assert archive.summary.n_blocks_by[Method.CODER] == 0
    assert read(stream.getvalue())[0].content == near(300)


def test_a_model_that_pays_is_written_before_all_that_waited() -> None:
    blocks = [(text(80), 2), (near(200, "a"), 1), (noise(30), 1), *((near(700, str(n)), 1) for n in range(6))]
    stream = io.BytesIO()
    with ArchiveWriter(stream, META, coder=toy(), embeds_model="if it pays") as archive:
        archive.write(*blocks[0])
        archive.write(*blocks[1])
        assert stream.getvalue() == b"", "what comes may be as if there were no coder"
        for block in blocks[2:]:
            archive.write(*block)
    summary = archive.summary
    assert summary.model_bytes > 256
    assert summary.forgone_bytes == 0
    assert summary.n_blocks_by == {Method.STORED: 1, Method.ZSTD: 1, Method.CODER: 7}
    assert [(block.content, block.n_items) for block in read(stream.getvalue())] == blocks
    assert len(stream.getvalue()) < len(written(blocks))
    assert len(stream.getvalue()) <= len(written(blocks, coder=toy(), embeds_model=True))


def test_blocks_do_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_MOST_WAITING", 1000)
    small, later = [(near(200, str(n)), 1) for n in range(6)], [(near(5000, "x"), 1)]
    stream = io.BytesIO()
    with ArchiveWriter(stream, META, coder=toy(), embeds_model="if it pays") as archive:
        for block in small[:5]:
            archive.write(*block)
        assert stream.getvalue() == b""
        archive.write(*small[5])
        assert len(stream.getvalue()) > 800, "more than 1,000 bytes have waited in vain"
        assert archive.summary.forgone_bytes > 0
        archive.write(*later[0])
    assert stream.getvalue() == written(small + later)

    plain = [(noise(600, str(n)), 1) for n in range(2)]
    stream = io.BytesIO()
    with ArchiveWriter(stream, META, coder=toy(), embeds_model="if it pays") as archive:
        for block in plain:
            archive.write(*block)
        assert len(stream.getvalue()) > 1200, "nothing of these asks for the coder"
        archive.write(*later[0])
    assert archive.summary.n_blocks_by[Method.CODER] == 1, "what came later did"
    assert [block.content for block in read(stream.getvalue())] == [block for block, _ in plain + later]
