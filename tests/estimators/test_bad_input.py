"""Bad data get a named error that says what and where, before anything is trained."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from latentkit import VAE, Autoencoder
from latentkit.core.errors import DataError, InvalidParameterError, LatentkitError, SchemaMismatchError
from tests.estimators.cases import N, classes, pixels, rows, small


def with_value(value: float) -> np.ndarray:
    X = rows()
    X[7, 2] = value
    return X


def text_rows() -> np.ndarray:
    X = rows().astype(object)
    X[4, 1] = "tall"
    return X


NAMES = list("abcde")
BAD: list[tuple[str, Any, str]] = [
    ("nan", with_value(np.nan), "1 NaN .* at row 7, column 2"),
    ("infinity", with_value(-np.inf), "1 infinity .* at row 7, column 2"),
    ("nan in polars", pl.DataFrame(with_value(np.nan), schema=NAMES), r"row 7, column 2 \('c'\)"),
    ("nan in torch", torch.from_numpy(with_value(np.nan)), "row 7, column 2"),
    ("nan in a list", with_value(np.nan).tolist(), "row 7, column 2"),
    (
        "nan in images",
        np.where(np.arange(N * 64).reshape(N, 8, 8) == 100, np.nan, 0.5),
        r"image 1, element \[4, 4\]",
    ),
    ("one row", rows(1), "1 sample"),
    ("one row of torch", torch.ones(1, 5), "at least 2 examples"),
    ("one image", pixels(1, 8, 8), "at least 2 examples"),
    ("no rows", rows(0), "0 sample"),
    ("no rows of torch", torch.ones(0, 5), "0 sample"),
    ("no images", np.ones((0, 8, 8)), "0 sample"),
    ("no columns", np.ones((5, 0)), "0 feature"),
    ("one dimension", np.ones(5), "Reshape your data"),
    ("five dimensions", np.ones((5, 2, 2, 2, 2)), "2 dimensions"),
    ("text", text_rows(), "row 4, column 1 .* holds 'tall'"),
    ("text in a list", [["1", "a"], ["2", "b"]], "row 0, column 1 .* 'a'"),
    ("complex", np.ones((5, 2), complex), "Complex data not supported"),
    ("ragged images", [np.zeros((8, 8)), np.zeros((8, 9))], "example 1 has"),
    ("no such file", "/nowhere/photos", "/nowhere/photos"),
]


@pytest.mark.parametrize(("X", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_data_are_refused_by_name(X: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        small().fit(X)


#: What is a table of mixed kinds for the one family that takes them.
MIXED: list[tuple[str, Any, str]] = [
    ("nan in pandas", pd.DataFrame(with_value(np.nan), columns=NAMES), r"row 7, column 2 \('c'\)"),
    (
        "text in a frame",
        pd.DataFrame({"a": [1, 2], "city": ["Bern", "Oslo"]}),
        r"column 1 \('city'\) holds text: row 0",
    ),
]


@pytest.mark.parametrize(("X", "words"), [case[1:] for case in MIXED], ids=[case[0] for case in MIXED])
def test_frames_of_mixed_kinds_are_refused_by_name_where_numbers_are_needed(X: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Autoencoder(max_epochs=1).fit(X)
    assert small(max_epochs=1).fit(X).schema_.kind == "table"


@pytest.mark.parametrize("y", [np.ones(3), np.ones((3, 2)), np.array(1.0), classes(N + 1)])
def test_labels_of_a_wrong_length_are_refused(y: np.ndarray) -> None:
    with pytest.raises(DataError, match=f"y must have one label per example: X has {N}, y has shape"):
        small().fit(rows(), y)


SHAPES: list[tuple[str, Any, Any, str]] = [
    ("columns", rows(), rows()[:, :4], "4 features, but VAE is expecting 5 features"),
    ("columns of torch", torch.from_numpy(rows()), torch.ones(3, 4), r"expected data of shape \(n, 5\), got \(3, 4\)"),
    ("image size", pixels(N, 8, 8), pixels(3, 9, 8), r"expected data of shape \(n, 8, 8\), got \(3, 9, 8\)"),
    ("channels", pixels(N, 8, 8, 3), pixels(3, 8, 8), r"expected data of shape \(n, 8, 8, 3\), got \(3, 8, 8\)"),
    ("rows for images", pixels(N, 8, 8), pixels(3, 64), r"reshape\(len\(X\), 8, 8\)"),
    ("one image alone", pixels(N, 8, 8), pixels(8, 8), r"x\[None\]|\(n, 8, 8\)"),
    ("images for rows", rows(), pixels(3, 8, 8), r"expected data of shape \(n, 5\), got \(3, 8, 8\)"),
    ("no rows", rows(), rows(0), "0 sample"),
    ("bytes for 0/1", (rows() > 0) * 1, np.full((3, 5), 200), "row 0, column 0"),
    (
        "a renamed column",
        pd.DataFrame(rows(), columns=NAMES),
        pd.DataFrame(rows(), columns=list("abcdx")),
        "(?s)feature names should match.*x",
    ),
    (
        "a column less",
        pl.DataFrame(rows(), schema=NAMES),
        pl.DataFrame(rows()[:, :4], schema=NAMES[:4]),
        "(?s)missing.*e",
    ),
]


@pytest.mark.parametrize(("X", "other", "words"), [case[1:] for case in SHAPES], ids=[case[0] for case in SHAPES])
def test_other_data_than_those_of_fit_are_refused_with_both_shapes(X: Any, other: Any, words: str) -> None:
    vae = small(max_epochs=1, ex_post="none").fit(X)
    for task in (vae.transform, vae.reconstruct, vae.score_samples, vae.recover):
        with pytest.raises(SchemaMismatchError if len(other) else DataError, match=words):
            task(other)


@pytest.mark.parametrize("task", ["transform", "reconstruct", "score_samples"])
def test_nan_and_text_are_named_at_use_too(labelled: VAE, task: str) -> None:
    with pytest.raises(DataError, match="row 7, column 2"):
        getattr(labelled, task)(with_value(np.nan))
    with pytest.raises(DataError, match="row 4, column 1 .* holds 'tall'"):
        getattr(labelled, task)(text_rows())


def test_an_error_leaves_the_fitted_model_usable(labelled: VAE) -> None:
    before = labelled.transform(rows())
    with pytest.raises(LatentkitError):
        labelled.transform(rows()[:, :2])
    np.testing.assert_array_equal(labelled.transform(rows()), before)


def test_very_few_and_constant_data_are_learnt_in_silence() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for X in (rows(2), np.ones((20, 3)), np.repeat(rows(2), 10, axis=0), np.full((20, 8, 8), 7, np.uint8)):
            vae = small().fit(X)
            assert vae.sample(4).shape == (4, *X.shape[1:])
            assert np.isfinite(vae.score(X))
        constant = small(max_epochs=100, learning_rate=1e-2).fit(np.ones((20, 3)))
        np.testing.assert_allclose(constant.sample(200).mean(0), 1.0, atol=0.2)


def test_a_fit_of_the_mixture_that_does_not_converge_says_nothing() -> None:
    X = np.repeat(rows(3), 40, axis=0)  # three distinct rows, ten components
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vae = small().fit(X, np.repeat(["a", "b", "c"], 40))
    assert vae.ex_post_prior_ is not None
    assert len(vae.class_priors_) == 3


def test_a_class_of_one_example_is_a_class() -> None:
    y = np.array(["rare"] + ["common"] * (N - 1))
    vae = small().fit(rows(), y)
    assert vae.classes_ == ("common", "rare")
    assert vae.sample(3, label="rare").shape == (3, 5)


def test_a_validation_part_must_leave_something_to_learn_from() -> None:
    with pytest.raises(InvalidParameterError, match="validation_fraction=0.99 of 20 examples leaves 0 to learn from"):
        small(validation_fraction=0.99).fit(rows(20))
