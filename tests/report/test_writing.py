"""The page as a whole: valid, complete, harmless, the same each time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image
from sklearn.exceptions import NotFittedError

from latentkit.core.errors import SchemaMismatchError, StorageError
from latentkit.data import Dataset
from latentkit.estimators import VAE
from latentkit.report import write_report
from tests.report.cases import HOSTILE, fitted

SECTIONS = [
    "training",
    "dimensions",
    "samples",
    "classes",
    "reconstructions",
    "traversals",
    "meaning",
    "interpolations",
    "map",
    "unlikely",
    "configuration",
    "methods",
]
VOID = {"meta", "link", "img", "br", "hr", "input", "area", "base", "col", "embed", "source", "track", "wbr"}


class Strict(HTMLParser):
    """Reads a page and fails at what a forgiving browser would mend."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"attribute twice in {tag}"
        self.tags.append((tag, dict(attrs)))
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "action", "srcset", "xlink:href"):
                self.references.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a start"
        assert self.open.pop() == tag, f"</{tag}> out of place"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def check(path: Path, sections: Sequence[str] = SECTIONS) -> Strict:
    """What every page must be."""
    text = path.read_text(encoding="utf-8")
    page = Strict(text)
    assert text.startswith("<!doctype html>")
    assert len(page.ids) == len(set(page.ids)), "an identifier stands twice"
    for reference in page.references:
        assert reference.startswith(("#", "data:image/png;base64,", "data:,")), reference[:80]
        if reference.startswith("#"):
            assert reference[1:] in page.ids, f"{reference} leads nowhere"
    for target in re.findall(r"url\(([^)]*)\)", text):
        assert target.startswith("#"), target
        assert target[1:] in page.ids
    markup = " ".join(f"{tag} {attributes}" for tag, attributes in page.tags if "aria-label" not in attributes)
    assert "http" not in re.sub(r"'(alt|aria-label)': '[^']*'", "", markup)
    tags = [tag for tag, _ in page.tags]
    assert not {"script", "iframe", "object", "embed", "base", "form"} & set(tags)
    assert tags.count("h1") == 1
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), "an event handler"
        if tag == "img":
            assert attributes.get("alt"), "a picture without a text"
        if tag == "svg":
            assert attributes.get("role") == "img"
            assert attributes.get("aria-label"), "a chart without a text"
    found = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert found == list(sections)
    return page


def test_a_report_of_images_has_every_part(tmp_path: Path, image_model: VAE, images: Dataset) -> None:
    path = write_report(image_model, tmp_path / "report.html", data=images)
    assert path == tmp_path / "report.html"
    page = check(path)
    text = " ".join(page.text)
    assert "latentkit report RUN DATA" not in text
    for words in ("bars.npz", "K = 64", "effective sample size", "90 rows, all there are", "left", "t-SNE", "nats"):
        assert words in text
    assert sum(tag == "img" for tag, _ in page.tags) > 20
    assert path.stat().st_size < 3_000_000


def test_a_report_without_data_says_how_to_get_the_rest(tmp_path: Path, image_model: VAE, row_model: VAE) -> None:
    for model in (image_model, row_model):
        page = check(write_report(model, tmp_path / "report.html"))
        text = " ".join(page.text)
        assert text.count("latentkit report RUN DATA") >= 5
        assert "Traversals" in text
        assert "Ranked by samples of the model itself" in text


def test_hostile_names_are_text(tmp_path: Path, row_model: VAE, rows: Dataset) -> None:
    path = write_report(row_model, tmp_path / "report.html", data=rows)
    page = check(path)
    raw = path.read_text(encoding="utf-8")
    assert "<script" not in raw
    assert "<b>low" not in raw
    text = "".join(page.text)
    assert HOSTILE in text
    assert "<b>low</b>" in text
    assert "长度" in text


def test_rows_without_labels(tmp_path: Path, rows: Dataset) -> None:
    model = fitted(rows, labels=False)
    data = Dataset(rows.data, rows.source, "rows")
    text = " ".join(check(write_report(model, tmp_path / "report.html", data=data)).text)
    assert "fitted without labels" in text
    assert "With labels, the points would be coloured" in text


@pytest.mark.slow
def test_images_without_labels(tmp_path: Path, images: Dataset) -> None:
    model = fitted(images, labels=False, latent_dim=2)
    data = Dataset(images.data, images.source, "images")
    text = " ".join(check(write_report(model, tmp_path / "report.html", data=data)).text)
    assert "fitted without labels" in text
    assert "the latent space has two dimensions" in text


@pytest.mark.slow
def test_one_latent_dimension(tmp_path: Path, rows: Dataset) -> None:
    model = fitted(rows, latent_dim=1)
    text = " ".join(check(write_report(model, tmp_path / "report.html", data=rows)).text)
    assert "nothing to project" in text


@pytest.mark.slow
def test_one_row(tmp_path: Path, row_model: VAE, rows: Dataset) -> None:
    one = Dataset(rows.data.iloc[:1], "one", "rows", np.zeros(1, np.int64), ("low", "high"))
    text = " ".join(check(write_report(row_model, tmp_path / "report.html", data=one)).text)
    assert "at least two rows" in text
    assert "It takes two rows" in text


@pytest.mark.parametrize(
    "shape",
    [(40, 20, 6, 3), *(pytest.param(shape, marks=pytest.mark.slow) for shape in ((6, 90, 120, 3), (40, 9, 30)))],
)
def test_images_of_any_size_and_colour(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    options = {"encoder": (8,), "decoder": (8,), "max_epochs": 1, "random_state": 0}
    model = VAE(2, likelihood="gaussian", ex_post="none", **options).fit(pixels)
    path = write_report(model, tmp_path / "report.html", data=Dataset(pixels, "noise", "images"))
    text = " ".join(check(path).text)
    assert "From N(0, I)" in text
    assert "From the fitted mixture" not in text
    assert path.stat().st_size < 3_000_000


@pytest.mark.slow
def test_more_classes_than_colours(tmp_path: Path, rows: Dataset, row_model: VAE) -> None:
    codes = (np.arange(80) % 20).astype(np.int64)
    data = Dataset(rows.data, "many", "rows", codes)
    text = " ".join(check(write_report(row_model, tmp_path / "report.html", data=data)).text)
    assert "11 other classes" in text


def test_equal_models_and_data_give_equal_pages(tmp_path: Path, image_model: VAE, images: Dataset) -> None:
    first = write_report(image_model, tmp_path / "a.html", data=images)
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 30, "svg.fonttype": "path"}):
        second = write_report(image_model, tmp_path / "b.html", data=images)
        assert mpl.rcParams["font.size"] == 30
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.slow
def test_large_data_are_sampled_and_the_page_says_so(
    tmp_path: Path, row_model: VAE, rows: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pandas as pd

    monkeypatch.setattr("latentkit.report.subject.LIKELIHOOD_BUDGET", 1e7)
    monkeypatch.setattr("latentkit.report.latent.TSNE_POINTS", 50)
    many = Dataset(pd.concat([rows.data] * 30, ignore_index=True), "many", "rows")
    text = " ".join(check(write_report(row_model, tmp_path / "report.html", data=many)).text)
    assert "2,000 rows of 2,400" in text


@pytest.mark.slow
def test_plots_are_written_as_png(tmp_path: Path, row_model: VAE, rows: Dataset) -> None:
    path = write_report(row_model, tmp_path / "report.html", data=rows, plots=tmp_path / "plots")
    files = sorted((tmp_path / "plots").iterdir())
    names = {file.name for file in files}
    assert {"training-objective.png", "latent-divergence.png", "map-pca.png", "marginal-0.png"} <= names
    page = check(path)
    assert len(files) == sum(tag in ("svg", "img") for tag, _ in page.tags)
    for file in files:
        with Image.open(file) as image:
            image.verify()


def test_an_estimator_that_was_not_fitted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        write_report(VAE(), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_data_of_another_shape_are_refused_and_the_old_page_stays(tmp_path: Path, image_model: VAE) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(SchemaMismatchError, match="expected data of shape"):
        write_report(image_model, path, data=Dataset(np.zeros((3, 5, 5), np.uint8), "other", "images"))
    assert path.read_text() == "old"


@pytest.mark.slow
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, row_model: VAE) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write_report(row_model, tmp_path / "file" / "report.html")
