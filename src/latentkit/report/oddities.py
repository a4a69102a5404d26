"""Pictures of what a detector found: how well it ranks, and where images are odd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from latentkit.evaluation import DetectionQuality
from latentkit.report.style import INKS, house_style, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["detection_curves", "heat_maps"]

Numbers = NDArray[Any]

#: Examples that stand side by side.
_PER_LINE = 2


@house_style()
def detection_curves(quality: DetectionQuality, *, flagged: tuple[float, float, float] | None = None) -> Figure:
    """The ROC curve, and precision by recall, each with what chance would give.

    Args:
        quality: Of a ranking.
        flagged: False-positive rate, recall and precision of the rows that were flagged, to be marked; None for none.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 3.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(quality.false_positive_rate, quality.true_positive_rate, color=INKS["first"], linewidth=1.8)
    left.plot([0, 1], [0, 1], color=INKS["quiet"], linewidth=1.2, linestyle=(0, (4, 3)))
    right.plot(quality.recall, quality.precision, color=INKS["first"], linewidth=1.8, drawstyle="steps-post")
    right.axhline(quality.prevalence, color=INKS["quiet"], linewidth=1.2, linestyle=(0, (4, 3)))
    _finish(left, f"AUROC {quality.auroc:.3f}", "normal rows flagged", "odd rows flagged")
    _finish(right, f"average precision {quality.average_precision:.3f}", "odd rows flagged", "flagged rows odd")
    if flagged is not None:
        false_rate, recall, precision = flagged
        for axes, place in ((left, (false_rate, recall)), (right, (recall, precision))):
            axes.plot(*place, "o", color=INKS["second"], markersize=6.5, clip_on=False, zorder=4)
            is_right, is_low = place[0] > 0.6, place[1] < 0.15
            axes.annotate(
                "the cut",
                place,
                xytext=(-8 if is_right else 8, 8 if is_low else -6),
                textcoords="offset points",
                ha="right" if is_right else "left",
                va="bottom" if is_low else "top",
                color=INKS["second"],
                fontsize=9.5,
            )
    above = quality.prevalence < 0.9
    for axes, place, side, across in (
        (left, (0.6, 0.56), "top", 4),
        (right, (0.02, quality.prevalence), "bottom" if above else "top", 0),
    ):
        axes.annotate(
            "by chance",
            place,
            xytext=(across, 3 if side == "bottom" else -3),
            textcoords="offset points",
            va=side,
            color=INKS["soft"],
            fontsize=9,
        )
    return figure


def _finish(axes: Axes, title: str, x: str, y: str) -> None:
    tidy(axes, size=9.5)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, fontsize=11, loc="left", color=INKS["ink"], pad=8, fontweight="bold")


@house_style()
def heat_maps(originals: Numbers, contributions: Numbers, counterparts: Numbers, names: Sequence[str]) -> Figure:
    """Images, what of them is odd, and the most similar images of training, side by side.

    Args:
        originals: Shape (n, height, width[, channels]), bytes.
        contributions: Of each pixel to the score, nats, in the shape of the images; channels may come first.
        counterparts: Like the originals.
        names: What is written above each.
    """
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm
    from matplotlib.figure import Figure

    n, (height, width) = len(originals), originals.shape[1:3]
    per_line = min(n, _PER_LINE)
    lines = -(-n // per_line)
    side = 1.35
    tall = side * height / width
    figure = Figure(figsize=(per_line * (3 * side + 0.5) + 0.1, lines * (tall + 0.42) + 0.45))
    colours = LinearSegmentedColormap.from_list("odd", [INKS["paper"], "#f7d7b0", "#e8924a", INKS["second"], "#4a1a00"])
    heat = _by_pixel(contributions, height, width).clip(0.0)
    largest = max(float(heat.max()), 1e-9)
    shade = PowerNorm(0.6, 0.0, largest)  # one scale for all, on which small contributions are still seen
    headings = ("image", f"odd, by up to {largest:.2g} nats", "most alike in training")
    wide, high = figure.get_size_inches()
    for index in range(n):
        line, place = divmod(index, per_line)
        left = 0.2 + place * (3 * side + 0.5)
        top = high - 0.42 - line * (tall + 0.42)
        panels: tuple[tuple[Any, dict[str, Any]], ...] = (
            (originals[index], {"cmap": "gray", "vmin": 0, "vmax": 255}),
            (heat[index], {"cmap": colours, "norm": shade}),
            (counterparts[index], {"cmap": "gray", "vmin": 0, "vmax": 255}),
        )
        figure.text(
            left / wide, (top - 0.06) / high, names[index], fontsize=9.5, color=INKS["ink"], va="center", weight="bold"
        )
        for column, (pixels, options) in enumerate(panels):
            box = ((left + column * (side + 0.05)) / wide, (top - 0.2 - tall) / high, side / wide, tall / high)
            axes = figure.add_axes(box)
            axes.imshow(pixels, interpolation="nearest", **options)
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set(color=INKS["line"], linewidth=0.8)
            if line == 0:
                middle = (left + column * (side + 0.05) + side / 2) / wide
                figure.text(
                    middle, (high - 0.2) / high, headings[column], fontsize=8.5, color=INKS["soft"], ha="center"
                )
    return figure


def _by_pixel(contributions: Numbers, height: int, width: int) -> Numbers:
    """Contributions of pixels, the channels of each added up, shape (n, height, width)."""
    if contributions.ndim == 3:
        return contributions
    summed: Numbers = contributions.sum(-1 if contributions.shape[1:3] == (height, width) else 1)
    return summed
