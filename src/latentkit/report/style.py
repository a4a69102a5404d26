"""How charts look: one palette, one typeface, and colours that follow the page into the dark.

A chart is drawn once, in the light colours. As a PNG it stays so; as an inline SVG each colour of :data:`INKS` becomes
the CSS variable of the same name, which the page sets for light, dark and print.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

__all__ = ["CLASS_COLOURS", "INKS", "class_colour", "draw_png", "draw_svg", "house_style", "new_axes", "shades", "tidy"]

#: Colours by role, in light; Okabe and Ito's palette, darkened where a thin line on white needs it. The values are
#: all different, because drawing an SVG recognises a role by its value.
INKS: dict[str, str] = {
    "ink": "#1c2127",
    "soft": "#59626d",
    "line": "#d5d9de",
    "paper": "#ffffff",
    "first": "#0068a8",
    "second": "#b54a00",
    "third": "#00805e",
    "fourth": "#b04a86",
    "quiet": "#a3abb5",
}

#: Colours of classes, as CSS variables c0 ... c9 in the dark; Tol's muted palette with three of Okabe and Ito. They
#: stay apart for the common kinds of colour blindness, and every class is also named in the chart.
CLASS_COLOURS: tuple[str, ...] = (
    "#0072b2",
    "#e08e00",
    "#117733",
    "#cc6677",
    "#882255",
    "#44aa99",
    "#999933",
    "#7c5cc4",
    "#56b0e0",
    "#7a4a21",
)

#: The typeface of charts that every matplotlib has, and those with Chinese characters, of which it takes what there is:
#: to measure words, and to draw them in PNG files. In a page, charts have the typefaces of the page.
_FAMILY = "DejaVu Sans"
_CHINESE = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "WenQuanYi Micro Hei",
    "SimHei",
    "Arial Unicode MS",
)
#: The two ends of maps of colours, seen on light and on dark grounds: they are laid on them in shades.
_ENDS = ("#d9731a", "#2580c3")


def class_colour(index: int) -> str:
    """Colour of the class at this place; classes beyond the last colour are grey."""
    return CLASS_COLOURS[index] if index < len(CLASS_COLOURS) else INKS["quiet"]


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty chart of this size in inches, without pyplot's global state; call it in :func:`house_style`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    # Wide charts are shown smaller on a phone, so their words are larger.
    tidy(axes, size=10.5 if width > 4 else 9.5)
    return figure, axes


def tidy(axes: Axes, *, size: float) -> None:
    """Leave what helps reading: a faint horizontal grid, an axis below, no frame."""
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=INKS["line"], linewidth=0.8)
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(INKS["quiet"])
    axes.tick_params(axis="both", length=0, colors=INKS["soft"], labelsize=size, pad=5)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(INKS["soft"])
        label.set_fontsize(size)


def draw_png(figure: Figure) -> bytes:
    """Return a chart as a PNG of twice the page's resolution, in light colours."""
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format="png", dpi=200, facecolor=INKS["paper"], metadata={"Software": None})
    return buffer.getvalue()


def draw_svg(figure: Figure, *, name: str, title: str, titles: Sequence[str] = ()) -> str:
    """Return a chart as an ``<svg>`` element to stand in a page.

    Args:
        figure: The chart.
        name: Prefix of the element's identifiers, which are unique in the page if the names are.
        title: What the picture shows, for those who do not see it; any text, it is escaped here.
        titles: What each point is, in the order of drawing, for lines of points whose gid starts with ``"points-"``;
            likewise. Empty for none.
    """
    from html import escape

    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with house_style():
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r'<g [^>]*>\s*(?:<use href="#[^"]*" x="[^"]*" y="[^"]*" style="[^"]*"/>\s*){20,}</g>', _lighter, text)
    for role, value in INKS.items():
        text = text.replace(value, f"var(--{role})")
    for index, value in enumerate(CLASS_COLOURS):
        text = text.replace(value, f"var(--c{index})")
    text = re.sub(r"(font: [^;\"]*?px) [^;\"]*", r"\1 var(--face)", text)
    size = re.search(r'viewBox="[^"]*"', text)
    assert size is not None, "matplotlib writes a viewBox"
    head = f'<svg class="chart" role="img" aria-label="{escape(title)}" {size.group()}>'
    text = head + text[text.index(">") + 1 :].strip()
    return _titled(text, name, titles) if len(titles) else text


def _titled(text: str, name: str, titles: Sequence[str]) -> str:
    """Give each point a title, which a browser shows beside the pointer."""
    from html import escape

    left = iter(titles)

    def of_group(group: re.Match[str]) -> str:
        return re.sub(
            r"(<use [^>]*)/>", lambda use: f"{use[1]}><title>{escape(next(left))}</title></use>", group.group()
        )

    text = re.sub(rf'<g id="{re.escape(name)}-points-\d+">.*?</g>\s*</g>', of_group, text, flags=re.DOTALL)
    assert next(left, None) is None, "there is a point for each title"
    return text


def _lighter(group: re.Match[str]) -> str:
    """Rewrite a cloud of points: its style once, and places to a tenth of what can be seen."""
    text = group.group()
    style = re.search(r'style="[^"]*"', text[text.index("<use") :])
    assert style is not None, "the pattern has one"
    points = re.sub(
        r'(<use href="#[^"]*") x="([^"]*)" y="([^"]*)" style="[^"]*"/>\s*',
        lambda use: f'{use[1]} x="{float(use[2]):.1f}" y="{float(use[3]):.1f}"/>',
        text[text.index("<use") :],
    )
    return f"{text[: text.index('>')]} {style.group()}>{points}"


def shades(*, both: bool) -> Colormap:
    """Colours of a map that let the ground through: from nothing to blue, or from orange over nothing to blue."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    low, high = (to_rgb(colour) for colour in _ENDS)
    middle = [(*high, 0.0)] if not both else [(*low, 1.0), (*low, 0.0), (*high, 0.0)]
    places = [0.0, 1.0] if not both else [0.0, 0.5, 0.5, 1.0]
    return LinearSegmentedColormap.from_list("shades", list(zip(places, [*middle, (*high, 1.0)], strict=True)))


@cache
def _families() -> list[str]:
    """The typefaces that this machine has."""
    from matplotlib.font_manager import fontManager

    there = {font.name for font in fontManager.ttflist}
    return [_FAMILY, *(name for name in _CHINESE if name in there)]


@contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib's settings inside the block, or the function that it decorates; the user's own are back after it."""
    import matplotlib as mpl

    settings: dict[Any, Any] = {
        "font.family": "sans-serif",
        "font.sans-serif": _families(),
        "font.size": 9.5,
        "text.color": INKS["ink"],
        "axes.unicode_minus": True,
        "svg.fonttype": "none",  # words stay words: they can be searched, selected and read aloud
        "svg.hashsalt": "latentkit",  # identifiers that do not change from one writing to the next
        "path.simplify": True,
        "text.usetex": False,
        "text.parse_math": False,  # a column may be called $x_1$
        "figure.constrained_layout.h_pad": 0.06,
        "figure.constrained_layout.w_pad": 0.06,
    }
    with mpl.rc_context(), warnings.catch_warnings():
        # A name in a script that the PNG's typeface lacks; the page itself has typefaces for it.
        warnings.filterwarnings("ignore", message="Glyph")
        mpl.rcdefaults()
        mpl.rcParams.update(settings)
        yield
