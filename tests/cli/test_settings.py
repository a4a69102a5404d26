"""Presets, --time and --set: which one wins."""

from __future__ import annotations

import pytest

from latentkit.cli.reading import parse_rows, parse_size
from latentkit.cli.settings import combine, parse_settings
from latentkit.core.errors import InvalidParameterError

NAMES = ["encoder", "gradient_clip", "learning_rate", "likelihood_options", "max_time", "optimizer", "patience"]


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("learning_rate=1e-3", "learning_rate", 0.001),
        ("learning-rate=0.5", "learning_rate", 0.5),
        ("encoder=[500, 500]", "encoder", (500, 500)),
        ("encoder=mlp", "encoder", "mlp"),
        ("gradient_clip=null", "gradient_clip", None),
        ("max_time=5m", "max_time", "5m"),
        ("likelihood_options={variance: feature}", "likelihood_options", {"variance": "feature"}),
        ("likelihood_options.stddev=1e-1", "likelihood_options", {"stddev": 0.1}),
    ],
)
def test_values_are_yaml(text: str, key: str, value: object) -> None:
    assert parse_settings([text], NAMES) == {key: value}


def test_parts_of_a_setting_add_up() -> None:
    texts = ["likelihood_options.a=1", "likelihood_options.b=2"]
    assert parse_settings(texts, NAMES) == {"likelihood_options": {"a": 1, "b": 2}}


def test_what_was_asked_for_wins() -> None:
    assert combine("good", None, {}, 4)["max_time"] == "5m"
    assert combine("fast", "90s", {}, 0)["max_time"] == "90s"
    assert "max_time" not in combine("fast", None, {"max_epochs": 3}, 0)
    assert combine("fast", "90s", {"max_epochs": 3}, 0)["max_time"] == "90s"
    assert combine("fast", "90s", {"max_time": 7}, 0)["max_time"] == 7
    assert combine("best", None, {"random_state": 5}, 4)["random_state"] == 5


def test_sizes() -> None:
    assert parse_size(None) is None
    assert parse_size("64") == (64, 64)
    assert parse_size("48x64") == (48, 64)
    for text in ("x", "0", "1x2x3", "-4"):
        with pytest.raises(InvalidParameterError, match="--size"):
            parse_size(text)


def test_rows() -> None:
    assert parse_rows("--rows", "0,4-6", 7) == [0, 4, 5, 6]
    for text in ("7", "a", "", "3-", "5-4"):
        with pytest.raises(InvalidParameterError, match="--rows"):
            parse_rows("--rows", text, 7)
