"""Archives that were changed, in all ways that we can think of: an error of ours, or what was written; nothing else."""

from __future__ import annotations

import io
import time
import tracemalloc
from collections.abc import Callable

import google_crc32c
import numpy as np
import pytest

from latentkit.codec.archive import ArchiveReader, Block, Salvage
from latentkit.codec.archive.frames import MAGIC, Frame, FrameKind, end_frame, frame, read_frame
from latentkit.codec.archive.source import Source
from latentkit.codec.numbers import written_numbers
from latentkit.core.errors import ArchiveError
from tests.codec.archive.examples import META, MIXED, ToyCoder, near, noise, text, toy, written

TOY = toy()
MANY = [*MIXED, (near(400, "b"), 9), (noise(90, "b"), 1), (b"", 2), (text(300, "b"), 4)]
#: Archives, each with the blocks that it holds, and whether it needs a coder.
ORIGINALS = [
    (written(MANY, coder=TOY), MANY),
    (written(MANY[::-1], coder=TOY, embeds_model=True), MANY[::-1]),
    (written(MIXED, META), MIXED),
    (written(MIXED[1:2], {}, coder=TOY, embeds_model=True), MIXED[1:2]),
    (written([]), []),
]


def is_start(found: list[Block], blocks: list[tuple[bytes, int]]) -> bool:
    return [(block.content, block.n_items) for block in found] == blocks[: len(found)]


def read_all(content: bytes, coder: ToyCoder | None = TOY) -> tuple[list[Block], ArchiveError | None]:
    """Blocks as they come, and the error that stopped them."""
    found: list[Block] = []
    blocks = None
    while True:
        try:
            blocks = blocks or iter(ArchiveReader(io.BytesIO(content), coder=coder))
            found.append(next(blocks))
        except StopIteration:
            return found, None
        except ArchiveError as error:
            return found, error


def read_any(content: bytes) -> list[Block]:
    """Blocks by the index, as far as there are any."""
    found = []
    try:
        reader = ArchiveReader(io.BytesIO(content), coder=TOY)
        n = len(reader.blocks)
    except ArchiveError:
        return []
    for number in range(n):
        try:
            found.append(reader.read_block(number))
        except ArchiveError:
            continue
    return found


def salvage(content: bytes) -> list[Block]:
    try:
        return list(Salvage(io.BytesIO(content), coder=TOY))
    except ArchiveError:
        return []


def check(content: bytes, sources: list[int]) -> None:
    """What is read is what one of the sources holds, where it holds it."""
    found, error = read_all(content)
    candidates = [ORIGINALS[source][1] for source in sources]
    assert any(is_start(found, blocks) for blocks in candidates)
    if error is None:
        assert any(len(found) == len(blocks) for blocks in candidates)
        assert any(content == ORIGINALS[source][0] for source in sources)
    for these in (read_any(content), salvage(content)):
        given = {(block.first, block.n_items, block.content) for block in these}
        assert len(given) == len(these)
        assert any(given <= _places(blocks) for blocks in candidates)


def _places(blocks: list[tuple[bytes, int]]) -> set[tuple[int, int, bytes]]:
    firsts = np.cumsum([0, *(n for _, n in blocks)]).tolist()
    return {(first, n, block) for first, (block, n) in zip(firsts, blocks, strict=False)}


# Changes


def cut(content: bytes, random: np.random.Generator) -> bytes:
    return content[: random.integers(len(content))]


def flip(content: bytes, random: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for place in random.integers(8 * len(content), size=random.integers(1, 4)):
        changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def insert(content: bytes, random: np.random.Generator) -> bytes:
    place = random.integers(len(content) + 1)
    return content[:place] + random.bytes(random.integers(1, 20)) + content[place:]


def delete(content: bytes, random: np.random.Generator) -> bytes:
    place = random.integers(len(content))
    return content[:place] + content[place + random.integers(1, 20) :]


def overwrite(content: bytes, random: np.random.Generator) -> bytes:
    start, stop = sorted(random.integers(len(content) + 1, size=2))
    return content[:start] + random.bytes(stop - start) + content[stop:]


def repeat(content: bytes, random: np.random.Generator) -> bytes:
    start, stop = sorted(random.integers(len(content) + 1, size=2))
    return content[:stop] + content[start:stop] + content[stop:]


def garble(content: bytes, random: np.random.Generator) -> bytes:
    """The head, and then anything."""
    n = 8 + 9 + content[12] if len(content) > 12 else len(content)
    return content[:n] + random.bytes(random.integers(1, 300))


CHANGES: list[Callable[[bytes, np.random.Generator], bytes]] = [cut, flip, insert, delete, overwrite, repeat, garble]


def changed_at_random(random: np.random.Generator) -> tuple[bytes, list[int]]:
    """An archive that was changed, or two that became one; and which they were."""
    one, other = (int(n) for n in random.integers(len(ORIGINALS), size=2))
    content = ORIGINALS[one][0]
    if random.random() < 0.15:
        start, stop = random.integers(len(content) + 1), random.integers(len(ORIGINALS[other][0]) + 1)
        return content[:start] + ORIGINALS[other][0][stop:], [one, other]
    for _ in range(random.integers(1, 3)):
        content = CHANGES[random.integers(len(CHANGES))](content, random) or b"\0"
    return content, [one]


def check_changes(n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(n):
        content, sources = changed_at_random(random)
        start = time.perf_counter()
        try:
            check(content, sources)
        except BaseException as error:
            raise AssertionError(f"{sources}: {content.hex()}") from error
        assert time.perf_counter() - start < 2


def test_changed_archives_are_noticed() -> None:
    check_changes(2000, 0)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("seed", range(1, 11))
def test_many_changed_archives_are_noticed(seed: int) -> None:
    check_changes(10_000, seed)


@pytest.mark.parametrize("blocks", [[(noise(30), 5), (near(250), 7), (text(150), 3)], MIXED[1:2], []])
def test_every_byte_is_guarded(blocks: list[tuple[bytes, int]]) -> None:
    """And every length to which it may be cut."""
    content = written(blocks, coder=TOY)
    for place in range(len(content)):
        for changed in (
            content[:place],
            content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :],
        ):
            found, error = read_all(changed)
            assert is_start(found, blocks)
            assert str(error).startswith("cannot read the archive: ")


# Changes below the checksums


def frames_of(content: bytes) -> list[tuple[FrameKind, bytes]]:
    """Frames up to the end."""
    source = Source(io.BytesIO(content), n_bytes=len(content))
    source.take(len(MAGIC))
    frames, tag = [], 0
    while isinstance(part := read_frame(source, tag), Frame):
        frames.append((part.kind, part.body))
        tag = tag or part.checksum
    return frames


def sealed(frames: list[tuple[FrameKind, bytes]]) -> bytes:
    """An archive of frames whose checksums are right."""
    head = frame(*frames[0])
    tag, parts = int.from_bytes(head[-4:], "little"), [MAGIC]
    for kind, body in frames:
        parts.append(frame(kind, body, tag=0 if kind is FrameKind.HEAD else tag))
    content = b"".join(parts)
    index_size = len(parts[-1]) if frames[-1][0] is FrameKind.INDEX else 0
    return content + end_frame(index_size, tag, google_crc32c.value(content))


HOSTILE = [0, 1, 127, 128, (64 << 20) - 1, 64 << 20, (64 << 20) + 1, (1 << 32) - 1, 1 << 40, (1 << 63) - 1]


def twist(body: bytes, random: np.random.Generator) -> bytes:
    """A number near the start becomes another; or anything, anywhere."""
    if random.random() < 0.5:
        place = random.integers(min(len(body), 12) + 1)
        hostile = written_numbers(HOSTILE[random.integers(len(HOSTILE))])
        return body[:place] + hostile + body[place + random.integers(0, 3) :]
    return CHANGES[random.integers(4)](body, random) if body else random.bytes(5)


def check_twists(n: int, seed: int) -> tuple[float, int]:
    """Return the longest time, and how many could be read."""
    random, longest, n_read = np.random.default_rng(seed), 0.0, 0
    frames = [frames_of(content) for content, _ in ORIGINALS]
    assert [sealed(these) for these in frames] == [content for content, _ in ORIGINALS]
    for _ in range(n):
        these = list(frames[random.integers(len(frames))])
        place = int(random.integers(len(these)))
        these[place] = (these[place][0], twist(these[place][1], random))
        if random.random() < 0.1:
            these.insert(place, (list(FrameKind)[random.integers(4)], random.bytes(random.integers(40))))
        content = sealed(these)
        coder = TOY if random.random() < 0.5 else None
        start = time.perf_counter()
        n_read += bool(read_all(content, coder)[0])
        read_any(content)
        salvage(content)
        longest = max(longest, time.perf_counter() - start)
    return longest, n_read


def test_hostile_archives_whose_checksums_are_right_give_errors() -> None:
    """What they hold cannot be known to be wrong; but it takes little time, and no error is another's."""
    longest, n_read = check_twists(1000, 0)
    assert longest < 2
    assert n_read > 50, "some still hold blocks"


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("seed", range(1, 6))
def test_many_hostile_archives_give_errors(seed: int) -> None:
    assert check_twists(10_000, seed)[0] < 2


def test_hostile_archives_take_no_more_memory_than_a_block() -> None:
    tracemalloc.start()
    check_twists(150, 99)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (64 << 20) * 1.2
