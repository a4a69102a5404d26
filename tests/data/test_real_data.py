"""The readers on real files, where they are present."""

from __future__ import annotations

import time

import numpy as np
import pytest

from latentkit.core.errors import DataError, UnreadableDataError
from latentkit.data import learn_schema, read
from latentkit.data.containers import to_array


@pytest.mark.parametrize(
    ("name", "options", "n", "event_shape", "values", "classes"),
    [
        ("images/mnist.npz", {}, 60000, (1, 28, 28), "byte", 10),
        ("images/mnist.npz", {"array": "x_test"}, 10000, (1, 28, 28), "byte", 10),
        ("images/frey_faces.npz", {}, 1965, (1, 28, 20), "byte", None),
        ("images/olivetti_faces.npz", {}, 400, (1, 64, 64), "byte", 40),
        ("images/cifar10_subset.npz", {"array": "x_test"}, 1000, (3, 32, 32), "byte", 10),
        ("images/omniglot_small_28.npz", {"labels": "alphabet"}, 4840, (1, 28, 28), "byte", 8),
        ("images/binarized_mnist.npz", {"array": "test_packed"}, 10000, (784,), "binary", None),
        ("images/kodak", {}, 24, (3, 64, 64), "byte", None),
        ("anomaly/45_wine.npz", {}, 129, (13,), "real", 2),
        ("tables/wine_white.csv", {"labels": "quality"}, 4898, (11,), "real", 7),
        ("tables/credit_default.csv", {}, 30000, (25,), "real", None),
    ],
)
def test_what_is_recognised(data_folder, name, options, n, event_shape, values, classes):
    dataset = read(data_folder / name, **options)
    schema = learn_schema(dataset)
    assert (dataset.n, schema.event_shape, schema.values) == (n, event_shape, values)
    assert (None if dataset.labels is None else len(np.unique(dataset.labels))) == classes
    part = dataset.data.slice(0, 200) if hasattr(dataset.data, "slice") else dataset.data[:200]
    back = schema.decode(schema.to_model(schema.encode(part)))
    assert type(back) is type(part)
    np.testing.assert_allclose(to_array(back), to_array(part), rtol=0, atol=0 if values != "real" else 0.05)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        (
            "text/ag_news.test.csv",
            DataError,
            r"ag_news.test.csv: numbers are needed, but column 1.*'Fears for T N pension",
        ),
        ("text/thucnews_titles.dev.tsv", DataError, "column 0 .* holds text"),
        (
            "tables/nsl_kdd.test.csv.gz",
            DataError,
            r"column 1 \('protocol_type'\) holds text: row 0 .* is 'tcp'.*'attack'",
        ),
        ("tables/adult.test.csv", DataError, r"column 1 \('workclass'\) holds text"),
        ("tables", UnreadableDataError, r"no images in this folder; it holds other files"),
        ("images/mnit.npz", UnreadableDataError, r"Did you mean 'mnist.npz'\?"),
        ("images/binarized_mnist.npz", DataError, "array='train_packed'"),
    ],
)
def test_what_is_refused(data_folder, name, error, message):
    with pytest.raises(error, match=message):
        learn_schema(read(data_folder / name, tables="numbers"))


def test_encoding_bytes_is_nearly_free(data_folder):
    data = read(data_folder / "images" / "mnist.npz").data
    schema = learn_schema(data)
    start = time.perf_counter()
    storage = schema.encode(data)
    assert time.perf_counter() - start < 0.05
    assert storage.data_ptr() == data.ctypes.data
