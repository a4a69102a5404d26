"""Private training of a VAE: what it covers, what it spends, what it refuses, and what a run says of it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from latentkit import VAE, load
from latentkit.core.errors import InvalidParameterError, RunError
from latentkit.estimators import vectors
from latentkit.estimators.ex_post import ex_post_name
from latentkit.training import PrivacySpent
from tests.estimators.members import by_default

pytest.importorskip("opacus", reason="Opacus is not installed: pip install 'latentkit[privacy]'")

QUICK: dict[str, Any] = {"epsilon": 5.0, "max_epochs": 2, "latent_dim": 2, "batch_size": 40, "random_state": 0}


def people(n: int = 200) -> pd.DataFrame:
    random = np.random.default_rng(0)
    sex = random.choice(["f", "m"], n)
    return pd.DataFrame(
        {
            "sex": sex,
            "height": (np.where(sex == "f", 166, 179) + random.normal(0, 6, n)).round(),
            "town": pd.Series(random.choice(["Ulm", "Bonn"], n)).mask(random.random(n) < 0.2),
        }
    )


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[VAE, Path]:
    run = tmp_path_factory.mktemp("private") / "run"
    return VAE(**QUICK).fit(people(), run=run), run


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_private_model_spends_no_more_than_was_asked_for(fitted) -> None:
    vae, _ = fitted
    spent = vae.privacy_
    assert isinstance(spent, PrivacySpent)
    assert 4.5 < spent.epsilon <= spent.target_epsilon == 5.0
    assert spent.delta == pytest.approx(180**-1.5)  # of the 200 rows a tenth is held out
    assert (spent.n_steps, spent.max_grad_norm) == (vae.history_[-1]["step"], 1.0)
    assert spent.sample_rate == pytest.approx(40 / 180)
    assert list(vae.sample(5).columns) == list(people().columns)
    assert vae.transform(people()).shape == (200, 2)


def test_a_model_that_is_not_private_has_spent_nothing_that_is_bounded() -> None:
    assert VAE(max_epochs=1, latent_dim=2).fit(people()).privacy_ is None


def test_a_run_keeps_what_was_spent_and_no_secret(fitted) -> None:
    vae, run = fitted
    again = load(run)
    assert again.privacy_ == vae.privacy_
    assert same(again.model_, vae.model_)
    card = (run / "README.md").read_text()
    assert f"Differential privacy: epsilon {vae.privacy_.epsilon:.3g} of 5, delta" in card
    assert "**Not** covered are `schema.json`" in card
    assert not (run / "checkpoints" / "last.safetensors").exists()
    assert not any("key" in file.read_text() for file in run.glob("*.yaml"))


def test_a_saved_model_keeps_what_was_spent(fitted, tmp_path) -> None:
    vae, _ = fitted
    assert load(vae.save(tmp_path / "copy")).privacy_ == vae.privacy_


def test_columns_of_private_rows_are_not_counted(monkeypatch) -> None:
    def counted(*tables: Any) -> torch.Tensor:
        raise AssertionError

    monkeypatch.setattr(vectors, "margin_offsets", counted)
    VAE(**QUICK).fit(people())
    with pytest.raises(AssertionError):
        VAE(max_epochs=1, random_state=0).fit(people())


def test_a_seed_does_not_give_the_noise_away(fitted) -> None:
    assert not same(VAE(**QUICK).fit(people()).model_, fitted[0].model_)


def test_nothing_but_the_steps_looks_at_the_rows(fitted) -> None:
    vae, _ = fitted
    assert vae.ex_post_prior_ is None
    assert ex_post_name(vae) == "none"
    assert ex_post_name(VAE()) == "mixture"
    assert vae._objective().free_bits == 0.0
    assert vae.best_epoch_ == vae.n_iter_
    started = VAE(**{**QUICK, "learning_rate": 1e-12}).fit(people())
    assert started.model_.decoder.bias.abs().max() < 1e-6  # and not at the frequencies of the categories
    usual = VAE(max_epochs=1, latent_dim=2, learning_rate=1e-12).fit(people())
    assert usual.model_.decoder.bias.abs().max() > 0.1


@pytest.mark.slow
def test_networks_are_small_however_many_the_rows() -> None:
    many = pd.concat([people()] * 15)
    assert VAE(**{**QUICK, "max_epochs": 1, "batch_size": 1000}).fit(many).specification_.encoder["widths"] == [64]


@pytest.mark.slow
def test_a_time_budget_plans_the_steps_that_it_allows(tmp_path) -> None:
    settings = {**QUICK, "max_epochs": "auto", "max_time": 0.8}
    vae = VAE(**settings).fit(people(), run=tmp_path / "run")
    config = (tmp_path / "run" / "config.yaml").read_text()
    planned = int(config.split("max_steps: ")[1].split()[0])
    assert 0 < vae.privacy_.n_steps <= planned < 40_000
    assert 0 < vae.privacy_.epsilon <= 5.0
    assert vae.history_[-1]["seconds"] < 3.0


def test_a_private_training_resumes_in_the_same_weights_and_then_never_again(tmp_path, monkeypatch) -> None:
    from latentkit.core.errors import TrainingInterrupted
    from latentkit.estimators import fitting

    monkeypatch.setattr("latentkit.training.privacy.secrets.randbits", lambda bits: 2**100 + 7)
    settings = {**QUICK, "max_epochs": 4}
    whole = VAE(**settings).fit(people(), run=tmp_path / "whole")

    class Stops(fitting.Interruption):
        calls = 0

        @property
        def requested(self) -> bool:
            Stops.calls += 1
            return Stops.calls == 7

        @requested.setter
        def requested(self, value: bool) -> None: ...

    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(fitting, "Interruption", Stops)
        with pytest.raises(TrainingInterrupted):
            VAE(**settings).fit(people(), run=run)
    monkeypatch.setattr("latentkit.training.privacy.secrets.randbits", lambda bits: 11)  # the run has its own
    with pytest.raises(RunError, match=r"with epsilon=5.0; these settings give 6.0. Resume with the same settings"):
        VAE(**{**settings, "epsilon": 6.0}).fit(people(), run=run, resume=True)
    resumed = VAE(**settings).fit(people(), run=run, resume=True)
    assert same(whole.model_, resumed.model_)
    assert resumed.privacy_ == whole.privacy_
    with pytest.raises(RunError, match=r"trained to the end, and what it may tell about its rows is spent"):
        VAE(**settings).fit(people(), run=run, resume=True)


def test_rows_of_numbers_images_and_conditions_may_be_private() -> None:
    random = np.random.default_rng(0)
    numbers = random.normal(size=(60, 4))
    assert VAE(**QUICK).fit(numbers).privacy_.epsilon <= 5.0
    pictures = random.integers(0, 256, (60, 8, 8), dtype=np.uint8)
    assert VAE(**{**QUICK, "max_epochs": 1}).fit(pictures).sample(2).shape == (2, 8, 8)
    given = VAE(**QUICK).fit(numbers, condition=["a", "b"] * 30)
    assert given.sample(3, condition="a").shape == (3, 4)


@pytest.mark.parametrize("objective", by_default(["iwae", "dreg", "stl", "miwae", "ciwae"], "iwae", "miwae"))
def test_objectives_of_single_rows_may_be_private(objective) -> None:
    vae = VAE(**{**QUICK, "max_epochs": 1, "objective": objective}).fit(np.random.default_rng(0).normal(size=(60, 3)))
    assert math.isfinite(vae.history_[-1]["objective"])


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    *(({"objective": name}, "compares the rows of a batch", "Use objective=") for name in ("beta_tc", "dip", "info")),
    ({"objective": "factor"}, "compares the rows of a batch", "Use objective="),
    ({"objective": "reconstruction", "posterior": "point"}, "no prior to draw from", "Use objective='elbo'"),
    ({"objective": "piwae"}, "takes several", "Use objective='elbo'"),
    ({"free_bits": 0.5}, "mean over the rows of a batch", "Leave it out"),
    ({"ex_post": "mixture"}, "fitted to the codes of the rows", "rows are drawn from the prior of training"),
    ({"ex_post_options": {"n_components": 3}}, "fits no prior", "leave them out"),
    ({"prior": "vamp"}, "starts from examples", "Use prior='normal'"),
    ({"normalization": "batch"}, "each row depend on the others", "Use normalization='layer'"),
    ({"schedule": "plateau"}, "follows the value of the objective", "Use schedule='cosine'"),
    ({"patience": 5}, "when to stop would be told by rows", "its steps or its time are over"),
    ({"precision": "bfloat16"}, "single precision", "Leave it out"),
    ({"compile": True}, "not compiled", "Leave it out"),
    ({"warm_start": True}, "the weights of the fit before have seen rows", "Use warm_start=False"),
    ({"delta": 0.05}, "hand out a row", "Use delta='auto'"),
    ({"epsilon": 0.0}, "'epsilon' .* range .0.01, 1000", "Got 0.0"),
    ({"epsilon": None, "delta": 1e-6}, "delta=1e-06 belongs to private training", "Set epsilon"),
    ({"epsilon": None, "max_grad_norm": 2.0}, "max_grad_norm=2.0 belongs to private training", "or leave it out"),
    ({"encoder": nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))}, "is a BatchNorm1d, which keeps", "Use LayerNorm"),
]


@pytest.mark.parametrize(
    ("settings", "reason", "advice"), REFUSED, ids=["-".join(map(str, settings)) for settings, _, _ in REFUSED]
)
def test_what_would_tell_of_rows_is_refused(settings, reason, advice) -> None:
    with pytest.raises((InvalidParameterError, TypeError), match=rf"(?s){reason}.*{advice}"):
        VAE(**{**QUICK, **settings}).fit(np.random.default_rng(0).normal(size=(60, 3)))


def test_labels_are_refused_that_would_get_priors_of_their_own() -> None:
    numbers = np.random.default_rng(0).normal(size=(60, 3))
    with pytest.raises(InvalidParameterError, match=r"labels get priors of their own .* condition=y"):
        VAE(**QUICK).fit(numbers, [0, 1] * 30)


def test_other_families_say_who_can() -> None:
    from latentkit import VQVAE

    with pytest.raises(InvalidParameterError, match=r"VQVAE has no parameter 'epsilon'.* VAE has it"):
        VQVAE(epsilon=3.0)


def test_what_is_cited() -> None:
    text = VAE(**{**QUICK, "max_epochs": 1}).fit(np.random.default_rng(0).normal(size=(30, 3))).citation()
    assert "abadi2016deep" in text
    assert "opacus" in text


def test_figures_of_training_are_json(fitted) -> None:
    lines = (fitted[1] / "metrics.jsonl").read_text().splitlines()
    assert all(math.isfinite(json.loads(line)["objective"]) for line in lines)
