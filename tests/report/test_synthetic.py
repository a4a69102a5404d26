"""New rows of a mixed table beside real ones."""

from __future__ import annotations

import numpy as np
import pytest

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import Figure, MixedTable, measure_table
from latentkit.report.page import Page, Panels, Table, render
from latentkit.report.style import draw_svg
from latentkit.report.synthetic import compare_tables
from tests.evaluation.mixed_rows import rows, shuffled, table


def html_of(section) -> str:
    return render(Page(title="t", summary="s", tiles=[], sections=[section], version="0"))


def test_every_column_and_the_pairs_have_a_chart() -> None:
    real = rows(300, 0)
    section = compare_tables(real, shuffled(real))
    assert [chart.name for chart in section.charts] == [
        *(f"column-{place}" for place in range(4)),
        *("pairs-real", "pairs-synthetic", "pairs-difference"),
    ]
    alternatives = [chart.alternative for chart in section.charts]
    assert alternatives[0] == "Histogram of age in real and new rows; they differ by 0 %."
    assert alternatives[2] == "Frequencies of job in real and new rows; they differ by 0 %."
    share = np.isnan(real.column("pay")).mean()
    assert f"Missing: {100 * share:.2g} % of real, {100 * share:.2g} % of new rows." in alternatives[1]
    assert "The largest difference is −" in alternatives[-1]
    page = html_of(section)
    assert "Grey: 300 real rows. Blue: 300 new rows." in page


def test_figures_stand_above_with_their_floors_and_methods() -> None:
    real, new = rows(60, 0), rows(60, 1)
    figures = measure_table(new, train=real, test=rows(60, 2), metrics=["column-shapes"])
    section = compare_tables(real, new, figures=figures)
    (found, *_) = section.blocks
    assert isinstance(found, Table)
    assert [row[0] for row in found.rows] == [figure.name for figure in figures]
    assert [row[3] for row in found.rows] == [figure.floor_of for figure in figures]
    assert "±" in found.rows[1][1]
    assert {figure.name for figure in figures} <= {method.figure for method in section.method}
    assert not [block for block in compare_tables(real, new).blocks if isinstance(block, Table)]


def test_rare_categories_and_missing_cells_have_a_bar_together() -> None:
    rng = np.random.default_rng(0)
    codes = np.where(rng.random(500) < 0.1, np.nan, rng.integers(0, 9, 500))
    given = MixedTable(
        values=codes[:, None], is_categorical=[True], names=["<b>"], categories={"<b>": [*"abcdefg", "$x$", "<i>"]}
    )
    section = compare_tables(given, given.take(np.arange(100)))
    (chart,) = section.charts
    svg = draw_svg(chart.art, name="x", title="t")
    for words in ("3 others", "missing", "&lt;b&gt;"):
        assert words in svg
    assert len(chart.art.axes[0].get_yticklabels()) == 8
    bars = [patch.get_width() for patch in chart.art.axes[0].patches]
    assert sum(bars[:8]) == pytest.approx(1.0)
    assert sum(bars[8:]) == pytest.approx(1.0)


@pytest.mark.slow
def test_wide_tables_and_columns_without_cells_are_drawn() -> None:
    wide = table(np.zeros((5, 45)), [False] * 45, [f"c{place}" for place in range(45)])
    section = compare_tables(wide, wide)
    assert len(list(section.charts)) == 24 + 3
    captions = [block.caption for block in section.blocks if isinstance(block, Panels)]
    assert captions[0].endswith("The first 24 of 45 columns.")
    assert captions[1].endswith("The first 40 of 45 columns.")
    empty = table([[np.nan, np.nan], [np.nan, np.nan]], [False, True])
    full = table([[1.0, 0.0], [2.0, 5.0]], [False, True])
    for one, other in ((empty, full), (full, empty), (empty, empty)):
        assert "<svg" in html_of(compare_tables(one, other))


def test_tables_of_other_columns_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match="real and synthetic must have the same columns"):
        compare_tables(rows(9, 0), rows(9, 0).without(np.array([True, False, False, False])))


def test_a_figure_keeps_its_direction() -> None:
    figure = Figure(name="AUC", value=0.9, better="higher", floor=0.92, floor_of="real", computed_with="boosting")
    (found, *_) = compare_tables(rows(9, 0), rows(9, 1), figures=[figure]).blocks
    assert isinstance(found, Table)
    assert found.rows == [["AUC", "0.9", "0.92", "real", "higher"]]
