"""Charts: arrays in, matplotlib figures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentkit.report.language import said, say
from latentkit.report.style import INKS, house_style, new_axes, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "association_map",
    "category_bars",
    "cell_map",
    "change_chart",
    "contribution_bars",
    "curves",
    "distances",
    "divergence_bars",
    "error_bars",
    "latent_histogram",
    "latent_map",
    "length_histogram",
    "marginal",
    "path_heatmap",
    "score_histogram",
    "usage_bars",
    "variance_bars",
]

Numbers = NDArray[Any]


@house_style()
def curves(
    epochs: Sequence[int],
    lines: Mapping[str, Sequence[float | None]],
    *,
    best: int | None = None,
    unit: str = "nats",
    is_rate: bool = False,
) -> Figure:
    """Lines over epochs; a line may have holes.

    Args:
        epochs: From 1.
        lines: Values by name, in the order of the legend.
        best: Epoch to mark; None for none.
        unit: Of the values.
        is_rate: Whether the values are written as powers of ten.
    """
    figure, axes = new_axes(5.2, 2.5)
    colours = ("first", "second", "third")
    lowest, highest = np.inf, -np.inf
    for (name, values), role in zip(lines.items(), colours, strict=False):
        y = np.array([np.nan if value is None else value for value in values], float)
        few = len(epochs) <= 2
        axes.plot(epochs, y, color=INKS[role], linewidth=1.8, label=name, marker="o" if few else "", markersize=4)
        # The first epochs would flatten all the others: they may leave the frame at the bottom.
        kept = y[np.isfinite(y)]
        if len(kept):
            settled = kept[len(kept) // 10 :]
            lowest, highest = min(lowest, settled.min()), max(highest, kept.max())
    if best is not None and len(epochs) > 1:
        axes.axvline(best, color=INKS["quiet"], linewidth=1, linestyle=(0, (3, 3)), zorder=1)
    if best is not None and len(epochs) > 1 and not is_rate:
        right = best > epochs[0] + 0.6 * (epochs[-1] - epochs[0])
        axes.annotate(
            say("best epoch {best}", best=best),
            (best, 0.02),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            xytext=(-4 if right else 4, 2),
            ha="right" if right else "left",
            color=INKS["soft"],
            fontsize=9.5,
        )
    if not is_rate and np.isfinite(lowest) and highest > lowest:
        margin = 0.06 * (highest - lowest)
        axes.set_ylim(lowest - 2.5 * margin, highest + margin)
    if is_rate:
        axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        axes.yaxis.get_offset_text().set(color=INKS["soft"], fontsize=8.5)
    _count_ticks(axes)
    axes.set_xlabel(say("epoch"))
    axes.set_ylabel(said(unit))
    if len(lines) > 1:
        axes.legend(
            frameon=False,
            loc="lower left",
            bbox_to_anchor=(-0.02, 1.0),
            ncols=len(lines),
            fontsize=10,
            handlelength=1.4,
            columnspacing=1.2,
            borderpad=0,
            borderaxespad=0.3,
        )
    return figure


@house_style()
def divergence_bars(divergences: Numbers, active: Numbers) -> Figure:
    """KL per latent dimension, largest first; dimensions that are not active are grey."""
    order = np.argsort(-divergences, kind="stable")
    figure, axes = new_axes(5.2, 2.9)
    colours = [INKS["first"] if active[index] else INKS["quiet"] for index in order]
    axes.bar(np.arange(len(order)), divergences[order], color=colours, width=0.82)
    _dimension_ticks(axes, order)
    axes.set_ylabel(say("KL, nats"))
    return figure


@house_style()
def variance_bars(variances: Numbers, order: Numbers, threshold: float) -> Figure:
    """Variance of the posterior mean per latent dimension on a logarithmic axis, with the threshold of activity."""
    figure, axes = new_axes(5.2, 2.9)
    values = np.maximum(variances[order], 1e-6)
    axes.axhline(threshold, color=INKS["second"], linewidth=1.2, linestyle=(0, (4, 3)))
    axes.annotate(
        say("active above {threshold:g}", threshold=threshold),
        (1, threshold),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        color=INKS["second"],
        fontsize=9.5,
    )
    roles = ["first" if value > threshold else "quiet" for value in values]
    axes.vlines(np.arange(len(order)), 1e-6, values, color=INKS["line"], linewidth=1)
    axes.scatter(np.arange(len(order)), values, color=[INKS[role] for role in roles], s=18, zorder=3)
    axes.set_yscale("log")
    axes.set_ylim(min(values.min(), threshold) / 3, max(values.max() * 3, 3.0))
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:g}")
    _dimension_ticks(axes, order)
    axes.set_ylabel(say("variance of the mean"))
    return figure


@house_style()
def marginal(data: Numbers | None, samples: Numbers, *, name: str) -> Figure:
    """Histogram of one feature: data as an area, samples as a line."""
    figure, axes = new_axes(2.5, 1.7)
    both = samples if data is None else np.concatenate([data, samples])
    both = both[np.isfinite(both)]
    low, high = (float(both.min()), float(both.max())) if len(both) else (0.0, 1.0)
    if data is not None and len(data) > 20:
        # A few far draws would squeeze the rest into one bar.
        span = float(np.ptp(data)) or 1.0
        low, high = max(low, float(data.min()) - 0.5 * span), min(high, float(data.max()) + 0.5 * span)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    bins = np.linspace(low, high, 25).tolist()
    if data is not None:
        axes.hist(data, bins=bins, density=True, color=INKS["line"], label=say("data"))
    if len(samples):
        axes.hist(
            samples, bins=bins, density=True, histtype="step", color=INKS["first"], linewidth=1.5, label=say("samples")
        )
    axes.grid(visible=False)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=4)
    axes.margins(x=0)
    return _small(figure, name)


@house_style()
def category_bars(data: Numbers, samples: Numbers, labels: Sequence[str], *, name: str) -> Figure:
    """Frequencies of categories: data as areas, samples as lines around them, in the order given from above.

    Args:
        data: Shares, shape (k,).
        samples: Likewise.
        labels: Names of the categories.
        name: Of the column.
    """
    figure, axes = new_axes(2.5, 1.7)
    places = -np.arange(len(labels))
    axes.barh(places, data, height=0.8, color=INKS["line"])
    axes.barh(places, samples, height=0.8, facecolor="none", edgecolor=INKS["first"], linewidth=1.3)
    axes.set_yticks(places, [shorten(label, 15) for label in labels])
    axes.set_xlim(0.0, 1.08 * max(float(np.max(data)), float(np.max(samples)), 0.01))
    axes.set_ylim(0.6 - max(len(labels), 3), 0.6)
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter(lambda x, _: f"{100 * x:.3g} %")
    axes.grid(visible=False, axis="y")
    axes.spines["bottom"].set_visible(False)
    return _small(figure, name)


@house_style()
def association_map(values: Numbers, names: Sequence[str], *, is_difference: bool = False) -> Figure:
    """A number for each pair of columns as colours.

    Args:
        values: Symmetric, shape (columns, columns); the diagonal stays empty.
        names: Of the columns.
        is_difference: Whether the numbers lie on both sides of 0, rather than in [0, 1].
    """
    n = len(names)
    side = 1.9 + min(0.16 * n, 4.0)
    figure, axes = new_axes(side + 0.5, side)
    shown = np.where(np.eye(n, dtype=bool), np.nan, values)
    limit = max(0.1, float(np.nanmax(np.abs(shown), initial=0.0))) if is_difference else 1.0
    low = -limit if is_difference else 0.0
    mesh = axes.imshow(shown, cmap=shades(both=is_difference), vmin=low, vmax=limit, interpolation="nearest")
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    step = max(1, -(-n // 25))
    words = [shorten(name, 16) for name in names[::step]]
    axes.set_yticks(np.arange(0, n, step), words, fontsize=8.5)
    axes.set_xticks(np.arange(0, n, step), words, fontsize=8.5, rotation=90)
    bar = figure.colorbar(mesh, ax=axes, fraction=0.045, pad=0.03)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, colors=INKS["soft"], labelsize=8.5)
    return figure


@house_style()
def distances(data: Numbers, samples: Numbers) -> Figure:
    """Histograms of distances: of data as an area, of samples as a line."""
    figure, axes = new_axes(5.2, 2.5)
    high = float(max(data.max(), samples.max())) or 1.0
    bins = np.linspace(0.0, high, 31).tolist()
    axes.hist(data, bins=bins, density=True, color=INKS["quiet"], alpha=0.6, label=say("data"))
    axes.hist(
        samples, bins=bins, density=True, histtype="step", color=INKS["first"], linewidth=1.8, label=say("samples")
    )
    axes.grid(visible=False)
    axes.set_yticks([])
    axes.margins(x=0)
    axes.set_xlabel(say("distance to the nearest example of the data"))
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, fontsize=10, borderpad=0)
    return figure


@house_style()
def length_histogram(data: Numbers, samples: Numbers) -> Figure:
    """How long examples and samples are: data as an area, samples as a line; the longest half per cent are left out.

    Args:
        data: Whole numbers, shape (n,).
        samples: Likewise.
    """
    figure, axes = new_axes(4.0, 2.3)
    both = np.concatenate([data, samples])
    low, high = int(both.min()), int(np.quantile(both, 0.995))
    step = max(1, -(-(high - low) // 40))
    bins = (np.arange(low, high + step + 1, step) - 0.5).tolist()
    axes.hist(data, bins=bins, density=True, color=INKS["line"], label=say("data"))
    axes.hist(samples, bins=bins, density=True, histtype="step", color=INKS["first"], linewidth=1.5, label=say("new"))
    axes.legend(frameon=False, labelcolor=INKS["soft"])
    axes.grid(visible=False)
    axes.set_yticks([])
    _count_ticks(axes)
    return figure


@house_style()
def usage_bars(frequencies: Numbers) -> Figure:
    """Frequency of each code, largest first, with the frequency that all would have if they were alike."""
    figure, axes = new_axes(5.2, 2.9)
    n = len(frequencies)
    ranks = np.arange(1, n + 1)
    shares = 100.0 * np.sort(frequencies)[::-1]
    if n <= 64:
        axes.bar(ranks, shares, color=INKS["first"], width=0.82)
    else:
        axes.fill_between(ranks, shares, step="mid", color=INKS["first"], linewidth=0)
    axes.axhline(100.0 / n, color=INKS["second"], linewidth=1.2, linestyle=(0, (4, 3)))
    axes.annotate(
        say("if all were alike"),
        (1, 100.0 / n),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        color=INKS["second"],
        fontsize=9.5,
    )
    axes.set_xlim(0.4, n + 0.6)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(say("codes, most frequent first"))
    axes.set_ylabel(say("% of all places"))
    return figure


@house_style()
def error_bars(errors: Numbers, names: Sequence[str], *, largest: float) -> Figure:
    """Reconstruction error per feature, largest first, as horizontal bars on an axis up to `largest`."""
    order = np.argsort(errors, kind="stable")
    figure, axes = new_axes(5.2, 0.6 + 0.24 * len(order))
    axes.barh(np.arange(len(order)), errors[order], color=INKS["first"], height=0.7)
    axes.set_yticks(np.arange(len(order)), [shorten(names[index], 26) for index in order])
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x", color=INKS["line"], linewidth=0.8)
    axes.axvline(1.0, color=INKS["second"], linewidth=1.2, linestyle=(0, (4, 3)))
    axes.set_xlim(0, max(1.08, largest * 1.05))
    axes.set_xlabel(say("error relative to the feature's standard deviation"))
    axes.margins(y=0.02)
    return figure


@house_style()
def contribution_bars(values: Numbers, names: Sequence[str], *, largest: float) -> Figure:
    """What columns add to the score of a row, the largest first, as bars with their figures.

    Args:
        values: Nats, shape (k,), in the order given from above.
        names: Columns, with their cells or without.
        largest: Where the axis ends, so that the bars of several rows can be compared.
    """
    height = 0.12 + 0.23 * len(names)
    figure, axes = new_axes(4.6, height)
    figure.set_layout_engine("none")  # bars of several rows begin below each other
    axes.set_position((0.42, 0.0, 0.58, 1.0))
    places = -np.arange(len(names))
    axes.barh(places, values, height=0.62, color=INKS["first"])
    for place, value in zip(places, values, strict=True):
        axes.annotate(
            f"+{value:.1f}",
            (value, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9.5,
            color=INKS["soft"],
        )
    axes.set_yticks(places, [shorten(name, 26) for name in names], fontsize=9.5, color=INKS["ink"])
    axes.set_xticks([])
    axes.set_xlim(0.0, 1.18 * largest)
    axes.set_ylim(0.55 - len(names), 0.45)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    return figure


@house_style()
def score_histogram(scores: Numbers, cut: float, *, things: str) -> Figure:
    """How many rows have which score, on a logarithmic axis; those above the cut stand out.

    Args:
        scores: Nats, shape (n,).
        cut: Above which rows are flagged; it lies between two bars.
        things: What is counted, such as rows.
    """
    figure, axes = new_axes(5.2, 2.5)
    low, high = min(float(scores.min()), cut), max(float(scores.max()), cut)
    width = max(high - low, 1e-6) / 48
    edges = cut + width * np.arange(np.floor((low - cut) / width) - 1, np.ceil((high - cut) / width) + 2)
    # a row at the cut is not above it
    counts = np.histogram(-scores, bins=-edges[::-1])[0][::-1]
    middles = edges[:-1] + 0.5 * width
    roles = ["second" if middle > cut else "first" for middle in middles]
    axes.bar(
        middles,
        np.where(counts > 0, counts - 0.5, 0.0),
        bottom=0.5,
        width=0.86 * width,
        color=[INKS[role] for role in roles],
    )
    axes.axvline(cut, color=INKS["second"], linewidth=1.2, linestyle=(0, (4, 3)))
    is_right = cut > low + 0.6 * (high - low)
    axes.annotate(
        say("flagged above {cut:.1f}", cut=cut),
        (cut, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-5 if is_right else 5, -3),
        textcoords="offset points",
        ha="right" if is_right else "left",
        va="top",
        color=INKS["second"],
        fontsize=9.5,
    )
    axes.set_yscale("log")
    axes.set_ylim(0.5, 2.2 * max(float(counts.max()), 1.0))
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel(say("score, nats"))
    axes.set_ylabel(things)
    axes.margins(x=0.01)
    return figure


@house_style()
def change_chart(values: Numbers, tracks: Numbers, names: Sequence[str]) -> Figure:
    """How the features that move most follow one latent dimension.

    Args:
        values: Values of z, shape (steps,).
        tracks: Features in standard deviations, shape (steps, k), k at most 4.
        names: Their names.
    """
    figure, axes = new_axes(3.6, 2.5)
    roles = ("first", "second", "third", "fourth")
    styles = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1, 1.5)))
    for column, (name, role, style) in enumerate(zip(names, roles, styles, strict=False)):
        axes.plot(values, tracks[:, column], color=INKS[role], linestyle=style, linewidth=1.8, label=shorten(name, 20))
    axes.set_xlabel(say("z, in standard deviations of the prior"))
    figure.legend(frameon=False, loc="outside lower left", fontsize=8.5, ncols=2, handlelength=2.0, borderpad=0)
    return figure


@house_style()
def cell_map(values: Numbers, rows: Sequence[str], columns: Sequence[str]) -> Figure:
    """Numbers in cells, the larger the darker; what is 0 or below is left empty.

    Args:
        values: Shape (rows, columns).
        rows: Names of the rows, from above.
        columns: Names of the columns.
    """
    from matplotlib.patches import Rectangle

    n_rows, n_columns = values.shape
    figure, axes = new_axes(5.2, 1.3 + 0.27 * n_rows)
    largest = max(float(values.max()), 1e-12)
    for row in range(n_rows):
        for column in range(n_columns):
            value = float(values[row, column])
            if value <= 0:
                continue
            shade = 0.05 + 0.5 * value / largest  # words on it stay legible, in the dark as well
            cell = Rectangle((column - 0.47, row - 0.45), 0.94, 0.9, facecolor=INKS["first"], alpha=shade, linewidth=0)
            axes.add_patch(cell)
            if n_columns <= 12:
                text = f"{value:.2f}" if largest < 10 else f"{value:.3g}"
                axes.text(column, row, text, ha="center", va="center", fontsize=8.5, color=INKS["ink"])
    axes.set_xlim(-0.5, n_columns - 0.5)
    axes.set_ylim(n_rows - 0.5, -0.5)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.set_yticks(np.arange(n_rows), list(rows))
    axes.set_xticks(np.arange(n_columns), [shorten(name, 18) for name in columns])
    if max(map(len, columns)) > 42 / n_columns:
        axes.tick_params(axis="x", labelrotation=45)
        for label in axes.get_xticklabels():
            label.set(horizontalalignment="right", rotation_mode="anchor")
    axes.set_ylabel(say("latent dimension"))
    return figure


@house_style()
def path_heatmap(path: Numbers, names: Sequence[str], ends: tuple[str, str]) -> Figure:
    """Features along a way through the latent space, as colours.

    Args:
        path: Features in standard deviations, shape (steps, features).
        names: Names of the features.
        ends: Names of the two ends.
    """
    figure, axes = new_axes(5.2, 0.8 + 0.22 * len(names))
    limit = max(1.0, float(np.abs(path).max()))
    mesh = axes.imshow(path.T, aspect="auto", cmap=shades(both=True), vmin=-limit, vmax=limit, interpolation="nearest")
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.set_yticks(np.arange(len(names)), [shorten(name, 26) for name in names])
    axes.set_xticks([0, len(path) - 1], [shorten(end, 24) for end in ends])
    first, last = axes.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
    bar = figure.colorbar(mesh, ax=axes, fraction=0.05, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, colors=INKS["soft"], labelsize=8.5)
    return figure


@house_style()
def latent_map(points: Numbers, groups: Sequence[tuple[str, str, Numbers]], *, axes_names: tuple[str, str]) -> Figure:
    """Points in the plane, coloured by group; each group's name stands at its middle.

    Args:
        points: Shape (n, 2).
        groups: Name, colour and rows of each; an empty name is not written.
        axes_names: Labels of the two axes; empty ones leave the axes without numbers.
    """
    figure, axes = new_axes(4.6, 4.3)
    size = 3.2 if len(points) > 500 else 4.5
    for place, (_, colour, rows) in enumerate(groups):
        axes.plot(
            points[rows, 0].round(3),
            points[rows, 1].round(3),
            linestyle="",
            marker="o",
            markersize=size,
            markeredgewidth=0,
            color=colour,
            alpha=0.75,
            gid=f"points-{place}",
        )
    from matplotlib.patheffects import withStroke

    for name, _, rows in groups:
        if name and len(rows):
            middle = np.median(points[rows], axis=0)
            axes.text(
                middle[0],
                middle[1],
                shorten(name, 14),
                ha="center",
                va="center",
                fontsize=11,
                fontweight="bold",
                color=INKS["ink"],
                path_effects=[withStroke(linewidth=3, foreground=INKS["paper"])],
            )
    axes.grid(visible=False)
    axes.set_xlabel(axes_names[0])
    axes.set_ylabel(axes_names[1])
    if not any(axes_names):
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines["bottom"].set_visible(False)
    axes.margins(0.03)
    return figure


@house_style()
def latent_histogram(values: Numbers, groups: Sequence[tuple[str, str, Numbers]]) -> Figure:
    """One latent dimension as histograms by group."""
    figure, axes = new_axes(5.2, 2.9)
    low, high = float(values.min()), float(values.max())
    if not high > low:
        low, high = low - 0.5, high + 0.5
    bins = np.linspace(low, high, 41).tolist()
    for _, colour, rows in groups:
        axes.hist(values[rows], bins=bins, histtype="stepfilled", alpha=0.25, color=colour)
        axes.hist(values[rows], bins=bins, histtype="step", linewidth=1.5, color=colour)
    axes.set_xlabel(say("mean of z"))
    axes.set_ylabel(say("examples"))
    return figure


def shorten(text: str, length: int) -> str:
    """Return a text on one line of at most `length` characters, cut in its middle."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[head + 1 - length :]}"


def _small(figure: Figure, name: str) -> Figure:
    """Finish a small chart among many: the name of its column above it."""
    (axes,) = figure.axes
    axes.set_title(shorten(name, 30), fontsize=9.5, loc="left", color=INKS["ink"], pad=4)
    axes.tick_params(labelsize=8.5, pad=3)
    return figure


def _dimension_ticks(axes: Axes, order: Numbers) -> None:
    step = 1 if len(order) <= 20 else 2 if len(order) <= 36 else max(4, len(order) // 16)
    places = np.arange(0, len(order), step)
    axes.set_xticks(places, [str(order[place]) for place in places])
    axes.set_xlim(-0.7, len(order) - 0.3)
    axes.set_xlabel(say("latent dimension, most informative first"))


def _count_ticks(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
