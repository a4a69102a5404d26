"""What only a terminal shows: small pictures, two pixels in a character cell, and texts while they are written."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

__all__ = ["show_strip", "show_texts"]

#: Pixels of the page's colour between two pictures.
GAP = 1


def show_texts(texts: Iterable[Iterable[str]]) -> None:
    """Print texts piece by piece, each on a line; characters that would steer the terminal are shown as signs."""
    from latentkit.data.text import with_signs

    for text in texts:
        for piece in text:
            sys.stdout.write(with_signs(piece))
            sys.stdout.flush()
        sys.stdout.write("\n")


def show_strip(console: Any, images: Any, *, indent: int = 2) -> None:
    """Print grey pictures side by side, as many as fit; nothing where the terminal has no colours.

    Args:
        console: A rich console.
        images: uint8, shape (n, height, width).
        indent: Spaces before each line.
    """
    from rich.color import Color
    from rich.segment import Segment
    from rich.style import Style
    from rich.text import Text

    if not console.is_terminal or console.color_system not in ("256", "truecolor") or len(images) == 0:
        return
    height, width = images.shape[1:3]
    shown = images[: max(1, (console.width - indent) // (width + GAP))]

    def grey(value: int) -> Color:
        return Color.from_rgb(value, value, value)

    console.print()
    for top in range(0, height, 2):
        segments = [Segment(" " * indent)]
        for image in shown:
            for column in range(width):
                upper = int(image[top, column])
                lower = int(image[top + 1, column]) if top + 1 < height else None
                back = None if lower is None else grey(lower)
                segments.append(Segment("▀", Style(color=grey(upper), bgcolor=back)))
            segments.append(Segment(" " * GAP))
        console.print(Text.assemble(*((segment.text, segment.style or "") for segment in segments)), soft_wrap=True)
    console.print()
