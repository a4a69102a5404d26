"""Nothing grows by more than its name, 64 bytes and a thousandth; folders tell of each file, and where blocks lie."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from latentkit.tasks.compression import compress, open_contents
from tests.codec.archive.examples import ToyCoder, noise, toy
from tests.tasks.compression.archived import archive_of, images

SPARE = 64
#: That it is text, of lines.
OF_LINES = 4
#: That the first of them may name columns.
OF_A_HEADER = 8
#: What is told of a file of a folder: how large it is, of when, and who may do what; and the index of its archive.
OF_A_FILE, OF_A_FOLDER = 24, 136

TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=30), max_size=60).map("\n".join)
BYTES = st.binary(max_size=3000) | st.integers(0, 9000).map(noise) | TEXTS.map(str.encode)
DTYPES = st.sampled_from([np.uint8, np.int8, np.bool_, np.float32, np.int64, ">i2", "<U3"])
ARRAYS = DTYPES.flatmap(lambda dtype: arrays(dtype, array_shapes(max_dims=4, max_side=6, min_side=0)))


def most(n_bytes: int, names: int) -> int:
    return n_bytes + n_bytes // 1000 + names + SPARE


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("growth")


@settings(max_examples=40)
@given(content=BYTES, name=st.sampled_from(["a", "noise.bin", "people.csv", "a name that is rather long"]))
def test_files_hardly_grow(content: bytes, name: str, place: Path) -> None:
    (place / name).write_bytes(content)
    of_lines = OF_LINES * (b"\n" in content)
    of_a_header = OF_A_HEADER * name.endswith(".csv") * bool(of_lines)
    assert len(archive_of(place / name)) <= most(len(content), len(name) + of_lines + of_a_header)
    assert len(archive_of(io.BytesIO(content))) <= most(len(content), of_lines)


@settings(max_examples=40)
@given(array=ARRAYS)
def test_arrays_hardly_grow(array: np.ndarray, place: Path) -> None:
    np.save(place / "x.npy", array)
    size = (place / "x.npy").stat().st_size
    assert len(archive_of(place / "x.npy")) <= most(size, 5)


@settings(max_examples=40)
@given(contents=st.lists(BYTES, min_size=1, max_size=30), n=st.integers(0, 10**9))
def test_folders_hardly_grow(contents: list[bytes], n: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("folder")
    for number, content in enumerate(contents):
        file = folder / f"{noise(4, str(number)).hex()}.bin"
        file.write_bytes(content)
        os.utime(file, ns=(0, 1_700_000_000_000_000_000 + (n * (number + 1) * 7919) % 10**17))
    names = sum(len(file.name) for file in folder.iterdir())
    of_all = names + OF_A_FILE * len(contents) + OF_A_FOLDER
    assert len(archive_of(folder)) <= most(sum(map(len, contents)), of_all)


@settings(max_examples=40)
@given(content=BYTES | ARRAYS)
def test_a_coder_that_does_not_pay_costs_nothing(content: bytes | np.ndarray) -> None:
    """Neither its model nor its fingerprint is in the archive."""
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    plain = archive_of(source)
    if isinstance(content, bytes):
        source = io.BytesIO(content)
    for n_workers in (1, 3):
        stream = io.BytesIO()
        compress(open_contents(source), stream, LARGE, n_workers=n_workers)
        assert stream.getvalue() == plain
        if isinstance(content, bytes):
            source = io.BytesIO(content)


def test_large_contents_grow_by_a_thousandth(place: Path) -> None:
    (place / "noise").write_bytes(noise(500_000))
    for block_bytes in (1 << 16, 4 << 20):
        assert len(archive_of(place / "noise", block_bytes=block_bytes)) <= most(500_000, 5)
    np.save(place / "noise.npy", images(5_000))
    assert len(archive_of(place / "noise.npy")) <= most((place / "noise.npy").stat().st_size, 9)


#: A toy whose model is larger than anything here, and which codes what it can.
LARGE = ToyCoder(noise(40_000), toy().tables.frequencies[0].tolist())
