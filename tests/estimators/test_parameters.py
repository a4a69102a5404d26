"""Every wrong parameter is refused by name, with what is allowed, what was given, and the word that was meant."""

from __future__ import annotations

import inspect
import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.utils._param_validation import InvalidParameterError as SklearnInvalidParameterError
from torch import nn

from latentkit import VAE
from latentkit.core.errors import InvalidParameterError
from latentkit.estimators import LikelihoodWarning
from latentkit.estimators.resolving import (
    MANY_ROWS,
    Pace,
    default_batch_size,
    default_epochs,
    default_latent_dim,
    default_pace,
)
from tests.estimators.cases import N, pixels, rows, small

#: Parameter, wrong value, and words of the message besides the value itself.
WRONG: list[tuple[str, Any, str]] = [
    ("latent_dim", 0, "'latent_dim' .*'auto'.* range .1, inf"),
    ("kinds", "real", "'kinds' .* 'dict' or None"),
    ("kinds", {"age": "real"}, "kinds names column 'age', which there is not; choose one of: 0, 1, 2"),
    ("na_values", {"?": 1}, "'na_values' .* 'str'.* None"),
    ("unseen", "eror", "'unseen' .*'unknown'.* Did you mean 'error'"),
    ("latent_dim", 2.5, "'latent_dim' .*'auto'.* range .1, inf"),
    ("encoder", "mpl", "encoder must be 'auto', one of: columns, conv, mlp, .* Did you mean 'mlp'"),
    ("encoder", 8, "'encoder' .* 'tuple'.* 'torch.nn.modules.module.Module'"),
    ("encoder", nn.Linear, "'encoder' .* instance of"),
    ("encoder", (8, 0), r"encoder widths\[1\] must be an integer of at least 1; got 0"),
    ("encoder", "conv", "encoder='conv' needs images"),
    ("decoder", "mpl", "decoder must be 'auto', one of: columns, conv, mlp, .* Did you mean 'mlp'"),
    ("decoder", (8, "a"), r"decoder widths\[1\] must be an integer of at least 1; got 'a'"),
    ("decoder", "conv", "decoder='conv' needs images"),
    ("posterior", "diagnal", "posterior .* diagonal, full, .* Did you mean 'diagonal'"),
    ("likelihood", "gausian", "likelihood .* bernoulli, .* gaussian, .* Did you mean 'gaussian'"),
    ("likelihood", 3, "'likelihood' .* 'str'"),
    ("likelihood_options", "feature", "'likelihood_options' .* 'dict' or None"),
    ("likelihood_options", {"variance": "feature"}, "likelihood_options=.* name it"),
    ("prior", "norml", "prior .* normal, .* Did you mean 'normal'"),
    ("vocabulary", 3, "'vocabulary' .* 'str'"),
    ("vocabulary", "words", "vocabulary='words' is for texts"),
    ("n_tokens", 2, "'n_tokens' .* range .3, inf"),
    ("max_length", 0, "'max_length' .* range .1, inf"),
    ("word_dropout", 1.5, "'word_dropout' .* range .0.0, 1.0"),
    ("pretraining", 1.0, "'pretraining' .* range .0.0, 1.0"),
    ("aggressive", -0.1, "'aggressive' .* range .0.0, 1.0"),
    ("ex_post", "mixtures", "'ex_post' .*'none'.* Did you mean 'mixture'"),
    ("ex_post_options", "ii", "'ex_post_options' .* 'dict' or None"),
    ("objective", "ebo", "objective .* elbo, .* Did you mean 'elbo'"),
    ("posterior_options", "ii", "'posterior_options' .* 'dict' or None"),
    ("prior_options", "ii", "'prior_options' .* 'dict' or None"),
    ("objective_options", "ii", "'objective_options' .* 'dict' or None"),
    ("beta", -1.0, "'beta' .* range .0.0, inf"),
    ("beta", float("nan"), "'beta' .* range .0.0, inf"),
    ("beta", float("inf"), "'beta' .* range .0.0, inf"),
    ("free_bits", -0.5, "'free_bits' .* range .0.0, inf"),
    ("n_importance", 0, "'n_importance' .*'auto'.* range .1, inf"),
    ("kl_schedule", "linea", "kl_schedule must be one of: constant, linear, cyclical; .* Did you mean 'linear'"),
    ("kl_warm_up", 1.5, "'kl_warm_up' .* range .0.0, 1.0"),
    ("epsilon", 0.0, "'epsilon' .* range .0.01, 1000"),
    ("delta", 1.0, "'delta' .* range .0.0, 1.0"),
    ("max_grad_norm", 0.0, "'max_grad_norm' .* range .0.0, inf"),
    ("activation", "rellu", "activation .* relu, .* Did you mean 'relu'"),
    ("normalization", "bach", "normalization must be one of: .*batch, .* Did you mean 'batch'"),
    ("dropout", 1.0, "'dropout' .* range .0.0, 1.0"),
    ("upsampling", "nearst", "'upsampling' .*'transposed'.* Did you mean 'nearest'"),
    ("max_epochs", 0, "'max_epochs' .*'auto'.* range .1, inf"),
    ("max_time", 0, "'max_time' .* range .0.0, inf"),
    ("max_time", "5 parsecs", "max_time must be a duration above zero such as 90s"),
    ("batch_size", 0, "'batch_size' .*'auto'.* range .1, inf"),
    ("augmentation", "flop", "augmentation .* binarize, .* Did you mean 'flip'"),
    ("optimizer", "adan", "optimizer must be one of: .*adamw, .* Did you mean 'adam'"),
    ("optimizer_options", {"beta": 1}, "optimizer Adam has no option .* betas, .* Did you mean 'betas'"),
    ("learning_rate", 0, "'learning_rate' .* range .0.0, inf"),
    ("schedule", "cosin", "schedule .* constant, cosine, .* Did you mean 'cosine'"),
    ("warm_up", -0.1, "'warm_up' .* range .0.0, 1.0"),
    ("weight_decay", -1, "'weight_decay' .* range .0.0, inf"),
    ("gradient_clip", 0, "'gradient_clip' .* range .0.0, inf.* None"),
    ("weight_averaging", 1.0, "'weight_averaging' .* range .0.0, 1.0"),
    ("validation_fraction", 1.0, "'validation_fraction' .* range .0.0, 1.0"),
    ("patience", 0, "'patience' .*'auto'.* range .1, inf.* None"),
    ("precision", "bfloat", "'precision' .*'float32'.* Did you mean 'bfloat16'"),
    ("compile", "yes", "'compile' .* 'bool'"),
    ("device", "gpu", "device must be auto, cpu, cuda, cuda:N or mps"),
    ("device", "cuda:99", "device .* is not available here. Use device='auto'"),
    ("warm_start", "yes", "'warm_start' .* 'bool'"),
    ("random_state", "x", "'random_state' .* 'numpy.random.mtrand.RandomState' or None"),
    ("verbose", "loud", "'verbose' .* range .0, inf"),
]


#: The default network of a small table, with nothing left to a default.
RESOLVED = {"network": "mlp", "widths": [64, 64], "activation": "relu", "normalization": "none"}


@pytest.mark.parametrize(("name", "value", "words"), WRONG, ids=[f"{name}={value}" for name, value, _ in WRONG])
def test_a_wrong_value_is_refused_by_name(name: str, value: Any, words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words) as caught:
        small(**{name: value}).fit(rows())
    given = next(iter(value)) if isinstance(value, dict) else value[1] if isinstance(value, tuple) else value
    assert repr(given) in str(caught.value) or name == "encoder"


def test_every_parameter_has_a_wrong_value_above() -> None:
    assert {name for name, _, _ in WRONG} == set(inspect.signature(VAE).parameters)


def test_every_parameter_is_in_the_table_and_is_described() -> None:
    names = set(inspect.signature(VAE).parameters)
    assert set(VAE._parameter_constraints) == names
    described = set(re.findall(r"^ {8}(\w+): ", VAE.__doc__.split("Attributes:")[0], re.MULTILINE))
    assert described == names


def test_the_error_is_also_the_one_of_scikit_learn() -> None:
    with pytest.raises(SklearnInvalidParameterError):
        small(beta=-1.0).fit(rows())
    with pytest.raises(ValueError, match="'beta'"):
        small(beta=-1.0).fit(rows())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"objective": "iwae", "beta": 2.0}, "objective 'iwae' has no beta; got beta=2.0"),
        ({"objective": "dreg", "free_bits": 0.1}, "objective 'dreg' has no free_bits; got free_bits=0.1"),
        (
            {"objective": "dip", "objective_options": {"versoin": "ii"}},
            "objective_options has 'versoin', which objective 'dip' does not know; it takes version, .* mean 'version'",
        ),
        (
            {"objective": "stl", "objective_options": {"capacity": 2.0}},
            "objective_options has 'capacity', which objective 'stl' does not know; it takes no options",
        ),
        (
            {"objective": "beta_tc", "objective_options": {"beta": 2.0}},
            "objective_options has 'beta', which is a parameter of its own. Use beta=2.0 beside objective='beta_tc'",
        ),
        ({"objective": "ciwae", "beta": 4.0}, r"beta must be a float in \[0, 1\]; got 4.0"),
        ({"n_importance": 5}, "objective 'elbo' draws one z per example; got n_importance=5"),
        ({"upsampling": "nearest"}, "upsampling='nearest' belongs to a convolutional decoder, .* 'mlp'"),
        ({"likelihood": "bernoulli"}, r"'bernoulli' needs values in \[0, 1\].* Use likelihood='gaussian'"),
        (
            {"likelihood": "discretized_logistic"},
            "'discretized_logistic' needs data on a grid .* these are real values",
        ),
        ({"likelihood": "categorical"}, "'categorical' needs data on a grid .* these are real values"),
        (
            {"likelihood": "gaussian", "likelihood_options": {"varianc": "feature"}},
            "likelihood_options has 'varianc', .* takes variance, stddev, min_stddev, bounded. Did you mean 'variance'",
        ),
        (
            {"likelihood": "gaussian", "likelihood_options": {"variance": "featur"}},
            "variance must be one of: .*; got 'featur'. Did you mean 'feature'",
        ),
        ({"kl_schedule": "constant", "kl_warm_up": 0.5}, "kl_schedule 'constant' has no warm-up .* kl_warm_up=0.5"),
        ({"kl_schedule": "cyclical", "kl_warm_up": 0.5}, "kl_schedule 'cyclical' has no warm-up .* kl_warm_up=0.5"),
        ({"patience": 3, "validation_fraction": 0}, "patience=3 needs a validation part"),
        (
            {"ex_post": "none", "ex_post_options": {"n_components": 3}},
            "ex_post='none' fits no prior .* ex_post_options={'n_components': 3}",
        ),
        ({"ex_post_options": {"n_components": 0}}, "n_components must be an integer of at least 1; got 0"),
        ({"ex_post_options": {"components": 3}}, "does not know; it takes n_components. Did you mean 'n_components'"),
        ({"ex_post": "flow", "ex_post_options": {"n_steps": 0}}, "n_steps must be an integer of at least 1; got 0"),
        ({"ex_post": "flow", "ex_post_options": {"transform": "afine"}}, "transform must be .* Did you mean 'affine'"),
        ({"ex_post": "flow_matching", "ex_post_options": {"n_layers": 2}}, "'n_layers', .* it takes n_steps, width"),
        ({"optimizer_options": {"betas": 3}}, "optimizer Adam refused its options"),
    ],
)
def test_a_setting_that_cannot_be_honoured_is_an_error(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        small(**settings).fit(rows())


@pytest.mark.parametrize("values", [pixels(N, 8, 8), pixels(N, 8, 8) / np.float32(256) + np.float32(1e-3)])
def test_a_bernoulli_on_grey_pixels_warns_that_it_is_no_likelihood(values: np.ndarray) -> None:
    with pytest.warns(LikelihoodWarning, match="no likelihood of the data.*discretized_logistic"):
        vae = small(likelihood="bernoulli").fit(values)
    assert vae.specification_.likelihood == "bernoulli"


def test_a_likelihood_that_fits_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small(likelihood="bernoulli").fit(pixels(N, 8, 8) > 128)
        small(likelihood="discretized_logistic", likelihood_options={"n_components": 2}).fit(pixels(N, 8, 8))
        small(likelihood="categorical").fit(pixels(N, 4, 4) % 5)
        small(likelihood="gaussian").fit(pixels(N, 8, 8))
        for variance in ("shared", "feature", "fixed", "network"):
            small(likelihood="gaussian", likelihood_options={"variance": variance}).fit(rows())


def test_parameters_are_stored_untouched_and_fit_does_not_change_them() -> None:
    options = {"betas": (0.9, 0.99)}
    vae = small(optimizer_options=options, encoder=[8, 8])
    before = dict(vae.get_params())
    vae.fit(rows())
    assert vae.get_params() == before
    assert vae.optimizer_options is options
    assert options == {"betas": (0.9, 0.99)}


def test_what_is_auto_is_resolved_from_the_data() -> None:
    vae = VAE(max_epochs=1, random_state=0).fit(rows())
    assert vae.latent_dim_ == 2
    assert vae.specification_.encoder == RESOLVED
    assert default_latent_dim((1, 8, 8)) == 16
    assert default_latent_dim((40,)) == 16
    assert default_batch_size(3, (4,)) == 3
    assert default_batch_size(10**6, (3, 256, 256)) * 3 * 256 * 256 <= 1 << 22
    assert 32 <= 2_000 / default_batch_size(2_000, (1, 28, 20)) <= 64  # steps of an epoch over a few images
    assert default_batch_size(2_000, (784,)) == 128


def test_many_rows_of_mixed_kinds_go_at_another_pace_and_private_training_at_its_own() -> None:
    few, many = (default_pace(n, kind="table") for n in (MANY_ROWS - 1, MANY_ROWS))
    assert default_pace(MANY_ROWS, kind="rows") == Pace(1e-3, 0.0, 256)
    assert few == Pace(1e-3, 0.998, 256)
    assert many == Pace(3e-3, 0.999, 512)
    assert default_pace(MANY_ROWS, kind="table", is_private=True) == Pace(1e-2, 0.99, 256)
    assert default_batch_size(MANY_ROWS, (15,), most_rows=many.most_rows) == 512
    assert default_batch_size(MANY_ROWS, (15,)) == 256


@pytest.mark.parametrize(
    ("asked", "rate", "averaging"),
    [({}, 1e-3, 0.998), ({"epsilon": 8.0}, 1e-2, 0.99), ({"learning_rate": 0.5, "weight_averaging": 0.1}, 0.5, 0.1)],
)
def test_the_plan_of_training_takes_what_is_asked_or_the_pace_of_the_data(
    asked: dict[str, Any], rate: float, averaging: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[Any] = []
    plan = VAE._plan
    monkeypatch.setattr(VAE, "_plan", lambda self, *given: plans.append(plan(self, *given)) or plans[-1])
    table = pd.DataFrame({"a": list("xyxyxyxyxy"), "b": range(10)})
    VAE(latent_dim=2, encoder=(8,), decoder=(8,), max_epochs=1, **asked).fit(table)
    assert (plans[0].learning_rate, plans[0].averaging) == (rate, averaging)
    assert default_epochs(10) == 1000
    assert default_epochs(10**6) == 20


def test_iwae_takes_five_draws_unless_told_otherwise() -> None:
    few, many = small(objective="iwae").fit(rows()), small(objective="iwae", n_importance=20).fit(rows())
    assert few.history_[0]["objective"] != many.history_[0]["objective"]
    same = small(objective="iwae", n_importance=5).fit(rows())
    assert few.history_[0]["objective"] == same.history_[0]["objective"]


def test_fit_counts_its_epochs_and_stops_for_a_reason() -> None:
    vae = small(max_epochs=3).fit(rows(100))
    assert vae.n_iter_ == len(vae.history_) == 3
    assert vae.stopped_ == "epochs"
    assert 1 <= vae.best_epoch_ <= 3
    assert vae.history_[0]["validation"] is not None
    assert small(validation_fraction=0).fit(rows(100)).history_[0]["validation"] is None
    early = small(max_epochs=200, patience=2, learning_rate=0.1).fit(rows(100))
    assert early.stopped_ == "patience"
    assert early.n_iter_ < 200
