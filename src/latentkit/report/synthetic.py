"""A synthetic table beside the real one: its columns, its pairs of columns, its figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from latentkit.evaluation import Figure, MixedTable, column_shapes, pair_associations
from latentkit.evaluation.mixed_table import check_tables, code_categories
from latentkit.report.charts import association_map, category_bars, marginal
from latentkit.report.language import said, say, sentence
from latentkit.report.page import Block, Chart, Method, Panels, Section, Table
from latentkit.report.wording import count, first_of, number

__all__ = ["compare_tables"]

#: Columns with a chart, categories in a chart, and columns in the maps of pairs, at most.
MOST_CHARTS, MOST_CATEGORIES, MOST_MAPPED = 24, 6, 40


def compare_tables(real: MixedTable, synthetic: MixedTable, *, figures: Sequence[Figure] = ()) -> Section:
    """The part of a report that shows new rows of a mixed table beside real ones.

    Args:
        real: Rows of the data.
        synthetic: New rows, with the same columns.
        figures: Of ``measure_table``, shown as a table; none by default.

    Returns:
        Figures, one chart for each column, and maps of the associations of pairs: real, synthetic and the difference.

    Raises:
        InvalidParameterError: If the columns differ.

    Example:
        >>> rows = MixedTable(values=[[1.0, 0], [2.0, 1]], is_categorical=[False, True], names=["age", "sex"])
        >>> [chart.name for chart in compare_tables(rows, rows).charts]
        ['column-0', 'column-1', 'pairs-real', 'pairs-synthetic', 'pairs-difference']
    """
    check_tables(real=real, synthetic=synthetic)
    distances = column_shapes(real, synthetic).distances
    blocks: list[Block] = [_table_of(figures)] if figures else []
    blocks.append(
        Panels(
            charts=[_column(real, synthetic, place, distances) for place in range(len(real.names))[:MOST_CHARTS]],
            size="small",
            caption=say(
                "Grey: {real_rows}. Blue: {new_rows}.",
                real_rows=count(real.n, "real row"),
                new_rows=count(synthetic.n, "new row"),
            )
            + first_of(MOST_CHARTS, len(real.names)),
        )
    )
    if len(real.names) > 1:
        blocks.append(_pairs(real, synthetic))
    return Section(
        key="synthetic",
        heading=say("New rows beside real ones"),
        lead=say(
            "Good new rows spread as the real ones do, column by column, and their columns hang together "
            "in the same way. They repeat no real row more often than real rows repeat each other."
        ),
        short=say("New rows"),
        blocks=blocks,
        method=_methods(figures),
    )


def _table_of(figures: Sequence[Figure]) -> Table:
    def value(figure: Figure) -> str:
        error = "" if figure.standard_error is None else f" ± {number(figure.standard_error, 2)}"
        return f"{number(figure.value)}{error}"

    return Table(
        header=[say("figure"), say("new rows"), say("to be expected"), say("of"), say("better is")],
        rows=[
            [said(f.name), value(f), "" if f.floor is None else number(f.floor), said(f.floor_of), said(f.better)]
            for f in figures
        ],
        numeric=(1, 2),
        caption=say("Quality and privacy belong together: copies of real rows have the best quality and no privacy."),
    )


def _column(real: MixedTable, synthetic: MixedTable, place: int, distances: dict[str, float]) -> Chart:
    name, cells = real.names[place], [table.values[:, place] for table in (real, synthetic)]
    missing = [float(np.isnan(column).mean()) for column in cells]
    holes = ""
    if real.is_categorical[place]:
        of_real, of_new, labels = _frequencies(cells, real.categories.get(name, ()))
        art, kind = category_bars(of_real, of_new, labels, name=name), say("Frequencies")
    else:
        numbers = [column[~np.isnan(column)] for column in cells]
        art, kind = marginal(numbers[0] if len(numbers[0]) else None, numbers[1], name=name), say("Histogram")
        if any(missing):
            holes = say(
                "Missing: {real} of real, {new} of new rows.",
                real=_percent(missing[0]),
                new=_percent(missing[1]),
            )
    alternative = say(
        "{kind} of {name} in real and new rows; they differ by {share}. {holes}",
        kind=kind,
        name=name,
        share=_percent(distances[name]),
        holes=holes,
    )
    return Chart(name=f"column-{place}", art=art, alternative=alternative.strip(), caption=holes)


def _frequencies(
    cells: Sequence[NDArray[np.float64]], names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Shares of the most frequent categories of both tables, then of all others and of missing where there are any."""
    codes, n_codes = code_categories(*cells)
    shares = np.stack([np.bincount(column, minlength=n_codes) / len(column) for column in codes])
    missing, known = shares[:, -1], shares[:, :-1]
    order = np.argsort(-known.sum(0), kind="stable")
    top, rest = order[:MOST_CATEGORIES], known[:, order[MOST_CATEGORIES:]].sum(1)
    columns = [known[:, top]]
    labels = [names[code] if code < len(names) else str(code) for code in top]
    n_rest = len(order) - len(top)
    for label, share in ((count(n_rest, "other"), rest), (say("missing"), missing)):
        if share.any():
            columns.append(share[:, None])
            labels.append(label)
    of_real, of_new = np.concatenate(columns, axis=1)
    return of_real, of_new, labels


def _pairs(real: MixedTable, synthetic: MixedTable) -> Panels:
    shown = np.arange(len(real.names)) >= MOST_MAPPED
    real, synthetic = real.without(shown), synthetic.without(shown)
    of_real, of_synthetic = (pair_associations(table, like=real) for table in (real, synthetic))
    difference = of_synthetic - of_real
    largest = np.unravel_index(np.argmax(np.abs(difference)), difference.shape)
    worst = say(" and ").join(real.names[place] for place in largest)
    charts = [
        Chart(
            name=f"pairs-{key}",
            art=association_map(values, real.names, is_difference=key == "difference"),
            heading=heading,
            alternative=say(
                "Map of Cramer's V for each pair of columns, {which}.{more}", which=heading.lower(), more=more
            ),
        )
        for key, values, heading, more in (
            ("real", of_real, say("Real rows"), ""),
            ("synthetic", of_synthetic, say("New rows"), ""),
            (
                *("difference", difference, say("New less real")),
                say(
                    " The largest difference is {largest}, of {worst}.",
                    largest=number(float(difference[largest]), 2),
                    worst=worst,
                ),
            ),
        )
    ]
    return Panels(
        charts=charts,
        caption=say(
            "How much each pair of columns tells about each other: Cramer's V, 0 for nothing, 1 for everything."
        )
        + first_of(MOST_MAPPED, len(shown)),
    )


def _methods(figures: Sequence[Figure]) -> list[Method]:
    return [
        Method(
            say("Columns of new rows"),
            say(
                "Histograms have 24 bins and equal areas; of categories, the {most} most frequent "
                "have bars. Columns differ by the Kolmogorov-Smirnov distance of numbers, and the total "
                "variation of categories, with missing as a value.",
                most=MOST_CATEGORIES,
            ),
        ),
        Method(
            say("Pairs of columns"),
            say(
                "Cramer's V of the contingency table of both columns, numbers in at most 10 bins bounded by "
                "quantiles of the real rows, missing as a value. Few rows raise it by chance."
            ),
        ),
        *(Method(said(figure.name), sentence(said(figure.computed_with))) for figure in figures),
    ]


def _percent(share: float) -> str:
    return f"{number(100 * share, 2)} %"
