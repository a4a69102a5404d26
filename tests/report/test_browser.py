"""The page in a browser that has no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator

from latentkit import GAN, VQVAE, AnomalyDetector
from latentkit.data import Dataset
from latentkit.estimators import VAE
from latentkit.report import write_report
from latentkit.report.marking import plain, readable
from latentkit.report.page import Page, Section, TextLine, TextList, Texts, render
from tests.report.cases import ODD

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("brief_ensembles")]

SMALL: dict[str, Any] = {"max_epochs": 2, "random_state": 0}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def _table() -> Any:
    import pandas as pd

    rng = np.random.default_rng(0)
    words = rng.choice(["short", "a category whose name is far too long for a chart of it"], 120)
    return pd.DataFrame({"words": words, "number": rng.normal(size=120), "x" * 60: rng.integers(0, 50, 120)})


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield program
        program.close()


@pytest.fixture(scope="module")
def page_of(
    tmp_path_factory: pytest.TempPathFactory,
    image_model: VAE,
    images: Dataset,
    row_model: VAE,
    rows: Dataset,
    texts: Dataset,
    text_model: VAE,
) -> Callable[[str], Path]:
    """Pages by their names, each written once, when it is asked for."""
    folder = tmp_path_factory.mktemp("report")

    def write(name: str) -> Path:
        detector, data, model = None, images if name in ("images", "images-zh", "codes") else rows, row_model
        if name == "images-zh":
            model = image_model
        elif name == "images":
            model = image_model
            detector = AnomalyDetector(FrozenEstimator(model), parts=("residuals",), random_state=0).fit(images)
        elif name == "codes":
            model = VQVAE(n_codes=8, prior_width=16, **SMALL).fit(images.data)
        elif name == "gan":
            model = GAN(2, decoder=(8,), **SMALL).fit(rows.data)
        elif name == "table":
            model, data = VAE(**SMALL).fit(_table()), Dataset(_table(), "t", "table")
            detector = AnomalyDetector(parts=("histograms",), contamination=0.1, random_state=0).fit(_table())
        elif name == "texts":
            model, data = text_model, texts
        given = None if name == "nothing" else data
        language = "zh" if name.endswith("-zh") else "en"
        return write_report(model, folder / f"{name}.html", data=given, detector=detector, language=language)

    return cache(write)


def _shown(*cases: tuple[str, int, str], slow: bool = False) -> list[Any]:
    return [pytest.param(*case, marks=pytest.mark.slow if slow else []) for case in cases]


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        *_shown(*((name, 375, "dark") for name in ("images", "codes", "texts")), ("images-zh", 1440, "light")),
        *_shown(*((name, 375, "dark") for name in ("rows", "nothing", "table", "gan", "images-zh")), slow=True),
        *_shown(*((name, 1440, "light") for name in ("rows", "nothing", "codes", "table", "gan", "texts")), slow=True),
    ],
)
def test_the_page_needs_nothing_and_fits(
    browser: Any, page_of: Callable[[str], Path], name: str, width: int, scheme: str
) -> None:
    path = page_of(name)
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme, offline=True)
    page = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    assert complaints == []
    assert [url for url in requests if not url.startswith(("data:", path.as_uri()))] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    broken = "[...document.images].filter(image => !image.complete || !image.naturalWidth).length"
    assert page.evaluate(broken) == 0
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(246, 247, 248)" if scheme == "light" else "rgb(17, 20, 24)")
    context.close()


CONTRAST = """() => {
    const parts = text => text.match(/[\\d.]+/g).map(Number);
    const light = text => {
        const part = parts(text).slice(0, 3).map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
    };
    const ground = node => {
        for (; node; node = node.parentElement) {
            const colour = parts(getComputedStyle(node).backgroundColor);
            if (colour.length < 4 || colour[3] > 0) return getComputedStyle(node).backgroundColor;
        }
        return 'rgb(255, 255, 255)';
    };
    const worst = {};
    for (const node of document.body.querySelectorAll('*')) {
        if (![...node.childNodes].some(child => child.nodeType === 3 && child.data.trim())) continue;
        if (['STYLE', 'style', 'title'].includes(node.tagName)) continue;
        const style = getComputedStyle(node), isDrawn = node instanceof SVGElement;
        const [a, b] = [light(isDrawn ? style.fill : style.color), light(ground(node))].sort((x, y) => y - x);
        const contrast = (a + 0.05) / (b + 0.05);
        if (contrast < 4.5) worst[node.textContent.trim().slice(0, 40)] = contrast;
    }
    return worst;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["images", pytest.param("table", marks=pytest.mark.slow), "texts"])
def test_words_stand_out_from_their_ground(
    browser: Any, page_of: Callable[[str], Path], name: str, scheme: str
) -> None:
    """Contrast of every text with what it stands on of at least 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(page_of(name).as_uri())
    assert page.evaluate(CONTRAST) == {}
    context.close()


def test_everything_that_can_be_used_is_reached_by_the_keyboard(browser: Any, page_of: Callable[[str], Path]) -> None:
    context = browser.new_context(viewport={"width": 375, "height": 800})
    page = context.new_page()
    page.goto(page_of("images").as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.url.endswith("#training")
    reached = page.evaluate("[...document.querySelectorAll('a, .scroll')].filter(node => node.tabIndex < 0).length")
    assert reached == 0
    named = "[...document.querySelectorAll('img, svg, nav, section, .scroll')]"
    named += ".filter(node => !node.alt && !node.getAttribute('aria-label') && !node.getAttribute('aria-labelledby'))"
    assert page.evaluate(f"{named}.length") == 0
    context.close()


def test_contents_stand_beside_the_page_where_there_is_room(browser: Any, page_of: Callable[[str], Path]) -> None:
    for width, is_beside in ((1440, True), (900, False)):
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.goto(page_of("images").as_uri())
        nav, main = (page.locator(name).bounding_box() for name in ("nav", "main"))
        assert (nav["x"] + nav["width"] <= main["x"]) == is_beside
        page.close()


def test_the_page_can_be_printed(browser: Any, page_of: Callable[[str], Path]) -> None:
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(page_of("images").as_uri())
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    context.close()


def test_texts_keep_their_direction(browser: Any, tmp_path: Path) -> None:
    shown = Texts(lists=[TextList(lines=[TextLine(pieces=plain(text)) for text in ODD])])
    section = Section(key="training", heading="Texts", blocks=[shown])
    path = tmp_path / "page.html"
    path.write_text(render(Page(title="T", summary="", tiles=[], sections=[section], version="1")), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    script = "[...document.querySelectorAll('.texts p')].map(p => [p.textContent, getComputedStyle(p).direction])"
    expected = [[readable(text), "rtl" if "ש" in text else "ltr"] for text in ODD]
    assert page.evaluate(script) == expected
    page.close()
