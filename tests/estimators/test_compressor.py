"""Compressors give back each byte, know their archives from those of others, and change nothing of the user's."""

# ruff: noqa: NPY002 (the old global state of numpy is what must not move)

from __future__ import annotations

import io
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError

from latentkit import load
from latentkit.codec import coders
from latentkit.codec.archive import ArchiveReader
from latentkit.codec.texts import lanes
from latentkit.core.errors import (
    ArchiveError,
    DamagedArchiveError,
    DamagedRunError,
    DataError,
    InvalidParameterError,
    RunError,
    UnreadableDataError,
)
from latentkit.core.files import sha256
from latentkit.estimators import Compressor
from latentkit.tasks.compression import compress, open_contents, pixels
from latentkit.training import TrainingPlan
from tests.codec.archive.examples import ToyCoder, near, toy

IMAGES = (load_digits().images * 15).astype(np.uint8)
TRAIN, TEST = IMAGES[:1200], IMAGES[1200:]


def images_near(background: str = "background") -> np.ndarray:
    """What a toy coder codes well in a block of images, whose size is told in 8 bytes."""
    return np.frombuffer(near(8 + 40 * 70, background=background)[8:], np.uint8).reshape(40, 7, 10)


NEAR = images_near()


@pytest.fixture(scope="module")
def compressor() -> Compressor:
    return Compressor(max_time=1.5, random_state=0).fit(TRAIN)


def of_toy(background: str = "background") -> Compressor:
    """A compressor that is quick, since its coder is that of the tests."""
    made = Compressor(random_state=0)
    made.lossy_coder_ = None
    made.coder_, made.seed_, made.bits_, made.history_ = toy(background), 0, 1.0, [{"epoch": 1, "seconds": 0.1}]
    return made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Compressor:
    monkeypatch.setitem(coders._parts, "toy", ToyCoder.of)
    return of_toy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images as PNG files, and a file beside them."""
    place = tmp_path_factory.mktemp("folder")
    for number, image in enumerate(TEST[:40]):
        Image.fromarray(image).save(place / f"{number}.png")
    (place / "notes.txt").write_text("eight by eight\n")
    return place


def test_arrays_come_back(compressor: Compressor, quick: Compressor) -> None:
    again = compressor.decompress(compressor.compress(TEST[:40], embed=False, verify=False))
    assert (again == TEST[:40]).all()
    for array in (NEAR, NEAR[:1], NEAR[:0], NEAR.astype(float), NEAR.reshape(-1, 70), NEAR[::2]):
        again = quick.decompress(quick.compress(array, embed=False))
        assert (again.dtype, again.shape) == (array.dtype, array.shape)
        assert (again == array).all()


def test_it_takes_less_than_zstd_and_tells_so(compressor: Compressor) -> None:
    stream = io.BytesIO()
    archived = compressor.compress(TEST, stream, embed=False)
    assert len(stream.getvalue()) < len(_by_zstd(TEST))
    assert archived.summary.file_bytes == len(stream.getvalue())
    assert archived.summary.raw_bytes == TEST.nbytes + 8
    assert 0 < compressor.bits_ < 8
    assert archived.bits_per_byte == pytest.approx(compressor.bits_, rel=0.3)
    assert compressor.history_
    assert all("seconds" in record for record in compressor.history_)


def _by_zstd(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    compress(open_contents(array), stream, None)
    return stream.getvalue()


def test_what_is_not_an_image_comes_back_too(compressor: Compressor, folder: Path, tmp_path: Path) -> None:
    source = b"lines\nof a file\n" * 500
    packed = compressor.compress(io.BytesIO(source))
    out = io.BytesIO()
    assert compressor.decompress(packed, out) == []
    assert out.getvalue() == source
    with pytest.raises(InvalidParameterError, match="stream is no array of numpy"):
        compressor.decompress(packed)
    packed = compressor.compress(folder, verify=False)
    with pytest.raises(InvalidParameterError, match=r"archive is of no array: say where to write it, with path="):
        compressor.decompress(packed)
    written = compressor.decompress(packed, tmp_path / "again")
    assert len(written) == 41
    with Image.open(tmp_path / "again" / "7.png") as image:
        assert (np.array(image) == TEST[7]).all()
    assert (tmp_path / "again" / "notes.txt").read_text() == "eight by eight\n"


def test_archives_are_paths_streams_or_bytes(quick: Compressor, tmp_path: Path) -> None:
    packed = quick.compress(NEAR, n_workers=1)
    (tmp_path / "before").write_bytes(b"before" + packed)
    assert quick.compress(NEAR, tmp_path / "x.lkz", n_workers=3).summary.file_bytes == len(packed)
    assert quick.compress(NEAR, str(tmp_path / "y.lkz")).source_bytes == NEAR.nbytes + 128
    stream = io.BytesIO()
    quick.compress(NEAR, stream)
    assert stream.getvalue() == (tmp_path / "x.lkz").read_bytes() == (tmp_path / "y.lkz").read_bytes() == packed
    stream.seek(0)
    with (tmp_path / "before").open("rb") as behind:
        behind.seek(6)
        for archive in (packed, stream, behind, tmp_path / "x.lkz", str(tmp_path / "y.lkz")):
            assert (quick.decompress(archive) == NEAR).all()
    (out, into), target = os.pipe(), tmp_path / "again.npy"
    with os.fdopen(into, "wb") as pipe:
        pipe.write(quick.compress(NEAR, embed=False))
    with os.fdopen(out, "rb") as pipe:
        assert quick.decompress(pipe, str(target)) == [target]
    assert (np.load(target) == NEAR).all()


def test_some_rows_are_given_back_alone(quick: Compressor, folder: Path, tmp_path: Path) -> None:
    archive = quick.compress(NEAR)
    for rows in (3, -1, slice(5, 9), slice(None, 4)):
        chosen = NEAR[rows] if isinstance(rows, slice) else NEAR[[rows]]
        assert np.array_equal(quick.decompress(archive, rows=rows), chosen)
        quick.decompress(archive, tmp_path / "some.npy", rows=rows)
        assert np.array_equal(np.load(tmp_path / "some.npy"), chosen)
    with pytest.raises(InvalidParameterError, match="there are no rows 40: the archive has 40, from 0 on"):
        quick.decompress(archive, rows=40)
    (file,) = quick.decompress(quick.compress(folder), tmp_path / "some", rows=1)
    assert file.is_file()


def test_progress_hears_of_every_byte_while_the_model_has_to_pay(quick: Compressor) -> None:
    heard: list[int] = []
    archived = quick.compress(NEAR[:4], io.BytesIO(), progress=heard.append)
    assert archived.summary.forgone_bytes > 0
    assert heard == [4 * 70 + 8]


def test_members_of_npz_are_chosen(quick: Compressor, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=TEST[:9], b=NEAR[9:12])
    assert (quick.decompress(quick.compress(tmp_path / "x.npz", array="b")) == NEAR[9:12]).all()
    assert Compressor(max_time=0.1, random_state=0).fit(tmp_path / "x.npz", array="a").coder_.name == "pixels"


def test_what_is_coded_is_decoded_first_unless_told_otherwise(
    quick: Compressor, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = quick.compress(NEAR, embed=False)
    monkeypatch.setattr(quick.coder_, "decode", lambda content, n, size: bytes(size))
    careful = quick.compress(NEAR, io.BytesIO(), embed=False)
    assert careful.summary.n_mismatches == 1
    assert quick.compress(NEAR, embed=False, verify=False) == sound


# Whose archive it is


def test_an_archive_of_another_model_needs_that_model_unless_it_holds_it(quick: Compressor, tmp_path: Path) -> None:
    other = of_toy("another")
    theirs = images_near("another")
    alone, whole, few = other.compress(theirs, embed=False), other.compress(theirs), other.compress(theirs[:2])
    (tmp_path / "whole.lkz").write_bytes(whole)
    with pytest.raises(ArchiveError, match="it was written with the model .* Give the run that it was written with"):
        quick.decompress(alone)
    assert (other.decompress(alone) == theirs).all()
    with ArchiveReader(io.BytesIO(whole)) as reader:
        assert reader.model() is not None
        assert reader.fingerprint == other.coder_.state().fingerprint
    for archive in (whole, tmp_path / "whole.lkz"):
        assert (quick.decompress(archive) == theirs).all(), "it holds its model"
    assert len(alone) < len(whole) < len(_by_zstd(theirs))
    with ArchiveReader(io.BytesIO(few)) as reader:
        assert (reader.fingerprint, reader.model()) == (None, None), "of so few no model pays"
    assert few == _by_zstd(theirs[:2])
    assert (quick.decompress(few) == theirs[:2]).all()


def test_damaged_archives_are_refused(quick: Compressor, tmp_path: Path) -> None:
    packed = quick.compress(NEAR)
    for place in range(3, len(packed), len(packed) // 9):
        damaged = bytearray(packed)
        damaged[place] ^= 4
        with pytest.raises(DamagedArchiveError):
            quick.decompress(bytes(damaged), tmp_path / "x.npy")
        with pytest.raises(DamagedArchiveError):
            quick.decompress(bytes(damaged[:place]))
    with pytest.raises(UnreadableDataError, match="none"):
        quick.decompress(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


# Fitting


def test_a_seed_makes_the_same_archives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of as many steps; by the clock there may be more or fewer."""

    def one_epoch(**options: Any) -> TrainingPlan:
        return TrainingPlan(**{**options, "max_epochs": 1, "max_time": None})

    monkeypatch.setattr(pixels, "TrainingPlan", one_epoch)
    first = Compressor(random_state=3).fit(TRAIN[:100])
    np.random.seed(5)
    torch.manual_seed(5)
    second, third = (Compressor(random_state=seed).fit(TRAIN[:100]) for seed in (3, 4))
    assert first.coder_.state().fingerprint == second.coder_.state().fingerprint != third.coder_.state().fingerprint
    options = {"embed": False, "verify": False}
    assert first.compress(TEST[:9], **options) == second.compress(TEST[:9], **options)
    assert (first.seed_, third.seed_) == (3, 4)


def test_nothing_of_the_user_is_changed(quick: Compressor) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    try:
        Compressor(max_time=0.1).fit(TRAIN[:100])
        quick.decompress(quick.compress(NEAR, n_workers=3))
        with pytest.raises(UnreadableDataError):
            quick.compress("none", n_workers=3)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


def test_folders_and_arrays_of_the_same_images_are_learnt_alike(folder: Path) -> None:
    learnt = Compressor(max_time=0.2, random_state=0).fit(folder)
    archived = learnt.compress(TEST[:40], io.BytesIO(), embed=False)
    assert (archived.summary.n_unfit, archived.summary.n_mismatches) == (0, 0)


def test_there_has_to_be_something_to_learn(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    for data in (TRAIN.astype(float), TRAIN[0], TRAIN[:0], np.zeros((3, 4, 5, 6), np.uint8)):
        with pytest.raises(DataError, match="no images of 8 bits and no lines of a table in it to learn from. Give a"):
            Compressor(max_time=1).fit(data)
    with pytest.raises(DataError, match="these are no lines of a table"):
        Compressor(max_time=1).fit(tmp_path / "x.csv")


@pytest.mark.slow
def test_tables_are_learnt_and_come_back_to_the_byte(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    lines = [f"{n},{'even' if n % 2 == 0 else 'odd'},{random.integers(5)}" for n in random.integers(0, 90, 3000)]
    (tmp_path / "train.csv").write_text("\n".join(["n,parity,x", *lines[:2000], ""]))
    (tmp_path / "new.csv").write_text("\n".join(["n,parity,x", *lines[2000:], 'odd "one', ""]))
    compressor = Compressor(max_time=4, random_state=0).fit(tmp_path / "train.csv")
    assert compressor.history_ == []
    archived = compressor.compress(tmp_path / "new.csv", tmp_path / "new.lkz", embed=False)
    assert compressor.decompress(tmp_path / "new.lkz", tmp_path / "again.csv") == [tmp_path / "again.csv"]
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "new.csv").read_bytes()
    bits = 8 * archived.summary.file_bytes / 1000
    assert np.log2(90) + np.log2(5) < bits < 0.8 * 8 * archived.summary.bytes_without_coder / 1000
    assert archived.bits_per_byte == pytest.approx(compressor.bits_, rel=0.2)


def test_texts_are_learnt_and_come_back_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "_OF_A_LANE", 120)  # more of them are sooner read
    random = np.random.default_rng(0)
    words = np.array(["the", "cat", "sat", "on", "a", "mat, ", "Dog", "ran", "home"])
    lines = [" ".join(words[random.integers(0, 9, 6)]) + "\n" for _ in range(224)]
    (tmp_path / "train.txt").write_text("".join(lines[:200]))
    content = "".join(lines[200:]).encode() + b"\xff\r\n\nno end"
    (tmp_path / "new.txt").write_bytes(content)
    compressor = Compressor(max_time=None, max_epochs=4, random_state=0).fit(tmp_path / "train.txt")
    assert (compressor.coder_.name, compressor.history_) == ("texts", [])
    archived = compressor.compress(tmp_path / "new.txt", tmp_path / "new.lkz", embed=False)
    assert (archived.summary.n_unfit, archived.summary.n_mismatches) == (0, 0)
    assert archived.summary.file_bytes < archived.summary.bytes_without_coder
    again = load(compressor.save(tmp_path / "run"))
    again.decompress(tmp_path / "new.lkz", tmp_path / "again.txt")
    assert (tmp_path / "again.txt").read_bytes() == content
    again.decompress(tmp_path / "new.lkz", tmp_path / "some.txt", rows=slice(3, 5))
    assert (tmp_path / "some.txt").read_text() == "".join(lines[203:205])
    damaged = bytearray((tmp_path / "new.lkz").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    with pytest.raises(DamagedArchiveError):
        again.decompress(bytes(damaged), tmp_path / "no.txt")
    assert not (tmp_path / "no.txt").exists()


def test_parameters_are_those_of_scikit_learn(compressor: Compressor) -> None:
    given = {
        "max_time": "90s",
        "max_epochs": 3,
        "keeps_rows": True,
        "lossy": True,
        "device": "cpu",
        "random_state": 5,
        "verbose": 1,
    }
    assert Compressor(**given).get_params() == given  # type: ignore[arg-type]
    assert clone(Compressor(**given)).get_params() == given  # type: ignore[arg-type]
    assert not hasattr(clone(compressor), "coder_")
    assert "max_time=1.5" in repr(compressor)
    for name, value in [
        ("max_time", 0),
        ("max_epochs", 0),
        ("keeps_rows", "no"),
        ("lossy", "no"),
        ("device", 3),
        ("random_state", "x"),
        ("verbose", "loud"),
    ]:
        with pytest.raises(InvalidParameterError, match=name):
            Compressor(**{name: value}).fit(TRAIN)
    with pytest.raises(InvalidParameterError, match="max_time"):
        Compressor(max_time="soon").fit(TRAIN)
    for n_workers in (0, -1, 1.5):
        with pytest.raises(InvalidParameterError, match="n_workers must be an integer of at least 1"):
            compressor.compress(TEST, n_workers=n_workers)  # type: ignore[arg-type]


def test_what_is_not_fitted_says_so(tmp_path: Path) -> None:
    for call in (lambda it: it.compress(TEST), lambda it: it.decompress(b""), lambda it: it.save(tmp_path / "x")):
        with pytest.raises(NotFittedError):
            call(Compressor())
    assert list(tmp_path.iterdir()) == []


# Folders of compressors


def test_a_compressor_is_the_same_when_it_comes_back(compressor: Compressor, tmp_path: Path) -> None:
    place = compressor.save(tmp_path / "run" / "compressor")
    again = load(place)
    assert type(again) is Compressor
    assert again.get_params() == compressor.get_params()
    assert (again.seed_, again.bits_, again.history_) == (compressor.seed_, compressor.bits_, compressor.history_)
    assert again.coder_.state().to_bytes() == compressor.coder_.state().to_bytes()
    config = yaml.safe_load((place / "config.yaml").read_text())
    assert config["estimator"] == "compressor"
    assert config["fitted"]["fingerprint"] == compressor.coder_.state().fingerprint.hex()
    assert {file.name for file in place.iterdir()} == {"config.yaml", "coder.bin", "environment.json", "metrics.jsonl"}
    assert load(again.save(place)).bits_ == compressor.bits_, "it may be written again"


def test_damage_of_a_folder_is_told(compressor: Compressor, tmp_path: Path) -> None:
    place = compressor.save(tmp_path / "it")
    whole = {file.name: file.read_bytes() for file in place.iterdir()}
    config = whole["config.yaml"].decode()
    for name, content, message in [
        ("coder.bin", b"", r"coder\.bin is damaged"),
        ("coder.bin", whole["coder.bin"][:-1] + b"?", r"coder\.bin is damaged"),
        ("config.yaml", config.replace("bits:", "bit:").encode(), r"config\.yaml is damaged \(KeyError"),
        ("config.yaml", config.replace("seed: 0", "seed: x").encode(), r"config\.yaml is damaged \(ValueError"),
        ("config.yaml", config.replace("parameters:", "parameters: []\nother:").encode(), r"config\.yaml is damaged"),
        ("metrics.jsonl", b"{", r"metrics\.jsonl is damaged"),
    ]:
        (place / name).write_bytes(content)
        with pytest.raises(DamagedRunError, match=message):
            load(place)
        (place / name).write_bytes(whole[name])
    (place / "coder.bin").unlink()
    with pytest.raises(DamagedRunError, match=r"coder\.bin is missing"):
        load(place)


def test_a_coder_that_is_none_is_told_even_if_its_checksum_is_right(compressor: Compressor, tmp_path: Path) -> None:
    place = compressor.save(tmp_path / "it")
    before = sha256(place / "coder.bin")
    for content in (b"\2\0\0\0{}", (place / "coder.bin").read_bytes()[:-9]):
        (place / "coder.bin").write_bytes(content)
        config = yaml.safe_load((place / "config.yaml").read_text())
        config["fitted"]["sha256"]["coder.bin"] = sha256(place / "coder.bin")
        (place / "config.yaml").write_text(yaml.safe_dump(config))
        with pytest.raises(DamagedRunError, match=r"coder\.bin is damaged: its model cannot be read"):
            load(place)
    assert before == compressor.coder_.state().fingerprint.hex()


def test_another_folder_is_not_written_over(compressor: Compressor, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine").write_bytes(b"mine")
    with pytest.raises(RunError, match="there"):
        compressor.save(tmp_path / "there")
    assert [file.name for file in (tmp_path / "there").iterdir()] == ["mine"]
