"""Classic coders beside a learnt one: the same bytes, their own sizes."""

from __future__ import annotations

import bz2
import io
import sys

import numpy as np
import pytest
from PIL import Image

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import classic_sizes, mosaic


def images(channels: int = 1) -> np.ndarray:
    ramp = np.arange(12, dtype=np.uint8)[None, :, None, None] * 20
    return np.broadcast_to(ramp, (30, 12, 9, channels)) + np.arange(30, dtype=np.uint8)[:, None, None, None]


def test_each_coder_gets_the_same_bytes() -> None:
    content = bytes(range(256)) * 40
    found = {size.name: size for size in classic_sizes(content)}
    assert set(found) == {"gzip -9", "bz2 -9", "xz -9e", "zstd -22", "brotli -11"}
    assert found["bz2 -9"].n_bytes == len(bz2.compress(content, 9))
    for size in found.values():
        assert 0 < size.n_bytes < 2000
        assert size.bits_per_byte == pytest.approx(8 * size.n_bytes / len(content))
        assert size.seconds > 0


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_coders_of_images_get_one_picture(channels: int) -> None:
    given = images(channels)
    sizes = classic_sizes(given.tobytes(), given)
    assert [size.n_bytes for size in sizes] == sorted(size.n_bytes for size in sizes)
    found = {size.name: size.n_bytes for size in sizes}
    with io.BytesIO() as file:
        picture = mosaic(given)
        Image.fromarray(picture[..., 0] if channels == 1 else picture).save(file, "PNG", optimize=True)
        assert found["PNG, one picture"] == len(file.getvalue())
    assert "WebP, one picture" in found


def test_two_channels_are_no_picture() -> None:
    assert not any("picture" in size.name for size in classic_sizes(images(2).tobytes(), images(2)))


def test_jpeg_xl_takes_part_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    assert not any("JPEG XL" in size.name for size in classic_sizes(images().tobytes(), images()))


def test_nothing_becomes_a_few_bytes() -> None:
    assert all(size.n_bytes < 40 for size in classic_sizes(b""))


def test_a_mosaic_holds_every_image_once() -> None:
    given = images(3)
    picture = mosaic(given)
    assert picture.shape == (5 * 12, 6 * 9, 3)
    for number, image in enumerate(given):
        top, left = number // 6 * 12, number % 6 * 9
        assert np.array_equal(picture[top : top + 12, left : left + 9], image)


@pytest.mark.parametrize("shape", [(3, 4, 4), (0, 4, 4, 1)])
def test_a_mosaic_is_of_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidParameterError, match=r"shape \(n, height, width, channels\)"):
        mosaic(np.zeros(shape, np.uint8))
