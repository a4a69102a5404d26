"""Remedies, applied."""

from __future__ import annotations

import json

import numpy as np
import pytest

from latentkit import VAE, load
from latentkit.core.errors import DataError, InvalidParameterError, UnsupportedOperationError
from latentkit.doctor import diagnose, mend
from latentkit.estimators import AnomalyDetector
from tests.doctor.conftest import SETTINGS


def test_a_heavy_kl_term_is_taken_back_and_the_same_rows_are_held_out(heavy, rows, tmp_path) -> None:
    vae = heavy
    diagnosis = diagnose(vae, rows, only=["posterior-collapse"])
    mending = mend(vae, rows, diagnosis=diagnosis, run=tmp_path / "run")
    (treated,) = mending.treated
    assert treated.is_cured
    assert treated.after > treated.finding.measure.limit > treated.finding.measure.value
    assert mending.has_retrained
    assert vae.beta == 300.0
    assert mending.estimator.beta == 1.0
    assert np.array_equal(mending.estimator.validation_rows(len(rows)), vae.validation_rows(len(rows)))
    assert load(tmp_path / "run").beta == 1.0
    json.dumps(mending.to_dict(), allow_nan=False)


def test_a_hole_of_the_prior_is_filled_without_training(holed, rows, tmp_path) -> None:
    vae = holed
    diagnosis = diagnose(vae, rows, only=["prior-hole"])
    mending = mend(vae, rows, diagnosis=diagnosis, run=tmp_path / "run")
    assert not mending.has_retrained
    assert mending.treated[0].is_cured
    assert mending.estimator.model_ is vae.model_
    assert vae.ex_post_prior_ is None
    assert load(tmp_path / "run").ex_post_prior_ is not None


def test_a_healthy_model_has_nothing_to_mend(well, rows) -> None:
    with pytest.raises(UnsupportedOperationError, match="nothing to mend"):
        mend(well, rows, diagnosis=diagnose(well, rows, only=["posterior-collapse"]))


def test_models_with_conditions_are_told_what_to_set(heavy, rows) -> None:
    vae = VAE(**{**SETTINGS, "max_epochs": 2}, random_state=0).fit(rows, condition=(rows[:, 0] > 0).astype(int))
    diagnosis = diagnose(vae, rows, only=["posterior-collapse"])
    with pytest.raises(UnsupportedOperationError, match="beta=1.0"):
        mend(vae, rows, diagnosis=diagnose(heavy, rows, only=["posterior-collapse"]))
    assert diagnosis.n_train > 0


def test_wrong_calls_are_named(well, rows) -> None:
    with pytest.raises(InvalidParameterError, match="unknown check 'prior-holes'.*prior-hole"):
        diagnose(well, rows, only=["prior-holes"])
    with pytest.raises(DataError, match="at least 2 rows"):
        diagnose(well, rows[:1])
    with pytest.raises(UnsupportedOperationError, match="AnomalyDetector"):
        diagnose(AnomalyDetector(), rows)
