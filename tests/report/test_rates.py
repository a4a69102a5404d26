"""The chart of rates: a line for each coder, in bits, and a panel for each figure that there is."""

from __future__ import annotations

import pytest

from latentkit.evaluation import Distortion, RatePoint
from latentkit.report.rates import rate_curves
from latentkit.report.style import draw_png


def points(name: str, *, n_similar: int = 0) -> list[RatePoint]:
    return [
        RatePoint(name, 10 * n, 0.25 * n, Distortion(1, 100, 90_000 // n**2, n_similar, n_similar * (1 - 0.1 / n)))
        for n in (3, 1, 2)
    ]


@pytest.mark.parametrize("n_similar", [0, 1])
def test_each_coder_is_a_line_from_few_bits_to_many(n_similar: int) -> None:
    figure = rate_curves([*points("ours", n_similar=n_similar), *points("JPEG", n_similar=n_similar)], "ours")
    assert [axes.get_ylabel() for axes in figure.axes] == ["PSNR, dB", "MS-SSIM of luma"][: 1 + n_similar]
    for axes in figure.axes:
        assert [line.get_label() for line in axes.lines] == ["ours", "JPEG"]
        assert axes.lines[0].get_xdata().tolist() == [0.25, 0.5, 0.75]
        assert [text.get_text() for text in axes.texts] == ["quality 10", "20", "30"]
    assert draw_png(figure).startswith(b"\x89PNG")


def test_what_is_exact_has_no_place() -> None:
    exact = RatePoint("ours", 100, 9.0, Distortion(1, 100, 0))
    figure = rate_curves([*points("ours"), exact], "ours")
    assert len(figure.axes[0].lines[0].get_xdata()) == 3
    assert rate_curves([exact], "ours").axes == []
