"""Errors of images add up to those of all of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from latentkit.evaluation import Distortion, ms_ssim, psnr


def pair(n: int, side: int, channels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (n, side, side + 1, channels), np.uint8)
    errors = random.integers(-9, 10, images.shape)
    return images, (images + errors).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_of_all_pixels_together(channels: int) -> None:
    parts = [pair(3, 8, channels), pair(2, 20, channels, seed=1)]
    found = sum((Distortion.between(*part) for part in parts), Distortion())
    flat = [np.concatenate([each.ravel() for each in side])[None].astype(float) for side in zip(*parts, strict=True)]
    assert found.psnr == pytest.approx(float(psnr(*flat, data_range=255.0)))
    assert (found.n_images, found.n_values) == (5, flat[0].size)
    assert (found.ms_ssim, found.n_similar) == (None, 0)


def test_similarity_is_of_luma_and_of_the_images_that_are_large_enough() -> None:
    (grey, greys), (colour, colours) = pair(2, 176, 1), pair(1, 180, 3)
    small = Distortion.between(*pair(4, 175, 1))
    found = Distortion.between(grey, greys) + small + Distortion.between(colour, colours)
    luma = [image @ [0.299, 0.587, 0.114] for image in (colour, colours)]
    wanted = [
        *ms_ssim(grey[..., 0].astype(float), greys[..., 0].astype(float), data_range=255.0).tolist(),
        float(ms_ssim(*luma, data_range=255.0)),
    ]
    assert (found.n_images, found.n_similar, small.ms_ssim) == (7, 3, None)
    assert found.ms_ssim == pytest.approx(np.mean(wanted))


def test_no_error_is_infinitely_good() -> None:
    images, _ = pair(1, 5, 3)
    assert math.isinf(Distortion.between(images, images).psnr)
    assert Distortion.between(images, 255 - images).psnr < 10, "differences of bytes do not wrap"
    assert math.isinf(Distortion().psnr)
