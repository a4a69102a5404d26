"""The format: its bytes, its cost, and that what was ever written is read."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from latentkit.codec.archive import ArchiveReader, ArchiveWriter, Method, head
from latentkit.tasks.compression import decompress
from tests.codec.archive import by_the_page
from tests.codec.archive.examples import FROZEN, META, METHODS, MIXED, near, noise, read, text, toy, written
from tests.codec.archive.freeze import ARCHIVES, FOLDER, LOSSY, TABLE
from tests.codec.archive.real import REAL, make_folder, table

#: Whose payloads the page leaves to the classes of their coders.
OF_NO_PAGE = {"1-mixed", "1-mixed-embedded", "1-rows"}
PAGE = Path(__file__).resolve().parents[3] / "docs" / "archive-format.md"

#: As docs/archive-format.md tells them.
BY_HAND = bytes.fromhex("""
    894c4b5a0d0a1a0a
    f7b18e48 11 01 00 3629a2e2 7b226f66223a227573227d fe258133
    f7b18e42 05 00 02 00 6162 d17ac02c
    f7b18e42 04 02 01 00 63 397721c0
    f7b18e48 11 01 00 3629a2e2 7b226f66223a227573227d fe258133
    f7b18e49 11 00 22 02 02 00 d17ac02c 0e 01 01 00 397721c0 c041f957
    f7b18e45 1a000000 fe258133 a42e2122
""")


def test_the_page_that_describes_it_is_right() -> None:
    """Its bytes by hand, and the dictionary, which who writes a reader copies from there."""
    described, dumped = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert described.replace("\n", "").encode() == head._DICTIONARY
    assert bytes.fromhex("".join(line[:50] for line in dumped.splitlines())) == BY_HAND


def test_the_bytes_are_those_of_the_format() -> None:
    """They are read by every later version: a change of these is a change of the format."""
    assert written([(b"ab", 2), (b"c", 1)], {"of": "us"}, level=None) == BY_HAND
    with ArchiveReader(io.BytesIO(BY_HAND)) as reader:
        assert (reader.meta, reader.fingerprint, reader.n_items, reader.n_bytes) == ({"of": "us"}, None, 3, 3)
        assert [(block.first, block.n_items, block.content) for block in reader] == [(0, 2, b"ab"), (2, 1, b"c")]


@pytest.mark.parametrize("name", ARCHIVES)
def test_what_was_written_by_an_earlier_version_is_read(name: str) -> None:
    blocks, options = ARCHIVES[name]
    coder = None if options.get("embeds_model") else options.get("coder")
    with ArchiveReader(FROZEN / f"{name}.lkz", coder=coder) as reader:
        assert [(block.content, block.n_items) for block in reader] == blocks
        assert reader.meta == options.get("meta", META)
        for number, (content, n_items) in enumerate(blocks):
            block = reader.read_block(number)
            assert (block.content, block.n_items) == (content, n_items)


@pytest.mark.parametrize("name", sorted(REAL))
def test_what_a_real_coder_wrote_is_read(name: str) -> None:
    blocks, _ = REAL[name]
    with ArchiveReader(FROZEN / f"{name}.lkz") as reader:
        assert [(block.content, block.n_items, block.method) for block in reader] == [
            (content, n_items, Method.CODER) for content, n_items in blocks
        ]


def test_what_was_approximated_is_read() -> None:
    """The pixels that the decoder gave when it was written."""
    with ArchiveReader(FROZEN / f"{LOSSY}.lkz") as reader:
        sums = [hashlib.sha256(block.content).hexdigest()[:16] for block in reader]
        assert [entry.method for entry in reader.blocks] == [Method.CODER] * 2
    assert sums == ["170ee8b09ce3a4dd", "75cda0bd06b0b397"]


def test_a_folder_that_was_written_is_read(tmp_path: Path) -> None:
    make_folder(tmp_path / "before")
    files = decompress(FROZEN / f"{FOLDER}.lkz", tmp_path / "after")
    assert len(files) == 8
    for file in files:
        before = tmp_path / "before" / file.relative_to(tmp_path / "after")
        if file.suffix == ".png":
            with Image.open(file) as ours, Image.open(before) as theirs:
                assert (ours.mode, ours.size, ours.tobytes()) == (theirs.mode, theirs.size, theirs.tobytes())
        else:
            assert file.read_bytes() == before.read_bytes()
        assert 1_700_000_000 < file.stat().st_mtime < 1_900_000_000


def test_a_table_that_was_written_is_read(tmp_path: Path) -> None:
    from pyarrow import parquet

    decompress(FROZEN / f"{TABLE}.lkz", tmp_path / "x.parquet")
    assert parquet.read_table(tmp_path / "x.parquet").equals(table(), check_metadata=True)


@pytest.mark.parametrize("name", sorted({*ARCHIVES, *REAL} - OF_NO_PAGE))
def test_the_page_says_all_that_reading_takes(name: str) -> None:
    """A reader that was written from it, and shares nothing with the package, reads what is frozen."""
    dictionary, _ = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    meta, blocks = by_the_page.decoded((FROZEN / f"{name}.lkz").read_bytes(), dictionary.replace("\n", "").encode())
    with ArchiveReader(FROZEN / f"{name}.lkz") as reader:
        assert meta == reader.meta
        assert blocks == [(block.content, block.n_items) for block in reader]


def test_frozen_archives_use_all_that_there_is() -> None:
    """A method that none of them uses would not be guarded; and none is left that nobody reads."""
    assert {path.stem for path in FROZEN.iterdir()} == {*ARCHIVES, *REAL, FOLDER, TABLE, LOSSY}
    with ArchiveReader(FROZEN / "1-mixed-embedded.lkz") as reader:
        assert {entry.method for entry in reader.blocks} == set(Method)
        assert reader.model() is not None


@pytest.mark.parametrize("size", [1 << 20, 1 << 16])
@pytest.mark.parametrize("content", [b"", b"x", noise(1 << 20)], ids=["nothing", "a byte", "noise"])
def test_nothing_grows_by_much(content: bytes, size: int) -> None:
    """A thousandth and 64 bytes, with the description; 32 more where a coder is named, whatever it makes of it."""
    blocks = [(content[start : start + size], 1) for start in range(0, len(content), size)]
    assert len(written(blocks)) <= len(content) * 1.001 + 64
    assert len(written(blocks, coder=toy(), embeds_model=True)) <= len(content) * 1.001 + 64 + 32


@settings(max_examples=40)
@given(
    blocks=st.lists(
        st.tuples(st.sampled_from([noise, near, text]), st.integers(0, 3000), st.integers(0, 40), st.text(max_size=3)),
        max_size=6,
    ),
    coder=st.sampled_from([None, toy(), toy("another")]),
    embeds_model=st.booleans(),
    level=st.sampled_from([None, 1, 19]),
    n_workers=st.sampled_from([1, 3]),
)
def test_what_is_written_is_read(blocks, coder, embeds_model, level, n_workers) -> None:
    """As it comes, and block by block, and item by item."""
    made = [(make(n, name), n_items) for make, n, n_items, name in blocks]
    embeds_model = embeds_model and coder is not None
    content = written(made, coder=coder, embeds_model=embeds_model, level=level)
    with ArchiveReader(io.BytesIO(content), coder=None if embeds_model else coder, n_workers=n_workers) as reader:
        for _ in range(2):
            assert [(block.content, block.n_items) for block in reader] == made
    with ArchiveReader(io.BytesIO(content), coder=coder) as reader:
        assert [(entry.n_bytes, entry.n_items) for entry in reader.blocks] == [(len(b), n) for b, n in made]
        assert reader.n_items == sum(n for _, n in made)
        for item in range(0, reader.n_items, 7):
            block = reader.read_items_block(item)
            assert block.first <= item < block.first + block.n_items
            assert (
                block.content == made[[entry.first for entry in reader.blocks].index(block.first, _at(reader, item))][0]
            )


def _at(reader: ArchiveReader, item: int) -> int:
    """The number of the block that has an item, the plain way."""
    return next(n for n, entry in enumerate(reader.blocks) if entry.first <= item < entry.first + entry.n_items)


def test_a_block_is_packed_by_what_takes_fewest_bytes() -> None:
    stream = io.BytesIO()
    with ArchiveWriter(stream, META, coder=toy()) as archive:
        assert [archive.write(*block) for block in MIXED] == METHODS
    assert [block.method for block in read(stream.getvalue(), coder=toy())] == METHODS
    assert [block.method for block in read(written(MIXED))] == [Method.STORED, Method.ZSTD, Method.ZSTD]
    assert [block.method for block in read(written(MIXED, level=None))] == [Method.STORED] * 3
    alone = written(MIXED, level=None, coder=toy())
    assert [block.method for block in read(alone, coder=toy())] == [Method.STORED, Method.CODER, Method.STORED]


def test_the_same_blocks_give_the_same_archive() -> None:
    assert written(MIXED, coder=toy()) == written(MIXED, coder=toy())
    assert written(MIXED) != written(MIXED[1:])
