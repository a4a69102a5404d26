from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import ms_ssim, pairs, psnr, ssim


def direct_ssim(x: np.ndarray, y: np.ndarray, data_range: float, size: int = 11, sigma: float = 1.5) -> float:
    """The published formula, window by window, for one grey image."""
    offsets = np.arange(size) - size // 2
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * sigma**2))
    window /= window.sum()
    first, second = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = []
    for i in range(x.shape[0] - size + 1):
        for j in range(x.shape[1] - size + 1):
            a, b = x[i : i + size, j : j + size], y[i : i + size, j : j + size]
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
            covariance = (window * (a - mean_a) * (b - mean_b)).sum()
            values.append(
                (2 * mean_a * mean_b + first)
                * (2 * covariance + second)
                / ((mean_a**2 + mean_b**2 + first) * (var_a + var_b + second))
            )
    return float(np.mean(values))


@pytest.mark.parametrize("block", [1, 1 << 16])
def test_ssim_is_the_published_formula(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_BLOCK", block)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, size=(3, 2, 14, 17)).astype(np.uint8)
    y = np.clip(x + rng.normal(0, 40, x.shape), 0, 255).astype(np.uint8)
    expected = [
        np.mean([direct_ssim(*both, 255.0) for both in zip(a, b, strict=True)]) for a, b in zip(x, y, strict=True)
    ]
    found = ssim(x, y, data_range=255)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_allclose(ssim(x[:, 0], y[:, 0], data_range=255), ssim(x[:, :1], y[:, :1], data_range=255))
    small = ssim(x[:, 0], y[:, 0], data_range=255, window_size=7, sigma=2.0)
    assert float(small[1]) == pytest.approx(direct_ssim(x[1, 0], y[1, 0], 255.0, 7, 2.0))
    np.testing.assert_allclose(ssim(x / 255.0, y / 255.0), found, rtol=1e-9)


def test_ssim_in_closed_cases() -> None:
    noise = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert float(ssim(noise, noise)) == pytest.approx(1.0)
    dark, light = torch.full((1, 12, 12), 0.2), torch.full((1, 12, 12), 0.6)
    c1 = 0.01**2
    assert float(ssim(dark, light)) == pytest.approx((2 * 0.2 * 0.6 + c1) / (0.2**2 + 0.6**2 + c1), rel=1e-5)
    assert float(ssim(noise, 1 - noise)) < 0  # inverted structure


def test_psnr_is_its_definition() -> None:
    x = torch.zeros(3, 2, 2)
    y = torch.stack((torch.full((2, 2), 0.1), torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.zeros(2, 2)))
    decibels = psnr(x, y)
    torch.testing.assert_close(decibels, torch.tensor([20.0, 10 * math.log10(4), math.inf], dtype=torch.float64))
    assert float(psnr(x[:1], y[:1] * 10, data_range=255)) == pytest.approx(20 * math.log10(255))


def test_wrong_input_is_named() -> None:
    x = torch.zeros(2, 1, 12, 12)
    with pytest.raises(
        InvalidParameterError, match=r"one shape \(n, \*event\); got \(2, 1, 12, 12\) and \(2, 12, 12\)"
    ):
        psnr(x, x[:, 0])
    with pytest.raises(InvalidParameterError, match="data_range must be a float"):
        psnr(x, x, data_range=0)
    with pytest.raises(InvalidParameterError, match="data_range must be a float"):
        ssim(x, x, data_range=-1.0)
    with pytest.raises(InvalidParameterError, match="sigma must be a float"):
        ssim(x, x, sigma=0.0)
    with pytest.raises(InvalidParameterError, match=r"images must have shape \(n, height, width\)"):
        ssim(x.flatten(1), x.flatten(1))
    for size in (10, 13):
        with pytest.raises(InvalidParameterError, match=f"odd and at most .* 12 x 12; got {size}"):
            ssim(x, x, window_size=size)
    with pytest.raises(InvalidParameterError, match="at least 1 rows"):
        psnr(x[:0], x[:0])


def test_ms_ssim_is_the_published_formula() -> None:
    """Scale by scale, by the direct sums above: they give l c; c alone is that of images whose means are far from 0."""
    rng = np.random.default_rng(0)
    x = rng.normal(0.5, 0.2, (1, 180, 177))
    y = x + rng.normal(0, 0.1, x.shape)
    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    a, b, expected = x[0], y[0], 1.0
    for number, weight in enumerate(weights):
        if number < 4:
            # means shifted so far that luminance is 1, which variances do not see
            factor = float(ssim(a[None] + 1e4, b[None] + 1e4)[0])
        else:
            factor = direct_ssim(a, b, 1.0)
        expected *= factor**weight
        rows, columns = a.shape[0] // 2 * 2, a.shape[1] // 2 * 2
        a, b = (z[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2).mean((1, 3)) for z in (a, b))
    assert float(ms_ssim(x, y)[0]) == pytest.approx(expected, rel=1e-6)
    assert 0.5 < expected < 0.999


def test_ms_ssim_in_closed_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = torch.rand(2, 3, 176, 176, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert ms_ssim(noise, noise).tolist() == pytest.approx([1.0, 1.0])
    assert ms_ssim(noise, 1 - noise).tolist() == [0.0, 0.0]  # inverted structure
    other = (noise + 0.1 * noise.flip(2)).clamp(0, 1)
    found = ms_ssim(noise, other)
    np.testing.assert_allclose(found, ms_ssim(255 * noise, 255 * other, data_range=255))
    each = torch.stack([ms_ssim(noise[:, c], other[:, c]) for c in range(3)])
    np.testing.assert_allclose(found, each.mean(0))
    monkeypatch.setattr(pairs, "_BLOCK", 1)
    np.testing.assert_allclose(found, ms_ssim(noise, other))


def test_ms_ssim_needs_large_images() -> None:
    with pytest.raises(InvalidParameterError, match="sides of at least 176, for five scales; got 175 x 200. Use ssim"):
        ms_ssim(np.zeros((1, 175, 200)), np.zeros((1, 175, 200)))
    with pytest.raises(InvalidParameterError, match="images must have shape"):
        ms_ssim(np.zeros((1, 175)), np.zeros((1, 175)))
