"""Folders of images of any sizes and modes."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from latentkit.core.errors import InvalidParameterError, UnreadableDataError
from latentkit.data import images as images_module
from latentkit.data import learn_schema, read

RNG = np.random.default_rng(0)


def save(folder, name, pixels, **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.asarray(pixels))
    picture.save(path, **options)
    return path


def noise(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def smooth(height, width):
    """A picture that survives resizing: red grows to the right, green downwards, no blue."""
    down, right = np.mgrid[0:height, 0:width]
    return np.stack([right * 255 / (width - 1), down * 255 / (height - 1), 0 * right], -1).round().astype(np.uint8)


def test_equal_small_images_are_read_as_they_are_in_order_of_name(tmp_path):
    pixels = noise(12, 20, 30, 3)
    for index in RNG.permutation(12):
        save(tmp_path, f"{index:02d}.png", pixels[index])
    dataset = read(tmp_path)
    np.testing.assert_array_equal(dataset.data, pixels)
    assert (dataset.kind, dataset.n, dataset.labels, dataset.notes) == ("images", 12, None, ())


def test_grey_images_have_no_channels(tmp_path):
    pixels = noise(3, 9, 8)
    for index in range(3):
        save(tmp_path, f"{index}.png", pixels[index])
    np.testing.assert_array_equal(read(tmp_path).data, pixels)
    assert read(tmp_path, color="rgb").data.shape == (3, 9, 8, 3)


def test_colour_files_without_colour_are_grey(tmp_path):
    pixels = noise(3, 9, 8)
    for index in range(3):
        save(tmp_path, f"{index}.png", np.repeat(pixels[index][..., None], 3, -1))
    dataset = read(tmp_path)
    np.testing.assert_array_equal(dataset.data, pixels)
    assert "every pixel is grey" in dataset.notes[0]
    assert read(tmp_path, color="rgb").data.shape == (3, 9, 8, 3)


def test_parallel_decoding_keeps_the_order(tmp_path, monkeypatch):
    n = 40
    for index in range(n):
        save(tmp_path, f"{index:03d}.png", np.full((4, 4), index, np.uint8))
    decode, threads = images_module._decode, set()

    def slow_first(path, target):
        threads.add(threading.get_ident())
        time.sleep(0.003 if int(path.stem) % 2 == 0 else 0)
        return decode(path, target)

    monkeypatch.setattr(images_module, "_decode", slow_first)
    monkeypatch.setattr(images_module.os, "cpu_count", lambda: 4)
    done = []
    dataset = read(tmp_path, progress=lambda *counts: done.append(counts))
    assert dataset.data[:, 0, 0].tolist() == list(range(n))
    assert done == [(index + 1, n) for index in range(n)]
    assert len(threads) > 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
def test_exif_orientation_is_applied(tmp_path, orientation, ending):
    upright = smooth(24, 40)
    # What a camera stores, so that applying the orientation gives the upright picture back.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    quality = {"quality": 95, "subsampling": 0} if ending == "jpg" else {}
    for name in "ab":
        save(tmp_path, f"{name}.{ending}", np.ascontiguousarray(stored), exif=exif, **quality)
    data = read(tmp_path).data
    assert data.shape == (2, 24, 40, 3)
    assert np.abs(data[0].astype(int) - upright).max() <= (12 if ending == "jpg" else 0)
    grey = read(tmp_path, color="grey").data[0].astype(int)
    np.testing.assert_allclose(grey, upright @ [0.299, 0.587, 0.114], atol=6 if ending == "jpg" else 1)
    small = read(tmp_path, size=(12, 20)).data[0].astype(int)
    assert np.abs(small - smooth(12, 20)).max() <= 16


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_grey_tiff_on_its_side(tmp_path, compression):
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = noise(12, 20)
    save(tmp_path, "a.tif", np.ascontiguousarray(upright.T[::-1]), exif=exif, compression=compression)
    np.testing.assert_array_equal(read(tmp_path).data[0], upright)


def test_every_mode_gives_bytes(tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    deep = grey.astype(np.uint16) * 257
    colour = smooth(16, 16)
    cases = {
        "l.png": Image.fromarray(grey),
        "i16.png": Image.fromarray(deep),
        "i16.tif": Image.fromarray(deep),
        "i.tif": Image.fromarray(deep.astype(np.int32)),
        "f.tif": Image.fromarray((grey / 255).astype(np.float32)),
        "fbytes.tif": Image.fromarray(grey.astype(np.float32)),
        "la.png": Image.fromarray(np.stack([grey, np.full_like(grey, 255)], -1)),
        "p.png": Image.fromarray(grey).convert("P"),
        "rgb.png": Image.fromarray(np.repeat(grey[..., None], 3, -1)),
        "cmyk.tif": Image.fromarray(np.repeat(grey[..., None], 3, -1)).convert("CMYK"),
    }
    for name, picture in cases.items():
        save(tmp_path, name, picture)
    dataset = read(tmp_path, color="grey")
    for name, data in zip(sorted(cases), dataset.data, strict=True):
        assert np.abs(data.astype(int) - grey).max() <= 1, name
    assert "5 images have more than 8 bits a channel: reduced to 8" in dataset.notes
    colours = tmp_path / "colours"
    save(colours, "rgb.png", colour)
    save(colours, "p.png", Image.fromarray(colour).quantize(256))
    save(colours, "cmyk.tif", Image.fromarray(colour).convert("CMYK"))
    save(colours, "rgba.png", np.dstack([colour, np.full((16, 16), 255, np.uint8)]))
    for data in read(colours).data:
        assert np.abs(data.astype(int) - colour).mean() < 12


def test_black_and_white_files_become_binary_data(tmp_path):
    pixels = RNG.random((3, 9, 9)) < 0.5
    for index in range(3):
        save(tmp_path, f"{index}.png", Image.fromarray(pixels[index]))
    data = read(tmp_path).data
    np.testing.assert_array_equal(data, pixels * np.uint8(255))
    assert learn_schema(data).values == "binary"


def test_transparency_lies_over_white(tmp_path):
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[..., 0] = 200
    pixels[:2, :, 3] = 255
    save(tmp_path, "a.png", pixels)
    data = read(tmp_path).data[0]
    assert data[0, 0].tolist() == [200, 0, 0]
    assert data[3, 3].tolist() == [255, 255, 255]
    palette = Image.fromarray(np.zeros((4, 4), np.uint8)).convert("P")
    save(tmp_path, "b.png", palette, transparency=0)
    assert (read(tmp_path).data[1] == 255).all()


def test_deep_values_out_of_range_are_refused(tmp_path):
    save(tmp_path, "a.tif", Image.fromarray(np.full((4, 4), -5.0, np.float32)))
    with pytest.raises(UnreadableDataError, match=r"a\.tif.*values go from -5 to -5; convert it to 8 or 16 bits"):
        read(tmp_path)


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    frames = [Image.fromarray(np.full((5, 5), value, np.uint8)) for value in (10, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    dataset = read(tmp_path)
    assert dataset.data.max() == 10
    assert "1 images have several frames: the first is taken" in dataset.notes


@pytest.mark.parametrize(
    ("sizes", "expected", "note"),
    [
        ([(20, 30), (20, 30)], (20, 30), None),
        ([(128, 100), (128, 100)], (128, 100), None),
        ([(200, 100), (200, 100)], (64, 64), "all images are 200 x 100; brought to 64 x 64"),
        ([(200, 50), (300, 90)], (50, 50), "the images have 2 sizes, sides 50 to 300; brought to 50 x 50"),
        ([(20, 5), (300, 90)], (8, 8), "brought to 8 x 8"),
    ],
)
def test_the_default_size(tmp_path, sizes, expected, note):
    for index, size in enumerate(sizes):
        save(tmp_path, f"{index}.png", noise(*size, 3))
    dataset = read(tmp_path)
    assert dataset.data.shape[1:3] == expected
    assert (note is None) == (not dataset.notes)
    assert note is None or note in dataset.notes[0]


def test_fits(tmp_path):
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:, 10:30] = 255  # the middle square is white, the sides are black
    save(tmp_path, "a.png", picture)
    crop, stretch, pad = (read(tmp_path, size=20, fit=fit).data[0] for fit in ("crop", "stretch", "pad"))
    assert crop.min() == 255
    assert stretch[10, 0].max() < 5
    assert stretch[10, 10].min() > 250
    assert pad[[0, 19]].max() == 0
    assert pad[10, 10].min() > 250


def test_size_is_height_then_width(tmp_path):
    save(tmp_path, "a.png", noise(50, 60, 3))
    assert read(tmp_path, size=(12, 30)).data.shape == (1, 12, 30, 3)
    assert read(tmp_path, size=12).data.shape == (1, 12, 12, 3)
    with pytest.raises(InvalidParameterError, match="size must be an integer from 1"):
        read(tmp_path, size=-3)


def test_a_large_jpeg_is_shrunk_by_its_decoder(tmp_path):
    large = smooth(1600, 2400)
    save(tmp_path, "a.jpg", large, quality=95)
    data = read(tmp_path, size=64).data[0].astype(int)
    middle = np.asarray(Image.fromarray(large).resize((96, 64), Image.Resampling.LANCZOS).crop((16, 0, 80, 64)))
    assert np.abs(data - middle).max() <= 8


def test_subfolders_are_labels(tmp_path):
    for name in ("dogs", "cats"):
        for index in range(2):
            save(tmp_path, f"{name}/deep/{index}.png", noise(8, 8))
    dataset = read(tmp_path)
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    assert dataset.label_names == ("cats", "dogs")
    assert "the names of the 2 subfolders are the labels" in dataset.notes
    save(tmp_path, "other.png", noise(8, 8))
    dataset = read(tmp_path)
    assert dataset.labels is None
    assert "some images lie in subfolders and some do not" in dataset.notes[0]


def test_labels_of_a_folder_from_a_file(tmp_path):
    for index in range(3):
        save(tmp_path / "pictures", f"{index}.png", noise(8, 8))
    (tmp_path / "labels.txt").write_text("cat\ndog\ncat\n")
    dataset = read(tmp_path / "pictures", labels=tmp_path / "labels.txt")
    assert dataset.labels.tolist() == [0, 1, 0]
    assert dataset.label_names == ("cat", "dog")


def test_other_files_are_left_out_with_a_note(tmp_path):
    save(tmp_path, "a.png", noise(8, 8))
    save(tmp_path, ".hidden.png", noise(8, 8))
    save(tmp_path, ".cache/b.png", noise(8, 8))
    (tmp_path / "README.md").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path)
    dataset = read(tmp_path)
    assert dataset.n == 1
    assert dataset.notes == ("1 files that are no images were left out (1 with .md)",)


def test_an_empty_folder(tmp_path):
    with pytest.raises(
        UnreadableDataError, match="no images in this folder; the folder is empty. Give a folder of .png"
    ):
        read(tmp_path)
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(UnreadableDataError, match=r"it holds other files \(1 with .csv\)"):
        read(tmp_path)


def bad_files(folder):
    good = [save(folder, f"good{index}.png", noise(40, 40, 3)) for index in range(2)]
    (folder / "text.png").write_text("this is text")
    (folder / "void.jpg").write_bytes(b"")
    whole = save(folder, "truncated.jpg", noise(40, 40, 3)).read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    whole = save(folder, "cut.png", noise(40, 40, 3)).read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    return good


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("text.png", "not an image, or of an unknown format"),
        ("void.jpg", "not an image, or of an unknown format"),
        ("truncated.jpg", "image file is truncated"),
        ("cut.png", "image file is truncated"),
    ],
)
def test_bad_images_are_named(tmp_path, name, reason):
    bad_files(tmp_path)
    for other in ("text.png", "void.jpg", "truncated.jpg", "cut.png"):
        if other != name:
            (tmp_path / other).unlink()
    with pytest.raises(UnreadableDataError, match=rf"{name}: this image cannot be read \({reason}.*skip_bad=True"):
        read(tmp_path)


def test_bad_images_are_skipped_where_allowed_and_counted(tmp_path):
    good = bad_files(tmp_path)
    dataset = read(tmp_path, skip_bad=True)
    assert dataset.n == 2
    for data, path in zip(dataset.data, good, strict=True):
        np.testing.assert_array_equal(data, np.asarray(Image.open(path)))
    assert any(note.startswith("4 unreadable images were skipped; the first: ") for note in dataset.notes)
    for path in good:
        path.unlink()
    with pytest.raises(UnreadableDataError, match="none of the 4 images can be read; the first: "):
        read(tmp_path, skip_bad=True)
    for path in tmp_path.glob("*t*.*"):
        path.unlink()
    with pytest.raises(UnreadableDataError, match="none of the 1 images can be read; the first: .*void.jpg"):
        read(tmp_path, skip_bad=True)


def test_one_image_file(tmp_path):
    path = save(tmp_path, "a.png", noise(9, 8))
    assert read(path).data.shape == (1, 9, 8)


def test_the_schema_reads_other_folders_as_the_first(tmp_path):
    for index in range(3):
        save(tmp_path / "first", f"{index}.png", noise(16, 16))
        save(tmp_path / "second", f"{index}.jpg", noise(100, 80, 3))
    dataset = read(tmp_path / "first")
    schema = learn_schema(dataset, fit="pad")
    storage = schema.encode(tmp_path / "second")
    assert storage.shape == (3, 1, 16, 16)
    expected = read(tmp_path / "second", size=16, color="grey", fit="pad").data
    np.testing.assert_array_equal(storage[:, 0].numpy(), expected)
    save(tmp_path / "mask", "0.png", (np.arange(256) > 99).reshape(16, 16).astype(np.uint8) * 255)
    mask = schema.encode_mask(str(tmp_path / "mask"))
    assert mask.dtype == torch.bool
    assert mask.sum() == 156
    assert learn_schema(tmp_path / "first").event_shape == (1, 16, 16)
