"""Recover keeps what was observed exactly, fills every hole, and knows which masks fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from latentkit import VAE
from latentkit.core.errors import DataError, InvalidParameterError, SchemaMismatchError
from tests.estimators.cases import N, array, folder, pixels, rows, small

FEW: dict[str, Any] = {"n_draws": 3, "n_steps": 2}


def holes(*shape: int) -> np.ndarray:
    """A mask that hides about a third, all of example 1 and nothing of example 2."""
    mask = np.random.default_rng(1).uniform(size=shape) > 0.3
    mask[1], mask[2] = False, True
    return mask


FORMS = {
    "float64": lambda X: X,
    "float32": lambda X: X.astype(np.float32),
    "list": lambda X: X.tolist(),
    "torch": torch.from_numpy,
    "pandas": lambda X: pd.DataFrame(X, columns=list("abcde")),
    "polars": lambda X: pl.DataFrame(X, schema=list("abcde")),
}


@pytest.mark.parametrize("form", FORMS)
def test_nan_rows_are_filled_and_the_rest_is_kept_bit_for_bit(form: str) -> None:
    make, mask = FORMS[form], holes(N, 5)
    X = make(rows())
    vae = small().fit(X)
    given = make(np.where(mask, rows(), np.nan))
    filled = vae.recover(given, **FEW)
    assert type(filled) is type(np.asarray(X) if isinstance(X, list) else X)
    np.testing.assert_array_equal(array(filled)[mask], array(X)[mask])
    assert np.isfinite(array(filled)).all()
    assert not np.array_equal(array(filled)[1], array(vae.sample(1, random_state=0))[0])


def test_a_csv_with_empty_cells_is_filled(tmp_path) -> None:
    frame = pd.DataFrame(rows(), columns=list("abcde"))
    frame.to_csv(tmp_path / "whole.csv", index=False)
    mask = holes(N, 5)
    frame.where(mask).to_csv(tmp_path / "holes.csv", index=False)
    filled = small().fit(tmp_path / "whole.csv").recover(tmp_path / "holes.csv", **FEW).to_pandas()
    np.testing.assert_array_equal(filled.to_numpy()[mask], frame.to_numpy()[mask])
    assert np.isfinite(filled.to_numpy()).all()


def test_integers_with_missing_values_come_back_as_integers() -> None:
    frame = pd.DataFrame({"a": np.arange(N), "b": np.arange(N) * 3}, dtype="Int64")
    vae = small().fit(frame)
    given = frame.copy()
    given.loc[4, "b"] = pd.NA
    filled = vae.recover(given, **FEW)
    assert list(map(str, filled.dtypes)) == ["Int64", "Int64"]
    assert not filled.isna().any().any()
    pd.testing.assert_frame_equal(filled.drop(index=4), frame.drop(index=4))


@pytest.mark.parametrize("shape", [(N, 8, 8), (N, 8, 8, 1), (N, 8, 8, 3)])
def test_masked_pixels_are_filled_and_the_rest_is_kept(shape: tuple[int, ...]) -> None:
    vae = small().fit(pixels(*shape))
    X, mask = pixels(*shape)[:6], holes(6, *shape[1:])
    filled = vae.recover(X, mask, **FEW)
    assert filled.dtype == np.uint8
    assert filled.shape == X.shape
    np.testing.assert_array_equal(filled[mask], X[mask])
    assert (filled[~mask] != X[~mask]).mean() > 0.5


@pytest.mark.parametrize(
    "narrow",
    [lambda m: m[0], lambda m: m[:1], lambda m: m[0, ..., 0], lambda m: m[:1].astype(int), lambda m: m[:1] * 1.0],
    ids=["one", "batch of one", "one without channels", "integers", "floats"],
)
def test_one_mask_serves_every_example(narrow: Any) -> None:
    X = pixels(N, 8, 8, 3)
    vae = small().fit(X)
    mask = np.ones((4, 8, 8, 3), bool)
    mask[:, 2:5, 3:] = False
    np.testing.assert_array_equal(vae.recover(X[:4], narrow(mask), **FEW), vae.recover(X[:4], mask, **FEW))


def test_what_lies_under_the_mask_does_not_matter() -> None:
    mask = holes(N, 5)
    for X, junk in ((rows(), [np.nan, np.inf, -1e30]), ((rows() > 0).astype(np.uint8), [7, 200])):
        vae = small().fit(X)
        expected = vae.recover(X, mask, **FEW)
        for value in junk:
            np.testing.assert_array_equal(vae.recover(np.where(mask, X, value), mask, **FEW), expected)


def test_a_mask_and_nan_hide_together() -> None:
    X, mask = rows(), holes(N, 5)
    vae = small().fit(X)
    both = mask.copy()
    both[:, 0] = False
    given = X.copy()
    given[:, 0] = np.nan
    np.testing.assert_array_equal(vae.recover(given, mask, **FEW), vae.recover(X, both, **FEW))


def test_a_folder_is_recovered_under_a_mask(tmp_path) -> None:
    place = folder(tmp_path)
    vae = small().fit(place)
    mask = np.ones((8, 8), bool)
    mask[:4] = False
    filled = vae.recover(place, mask, n_draws=1, n_steps=0)
    np.testing.assert_array_equal(filled[:, 4:], pixels(N, 8, 8, 3)[:, 4:])
    assert (filled[:, :4] != pixels(N, 8, 8, 3)[:, :4]).mean() > 0.5


def test_draws_differ_where_something_is_missing_and_nowhere_else() -> None:
    X, mask = rows(), holes(N, 5)
    vae = small().fit(X)
    draws = vae.recover(X, mask, n_draws=4, n_steps=2, result="draws")
    assert isinstance(draws, list)
    assert len(draws) == 4
    for draw in draws:
        np.testing.assert_array_equal(draw[mask], X[mask])
    spread = np.std(draws, axis=0)
    assert (spread[~mask] > 0).all()
    mean = vae.recover(X, mask, n_draws=4, n_steps=2)
    np.testing.assert_allclose(mean, np.mean(draws, axis=0), rtol=1e-6, atol=1e-9)


def test_draws_are_a_list_also_where_nothing_is_missing() -> None:
    vae = small().fit(rows())
    draws = vae.recover(rows(), n_draws=3, result="draws")
    assert len(draws) == 3
    for draw in draws:
        np.testing.assert_array_equal(draw, vae.reconstruct(rows()))


def test_completions_follow_what_is_observed(labelled: VAE) -> None:
    X = rows(300)
    mask = np.ones((300, 5), bool)
    mask[:, 1] = False
    filled = labelled.recover(X, mask, n_draws=20, n_steps=20)
    assert np.corrcoef(filled[:, 1], X[:, 1])[0, 1] > 0.9


@pytest.mark.parametrize(
    ("shape", "error", "words"),
    [
        ((N, 4), SchemaMismatchError, rf"expected data of shape \(n, 5\), got \({N}, 4\)"),
        ((3, 5), SchemaMismatchError, f"the mask is of 3 examples, and the data are of {N}"),
        ((N, 5, 1), SchemaMismatchError, r"expected data of shape \(n, 5\)"),
        ((0, 5), SchemaMismatchError, "the mask is of 0 examples"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(
    labelled: VAE, shape: tuple[int, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        labelled.recover(rows(), np.zeros(shape, bool))


def test_masks_for_one_example_are_refused(labelled: VAE) -> None:
    with pytest.raises(SchemaMismatchError, match="the mask is of 4 examples, and the data are of 1"):
        labelled.recover(rows(1), holes(4, 5))


def test_a_mask_of_other_values_is_refused(labelled: VAE) -> None:
    with pytest.raises(DataError, match="a mask holds True"):
        labelled.recover(rows(), np.full((N, 5), 0.5))


@pytest.mark.parametrize("with_hole", [True, False])
def test_infinity_is_no_hole(labelled: VAE, with_hole: bool) -> None:
    X = rows()
    X[7, 2] = np.inf
    if with_hole:
        X[0, 0] = np.nan
    with pytest.raises(DataError, match=r"infinity at row 7, column 2"):
        labelled.recover(X)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_draws": 0}, "n_draws must be an integer of at least 1; got 0"),
        ({"n_steps": -1}, "n_steps must be an integer of at least 0; got -1"),
        ({"result": "draw"}, "result must be one of: mean, draws; got 'draw'. Did you mean 'draws'"),
    ],
)
def test_a_wrong_option_is_refused_whether_or_not_something_is_missing(
    labelled: VAE, masked: bool, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        labelled.recover(rows(), holes(N, 5) if masked else None, **options)
