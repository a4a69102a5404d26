"""Texts as they are shown to people: nothing in them steers a terminal or a page."""

from __future__ import annotations

from typing import Final

__all__ = ["with_signs"]

_SIGNS: Final = (
    {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
)


def with_signs(text: str) -> str:
    r"""Return a text with a sign for each control character, on one line.

    Example:
        >>> with_signs("a\tb\x1b[31m\n")
        'a␉b␛[31m␊'
    """
    return text.translate(_SIGNS)
