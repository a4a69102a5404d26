"""Curves of whole numbers: what floating-point functions give, rounded."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from scipy.special import ndtr

from latentkit.codec.curves import normal_curve


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
