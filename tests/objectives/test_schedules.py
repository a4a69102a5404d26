"""Schedules of the divergence's weight: a contract over the registry, and the formulas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentkit.core.errors import InvalidParameterError
from latentkit.objectives import CyclicalKl, LinearKl, kl_schedule, kl_schedules


@pytest.mark.parametrize("name", list(kl_schedules))
@given(progress=st.floats(0, 1))
def test_weights_are_weights_and_training_ends_on_the_bound(name, progress) -> None:
    assert 0.0 <= kl_schedule(name, progress) <= 1.0
    assert kl_schedule(name, 1.0) == 1.0


def test_constant() -> None:
    assert {kl_schedule("constant", i / 10) for i in range(11)} == {1.0}


def test_linear() -> None:
    assert [LinearKl(fraction=0.4)(i / 10) for i in range(11)] == pytest.approx([0, 0.25, 0.5, 0.75] + 7 * [1])
    assert LinearKl(fraction=1.0)(0.75) == 0.75


def test_cyclical() -> None:
    schedule = CyclicalKl(n_cycles=2, ramp=0.5)
    one_cycle = [0, 0.5, 1, 1]
    assert [schedule(i / 8) for i in range(8)] == pytest.approx(2 * one_cycle)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LinearKl(fraction=0.0), r"fraction must be a float in \(0, 1\]; got 0.0"),
        (lambda: CyclicalKl(n_cycles=0), "n_cycles must be an integer of at least 1"),
        (lambda: CyclicalKl(ramp=1.5), r"ramp must be a float in \(0, 1\]; got 1.5"),
        (lambda: kl_schedule("linar", 0.5), "unknown KL schedule 'linar'.*Did you mean 'linear'"),
    ],
)
def test_refused_options(build, message) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        build()
