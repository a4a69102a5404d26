"""A coder with loss beside classic ones: on the same images, and at equal errors."""

from __future__ import annotations

import numpy as np
import pytest

from latentkit.evaluation import Distortion, RatePoint
from latentkit.tasks.compression import compare_rates, comparing, open_contents, rates_at_equal_psnr
from latentkit.tasks.compression.archiving import distortion_of
from tests.codec.lossy.examples import coder
from tests.codec.lossy.examples import images as made


def curve(name: str, rates: list[float], decibels: list[float]) -> list[RatePoint]:
    n = 10**9
    return [
        RatePoint(name, 1, rate, Distortion(1, n, round(255**2 * n / 10 ** (each / 10))))
        for rate, each in zip(rates, decibels, strict=True)
    ]


def test_rates_are_compared_at_equal_errors() -> None:
    """A curve of half the rate is half; one that falls back is as its best; one out of reach is left out."""
    points = [
        *curve("latentkit", [0.5, 1.0, 2.0], [25.0, 30.0, 35.0]),
        *curve("twice", [1.0, 2.0, 3.0, 4.0], [25.0, 30.0, 29.0, 35.0]),
        *curve("far", [1.0, 2.0], [40.0, 50.0]),
        *curve("alone", [1.0], [30.0]),
        RatePoint("twice", 1, 9.0, Distortion(1, 100, 0)),
    ]
    assert rates_at_equal_psnr(points) == {"twice": pytest.approx(-0.5, abs=1e-6)}
    assert rates_at_equal_psnr(points[3:]) == {}


def test_figures_are_those_of_blocks_that_were_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    x = made(12, (24, 16, 3))
    points = compare_rates(open_contents(x), coder(3))
    assert [point.name for point in points[::5]] == ["latentkit", "JPEG 4:4:4", "JPEG 4:2:0", "WebP"]
    assert [point.quality for point in points[:5]] == [10, 30, 50, 70, 90]
    block = comparing.Pixels.block(x)
    code, kept = coder(3, 30).encode_known(block, 12)
    assert points[1].bits_per_pixel == 8 * len(code) / (12 * 24 * 16)
    assert points[1].distortion == distortion_of(block, kept, 12)
    assert compare_rates(open_contents(x[..., 0]), coder(3)) == []
    monkeypatch.setattr(comparing, "_MOST_PIXELS", 24 * 16 * 4)
    assert {point.distortion.n_images for point in compare_rates(open_contents(x), coder(3))} == {4}


def test_errors_of_a_block_are_those_of_its_images() -> None:
    x = made(2, (5, 7, 3), "noise")
    y = np.where(x > 128, x - 1, x)
    block, kept = comparing.Pixels.block(x), bytes(comparing.Pixels.block(y))
    assert distortion_of(block, kept, 2) == Distortion(2, x.size, int((x > 128).sum()))
