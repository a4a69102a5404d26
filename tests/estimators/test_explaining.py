"""What each latent dimension does, for every kind of data."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from latentkit import GAN, VAE, VQVAE, Autoencoder, Generator
from latentkit.core.errors import DataError, InvalidParameterError, UnsupportedOperationError
from latentkit.estimators import LatentExplanation

SMALL: dict[str, Any] = {"encoder": (16,), "decoder": (16,), "random_state": 0}


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Three columns of one factor, and one of another."""
    random = np.random.default_rng(0)
    factors = random.normal(size=(300, 2))
    weights = np.array([[3.0, 2.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    return np.asarray(factors @ weights + 0.1 * random.normal(size=(300, 4)))


@pytest.fixture(scope="module")
def model(rows: np.ndarray) -> VAE:
    return VAE(latent_dim=3, max_epochs=60, **SMALL).fit(rows)


@pytest.fixture(scope="module")
def found(model: VAE, rows: np.ndarray) -> LatentExplanation:
    return model.explain_latents(rows, rows[:, 0] > 0)


def test_a_dimension_tells_about_the_columns_that_it_looks_at(found: LatentExplanation) -> None:
    dim = int(found.order[0])
    assert found.strongest(dim, 1)[0][0] in dict(found.tells(dim, 5))
    assert all(nats > 0 for _, nats in found.tells(dim))
    assert found.attributes == ("label", *(f"column {place}" for place in range(4)))
    assert found.sensitivity.shape == (3, 4)


def test_sensitivities_are_gradients_in_standard_deviations(
    model: VAE, rows: np.ndarray, found: LatentExplanation
) -> None:
    step, dim = 1e-3, found.dims[0]
    every = model.explain_latents(rows, n_rows=300)
    spread = rows.std(0)
    moved = rows.copy()
    moved[:, 2] += step * spread[2]
    slope = np.abs(model.transform(moved) - model.transform(rows))[:, dim].mean() / step
    assert every.sensitivity[0, 2] == pytest.approx(slope, rel=0.15)


def test_integrated_gradients_rank_features_as_gradients_do(model: VAE, rows: np.ndarray) -> None:
    both = [model.explain_latents(rows, sensitivity=kind).sensitivity[0] for kind in ("gradient", "integrated")]
    assert both[0].argmax() == both[1].argmax()


def test_directions_say_what_they_are_worth(found: LatentExplanation) -> None:
    way = found.directions["label: True"]
    assert way.metric == "accuracy"
    assert way.score > 0.85 > way.baseline
    assert found.directions["column 0"].score > 0.9


def test_exemplars_are_rows_of_the_data(found: LatentExplanation) -> None:
    chosen = [*found.exemplars.prototypes, *found.exemplars.criticisms]
    assert len(set(chosen)) == 16
    assert set(chosen) <= set(found.rows.tolist())


def test_equal_data_have_equal_explanations(model: VAE, rows: np.ndarray) -> None:
    a, b = (json.dumps(model.explain_latents(rows).to_dict()) for _ in range(2))
    assert a == b


def test_images_have_maps_of_pixels() -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 50, (60, 8, 8)).astype(np.uint8)
    labels = np.arange(60) % 2
    images[labels == 1, :, 2] += 180
    model = VAE(latent_dim=2, max_epochs=30, **SMALL).fit(images)
    found = model.explain_latents(images, np.where(labels, "bar", "none"), n_exemplars=2)
    assert found.sensitivity.shape == (2, 1, 8, 8)
    assert found.features == ()
    assert found.strongest(0) == []
    assert found.sensitivity[0].sum((0, 1)).argmax() == 2
    assert found.tells(int(found.order[0]))[0][0] == "label"


def test_tables_are_explained_by_column() -> None:
    pd = pytest.importorskip("pandas")
    random = np.random.default_rng(0)
    kind = random.choice(["cat", "owl"], 200)
    frame = pd.DataFrame(
        {
            "kind": kind,
            "weight": np.where(kind == "cat", 4.0, 1.0) * random.lognormal(0, 0.1, 200).round(2),
            "noise": random.normal(size=200).round(2),
            "planet": "earth",
        }
    )
    model = VAE(latent_dim=2, max_epochs=20, learning_rate=1e-2, random_state=0).fit(frame)
    found = model.explain_latents(frame)
    assert found.features == ("kind", "weight", "noise")
    assert found.sensitivity_of == "exchanges"
    assert found.sensitivity.shape == (2, 3)
    assert "kind: owl" in found.directions or "kind: cat" in found.directions


def test_texts_are_explained_by_token() -> None:
    texts = [f"the {animal} is {how}" for animal in ("cat", "dog", "cow") for how in ("big", "old")] * 12
    model = VAE(latent_dim=2, max_epochs=2, n_tokens=300, **SMALL).fit(texts)
    found = model.explain_latents(texts)
    assert found.information is None
    assert found.tells(0) == []
    assert found.sensitivity.shape == (2, len(found.features))
    assert (found.sensitivity >= 0).all()
    assert found.directions == {}


def test_points_have_no_divergence(rows: np.ndarray) -> None:
    found = Autoencoder(latent_dim=2, max_epochs=2, **SMALL).fit(rows).explain_latents(rows)
    assert found.summary.kl_per_dimension is None
    assert found.to_dict()["dimensions"][0]["kl_nats"] is None


def test_members_without_vectors_say_so(rows: np.ndarray) -> None:
    for member in (GAN(2, decoder=(8,), max_epochs=1), Generator(2, decoder=(8,), max_epochs=1)):
        with pytest.raises(UnsupportedOperationError, match=r"has no explain_latents: there is no encoder"):
            member.fit(rows).explain_latents(rows)
        assert not hasattr(member, "explain_latents")
    codes = VQVAE(n_codes=4, prior_width=16, prior_layers=1, max_epochs=1).fit(rows)
    with pytest.raises(UnsupportedOperationError, match="latents are codes"):
        codes.explain_latents(rows)


@pytest.mark.parametrize(
    ("y", "options", "kind", "message"),
    [
        (np.zeros(5), {}, DataError, "one value for each of the 300 rows"),
        ({"a": np.zeros((300, 2))}, {}, DataError, "a must have one value"),
        (None, {"sensitivity": "shap"}, InvalidParameterError, "sensitivity must be one of"),
        (None, {"n_rows": 5}, InvalidParameterError, "n_rows must be"),
    ],
)
def test_what_cannot_be_explained_is_refused(
    model: VAE, rows: np.ndarray, y: Any, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        model.explain_latents(rows, y, **options)


def test_few_rows_are_refused(model: VAE, rows: np.ndarray) -> None:
    with pytest.raises(DataError, match="at least 20 rows; got 19"):
        model.explain_latents(rows[:19])


def test_random_state_is_left_alone(model: VAE, rows: np.ndarray) -> None:
    before = torch.get_rng_state()
    model.explain_latents(rows)
    assert torch.equal(before, torch.get_rng_state())
