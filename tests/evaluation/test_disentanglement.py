from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.model_selection import train_test_split

from latentkit.core.errors import InvalidParameterError
from latentkit.core.seeds import derive_seed
from latentkit.evaluation import dci, disentanglement, factor_vae_score, factors, mutual_information_gap, sap_score

GRID = np.stack(np.meshgrid(range(4), range(5), range(3), indexing="ij"), -1).reshape(-1, 3)
FACTORS = np.repeat(GRID, 20, axis=0)


def codes(kind: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    exact = (FACTORS - FACTORS.mean(0)) / FACTORS.std(0)
    rotation = np.eye(3) - 2 / 3  # a reflection that mixes every factor into every dimension
    return {
        "identity": exact + 0.02 * rng.normal(size=exact.shape),
        "rotated": exact @ rotation,
        "random": rng.normal(size=exact.shape),
    }[kind]


SCORES = {
    "mig": lambda z, v: mutual_information_gap(z, v).score,
    "dci forest": lambda z, v: dci(z, v).disentanglement,
    "dci forest completeness": lambda z, v: dci(z, v).completeness,
    "dci lasso": lambda z, v: dci(z, v, predictor="lasso").completeness,
    "factor-vae": lambda z, v: factor_vae_score(z, v, n_votes=(400, 400)).score,
    "sap": lambda z, v: sap_score(z, v.astype(float)).score,
}


@pytest.mark.parametrize(
    "score",
    [
        pytest.param(score, id=name, marks=pytest.mark.slow if name.startswith("dci forest") else [])
        for name, score in SCORES.items()
    ],
)
def test_identity_is_best_rotation_worse_and_noise_knows_nothing(score) -> None:
    identity, rotated, random = (score(codes(kind), FACTORS) for kind in ("identity", "rotated", "random"))
    assert identity > 0.95
    assert rotated < 0.8 * identity
    assert random < 0.6
    order = np.random.default_rng(1).permutation(3)
    assert score(-3 * codes("identity")[:, order] + 7, FACTORS) == pytest.approx(identity, abs=0.02)


def test_noise_scores_near_zero() -> None:
    assert mutual_information_gap(codes("random"), FACTORS).score < 0.03
    forest = dci(codes("random"), FACTORS)
    assert max(forest.disentanglement, forest.completeness) < 0.1
    votes = factor_vae_score(codes("random"), FACTORS)
    assert votes.score == pytest.approx(votes.chance, abs=0.1)
    assert votes.chance == pytest.approx(1 / 3, abs=0.02)
    assert sap_score(codes("random"), FACTORS).score < 0.1


def test_mig_by_counting() -> None:
    v = np.array([[0], [0], [1], [1], [2], [2]])
    z = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    result = mutual_information_gap(z, v, n_bins=2)
    first = entropy([2, 4])  # z_0 is a function of v, so its information is its own entropy
    second = entropy([5, 1]) - math.log(2) / 3  # z_1 is open within class 2 alone
    np.testing.assert_allclose(result.information[:, 0], [first, second])
    assert result.entropy[0] == pytest.approx(math.log(3))
    assert result.score == pytest.approx((first - second) / math.log(3))
    assert result.computed_with == "6 rows, 2 bins of equal width per latent dimension"


def test_mig_of_a_copied_dimension_is_zero_and_real_factors_are_binned() -> None:
    doubled = np.concatenate((codes("identity"), codes("identity")), axis=1)
    assert mutual_information_gap(doubled, FACTORS).score == 0.0
    real = np.random.default_rng(0).uniform(size=(4000, 2))
    assert mutual_information_gap(real, real).score > 0.97
    shifted = mutual_information_gap(codes("identity"), FACTORS + 100)
    assert shifted.score == mutual_information_gap(codes("identity"), FACTORS).score


def test_dci_from_importances_in_closed_form() -> None:
    importance = np.array([[1.0, 0.0], [0.0, 0.5], [0.0, 0.5], [0.0, 0.0]])
    np.testing.assert_allclose(disentanglement._concentration(importance), [1.0, 1.0, 1.0, 0.0])
    np.testing.assert_allclose(disentanglement._concentration(importance.T), [1.0, 1 - math.log(2) / math.log(4)])
    np.testing.assert_allclose(disentanglement._concentration(np.array([[2.0], [3.0]])), 1.0)


def test_dci_of_a_factor_spread_over_two_dimensions() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(600, 2))
    factors = np.column_stack((z[:, 0] + z[:, 1],))
    result = dci(z, factors, predictor="lasso")
    np.testing.assert_allclose(result.importance[:, 0], [0.5, 0.5], atol=0.02)
    assert result.completeness == pytest.approx(0.0, abs=0.01)
    assert result.disentanglement == 1.0  # one factor: each dimension matters for it alone
    assert result.informativeness > 0.99
    assert result.computed_with == "lasso predictors, 400 rows to fit and 200 to judge"


@pytest.mark.parametrize("predictor", ["forest", pytest.param("boosting", marks=pytest.mark.slow)])
def test_dci_with_trees_is_accurate_where_codes_tell_all(predictor) -> None:
    result = dci(codes("identity")[::4], FACTORS[::4], predictor=predictor)
    assert result.informativeness > 0.98
    assert result.disentanglement > 0.95
    np.testing.assert_allclose(result.importance.sum(0), 1.0)
    np.testing.assert_allclose(
        dci(codes("identity")[::4], FACTORS[::4], predictor=predictor).importance, result.importance
    )


def test_dci_of_a_class_that_is_in_the_held_out_rows_alone() -> None:
    _, held_out = train_test_split(np.arange(30), test_size=1 / 3, random_state=derive_seed(0, "dci") % 2**32)
    v = (np.arange(30) == held_out[0]).astype(int)[:, None]
    result = dci(np.random.default_rng(0).normal(size=(30, 1)), v)
    assert (result.informativeness, result.disentanglement) == (0.9, 0.0)


@pytest.mark.slow
def test_factor_vae_votes_are_those_of_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    z = codes("identity")
    result = factor_vae_score(np.column_stack((z, np.zeros(len(z)))), FACTORS, n_votes=(300, 200))
    assert (result.score, result.n_active) == (1.0, 3)
    assert result.computed_with == "1,200 rows, 300 votes to fit and 200 to judge of 64 rows, 3 active dimensions"
    monkeypatch.setattr(disentanglement, "_GATHERED", 1)
    assert factor_vae_score(z, FACTORS, n_votes=(300, 200)).score == 1.0
    nothing = factor_vae_score(0.01 * z, FACTORS)
    assert (nothing.score, nothing.n_active) == (0.0, 0)
    assert factor_vae_score(z, FACTORS, seed=1) == factor_vae_score(z, FACTORS, seed=1)
    # one dimension for two factors cannot name both
    merged = np.column_stack((z[:, 0], z[:, 1] + z[:, 2]))
    assert factor_vae_score(merged, FACTORS, n_votes=(2000, 1000)).score < 0.8


def test_sap_of_real_factors_is_a_difference_of_squared_correlations() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(50, 3))
    v = (z[:, 0] + 0.5 * z[:, 1] + rng.normal(size=50))[:, None]
    squares = sorted(np.corrcoef(z[:, j], v[:, 0])[0, 1] ** 2 for j in range(3))
    assert sap_score(z, v).score == pytest.approx(squares[-1] - squares[-2])
    constant = sap_score(np.column_stack((z[:, 0], np.ones(50))), v)
    assert constant.predictability[1, 0] == 0.0
    assert constant.computed_with == "50 rows, linear regression from one dimension"


def test_sap_of_two_classes_is_a_difference_of_accuracies() -> None:
    rng = np.random.default_rng(0)
    v = rng.integers(0, 2, (600, 1))
    z = np.column_stack((v[:, 0] + 0.01 * rng.normal(size=600), rng.normal(size=600)))
    result = sap_score(z, v)
    assert result.predictability[0, 0] == 1.0
    assert result.predictability[1, 0] == pytest.approx(0.5, abs=0.08)
    assert result.computed_with == "600 rows, linear classifier from one dimension"


METRICS = {"mig": mutual_information_gap, "dci": dci, "factor-vae": factor_vae_score, "sap": sap_score}


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_wrong_input_is_named(metric) -> None:
    z = codes("identity")
    with pytest.raises(InvalidParameterError, match="same rows; got 1200 rows of codes and 1199 of factors"):
        metric(z, FACTORS[1:])
    with pytest.raises(InvalidParameterError, match=r"every factor must vary .* columns \[1\]"):
        metric(z, FACTORS * np.array([1, 0, 1]))
    with pytest.raises(InvalidParameterError, match="codes must be finite"):
        metric(z * np.nan, FACTORS)
    with pytest.raises(InvalidParameterError, match="factors must be an array of shape"):
        metric(z, FACTORS[:, 0])


def test_wrong_options_are_named() -> None:
    z = codes("identity")
    for metric in (mutual_information_gap, sap_score):
        with pytest.raises(InvalidParameterError, match="second-best latent dimension needs at least 2"):
            metric(z[:, :1], FACTORS)
    with pytest.raises(InvalidParameterError, match="n_bins must be an integer of at least 2"):
        mutual_information_gap(z, FACTORS, n_bins=1)
    with pytest.raises(InvalidParameterError, match="predictor must be one of: forest, boosting, lasso"):
        dci(z, FACTORS, predictor="tree")
    for metric in (dci, sap_score):
        with pytest.raises(InvalidParameterError, match=r"test_fraction must be a float in \(0, 1\)"):
            metric(z, FACTORS, test_fraction=1.0)
    with pytest.raises(InvalidParameterError, match=r"n_votes\[1\] must be an integer"):
        factor_vae_score(z, FACTORS, n_votes=(10, 0))
    with pytest.raises(InvalidParameterError, match="batch_size must be an integer of at least 2"):
        factor_vae_score(z, FACTORS, batch_size=1)
    for metric in (factor_vae_score, sap_score):
        with pytest.raises(InvalidParameterError, match="threshold must be"):
            metric(z, FACTORS, threshold=-1.0)
    with pytest.raises(InvalidParameterError, match="at least 2 columns of integers; got 3 of real numbers"):
        factor_vae_score(z, FACTORS.astype(float))
    with pytest.raises(InvalidParameterError, match="at least 2 columns of integers; got 1 columns"):
        factor_vae_score(z, FACTORS[:, :1])


def test_the_scale_of_a_dimension_does_not_decide_the_vote() -> None:
    scaled = codes("identity") * np.array([1.0, 30.0, 900.0])
    assert factor_vae_score(scaled, FACTORS, n_votes=(300, 200)).score == 1.0


def test_bins_are_as_many_as_asked_for() -> None:
    bins = factors.bin_columns(np.linspace(0, 1, 101)[:, None] * np.array([1.0, 0.0]), 20)
    assert (bins[:, 0].min(), bins[:, 0].max(), bins[:, 1].max()) == (0, 19, 0)
