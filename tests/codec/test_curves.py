"""Curves in whole numbers: the nearest to the true ones, and the same whatever the platform's own functions give."""

from __future__ import annotations

import hashlib
import math
from decimal import localcontext

import numpy as np
import pytest
from scipy.special import ndtr

from latentkit.codec.curves import exponential_curve, logistic_curve, normal_curve


def test_exponentials_are_the_nearest_whole_numbers() -> None:
    curve = exponential_curve(300, per_unit=32, bits=16, first=-40)
    true = [65536 * math.exp(-(i - 40) / 32) for i in range(300)]
    assert np.abs(curve - true).max() <= 0.5
    assert curve[40] == 65536
    assert (np.diff(curve) <= 0).all()


def test_a_logistic_curve_is_the_nearest_and_symmetric() -> None:
    curve = logistic_curve(1536, per_unit=128, bits=14)
    true = 16384 / (1 + np.exp(-np.arange(-1536, 1537) / 128))
    assert np.abs(curve - true).max() <= 0.5 + 1e-9
    assert (curve + curve[::-1] == 16384).all()
    assert curve[0] == 0
    assert curve[-1] == 16384


def test_they_are_shared_and_cannot_be_changed() -> None:
    curve = logistic_curve(8, per_unit=2, bits=8)
    assert curve is logistic_curve(8, per_unit=2, bits=8)
    with pytest.raises(ValueError, match="read-only"):
        curve[0] = 1


def test_the_callers_decimal_settings_do_not_count() -> None:
    with localcontext() as context:
        context.prec = 3
        rough = exponential_curve(50, per_unit=7, bits=20)
    exponential_curve.cache_clear()
    assert (rough == exponential_curve(50, per_unit=7, bits=20)).all()


def test_the_normal_curve_is_rounded() -> None:
    curve = normal_curve(8 * 64, per_unit=64, bits=30)
    due = ndtr(np.arange(-8 * 64, 8 * 64 + 1) / 64) * 2.0**30
    assert np.abs(curve - due).max() <= 0.5 + 1e-5
    assert (np.diff(curve) >= 0).all()
    assert (curve + curve[::-1] == 1 << 30).all()
    assert curve[0] == 0
    assert curve[-1] == 1 << 30
    with pytest.raises(ValueError, match="read-only"):
        curve[0] = 1


def test_the_normal_curve_is_the_same_everywhere() -> None:
    """Golden: tables of latent variables are made of it."""
    curve = normal_curve(8 * 256, per_unit=256, bits=30)
    assert hashlib.sha256(curve.astype("<i8").tobytes()).hexdigest()[:16] == "6d219d272b24cb08"
