"""Reading: any block, as it comes, and in threads; and nothing without the coder that wrote it."""

from __future__ import annotations

import io
import os
import threading
import tracemalloc
import zlib
from pathlib import Path

import google_crc32c
import pytest

from latentkit.codec import CoderState
from latentkit.codec.archive import ArchiveReader, Method
from latentkit.codec.archive import head as head_module
from latentkit.codec.archive.frames import MAGIC, FrameKind, end_frame, frame, word
from latentkit.codec.archive.unpacking import Unpacker
from latentkit.codec.numbers import written_numbers
from latentkit.core.errors import ArchiveError, DamagedArchiveError, InvalidParameterError, UnreadableDataError
from tests.codec.archive.examples import META, MIXED, ToyCoder, near, noise, read, text, toy, written


class Pipe(io.RawIOBase):
    """Bytes that come in pieces of any size, and nothing else."""

    def __init__(self, content: bytes, piece: int = 1 << 30) -> None:
        self._stream, self._piece = io.BytesIO(content), piece

    def readable(self) -> bool:
        return True

    def read(self, n: int = -1) -> bytes:
        return self._stream.read(min(n, self._piece))


# Which coder


def test_another_coder_than_that_of_the_writer_is_refused_before_anything_is_read() -> None:
    content = written(MIXED, coder=toy())
    names = [coder.state().fingerprint.hex()[:12] for coder in (toy(), toy("another"))]
    message = f"written with the model {names[0]}, and the one given is {names[1]}. Give the run"
    with pytest.raises(ArchiveError, match=message) as caught:
        ArchiveReader(io.BytesIO(content), coder=toy("another"))
    assert not isinstance(caught.value, DamagedArchiveError), "the archive is whole"


def test_a_missing_coder_is_named_when_it_is_asked_for() -> None:
    reader = ArchiveReader(io.BytesIO(written(MIXED, coder=toy())))
    assert reader.fingerprint == toy().state().fingerprint
    assert reader.read_block(0).content == MIXED[0][0]
    assert reader.model() is None
    message = f"model {toy().state().fingerprint.hex()[:12]}, which it does not hold. Give the run"
    with pytest.raises(ArchiveError, match=message):
        reader.read_block(1)
    blocks = iter(reader)
    assert next(blocks).content == MIXED[0][0]
    with pytest.raises(ArchiveError, match=message):
        next(blocks)


def test_a_model_in_the_archive_serves_where_none_is_given() -> None:
    content = written(MIXED, coder=toy(), embeds_model=True)
    assert [block.content for block in read(content)] == [block for block, _ in MIXED]
    reader = ArchiveReader(io.BytesIO(content))
    assert reader.read_items_block(5).content == MIXED[1][0]
    state = reader.model()
    assert state is not None
    assert state.fingerprint == reader.fingerprint


def test_a_model_is_read_only_if_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it would be the wrong one: the one that is given is right."""
    content = written(MIXED, coder=toy(), embeds_model=True)
    monkeypatch.setattr(CoderState, "from_bytes", None)
    with ArchiveReader(io.BytesIO(content), coder=toy()) as reader:
        assert len(list(reader)) == 3
        assert reader.read_block(1).content == MIXED[1][0]
    pipe = ArchiveReader(Pipe(content), coder=toy())
    assert len(list(pipe)) == 3
    with pytest.raises(ArchiveError, match="was not kept: a coder was given"):
        pipe.model()


def test_an_archive_without_a_coder_takes_any() -> None:
    assert [block.content for block in read(written(MIXED), coder=toy())] == [block for block, _ in MIXED]


# Any block


def test_items_are_found_among_blocks_of_any_size(tmp_path: Path) -> None:
    path = tmp_path / "a.lkz"
    sizes = [0, 3, 0, 0, 1, 5, 0]
    path.write_bytes(written([(noise(10, str(number)), n) for number, n in enumerate(sizes)]))
    expected = [number for number, n in enumerate(sizes) for _ in range(n)]
    with ArchiveReader(path) as reader:
        assert reader.n_items == 9
        for item, number in enumerate(expected):
            assert reader.read_items_block(item) == reader.read_block(number)
            assert reader.read_block(number).content == noise(10, str(number))
        for wrong in (9, 100):
            with pytest.raises(InvalidParameterError, match=rf"no item {wrong}: .*a\.lkz has 9, from 0 on"):
                reader.read_items_block(wrong)
        with pytest.raises(InvalidParameterError, match="no block 7: .* has 7, from 0 on"):
            reader.read_block(7)
        with pytest.raises(InvalidParameterError, match="number must be an integer of at least 0; got -1"):
            reader.read_block(-1)


def test_blocks_are_read_while_others_come() -> None:
    blocks = [(noise(3000, str(number)), 1) for number in range(9)]
    with ArchiveReader(io.BytesIO(written(blocks))) as reader:
        for number, block in enumerate(reader):
            assert block.content == blocks[number][0]
            assert reader.read_block(8 - number).content == blocks[8 - number][0]


def test_an_archive_may_stand_inside_another_file() -> None:
    stream = io.BytesIO(b"before" + written(MIXED))
    stream.seek(6)
    reader = ArchiveReader(stream)
    assert [block.content for block in reader] == [block for block, _ in MIXED]
    assert reader.read_block(2).content == MIXED[2][0]


def test_one_block_needs_no_index() -> None:
    for blocks in ([], MIXED[:1], MIXED[1:2]):
        content = written(blocks, coder=toy(), embeds_model=True)
        assert b"I" + written_numbers(0) not in content
        reader = ArchiveReader(io.BytesIO(content))
        assert reader.n_items == sum(n for _, n in blocks)
        assert [entry.n_bytes for entry in reader.blocks] == [len(block) for block, _ in blocks]
        assert [reader.read_block(number).content for number in range(len(blocks))] == [block for block, _ in blocks]


def test_a_file_is_closed_and_a_stream_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.lkz"
    path.write_bytes(written(MIXED))
    with ArchiveReader(path) as reader:
        pass
    with pytest.raises(ValueError, match="closed"):
        reader.read_block(0)
    with path.open("rb") as stream:
        with ArchiveReader(stream):
            pass
        assert not stream.closed


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDataError, match=r"cannot read .*none\.lkz: No such file"):
        ArchiveReader(tmp_path / "none.lkz")
    with pytest.raises(UnreadableDataError, match="directory"):
        ArchiveReader(tmp_path)


# Pipes


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_a_pipe_may_give_pieces_of_any_size(piece: int) -> None:
    reader = ArchiveReader(Pipe(written(MIXED, coder=toy()), piece), coder=toy())
    with pytest.raises(
        ArchiveError, match="through a pipe, which can only be read from its start to its end, and once"
    ):
        reader.n_items  # noqa: B018
    assert [block.content for block in reader] == [block for block, _ in MIXED]
    assert (reader.n_items, reader.n_bytes, len(reader.blocks)) == (15, 2000, 3)
    with pytest.raises(ArchiveError, match="pipe"):
        list(reader)
    with pytest.raises(ArchiveError, match="pipe"):
        reader.read_block(0)


def test_a_named_pipe_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    content = written(MIXED)
    thread = threading.Thread(target=lambda: path.write_bytes(content))
    thread.start()
    with ArchiveReader(path) as reader:
        assert len(list(reader)) == 3
    thread.join()


def test_memory_is_that_of_a_block() -> None:
    blocks = [(noise(100_000, str(number)), 1) for number in range(40)]
    content = written(blocks, level=None)
    for n_workers, most in [(1, 600_000), (3, 1_200_000)]:
        tracemalloc.start()
        n_bytes = sum(len(block.content) for block in ArchiveReader(Pipe(content), n_workers=n_workers))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert n_bytes == 4_000_000
        assert peak < most


# Threads


def test_threads_keep_the_order_and_no_more_than_they_need() -> None:
    """Slow blocks come before fast ones; of those that wait, there is one more than threads."""
    decoded: list[int] = []
    gate = threading.Event()

    class Slow(ToyCoder):
        def decode(self, content: bytes, n: int, size: int) -> bytes:
            if n == 1:
                gate.wait(10)
            decoded.append(n)
            return super().decode(content, n, size)

    blocks = [(near(400, str(number)), number + 1) for number in range(12)]
    content = written(blocks, coder=toy())
    slow = Slow(noise(256, "background"), [121, 121, *[1] * 14])
    with ArchiveReader(io.BytesIO(content), coder=slow, n_workers=2) as reader:
        threading.Timer(0.3, gate.set).start()
        assert [block.n_items for block in reader] == list(range(1, 13))
    assert decoded.index(1) >= 1, "others were decoded while the first one was"
    assert decoded.index(1) <= 2
    with pytest.raises(InvalidParameterError, match="n_workers"):
        ArchiveReader(io.BytesIO(content), n_workers=0)


def test_what_a_thread_meets_is_raised() -> None:
    content = written([(near(400, str(number)), 1) for number in range(9)], coder=toy())

    class Broken(ToyCoder):
        def decode(self, content: bytes, n: int, size: int) -> bytes:
            return bytes(size)

    broken = Broken(noise(256, "background"), [121, 121, *[1] * 14])
    with pytest.raises(DamagedArchiveError, match="items 0 to 0: a block does not become what was written"):
        list(ArchiveReader(io.BytesIO(content), coder=broken, n_workers=3))
    stopped = iter(ArchiveReader(io.BytesIO(content), coder=toy(), n_workers=3))
    assert next(stopped).n_items == 1
    stopped.close()  # type: ignore[attr-defined]
    assert threading.active_count() < 10


# What is refused


HEAD_OF = written([])[8:-16]


def _archive_of(*frames: bytes, head: bytes = HEAD_OF, index_size: int = 0) -> bytes:
    """Frames, put together by hand, as if a writer had been so minded."""
    content = b"".join([MAGIC, head, *frames])
    return content + end_frame(index_size, _tag(head), google_crc32c.value(content))


def _tag(head: bytes) -> int:
    return int.from_bytes(head[-4:], "little")


def _block(body: bytes, head: bytes = HEAD_OF) -> bytes:
    return frame(FrameKind.BLOCK, body, tag=_tag(head))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not begin as an archive does: it is none"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "it is none"),
        (written(MIXED).replace(b"\r\n", b"\n"), "was sent as text"),
        (bytes(byte & 127 for byte in written(MIXED)), "was sent as text"),
        (written(MIXED)[:8], "ends before all"),
        (written(MIXED)[:-1], "ends before all"),
        (written(MIXED)[:-16], "ends before all"),
        (written(MIXED) + b"\0", "more follows its end"),
        (written(MIXED) + written(MIXED), "more follows its end"),
        (written(MIXED[:1])[:8] + _block(b"\0\0\0"), "not what was written: its checksum"),
        (_archive_of(frame(FrameKind.HEAD, b"\2\0abcd{}")), "its end is not that"),
        (_archive_of(head=frame(FrameKind.HEAD, b"\2\0abcd{}")), r"of format 2, and .* up to 1\. Install a newer one"),
        (_archive_of(head=frame(FrameKind.HEAD, b"\0\0abcd{}")), "its head cannot be read"),
        (_archive_of(head=frame(FrameKind.HEAD, b"\1\4abcd{}")), "its head cannot be read"),
        (_archive_of(head=frame(FrameKind.HEAD, b"\1\0abcd{")), "its description cannot"),
        (_archive_of(head=frame(FrameKind.HEAD, b"\1\0abcd[]")), "its description cannot"),
        (_archive_of(head=frame(FrameKind.HEAD, b"\1\0abcd" + b"[" * 100_000)), "its description cannot"),
        (_archive_of(head=frame(FrameKind.HEAD, b"\1\1abcd\xff")), "its description cannot"),
        (_archive_of(head=frame(FrameKind.HEAD, b"\1\1abcd\x4b")), "its description cannot"),
        (_archive_of(head=frame(FrameKind.HEAD, b"\1\2abcd{}")), "shorter than what it holds"),
        (_archive_of(head=frame(FrameKind.HEAD, b"\1")), "shorter than what it holds"),
        (_archive_of(frame(FrameKind.END, b"")), "its end|its checksum|ends before"),
        (_archive_of(_block(b"\1\0\0a")), "after 0 items comes a block that starts with item 1"),
        (_archive_of(_block(b"\0\1\3a")), "by a method that there is none of"),
        (_archive_of(_block(b"\0")), "shorter than what it holds"),
        (_archive_of(_block(b"\x80\0\0\0")), "a number of it cannot be read"),
        (_archive_of(_block(b"\xff" * 9 + b"\0\0")), "a number of it cannot be read"),
        (
            _archive_of(_block(b"\0\1\1" + written_numbers((64 << 20) + 1) + word(0))),
            "67,108,865 bytes; one is of 67,108,864",
        ),
        (_archive_of(_block(b"\0\1\1\5" + word(0) + b"abc")), "items 0 to 0: its bytes cannot be unpacked"),
        (_archive_of(frame(FrameKind.MODEL, b"\2\0" + word(0), tag=_tag(HEAD_OF))), "its model is packed"),
        (_archive_of(*[frame(FrameKind.MODEL, b"\0", tag=_tag(HEAD_OF))] * 2), "it has two models"),
        (_archive_of(_block(b"\0\1\0a"), _block(b"\1\1\0a")), "its head does not stand behind"),
        (_archive_of(_block(b"\0\1\0a"), _block(b"\1\1\0a"), HEAD_OF), "its index is not that"),
        (
            _archive_of(_block(b"\0\1\0a"), _block(b"\1\1\0a"), frame(FrameKind.HEAD, b"\1\0abcd{}")),
            "its head does not stand behind",
        ),
        (
            _archive_of(
                _block(b"\0\1\0a"), _block(b"\1\1\0a"), HEAD_OF, frame(FrameKind.INDEX, b"\0", tag=_tag(HEAD_OF))
            ),
            "its index is not that",
        ),
        (_archive_of(index_size=5), "its end is not that"),
        (
            HEAD_OF.join([written([])[:8], b"\xf7\xb1\x8eB\xff\xff\xff\x7f" + bytes(99)]),
            "larger than",
        ),
        (written([])[:-16] + b"junk" + written([])[-16:], "where a frame should start, none does"),
    ],
)
def test_what_is_no_archive_is_refused(content: bytes, message: str) -> None:
    """From a pipe and from a file, with the place or the reason."""
    for source in (io.BytesIO(content), Pipe(content)):
        with pytest.raises(ArchiveError, match=message) as caught:
            list(ArchiveReader(source))
        assert str(caught.value).startswith("cannot read the archive: ")


def test_a_version_that_is_not_known_is_no_damage() -> None:
    with pytest.raises(ArchiveError) as caught:
        ArchiveReader(io.BytesIO(_archive_of(head=frame(FrameKind.HEAD, b"\7\0abcd{}"))))
    assert not isinstance(caught.value, DamagedArchiveError)


def _deflated(description: bytes, end: int = zlib.Z_FINISH) -> bytes:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=head_module._DICTIONARY)
    return squeezer.compress(description) + squeezer.flush(end)


def test_a_deflated_description_is_whole_and_of_a_size() -> None:
    def archive(deflated: bytes) -> bytes:
        return _archive_of(head=frame(FrameKind.HEAD, b"\1\1abcd" + deflated))

    whole = _deflated(b'{"n":5}')
    assert ArchiveReader(io.BytesIO(archive(whole))).meta == {"n": 5}
    bomb = _deflated(b"{" + b" " * (50 << 20) + b"}")
    endless = _deflated(b'{"n":5}', zlib.Z_SYNC_FLUSH)
    for wrong in (endless, whole[:-1], whole + b"x", whole + whole, bomb):
        tracemalloc.start()
        with pytest.raises(DamagedArchiveError, match="its description cannot be read"):
            ArchiveReader(io.BytesIO(archive(wrong)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 5_000_000


def _with_index(body: bytes, *blocks: bytes) -> bytes:
    index = frame(FrameKind.INDEX, body, tag=_tag(HEAD_OF))
    return _archive_of(*blocks, HEAD_OF, index, index_size=len(index))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_with_index(b"\0" + b"\x05\1\1\0" + word(0)), "where a frame should start|is not what was written"),
        (_with_index(b"\0" + b"\x08\1\1\0" + word(0)), "is another frame than its index says"),
        (
            _with_index(b"\0" + written_numbers(len(HEAD_OF) + 8) + b"\1\1\0" + word(0), _block(b"\0\1\0a")),
            "block 0 is another",
        ),
        (_with_index(b"\0" + written_numbers(1 << 40) + b"\1\1\0" + word(0)), "its index cannot be read"),
        (_with_index(written_numbers(1 << 40)), "its index cannot be read"),
        (_with_index(b"\0\1\1\1\3" + word(0)), "its index cannot be read"),
        (_with_index(b"\0\1\1" + written_numbers(1 << 27) + b"\0" + word(0)), "its index cannot be read"),
        (_with_index(b""), "shorter than what it holds"),
        (_archive_of(index_size=1 << 20), "its index is not where its end says"),
        (_archive_of(HEAD_OF, index_size=len(HEAD_OF)), "is another frame than its index says"),
        (_archive_of(_with_index(b"\0")[8 + len(HEAD_OF) :], index_size=16 + 10), "its index is not where"),
        (written(MIXED)[:-16] + written(MIXED[1:])[-16:], "its end is not that of this archive"),
        (written(MIXED)[:-1], "it does not end as an archive does: it is cut off"),
        (written(MIXED) + b"\0", "it does not end as an archive does: it is cut off, or more follows"),
    ],
)
def test_an_index_that_is_wrong_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(DamagedArchiveError, match=message):
        ArchiveReader(io.BytesIO(content)).read_block(0)


@pytest.mark.parametrize(
    ("n_items", "size"), [(0, 1000), (1001, 1000), (1 << 60, 1000)], ids=["none", "more than bytes", "endless"]
)
def test_a_coder_is_not_asked_for_more_items_than_bytes(n_items: int, size: int) -> None:
    head = written([], coder=toy())[8:-16]
    body = written_numbers(0) + written_numbers(n_items) + b"\2" + written_numbers(size) + word(0)
    with pytest.raises(DamagedArchiveError, match="are none of a coder's"):
        read(_archive_of(_block(body, head), head=head), coder=toy())


def test_a_coded_block_of_an_archive_that_names_no_coder_is_damage() -> None:
    """Whether or not there is a coder that could try."""
    content = _archive_of(_block(b"\0\1\2\5" + word(0) + b"abc"))
    for coder in (None, toy()):
        with pytest.raises(DamagedArchiveError, match="written by a coder, and its head names none"):
            read(content, coder=coder)


def test_a_model_that_is_another_than_the_head_says_is_refused() -> None:
    content = written(MIXED[1:2], coder=toy(), embeds_model=True)
    head = content[8 : 8 + len(written([], coder=toy())) - 24]
    block = content[content.index(FrameKind.BLOCK.marker) : -16]
    other = toy("another").state()
    models = {
        "it holds the model .*, and its head names": other.to_bytes(),
        "its bytes cannot be unpacked": None,
    }
    for message, state in models.items():
        packed = b"\1\5" + word(0) + b"abc" if state is None else b"\0" + state
        model = frame(FrameKind.MODEL, packed, tag=_tag(head))
        with pytest.raises(DamagedArchiveError, match=message):
            read(_archive_of(model, block, head=head))
    with pytest.raises(DamagedArchiveError, match="its head names none"):
        ArchiveReader(io.BytesIO(_archive_of(frame(FrameKind.MODEL, b"\0", tag=_tag(HEAD_OF))))).model()


def test_a_lying_length_takes_no_memory(tmp_path: Path) -> None:
    """Of a frame that says it has 64 MB, also in a file or a pipe, and of a block that becomes more than it says."""
    content = _archive_of(FrameKind.BLOCK.marker + written_numbers(64 << 20) + b"abc")
    (tmp_path / "a.lkz").write_bytes(content)
    out, into = os.pipe()
    os.write(into, content)
    os.close(into)
    with os.fdopen(out, "rb") as pipe:
        for source in (io.BytesIO(content), tmp_path / "a.lkz", pipe):
            tracemalloc.start()
            with ArchiveReader(source) as reader, pytest.raises(DamagedArchiveError, match="ends before"):
                list(reader)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 3_000_000
    bomb = _archive_of(_block(b"\0\1\1" + written_numbers(1 << 20) + word(0) + _zeros_by_zstd(32 << 20)))
    tracemalloc.start()
    with pytest.raises(DamagedArchiveError, match="cannot be unpacked"):
        read(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def _zeros_by_zstd(n: int) -> bytes:
    import pyarrow as pa

    return pa.Codec("zstd").compress(bytes(n), asbytes=True)


def test_of_several_coders_the_one_is_taken_that_wrote_the_archive() -> None:
    blocks = [(near(1000), 7)]
    content = written(blocks, coder=toy())
    for coders in ([toy("another"), toy()], [toy(), toy("another")], (toy(),)):
        assert read(content, coder=coders)[0].content == near(1000)
    names = [toy(name).state().fingerprint.hex()[:12] for name in ("another", "third")]
    with pytest.raises(ArchiveError, match=f"and those given are {names[0]}, {names[1]}. Give the run"):
        read(content, coder=[toy("another"), toy("third")])
    with pytest.raises(ArchiveError, match="which it does not hold"):
        read(content, coder=[])


def test_unpacking_names_the_items() -> None:
    content = written([(text(600), 3), (text(600, "b"), 4)])
    reader = ArchiveReader(io.BytesIO(content))
    assert [entry.method for entry in reader.blocks] == [Method.ZSTD] * 2
    assert Unpacker(None, None).needs_model
    assert read(content)[1].first == 3
    assert reader.meta == META
