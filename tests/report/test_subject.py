"""Figures of the page are those of the estimator and of evaluation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentkit.data import Dataset
from latentkit.estimators import VAE
from latentkit.report import subject as module
from latentkit.report.choosing import examples, least_likely, pairs_of_classes
from latentkit.report.subject import Subject


def test_scores_are_those_of_the_estimator(image_model: VAE, images: Dataset) -> None:
    subject = Subject(image_model, images)
    expected = image_model.score_samples(images.data, n_importance=64)
    np.testing.assert_allclose(subject.likelihood.log_likelihood.numpy(), expected, atol=1e-3)
    worst = least_likely(subject, 3)
    assert [place for place, _ in worst] == np.argsort(expected)[:3].tolist()


def test_latents_and_reconstructions_are_those_of_the_estimator(image_model: VAE, images: Dataset) -> None:
    subject = Subject(image_model, images)
    np.testing.assert_allclose(subject.posterior[0].numpy(), image_model.transform(images.data), atol=1e-5)
    back = subject.schema.decode(subject.reconstructions)
    assert np.abs(back.astype(int) - image_model.reconstruct(images.data).astype(int)).max() <= 1


def test_dear_models_are_scored_with_fewer_samples(
    image_model: VAE, images: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIKELIHOOD_BUDGET", 1.0)
    places, n_importance = Subject(image_model, images).scored
    assert n_importance == 4
    assert len(places) == 24
    assert np.all(np.diff(places) > 0)


def test_large_images_are_fewer(image_model: VAE, images: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_NUMBERS", 64 * 10)
    subject = Subject(image_model, images)
    assert subject.sample is not None
    assert subject.sample.n == 10
    assert subject.sample.n_total == 90
    stored = image_model.schema_.encode(images.data)[subject.sample.rows]
    assert torch.equal(subject.sample.x, image_model.schema_.to_model(stored))


def test_classes_take_turns_among_examples(image_model: VAE, images: Dataset) -> None:
    subject = Subject(image_model, images)
    labels = [subject.label(place) for place in examples(subject, 6, "anything")]
    assert labels == ["left", "middle", "right"] * 2


def test_pairs_are_of_different_classes(image_model: VAE, images: Dataset) -> None:
    subject = Subject(image_model, images)
    pairs = pairs_of_classes(subject, 5)
    assert len(pairs) == 5
    assert all(subject.label(a) != subject.label(b) for a, b in pairs)
    assert len({place for pair in pairs for place in pair}) == 10


def test_pairs_of_a_single_class(image_model: VAE, images: Dataset) -> None:
    data = Dataset(images.data, "one", "images", np.zeros(90, np.int64), ("only",))
    assert len(pairs_of_classes(Subject(image_model, data), 4)) == 4


def test_without_data_the_model_is_measured_on_its_own_samples(image_model: VAE) -> None:
    subject = Subject(image_model, None)
    assert subject.sample is None
    assert subject.summary is not None
    assert subject.summary.n == 512
    assert sorted(subject.dimensions) == [0, 1, 2]


@pytest.mark.parametrize("library", ["pandas", "polars", "numpy", "torch"])
def test_rows_are_sampled_in_the_form_of_the_data(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(60.0).reshape(30, 2)
    if library in ("pandas", "polars"):
        frames = pytest.importorskip(library)
        data = frames.DataFrame({"a": values[:, 0], "b": values[:, 1]})
    else:
        data = torch.from_numpy(values) if library == "torch" else values
    monkeypatch.setattr(module, "MOST_ROWS", 7)
    model = VAE(1, encoder=(4,), decoder=(4,), max_epochs=1, random_state=0).fit(data)
    subject = Subject(model, Dataset(data, "memory", "rows"))
    assert subject.sample is not None
    assert type(subject.sample.data) is type(data)
    np.testing.assert_allclose(subject.values(subject.sample.x), values[subject.sample.rows], atol=1e-4)
    assert len(subject.likelihood.log_likelihood) == 7
