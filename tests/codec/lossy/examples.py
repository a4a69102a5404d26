"""A small model by hand, and images for it."""

from __future__ import annotations

import numpy as np
import torch

from latentkit.codec import ExactLayer, FrequencyTables, LossyCoder, LossyModel, Span
from latentkit.codec.lossy import (
    ExactConvolution,
    ExactResidual,
    ExactShuffle,
    ExactTransform,
    LatentPass,
    Predictions,
    QualitySteps,
    residual_tables,
)
from latentkit.codec.lossy.latents import LATENTS, LEVELS, REACH

BYTES, SIGNED, HYPER = Span(0, 255), Span(-512, 511), Span(-31, 792)
PASSES = (LatentPass(0, 2, 0), LatentPass(0, 2, 1), LatentPass(2, 4))
POWERS = np.array([16, 17, 19, 21, 23, 25, 27, 29])
EXPONENTS = np.array([[24, 20, 24, 28], [13, 11, 12, 15], [0, 1, 0, 2]])


def convolution(
    random: np.random.Generator, n_in: int, n_out: int, kernel: int, inputs: Span, outputs: Span, *, most: int = 60
) -> ExactConvolution:
    """Random weights whose sums fill the outputs."""
    weight = random.integers(-most, most + 1, (n_out, n_in * kernel**2))
    bias = random.integers(0, 4000, n_out)
    size = np.sqrt((weight**2).sum(1).mean()) * inputs.largest / 3
    shift = max(0, round(np.log2(size / outputs.largest)))
    layer = ExactLayer(weight, bias, np.full(n_out, shift), inputs=inputs, outputs=outputs)
    return ExactConvolution(layer, kernel)


def model(channels: int = 1, *, has_real_tables: bool = True) -> LossyModel:
    """A model whose networks are random; tables without floating-point numbers are flat."""
    random = np.random.default_rng(7)
    hyper = ExactTransform([convolution(random, 3, 12, 1, HYPER, BYTES), ExactShuffle(2, 12, BYTES)])
    seen = Span(-1023, 1023)
    predictors = [
        ExactTransform(
            [
                convolution(random, 4 + n_seen, 8, 3, seen, BYTES),
                convolution(random, 8, 4, 1, BYTES, Span(-60, 60)),
            ]
        )
        for n_seen in (0, 2, 2)
    ]
    body = [convolution(random, 8, 6, 3, SIGNED, BYTES), convolution(random, 6, 8, 1, BYTES, SIGNED)]
    synthesis = ExactTransform(
        [
            convolution(random, 5, 8, 1, LATENTS, SIGNED),
            ExactResidual(body, SIGNED),
            convolution(random, 8, 64 * channels, 1, SIGNED, BYTES),
            ExactShuffle(8, 64 * channels, BYTES),
        ]
    )
    n_symbols = 2 * REACH + 2
    residuals = residual_tables(np.zeros((LEVELS, n_symbols), np.int64))
    if not has_real_tables:
        residuals = FrequencyTables(np.full((LEVELS, n_symbols), (1 << 14) // n_symbols), 14)
    counts = np.full((3 * 2, 63), 100)
    counts[:, 31] += (1 << 13) - 6300
    return LossyModel(
        Predictions(hyper, predictors, PASSES, QualitySteps(EXPONENTS, POWERS)),
        synthesis,
        FrequencyTables(counts, 13),
        residuals,
    )


def encoder(pixels: torch.Tensor, quality: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents that depend on the image in some way."""
    means = torch.nn.functional.avg_pool2d(pixels.double(), 8).mean(1)
    y = torch.stack([means, 255 - means, means / 3, means * (quality % 7) - 300], -1)
    edges = (0, 0, 0, y.shape[2] % 2, 0, y.shape[1] % 2)
    z = torch.nn.functional.pad(y, edges)[:, ::2, ::2, :2] / 16 - 8
    return y, z.round()


def coder(channels: int = 1, quality: int = 50, **settings) -> LossyCoder:
    """A coder by the model for images of so many channels."""
    return LossyCoder(model(channels, **settings), quality=quality, encoder=encoder)


def images(n: int, shape: tuple[int, int, int], kind: str = "smooth") -> np.ndarray:
    """Images of a kind, uint8, shape (n, *shape)."""
    random = np.random.default_rng(3)
    if kind == "noise":
        return random.integers(0, 256, (n, *shape), np.uint8)
    if kind == "constant":
        return np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None] * 17, (n, *shape)).copy()
    height, width, channels = shape
    slopes = random.uniform(-4, 4, (n, 2, 1, 1, channels))
    ramp = slopes[:, 0] * np.arange(height)[:, None, None] + slopes[:, 1] * np.arange(width)[:, None]
    return (128 + ramp).clip(0, 255).astype(np.uint8)
