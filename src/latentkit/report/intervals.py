"""Values with their intervals below each other, to see which of them are apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentkit.report.charts import shorten
from latentkit.report.style import INKS, house_style, new_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Interval", "intervals"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value with its interval.

    Attributes:
        name: What it belongs to.
        value: The value.
        low: Lower end; the value where there is no interval.
        high: Upper end, likewise.
        stands_out: Whether it is drawn in the first colour.
    """

    name: str
    value: float
    low: float
    high: float
    stands_out: bool = False


@house_style()
def intervals(
    rows: Sequence[Interval], *, unit: str = "", reference: float | None = None, reference_name: str = ""
) -> Figure:
    """Draw values as points on lines that are their intervals, the first on top.

    Args:
        rows: The values, at least one.
        unit: Of all of them.
        reference: A value to compare with, such as a floor, drawn as a dashed line.
        reference_name: What it is, in a word or two.
    """
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_axes(4.6, 0.75 + 0.36 * len(rows) + (0.2 if reference_name else 0.0))
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x", color=INKS["line"], linewidth=0.8)
    if reference is not None:
        axes.axvline(reference, color=INKS["second"], linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
        if reference_name:
            axes.annotate(
                reference_name,
                (reference, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                color=INKS["second"],
                fontsize=9,
            )
    for place, row in enumerate(rows):
        colour = INKS["first"] if row.stands_out else INKS["soft"]
        axes.plot([row.low, row.high], [place, place], color=colour, linewidth=2.2, solid_capstyle="round")
        axes.plot([row.value], [place], color=colour, marker="o", markersize=7, markeredgecolor=INKS["paper"])
    axes.set_yticks(range(len(rows)), [shorten(row.name, 24) for row in rows], color=INKS["ink"])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.margins(x=0.08)
    if unit:
        axes.set_xlabel(unit)
    return figure
