"""Reports of models whose latents are codes, and of models without an encoder: what applies, and nothing else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentkit import GAN, VQVAE, Generator
from latentkit.data import Dataset
from latentkit.report import write_report
from latentkit.report.codes import code_maps, colours
from latentkit.report.subject import Subject
from tests.report.test_writing import check

CODES = ["training", "codes", "samples", "classes", "reconstructions", "interpolations", "map", "unlikely"]
END = ["configuration", "methods"]
SMALL: dict[str, Any] = {"max_epochs": 2, "random_state": 0}
FOREIGN = ("N(0, I)", "effective sample size", "K = 64", "posterior mean", "KL")


def codes_of(data: Dataset, **settings: Any) -> VQVAE:
    names = np.asarray(data.label_names)[data.labels]
    return VQVAE(**{"n_codes": 8, "prior_width": 16, "prior_layers": 1, **SMALL, **settings}).fit(data.data, names)


def text_of(path: Path, sections: list[str]) -> str:
    return " ".join(check(path, sections).text)


@pytest.mark.parametrize("kind", ["images", pytest.param("rows", marks=pytest.mark.slow)])
def test_a_report_of_codes(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    data: Dataset = request.getfixturevalue(kind)
    model = codes_of(data)
    plots = tmp_path / "plots"
    text = text_of(write_report(model, tmp_path / "report.html", data=data, plots=plots), CODES + END)
    assert not [words for words in FOREIGN if words in text]
    for words in (
        "perplexity",
        "bits per code",
        "log p(c) + log p(x given c)",
        "by the prior over codes",
        "code vector",
    ):
        assert words in text
    assert (plots / "codes-usage.png").exists()
    assert (plots / "codes-codes.png").exists() == (kind == "images")
    nothing = text_of(write_report(model, tmp_path / "nothing.html"), CODES + END)
    assert "by the prior over codes" not in nothing
    assert "new 1" in nothing or kind == "images"


def test_figures_of_codes_are_those_of_the_estimator(images: Dataset) -> None:
    model = codes_of(images)
    subject = Subject(model, images)
    np.testing.assert_array_equal(subject.codes.numpy(), model.codes(images.data).reshape(len(subject.codes), -1))
    assert float(subject.likelihood.log_likelihood.mean()) == pytest.approx(model.score(images.data), rel=1e-5)
    with torch.inference_mode():
        expected = -model.extra_modules_["code_prior"].log_prob(subject.codes).mean() / 16 / math.log(2)
    assert subject.bits_per_code == pytest.approx(float(expected), rel=1e-4)
    usage = np.bincount(subject.codes.flatten(), minlength=8)
    np.testing.assert_allclose(subject.usage, usage / usage.sum())
    assert subject.n_parameters["all"] == sum(
        p.numel() for part in (model.model_, model.extra_modules_["code_prior"]) for p in part.parameters()
    )


def test_code_maps_put_each_code_at_its_place(images: Dataset) -> None:
    palette = colours(Subject(codes_of(images), None))
    assert palette.shape == (8, 3)
    assert len(np.unique(palette, axis=0)) == 8
    maps = code_maps(torch.tensor([[0, 1, 2, 3, 4, 5]]), palette, (2, 3), (4, 6))
    assert maps.shape == (1, 4, 6, 3)
    np.testing.assert_array_equal(maps[0, ::2, ::2], palette[[[0, 1, 2], [3, 4, 5]]])
    np.testing.assert_array_equal(maps[0, 1::2, 1::2], maps[0, ::2, ::2])
    slots = code_maps(torch.tensor([[0, 1, 2, 3, 4, 5]]), palette, (6,), (4, 6))
    np.testing.assert_array_equal(slots, maps)


@pytest.mark.parametrize("kind", ["images", pytest.param("rows", marks=pytest.mark.slow)])
def test_a_report_of_a_gan(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    data: Dataset = request.getfixturevalue(kind)
    names = np.asarray(data.label_names)[data.labels]
    settings = {"decoder": (8,), "discriminator": (8,), **SMALL}
    parts = ["training", "samples", "walks", "neighbours"]
    plain, given = GAN(2, **settings).fit(data.data), GAN(2, **settings).fit(data.data, condition=names)
    text = text_of(write_report(plain, tmp_path / "report.html", data=data), parts + END)
    assert not [word for word in ("ikelihood", "bound", "econstruct", "bits", "KL ") if word in _own(text)]
    assert "Value of the game for the generator" in text
    assert "latentkit report RUN DATA" not in text
    assert "latentkit report RUN DATA" in text_of(write_report(plain, tmp_path / "report.html"), parts + END)
    parts.insert(2, "classes")
    text = text_of(write_report(given, tmp_path / "report.html", data=data), parts + END)
    assert "given the class as the condition" in text


def _own(text: str) -> str:
    """The text without the settings and without what the objective is not."""
    return text[: text.index("Settings that were given")].replace("no likelihood", "")


@pytest.mark.parametrize(
    ("kind", "ex_post"),
    [
        ("images", "mixture"),
        pytest.param("rows", "none", marks=pytest.mark.slow),
        pytest.param("images", "none", marks=pytest.mark.slow),
        pytest.param("rows", "mixture", marks=pytest.mark.slow),
    ],
)
def test_a_report_of_a_generator(tmp_path: Path, kind: str, ex_post: str, request: pytest.FixtureRequest) -> None:
    data: Dataset = request.getfixturevalue(kind)
    options = {"ex_post_options": {"n_components": 2}} if ex_post == "mixture" else {}
    model = Generator(2, decoder=(8,), ex_post=ex_post, **options, **SMALL).fit(data.data, data.labels)
    classes = ["classes"] if ex_post == "mixture" else []
    parts = ["training", "samples", *classes, "walks", "neighbours", *END]
    text = text_of(write_report(model, tmp_path / "report.html", data=data), parts)
    assert "Log p(x given z), no bound on log p(x)" in text
    assert ("From the fitted mixture" in text) == (ex_post == "mixture")
    assert "Blue: " in text


def test_neighbours_are_the_nearest_and_never_the_row_itself(images: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Generator(2, decoder=(8,), ex_post_options={"n_components": 2}, **SMALL).fit(images.data)
    found = Subject(model, images).neighbours(20)
    x = model.schema_.to_model(model.schema_.encode(images.data)).flatten(1)
    distances = torch.cdist(found.samples.flatten(1), x)
    np.testing.assert_array_equal(found.rows, distances.argmin(1).numpy())
    torch.testing.assert_close(found.distances, distances.min(1).values)
    torch.testing.assert_close(found.nearest.flatten(1), x[found.rows])
    among = torch.cdist(x[:20], x) + torch.diag(torch.full((90,), torch.inf))[:20]
    torch.testing.assert_close(found.among_data, among.min(1).values)
    monkeypatch.setattr("latentkit.report.subject.MOST_NUMBERS", 64 * 30)
    assert Subject(model, images).neighbours(20).n_searched == 30
