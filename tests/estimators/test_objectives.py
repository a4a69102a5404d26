"""Objectives as settings of an estimator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentkit import load
from latentkit.objectives import BetaTc, Dip, objectives
from tests.estimators.cases import rows, small

everyone = pytest.mark.parametrize("name", [name for name in objectives if name != "reconstruction"])


def _first(**settings: Any) -> float:
    return small(max_epochs=1, **settings).fit(rows()).history_[0]["objective"]


def test_objectives_have_their_own_beta_unless_told_otherwise() -> None:
    assert _first() == _first(beta=1.0) != _first(beta=2.0)
    beta_tc = {"objective": "beta_tc"}
    assert _first(**beta_tc) == _first(**beta_tc, beta=6) != _first(**beta_tc, beta=1)
    ciwae = {"objective": "ciwae"}
    assert _first(**ciwae) == _first(**ciwae, beta=0.5) != _first(**ciwae, beta=1)


def test_options_reach_the_objective() -> None:
    vae = small(objective="dip", objective_options={"version": "ii", "lambda_od": 3.0}, beta=2.0).fit(rows())
    assert vae._objective() == Dip(version="ii", lambda_od=3.0, beta=2.0)


def test_beta_tc_knows_how_many_examples_there_are() -> None:
    vae = small(objective="beta_tc", validation_fraction=0.25).fit(rows(100))
    assert vae._objective() == BetaTc(n_data=75)
    vae = small(objective="beta_tc", objective_options={"n_data": 1000}).fit(rows(100))
    assert vae._objective() == BetaTc(n_data=1000)


@everyone
def test_every_objective_trains_and_is_kept(name: str, tmp_path: Path) -> None:
    vae = small(objective=name, max_epochs=2).fit(rows(), run=tmp_path / "run")
    assert all(np.isfinite(record["objective"]) for record in vae.history_)
    assert all(record["log_likelihood"] < 0 < record["kl"] for record in vae.history_)
    np.testing.assert_array_equal(load(tmp_path / "run").transform(rows()), vae.transform(rows()))


@pytest.mark.parametrize("name", ["factor", "piwae"])
def test_objectives_of_two_phases_go_on_where_they_stopped(name: str, tmp_path: Path) -> None:
    """With a discriminator's state, too."""
    settings = {"objective": name, "max_epochs": 4}
    whole = small(**settings).fit(rows(), run=tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop(_: Any, history: Any) -> None:
        if len(history) == 2:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latentkit.training.TrainingPlan.checkpoint_interval", 0.0, raising=False)
        patch.setattr("latentkit.estimators.runs.RunWriter.epoch", stop)
        patch.setattr("latentkit.training.loop.time.monotonic", iter(range(10**6)).__next__)
        with pytest.raises(Stop):
            small(**settings).fit(rows(), run=tmp_path / "half")
    resumed = small(**settings).fit(rows(), run=tmp_path / "half", resume=True)
    for key, weight in whole.model_.state_dict().items():
        assert torch.equal(weight, resumed.model_.state_dict()[key]), key
