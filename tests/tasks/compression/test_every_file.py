"""Every file of the real data comes back to the byte, without a model and by one of its beginning."""

from __future__ import annotations

import gzip
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latentkit.codec import Coder
from latentkit.tasks.compression import compress, decompress, learn_coder, open_contents

#: Images or lines of each, which a model learns from and codes; more of them would take hours.
N_CODED = 300
FEW = {"seed": 0, "max_time": 20.0, "max_epochs": 1}

IMAGES = ("mnist", "fashion_mnist", "omniglot_small_28", "frey_faces", "olivetti_faces", "cifar10_subset")
LINES = ("tables/[a-c]*", "tables/[d-m]*", "tables/[n-z]*", "text/[a-s]*", "text/[t-y]*")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def given_back(source: Any, target: Path, coder: Coder | None = None) -> Path:
    stream = io.BytesIO()
    archived = compress(open_contents(source), stream, coder, embeds_model=False)
    assert archived.summary.n_mismatches == 0
    stream.seek(0)
    decompress(stream, target, coder)
    return target


def arrays_of(file: Path) -> Iterator[np.ndarray]:
    with np.load(file, allow_pickle=False) as content:
        yield from (content[name] for name in content.files if content[name].ndim)


def assert_same(array: np.ndarray, file: Path) -> None:
    again = np.load(file)
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert again.tobytes() == array.tobytes()


@pytest.mark.parametrize("folder", ["images", "tables", "text", "anomaly"])
def test_without_a_model(folder: str, data_folder: Path, tmp_path: Path) -> None:
    """Tables and texts as they are, what is packed by gzip unpacked; of what holds several arrays, each of them."""
    files = [file for file in sorted((data_folder / folder).iterdir()) if file.is_file()]
    assert files
    for file in files:
        if file.suffix == ".npz":
            for array in arrays_of(file):
                assert_same(array, given_back(array, tmp_path / "x.npy"))
        else:
            content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
            assert given_back(file, tmp_path / "x").read_bytes() == content, file


def test_photographs(data_folder: Path, tmp_path: Path) -> None:
    """By a model that has learnt from two of them."""
    folder = data_folder / "images" / "kodak"
    for number in (1, 2):
        (tmp_path / "few").mkdir(exist_ok=True)
        shutil.copy2(folder / f"kodim0{number}.png", tmp_path / "few")
    learnt = learn_coder(open_contents(tmp_path / "few"), **FEW)
    again = given_back(folder, tmp_path / "again", learnt.coder)
    for file in sorted(folder.iterdir()):
        assert (again / file.name).stat().st_mtime_ns == file.stat().st_mtime_ns
        with Image.open(file) as one, Image.open(again / file.name) as other:
            assert one.tobytes() == other.tobytes(), file


@pytest.mark.parametrize("name", IMAGES)
def test_images_by_models_of_them(name: str, data_folder: Path, tmp_path: Path) -> None:
    for array in arrays_of(data_folder / "images" / f"{name}.npz"):
        if array.dtype == np.uint8 and array.ndim >= 3:
            learnt = learn_coder(open_contents(array[:N_CODED].copy()), **FEW)
            coded = array[-N_CODED:].copy()
            assert_same(coded, given_back(coded, tmp_path / "x.npy", learnt.coder))


@pytest.mark.parametrize("pattern", LINES)
def test_lines_by_models_of_them(pattern: str, data_folder: Path, tmp_path: Path) -> None:
    files = sorted(data_folder.glob(pattern))
    assert files
    for file in files:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        lines = content.splitlines(keepends=True)
        (tmp_path / file.stem).write_bytes(b"".join(lines[:N_CODED]))
        (tmp_path / "coded").write_bytes(b"".join([lines[0], *lines[-N_CODED:]]))
        learnt = learn_coder(open_contents(tmp_path / file.stem), **FEW)
        again = given_back(tmp_path / "coded", tmp_path / "again", learnt.coder)
        assert again.read_bytes() == (tmp_path / "coded").read_bytes(), file


@pytest.mark.parametrize("kind", ["noise", "constant", "empty", "one byte", "other images", "other lines"])
def test_adversarial_ones(kind: str, data_folder: Path, tmp_path: Path) -> None:
    """By a model of digits, and by one of a table."""
    digits = np.load(data_folder / "images" / "mnist.npz")["x_train"][:N_CODED]
    random = np.random.default_rng(0)
    contents = {
        "noise": random.integers(0, 256, digits.shape).astype(np.uint8),
        "constant": np.full_like(digits, 200),
        "empty": digits[:0],
        "one byte": np.full((1, 1, 1), 7, np.uint8),
        "other images": np.load(data_folder / "images" / "fashion_mnist.npz")["x_test"][:N_CODED],
        "other lines": (data_folder / "tables" / "yeast.csv").read_bytes(),
    }[kind]
    table = tmp_path / "table.csv"
    lines = (data_folder / "tables" / "mushroom.csv").read_bytes().splitlines(keepends=True)
    table.write_bytes(b"".join(lines[:N_CODED]))
    for source in (digits, table):
        learnt = learn_coder(open_contents(source), **FEW)
        if isinstance(contents, bytes):
            assert given_back(io.BytesIO(contents), tmp_path / "x", learnt.coder).read_bytes() == contents
        else:
            assert_same(contents, given_back(contents, tmp_path / "x.npy", learnt.coder))
            (tmp_path / "bytes").write_bytes(contents.tobytes())
            again = given_back(tmp_path / "bytes", tmp_path / "y", learnt.coder)
            assert again.read_bytes() == contents.tobytes()
