"""What a page consists of, and writing it as HTML."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from latentkit.report.language import language, message, say
from latentkit.report.pictures import Picture
from latentkit.report.style import CLASS_COLOURS, INKS, draw_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Block",
    "Chart",
    "Legend",
    "Method",
    "Note",
    "Page",
    "Panels",
    "Piece",
    "Section",
    "Strip",
    "Strips",
    "Table",
    "TextLine",
    "TextList",
    "Texts",
    "Tile",
    "render",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One headline figure.

    Attributes:
        value: The figure, short.
        label: What it is.
        detail: How it was found, in a few words.
        interval: Between which values it lies with 95 % confidence; empty where nothing is said of that.
    """

    value: str
    label: str
    detail: str = ""
    interval: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One chart or picture with its caption.

    Attributes:
        name: File name without ending, and prefix of identifiers: unique in the page, letters and hyphens.
        art: A matplotlib figure, or a picture.
        heading: Short title above it; empty for none.
        caption: What to see, below it.
        alternative: What it shows, for those who do not see it.
        titles: What each point of a map is, shown where it is pointed at, in the order in which points are drawn; empty
            for none.
    """

    name: str
    art: Figure | Picture
    alternative: str
    heading: str = ""
    caption: str = ""
    titles: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Panels:
    """Charts side by side where there is room.

    Attributes:
        charts: One or more.
        size: Narrowest width of a panel: ``"small"``, ``"medium"`` or ``"large"``.
        caption: Below all of them.
    """

    charts: Sequence[Chart]
    size: Literal["small", "medium", "large"] = "medium"
    caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """A row of images with its name.

    Attributes:
        label: Name of the row.
        detail: A figure that belongs to it.
        chart: The picture, and what to see in it.
    """

    label: str
    chart: Chart
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strips:
    """Rows of images below each other; with ``inline``, many small ones beside each other."""

    strips: Sequence[Strip]
    caption: str = ""
    inline: bool = False


class Piece(NamedTuple):
    """A part of a text.

    Attributes:
        text: The part.
        is_marked: Whether it stands out.
    """

    text: str
    is_marked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLine:
    """A text of the data or of the model.

    Attributes:
        pieces: The text, in parts.
        label: What it is, before it; empty for none.
    """

    pieces: Sequence[Piece]
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextList:
    """Texts below each other.

    Attributes:
        lines: The texts.
        heading: Above them; empty for none.
        detail: A figure that belongs to them, or what to see.
        form: ``"list"``; ``"scale"``, whose labels stand beside the texts; or ``"way"``, where each text comes out of
            the one before.
    """

    lines: Sequence[TextLine]
    heading: str = ""
    detail: str = ""
    form: Literal["list", "scale", "way"] = "list"


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Lists of texts, beside each other where there is room.

    Attributes:
        lists: One or more.
        caption: Below all of them.
    """

    lists: Sequence[TextList]
    caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table; cells are texts, and columns named in `numeric` are aligned to the right.

    Attributes:
        header: Names of the columns; empty for a table of pairs, whose first column then names the rows.
        rows: Cells.
        numeric: Places of the columns that hold numbers.
        caption: What the table holds.
        compact: Whether a table of many short pairs is laid out in columns.
    """

    rows: Sequence[Sequence[str]]
    header: Sequence[str] = ()
    numeric: Sequence[int] = ()
    caption: str = ""
    compact: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Legend:
    """Names of classes with their colours; the place of an entry gives its colour, unknown ones are grey."""

    entries: Sequence[tuple[str, int | None]]


class Method(NamedTuple):
    """How a figure was computed.

    Attributes:
        figure: What it is.
        text: How it was computed, for someone who wants to trust it.
    """

    figure: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A sentence that stands out: why something is missing, and how to get it.

    Attributes:
        text: The sentence.
        command: A command to paste; empty for none.
    """

    text: str
    command: str = ""


Block: TypeAlias = Panels | Strips | Texts | Table | Legend | Note


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the page.

    Attributes:
        key: Anchor.
        heading: Title.
        lead: What the part is about, for someone who has not met it before.
        blocks: What it shows.
        method: How its figures were computed, for the last part of the page.
        short: Title in the list of contents; the heading where empty.
    """

    key: str
    heading: str
    lead: str = ""
    blocks: Sequence[Block] = ()
    method: Sequence[Method] = ()
    short: str = ""

    @property
    def charts(self) -> Iterator[Chart]:
        """Every chart and picture of the part."""
        for block in self.blocks:
            if isinstance(block, Panels):
                yield from block.charts
            elif isinstance(block, Strips):
                yield from (strip.chart for strip in block.strips)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A whole page.

    Attributes:
        title: Heading, and title of the window.
        summary: What it is about, in a sentence or two.
        tiles: Key figures, the most important first.
        sections: Its parts.
        version: Of latentkit.
        notes: What is good to know before reading the figures.
        kind: What sort of page it is, in a word.
        is_level: Whether no key figure stands out before the others.
    """

    title: str
    summary: str
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    version: str
    notes: Sequence[str] = field(default_factory=tuple)
    kind: str = message("report")
    is_level: bool = False


def render(page: Page) -> str:
    """Return the page as HTML, in the language of :func:`~latentkit.report.language.in_language`.

    Every text is escaped, and nothing in the page points outside.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def art(chart: Chart) -> Markup:
        if isinstance(chart.art, Picture):
            data = base64.b64encode(chart.art.png).decode()
            return Markup('<img class="pixels" src="data:image/png;base64,{}" width="{}" height="{}" alt="{}">').format(
                data, chart.art.width, chart.art.height, chart.alternative
            )
        return Markup(draw_svg(chart.art, name=chart.name, title=chart.alternative, titles=chart.titles))

    environment = Environment(
        loader=PackageLoader("latentkit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["art"] = art
    environment.filters["kind"] = lambda block: type(block).__name__
    template = environment.get_template("report.html")
    return template.render(page=page, inks=INKS, class_colours=CLASS_COLOURS, say=say, language=language())
