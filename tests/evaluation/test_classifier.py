from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from latentkit.core.errors import InvalidParameterError, UnreadableDataError
from latentkit.evaluation import ClassifierFeatures, frechet_distance


def stripes(n: int = 400, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images with a bright row or a bright column, at a random place."""
    source = torch.Generator().manual_seed(seed)
    labels, places = (torch.randint(high, (n,), generator=source) for high in (2, 8))
    x = 0.1 * torch.rand(n, 1, 8, 8, generator=source)
    rows = torch.arange(n)
    x[rows[labels == 0], 0, places[labels == 0]] = 1.0
    x[rows[labels == 1], 0, :, places[labels == 1]] = 1.0
    return x, labels


@pytest.fixture(scope="module")
def features() -> ClassifierFeatures:
    return ClassifierFeatures(*stripes(), n_features=8, n_epochs=12)


def test_it_learns_and_says_how_well(features: ClassifierFeatures) -> None:
    assert features.accuracy > 0.9
    x, labels = stripes(200, seed=1)
    assert float((features.predict(x) == labels).double().mean()) > 0.9
    assert f"held-out accuracy {features.accuracy:.1%}, weights {features.fingerprint}" in features.description
    assert "8 features of a classifier of 2 classes trained on 400 rows (seed 0" in features.description


def test_features_feed_the_classes(features: ClassifierFeatures) -> None:
    x, _ = stripes(20, seed=1)
    network = features.network
    logits = network.head(features(x) * network.feature_scale + network.feature_centre)
    torch.testing.assert_close(logits.argmax(1), features.predict(x))


def test_features_have_a_scale_that_does_not_depend_on_the_weights(features: ClassifierFeatures) -> None:
    found = features(stripes()[0])
    assert float(found.var(0).mean()) == pytest.approx(1.0, abs=0.05)
    torch.testing.assert_close(found.mean(0), torch.zeros(8), atol=0.1, rtol=0)
    assert found.std(0).max() > 1.2 * found.std(0).min()


def test_its_distance_sees_a_missing_class(features: ClassifierFeatures) -> None:
    (x, labels), (other, _) = stripes(400, seed=1), stripes(400, seed=2)
    floor = frechet_distance(features(x), features(other))
    assert frechet_distance(features(x), features(x[labels == 0])) > 5 * floor


def test_the_seed_decides_the_weights_and_nothing_else_does() -> None:
    x, labels = stripes(60)
    torch.manual_seed(1)
    first = ClassifierFeatures(x, labels, n_features=4, n_epochs=1)
    torch.manual_seed(2)
    assert first.fingerprint == ClassifierFeatures(x, labels.numpy(), n_features=4, n_epochs=1).fingerprint
    assert first.fingerprint != ClassifierFeatures(x, labels, n_features=4, n_epochs=1, seed=1).fingerprint


def test_rows_of_a_table_are_standardised() -> None:
    x = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
    labels = (x[:, 0] > 0).long()
    scaled = torch.cat((x * torch.tensor([1e-3, 1e4, 1.0]) + 50.0, torch.ones(300, 1)), dim=1).double()
    assert ClassifierFeatures(scaled, labels, n_features=4, n_epochs=40).accuracy > 0.9


def test_a_classifier_is_read_back_as_it_was(features: ClassifierFeatures, tmp_path: Path) -> None:
    features.save(tmp_path / "c.safetensors")
    again = ClassifierFeatures.load(tmp_path / "c.safetensors")
    x, _ = stripes(30, seed=3)
    assert again.description == features.description
    assert torch.equal(again(x), features(x))
    assert again.event_shape == (1, 8, 8)
    for name, message in {
        "missing.safetensors": "cannot read",
        "other.safetensors": "ClassifierFeatures.save wrote",
    }.items():
        save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
        with pytest.raises(UnreadableDataError, match=message):
            ClassifierFeatures.load(tmp_path / name)


def test_few_rows_are_seen_more_often() -> None:
    x, labels = stripes(40)
    assert ClassifierFeatures(x[:, :, :2, :2], labels, n_features=2).n_epochs == 500


def test_wrong_input_is_named(features: ClassifierFeatures) -> None:
    x, labels = stripes(40)
    for wrong in (x[:19], x[:, 0, 0, 0]):
        with pytest.raises(InvalidParameterError, match="at least 20 rows of shape"):
            ClassifierFeatures(wrong, labels[:19])
    with pytest.raises(InvalidParameterError, match="one label for each"):
        ClassifierFeatures(x, labels[:30])
    with pytest.raises(InvalidParameterError, match="at least 2 classes; got"):
        ClassifierFeatures(x, labels * 0)
    with pytest.raises(InvalidParameterError, match="classes from 0"):
        ClassifierFeatures(x, labels - 1)
    with pytest.raises(InvalidParameterError, match=r"labels must be integers.*got torch.float32"):
        ClassifierFeatures(x, labels.float())
    with pytest.raises(InvalidParameterError, match="n_features"):
        ClassifierFeatures(x, labels, n_features=0)
    with pytest.raises(InvalidParameterError, match="n_epochs"):
        ClassifierFeatures(x, labels, n_epochs=0)
    with pytest.raises(InvalidParameterError, match="the classifier diverged"):
        ClassifierFeatures(x * torch.nan, labels, n_epochs=1)
    for method in (features, features.predict):
        with pytest.raises(InvalidParameterError, match=r"rows of shape \(1, 8, 8\); got \(1, 8, 9\)"):
            method(torch.zeros(2, 1, 8, 9))
