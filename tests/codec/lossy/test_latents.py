"""Steps of qualities, the order of latents, the choice of residuals, their tables."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import norm

from latentkit.codec.lossy import LatentPass, Prediction, Predictions, QualitySteps, residual_tables
from latentkit.codec.lossy.latents import LEAST_LEVEL, LEVELS, REACH, symbol_costs, symbols_of
from latentkit.core.errors import InvalidParameterError
from tests.codec.lossy.examples import EXPONENTS, PASSES, POWERS, model


def test_steps_are_interpolated_between_qualities() -> None:
    steps = QualitySteps(EXPONENTS, POWERS)
    for quality in range(1, 101):
        place = (quality - 1) * 2 / 99
        expected = [np.interp(place, [0, 1, 2], column) for column in EXPONENTS.T]
        assert np.abs(steps.at(quality) - expected).max() <= 0.5
        assert steps.nearest(quality) == int(place + 0.5)
    assert np.array_equal(steps.at(1), EXPONENTS[0])
    assert np.array_equal(steps.at(100), EXPONENTS[2])
    assert [steps.nearest(q) for q in (1, 25, 26, 75, 76, 100)] == [0, 0, 1, 1, 2, 2]


def test_steps_are_powers_of_two() -> None:
    steps = QualitySteps.of(np.array([[4.0, 2.51], [0.0, -1.0]]))
    assert steps.exponents.tolist() == [[32, 20], [0, 0]]
    exponents = np.arange(80)
    np.testing.assert_allclose(steps.sixteenths(exponents) / 16, 2 ** (exponents / 8), rtol=0.03)


@pytest.mark.parametrize(
    "exponents", [np.zeros((1, 3), int), np.zeros((2, 0), int), np.full((2, 3), -1), np.full((2, 3), 81)]
)
def test_exponents_that_cannot_be_are_refused(exponents: np.ndarray) -> None:
    with pytest.raises(InvalidParameterError, match="exponents of steps lie between 0 and 80"):
        QualitySteps(exponents, POWERS)


@pytest.mark.parametrize("powers", [POWERS[:7], POWERS - 1, POWERS + 4])
def test_powers_that_cannot_be_are_refused(powers: np.ndarray) -> None:
    with pytest.raises(InvalidParameterError, match="8 powers lie between 16 and 32"):
        QualitySteps(EXPONENTS, powers)


def test_each_latent_comes_once_and_sees_only_what_came_before() -> None:
    predictions = model().predictions
    z = np.random.default_rng(0).integers(-20, 21, (2, 3, 2, 2))
    came = np.zeros((2, 5, 3, 4), np.int64)
    first: list[Prediction] = []

    def residuals(known: Prediction) -> np.ndarray:
        came[:, known.places, known.of.first : known.of.last] += 1
        first.append(known)
        return np.zeros_like(known.means)

    y = predictions.latents(z, 40, (5, 3), residuals)
    assert (came == 1).all()
    assert [known.of for known in first] == list(PASSES)
    for known in first:
        assert np.array_equal(y[:, known.places, known.of.first : known.of.last], known.means)

    # another residual changes what comes later, and nothing else
    def changed(known: Prediction) -> np.ndarray:
        if known.of == PASSES[1]:
            second.append(known)
            return np.full_like(known.means, 9)
        if known.of == PASSES[2]:
            second.append(known)
        return np.zeros_like(known.means)

    second: list[Prediction] = []
    other = predictions.latents(z, 40, (5, 3), changed)
    assert np.array_equal(second[0].means, first[1].means)
    assert not np.array_equal(second[1].means, first[2].means)
    odd = PASSES[1].places(5, 3)
    raised = other[:, odd, :2] - y[:, odd, :2]
    assert np.array_equal(raised, np.broadcast_to((9 * second[0].steps + 2) >> 2, raised.shape))


def known(levels: int = 40) -> Prediction:
    return Prediction(
        LatentPass(1, 3),
        np.ones((2, 2), bool),
        means=np.array([[[4, -40], [0, 0], [0, 0], [0, 0]]]),
        steps=np.array([16, 32]),
        levels=np.full((1, 4, 2), levels),
    )


def test_residuals_are_the_nearest_whole_numbers_of_steps() -> None:
    y = np.zeros((1, 2, 2, 3))
    y[0, 0, 0] = 99.0, 1.0 + 2.6, -10.0 + 2 * 1.4
    y[0, 0, 1] = 99.0, 1e9, -1e9
    assert known().residuals(y, np.zeros((64, 128)))[0, :2].tolist() == [[3, 1], [1023, -1024]]
    assert (known(levels=0).residuals(y, np.zeros((64, 128))) == 0).all()


def test_residuals_give_way_where_bits_are_dear() -> None:
    """By search through all whole numbers nearby: the sum of error and bits is least among two."""
    costs = 0.1 * symbol_costs(residual_tables(np.zeros((LEVELS, 128), np.int64)))
    offsets = np.linspace(-3, 3, 241)
    for level in (8, 20, 35):
        prediction = Prediction(
            LatentPass(0, 1),
            np.ones((1, 241), bool),
            np.zeros((1, 241, 1), np.int64),
            np.array([16]),
            np.full((1, 241, 1), level),
        )
        found = prediction.residuals(offsets.reshape(1, 1, 241, 1), costs).ravel()
        candidates = np.arange(-5, 6)
        total = (offsets[:, None] - candidates) ** 2 + costs[level, candidates + REACH]
        near = np.abs(np.round(offsets)[:, None] - candidates) <= 1
        best = np.where(near, total, np.inf).min(1)
        reached = (offsets - found) ** 2 + costs[level, found + REACH]
        np.testing.assert_allclose(reached, best, atol=1e-9)
    assert (np.abs(found) <= np.abs(np.round(offsets))).all()


def test_tables_are_those_of_a_normal_distribution_until_much_is_counted() -> None:
    tables = residual_tables(np.zeros((LEVELS, 128), np.int64))
    for level in (0, 16, 40, 63):
        sigma = 2 ** ((level + LEAST_LEVEL) / 8)
        edges = np.arange(-REACH, REACH + 2) - 0.5
        expected = np.diff(norm.cdf(edges, scale=sigma))
        found = tables.frequencies[level] / 2**14
        assert np.abs(found[:-1] - expected).max() < 2e-4
        assert found[-1] == pytest.approx(max(1 - expected.sum(), 2**-13), abs=1e-4)
    counts = np.zeros((LEVELS, 128), np.int64)
    counts[:, REACH + 1] = 1_000_000
    assert (residual_tables(counts).frequencies[:, REACH + 1] > 0.99 * 2**14).all()
    assert (residual_tables(counts).frequencies[:, -1] >= 1).all()


def test_symbols_and_what_they_cost() -> None:
    assert symbols_of(np.array([-64, -63, 0, 63, 64, 1023])).tolist() == [127, 0, 63, 126, 127, 127]
    tables = residual_tables(np.zeros((LEVELS, 128), np.int64))
    costs = symbol_costs(tables)
    assert costs[40, REACH] == pytest.approx(14 - np.log2(tables.frequencies[40, REACH]))
    assert costs[40, -1] == pytest.approx(14 - np.log2(tables.frequencies[40, -1]) + 11)
    assert costs[4, 0] == costs[4, -1], "what has no frequency costs what all others do"


def changed(**parts) -> None:
    of = model().predictions
    Predictions(
        **{
            "hyper_synthesis": of.hyper_synthesis,
            "predictors": of.predictors,
            "passes": of.passes,
            "steps": of.steps,
            **parts,
        }
    )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (lambda of: {"predictors": of.predictors[:2]}, "a predictor for each pass"),
        (lambda of: {"passes": [*of.passes[:2], LatentPass(2, 5)]}, "is not of 4 channels"),
        (lambda of: {"passes": [dataclasses.replace(of.passes[0], parity=2), *of.passes[1:]]}, "is not of 4 channels"),
        (lambda of: {"passes": [of.passes[0], of.passes[0], of.passes[2]]}, "each latent must be in one pass"),
        (lambda of: {"predictors": [*of.predictors[1:], of.predictors[0]]}, r"a predictor takes and gives \(6, 4\)"),
        (lambda of: {"hyper_synthesis": model(1).synthesis}, "a predictor takes and gives"),
        (lambda of: {"steps": QualitySteps(EXPONENTS[:, :3], POWERS)}, "is not of 3 channels"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(parts, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        changed(**parts(model().predictions))


def test_the_quality_must_fit_where_hyper_latents_are_taken() -> None:
    from latentkit.codec import ExactLayer, Span
    from latentkit.codec.lossy import ExactConvolution, ExactTransform

    layer = ExactLayer(np.ones((3, 3), int), [0] * 3, [0] * 3, inputs=Span(-31, 31), outputs=Span(0, 255))
    with pytest.raises(InvalidParameterError, match="must be allowed to lie where the quality does"):
        changed(hyper_synthesis=ExactTransform([ExactConvolution(layer, 1)]))
    assert torch.equal(ExactConvolution(layer, 1)(torch.ones(1, 1, 1, 3)), torch.full((1, 1, 1, 3), 3.0))
