"""Estimators that do as they are asked, and the measure of it; guidance where it can be had."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from latentkit import GAN, VAE, VQVAE
from latentkit.core.errors import DataError, InvalidParameterError, UnsupportedOperationError
from tests.estimators.cases import classes, rows, small
from tests.estimators.test_conditions import two_clouds

SETTINGS: dict[str, Any] = {"encoder": (16,), "decoder": (16,), "batch_size": 50, "random_state": 0}


@pytest.fixture(scope="module")
def conditional() -> VAE:
    X, y = two_clouds()
    return VAE(2, max_epochs=200, learning_rate=1e-2, **SETTINGS).fit(X, condition=y)


def test_a_model_that_heeds_its_condition_agrees(conditional: VAE) -> None:
    X, y = two_clouds()
    (control,) = conditional.attribute_control(X, y, n_samples=200)
    assert control.agreement > 0.95
    assert control.ceiling > 0.95
    assert control.chance == pytest.approx(0.5, abs=0.1)
    (again,) = conditional.attribute_control(X, y, n_samples=200)
    assert again.agreement == control.agreement


def test_one_that_does_not_is_found_out(conditional: VAE) -> None:
    X, y = two_clouds()
    crossed = np.where(y == "left", "right", "left")
    (control,) = conditional.attribute_control(X, crossed, n_samples=200)
    assert control.agreement < 0.05 < 0.95 < control.ceiling


@pytest.mark.slow
def test_labels_do_where_there_are_no_conditions() -> None:
    X, y = two_clouds()
    model = VAE(2, beta=0.1, max_epochs=30, learning_rate=1e-2, **SETTINGS).fit(X, y)
    (control,) = model.attribute_control(X, y, n_samples=100)
    assert control.agreement > 0.8


def test_numbers_and_classes_are_measured_each_in_its_way() -> None:
    X, y = two_clouds(200)
    given = pd.DataFrame({"side": y, "height": X[:, 1]})
    side, height = small(max_epochs=1).fit(X, condition=given).attribute_control(X, given, n_samples=50)
    assert (side.name, side.metric, height.name, height.metric) == ("side", "accuracy", "height", "R2")
    assert height.ceiling > 0.9 > height.agreement


def test_nothing_to_ask_for_is_an_error() -> None:
    with pytest.raises(UnsupportedOperationError, match="fitted with neither conditions nor labels"):
        small(max_epochs=1).fit(rows()).attribute_control(rows(), classes())
    with pytest.raises(DataError, match="at least 50 rows .* got 48 rows and 48 conditions"):
        small(max_epochs=1).fit(rows(), condition=classes()).attribute_control(rows(), classes())


# Guidance


@pytest.fixture(scope="module")
def codes() -> VQVAE:
    X, y = two_clouds()
    options = {**SETTINGS, "n_codes": 8, "prior_width": 16, "prior_layers": 1, "prior_share": 3.0}
    return VQVAE(max_epochs=20, learning_rate=1e-2, **options).fit(X, condition=y)


def test_guidance_multiplies_the_odds_of_the_condition(codes: VQVAE) -> None:
    """Of the first code the distribution is known: p(c given y)^w p(c)^(1 - w), normalised."""
    prior: Any = codes.extra_modules_["code_prior"].eval()
    columns = codes.condition_schema_.encode_one("left")
    nothing = torch.zeros(1, prior.n_places, dtype=torch.int64)
    with torch.no_grad():
        given, free = (prior.logits(nothing, c)[0, 0].log_softmax(-1) for c in (columns, torch.zeros_like(columns)))
    for guidance in (0.0, 0.5, 2.0):
        drawn = prior.sample(4000, columns, guidance=guidance, generator=torch.Generator().manual_seed(0))[:, 0]
        share = torch.bincount(drawn, minlength=prior.n_codes) / 4000
        expected = (guidance * given + (1.0 - guidance) * free).softmax(-1)
        torch.testing.assert_close(share, expected, atol=0.03, rtol=0)


def test_guidance_of_one_is_none_and_rows_keep_their_own(codes: VQVAE) -> None:
    plain = codes.sample(6, condition="left")
    np.testing.assert_array_equal(codes.sample(6, condition="left", guidance=1.0), plain)
    mixed = codes.sample(300, condition=["left", "right"] * 150, guidance=3.0)
    assert (mixed[::2, 0] < 0).mean() > 0.8
    assert (mixed[1::2, 0] > 0).mean() > 0.8


def test_guidance_without_its_means_is_refused(codes: VQVAE, conditional: VAE) -> None:
    with pytest.raises(InvalidParameterError, match=r"guidance=2.0 needs a condition to be guided by"):
        codes.sample(2, guidance=2.0)
    with pytest.raises(InvalidParameterError, match=r"guidance must be a float in \[0, inf\); got -1.0"):
        codes.sample(2, condition="left", guidance=-1.0)
    with pytest.raises(UnsupportedOperationError, match="z is drawn in one piece.* or use VQVAE"):
        conditional.sample(2, condition="left", guidance=2.0)
    gan = GAN(2, decoder=(8,), discriminator=(8,), max_epochs=1, random_state=0).fit(rows(), condition=classes())
    with pytest.raises(UnsupportedOperationError, match="z is drawn in one piece"):
        gan.sample(2, condition="cat", guidance=2.0)
