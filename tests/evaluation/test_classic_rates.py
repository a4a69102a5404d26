"""Classic coders that approximate: each image comes back in its place, for bits that are counted."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import Distortion, classic_rates, even_stacks


def ramps(n: int, height: int, width: int, channels: int) -> list[np.ndarray]:
    """Soft images that differ."""
    random = np.random.default_rng(n)
    down, across = random.uniform(-3, 3, (2, n, 1, 1, channels))
    x = 128 + down * np.arange(height)[:, None, None] + across * np.arange(width)[:, None]
    return list(x.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("channels", [1, 3])
def test_more_bits_are_fewer_errors(channels: int) -> None:
    """Images of two sizes, whose places would be seen if they were mixed up."""
    images = [*ramps(7, 16, 24, channels), *ramps(2, 40, 8, channels)]
    points = classic_rates(images)
    names = ["JPEG", "WebP"] if channels == 1 else ["JPEG 4:4:4", "JPEG 4:2:0", "WebP"]
    assert [point.name for point in points[::5]] == names
    for first in range(0, len(points), 5):
        several = points[first : first + 5]
        assert [point.quality for point in several] == [10, 30, 50, 70, 90]
        rates = [point.bits_per_pixel for point in several]
        assert rates == sorted(rates)
        assert several[-1].distortion.psnr > max(30, several[0].distortion.psnr)
        assert {point.distortion.n_images for point in several} == {9}


def test_an_image_alone_is_its_file() -> None:
    (image,) = ramps(1, 30, 20, 3)
    with io.BytesIO() as file:
        Image.fromarray(image).save(file, "JPEG", quality=50, optimize=True, subsampling=0)
        size, shown = len(file.getvalue()), np.asarray(Image.open(file))
    point = next(point for point in classic_rates([image]) if (point.name, point.quality) == ("JPEG 4:4:4", 50))
    assert point.bits_per_pixel == 8 * size / 600
    assert point.distortion == Distortion.between(image[None], shown[None])


def test_pictures_are_no_larger_than_a_coder_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    save = Image.Image.save
    monkeypatch.setitem(classic_rates.__globals__, "_MOST_SIDE", 50)
    monkeypatch.setattr(
        Image.Image, "save", lambda self, file, **settings: (sizes.append(self.size), save(self, file, **settings))
    )
    classic_rates([*ramps(9, 16, 24, 1), *ramps(1, 60, 70, 1)])
    assert set(sizes) == {(48, 32), (24, 16), (70, 60)}


def test_images_of_one_size_are_together() -> None:
    images = [np.full((2, width, 1), number, np.uint8) for number, width in enumerate((3, 4, 3))]
    assert [stack[:, 0, 0, 0].tolist() for stack in even_stacks(images)] == [[0, 2], [1]]


@pytest.mark.parametrize("images", [[], ramps(2, 8, 8, 2), ramps(2, 8, 8, 4), [np.zeros((8, 8), np.uint8)]])
def test_other_images_are_refused(images: list[np.ndarray]) -> None:
    with pytest.raises(InvalidParameterError, match=r"images must be of shape \(height, width, 1 or 3\)"):
        classic_rates(images)
