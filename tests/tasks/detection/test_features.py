"""Features of rows, against their formulas with numpy; heavy tails, many categories, holes, what was not seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentkit.tasks.detection import RowScale, squash


def test_numbers_beyond_ten_count_by_their_logarithm() -> None:
    x = np.array([-1e9, -11.0, -10.0, -3.0, 0.0, 9.9, 10.0, 10.5, 1e30])
    expected = np.where(np.abs(x) > 10, np.sign(x) * (10 + np.log1p(np.maximum(np.abs(x) - 10, 0))), x)
    np.testing.assert_allclose(squash(torch.from_numpy(x)).numpy(), expected)
    line = squash(torch.linspace(-30, 30, 5000, dtype=torch.float64))
    assert (line.diff() > 0).all()
    assert torch.equal(squash(torch.tensor([torch.nan])).isnan(), torch.tensor([True]))


def test_numbers_have_mean_0_and_deviation_1() -> None:
    values = np.random.default_rng(0).normal([3.0, -1e6, 0.0], [2.0, 1e3, 1e-6], (500, 3))
    scale = RowScale([0, 0, 0]).learn(values)
    expected = (values - values.mean(0)) / values.std(0)
    np.testing.assert_allclose(scale(values).numpy(), expected, atol=1e-5)
    assert scale(values).dtype == torch.float32
    far = scale(values.mean(0, keepdims=True) + 1000 * values.std(0))
    np.testing.assert_allclose(far.numpy(), np.full((1, 3), 10 + np.log1p(990)), rtol=1e-5)


def test_heavy_tails_are_stretched_where_asked_for() -> None:
    rng = np.random.default_rng(1)
    values = np.c_[rng.lognormal(0, 4, 1000), rng.normal(size=1000)]
    plain, stretched = RowScale([0, 0]).learn(values), RowScale([0, 0]).learn(values, stretch=True)
    assert torch.equal(plain(values)[:, 1], stretched(values)[:, 1]), "a light tail stays as it is"
    middle = np.median(values[:, 0])
    off = np.abs(values[:, 0] - middle)
    bent = np.arcsinh((values[:, 0] - middle) / np.exp(np.log(off[off > 0]).mean()))
    expected = (bent - bent.mean()) / bent.std()
    np.testing.assert_allclose(stretched(values)[:, 0].numpy(), expected, atol=1e-5)
    assert np.unique(plain(values)[:, 0].numpy().round(2)).size < np.unique(expected.round(2)).size


def test_categories_are_indicators_that_have_variance_1_together() -> None:
    codes = np.random.default_rng(2).choice(3, 600, p=[0.5, 0.3, 0.2]).astype(float)[:, None]
    scale = RowScale([3]).learn(codes)
    features = scale(codes).numpy()
    shares = np.bincount(codes[:, 0].astype(int)) / 600
    spread = np.sqrt((shares * (1 - shares)).sum())
    order = np.argsort(-shares, kind="stable")
    expected = (np.eye(3)[:, order][codes[:, 0].astype(int)] - shares[order]) / spread
    np.testing.assert_allclose(features[:, :3], expected, atol=1e-6)
    assert (features[:, 3] == 0).all(), "nothing was unseen"
    assert features.var(0).sum() == pytest.approx(1, abs=1e-5)
    assert scale.owners.tolist() == [0] * 4


def test_a_nearly_constant_category_is_not_blown_up() -> None:
    codes = np.zeros((1000, 1))
    codes[0] = 1
    features = RowScale([2]).learn(codes)(codes)
    assert features.abs().max() == pytest.approx(0.999 / np.sqrt(0.05), rel=1e-4)


def test_a_category_not_seen_before_has_its_own_indicator() -> None:
    codes = np.array([[0.0], [1.0], [0.0], [1.0]])
    scale = RowScale([2]).learn(codes)
    new = scale(np.array([[2.0]]))[0]
    assert new[-1] > 1
    assert new[-1] == new.max()
    assert not (scale(codes) == new).all(1).any()
    assert torch.equal(scale(np.array([[7.0]]))[0], new), "whatever its code"


def test_rare_ones_of_many_categories_share_an_indicator() -> None:
    codes = np.repeat(np.arange(150), np.arange(151, 1, -1)).astype(float)[:, None]
    scale = RowScale([150]).learn(codes)
    assert len(scale.owners) == 102, "a hundred, one for the others, one for those not seen"
    each = scale(np.arange(151.0)[:, None])
    assert len(each[:100].unique(dim=0)) == 100
    assert len(each[100:150].unique(dim=0)) == 1
    assert len(each[[99, 100, 150]].unique(dim=0)) == 3


def test_missing_cells_are_unknown_features() -> None:
    rng = np.random.default_rng(3)
    values = np.c_[rng.normal(size=200), rng.integers(0, 3, 200), rng.normal(size=200)]
    holes = values.copy()
    holes[::4, 0] = holes[1::4, 1] = np.nan
    scale = RowScale([0, 3, 0]).learn(holes)
    assert scale.owners.tolist() == [0, 1, 1, 1, 1, 2]
    features = scale(holes)
    assert torch.equal(features.isnan(), torch.from_numpy(np.isnan(holes))[:, scale.owners])
    known = holes[~np.isnan(holes[:, 0]), 0]
    np.testing.assert_allclose(features[1, 0], (holes[1, 0] - known.mean()) / known.std(), rtol=1e-5)


def test_columns_of_nothing_or_of_one_value_are_finite() -> None:
    values = np.c_[np.full(50, 3.0), np.full(50, np.nan), np.zeros(50), np.full(50, np.nan)]
    scale = RowScale([0, 0, 2, 2]).learn(values, stretch=True)
    features = scale(np.array([[4.0, 1.0, 1.0, 0.0], [3.0, np.nan, 0.0, np.nan]]))
    assert torch.equal(features[0].isfinite(), torch.ones(8).bool())
    assert features[0, 0] == 1, "off by one in a column that never varied, in its own units"
    assert features[1, 0] == 0


@pytest.mark.parametrize("stretch", [False, True])
def test_what_was_learnt_gives_the_same_features_bit_for_bit(stretch) -> None:
    rng = np.random.default_rng(4)
    values = np.c_[rng.standard_cauchy(300), rng.integers(0, 5, 300), rng.normal(size=300)]
    values[7, 0] = values[8, 1] = np.nan
    cardinalities = [0, 5, 0]
    scale = RowScale(cardinalities).learn(values, stretch=stretch)
    again = RowScale(cardinalities).restore(scale.state_dict())
    assert again(values).numpy().tobytes() == scale(values).numpy().tobytes()
    assert torch.equal(again.owners, scale.owners)
    one = scale(values[11:12]).numpy()
    assert one.tobytes() == scale(values)[11:12].numpy().tobytes()
