"""The grid of latent variables: its tables are those of normal distributions, whatever the machine."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

from latentkit.codec import FrequencyTables, GaussianLatents, Span
from latentkit.core.errors import InvalidParameterError

PARTS: dict[str, Any] = {
    "steps": 16,
    "means": Span(-64, 63),
    "levels": Span(-48, 8),
    "prior": np.array([[0, 0], [-20, -16]]),
    "coarse_step": 8,
    "coarse": np.array([[0, 0], [-20, -16]]),
}
LATENTS = GaussianLatents(**PARTS)


def expected(edges: np.ndarray, mean: float, stddev: float) -> np.ndarray:
    below = ndtr((edges - mean) / stddev)
    below[0], below[-1] = 0, 1
    return np.diff(below)


def test_tables_are_those_of_the_normal_distribution() -> None:
    assert LATENTS.reach == -(-6 * 16 * 1.6487212707 // 1) == 159
    assert LATENTS.span == Span(-64 - 159, 63 + 159)
    for level in (-48, -16, 0, 8):
        stddev = 16 * np.exp(level / 16)
        for tables, reach in ((LATENTS.posteriors, 159), (LATENTS.conditionals, 445)):
            shares = tables.frequencies[level + 48] / (1 << 24)
            due = expected(np.arange(-reach, reach + 2) - 0.5, 0, stddev)
            # the last place of the curve, between two of its points, and a slot for each symbol
            assert np.abs(shares - due).max() < 2e-6 + 900 / (1 << 24) * due.max()
    for place, (mean, level) in enumerate(PARTS["prior"]):
        shares = LATENTS.prior.frequencies[place] / (1 << 24)
        due = expected(np.arange(LATENTS.span.low, LATENTS.span.high + 2) - 0.5, mean, 16 * np.exp(level / 16))
        assert np.abs(shares - due).max() < 1e-5
        first = LATENTS.first.frequencies[place] / (1 << 24)
        assert LATENTS.coarse_span == Span(-8, 7)
        due = expected((np.arange(-8, 9) - 0.5) * 8, mean, 16 * np.exp(level / 16))
        assert np.abs(first - due).max() < 1e-5


def test_posteriors_have_no_tails_and_the_others_have_all() -> None:
    assert LATENTS.posteriors.frequencies[0].min() == 0
    assert LATENTS.conditionals.frequencies.min() == LATENTS.prior.frequencies.min() == 1
    assert LATENTS.first.frequencies.min() >= 1


def test_a_posterior_costs_its_entropy() -> None:
    stddevs = 16 * np.exp(np.arange(-16, 9) / 16)
    entropies = 0.5 * np.log2(2 * np.pi * np.e * stddevs**2)
    assert LATENTS.posterior_costs[32:] / 256 == pytest.approx(entropies, abs=0.01)


def test_tables_are_the_same_everywhere() -> None:
    """Golden: a change would make archives unreadable that were written before."""
    digest = hashlib.sha256()
    for tables in (LATENTS.posteriors, LATENTS.conditionals, LATENTS.prior, LATENTS.first):
        assert isinstance(tables, FrequencyTables)
        digest.update(tables.frequencies.astype("<i8").tobytes())
    assert digest.hexdigest()[:16] == "53c6ca36a4e72873"


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"steps": 0}, "steps must be"),
        ({"steps": 1.5}, "steps must be"),
        ({"coarse_step": 0}, "coarse_step must be"),
        ({"means": Span(1, 5)}, "none of latent variables"),
        ({"means": Span(-(1 << 40), 1 << 40)}, "none of latent variables"),
        ({"levels": Span(3, 2)}, "none of latent variables"),
        ({"levels": Span(-161, 0)}, "levels lie between -160 and 64"),
        ({"levels": Span(0, 65)}, "levels lie between -160 and 64"),
        ({"prior": np.zeros((0, 2), np.int64)}, "prior must be a mean and a level"),
        ({"prior": np.zeros((2, 3), np.int64)}, "prior must be a mean and a level"),
        ({"prior": np.array([[0, 65], [0, 0]])}, "prior must be a mean and a level"),
        ({"coarse": np.zeros((3, 2), np.int64)}, "coarse must be a mean and a level"),
        ({"prior": np.array([[1 << 40, 0], [0, 0]])}, "prior has a mean beyond 32,768"),
        ({"steps": 4096, "levels": Span(-160, 64)}, "tables that are too large. Use a coarser grid"),
        (
            {"prior": np.zeros((20000, 2), np.int64), "coarse": np.zeros((20000, 2), np.int64), "levels": Span(8, 8)},
            "tables that are too large",
        ),
    ],
)
def test_what_is_no_grid_is_refused(part: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        GaussianLatents(**{**PARTS, **part})
