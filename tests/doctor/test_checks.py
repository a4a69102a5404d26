"""Each check finds the illness that was planted, and leaves a healthy model in peace."""

from __future__ import annotations

import copy
import math
import warnings

import numpy as np
import pytest
import torch

from latentkit import GAN, VAE, VQVAE, Autoencoder, Generator
from latentkit.doctor import Finding, Healthy, Unchecked, checks, diagnose
from latentkit.doctor.examination import Balance, Examination, Trial
from latentkit.doctor.illnesses.overfitting import effective_number
from latentkit.doctor.illnesses.samples import LEAST_COVERED, main_directions, power_ratio
from latentkit.evaluation import density_coverage
from tests.doctor.conftest import SETTINGS, make_rows


def found(estimator, data, name, **rest) -> bool:
    outcome = diagnose(estimator, data, only=[name], **rest)[name]
    assert not isinstance(outcome, Unchecked), outcome.reason
    return isinstance(outcome, Finding)


def test_a_healthy_model_is_left_in_peace(well, rows) -> None:
    diagnosis = diagnose(well, rows)
    assert [each.name for each in diagnosis.findings if each.severity != "mild"] == []
    assert len(diagnosis.healthy) >= 15
    assert all(each.evidence for each in diagnosis.healthy)
    assert [curve.corruption for curve in diagnosis.curves] == ["noise", "missing"]
    assert all(np.all(np.diff(curve.error) > 0) for curve in diagnosis.curves)


def test_the_model_and_the_global_state_stay_as_they_are(well, rows) -> None:
    before = {name: tensor.clone() for name, tensor in well.model_.state_dict().items()}
    state = torch.random.get_rng_state()
    diagnose(well, rows, only=["learning-rate-low", "dead-units", "amortisation-gap"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in well.model_.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not well.model_.training


def test_a_decoder_that_ignores_z_is_found_whatever_the_kl(twin, rows) -> None:
    twin.model_.decoder.linears[0].weight.data.zero_()
    assert found(twin, rows, "posterior-collapse")


def test_nothing_to_encode_is_no_collapse() -> None:
    rows = np.random.default_rng(0).normal(size=(600, 4)).astype(np.float32)
    vae = VAE(latent_dim=2, encoder=(16,), decoder=(16,), max_epochs=20, random_state=0).fit(rows)
    assert not found(vae, rows, "posterior-collapse")


def test_an_encoder_with_wrong_weights_leaves_a_gap(twin, rows) -> None:
    weight = twin.model_.encoder.linears[-1].weight.data
    weight.mul_(0.3)
    assert found(twin, rows, "amortisation-gap")


def test_the_effective_beta_is_the_one_of_training(well, rows) -> None:
    doubled = VAE(**SETTINGS, beta=2.0, random_state=0).fit(rows)
    for beta, vae in ((1.0, well), (2.0, doubled)):
        balance = Examination(vae, rows).balance
        assert balance.beta == pytest.approx(beta, rel=0.3)
        assert balance.cosine > 0.9


def test_gradients_that_no_weight_balances_accuse_nobody(twin, rows) -> None:
    last = twin.model_.encoder.linears[-1]
    last.weight.data[: twin.latent_dim_].mul_(3.0)  # means that reconstruct better when they shrink
    assert Examination(twin, rows).balance.beta < -1.0
    outcome = diagnose(twin, rows, only=["scaled-objective"])["scaled-objective"]
    assert isinstance(outcome, Unchecked)
    assert "not come to rest" in outcome.reason


@pytest.mark.parametrize(("beta", "cosine", "kind"), [(3.2, 0.5, Unchecked), (3.2, 0.95, Finding), (0.2, 0.5, Finding)])
def test_a_heavy_weight_is_told_where_gradients_point_alike(well, rows, monkeypatch, beta, cosine, kind) -> None:
    monkeypatch.setattr(Examination, "balance", Balance(beta=beta, cosine=cosine))
    outcome = diagnose(well, rows, only=["scaled-objective"])["scaled-objective"]
    assert isinstance(outcome, kind)


def test_a_decoder_that_hears_nothing_of_z_has_a_weight_of_zero(twin, rows) -> None:
    for parameter in twin.model_.decoder.parameters():
        parameter.data.zero_()
    balance = Examination(twin, rows).balance
    assert (balance.beta, balance.cosine) == (0.0, 0.0)


def test_a_weight_that_hides_in_the_variance_is_found(twin, rows) -> None:
    twin.model_.likelihood.raw_log_stddev.data.add_(math.log(3.0))
    diagnosis = diagnose(twin, rows, only=["miscalibrated-likelihood"])
    assert diagnosis.names == ("miscalibrated-likelihood",)
    ratio = diagnosis.findings[0].evidence[1].value
    assert ratio == pytest.approx(1.0 / 3.0, rel=0.2)


def test_a_gaussian_on_bits_is_the_wrong_likelihood(rows) -> None:
    bits = (rows > 0).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vae = VAE(**{**SETTINGS, "max_epochs": 2}, likelihood="gaussian", random_state=0).fit(bits)
    diagnosis = diagnose(vae, bits, only=["wrong-likelihood"])
    assert diagnosis.findings[0].remedy.settings["likelihood"] == "auto"
    assert not found(VAE(**{**SETTINGS, "max_epochs": 2}, random_state=0).fit(bits), bits, "wrong-likelihood")


@pytest.mark.slow
def test_what_60_rows_taught_by_heart_is_found() -> None:
    rows, others = make_rows(60), make_rows(400, seed=7)
    wide = {"encoder": (256,), "decoder": (256,), "max_epochs": 300, "validation_fraction": 0.0}
    vae = VAE(**{**SETTINGS, **wide}, beta=0.1, random_state=0).fit(rows)
    diagnosis = diagnose(vae, rows, held_out=others, only=["overfitting", "memorisation", "overfitted-encoder"])
    assert "overfitting" in diagnosis.names


def test_a_prior_where_no_data_lie_is_found(holed, rows) -> None:
    diagnosis = diagnose(holed, rows, only=["prior-hole"])
    assert diagnosis.names == ("prior-hole",)
    assert diagnosis.findings[0].remedy.settings == {"ex_post": "mixture"}
    assert not diagnosis.findings[0].remedy.retrains


def test_models_with_conditions_are_not_judged_by_what_they_draw_without_one(rows) -> None:
    vae = VAE(**{**SETTINGS, "max_epochs": 2}, random_state=0).fit(rows, condition=(rows[:, 0] > 0).astype(int))
    diagnosis = diagnose(vae, rows, only=["prior-hole", "posterior-collapse"])
    assert "drawn given a condition, which is not here" in diagnosis["prior-hole"].reason
    assert "is examined as it is without one" in diagnosis.notes[0]
    assert diagnosis.to_dict()["notes"] == list(diagnosis.notes)
    assert ("note", diagnosis.notes[0]) in diagnosis.summary()


def test_samples_with_the_same_neighbour_tell_no_more_than_one() -> None:
    assert effective_number(torch.arange(40)) == pytest.approx(40.0)
    assert effective_number(torch.tensor([7, 7, 7, 7, 3])) == pytest.approx(1.0 / (0.8**2 + 0.2**2))


def test_a_far_row_does_not_decide_a_trial() -> None:
    values = torch.linspace(-1.0, 1.0, 100)
    higher, same = values + 0.1, values + 0.01 * torch.tensor([1.0, -1.0]).repeat(50)
    higher[0], same[0] = -1e6, 1e6
    untried, better, alike = (Trial(values=each, learnt=each, n_steps=1) for each in (values, higher, same))
    assert better.is_above(untried)
    assert not alike.is_above(untried)


def test_steps_that_were_too_large_explain_a_collapse(rows) -> None:
    thrown = VAE(**{**SETTINGS, "learning_rate": 0.5, "max_epochs": 2}, random_state=0).fit(rows)
    (finding,) = diagnose(thrown, rows, only=["posterior-collapse"]).findings
    assert finding.remedy.settings == {"learning_rate": "auto", "gradient_clip": 1.0}


def test_what_a_lower_rate_loses_says_nothing(well, rows) -> None:
    (outcome,) = diagnose(well, rows, only=["learning-rate-high"]).healthy
    assert outcome.measure.value == 0.0


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"learning_rate": 1.0, "max_epochs": 5}, "learning-rate-high"),
        ({"learning_rate": 1e-6, "max_epochs": 5}, "learning-rate-low"),
        ({"max_epochs": 1}, "stopped-early"),
    ],
)
def test_wrong_paces_are_found(rows, settings, name) -> None:
    assert found(VAE(**{**SETTINGS, **settings}, random_state=0).fit(rows), rows, name)


def test_units_that_are_off_are_found(twin, rows) -> None:
    bias = twin.model_.decoder.linears[0].bias.data
    bias[: int(0.8 * len(bias))] = -1e3
    assert found(twin, rows, "dead-units")


@pytest.mark.slow
def test_codes_out_of_reach_are_found(rows) -> None:
    vqvae = VQVAE(n_codes=32, max_epochs=1, prior_share=0.01, random_state=0).fit(rows)
    vqvae.model_.quantizer.codebook.vectors[2:] = 1e4
    assert found(vqvae, rows, "dead-codes")


def test_a_direction_that_hardly_varies_may_not_decide(rows) -> None:
    rows = np.concatenate([rows, rows.sum(1, keepdims=True)], axis=1)
    vae = VAE(**SETTINGS, random_state=0).fit(rows)
    assert not found(vae, rows, "fragile-encoder")
    scale = torch.from_numpy(rows.std(0))
    quiet = torch.cat([scale[:-1], -scale[-1:]])  # 0 of all rows
    vae.model_.encoder.linears[0].weight.data.add_(20.0 * quiet / quiet.norm())
    assert found(vae, rows, "fragile-encoder")


def test_rows_of_another_kind_are_found(rows) -> None:
    spoilt = rows.copy()
    spoilt[::30] = 12.0 * np.random.default_rng(0).normal(size=spoilt[::30].shape)
    assert found(VAE(**SETTINGS, random_state=0).fit(spoilt), spoilt, "contaminated-data")


def test_fine_structure_is_that_above_a_fifth_of_a_cycle() -> None:
    places = torch.arange(16.0)
    coarse, fine = torch.cos(2 * torch.pi * places / 8), torch.cos(2 * torch.pi * places * 0.375)
    signs = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    common = (places % 2).expand(2, 1, 16, 16)  # what all pictures have is no detail of any
    images = signs * (coarse + fine) + common
    assert power_ratio(signs * coarse + common, images) == pytest.approx(0.0, abs=1e-9)
    assert power_ratio(signs * (coarse + 0.5 * fine) + common, images) == pytest.approx(0.25)
    assert power_ratio(common, images) == pytest.approx(0.0, abs=1e-9)


def test_pictures_of_one_latent_are_blurred() -> None:
    images = np.random.default_rng(0).integers(0, 256, (300, 8, 8)).astype(np.uint8)
    vae = VAE(1, encoder=(32,), decoder=(32,), max_epochs=5, random_state=0).fit(images)
    assert found(vae, images, "blur")


def test_a_generator_that_makes_one_thing_is_found(rows) -> None:
    gan = GAN(2, max_epochs=1, random_state=0).fit(rows)
    next(iter(gan.model_.decoder.parameters())).data.mul_(0.01)
    finding = diagnose(gan, rows, only=["mode-collapse"])["mode-collapse"]
    assert finding.severity == "serious"
    assert finding.measure.value < 0.1


def test_grain_is_no_mode_left_out() -> None:
    random = torch.Generator().manual_seed(0)
    plane = torch.linalg.qr(torch.randn(64, 2, generator=random, dtype=torch.float64)).Q.mT
    real, others, third = (torch.randn(3, 1000, 2, generator=random, dtype=torch.float64) @ plane).unbind()
    grainy = third + 0.05 * torch.randn(1000, 64, generator=random, dtype=torch.float64)
    assert density_coverage(real, grainy).coverage < 0.1  # in all directions none comes near
    axes = main_directions(real)
    sets = (others, grainy, third[third @ plane[0] > 1])
    floor, found, left = (density_coverage(real @ axes, each @ axes).coverage for each in sets)
    assert found > 0.9 * floor > 0.8
    assert left < LEAST_COVERED * floor


def test_a_generator_of_given_vectors_is_not_trained_anew(rows) -> None:
    given = np.random.default_rng(0).normal(size=(len(rows), 3))
    for model in (Generator(max_epochs=1).fit(rows, z=given), Generator(max_epochs=1).fit(rows)):
        reasons = {outcome.name: outcome.reason for outcome in diagnose(model, rows).unchecked}
        assert "latent vector for each row" in reasons["learning-rate-high"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Autoencoder, VQVAE, GAN])
def test_members_say_which_checks_do_not_suit_them(kind, rows) -> None:
    diagnosis = diagnose(kind(max_epochs=1, random_state=0).fit(rows), rows, only=["scaled-objective", "dead-codes"])
    unsuited = [outcome.name for outcome in diagnosis.unchecked]
    assert unsuited == (["scaled-objective"] if kind is VQVAE else ["scaled-objective", "dead-codes"])
    assert all(outcome.reason.endswith(".") for outcome in diagnosis.unchecked)


def test_without_data_every_check_says_what_it_needs(well) -> None:
    diagnosis = diagnose(well)
    assert diagnosis.findings == ()
    assert diagnosis.verdict == "Nothing could be checked."
    assert len(diagnosis.unchecked) == len(checks)


def test_without_rows_held_out_it_says_how_to_have_some(rows) -> None:
    vae = VAE(**{**SETTINGS, "max_epochs": 1}, validation_fraction=0.0, random_state=0).fit(rows)
    (outcome,) = diagnose(vae, rows, only=["overfitting"]).unchecked
    assert "validation_fraction" in outcome.reason
    assert isinstance(
        diagnose(vae, rows, held_out=make_rows(100, seed=3), only=["overfitting"])["overfitting"], Healthy
    )


@pytest.mark.slow
def test_a_copy_of_the_estimator_gives_the_same_diagnosis(well, rows) -> None:
    names = ["posterior-collapse", "amortisation-gap", "prior-hole", "stopped-early"]
    first, second = (diagnose(each, rows, only=names) for each in (well, copy.deepcopy(well)))
    for name in names[:3]:
        assert first[name].evidence == second[name].evidence
