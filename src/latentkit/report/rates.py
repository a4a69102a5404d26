"""The chart of rates and errors: what coders that approximate make of the same images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from latentkit.report.style import INKS, house_style, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from latentkit.evaluation import RatePoint

__all__ = ["rate_curves"]

_ROLES = ("second", "third", "fourth", "quiet")


@house_style()
def rate_curves(points: Sequence[RatePoint], ours: str) -> Figure:
    """Decibels over bits a pixel, a line for each coder; beside it MS-SSIM, where the images are large enough.

    Args:
        points: Of all coders; the qualities of ours are written at its points.
        ours: Name of the coder whose line stands out.
    """
    from matplotlib.figure import Figure

    by_name: dict[str, list[RatePoint]] = {}
    for point in points:
        by_name.setdefault(point.name, []).append(point)
    panels: list[tuple[str, Mapping[str, list[tuple[float, float, int]]]]] = []
    for label, figure_of in (("PSNR, dB", "psnr"), ("MS-SSIM of luma", "ms_ssim")):
        found = {name: _line(each, figure_of) for name, each in by_name.items()}
        if any(found.values()):
            panels.append((label, found))
    figure = Figure(figsize=(5.6 * len(panels) if panels else 5.6, 3.9), layout="constrained")
    for number, (label, lines) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1)
        _draw(axes, lines, ours)
        axes.set_ylabel(label)
        if not number:
            axes.legend(
                frameon=False,
                loc="lower left",
                bbox_to_anchor=(-0.02, 1.0),
                ncols=len(by_name),
                fontsize=10,
                handlelength=1.6,
                columnspacing=1.3,
                borderpad=0,
                borderaxespad=0.4,
            )
    return figure


def _line(points: Sequence[RatePoint], figure_of: str) -> list[tuple[float, float, int]]:
    """Bits, figure and quality of the points that have one, from the fewest bits on."""
    found = []
    for point in points:
        value = getattr(point.distortion, figure_of)
        if value is not None and math.isfinite(value):
            found.append((point.bits_per_pixel, value, point.quality))
    return sorted(found)


def _draw(axes: Axes, lines: Mapping[str, list[tuple[float, float, int]]], ours: str) -> None:
    from matplotlib.patheffects import withStroke

    tidy(axes, size=10)
    axes.grid(axis="x", color=INKS["line"], linewidth=0.8)
    roles = iter(_ROLES)
    for name, line in lines.items():
        is_ours = name == ours
        role = "first" if is_ours else next(roles, "quiet")
        rates, values, qualities = zip(*line, strict=True) if line else ((), (), ())
        look: dict[str, Any] = {"linewidth": 1.4, "markersize": 4.5}
        if is_ours:
            look = {"linewidth": 2.4, "markersize": 7.5, "zorder": 4}
        axes.plot(rates, values, color=INKS[role], marker="o", markeredgecolor=INKS["paper"], label=name, **look)
        for number, (rate, value, quality) in enumerate(zip(rates, values, qualities, strict=True) if is_ours else ()):
            label = axes.annotate(
                str(quality) if number else f"quality {quality}",
                (rate, value),
                xytext=(-6, 5),
                textcoords="offset points",
                ha="right",
                color=INKS[role],
                fontsize=9,
                zorder=5,
            )
            label.set_path_effects([withStroke(linewidth=3, foreground=INKS["paper"])])  # lines may pass behind it
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("bits a pixel")
    axes.margins(x=0.14, y=0.1)
