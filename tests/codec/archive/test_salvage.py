"""What is left of a damaged archive: all blocks that are whole, and no others."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from latentkit.codec.archive import ArchiveReader, Salvage
from latentkit.codec.archive.frames import END_BYTES, MAGIC, FrameKind, frame, word
from latentkit.codec.numbers import written_numbers
from latentkit.core.errors import ArchiveError, DamagedArchiveError, UnreadableDataError
from tests.codec.archive.examples import META, CoarseCoder, ToyCoder, coarse, near, noise, text, toy, written

BLOCKS = [(noise(300, "a"), 5), (near(900), 4), (text(700), 3), (noise(200, "b"), 2), (near(1000, "c"), 10)]
WHOLE = written(BLOCKS, coder=toy())
ENTRIES = ArchiveReader(io.BytesIO(WHOLE)).blocks
ITEMS = [range(entry.first, entry.first + entry.n_items) for entry in ENTRIES]
HEAD_SIZE = ENTRIES[0].offset - len(MAGIC)


def blocks_of(left: Salvage) -> list[bytes]:
    return [block.content for block in left]


def spoilt(content: bytes, *places: int) -> bytes:
    changed = bytearray(content)
    for place in places:
        changed[place] ^= 0x20
    return bytes(changed)


def test_of_a_whole_archive_nothing_is_lost() -> None:
    left = Salvage(io.BytesIO(WHOLE), coder=toy())
    assert (left.meta, left.fingerprint, left.n_items) == (META, toy().state().fingerprint, 24)
    assert left.blocks == ENTRIES
    assert (left.lost_bytes, left.lost_items, left.whole_items) == ((), (), (range(24),))
    assert blocks_of(left) == [block for block, _ in BLOCKS]
    assert left.failed_items == ()


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_that_is_spoilt_is_lost_alone(number: int) -> None:
    """Wherever it is spoilt; and it is told which items it had, and where it was."""
    entry = ENTRIES[number]
    end = ENTRIES[number + 1].offset if number + 1 < len(ENTRIES) else _copy_of_the_head()
    for place in (
        entry.offset,
        entry.offset + 3,
        entry.offset + 4,
        entry.offset + 9,
        (entry.offset + end) // 2,
        end - 1,
    ):
        left = Salvage(io.BytesIO(spoilt(WHOLE, place)), coder=toy())
        assert left.lost_bytes == (range(entry.offset, end),)
        assert left.lost_items == (ITEMS[number],)
        assert blocks_of(left) == [block for block, _ in BLOCKS[:number] + BLOCKS[number + 1 :]]
        assert [entry.first for entry in left.blocks] == [items.start for items in ITEMS if items != ITEMS[number]]


def _copy_of_the_head() -> int:
    return WHOLE.rindex(FrameKind.HEAD.marker)


@pytest.mark.parametrize("n", [1, 9, len(WHOLE) - _copy_of_the_head(), len(WHOLE) - ENTRIES[3].offset - 10])
def test_what_was_written_before_it_was_cut_off_is_left(n: int) -> None:
    """As of a writer that was killed: without an end, and without an index."""
    content = WHOLE[:-n]
    left = Salvage(io.BytesIO(content), coder=toy())
    n_whole = 3 if n > 1000 - 700 else 5
    assert blocks_of(left) == [block for block, _ in BLOCKS[:n_whole]]
    assert left.n_items == (24 if n < 20 else None)
    assert left.lost_items == ()
    assert left.whole_items == (range(ITEMS[n_whole - 1].stop),)


@pytest.mark.parametrize("place", [0, 3, 8, 13, 20, HEAD_SIZE + 7])
def test_a_head_that_is_spoilt_stands_behind_the_blocks_once_more(place: int) -> None:
    left = Salvage(io.BytesIO(spoilt(WHOLE, place)), coder=toy())
    assert left.meta == META
    assert blocks_of(left) == [block for block, _ in BLOCKS]
    assert left.lost_bytes == ((range(8),) if place < 8 else (range(8, 8 + HEAD_SIZE),))


def test_without_any_head_the_end_tells_which_frames_are_its_own() -> None:
    left = Salvage(io.BytesIO(spoilt(WHOLE, 12, _copy_of_the_head() + 12)), coder=toy())
    assert (left.meta, left.fingerprint, left.n_items) == (None, None, 24)
    assert len(left.blocks) == 5
    without_coder = Salvage(io.BytesIO(spoilt(written(BLOCKS), 12, written(BLOCKS).rindex(b"H") + 12)))
    assert blocks_of(without_coder) == [block for block, _ in BLOCKS]
    with pytest.raises(DamagedArchiveError, match="cannot read the archive: neither its head nor its end is left"):
        Salvage(io.BytesIO(spoilt(WHOLE, 12)[:-1]))


def test_bytes_that_came_or_went_are_no_hindrance() -> None:
    for place in (0, 10, ENTRIES[1].offset - 3, ENTRIES[1].offset, ENTRIES[4].offset + 20, len(WHOLE) - END_BYTES):
        more, fewer = WHOLE[:place] + noise(1000) + WHOLE[place:], WHOLE[:place] + WHOLE[place + 5 :]
        for content in (more, fewer):
            left = Salvage(io.BytesIO(content), coder=toy())
            assert set(blocks_of(left)) <= {block for block, _ in BLOCKS}
            assert len(left.blocks) >= 3
            whole = sum(part.stop - part.start for part in left.whole_items)
            assert whole + sum(part.stop - part.start for part in left.lost_items) == left.n_items == 24


def test_a_model_that_is_left_serves() -> None:
    content = written(BLOCKS, coder=toy(), embeds_model=True)
    spoilt_block = content.index(noise(300, "a"))
    left = Salvage(io.BytesIO(spoilt(content, spoilt_block)))
    assert blocks_of(left) == [block for block, _ in BLOCKS[1:]]
    spoilt_model = content.index(FrameKind.MODEL.marker) + 50
    with pytest.raises(ArchiveError, match="cannot read the archive: it was written with the model .* Give the run"):
        blocks_of(Salvage(io.BytesIO(spoilt(content, spoilt_model))))
    assert blocks_of(Salvage(io.BytesIO(spoilt(content, spoilt_model)), coder=toy())) == [block for block, _ in BLOCKS]
    with pytest.raises(ArchiveError, match="and the one given is"):
        Salvage(io.BytesIO(content), coder=toy("another"))


def test_a_block_that_does_not_become_what_it_was_is_not_given() -> None:
    class Broken(ToyCoder):
        def decode(self, content: bytes, n: int, size: int) -> bytes:
            return super().decode(content, n, size) if n == 4 else bytes(size)

    left = Salvage(io.BytesIO(WHOLE), coder=Broken(noise(256, "background"), [121, 121, *[1] * 14]))
    for _ in range(2):
        assert blocks_of(left) == [block for block, _ in BLOCKS[:4]]
        assert left.failed_items == (ITEMS[4],)


def test_an_archive_inside_a_block_is_not_taken_for_its_own() -> None:
    """Its frames are whole, and others; also where the block that holds it is spoilt, and the head is lost."""
    inner = written([(noise(900, "inner"), 9), (noise(800, "inner"), 8)], {"kind": "inner"})
    blocks = [(noise(300), 1), (inner, 1), (noise(400), 1)]
    content = written(blocks, level=None)
    around = content.index(inner)
    for places in ([around - 1], [around - 1, 12], [around - 1, content.rindex(FrameKind.HEAD.marker) + 12]):
        left = Salvage(io.BytesIO(spoilt(content, *places)))
        assert blocks_of(left) == [blocks[0][0], blocks[2][0]]
        assert left.lost_items == (range(1, 2),)
        assert left.meta == META


def test_of_two_archives_in_one_file_the_first_is_left() -> None:
    other = written([(noise(333), 3), *BLOCKS[1:]], coder=toy())
    for content in (WHOLE + other, WHOLE[: ENTRIES[2].offset + 9] + other, WHOLE + WHOLE):
        left = Salvage(io.BytesIO(content), coder=toy())
        n_whole = 2 if content[len(WHOLE) - END_BYTES : len(WHOLE)] != WHOLE[-END_BYTES:] else 5
        assert (left.lost_bytes[-1].stop == len(content)) == content.endswith(other)
        assert blocks_of(left) == [block for block, _ in BLOCKS[:n_whole]]


def test_a_block_that_the_index_does_not_have_is_not_given() -> None:
    """A frame whose checksums are right, of an archive that starts with the same block."""
    other = written([BLOCKS[0], (text(600, "other"), 4), *BLOCKS[2:]], coder=toy())
    places = [entry.offset for entry in ArchiveReader(io.BytesIO(other)).blocks]
    content = WHOLE[: ENTRIES[1].offset] + other[places[1] : places[2]] + WHOLE[ENTRIES[2].offset :]
    left = Salvage(io.BytesIO(content), coder=toy())
    assert blocks_of(left) == [block for block, _ in BLOCKS[:1] + BLOCKS[2:]]
    assert left.lost_items == (ITEMS[1],)
    assert left.lost_bytes == (range(places[1], places[2]),)


def test_frames_that_lie_are_passed_over() -> None:
    """Their checksums are right; what they hold is not."""
    tag = int.from_bytes(WHOLE[8 : 8 + HEAD_SIZE][-4:], "little")
    lies = [
        frame(FrameKind.BLOCK, b"\0\1\7", tag=tag),
        frame(FrameKind.BLOCK, b"", tag=tag),
        frame(FrameKind.INDEX, b"\1\1\1\1", tag=tag),
        frame(FrameKind.BLOCK, b"\0\1\1" + written_numbers(65 << 20) + word(0), tag=tag),
    ]
    content = WHOLE[: ENTRIES[0].offset] + b"".join(lies) + WHOLE[ENTRIES[0].offset :]
    left = Salvage(io.BytesIO(content), coder=toy())
    assert blocks_of(left) == [block for block, _ in BLOCKS]
    assert left.lost_bytes == (range(ENTRIES[0].offset, ENTRIES[0].offset + sum(map(len, lies))),)


def test_a_newer_version_is_not_guessed_at() -> None:
    head = frame(FrameKind.HEAD, b"\2\0abcd{}")
    with pytest.raises(ArchiveError, match="of format 2"):
        Salvage(io.BytesIO(MAGIC + head))


@pytest.mark.parametrize("content", [b"", b"x", noise(3000), MAGIC, MAGIC + noise(20)])
def test_what_never_was_an_archive_is_refused(content: bytes) -> None:
    with pytest.raises(DamagedArchiveError, match="neither its head nor its end is left, or it never was"):
        Salvage(io.BytesIO(content))


def test_files_and_pipes_are_read(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self, content: bytes) -> None:
            self._stream = io.BytesIO(content)

        def read(self, n: int = -1) -> bytes:
            return self._stream.read(n)

    content = spoilt(WHOLE, ENTRIES[1].offset + 30)
    path = tmp_path / "a.lkz"
    path.write_bytes(content)
    for source in (path, str(path), Pipe(content)):
        with Salvage(source, coder=toy()) as left:
            assert blocks_of(left) == [block for block, _ in BLOCKS[:1] + BLOCKS[2:]]
    stream = io.BytesIO(b"before" + content)
    stream.seek(6)
    assert len(Salvage(stream, coder=toy()).blocks) == 4
    with pytest.raises(UnreadableDataError, match=r"none\.lkz: No such file"):
        Salvage(tmp_path / "none.lkz")


def test_it_is_looked_through_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks lie across their edges, too."""
    content = spoilt(WHOLE, ENTRIES[0].offset + 30, ENTRIES[3].offset)
    expected = Salvage(io.BytesIO(content), coder=toy())
    for window in (3, 4, 7, 64):
        monkeypatch.setattr("latentkit.codec.archive.scan._WINDOW", window)
        left = Salvage(io.BytesIO(content), coder=toy())
        assert (left.blocks, left.lost_bytes) == (expected.blocks, expected.lost_bytes)


def test_malice_costs_no_more_than_a_few_readings() -> None:
    """Marks everywhere, each of a frame of half the file: looking at all would take their number times its size."""
    head = written([])[:-END_BYTES]
    mark = FrameKind.BLOCK.marker + written_numbers(1 << 20)
    content = head + mark * ((2 << 20) // len(mark))
    start = time.perf_counter()
    assert Salvage(io.BytesIO(content)).blocks == ()
    assert time.perf_counter() - start < 2


def test_blocks_without_items_are_found_beside_those_that_start_where_they_do() -> None:
    blocks = [
        (noise(40, "head"), 0),
        (noise(50, "more"), 0),
        (noise(300), 5),
        (b"", 0),
        (noise(60, "part"), 0),
        (noise(9), 1),
    ]
    whole = written(blocks)
    for content in (whole, whole[:-END_BYTES]):
        assert blocks_of(Salvage(io.BytesIO(content))) == [block for block, _ in blocks]


def test_what_is_left_of_approximations_is_what_was_kept() -> None:
    whole = written([(noise(300, str(number)), 2) for number in range(4)], coder=CoarseCoder())
    entries = ArchiveReader(io.BytesIO(whole)).blocks
    left = Salvage(io.BytesIO(spoilt(whole, entries[1].offset + 20)), coder=[toy(), CoarseCoder()])
    assert blocks_of(left) == [coarse(noise(300, str(number))) for number in (0, 2, 3)]
    assert left.lost_items == (range(2, 4),)
