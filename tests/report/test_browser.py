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
        detector, data, model = None, images if name in ("images", "codes") else rows, row_model
        if name == "images":
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
        return write_report(model, folder / f"{name}.html", data=given, detector=detector)

    return cache(write)


def _shown(*cases: tuple[str, int, str], slow: bool = False) -> list[Any]:
    return [pytest.param(*case, marks=pytest.mark.slow if slow else []) for case in cases]


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        *_shown(*((name, 390, "dark") for name in ("images", "codes", "texts")), ("images", 1280, "light")),
        *_shown(*((name, 390, "dark") for name in ("rows", "nothing", "table", "gan")), slow=True),
        *_shown(*((name, 1280, "light") for name in ("rows", "nothing", "codes", "table", "gan", "texts")), slow=True),
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


def test_words_stand_out_from_their_ground(browser: Any, page_of: Callable[[str], Path]) -> None:
    """Contrast of text of at least 4.5 to 1 (WCAG 2.2, 1.4.3), in both schemes."""
    script = """() => {
        const light = text => {
            const part = text.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
                .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
        };
        const probe = document.createElement('p');
        document.body.append(probe);
        const colour = name => { probe.style.color = `var(--${name})`; return light(getComputedStyle(probe).color); };
        const worst = [];
        for (const ink of ['ink', 'soft', 'first', 'second'])
            for (const ground of ['paper', 'ground']) {
                const [a, b] = [colour(ink), colour(ground)].sort((x, y) => y - x);
                worst.push((a + 0.05) / (b + 0.05));
            }
        return Math.min(...worst);
    }"""
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(page_of("images").as_uri())
        assert page.evaluate(script) >= 4.5
        context.close()


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
