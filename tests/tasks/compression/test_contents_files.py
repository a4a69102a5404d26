"""Files, arrays and streams come back to the byte, whatever they are; what cannot be kept is refused."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import struct
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from latentkit.codec.archive import ArchiveReader, ArchiveWriter
from latentkit.codec.images import Pixels
from latentkit.core.errors import (
    ArchiveError,
    DamagedArchiveError,
    DataError,
    InvalidParameterError,
    UnreadableDataError,
    UnsupportedOperationError,
)
from latentkit.tasks.compression import compress, decompress, open_contents, restorer_of, salvage
from latentkit.tasks.compression.contents import FileContents
from latentkit.tasks.compression.contents.files import FileRestorer
from tests.codec.archive.examples import noise, text
from tests.tasks.compression.archived import archive_of, given_back, images

BYTES = {
    "nothing": b"",
    "one": b"x",
    "newline": b"\n",
    "newlines": b"\n" * 5000,
    "windows": b"a,b\r\n" * 900,
    "no-final-newline": b"first\nlast",
    "one-long-line": text(9000),
    "long-lines": b"\n".join([text(3000), text(10), b"", text(5000, "b")]),
    "as-long-as-a-block": text(1023) + b"\n" + text(1024) + b"\n",
    "noise": noise(5000),
    "zeros": bytes(9000),
    "late-zero": text(70_000) + b"\n\0\xff" + noise(300),
    "an-archive": archive_of(io.BytesIO(b"of something")),
}


@pytest.mark.parametrize("content", BYTES.values(), ids=BYTES)
@pytest.mark.parametrize("block_bytes", [1 << 10, 4 << 20])
def test_any_bytes_come_back(content: bytes, block_bytes: int, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(content)
    assert given_back(tmp_path / "data", tmp_path / "again", block_bytes=block_bytes) == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "data"]


@pytest.mark.parametrize("name", ["x.npy", "x.npz.npy", "x.idx", "train-images-idx3-ubyte", "a.csv", "a b é.tsv", ".x"])
def test_a_name_promises_nothing(name: str, tmp_path: Path) -> None:
    for content in (b"", b"\x93NUMPY", noise(400), b"PK\3\4" + noise(50), b"\0\0\x08\x02" + noise(20)):
        (tmp_path / name).write_bytes(content)
        assert given_back(tmp_path / name, tmp_path / "again") == content


def test_blocks_of_lines_end_with_lines_where_lines_are_short_enough() -> None:
    lines = [noise(3, str(number)).hex().encode() * (number % 40) + b"\n" for number in range(900)]
    contents = FileContents("x", lambda: io.BytesIO(b"".join(lines) + b"end"), "lines", None)
    stretches = list(contents.blocks(1024))
    assert b"".join(block for block, _ in stretches) == b"".join(lines) + b"end"
    assert all(block.endswith(b"\n") and len(block) <= 1024 for block, _ in stretches[:-1])
    assert [n for _, n in stretches[:-1]] == [block.count(b"\n") for block, _ in stretches[:-1]]
    assert sum(n for _, n in stretches) == 901
    assert contents.lines(1024) == stretches[0][0]
    assert FileContents("x", lambda: io.BytesIO(b"a\n"), "bytes", None).lines(1024) == b""
    long = FileContents("x", lambda: io.BytesIO(b"a" * 2048), "lines", None)
    assert [(len(block), n) for block, n in long.blocks(1024)] == [(1024, 1), (1024, 1)]


# Arrays

DTYPES = ["?", "i1", "u1", "<i2", ">u2", "<f2", ">f4", "<f8", "<c8", "S3", "<U5", "<M8[s]", "<m8[ns]", "V7", "u1,<f4"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(7, 5), (3, 4, 6), (2, 3, 4, 3), (0, 4), (4, 0), (600,)])
def test_npy_files_come_back(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    kind = np.dtype(dtype)
    content = noise(int(np.prod(shape)) * kind.itemsize) if kind.char not in "?UV" or kind.names else None
    size = int(np.prod(shape)) * kind.itemsize
    array = (np.frombuffer(content, kind) if content else np.frombuffer(bytes(size), kind)).reshape(shape)
    file = tmp_path / "x.npy"
    np.save(file, array)
    for block_bytes in (1024, 4 << 20):
        assert given_back(file, tmp_path / "again", block_bytes=block_bytes) == file.read_bytes()
    assert open_contents(file).has_images == (kind.itemsize == 1 and kind.kind in "ub" and len(shape) > 2)


def test_npy_files_of_unusual_forms_come_back(tmp_path: Path) -> None:
    file = tmp_path / "x.npy"
    fortran = np.asfortranarray(images(5)[0].astype(float))
    for array in (np.array(5.0), fortran, np.array([{"a": 1}, None], object), np.zeros((2, 3, 0), np.uint8)):
        np.save(file, array)
        assert given_back(file, tmp_path / "again") == file.read_bytes()
    for version in ((2, 0), (3, 0)):
        with file.open("wb") as stream:
            np.lib.format.write_array(stream, images(), version=version)
        assert open_contents(file).has_images
        assert given_back(file, tmp_path / "again") == file.read_bytes()


def test_what_follows_an_array_in_its_file_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "x.npy"
    for rest in (b"\n", noise(200), noise(5000)):
        np.save(file, images())
        file.write_bytes(file.read_bytes() + rest)
        assert given_back(file, tmp_path / "again") == file.read_bytes()
    with file.open("wb") as stream:
        np.save(stream, images(3))
        np.save(stream, images(4))
    assert given_back(file, tmp_path / "again") == file.read_bytes()


@pytest.mark.parametrize("block_bytes", [1 << 10, 1 << 12])
def test_images_and_rows_larger_than_a_block(block_bytes: int, tmp_path: Path) -> None:
    file = tmp_path / "x.npy"
    for array in (images(3, 100), images(3, 31, 3), np.zeros((3, 5000), np.float32)):
        np.save(file, array)
        stream = io.BytesIO(archive_of(file, block_bytes=block_bytes))
        with ArchiveReader(stream) as reader:
            largest = max(len(block.content) for block in reader)
        assert largest <= max(block_bytes, 8 + array[0].nbytes)
        assert given_back(file, tmp_path / "again", block_bytes=block_bytes) == file.read_bytes()


def test_images_larger_than_any_block_are_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from latentkit.tasks.compression.contents import files

    monkeypatch.setattr(files, "MOST_BLOCK_BYTES", 99 + 8)
    np.save(tmp_path / "fits.npy", images(4))
    np.save(tmp_path / "large.npy", images(4, 10))
    assert open_contents(tmp_path / "fits.npy").has_images
    assert not open_contents(tmp_path / "large.npy").has_images
    assert given_back(tmp_path / "large.npy", tmp_path / "again") == (tmp_path / "large.npy").read_bytes()


def test_blocks_of_images_say_their_size() -> None:
    blocks = list(open_contents(images(10)).blocks(1024))
    assert sum(n for _, n in blocks) == 10
    assert max(n for _, n in blocks) - min(n for _, n in blocks) <= 1, "blocks are of about one size"
    assert all(struct.unpack("<II", block[:8]) == (9, 11) and len(block) == 8 + 99 * n for block, n in blocks)
    first, *_ = open_contents(images(3, channels=3)).images()
    assert (first.shape, open_contents(images(3)).images()[0].shape) == ((9, 11, 3), (9, 11, 1))
    assert (images(3, channels=3)[0] == first).all()
    assert open_contents(np.zeros(4)).images() == []
    assert open_contents(images() > 99).images()[0].dtype == np.uint8


def test_arrays_become_npy_files(tmp_path: Path) -> None:
    every_other = images(8)[::2]
    for array in (every_other, images(6).transpose(2, 1, 0), np.arange(6.0), np.empty((0, 3), ">i4")):
        content = given_back(array, tmp_path / "again")
        again = np.load(io.BytesIO(content))
        assert (again.dtype, again.shape, again.tolist()) == (array.dtype, array.shape, array.tolist())
        np.save(tmp_path / "x.npy", np.ascontiguousarray(array))
        assert content == (tmp_path / "x.npy").read_bytes()


def test_arrays_that_cannot_be_kept_are_refused(tmp_path: Path) -> None:
    for array, message in [
        (np.array(3.0), r"array of one float64 and no rows\. Give an array of numbers with a first axis"),
        (np.array([None]), "array of Python objects"),
        (np.ma.array([1, 2], mask=[0, 1]), "masked array, whose mask would be lost"),
    ]:
        with pytest.raises(InvalidParameterError, match=message):
            open_contents(array)
    np.savez(tmp_path / "x.npz", a=np.array(3.0), b=np.arange(3))
    with pytest.raises(DataError, match="member 'a' is a single value and has no rows"):
        open_contents(tmp_path / "x.npz", array="a")


def test_what_is_no_array_path_or_stream_is_refused() -> None:
    for source in (b"bytes", [1, 2], None, 5):
        with pytest.raises(InvalidParameterError, match=rf"a path or a binary stream; got a {type(source).__name__}\."):
            open_contents(source)


def test_members_of_npz_are_written_as_npy(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", x=images(), y=np.arange(12))
    for member, array in (("x", images()), ("y", np.arange(12))):
        stream = io.BytesIO()
        contents = open_contents(tmp_path / "x.npz", array=member)
        compress(contents, stream, None, n_workers=1)
        assert contents.name == "x.npy"
        stream.seek(0)
        decompress(stream, tmp_path / "again.npy", n_workers=1)
        assert (np.load(tmp_path / "again.npy") == array).all()
    with pytest.raises(InvalidParameterError, match="z"):
        open_contents(tmp_path / "x.npz", array="z")
    with pytest.raises(InvalidParameterError, match=r"array='x' chooses a member of a \.npz, and this is none"):
        open_contents(__file__, array="x")
    (tmp_path / "y.npz").write_bytes(noise(99))
    with pytest.raises(UnreadableDataError, match=r"y\.npz"):
        open_contents(tmp_path / "y.npz")


@pytest.mark.parametrize("name", ["x-images-idx3-ubyte", "x.idx3", "x-images-idx3-ubyte.gz"])
def test_idx_files_come_back_and_have_images(name: str, tmp_path: Path) -> None:
    content = b"\0\0\x08\x03" + struct.pack(">III", *images().shape) + images().tobytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    contents = open_contents(tmp_path / name)
    assert contents.has_images
    assert (np.array(contents.images())[..., 0] == images()).all()
    assert contents.name == name.removesuffix(".gz")
    assert given_back(tmp_path / name, tmp_path / "again", block_bytes=1024) == content


def test_other_idx_files_come_back(tmp_path: Path) -> None:
    for kind, dtype in ((0x0B, ">i2"), (0x0E, ">f8")):
        content = bytes([0, 0, kind, 2]) + struct.pack(">II", 2, 3) + np.arange(6).astype(dtype).tobytes()
        (tmp_path / "x.idx2").write_bytes(content)
        assert given_back(tmp_path / "x.idx2", tmp_path / "again") == content


# What is packed


def test_gz_is_unpacked(tmp_path: Path) -> None:
    content = text(200_000) + b"\n"
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(content[:500]) + gzip.compress(content[500:]))
    contents = open_contents(tmp_path / "x.csv.gz")
    assert (contents.name, contents.n_bytes) == ("x.csv", None)
    assert given_back(tmp_path / "x.csv.gz", tmp_path / "again", block_bytes=4096) == content
    (tmp_path / "x.csv.bz2").write_bytes(bz2.compress(content))
    assert given_back(tmp_path / "x.csv.bz2", tmp_path / "again") == bz2.compress(content), "which is kept as it is"


def test_gz_that_is_damaged_is_told(tmp_path: Path) -> None:
    whole = gzip.compress(noise(200_000))
    file, target = tmp_path / "x.csv.gz", tmp_path / "x.lkz"
    for content in (b"", b"no gzip", whole[:50], whole[:-5000], whole[:-4] + b"abcd", whole[:90_000] + whole[91_000:]):
        file.write_bytes(content)
        if not content:
            assert archive_of(file), "gzip takes it for an empty file"
            continue
        with pytest.raises(UnreadableDataError, match=r"x\.csv\.gz: cannot be read \("):
            compress(open_contents(file), target, None, block_bytes=1024, n_workers=1)
        assert not target.exists()


# Streams


class Trickle(io.RawIOBase):
    """Gives a few bytes at a time, and cannot be moved in."""

    def __init__(self, content: bytes, step: int) -> None:
        self.rest, self.step = content, step

    def readable(self) -> bool:
        return True

    def read(self, n: int = -1) -> bytes:
        n = min(self.step, len(self.rest) if n < 0 else n)
        given, self.rest = self.rest[:n], self.rest[n:]
        return given


@pytest.mark.parametrize("content", BYTES.values(), ids=BYTES)
def test_streams_come_back(content: bytes, tmp_path: Path) -> None:
    stream = io.BytesIO(content)
    assert given_back(stream, tmp_path / "again", block_bytes=1024) == content
    assert not stream.closed
    source = Trickle(content, 1000)
    packed = archive_of(source, block_bytes=2048)
    assert not source.closed
    out = io.BytesIO()
    assert decompress(Trickle(packed, 777), out, n_workers=1) == []
    assert out.getvalue() == content


def test_pipes_carry_both(tmp_path: Path) -> None:
    content = text(300_000) + noise(100_000)
    (out, into), (out_again, into_again) = os.pipe(), os.pipe()

    def feed() -> None:
        with os.fdopen(into, "wb") as stream:
            stream.write(content)

    def pack() -> None:
        with os.fdopen(out, "rb", buffering=0) as stream, os.fdopen(into_again, "wb", buffering=0) as target:
            compress(open_contents(stream), target, None, block_bytes=1 << 14, n_workers=2)

    threads = [Thread(target=feed), Thread(target=pack)]
    for thread in threads:
        thread.start()
    with os.fdopen(out_again, "rb") as stream:
        decompress(stream, tmp_path / "again", n_workers=2)
    for thread in threads:
        thread.join()
    assert (tmp_path / "again").read_bytes() == content


# Errors


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDataError, match=r"none: there is no such file or folder\."):
        open_contents(tmp_path / "none")


def test_options_are_checked(tmp_path: Path) -> None:
    for options, message in [
        ({"block_bytes": 1023}, "block_bytes must be an integer from 1024 to 67108864; got 1023"),
        ({"block_bytes": (64 << 20) + 1}, "block_bytes must be"),
        ({"n_workers": 0}, "n_workers must be an integer of at least 1; got 0"),
        ({"n_workers": -2}, "n_workers"),
    ]:
        with pytest.raises(InvalidParameterError, match=message):
            compress(open_contents(images()), tmp_path / "x.lkz", None, **options)
    with pytest.raises(InvalidParameterError, match="n_workers"):
        decompress(io.BytesIO(), tmp_path / "x", n_workers=0)
    assert list(tmp_path.iterdir()) == []


def test_hostile_descriptions_are_refused() -> None:
    for meta in ({"head": 5}, {"head": "\u1234"}, {"kind": "rows", "head": ["a"]}):
        with pytest.raises(DamagedArchiveError, match="does not say which file it holds"):
            restorer_of(meta)
    for kind in ("other", 5, None, ["bytes"]):
        with pytest.raises(ArchiveError, match=r"which this version cannot write; it knows: .*bytes.*folder"):
            restorer_of({"kind": kind})


def test_blocks_of_images_without_a_size_are_damaged(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with ArchiveWriter(stream, {"kind": "images", "name": "x"}) as archive:
        archive.write(b"short", 1)
    stream.seek(0)
    with pytest.raises(DamagedArchiveError, match="a block of images has no size"):
        decompress(stream, tmp_path / "x", n_workers=1)
    assert list(tmp_path.iterdir()) == []


def test_only_arrays_become_arrays() -> None:
    for content in (b"", b"text\n", noise(300)):
        with ArchiveReader(io.BytesIO(archive_of(io.BytesIO(content)))) as reader:
            restorer = restorer_of(reader.meta)
            assert isinstance(restorer, FileRestorer)
            with pytest.raises(InvalidParameterError, match=r"stream is no array of numpy: .* with path="):
                restorer.array(reader)


def test_what_is_left_of_a_damaged_file_is_written(tmp_path: Path) -> None:
    content = b"".join(noise(20, str(number)).hex().encode() + b"\n" for number in range(200))
    packed = bytearray(archive_of(io.BytesIO(content), block_bytes=1024))
    packed[len(packed) // 2] ^= 1
    with pytest.raises(DamagedArchiveError):
        decompress(io.BytesIO(packed), tmp_path / "x", n_workers=1)
    assert list(tmp_path.iterdir()) == []
    files, left = salvage(io.BytesIO(packed), tmp_path / "rest")
    assert files == [tmp_path / "rest"]
    (lost,) = left.lost_items
    lines = content.splitlines(keepends=True)
    assert (tmp_path / "rest").read_bytes() == b"".join(lines[: lost.start] + lines[lost.stop :])
    with pytest.raises(DamagedArchiveError, match="its first bytes and its last are damaged|neither"):
        salvage(io.BytesIO(packed[200:-200]), tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_what_is_left_of_a_damaged_array_is_an_array(tmp_path: Path) -> None:
    for array in (images(60), np.arange(600.0).reshape(60, 10)):
        np.save(tmp_path / "x.npy", array)
        packed = bytearray(archive_of(tmp_path / "x.npy", block_bytes=1024))
        packed[len(packed) // 2] ^= 1
        _, left = salvage(io.BytesIO(packed), tmp_path / "rest.npy")
        (lost,) = left.lost_items
        assert (np.load(tmp_path / "rest.npy") == np.delete(array, lost, 0)).all()


# Some rows


class Once(io.RawIOBase):
    """Bytes that come through a pipe."""

    def __init__(self, content: bytes) -> None:
        self.rest = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self.rest.readinto(buffer)


ROWS = [
    0,
    7,
    -1,
    59,
    slice(0, 60),
    slice(3, 4),
    slice(9, 51),
    slice(None, 2),
    slice(-5, None),
    slice(20, -20),
    slice(None),
]
HEADED = b"height,width\n" + b"".join(b"%d,%d\r\n" % (n * n, n % 7) for n in range(60))


@pytest.mark.parametrize("rows", ROWS, ids=str)
def test_some_rows(rows: int | slice, tmp_path: Path) -> None:
    """As Python takes them of a list, from files, streams and pipes."""
    block_bytes = 2048
    chosen = rows if isinstance(rows, slice) else slice(rows, rows + 1 or None)
    for name, array in (
        ("images", images(60)),
        ("colour", images(60, channels=3)),
        ("numbers", np.arange(18e3).reshape(60, 300)),
    ):
        np.save(tmp_path / f"{name}.npy", array)
        content = archive_of(tmp_path / f"{name}.npy", block_bytes=block_bytes)
        (tmp_path / "x.lkz").write_bytes(content)
        for source in (tmp_path / "x.lkz", io.BytesIO(content), Once(content)):
            decompress(source, tmp_path / "some.npy", rows=rows, n_workers=2)
            assert np.array_equal(np.load(tmp_path / "some.npy"), array[chosen])
    idx = b"\0\0\x08\x03" + struct.pack(">III", 60, 9, 11) + images(60).tobytes()
    (tmp_path / "x.idx").write_bytes(idx)
    some = images(60)[chosen]
    decompress(io.BytesIO(archive_of(tmp_path / "x.idx", block_bytes=block_bytes)), tmp_path / "some", rows=rows)
    assert (tmp_path / "some").read_bytes() == idx[:4] + struct.pack(">III", *some.shape) + some.tobytes()
    header, *lines = HEADED.splitlines(keepends=True)
    (tmp_path / "x.csv").write_bytes(HEADED)
    decompress(io.BytesIO(archive_of(tmp_path / "x.csv", block_bytes=block_bytes)), tmp_path / "some", rows=rows)
    assert (tmp_path / "some").read_bytes() == header + b"".join(lines[chosen])
    for content, parts in ((b"".join(lines), lines), (noise(60), [noise(60)[n : n + 1] for n in range(60)])):
        target = io.BytesIO()
        decompress(io.BytesIO(archive_of(io.BytesIO(content), block_bytes=block_bytes)), target, rows=rows)
        assert target.getvalue() == b"".join(parts[chosen])


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_some_rows_of_npy_files_of_every_version(version: tuple[int, int], tmp_path: Path) -> None:
    array = np.zeros(12, [("größe" if version > (2, 0) else "size", "<f4"), ("'shape': (5", "u1")])
    array["'shape': (5"] = np.arange(12)
    with (tmp_path / "x.npy").open("wb") as stream:
        np.lib.format.write_array(stream, array, version=version)
    if version < (3, 0):
        with pytest.raises(DamagedArchiveError, match="what stands before its rows is the head of no array"):
            decompress(io.BytesIO(archive_of(tmp_path / "x.npy")), tmp_path / "some.npy", rows=slice(3, 5))
    plain = np.zeros(12, [("größe" if version > (2, 0) else "size", "<f4"), ("n", "u1")])
    with (tmp_path / "y.npy").open("wb") as stream:
        np.lib.format.write_array(stream, plain, version=version)
    decompress(io.BytesIO(archive_of(tmp_path / "y.npy")), tmp_path / "some.npy", rows=slice(3, 5))
    assert (np.load(tmp_path / "some.npy") == plain[3:5]).all()


def test_of_some_rows_only_their_blocks_are_read(tmp_path: Path) -> None:
    """What is damaged elsewhere does not matter."""
    np.save(tmp_path / "x.npy", images(60))
    packed = archive_of(tmp_path / "x.npy", block_bytes=1024)
    with ArchiveReader(io.BytesIO(packed)) as reader:
        blocks = reader.blocks
    for number, block in enumerate(blocks):
        damaged = bytearray(packed)
        for other in (entry for entry in blocks if entry != block):
            damaged[other.offset + 20] ^= 1
        rows = slice(block.first, block.first + block.n_items)
        decompress(io.BytesIO(damaged), tmp_path / "some.npy", rows=rows)
        assert (np.load(tmp_path / "some.npy") == images(60)[rows]).all()
        if number:
            with pytest.raises(DamagedArchiveError):
                decompress(io.BytesIO(damaged), tmp_path / "more.npy", rows=slice(block.first - 1, block.first + 1))
            assert not (tmp_path / "more.npy").exists()


@pytest.mark.parametrize(
    "rows", [60, -61, slice(0, 61), slice(5, 5), slice(7, 3), slice(-61, None), slice(60, None)], ids=str
)
def test_rows_that_there_are_none_of_are_refused(rows: int | slice, tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match=r"there are no rows .*: the archive has 60, from 0 on\."):
        decompress(io.BytesIO(archive_of(images(60))), tmp_path / "x", rows=rows)
    for wrong in (slice(0, 9, 2), "3", slice(0, 9, -1)):
        with pytest.raises(InvalidParameterError, match="rows must be a number, or a slice of numbers that follow"):
            decompress(io.BytesIO(archive_of(images(60))), tmp_path / "x", rows=wrong)
    assert list(tmp_path.iterdir()) == []


def test_rows_longer_than_any_block_are_not_read_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from latentkit.tasks.compression.contents import files

    monkeypatch.setattr(files, "MOST_BLOCK_BYTES", 99 + 8)
    packed = archive_of(images(4, 10))
    with pytest.raises(
        UnsupportedOperationError, match=r"rows of array\.npy are longer than a block: take all of it\."
    ):
        decompress(io.BytesIO(packed), tmp_path / "x", rows=2)
    decompress(io.BytesIO(packed), tmp_path / "x.npy")
    assert (np.load(tmp_path / "x.npy") == images(4, 10)).all()


def test_blocks_that_do_not_have_their_items_are_damaged(tmp_path: Path) -> None:
    for kind, block, n in (("lines", b"a\nb\n", 3), ("rows", b"abc", 2), ("images", bytes(11), 2)):
        stream = io.BytesIO()
        with ArchiveWriter(stream, {"kind": kind}) as archive:
            archive.write(block, n)
        stream.seek(0)
        with pytest.raises(DamagedArchiveError, match=rf"a block does not have the {n} items that it says"):
            decompress(stream, tmp_path / "x", rows=0)


def test_headers_are_recognised(tmp_path: Path) -> None:
    for name, content, has_header in (
        ("x.csv", b"a,b\n1,2\n", True),
        ("x.tsv", b'"a"\t"b c"\r\n1\t2\r\n', True),
        ("x.csv", b"1,b\n1,2\n", False),
        ("x.csv", b'"1",b\n1,2\n', False),
        ("x.txt", b"a,b\n1,2\n", False),
        ("x.csv", b"a,\0\n1,2\n", False),
    ):
        (tmp_path / name).write_bytes(content)
        assert open_contents(tmp_path / name).meta().get("header", False) is has_header


def test_progress_hears_of_every_byte(tmp_path: Path) -> None:
    heard: list[int] = []
    compress(open_contents(images(100)), tmp_path / "x.lkz", None, block_bytes=1024, progress=heard.append)
    assert heard == sorted(heard)
    assert heard[-1] == sum(len(block) for block, _ in open_contents(images(100)).blocks(1024))
    read: list[int] = []
    decompress(tmp_path / "x.lkz", tmp_path / "x.npy", progress=read.append)
    assert (len(read), read[-1]) == (len(heard), heard[-1])


def test_what_became_of_contents_is_told() -> None:
    array = np.zeros((100, 9, 9), np.uint8)
    archived = compress(open_contents(array), stream := io.BytesIO(), None, n_workers=1)
    assert archived.source_bytes == 128 + array.nbytes
    assert archived.summary.file_bytes == len(stream.getvalue())
    assert archived.ratio == (array.nbytes + 8) / len(stream.getvalue())
    assert archived.bits_per_byte == pytest.approx(8 / archived.ratio)


def test_only_blocks_of_pixels_say_that_they_are(tmp_path: Path) -> None:
    """What does not may never be approximated: numbers, truth values, and bytes that look like pixels."""
    x = images(n=3, channels=3)
    looks_alike = tmp_path / "alike.bin"
    looks_alike.write_bytes(Pixels.block(x))
    for source, says in ((x, True), (x > 99, False), (x.astype(np.int8), False), (x[0], True), (looks_alike, False)):
        blocks = [block for block, _ in open_contents(source).blocks(1 << 20)]
        assert [isinstance(block, Pixels) for block in blocks] == [says]
    assert Pixels.block(x).size == x.shape[1:3]
    assert (Pixels.content(Pixels.block(x)), Pixels.block(x)[:8]) == (x.tobytes(), Pixels.head(*x.shape[1:3]))
    with pytest.raises(DamagedArchiveError, match="a block of images has no size"):
        Pixels.content(b"1234567")
