"""Every member on every kind of data: all figures that suit them, and a reason for each that lacks."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from latentkit import GAN, VAE, VQVAE, Autoencoder, Generator
from latentkit.cli.printing import plain
from latentkit.core.errors import DataError, InvalidParameterError, SchemaMismatchError
from latentkit.estimators import LikelihoodWarning
from latentkit.estimators.evaluating import evaluation_parts
from latentkit.evaluation import (
    Evaluation,
    PrincipalComponentFeatures,
    bits_per_dimension,
    language_model,
    mutual_information,
    psnr,
    ssim,
)
from latentkit.evaluation.evaluation import GROUPS
from tests.estimators.cases import pixels, rows, small
from tests.estimators.members import MEMBERS, by_default, data

QUICK: dict[str, Any] = {"n_importance": 3, "n_samples": 20, "random_state": 0}


@pytest.fixture(autouse=True)
def quick_judges(monkeypatch: pytest.MonkeyPatch, quick_classifier: None) -> None:
    monkeypatch.setattr(language_model, "_WIDTH", 8)
    monkeypatch.setattr(language_model, "_BUDGET", 500)


@pytest.mark.parametrize("name", by_default(MEMBERS, "vae", "gan"))
def test_every_member_shows_what_it_can(name: str) -> None:
    member = MEMBERS[name]
    for kind in member.kinds:
        X = data(kind)
        model = member.make(name, max_epochs=1).fit(X[: len(X) // 2])
        found = model.evaluate(X[len(X) // 2 :], train=X[: len(X) // 2], **QUICK)
        assert (found.model, found.n) == (type(model).__name__, len(X) - len(X) // 2)
        for figure in found.figures:
            assert figure.is_finite, figure
            assert figure.group in GROUPS
            assert figure.seconds is not None
            assert figure.seconds >= 0.0
            assert figure.computed_with
            assert (figure.floor is None) == (figure.floor_of == "")
            assert figure.n_rows is None or figure.n_rows > 1
            if figure.interval is not None:
                assert figure.interval_by
                assert figure.interval[0] <= figure.value <= figure.interval[1]
        for lacking in found.missing:
            assert lacking.group in GROUPS
            assert len(lacking.why) > 15
        groups = {each.group for each in (*found.figures, *found.missing)}
        assert groups >= {"likelihood", "reconstructions", "latents", "samples"}
        assert ("copy rate" in found) == (kind != "texts")
        assert member.encodes == (found.likelihood is not None)
        json.dumps(plain(found.to_dict()), allow_nan=False)


def test_figures_are_those_of_their_parts() -> None:
    X = pixels(60, 12, 12)
    vae = small().fit(X[:30])
    found = vae.evaluate(X[30:], n_importance=20, random_state=1)
    scores = vae.score_samples(X[30:], n_importance=20)
    bound = found["log p(x)"]
    assert bound.value == pytest.approx(scores.mean())
    assert bound.standard_error == pytest.approx(scores.std(ddof=1) / math.sqrt(30))
    assert (bound.n_draws, bound.n_rows) == (20, 30)
    bits = bits_per_dimension(torch.tensor(scores.mean()), 144)
    assert found["bits per dimension"].value == pytest.approx(float(bits))
    model = torch.from_numpy(X[30:, None] / 255.0)
    again = vae.inverse_transform(vae.transform(X[30:]))
    assert found["PSNR"].value == pytest.approx(
        float(psnr(model, torch.from_numpy(again[:, None] / 255.0)).mean()), abs=0.05
    )
    assert found["SSIM"].value == pytest.approx(
        float(ssim(model, torch.from_numpy(again[:, None] / 255.0)).mean()), abs=0.01
    )
    assert found["PSNR"].floor == pytest.approx(
        float(psnr(model, model.mean(0, keepdim=True).expand_as(model)).mean()), rel=1e-5
    )
    assert found["active dimensions"].value <= 3
    assert found["KL"].value > 0.0
    (why,) = [lacking.why for lacking in found.missing if lacking.name == "MS-SSIM"]
    assert why == "it needs sides of at least 176 pixels, and these have 12"


def test_what_z_carries_is_what_the_estimates_say() -> None:
    X = rows(80)
    vae = small(max_epochs=20).fit(X)
    found = vae.evaluate(X, parts=["latents"], random_state=3)
    storage = vae.schema_.encode(X).float()
    posterior = vae.model_.encode(storage)
    order = torch.randperm(80, generator=None)  # the estimate is a mean over rows, whatever their order
    told = mutual_information(posterior.mean[order].detach(), posterior.log_var[order].detach(), seed=0)
    assert found["KL"].value == pytest.approx(told.kl, rel=1e-4)
    figure = found["mutual information"]
    assert figure.bound == "lower"
    assert figure.value == pytest.approx(told.lower, abs=0.5)
    assert found.likelihood is None
    assert [each.group for each in found.figures] == ["latents"] * 3


def test_a_loose_bound_is_called_one_and_a_tight_one_has_an_interval() -> None:
    X = rows(60)
    vae = small(max_epochs=1).fit(X)
    loose = vae.evaluate(X, n_importance=2, parts=["likelihood"], random_state=0)
    assert loose["log p(x)"].bound == "lower"
    assert "is a lower bound, and log p(x) lies above it" in loose.warnings[0]
    assert str(loose["log p(x)"]).startswith("log p(x) ≥ ")
    tight = vae.evaluate(X, estimator="ais", n_temperatures=40, max_rows=20, parts=["likelihood"], random_state=0)
    figure = tight["log p(x)"]
    assert figure.bound == "neither"
    assert tight.warnings == ()
    assert "annealed importance sampling from the posterior, 16 chains of 40 temperatures" in figure.computed_with
    assert "20 of 60 rows, drawn by the seed" in figure.computed_with
    assert tight.rows is not None
    own = vae.score_samples(X[tight.rows], n_importance=2000).mean()
    assert figure.value == pytest.approx(own, abs=0.3)


def test_rows_of_fit_are_told_from_others() -> None:
    X, other = rows(60), rows(60, seed=7)
    vae = small(max_epochs=1).fit(X)
    found = vae.evaluate(X, train=X.copy(), parts=["latents"], random_state=0)
    assert found.warnings[0].startswith("these data are those of fit: figures of what was learnt are better")
    for held_out in (X[:59], other):
        assert vae.evaluate(held_out, train=X, parts=["latents"], random_state=0).warnings == ()


def test_a_bernoulli_score_of_grey_values_is_no_probability() -> None:
    X = pixels(40, 8, 8)
    with pytest.warns(LikelihoodWarning):
        vae = small(likelihood="bernoulli", max_epochs=1).fit(X)
    found = vae.evaluate(X, n_importance=2, random_state=0)
    assert found.likelihood_of == "Bernoulli score of values between 0 and 1"
    assert "is no probability of them" in found.warnings[0]
    assert "bits per dimension" not in found
    binary = small(max_epochs=1).fit(X > 128).evaluate(X > 128, n_importance=2, random_state=0)
    assert binary.likelihood_of == "probability of the values"


def test_a_generator_has_a_likelihood_by_annealing_alone() -> None:
    X = rows(40)
    model = Generator(latent_dim=2, decoder=(8,), max_epochs=2, random_state=0).fit(X)
    (lacking, *_) = model.evaluate(X, random_state=0).missing
    assert lacking.why.startswith("a Generator has no encoder to draw importance samples from")
    found = model.evaluate(X, estimator="ais", n_temperatures=20, max_rows=10, random_state=0)
    assert found["log p(x)"].n_rows == 10
    assert "from the prior" in found["log p(x)"].computed_with


@pytest.mark.slow
def test_what_members_cannot_do_is_said() -> None:
    X = rows(40)
    reasons = {}
    for model in (
        GAN(latent_dim=2, decoder=(8,), discriminator=(8,), max_epochs=1, random_state=0),
        Autoencoder(latent_dim=2, encoder=(8,), decoder=(8,), max_epochs=1, random_state=0, ex_post="none"),
        VQVAE(n_codes=8, prior_width=16, prior_layers=1, max_epochs=1, random_state=0),
        VAE(latent_dim=2, posterior="full", encoder=(8,), decoder=(8,), max_epochs=1, random_state=0),
    ):
        found = model.fit(X).evaluate(X, train=X, estimator="ais", n_temperatures=3, random_state=0)
        reasons[found.model] = {lacking.name: lacking.why for lacking in found.missing}
    assert reasons["GAN"]["log p(x)"] == "a GAN has no likelihood p(x given z)"
    assert reasons["GAN"]["variance not rebuilt"] == "a GAN has no encoder, so that nothing can be rebuilt"
    assert "no prior of training to anneal from" in reasons["Autoencoder"]["log p(x)"]
    assert "fit with ex_post='mixture'" in reasons["Autoencoder"]["samples"]
    assert reasons["Autoencoder"]["KL"] == "codes are points, which have no divergence from a prior"
    assert "codes out of a codebook do not move so" in reasons["VQVAE"]["log p(x)"]
    assert reasons["VAE"]["mutual information"].endswith("posteriors are of the kind FullGaussian")


def test_too_few_rows_and_no_rows_of_fit_are_said() -> None:
    X = rows(40)
    vae = small().fit(X)
    (lacking,) = [each for each in vae.evaluate(X, **QUICK).missing if each.name == "samples"]
    assert "give train= (in the shell --train DATA)" in lacking.why
    (lacking,) = [each for each in vae.evaluate(X[:9], train=X, **QUICK).missing if each.name == "samples"]
    assert lacking.why == "it takes at least 10 rows of each set, and DATA have 9"
    (lacking,) = [each for each in vae.evaluate(X, train=X[:7], **QUICK).missing if each.name == "samples"]
    assert lacking.why == "it takes at least 10 rows of each set, and the rows of fit have 7"
    with pytest.raises(DataError, match="at least 2 rows are needed to measure a model by"):
        vae.evaluate(X[:1])


def test_infinite_figures_are_said_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    X = pixels(40, 12, 12) > 128
    vae = small(latent_dim=2).fit(X)
    monkeypatch.setattr("latentkit.estimators.examination.reconstruct", lambda model, x: x)
    found = vae.evaluate(X, **QUICK)
    whys = {lacking.name: lacking.why for lacking in found.missing}
    assert whys["PSNR"] == "it is infinite: 40 of 40 images came back exactly"
    far = rows(40)
    model = small().fit(far)
    far[0] = 1e200
    found = model.evaluate(far, **QUICK)
    whys = {lacking.name: lacking.why for lacking in found.missing}
    assert whys["log p(x)"] == "it is infinite: the model calls 1 of 40 rows impossible"


def test_data_of_another_schema_and_options_are_refused() -> None:
    vae = small().fit(rows(40))
    with pytest.raises(SchemaMismatchError):
        vae.evaluate(rows(40)[:, :3])
    with pytest.raises(
        InvalidParameterError, match="unknown part of an evaluation 'pictues'; choose one of: likelihood"
    ):
        vae.evaluate(rows(40), parts=["pictues"])
    for name, value in (("n_importance", 0), ("n_samples", 9), ("max_rows", 1), ("n_temperatures", 0)):
        with pytest.raises(InvalidParameterError, match=f"{name} must be an integer of at least"):
            vae.evaluate(rows(40), **{name: value})
    with pytest.raises(InvalidParameterError, match="estimator must be one of: iwae, ais"):
        vae.evaluate(rows(40), estimator="exact")  # type: ignore[arg-type]


def table(n: int = 120) -> pd.DataFrame:
    random = np.random.default_rng(0)
    age = random.normal(40, 10, n).round()
    return pd.DataFrame(
        {
            "age": np.where(random.random(n) < 0.1, np.nan, age),
            "sex": random.choice(["f", "m"], n),
            "pay": np.exp(random.normal(size=n)),
        }
    )


def test_tables_have_cells_and_privacy() -> None:
    frame = table()
    vae = VAE(latent_dim=2, encoder=(8,), decoder=(8,), max_epochs=2, random_state=0).fit(frame[:80])
    found: Evaluation = vae.evaluate(frame[80:], train=frame[:80], n_importance=2, n_samples=60, random_state=0)
    assert found.kind == "table"
    right = found["categories rebuilt"]
    shares = frame[80:].sex.value_counts(normalize=True)
    assert right.floor == pytest.approx(100 * shares.max())
    assert 0.0 <= right.value <= 100.0
    error = found["error of numbers"]
    assert error.floor == pytest.approx(1.0)
    assert "bits per column" in found
    assert found["column shape error, %"].group == "samples"
    assert found["membership AUC"].group == "copies"


def test_features_of_the_user_are_taken() -> None:
    X = rows(60)
    vae = small().fit(X[:30])
    storage = vae.schema_.encode(X[:30]).float()
    features = PrincipalComponentFeatures(storage, n_features=2)
    found = vae.evaluate(X[30:], train=X[:30], features=features, parts=["samples"], n_samples=30, random_state=0)
    assert "Frechet distance of principal components" in found


def test_the_seed_decides_and_rows_with_conditions_are_given_theirs() -> None:
    X = rows(60)
    y = (X[:, 0] > 0).astype(int)
    vae = small(max_epochs=30).fit(X, condition=y)
    given = {"max_rows": 30, "n_importance": 5}
    once, again = (vae.given(y).evaluate(X, random_state=2, **given) for _ in range(2))
    assert once.figures == again.figures
    other = vae.given(y).evaluate(X, random_state=3, **given)
    assert once.rows is not None
    assert other.rows is not None
    assert once.rows.tolist() != other.rows.tolist()
    own = vae.given(y[once.rows]).score_samples(X[once.rows], n_importance=5)
    assert once["log p(x)"].value == pytest.approx(own.mean(), rel=1e-5)


def test_every_kind_of_data_has_every_group() -> None:
    kinds = {"images", "rows", "table", "text"}
    for group in ("likelihood", "reconstructions", "latents", "samples"):
        of_group = [part.kinds for part in evaluation_parts_of(group)]
        assert set().union(*of_group) == kinds


def evaluation_parts_of(group: str) -> list[Any]:
    return [evaluation_parts[name] for name in evaluation_parts if evaluation_parts[name].group == group]
