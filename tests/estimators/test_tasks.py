"""Every task gives back the form, dtype, range and number of what fit took, whatever that was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from latentkit import VAE
from latentkit.core.errors import DataError, InvalidParameterError, UnsupportedOperationError
from latentkit.data import read
from tests.estimators.cases import LATENT_DIM, N, array, classes, first, pandas_frame, rows, small
from tests.estimators.conftest import Fitted


def in_memory(fitted: Fitted) -> Any:
    """The data as an object: what a path holds, and a list as an array."""
    if fitted.case.is_path:
        return read(fitted.X).data
    return np.asarray(fitted.X) if isinstance(fitted.X, list) else fitted.X


def assert_form(result: Any, like: Any, n: int) -> None:
    assert type(result) is type(like)
    assert tuple(result.shape) == (n, *like.shape[1:])
    if isinstance(like, (np.ndarray, torch.Tensor)):
        assert result.dtype == like.dtype
    elif isinstance(like, (pd.DataFrame, pl.DataFrame)):
        assert list(result.columns) == list(like.columns)
        assert list(result.dtypes) == list(like.dtypes)
    else:
        assert result.schema.names == like.schema.names
        assert result.schema.types == like.schema.types
    values = array(result).astype(float)
    assert np.isfinite(values).all()
    if not isinstance(like, (np.ndarray, torch.Tensor)) or like.ndim == 2:
        return
    assert values.min() >= 0
    assert values.max() <= (255 if str(like.dtype).endswith("uint8") else 1)


def test_the_likelihood_is_the_one_for_the_kind_of_data(fitted: Fitted) -> None:
    assert fitted.vae.specification_.likelihood == fitted.case.likelihood


def test_latent_vectors_are_one_row_each_in_the_precision_of_the_data(fitted: Fitted) -> None:
    Z = fitted.vae.transform(fitted.X)
    assert Z.shape == (N, LATENT_DIM)
    is_double = fitted.case.name in {"float64", "list", "csv", "binary-rows"}
    assert Z.dtype == (np.float64 if is_double else np.float32)
    assert np.isfinite(Z).all()
    distinct = len(np.unique(array(in_memory(fitted)).reshape(N, -1).astype(float), axis=0))
    assert len(np.unique(Z, axis=0)) == distinct


def test_inverse_transform_of_transform_is_reconstruct(fitted: Fitted) -> None:
    reconstruction = fitted.vae.reconstruct(fitted.X)
    assert_form(reconstruction, in_memory(fitted), N)
    decoded = fitted.vae.inverse_transform(fitted.vae.transform(fitted.X))
    np.testing.assert_array_equal(array(decoded), array(reconstruction))


def test_samples_are_exactly_n_in_the_form_of_the_data(fitted: Fitted) -> None:
    like = in_memory(fitted)
    for n in (1, 7):
        assert_form(fitted.vae.sample(n, random_state=1), like, n)
    for draw in ("mean", "sample"):
        assert_form(fitted.vae.sample(5, draw=draw, random_state=1), like, 5)
    assert_form(fitted.vae.sample(4, prior="model", temperature=0.5, random_state=1), like, 4)


def test_scores_are_one_finite_number_each(fitted: Fitted) -> None:
    scores = fitted.vae.score_samples(fitted.X, n_importance=5)
    assert scores.shape == (N,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    assert fitted.vae.score(fitted.X, n_importance=5) == pytest.approx(scores.mean())
    estimate = fitted.vae.log_likelihood(fitted.X, n_importance=5)
    assert estimate.n_importance == 5
    assert bool((estimate.effective_sample_size >= 1).all() & (estimate.effective_sample_size <= 5).all())


def test_an_interpolation_ends_in_the_reconstructions_of_its_ends(fitted: Fitted) -> None:
    like = in_memory(fitted)
    a = like[0:1]
    b = like[1:2]
    ends = array(fitted.vae.reconstruct(first(like, 2))).astype(float)
    for path in ("spherical", "linear"):
        way = fitted.vae.interpolate(a, b, steps=4, path=path)
        assert_form(way, like, 4)
        scale = np.abs(ends).max() * 1e-4 + (1 if array(like).dtype.kind in "iub" else 0)
        np.testing.assert_allclose(array(way)[[0, -1]].astype(float), ends, atol=scale)


def test_one_example_may_come_without_the_axis_of_examples(fitted: Fitted) -> None:
    like = in_memory(fitted)
    if isinstance(like, pd.DataFrame):
        a, b = like.iloc[0], like.iloc[1]
    elif isinstance(like, (np.ndarray, torch.Tensor)):
        a, b = like[0], like[1]
    else:  # a slice of a table is a table
        a, b = like[0:1].to_pandas().iloc[0], like[1:2].to_pandas().iloc[0]
    alone, in_batch = fitted.vae.interpolate(a, b), fitted.vae.interpolate(like[0:1], like[1:2])
    np.testing.assert_allclose(array(alone).astype(float), array(in_batch).astype(float), rtol=1e-6)


def test_a_traversal_changes_one_dimension_only(fitted: Fitted) -> None:
    like = in_memory(fitted)
    assert_form(fitted.vae.traverse(dim=0, steps=5), like, 5)
    z = fitted.vae.transform(like[0:1])
    walk = fitted.vae.traverse(like[0:1], dim=2, values=[-2.0, float(z[0, 2]), 2.0])
    assert_form(walk, like, 3)
    expected = np.repeat(z, 3, axis=0)
    expected[[0, 2], 2] = [-2.0, 2.0]
    tolerance = 1e-4 * np.abs(array(walk).astype(float)).max() + (1 if array(like).dtype.kind in "iub" else 0)
    decoded = array(fitted.vae.inverse_transform(expected)).astype(float)
    np.testing.assert_allclose(array(walk).astype(float), decoded, atol=tolerance)


def test_edits_keep_the_form(fitted: Fitted) -> None:
    like = in_memory(fitted)
    direction = fitted.vae.attribute_direction(fitted.X, np.arange(N) % 2)
    assert direction.kind == "binary"
    assert_form(fitted.vae.edit(fitted.X, direction, strength=2.0), like, N)
    unmoved = fitted.vae.edit(fitted.X, np.ones(LATENT_DIM), strength=0.0)
    np.testing.assert_array_equal(array(unmoved), array(fitted.vae.reconstruct(fitted.X)))


def test_without_holes_recover_is_reconstruct(fitted: Fitted) -> None:
    clean = fitted.vae.recover(fitted.X)
    assert_form(clean, in_memory(fitted), N)
    np.testing.assert_array_equal(array(clean), array(fitted.vae.reconstruct(fitted.X)))


# What the tasks mean


def test_samples_of_a_class_look_like_the_class(labelled: VAE) -> None:
    assert labelled.classes_ == ("cat", "dog")
    cats, dogs = (labelled.sample(200, label=label, random_state=1)[:, 0] for label in labelled.classes_)
    assert (cats < 0).mean() > 0.8
    assert (dogs > 0).mean() > 0.8


def test_the_mixture_is_sampled_by_default(labelled: VAE) -> None:
    by_default = labelled.sample(5, random_state=1)
    np.testing.assert_array_equal(by_default, labelled.sample(5, prior="mixture", random_state=1))
    assert not np.array_equal(by_default, labelled.sample(5, prior="model", random_state=1))


def test_the_likelihood_can_be_measured_under_the_mixture(labelled: VAE) -> None:
    X = rows(300)
    under = {prior: labelled.log_likelihood(X, prior=prior).log_likelihood for prior in ("model", "mixture")}
    assert torch.isfinite(under["mixture"]).all()
    assert under["mixture"].mean() > under["model"].mean()  # it was fitted to where these data are


def test_temperature_0_gives_the_centre(labelled: VAE) -> None:
    X = labelled.sample(6, prior="model", draw="mean", temperature=0.0, random_state=1)
    centre = labelled.inverse_transform(np.zeros((1, LATENT_DIM)))
    np.testing.assert_allclose(X, np.repeat(centre, 6, axis=0), rtol=1e-4)
    spread = [
        labelled.sample(300, prior="model", draw="mean", temperature=t, random_state=1).std(0) for t in (0.5, 1.0)
    ]
    assert (spread[0] < spread[1]).all()


def test_more_samples_than_a_batch_are_still_exactly_n(labelled: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VAE, "_batch_size", property(lambda self: 16))
    whole = labelled.sample(50, draw="mean", random_state=1)
    assert whole.shape == (50, 5)
    assert len(np.unique(whole, axis=0)) == 50


def test_results_do_not_depend_on_the_batch_size(labelled: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    X = rows(50)
    tasks = (
        labelled.transform,
        labelled.reconstruct,
        labelled.score_samples,
        lambda X: labelled.inverse_transform(labelled.transform(X)),
        lambda X: labelled.sample(len(X), draw="mean", random_state=0),
    )
    whole = [task(X) for task in tasks]
    monkeypatch.setattr(VAE, "_batch_size", property(lambda self: 7))
    for task, expected in zip(tasks, whole, strict=True):
        np.testing.assert_allclose(task(X), expected, rtol=1e-5)


def test_an_edit_along_an_attribute_moves_the_attribute(labelled: VAE) -> None:
    X, y = rows(300), classes(300)
    direction = labelled.attribute_direction(X, y)
    assert direction.score > 0.9
    more = labelled.edit(X, direction, strength=2.0)[:, 0]
    less = labelled.edit(X, direction, strength=-2.0)[:, 0]
    assert (more > labelled.reconstruct(X)[:, 0]).mean() > 0.95
    assert (less < labelled.reconstruct(X)[:, 0]).mean() > 0.95


def test_the_strength_along_an_attribute_is_in_spreads(labelled: VAE) -> None:
    X = rows(50)
    direction = labelled.attribute_direction(X, X[:, 0])
    z = labelled.transform(X)
    assert direction.spread == pytest.approx((z @ direction.direction.numpy()).std(), rel=1e-6)
    step = 1.5 * direction.spread * direction.direction.numpy()
    moved = labelled.edit(X, direction, strength=1.5)
    np.testing.assert_allclose(moved, labelled.inverse_transform(z + step), rtol=1e-6)


def test_the_strength_of_a_vector_of_your_own_is_a_length(labelled: VAE) -> None:
    X = rows(10)
    z = labelled.transform(X)
    moved = labelled.edit(X, np.array([0.0, 5.0, 0.0]), strength=1.5)
    np.testing.assert_allclose(moved, labelled.inverse_transform(z + [0.0, 1.5, 0.0]), rtol=1e-6)


def test_numbers_and_texts_are_attributes(labelled: VAE) -> None:
    X = rows(100)
    assert labelled.attribute_direction(X, X[:, 1]).kind == "numeric"
    texts = labelled.attribute_direction(X, classes(100))
    codes = labelled.attribute_direction(X, classes(100) == "dog")
    assert torch.equal(texts.direction, codes.direction)
    assert labelled.attribute_direction(X, pd.Series(classes(100))).kind == "binary"


def test_tasks_do_not_mind_the_output_format_of_transform() -> None:
    X = rows()
    plain, framed = small().fit(X), small().set_output(transform="pandas").fit(X)
    assert list(framed.transform(X).columns) == ["vae0", "vae1", "vae2"]
    direction = framed.attribute_direction(X, X[:, 0])
    for task in (
        lambda vae: vae.interpolate(X[0], X[1]),
        lambda vae: vae.traverse(X[0], dim=0),
        lambda vae: vae.edit(X, direction),
        lambda vae: vae.inverse_transform(vae.transform(X)),
    ):
        np.testing.assert_array_equal(task(framed), task(plain))


def test_a_model_of_a_file_takes_frames_with_its_columns_in_any_order(tmp_path) -> None:
    frame = pandas_frame().drop(columns="flag")
    frame.to_csv(tmp_path / "table.csv", index=False)
    vae = small().fit(tmp_path / "table.csv")
    expected = vae.transform(tmp_path / "table.csv")
    np.testing.assert_allclose(vae.transform(frame), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(vae.transform(frame[["small", "age", "height"]]), expected, rtol=1e-4, atol=1e-5)


def test_labels_do_not_change_the_training() -> None:
    X = rows()
    np.testing.assert_array_equal(small().fit(X).transform(X), small().fit(X, classes()).transform(X))


def test_a_target_of_numbers_is_no_class() -> None:
    assert small().fit(rows(), rows()[:, 0]).classes_ == ()


def test_labels_beside_the_data_are_replaced_by_those_given(tmp_path) -> None:
    np.savez(tmp_path / "d.npz", x_train=rows(), y_train=np.arange(N) % 4)
    assert small().fit(tmp_path / "d.npz").classes_ == ("0", "1", "2", "3")
    assert small().fit(tmp_path / "d.npz", classes()).classes_ == ("cat", "dog")
    assert len(small().fit(tmp_path / "d.npz").sample(3, label=2)) == 3


@pytest.mark.parametrize("posterior", ["diagonal", "full"])
@pytest.mark.parametrize("objective", ["elbo", "iwae", "dreg", "stl"])
def test_every_posterior_goes_with_every_objective(posterior: str, objective: str) -> None:
    vae = small(posterior=posterior, objective=objective).fit(rows())
    assert np.isfinite(vae.score(rows()))
    assert vae.sample(2).shape == (2, 5)
    assert vae.recover(rows(4), np.eye(4, 5, dtype=bool), n_draws=2, n_steps=2).shape == (4, 5)


def test_default_networks_of_images_are_convolutions_and_do_every_task() -> None:
    X = np.random.default_rng(0).integers(0, 256, size=(20, 9, 8, 3), dtype=np.uint8)
    vae = VAE(max_epochs=1, random_state=0).fit(X)
    assert vae.specification_.encoder["network"] == vae.specification_.decoder["network"] == "conv"
    mask = np.ones(X.shape, bool)
    mask[:, :4] = False
    for result in (vae.sample(2), vae.reconstruct(X[:2]), vae.recover(X[:2], mask[:2], n_draws=2, n_steps=2)):
        assert result.shape == (2, 9, 8, 3)
        assert result.dtype == np.uint8


def test_a_list_of_images_is_an_array_of_images() -> None:
    X = np.random.default_rng(0).integers(0, 256, size=(12, 8, 8), dtype=np.uint8)
    vae = small().fit(list(X))
    assert vae.n_features_in_ == 64
    np.testing.assert_array_equal(vae.transform(list(X)), small().fit(X).transform(X))


def test_fitting_again_forgets_the_first_data() -> None:
    vae = small().fit(pandas_frame(), classes())
    assert list(vae.feature_names_in_) == ["age", "height", "small", "flag"]
    vae.fit(np.random.default_rng(0).integers(0, 256, size=(12, 8, 8), dtype=np.uint8))
    assert not hasattr(vae, "feature_names_in_")
    assert vae.n_features_in_ == 64
    assert vae.classes_ == ()
    assert vae.class_priors_ == []


# What a task refuses


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda v: v.sample(0), InvalidParameterError, "n must be an integer of at least 1; got 0"),
        (lambda v: v.sample(2.5), InvalidParameterError, "n must be an integer"),
        (lambda v: v.sample(2, temperature=-1.0), InvalidParameterError, "temperature must be a float"),
        (lambda v: v.sample(2, draw="meen"), InvalidParameterError, "draw .* Did you mean 'mean'"),
        (lambda v: v.sample(2, prior="mixtur"), InvalidParameterError, "prior .* Did you mean 'mixture'"),
        (
            lambda v: v.sample(2, label="dogg"),
            InvalidParameterError,
            "label .* cat, dog; got 'dogg'. Did you mean 'dog'",
        ),
        (lambda v: v.sample(2, label="dog", prior="model"), InvalidParameterError, "prior='model' has no classes"),
        (lambda v: v.sample(2, random_state="x"), InvalidParameterError, "random_state must be .* got 'x'"),
        (lambda v: v.sample(2, random_state=-1), InvalidParameterError, "random_state .* at least 0; got -1"),
        (lambda v: v.score(rows(3), n_importance=0), InvalidParameterError, "n_importance .* at least 1; got 0"),
        (lambda v: v.interpolate(rows()[0], rows()[1], steps=1), InvalidParameterError, "steps .* at least 2; got 1"),
        (
            lambda v: v.interpolate(rows()[0], rows()[1], temperature=0.5),
            InvalidParameterError,
            "temperature=0.5 is for texts, and this model was fitted to rows",
        ),
        (
            lambda v: v.interpolate(rows()[0], rows()[1], path="line"),
            InvalidParameterError,
            "path .* Did you mean 'linear",
        ),
        (
            lambda v: v.interpolate(rows(2), rows()[1]),
            DataError,
            r"one example of shape \(5,\) is wanted; got shape \(2, 5\)",
        ),
        (lambda v: v.traverse(dim=3), InvalidParameterError, "dim must be an integer from 0 to 2; got 3"),
        (lambda v: v.traverse(dim=-1), InvalidParameterError, "dim must be an integer from 0 to 2; got -1"),
        (lambda v: v.traverse(dim=0, steps=0), InvalidParameterError, "steps .* at least 1; got 0"),
        (lambda v: v.traverse(dim=0, span="wide"), InvalidParameterError, "span must be a float .* got 'wide'"),
        (lambda v: v.traverse(dim=0, values=[]), InvalidParameterError, "values must be .* at least 1 number"),
        (lambda v: v.traverse(dim=0, values=["x"]), InvalidParameterError, "values must be a float .* got 'x'"),
        (
            lambda v: v.edit(rows(), np.ones(2)),
            InvalidParameterError,
            r"direction must have .* shape \(3,\); got shape \(2,\)",
        ),
        (lambda v: v.edit(rows(), np.zeros(3)), InvalidParameterError, "direction must be finite and have a length"),
        (lambda v: v.edit(rows(), np.ones(3), strength="much"), InvalidParameterError, "strength must be a float"),
        (lambda v: v.attribute_direction(rows(), np.ones(N)), InvalidParameterError, "the attribute is 1 in every row"),
        (lambda v: v.attribute_direction(rows(), np.ones(3)), InvalidParameterError, r"y shape \(n,\); got .* \(3,\)"),
        (
            lambda v: v.attribute_direction(rows(6), list("abcabc")),
            InvalidParameterError,
            "two classes; got 3 of them. Choose one against the rest, as in y == 'a'",
        ),
        (lambda v: v.inverse_transform(np.ones((2, 4))), DataError, r"shape \(n, 3\); got shape \(2, 4\)"),
        (lambda v: v.inverse_transform([["a", "b", "c"]]), DataError, "latent vectors must be numbers"),
        (lambda v: v.inverse_transform([[0, 0, 0], [0, np.nan, 0]]), DataError, "must be finite; row 1"),
    ],
)
def test_a_wrong_request_is_refused_by_name(labelled: VAE, call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(labelled)


def test_a_frame_of_several_rows_is_not_one_example() -> None:
    frame = pandas_frame()
    vae = small().fit(frame)
    with pytest.raises(DataError, match="one example is wanted; got 2. Choose a row"):
        vae.interpolate(frame.iloc[:2], frame.iloc[2:3])


def test_without_labels_or_a_mixture_there_are_no_classes_and_no_mixture() -> None:
    with pytest.raises(UnsupportedOperationError, match="fitted without labels, or with ex_post='none'"):
        small().fit(rows()).sample(2, label="dog")
    vae = small(ex_post="none").fit(rows(), classes())
    with pytest.raises(UnsupportedOperationError, match="cannot sample by class"):
        vae.sample(2, label="dog")
    with pytest.raises(InvalidParameterError, match="ex_post='none', and has no mixture. Use prior='model', or fit"):
        vae.sample(2, prior="mixture")
    with pytest.raises(InvalidParameterError, match="has no mixture"):
        vae.log_likelihood(rows(), prior="mixture")
    assert vae.ex_post_prior_ is None
    np.testing.assert_array_equal(vae.sample(3), vae.sample(3, prior="model"))


@pytest.mark.parametrize(
    "task",
    [
        lambda v: v.transform(rows()),
        lambda v: v.inverse_transform(np.ones((1, 2))),
        lambda v: v.reconstruct(rows()),
        lambda v: v.score(rows()),
        lambda v: v.sample(1),
        lambda v: v.interpolate(rows()[0], rows()[1]),
        lambda v: v.traverse(dim=0),
        lambda v: v.attribute_direction(rows(), classes()),
        lambda v: v.edit(rows(), np.ones(2)),
        lambda v: v.recover(rows()),
        lambda v: v.save("nowhere"),
    ],
)
def test_nothing_works_before_fit(task: Any) -> None:
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError, match="not fitted yet"):
        task(small())


def test_a_citation_names_what_was_used() -> None:
    vae = small(objective="dreg", likelihood="gaussian").fit(rows())
    text = vae.citation()
    for key in ("kingma2014auto", "rybkin2021simple", "tucker2019doubly", "ghosh2020variational", "latentkit"):
        assert f"{{{key}," in text
    assert "sohn2015learning" not in text
    assert "sohn2015learning" in small(ex_post="none").fit(rows(), condition=rows()[:, 0] > 0).citation()
