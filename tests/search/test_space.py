"""What is searched: bounds that hold the defaults, settings that an estimator takes, and refusals."""

from __future__ import annotations

import pytest
from sklearn.base import clone

from latentkit import VAE, VQVAE, Autoencoder, HierarchicalVAE
from latentkit.core.errors import InvalidParameterError
from latentkit.data import learn_schema, read
from latentkit.search.space import (
    Choice,
    Range,
    completed_space,
    dimension_from_dict,
    grid_values,
    recognise_space,
    settings_of,
)


def learnt(estimator, data):
    estimator.schema_ = learn_schema(data)
    return estimator


DIGITS, WINE = read("digits").data, read("wine").data


@pytest.mark.parametrize(
    ("kind", "goal"),
    [
        *((VAE, goal) for goal in ("nll", "samples", "detect")),
        (Autoencoder, "impute"),
        (HierarchicalVAE, "compress"),
        (VQVAE, "nll"),
    ],
)
@pytest.mark.parametrize("data", [DIGITS, WINE], ids=["images", "rows"])
def test_the_defaults_lie_inside_and_every_point_is_a_setting(kind, data, goal):
    estimator = learnt(kind(), data)
    space, start = recognise_space(estimator, 150, goal)
    assert "learning_rate" in space
    assert set(start) == set(space)
    for name, dimension in space.items():
        assert start[name] in dimension, name
        for value in grid_values(dimension):
            clone(estimator).set_params(**settings_of(estimator, 150, {name: value}))


def test_a_latent_size_is_searched_around_the_default():
    space, start = recognise_space(learnt(VAE(), DIGITS), 1000, "nll")
    assert start["latent_dim"] == 16
    assert space["latent_dim"] == Range(2, 64, log=True, is_integer=True)


def test_what_is_set_stays():
    estimator = learnt(VAE(latent_dim=3, encoder=(8,), learning_rate=0.01, prior="vamp"), WINE)
    space, _ = recognise_space(estimator, 100, "nll")
    assert not {"latent_dim", "width", "depth", "learning_rate", "prior"} & set(space)


def test_bits_are_not_free_where_priors_are_tried():
    space, _ = recognise_space(learnt(VAE(), WINE), 100, "nll")
    assert "prior" in space
    assert "free_bits" not in space


def test_the_kl_term_is_weighed_where_the_bound_is_not_the_goal():
    assert "beta" in recognise_space(learnt(VAE(), WINE), 100, "detect")[0]
    assert "beta" not in recognise_space(learnt(VAE(), WINE), 100, "nll")[0]


def test_width_and_depth_size_both_networks():
    estimator = learnt(VAE(), WINE)
    settings = settings_of(estimator, 100, {"width": 48, "depth": 3})
    assert settings == {"encoder": (48, 48, 48), "decoder": (48, 48, 48)}
    images = settings_of(learnt(VAE(), DIGITS), 1500, {"width": 16})
    assert images == {"encoder": ("conv", 16), "decoder": ("conv", 16)}


def test_options_inside_a_parameter_keep_the_others():
    estimator = learnt(VAE(likelihood="gaussian", likelihood_options={"min_stddev": 0.1}), WINE)
    settings = settings_of(estimator, 100, {"likelihood_options.variance": "feature"})
    assert settings == {"likelihood_options": {"min_stddev": 0.1, "variance": "feature"}}
    assert settings_of(learnt(VAE(), WINE), 100, {"likelihood_options.variance": "feature"})["likelihood"] == "gaussian"


SPACE = {"latent_dim": Range(2, 64, log=True, is_integer=True), "width": Range(8, 64, is_integer=True)}
KNOWN = ["latent_dim", "encoder", "decoder", "prior", "beta"]


def completed(asked, **options):
    return completed_space(SPACE, asked, **{"only": False, "known": KNOWN, **options})


def test_what_is_asked_for_takes_the_place_of_what_is_recognised():
    space = completed({"latent_dim": (4, 8), "prior": ["normal", "vamp"], "beta": (0.1, 10.0)})
    assert space["latent_dim"] == Range(4, 8, log=True, is_integer=True)
    assert space["prior"] == Choice(("normal", "vamp"))
    assert space["beta"] == Range(0.1, 10.0, log=True)
    assert "width" in space


def test_own_networks_take_the_place_of_their_sizes():
    assert "width" not in completed({"encoder": [(8,), (16,)]})


def test_nothing_else_is_searched_with_only():
    assert list(completed({"latent_dim": None}, only=True)) == ["latent_dim"]


@pytest.mark.parametrize(
    ("asked", "options", "message"),
    [
        ({"latent_dims": (1, 2)}, {}, "no setting 'latent_dims'. Did you mean 'latent_dim'"),
        ({}, {"only": True}, "there is nothing to search"),
        ({"latent_dim": (2, 8)}, {"fixed": ["latent_dim"]}, "set to one value and searched"),
        ({"prior": None}, {}, "nothing is recognised for prior"),
        ({"latent_dim": (8, 2)}, {}, "a range goes from a number to a larger one"),
        ({"latent_dim": [4]}, {}, "a choice is between two values or more"),
        ({"latent_dim": "many"}, {}, "takes a pair of numbers"),
        ({"depth": None}, {}, "depth sizes encoder and decoder where both are 'auto'"),
        ({"beta": Range(0.5, 1.0)}, {"fixed": ["beta"]}, "Leave one of them out"),
    ],
)
def test_what_cannot_be_searched_is_refused(asked, options, message):
    with pytest.raises(InvalidParameterError, match=message):
        completed(asked, **options)


def test_a_logarithm_needs_positive_numbers():
    with pytest.raises(InvalidParameterError, match="lies above 0"):
        Range(0.0, 1.0, log=True)


@pytest.mark.parametrize("dimension", [Range(1, 9, is_integer=True, step=2), Range(0.1, 2.0), Choice(("a", (1, 2)))])
def test_dimensions_come_back_from_json(dimension):
    assert dimension_from_dict(dimension.to_dict()) == dimension


def test_a_grid_keeps_to_the_steps():
    assert grid_values(Range(8, 48, is_integer=True, step=8)) == [8, 16, 24, 40, 48]
    assert all(value in Range(0.1, 0.3) for value in grid_values(Range(0.1, 0.3)))


@pytest.mark.parametrize(
    ("dimension", "first", "last"),
    [
        (Range(1e-4, 1e-2, log=True), 1e-4, 1e-2),
        (Range(-1.0, 3.0), -1.0, 3.0),
        (Range(2, 65, log=True, is_integer=True), 2, 65),
        (Range(8, 50, is_integer=True, step=8), 8, 48),
        (Choice((3, 1, 2)), 3, 2),
        (Choice(("a", (1, 2))), "a", (1, 2)),
    ],
)
def test_places_and_values_stand_for_each_other(dimension, first, last):
    values = [dimension.at(i / 100) for i in range(101)]
    assert all(value in dimension for value in values)
    assert [dimension.at(dimension.place(value)) for value in values] == [pytest.approx(value) for value in values]
    assert [values[0], values[-1]] == [pytest.approx(first), pytest.approx(last)]


@pytest.mark.parametrize(("values", "is_ordered"), [((64, 0.5), True), ((False, True), False), ((1, "normal"), False)])
def test_numbers_are_in_an_order(values, is_ordered):
    assert Choice(values).is_ordered == is_ordered
