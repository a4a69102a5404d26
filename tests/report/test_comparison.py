from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from latentkit import GAN, VAE
from latentkit.estimators import compare_models
from latentkit.evaluation import Comparison
from latentkit.report import write_comparison
from latentkit.report.intervals import Interval, intervals
from tests.estimators.cases import pixels, small


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    X = pixels(80, 8, 8)
    gan = GAN(latent_dim=2, decoder=(8,), discriminator=(8,), max_epochs=1, random_state=0)
    return {"a <b>": small(max_epochs=1).fit(X[:40]), "long": small(max_epochs=15).fit(X[:40]), "gan": gan.fit(X[:40])}


@pytest.fixture(scope="module")
def comparison(models: dict[str, VAE], quick_classifier: None) -> Comparison:
    X = pixels(80, 8, 8)
    return compare_models(models, X[40:], train=X[:40], n_importance=3, n_samples=20)


def test_the_page_holds_everything_and_asks_for_nothing(
    comparison: Comparison, models: dict[str, Any], tmp_path: Path
) -> None:
    text = write_comparison(comparison, tmp_path / "page.html", models=models, source="images/test.npz").read_text()
    assert "<h1>3 models side by side</h1>" in text
    assert "of test.npz went through 3 models" in text
    assert "a &lt;b&gt;" in text
    assert "<b>a" not in text.replace("<b>a &lt;", "")
    for heading in ("Whether new data are copies", "All figures", "What cannot be had", "What each of them draws"):
        assert f">{heading}</h2>" in text
    assert "gan has no likelihood of data" in text
    assert "Holm&#39;s correction" in text
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)
    assert "<script" not in text
    assert 'class="skip" href="#likelihood"' in text
    names = re.findall(r'id="([^"]+)"', text)
    assert len(names) == len(set(names))


def test_pictures_need_the_models(comparison: Comparison, tmp_path: Path) -> None:
    assert "What each of them draws" not in write_comparison(comparison, tmp_path / "page.html").read_text()


def test_intervals_show_their_ends_and_a_reference() -> None:
    rows = [Interval(name="a", value=1.0, low=0.5, high=1.5), Interval(name="b", value=2.0, low=2.0, high=2.0)]
    (axes,) = intervals(rows, unit="nats", reference=1.2, reference_name="floor").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    ends = [list(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2]
    assert [0.5, 1.5] in ends
    assert [1.2, 1.2] in ends
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
