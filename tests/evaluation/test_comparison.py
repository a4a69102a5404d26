from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import ComparedPair, Comparison, Evaluation, Figure, MissingFigure, paired_difference
from latentkit.evaluation.comparison import holm


def test_both_tests_are_those_of_scipy() -> None:
    random = np.random.default_rng(0)
    a = random.normal(size=80)
    b = a + random.normal(0.1, 0.3, size=80)
    found = paired_difference(a, torch.from_numpy(b))
    assert found.p_value == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert found.wilcoxon_p_value == pytest.approx(stats.wilcoxon(a, b).pvalue)
    assert found.mean == pytest.approx((a - b).mean())
    assert found.standard_error == pytest.approx(stats.sem(a - b))
    assert found.share == pytest.approx(np.mean(a > b))
    assert found.interval[0] < found.mean < found.interval[1]
    turned = paired_difference(b, a)
    assert (turned.mean, turned.p_value) == pytest.approx((-found.mean, found.p_value))


def test_equal_values_do_not_differ_and_equal_differences_do() -> None:
    values = np.arange(5.0)
    same = paired_difference(values, values)
    assert (same.mean, same.p_value, same.wilcoxon_p_value, same.share) == (0.0, 1.0, 1.0, 0.5)
    assert paired_difference(values + 1.0, values).p_value == 0.0


@pytest.mark.slow
def test_false_findings_are_as_rare_as_said() -> None:
    random = np.random.default_rng(1)
    p_values = [paired_difference(random.normal(size=30), random.normal(size=30)).p_value for _ in range(400)]
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.09


def test_what_is_no_pair() -> None:
    with pytest.raises(InvalidParameterError, match="at least 2 rows"):
        paired_difference(np.zeros(1), np.zeros(1))
    with pytest.raises(InvalidParameterError, match="one value for each row"):
        paired_difference(np.zeros((3, 2)), np.zeros((3, 2)))
    with pytest.raises(InvalidParameterError, match="must be finite"):
        paired_difference(np.array([0.0, np.inf]), np.zeros(2))


def test_corrected_p_values_are_those_of_the_definition() -> None:
    given = [0.01, 0.04, 0.03, 0.005]
    assert holm(given) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def figure(name: str, value: float, half: float | None, better: Any = "higher", **more: Any) -> Figure:
    interval = None if half is None else (value - half, value + half)
    return Figure(
        name=name, value=value, better=better, interval=interval, computed_with="rows", group="samples", **more
    )


def evaluation(*figures: Figure) -> Evaluation:
    lacking = MissingFigure(name="SSIM", why="sides are too short", group="reconstructions")
    return Evaluation(model="VAE", kind="rows", figures=figures, missing=(lacking,), n=10)


@pytest.mark.parametrize(
    ("better", "values", "half", "expected"),
    [
        ("higher", (0.9, 0.5), 0.1, "a"),
        ("higher", (0.9, 0.8), 0.1, None),
        ("lower", (0.9, 0.5), 0.1, "b"),
        ("nearer to the floor", (0.52, 0.9), 0.05, "a"),
        ("nearer to the floor", (0.52, 0.56), 0.05, None),
        ("neither", (0.9, 0.5), 0.1, None),
        ("higher", (0.9, 0.5), None, None),
    ],
)
def test_the_best_is_clear_of_all_others(better: Any, values: Any, half: Any, expected: str | None) -> None:
    given = [evaluation(figure("AUC", value, half, better, floor=0.5, floor_of="chance")) for value in values]
    found = Comparison(evaluations=dict(zip("ab", given, strict=True)), pairs=(), left_out={})
    assert found.best("AUC") == expected


def test_bounds_and_figures_of_one_model_alone_have_no_best() -> None:
    bounds = {name: evaluation(figure("x", value, 0.1, bound="lower")) for name, value in (("a", 1.0), ("b", 2.0))}
    assert Comparison(evaluations=bounds, pairs=(), left_out={}).best("x") is None
    one = {"a": evaluation(figure("x", 1.0, 0.1)), "b": evaluation()}
    assert Comparison(evaluations=one, pairs=(), left_out={}).best("x") is None


@pytest.mark.parametrize(("mean", "p_value", "expected"), [(1.0, 0.01, "a"), (-1.0, 0.01, "b"), (1.0, 0.2, None)])
def test_pairs_decide_on_the_likelihood(mean: float, p_value: float, expected: str | None) -> None:
    given = {name: evaluation(figure("log p(x)", 0.0, 9.0)) for name in "ab"}
    difference = paired_difference(np.array([0.5, 1.5]) * mean, np.zeros(2))
    pair = ComparedPair(first="a", second="b", difference=difference, p_value=p_value)
    found = Comparison(evaluations=given, pairs=(pair,), left_out={})
    assert found.best("log p(x)") == expected
    assert found.to_dict()["best"] == {"log p(x)": expected}
    assert found.to_dict()["pairs"][0]["p_value"] == p_value


def test_figures_are_found_by_name_or_said_to_lack() -> None:
    found = evaluation(figure("AUC", 0.5, 0.1))
    assert found["AUC"].value == 0.5
    assert "AUC" in found
    assert "SSIM" not in found
    with pytest.raises(InvalidParameterError, match="there is no SSIM: sides are too short"):
        found["SSIM"]
    with pytest.raises(InvalidParameterError, match="there is no figure 'AUD'; there are: AUC. Did you mean 'AUC'"):
        found["AUD"]
    assert [len(part) for part in found.of_group("reconstructions")] == [0, 1]
    told = found.to_dict()
    assert told["figures"]["AUC"]["interval"] == [0.4, 0.6]
    assert told["missing"]["SSIM"]["why"] == "sides are too short"
