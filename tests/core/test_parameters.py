"""Checked options: what is allowed passes unchanged, all else is refused with the interval and what was given."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_choice, check_integer, check_real, parse_duration, suggestion


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.booleans(), st.booleans())
def test_a_real_passes_where_its_interval_says_so(
    value: float, first: float, second: float, left: bool, right: bool
) -> None:
    low, high = min(first, second), max(first, second)
    inside = (low <= value if left else low < value) and (value <= high if right else value < high)
    if inside:
        assert check_real("x", value, low=low, high=high, inclusive=(left, right)) == value
    else:
        with pytest.raises(InvalidParameterError, match="x must be a float in"):
            check_real("x", value, low=low, high=high, inclusive=(left, right))


@pytest.mark.parametrize("value", [3, np.float32(3), np.int64(3), Fraction(3)])
def test_every_kind_of_real_becomes_a_float(value: Any) -> None:
    number = check_real("x", value)
    assert type(number) is float
    assert number == 3.0


@pytest.mark.parametrize("value", [True, "3", None, 3j, [3], math.nan, math.inf, -math.inf])
def test_what_is_no_finite_real_is_refused(value: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        check_real("x", value)
    assert str(caught.value) == f"x must be a float in (-inf, inf); got {value!r}."


def test_the_message_shows_which_ends_belong_and_the_hint() -> None:
    for inclusive, interval in (((True, False), "[0, 1)"), ((False, True), "(0, 1]"), ((True, True), "[0, 1]")):
        with pytest.raises(InvalidParameterError) as caught:
            check_real("x", 7, low=0.0, high=1.0, inclusive=inclusive, hint="Take 0.5.")
        assert str(caught.value) == f"x must be a float in {interval}; got 7. Take 0.5."


@given(st.integers(-50, 50), st.integers(-20, 20), st.none() | st.integers(0, 20))
def test_an_integer_passes_between_its_ends(value: int, low: int, high: int | None) -> None:
    if value >= low and (high is None or value <= high):
        assert check_integer("n", value, low=low, high=high) == value
    else:
        bound = f"of at least {low}" if high is None else f"from {low} to {high}"
        with pytest.raises(InvalidParameterError, match=f"n must be an integer {bound}; got {value}."):
            check_integer("n", value, low=low, high=high)


@pytest.mark.parametrize("value", [True, 2.0, "2", None, np.float64(2), math.nan])
def test_what_is_no_integer_is_refused(value: Any) -> None:
    with pytest.raises(InvalidParameterError, match="n must be an integer of at least 0") as caught:
        check_integer("n", value)
    assert repr(value) in str(caught.value)


def test_an_integer_of_numpy_becomes_one_of_python() -> None:
    assert type(check_integer("n", np.int8(4))) is int


@pytest.mark.parametrize("value", ["adam", "Adam ", "", None, 3, ["adam"]])
def test_a_choice_is_one_of_the_options_exactly(value: Any) -> None:
    if value == "adam":
        assert check_choice("optimizer", value, ["sgd", "adam"]) == "adam"
        return
    with pytest.raises(InvalidParameterError, match="optimizer must be one of: sgd, adam; got") as caught:
        check_choice("optimizer", value, ["sgd", "adam"])
    assert repr(value) in str(caught.value)


def test_the_nearest_option_is_suggested_and_only_a_near_one() -> None:
    with pytest.raises(InvalidParameterError, match=r"got 'adan'. Did you mean 'adam'\?$"):
        check_choice("optimizer", "adan", ["sgd", "adam"])
    with pytest.raises(InvalidParameterError, match=r"got 'zebra'\.$"):
        check_choice("optimizer", "zebra", ["sgd", "adam"])
    assert suggestion("x", []) == ""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("5m", 300.0),
        ("5min", 300.0),
        ("1h", 3600.0),
        ("1h30m", 5400.0),
        ("1h 30m 5s", 5405.0),
        ("0.5h", 1800.0),
        (" 5M ", 300.0),
        ("45", 45.0),
        ("1.5", 1.5),
        (12, 12.0),
        (np.float32(2.5), 2.5),
    ],
)
def test_a_duration_is_seconds(text: Any, seconds: float) -> None:
    assert parse_duration("time", text) == pytest.approx(seconds)


@given(st.integers(0, 99), st.integers(0, 999), st.integers(0, 999))
def test_hours_minutes_and_seconds_add_up(hours: int, minutes: int, seconds: int) -> None:
    total = 3600 * hours + 60 * minutes + seconds
    text = f"{hours}h{minutes}m{seconds}s"
    if total:
        assert parse_duration("time", text) == total
    else:
        with pytest.raises(InvalidParameterError):
            parse_duration("time", text)


@pytest.mark.parametrize("value", ["", "5 parsecs", "m5", "-5m", "5m1h", "0s", "0", "nan", "inf", "1.2.3", None, [5]])
def test_what_is_no_duration_is_refused_with_examples(value: Any) -> None:
    with pytest.raises(InvalidParameterError, match="time must be a duration above zero such as 90s, 5m or 1h30m"):
        parse_duration("time", value)


@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan])
def test_a_number_of_seconds_is_above_zero_and_finite(value: float) -> None:
    with pytest.raises(InvalidParameterError, match=r"time must be a float in \(0, inf\)"):
        parse_duration("time", value)
