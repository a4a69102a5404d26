"""Compressors that approximate: only what is asked for, only pixels, and what comes back is what was told."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image, PngImagePlugin

from latentkit import load
from latentkit.codec.archive import ArchiveReader
from latentkit.core.errors import (
    ArchiveError,
    DamagedArchiveError,
    DamagedRunError,
    DataError,
    InvalidParameterError,
    UnsupportedOperationError,
)
from latentkit.estimators import Compressor
from latentkit.tasks.compression import LossySizes, pixels, salvage
from latentkit.tasks.compression import lossy as fitting
from tests.tasks.compression.test_lossy import SIZES, pictures
from tests.tasks.compression.test_pixels import small_settings

TEST = pictures(60, seed=1)


@pytest.fixture(scope="module", autouse=True)
def brief() -> Iterator[None]:
    """A small network and few pixels: how well it codes is not the question."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "_PIXELS", 1 << 11)
        patch.setattr(fitting, "_N_EXAMPLES", 1 << 14)
        patch.setattr(LossySizes, "of", classmethod(lambda cls, channels: SIZES))
        patch.setattr(pixels, "suitable_settings", small_settings)
        yield


@pytest.fixture(scope="module")
def compressor() -> Compressor:
    return Compressor(max_time=None, max_epochs=1, lossy=True, random_state=0).fit(pictures(60))


def errors_of(x: np.ndarray, y: np.ndarray) -> float:
    """PSNR of all pixels, decibels."""
    return float(10 * np.log10(255**2 / np.square(x.astype(float) - y).mean()))


def test_without_a_quality_each_pixel_is_kept(compressor: Compressor) -> None:
    stream = io.BytesIO()
    archived = compressor.compress(TEST[:2], stream, embed=False, verify=False)
    assert archived.distortion is None
    with ArchiveReader(io.BytesIO(stream.getvalue())) as reader:
        assert "quality" not in reader.meta
    assert (compressor.decompress(stream.getvalue()) == TEST[:2]).all()


@pytest.mark.parametrize("embed", [True, False])
def test_images_are_approximated_as_told(compressor: Compressor, embed: bool) -> None:
    figures = []
    for quality in (10, 90):
        stream = io.BytesIO()
        archived = compressor.compress(TEST, stream, quality=quality, embed=embed)
        again = compressor.decompress(stream.getvalue())
        assert (again.dtype, again.shape) == (TEST.dtype, TEST.shape)
        assert archived.distortion is not None
        assert archived.distortion.n_images == 60
        assert archived.distortion.psnr == pytest.approx(errors_of(TEST, again))
        assert archived.distortion.ms_ssim is None, "they are small"
        figures.append((archived.summary.file_bytes - archived.summary.model_bytes, archived.distortion.psnr))
        with ArchiveReader(io.BytesIO(stream.getvalue())) as reader:
            assert reader.meta["quality"] == quality
            assert (reader.model() is None) is not embed
    assert figures[0][0] < figures[1][0] < TEST.nbytes / 4
    assert figures[0][1] < figures[1][1]


def test_images_that_are_large_have_their_similarity_told(compressor: Compressor) -> None:
    archived = compressor.compress(pictures(1, size=180), io.BytesIO(), quality=60, embed=False)
    assert 0.5 < archived.distortion.ms_ssim < 1


def test_what_is_no_image_of_as_many_channels_is_kept(compressor: Compressor) -> None:
    """Whatever it looks like: a block of other bytes may begin with a size, too."""
    sized = np.concatenate([np.frombuffer(np.array([8, 8], "<u4").tobytes(), np.uint8), TEST[0].ravel()[:192]])
    for array in (
        *(TEST[..., 0], TEST[..., :2], TEST.astype(float), TEST > 128, TEST[:0], TEST[0]),
        *(sized[None], sized.view("<u4")[None]),
    ):
        archived = compressor.compress(array, io.BytesIO(), quality=1, embed=False)
        assert archived.distortion.n_images == 0
        assert (compressor.decompress(compressor.compress(array, quality=1, embed=False)) == array).all()
    raw = np.concatenate([np.frombuffer(np.array([24, 24], "<u4").tobytes(), np.uint8), TEST[0].ravel()]).tobytes()
    out = io.BytesIO()
    compressor.decompress(compressor.compress(io.BytesIO(raw), quality=1, embed=False), out)
    assert out.getvalue() == raw


def test_of_folders_only_pixels_are_approximated(compressor: Compressor, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "more").mkdir(parents=True)
    told = PngImagePlugin.PngInfo()
    told.add_text("Title", "of this picture")
    Image.fromarray(TEST[0]).save(folder / "a.png", pnginfo=told)
    Image.fromarray(pictures(1, size=31)[0, :, :20]).save(folder / "more" / "b.png")
    Image.fromarray(np.dstack([TEST[1], TEST[2, ..., 0]])).save(folder / "alpha.png")
    Image.fromarray(TEST[3, ..., 0]).save(folder / "grey.png")
    Image.fromarray(TEST[0]).quantize(16).save(folder / "palette.png")
    (folder / "notes.txt").write_text("24 by 24\n")
    (folder / "raw").write_bytes(np.array([24, 24], "<u4").tobytes() + TEST[0].tobytes())
    os.utime(folder / "a.png", ns=(10**18, 10**18))
    archived = compressor.compress(folder, tmp_path / "x.lkz", quality=50, embed=False)
    assert archived.distortion.n_images == 2
    written = compressor.decompress(tmp_path / "x.lkz", tmp_path / "again")
    assert len(written) == 7
    for name in ("palette.png", "notes.txt", "raw"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
    for name, is_exact in (("a.png", False), ("more/b.png", False), ("alpha.png", True), ("grey.png", True)):
        with Image.open(folder / name) as before, Image.open(tmp_path / "again" / name) as after:
            assert (before.mode, before.size, before.info) == (after.mode, after.size, after.info)
            x, y = np.array(before), np.array(after)
        assert (x == y).all() == is_exact
        assert is_exact or errors_of(x, y) > 10
    assert (tmp_path / "again" / "a.png").stat().st_mtime_ns == 10**18


def test_pipes_are_told_by_the_fingerprint_too(compressor: Compressor) -> None:
    packed = compressor.compress(TEST, quality=30, embed=False)
    (out, into), target = os.pipe(), io.BytesIO()
    with os.fdopen(into, "wb") as pipe:
        pipe.write(packed)
    with os.fdopen(out, "rb") as pipe:
        compressor.decompress(pipe, target)
    assert np.load(io.BytesIO(target.getvalue())).shape == TEST.shape


def test_a_damaged_archive_is_refused_and_what_is_left_of_it_is_what_was_kept(
    compressor: Compressor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from latentkit.tasks.compression import archiving

    options = {**archiving.compress.__kwdefaults__, "block_bytes": 30_000}
    monkeypatch.setattr(archiving.compress, "__kwdefaults__", options)
    packed = bytearray(compressor.compress(TEST, quality=40, embed=False))
    whole = compressor.decompress(bytes(packed))
    with ArchiveReader(io.BytesIO(bytes(packed))) as reader:
        middle = reader.blocks[1]
    packed[middle.offset + 40] ^= 1
    with pytest.raises(DamagedArchiveError):
        compressor.decompress(bytes(packed))
    out = io.BytesIO()
    _, left = salvage(io.BytesIO(bytes(packed)), out, compressor.coders)
    assert left.lost_items == (range(middle.first, middle.first + middle.n_items),)
    rest = np.concatenate([whole[: middle.first], whole[middle.first + middle.n_items :]])
    assert out.getvalue().endswith(rest.tobytes())


# What is refused


def test_a_quality_asks_for_a_compressor_that_has_learnt_it(compressor: Compressor) -> None:
    plain = Compressor(max_time=0.1, random_state=0).fit(TEST)
    assert plain.lossy_coder_ is None
    with pytest.raises(
        UnsupportedOperationError, match=r"quality=60 asks for loss.*Compressor\(lossy=True\), or latent"
    ):
        plain.compress(TEST, quality=60)
    with pytest.raises(ArchiveError, match="it was written with the model"):
        plain.decompress(compressor.compress(TEST, quality=60, embed=False))
    for quality in (0, 101, 1.5, "60"):
        with pytest.raises(InvalidParameterError, match="quality must be an integer from 1 to 100"):
            compressor.compress(TEST, quality=quality)  # type: ignore[arg-type]


def test_only_images_can_be_learnt_to_approximate(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n" + "1,2\n" * 50)
    for data in (tmp_path / "x.csv", TEST.astype(float)):
        with pytest.raises(DataError, match="there are no images of 8 bits in it, and nothing else is compressed with"):
            Compressor(max_time=1, lossy=True).fit(data)
    for images in (TEST[..., :2], np.zeros((3, 8, 8, 4), np.uint8)):
        with pytest.raises(DataError, match=r"shape \(height, width, 1 or 3\)"):
            Compressor(max_time=1, lossy=True).fit(images)
    with pytest.raises(InvalidParameterError, match="would train for ever"):
        Compressor(max_time=None, lossy=True).fit(TEST)


# Folders of compressors


def test_it_approximates_alike_when_it_comes_back(compressor: Compressor, tmp_path: Path) -> None:
    packed = compressor.compress(TEST, quality=40, embed=False)
    place = compressor.save(tmp_path / "compressor")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again = load(place)
    assert torch.equal(torch.get_rng_state(), before)
    assert again.lossy
    assert again.compress(TEST, quality=40, embed=False) == packed
    assert (again.decompress(packed) == compressor.decompress(packed)).all()
    assert {file.name for file in place.iterdir()} >= {"coder.bin", "lossy.bin", "lossy.safetensors"}
    config = yaml.safe_load((place / "config.yaml").read_text())
    assert config["fitted"]["lossy"]["fingerprint"] == compressor.coders[1].state().fingerprint.hex()
    assert set(config["fitted"]["sha256"]) == {"coder.bin", "lossy.bin", "lossy.safetensors"}


def test_damage_of_a_folder_is_told(compressor: Compressor, tmp_path: Path) -> None:
    place = compressor.save(tmp_path / "it")
    config = (place / "config.yaml").read_text()
    for name, content, message in [
        ("lossy.bin", b"", r"lossy\.bin is damaged"),
        ("lossy.safetensors", b"{}", r"lossy\.safetensors is damaged"),
        ("lossy.safetensors", None, r"lossy\.safetensors is missing"),
        ("config.yaml", config.replace("latents: 24", "latents: 32").encode(), r"config\.yaml is damaged \(Runtime"),
        ("config.yaml", config.replace("context: 16", "contexts: 16").encode(), r"config\.yaml is damaged \(TypeError"),
        ("config.yaml", config.replace("n_anchors:", "anchors:").encode(), r"config\.yaml is damaged \(KeyError"),
    ]:
        shutil.copytree(place, tmp_path / "other")
        if content is None:
            (tmp_path / "other" / name).unlink()
        else:
            (tmp_path / "other" / name).write_bytes(content)
        with pytest.raises(DamagedRunError, match=message):
            load(tmp_path / "other")
        shutil.rmtree(tmp_path / "other")
