from __future__ import annotations

import numpy as np
import pytest

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import bjontegaard_rate


def curve(qualities: np.ndarray, share: float = 1.0) -> np.ndarray:
    return share * np.exp(0.3 * qualities - 8 + 0.05 * np.sin(qualities))


def test_it_is_the_mean_difference_of_logarithms() -> None:
    """By sums over a fine grid, where the other curve has points of its own."""
    first, second = np.linspace(25, 40, 14), np.linspace(28, 43, 17)
    grid = np.linspace(28, 40, 20001)
    other = curve(second, 0.7) * np.exp(0.02 * (second - 34))
    expected = np.exp(np.mean(np.log(0.7) + 0.02 * (grid - 34))) - 1
    assert bjontegaard_rate(curve(first), first, other, second) == pytest.approx(expected, abs=2e-3)


def test_a_share_is_a_share_and_the_order_of_points_does_not_matter() -> None:
    q = np.array([36.0, 30.0, 33.0])
    assert bjontegaard_rate(curve(q), q, 1.25 * curve(q), q) == pytest.approx(0.25)
    assert bjontegaard_rate(1.25 * curve(q), q, curve(q), q) == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1], [30], [1, 2], [30, 31]), "at least two points"),
        (([1, 0], [30, 31], [1, 2], [30, 31]), "a rate above 0"),
        (([1, 2], [30, 31, 32], [1, 2], [30, 31]), "at least two points"),
        (([1, 2, 3], [30, 32, 31], [1, 2], [30, 31]), "qualities must rise"),
        (([1, 2], [30, 31], [1, 2], [31, 32]), "no quality is reached by both"),
    ],
)
def test_curves_that_cannot_be_compared_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        bjontegaard_rate(*arguments)
