from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from latentkit import VAE, Autoencoder
from latentkit.core.errors import DataError, InvalidParameterError
from latentkit.estimators import compare_models
from tests.estimators.cases import pixels, rows, small


@pytest.fixture(scope="module")
def models() -> dict[str, VAE]:
    X = rows(200)
    return {"short": small(max_epochs=1).fit(X[:120]), "long": small(max_epochs=60).fit(X[:120])}


def test_pairs_are_those_of_the_rows(models: dict[str, VAE]) -> None:
    X = rows(200)[120:]
    found = compare_models(models, X, n_importance=20)
    (pair,) = found.pairs
    assert pair.difference is not None
    scores = {name: model.score_samples(X, n_importance=20) for name, model in models.items()}
    assert pair.difference.mean == pytest.approx((scores["short"] - scores["long"]).mean(), rel=1e-5)
    assert pair.difference.n == 80
    assert pair.p_value is not None
    assert pair.p_value < 1e-3
    assert found.best("log p(x)") == "long"
    assert found.names == ("short", "long")


def test_all_models_are_scored_on_the_same_rows(models: dict[str, VAE]) -> None:
    found = compare_models(models, rows(200), max_rows=50, n_importance=2)
    places = [evaluation.rows for evaluation in found.evaluations.values()]
    assert places[0] is not None
    assert places[1] is not None
    assert places[0].tolist() == places[1].tolist()
    assert len(places[0]) == 50


def test_densities_are_compared_in_the_units_of_the_data() -> None:
    X = rows(300)
    wide = np.concatenate([X[:100], 50.0 * X[:100]])  # standardised otherwise
    settings: dict[str, Any] = {"max_epochs": 1, "validation_fraction": 0}
    models = {"own": small(**settings).fit(X[:100]), "wide": small(**settings).fit(wide)}
    found = compare_models(models, X[100:], n_importance=10)
    (pair,) = found.pairs
    assert pair.difference is not None
    units = [float(np.log(model.schema_.numbers.scale).sum()) for model in models.values()]
    scores = [model.score_samples(X[100:], n_importance=10) for model in models.values()]
    expected = (scores[0] - units[0]) - (scores[1] - units[1])
    assert pair.difference.mean == pytest.approx(expected.mean(), rel=1e-5)


def test_what_cannot_be_compared_is_said() -> None:
    X = pixels(60, 8, 8)
    models = {
        "mass": small().fit(X),
        "density": small(likelihood="gaussian").fit(X),
        "point": Autoencoder(latent_dim=2, encoder=(8,), decoder=(8,), max_epochs=1, random_state=0).fit(X),
        "other": small().fit(rows(40)),
    }
    found = compare_models(models, X, n_importance=2)
    assert list(found.left_out) == ["other"]
    assert found.left_out["other"].startswith("it does not take these data")
    notes = {(pair.first, pair.second): pair.note for pair in found.pairs}
    assert all(pair.difference is None for pair in found.pairs)
    assert notes["mass", "density"] == (
        "mass gives the probability of the values, density the density of the values: they have no common unit"
    )
    assert "reconstructions of point is no bound on log p(x)" in notes["mass", "point"]


def test_too_few_models(models: dict[str, VAE]) -> None:
    with pytest.raises(InvalidParameterError, match="at least 2 models to compare; got 1"):
        compare_models({"short": models["short"]}, rows(50))
    with pytest.raises(DataError, match="fewer than two of the models take these data"):
        compare_models(models, pixels(40, 8, 8))
