"""Probabilities by whole numbers: next to those of a softmax, positive, and the same everywhere."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from latentkit.codec.rows import softmax
from latentkit.codec.rows.softmax import LOGIT_STEP, PRECISION, SHARPEST, UNITS, bump, cumulated_frequencies, peak


@pytest.mark.parametrize(("n_symbols", "spread"), [(2, 40), (9, 100), (300, 60), (4096, 2000)])
def test_frequencies_are_those_of_a_softmax(n_symbols: int, spread: int) -> None:
    logits = np.random.default_rng(0).normal(0, spread, (50, n_symbols)).round().astype(np.int64)
    frequencies = np.diff(cumulated_frequencies(logits))
    assert frequencies.min() >= 1
    assert (frequencies.sum(1) == 1 << PRECISION).all()
    exact = np.exp((logits - logits.max(1, keepdims=True)) * LOGIT_STEP)
    exact /= exact.sum(1, keepdims=True)
    shares = frequencies / (1 << PRECISION)
    divergence = (exact * np.log2(np.maximum(exact, 1e-300) / shares)).sum(1)
    assert divergence.max() < 2.0 * n_symbols / (1 << PRECISION) + 1e-5


def test_logits_of_any_size_have_frequencies() -> None:
    logits = np.array([[-(1 << 40), 0, 1 << 40], [7, 7, 7], [-(1 << 40)] * 3])
    assert np.diff(cumulated_frequencies(logits)).tolist() == [
        [1, 1, (1 << 20) - 2],
        [349526, 349525, 349525],
        [349526, 349525, 349525],
    ]


def test_bumps_and_peaks_are_those_of_their_formulas() -> None:
    positions, centres = np.arange(-2000, 2001, 37), np.array([-700, 0, 1999])
    for sharpness in (-SHARPEST, -40, 0, 40, SHARPEST):
        u = np.abs(positions - centres[:, None]) / UNITS * np.exp(sharpness * LOGIT_STEP)
        given = bump(positions, centres, np.full(3, sharpness)) * LOGIT_STEP
        reached = np.abs(u) < 200
        np.testing.assert_allclose(given[reached], (1 - np.sqrt(1 + u * u))[reached], atol=0.07, rtol=0.003)
        given = peak(positions, centres, np.array(sharpness)) / 1024
        np.testing.assert_allclose(given, 1 / (1 + u * u), atol=0.04)
    extreme = bump(positions, np.array([1 << 40]), np.array([10**9]))
    assert np.unique(extreme).size == 1


def test_the_tables_are_those_of_the_format() -> None:
    """What was coded with them is read with them: they never change."""
    tables = (softmax._WEIGHTS, softmax._SHARPNESS, softmax._BUMP, softmax._PEAK)
    digest = hashlib.sha256(b"".join(table.astype("<i8").tobytes() for table in tables)).hexdigest()
    assert digest[:16] == "54404c22e6fa2880"
    weights = (1 << 20) * np.exp(-np.arange(512) / 32)
    np.testing.assert_allclose(softmax._WEIGHTS, weights, atol=0.51)
    np.testing.assert_allclose(softmax._SHARPNESS, 1024 * np.exp(np.arange(-192, 193) / 32), atol=0.51, rtol=2e-6)
