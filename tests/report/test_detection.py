"""The part of the report about odd rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator

from latentkit import VAE, AnomalyDetector, load
from latentkit.data import Dataset
from latentkit.report import detection, write_report, writing
from latentkit.report.cells import text_of
from latentkit.report.charts import contribution_bars, score_histogram
from latentkit.report.page import Panels, Section, Strips
from latentkit.report.pictures import heat
from latentkit.report.style import INKS, draw_svg
from latentkit.report.subject import Subject
from tests.report.cases import HOSTILE
from tests.report.test_mixed import SECTIONS as TABLE_SECTIONS
from tests.report.test_mixed import animals
from tests.report.test_writing import SECTIONS, check

pytestmark = pytest.mark.usefixtures("brief_ensembles")

pd = pytest.importorskip("pandas")

#: Parts that are sums over columns: explained at once.
QUICK = ("histograms", "wide_neighbors")
ODD = (*SECTIONS[:-2], "odd", *SECTIONS[-2:])


def _table() -> Dataset:
    frame = animals()
    frame.loc[7, "weight"] = 90.0
    frame.loc[11, "legs"] = 12
    frame.loc[13, HOSTILE] = "dragon <i>"
    return Dataset(frame, "animals.csv", "table")


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentkit.report.subject.LIKELIHOOD_BUDGET", 1e8)


@pytest.fixture(scope="module")
def table() -> Dataset:
    return _table()


@pytest.fixture(scope="module")
def model(table: Dataset) -> VAE:
    return VAE(max_epochs=2, random_state=0, verbose=0).fit(table)


@pytest.fixture(scope="module")
def detector(table: Dataset) -> AnomalyDetector:
    return AnomalyDetector(parts=QUICK, contamination=0.05, random_state=0).fit(table)


@pytest.fixture(scope="module")
def section(table: Dataset, model: VAE, detector: AnomalyDetector) -> Section:
    return detection.odd_rows(Subject(model, table, detector=detector))


@pytest.fixture(scope="module")
def image_detector(images: Dataset, image_model: VAE) -> AnomalyDetector:
    return AnomalyDetector(FrozenEstimator(image_model), parts=("residuals", "nearest"), random_state=0).fit(images)


def test_the_page_has_the_part_where_there_is_a_detector(
    table: Dataset, model: VAE, detector: AnomalyDetector, tmp_path: Path
) -> None:
    sections = [*TABLE_SECTIONS[:-2], "odd", *TABLE_SECTIONS[-2:]]
    page = check(write_report(model, tmp_path / "r.html", data=table, detector=detector, plots=tmp_path), sections)
    text = " ".join(page.text)
    for words in (
        "Odd rows",
        "12 rows of 240 flagged",
        "What is odd about flagged rows",
        "row 7",
        "The cut: 0.05 of",
    ):
        assert words in text
    assert (tmp_path / "odd-scores.png").exists()
    assert writing._order(Subject(model, None, detector=detector))[-2:] == ("odd", "configuration")
    assert "odd" not in writing._order(Subject(model, None))


def test_the_oddest_rows_come_first_with_their_reasons(
    section: Section, table: Dataset, detector: AnomalyDetector
) -> None:
    (strips,) = (block for block in section.blocks if isinstance(block, Strips))
    scores = -detector.score_samples(table.data)
    order = np.argsort(-scores, kind="stable")[:10]
    assert [strip.label for strip in strips.strips] == [f"row {row}" for row in order]
    assert {"row 7", "row 11", "row 13"} <= {strip.label for strip in strips.strips[:4]}
    p_values = detector.p_values(table.data)
    for row, strip in zip(order, strips.strips, strict=True):
        assert strip.detail.startswith(f"{scores[row]:.1f} nats, p = ")
        assert float(strip.detail.split("p = ")[1].split(",")[0]) == pytest.approx(p_values[row], rel=0.05)
        assert strip.detail.endswith(", flagged")
    heavy = next(strip for strip in strips.strips if strip.label == "row 7")
    assert heavy.chart.caption.startswith("Odd in weight")
    assert "instead of 90" in heavy.chart.caption
    assert heavy.chart.alternative == f"row 7, {heavy.detail}. {heavy.chart.caption}"


def test_bars_are_what_columns_add(section: Section, table: Dataset, detector: AnomalyDetector) -> None:
    (strips,) = (block for block in section.blocks if isinstance(block, Strips))
    explanation = detector.explain(table.data.iloc[[int(s.label.split()[1]) for s in strips.strips]])
    largest = explanation.contributions.max()
    for row, strip in enumerate(strips.strips):
        (axes,) = strip.chart.art.axes
        lengths = [bar.get_width() for bar in axes.patches]
        assert lengths == pytest.approx(sorted(explanation.contributions[row])[::-1][: len(lengths)])
        assert axes.get_xlim()[1] == pytest.approx(1.18 * largest)
        shown = [label.get_text() for label in axes.get_yticklabels()]
        assert len(shown) == len(lengths) <= detection.MOST_COLUMNS


def test_the_mean_is_over_all_flagged_rows(section: Section, table: Dataset, detector: AnomalyDetector) -> None:
    (panels,) = (block for block in section.blocks if isinstance(block, Panels))
    chart = panels.charts[1]
    flagged = table.data[detector.predict(table.data) == -1]
    means = detector.explain(flagged).contributions.mean(0)
    (axes,) = chart.art.axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(sorted(means[means > 0])[::-1])
    assert "as a mean over 12 flagged rows." in chart.caption


def test_a_few_of_many_flagged_rows_are_said_to_be_few(
    table: Dataset, model: VAE, detector: AnomalyDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection, "MOST_EXPLAINED", 11)
    section = detection.odd_rows(Subject(model, table, detector=detector))
    (panels,) = (block for block in section.blocks if isinstance(block, Panels))
    assert "a mean over the 11 oddest of 12 flagged rows." in panels.charts[1].caption


def test_rows_that_are_not_flagged_say_so(rows: Dataset, row_model: VAE) -> None:
    detector = AnomalyDetector(parts=QUICK, contamination=0.0126, random_state=0).fit(rows)
    section = detection.odd_rows(Subject(row_model, rows, detector=detector))
    panels, strips = section.blocks
    assert isinstance(panels, Panels)
    assert isinstance(strips, Strips)
    assert panels.charts[0].caption.startswith("1 row of 80 flagged.")
    assert len(panels.charts) == 1
    assert strips.strips[0].detail.endswith(", flagged")
    for strip in strips.strips[1:]:
        assert "flagged" not in strip.detail
        assert strip.chart.caption.startswith("Not flagged; oddest in ")


def test_columns_without_names_are_called_as_elsewhere_on_the_page(row_model: VAE, rows: Dataset) -> None:
    X = rows.data.to_numpy(copy=True)
    plain = Dataset(X, "rows.npy", "rows")
    model = VAE(2, max_epochs=1, random_state=0, verbose=0).fit(X)
    detector = AnomalyDetector(parts=QUICK, contamination=0.1, random_state=0).fit(X)
    panels, strips = detection.odd_rows(Subject(model, plain, detector=detector)).blocks
    assert isinstance(strips, Strips)
    assert strips.strips[0].chart.caption.startswith("Odd in column ")
    assert isinstance(panels, Panels)
    assert ", from column " in panels.charts[1].alternative


def test_missing_and_unseen_cells_have_words(table: Dataset, model: VAE, detector: AnomalyDetector) -> None:
    frame = table.data.iloc[:12].copy()
    frame[HOSTILE] = "unicorn"
    frame["weight"] = np.nan
    with pytest.warns(UserWarning, match="unicorn"):
        subject = Subject(model, Dataset(frame, "few.csv", "table"), detector=detector)
    (strips,) = (block for block in detection.odd_rows(subject).blocks if isinstance(block, Strips))
    flagged = [strip for strip in strips.strips if strip.detail.endswith(", flagged")]
    assert flagged
    assert all("instead of not seen before" in strip.chart.caption for strip in flagged)
    assert text_of(None) == "missing"
    assert text_of("x" * 99) == f"{'x' * 39}…"


def test_images_stand_beside_their_heat_maps(
    images: Dataset, image_model: VAE, image_detector: AnomalyDetector, tmp_path: Path
) -> None:
    subject = Subject(image_model, images, detector=image_detector)
    _, panels = detection.odd_rows(subject).blocks
    assert isinstance(panels, Panels)
    order = np.argsort(image_detector.score_samples(images.data), kind="stable")[:12]
    assert [chart.heading for chart in panels.charts] == [f"image {row}" for row in order]
    assert all(" nats, p = " in chart.caption for chart in panels.charts)
    page = check(write_report(image_model, tmp_path / "images.html", data=images, detector=image_detector), ODD)
    text = " ".join(page.text)
    assert "Odd images" in text
    assert "similar image of training" in text
    assert "residuals, nearest" in text


def test_without_data_it_says_what_is_missing(model: VAE, detector: AnomalyDetector, tmp_path: Path) -> None:
    sections = [*TABLE_SECTIONS[:-2], "odd", *TABLE_SECTIONS[-2:]]
    page = check(write_report(model, tmp_path / "nothing.html", detector=detector), sections)
    assert "Scores of rows need data to look at" in " ".join(page.text)


def test_the_method_says_what_p_values_are_of(table: Dataset, model: VAE, detector: AnomalyDetector) -> None:
    (method,) = detection.odd_rows(Subject(model, table, detector=detector)).method
    assert "histograms, wide neighbors" in method.text
    assert "240 rows that are as odd, of training, which makes it a guide, no guarantee" in method.text
    held_out = AnomalyDetector(parts=QUICK, calibration_fraction=0.25, random_state=0).fit(table)
    (method,) = detection.odd_rows(Subject(model, table, detector=held_out)).method
    assert "60 rows that are as odd, held out of training" in method.text


@pytest.mark.slow
def test_a_detector_that_was_kept_gives_the_same_part(
    section: Section, table: Dataset, model: VAE, detector: AnomalyDetector, tmp_path: Path
) -> None:
    again = detection.odd_rows(Subject(model, table, detector=load(detector.save(tmp_path / "detector"))))
    for one, other in zip(section.charts, again.charts, strict=True):
        assert (one.heading, one.caption, one.alternative) == (other.heading, other.caption, other.alternative)
        assert draw_svg(one.art, name=one.name, title="") == draw_svg(other.art, name=one.name, title="")
    assert section.method == again.method


def _colours(figure: Any) -> list[str]:
    import matplotlib as mpl

    return [mpl.colors.to_hex(bar.get_facecolor()) for bar in figure.axes[0].patches]


def test_bars_above_the_cut_stand_out() -> None:
    figure = score_histogram(np.array([0.0, 0.1, 1.0, 2.0, 5.0]), 1.0, things="rows")
    bars = [
        (bar.get_x() + bar.get_width() / 2, round(bar.get_height() + 0.5), colour)
        for bar, colour in zip(figure.axes[0].patches, _colours(figure), strict=True)
        if bar.get_height() > 0
    ]
    assert [n for _, n, _ in bars] == [2, 1, 1, 1] or [n for _, n, _ in bars] == [1, 1, 1, 1, 1]
    assert all((colour == INKS["second"]) == (place > 1.0) for place, _, colour in bars)
    assert sum(n for place, n, _ in bars if place < 1.0) == 3  # a row at the cut is not above it


@pytest.mark.parametrize(("scores", "cut"), [([1.0], 1.0), ([2.0, 2.0], 2.0), ([0.0, 1e-9], -3.0)])
def test_a_histogram_of_nothing_much_can_be_drawn(scores: list[float], cut: float) -> None:
    figure = score_histogram(np.array(scores), cut, things="rows")
    assert sum(round(bar.get_height() + 0.5) for bar in figure.axes[0].patches if bar.get_height() > 0) == len(scores)


def test_bars_carry_their_figures() -> None:
    figure = contribution_bars(
        np.array([2.0, 0.5]), ["a", "a name that is far too long for a chart of it"], largest=4.0
    )
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["+2.0", "+0.5"]
    assert all(len(label.get_text()) <= 26 for label in axes.get_yticklabels())


def test_heat_is_black_where_nothing_is_added() -> None:
    image = np.full((2, 2), 200, np.uint8)
    found = heat(image, np.array([[0.0, -1.0], [0.5, 1.0]]), image)
    assert found.shape == (3, 2, 2, 4)
    assert (found[0] == found[2]).all()
    assert found[1, 0, 0, :3].max() <= 4
    assert (found[1, 0, 1] == found[1, 0, 0]).all()
    assert found[1, 1, 1, :3].min() > 150
    assert (heat(image, np.zeros((2, 2)), image)[1] == found[1, 0, 0]).all()
