from __future__ import annotations

import json
import math

import pytest
from scipy.stats import binomtest

from latentkit.evaluation import Figure, MissingFigure
from latentkit.evaluation.figures import normal_interval, wilson_interval


@pytest.mark.parametrize(("hits", "n"), [(0, 40), (3, 40), (40, 40), (500, 1000)])
def test_intervals_of_shares_are_those_of_scipy(hits: int, n: int) -> None:
    expected = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson_interval(hits / n, n) == pytest.approx((expected.low, expected.high))


def test_a_normal_interval_is_cut_to_what_can_be() -> None:
    assert normal_interval(1.0, 1.0) == pytest.approx((1.0 - 1.959964, 1.0 + 1.959964))
    assert normal_interval(1.0, 1.0, low=0.0, high=2.0) == (0.0, 2.0)


def test_a_figure_says_what_it_is() -> None:
    bound = Figure(
        name="log p(x)",
        value=-98.271,
        unit="nats",
        better="higher",
        bound="lower",
        standard_error=0.5,
        computed_with="K",
    )
    assert str(bound) == "log p(x) ≥ -98.27 ± 0.5 nats (higher is better; K)"
    upper = Figure(name="bits", value=0.18, better="neither", bound="upper", computed_with="10 rows")
    assert str(upper) == "bits ≤ 0.18 (10 rows)"
    assert str(MissingFigure(name="PSNR", why="it is infinite")) == "PSNR: it is infinite"


def test_a_figure_is_json_and_knows_whether_it_is_finite() -> None:
    figure = Figure(name="a", value=1.0, better="lower", interval=(0.0, 2.0), interval_by="x", computed_with="y")
    assert json.loads(json.dumps(figure.to_dict()))["interval"] == [0.0, 2.0]
    assert figure.is_finite
    assert not Figure(name="a", value=math.inf, better="lower", computed_with="y").is_finite


def test_the_time_that_it_took_makes_no_other_figure() -> None:
    once, again = (
        Figure(name="a", value=1.0, better="lower", computed_with="y", seconds=seconds) for seconds in (1.0, 2.0)
    )
    assert once == again
