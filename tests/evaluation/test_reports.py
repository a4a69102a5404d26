"""Figures beside their floors: every registered metric gets the same examination."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import (
    Figure,
    RandomFeatures,
    RowFeatures,
    disentanglement_metrics,
    measure_disentanglement,
    measure_samples,
    sample_metrics,
)

FACTORS = torch.cartesian_prod(torch.arange(4), torch.arange(3)).repeat(40, 1)


def rows(n: int, seed: int) -> Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))


def is_worse(figure: Figure, other: float) -> bool:
    match figure.better:
        case "lower":
            return figure.value > other
        case "higher":
            return figure.value < other
        case _:
            return abs(figure.value - figure.floor) > abs(other - figure.floor)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "two-sample" else []) for name in sample_metrics]
)
def test_a_sample_metric_ranks_bad_samples_below_good_ones(name: str) -> None:
    given = {"train": rows(600, 0), "test": rows(500, 1), "features": RowFeatures(), "metrics": [name]}
    good = measure_samples(rows(500, 2), **given)
    bad = measure_samples(0.5 * rows(500, 2) + 2.0, **given)
    assert len(good) == len(bad) > 1
    for fine, poor in zip(good[:-1], bad[:-1], strict=True):
        assert is_worse(poor, fine.value)
        assert poor.floor == fine.floor
        assert abs(fine.value - fine.floor) < 0.15 + 0.1 * abs(fine.floor)
        assert "500 real and 500 generated rows; the rows as they are" in poor.computed_with
        assert poor.floor_of == "training rows in place of samples"
        assert all(map(math.isfinite, (poor.value, poor.floor)))
    assert measure_samples(rows(500, 2), **given) == good


def test_the_frechet_distance_is_named_after_its_features_and_copies_are_found() -> None:
    images = torch.rand(90, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    figures = measure_samples(
        images[:30], train=images[:60], test=images[60:], features=RandomFeatures(n_features=8), metrics=["frechet"]
    )
    assert [figure.name for figure in figures] == ["Frechet distance of random features", "copy rate"]
    assert figures[1].value == 1.0
    assert figures[1].floor < 0.1
    assert "random convolutional network" in str(figures[0])


def test_sets_are_cut_to_one_size() -> None:
    (figure, copies) = measure_samples(
        rows(80, 0), train=rows(70, 1), test=rows(60, 2), features=RowFeatures(), metrics=["frechet"], max_rows=50
    )
    assert "50 real and 50 generated" in figure.computed_with
    assert "nearest of 70 training rows, 50 held-out rows, 50 generated rows" in copies.computed_with
    (figure, _) = measure_samples(
        rows(80, 0), train=rows(70, 1), test=rows(60, 2), features=RowFeatures(), metrics=["frechet"]
    )
    assert "60 real and 60 generated" in figure.computed_with


@pytest.mark.parametrize("name", disentanglement_metrics)
def test_a_disentanglement_metric_stands_above_shuffled_codes(name: str) -> None:
    codes = FACTORS.double() + 0.01 * torch.randn(FACTORS.shape, generator=torch.Generator().manual_seed(0)).double()
    figures = measure_disentanglement(codes, FACTORS, metrics=[name])
    assert figures
    for figure in figures:
        assert figure.value > figure.floor + 0.15
        assert figure.floor < 0.65
        assert (figure.better, figure.floor_of) == ("higher", "codes of shuffled rows")
        assert "rows" in figure.computed_with
    assert measure_disentanglement(codes, FACTORS.numpy(), metrics=[name]) == figures


def test_a_figure_prints_all_that_it_rests_on() -> None:
    figure = Figure(
        name="kernel distance",
        value=0.01234,
        better="lower",
        floor=0.0001,
        floor_of="train",
        standard_error=0.002,
        computed_with="10 subsets",
    )
    assert str(figure) == "kernel distance 0.01234 ± 0.002 (floor 0.0001: train; lower is better; 10 subsets)"


def test_wrong_input_is_named() -> None:
    given = {"train": rows(20, 0), "test": rows(20, 1), "features": RowFeatures()}
    with pytest.raises(InvalidParameterError, match="unknown sample metric 'fid'; choose one of: frechet, kernel"):
        measure_samples(rows(20, 2), **given, metrics=["fid"])
    with pytest.raises(InvalidParameterError, match="at least 10 rows each; got .*'samples': \\(9, 3\\)"):
        measure_samples(rows(9, 2), **given)
    with pytest.raises(InvalidParameterError, match="must have one shape"):
        measure_samples(rows(20, 2)[:, :2], **given)
    with pytest.raises(InvalidParameterError, match="max_rows must be an integer of at least 10"):
        measure_samples(rows(20, 2), **given, max_rows=9)
    with pytest.raises(InvalidParameterError, match="unknown disentanglement metric"):
        measure_disentanglement(FACTORS.double(), FACTORS, metrics=["gap"])
