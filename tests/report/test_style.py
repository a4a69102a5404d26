"""Charts as elements of a page, pictures as tiles, numbers as words."""

from __future__ import annotations

import io
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image

from latentkit.report import charts
from latentkit.report.charts import curves, latent_map, marginal, shorten
from latentkit.report.pictures import grid, pairs
from latentkit.report.style import CLASS_COLOURS, INKS, draw_png, draw_svg
from latentkit.report.wording import duration, number


def test_colours_become_variables_of_the_page() -> None:
    svg = draw_svg(curves([1, 2, 3], {"a": [1.0, 2.0, 3.0]}, best=2), name="x", title='a "title" <b>')
    assert "var(--first)" in svg
    assert not any(value in svg for value in INKS.values())
    assert 'aria-label="a &quot;title&quot; &lt;b&gt;"' in svg
    assert "xmlns" not in svg
    assert "xlink" not in svg


def test_roles_and_classes_have_colours_of_their_own() -> None:
    every = [*INKS.values(), *CLASS_COLOURS]
    assert len({value.lower() for value in every}) == len(every)


def test_names_are_no_formulas() -> None:
    svg = draw_svg(marginal(None, np.arange(5.0), name="$\\frac{1}{$ <&>"), name="x", title="t")
    assert "$\\frac{1}{$ &lt;&amp;&gt;" in svg


def test_a_cloud_of_points_is_written_once() -> None:
    points = np.random.default_rng(0).normal(size=(500, 2))
    figure = latent_map(points, [("a", CLASS_COLOURS[0], np.arange(500))], axes_names=("", ""))
    svg = draw_svg(figure, name="x", title="t")
    assert len(re.findall(r'<use href="#x-[^"]*" x="[\d.]+" y="[\d.]+"/>', svg)) == 500
    assert svg.count("fill: var(--c0)") < 10


def test_points_have_titles_in_the_order_of_their_groups() -> None:
    groups = [("a", CLASS_COLOURS[0], np.arange(0, 30)), ("", INKS["quiet"], np.arange(0)), ("b", "#123456", [30, 31])]
    titles = [f"{n} <b> {CLASS_COLOURS[0]}" for n in range(32)]
    figure = latent_map(np.random.default_rng(0).normal(size=(32, 2)), groups, axes_names=("", ""))
    svg = draw_svg(figure, name="x", title="t", titles=titles)
    assert [unescape(title) for title in re.findall(r"<title>(.*?)</title></use>", svg)] == titles
    assert "<b>" not in svg


@pytest.mark.parametrize("values", [[1.0], [2.0, 2.0], [None, None], [-5.0, float("nan"), 3.0]])
def test_curves_of_any_values_are_drawn(values: list[float | None]) -> None:
    epochs = list(range(1, len(values) + 1))
    assert draw_png(curves(epochs, {"a": values}, best=1)).startswith(b"\x89PNG")


def test_tiles_are_enlarged_by_whole_factors() -> None:
    image = np.array([[0, 255], [100, 7]], np.uint8)
    picture = grid(np.stack([image] * 3), columns=3)
    with Image.open(io.BytesIO(picture.png)) as opened:
        pixels = np.asarray(opened.convert("RGBA"))
    assert pixels.shape[0] == 96
    assert (pixels.shape[1] // 2, pixels.shape[0] // 2) == (picture.width, picture.height)
    assert set(np.unique(pixels[:, :96, 0])) == {0, 7, 100, 255}
    assert (pixels[:, 96:98, 3] == 0).all()
    assert np.array_equal(pixels[::48, :96:48, 0], image)


def test_pairs_leave_the_missing_tiles_of_the_last_row_empty() -> None:
    above, below = np.full((3, 4, 4), 200, np.uint8), np.full((3, 4, 4), 90, np.uint8)
    with Image.open(io.BytesIO(pairs(above, below, columns=2).png)) as opened:
        pixels = np.asarray(opened.convert("RGBA"))
    assert {0, 90, 200} == set(np.unique(pixels[..., 0]))
    assert (pixels[-10:, -10:, 3] == 0).all()
    assert (pixels[-10:, :10, 0] == 90).all()


def test_large_images_are_reduced() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 300, 150, 3), dtype=np.uint8)
    assert grid(images, columns=2).height == 48


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (float("nan"), "not a number"),
        (float("inf"), "∞"),
        (float("-inf"), "−∞"),
        (1e12, "1e12"),
        (-0.5, "−0.5"),
        (99.999, "100"),
    ],
)
def test_numbers_as_words(x: float, text: str) -> None:
    assert number(x) == text


def test_durations_as_words() -> None:
    assert [duration(s) for s in (0.0, 59.97, 60.0, 3600.0)] == ["0.0 s", "1 min", "1 min", "1 h 0 min"]


def test_long_names_are_cut_in_their_middle() -> None:
    assert shorten("a" * 30 + "b" * 30, 9) == "aaaa…bbbb"
    assert shorten("line\nbreak\t\x00x", 20) == "line break x"


def test_words_on_the_darkest_cell_are_legible() -> None:
    """A map's numbers stand on the first ink in shades, on light paper and on dark."""
    style = (Path(charts.__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")
    dark = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", style[style.index("prefers-color-scheme: dark") :]))
    for inks in (INKS, dark):
        ink, paper, first = (np.array(to_rgb(inks[role])) for role in ("ink", "paper", "first"))
        lights = [_light(colour) for colour in (ink, 0.45 * paper + 0.55 * first)]
        assert (max(lights) + 0.05) / (min(lights) + 0.05) >= 4.5


def _light(colour: NDArray[np.float64]) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(parts @ [0.2126, 0.7152, 0.0722])
