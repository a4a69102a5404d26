"""The language of a page: every sentence is a message, English as it stands in the code, and translated in ``words/``.

A message is what :func:`say` is given: English with names in braces where something is put in. ``words/zh.json`` holds
the Chinese of every one of them, so that a page is in one language throughout; a message without a translation is an
error, not English among Chinese.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.resources import files
from typing import Any, Literal, cast, get_args

from latentkit.core.parameters import check_choice

__all__ = ["Language", "check_language", "in_language", "is_english", "language", "message", "said", "say", "sentence"]

Language = Literal["en", "zh"]

_current: ContextVar[Language] = ContextVar("language", default="en")


@contextmanager
def in_language(wanted: Language) -> Iterator[None]:
    """Write what is said inside the block in this language.

    Raises:
        InvalidParameterError: If there is no such language.

    Example:
        >>> with in_language("zh"):
        ...     say("Training")
        '训练过程'
    """
    token = _current.set(check_language("language", wanted))
    try:
        yield
    finally:
        _current.reset(token)


def check_language(name: str, wanted: str) -> Language:
    """Return a language that pages are written in.

    Raises:
        InvalidParameterError: If it is none; the message names those that there are.
    """
    return cast(Language, check_choice(name, wanted, get_args(Language)))


def language() -> Language:
    """The language of the page that is being written."""
    return _current.get()


def is_english() -> bool:
    """Whether the page that is being written is in English."""
    return language() == "en"


def message(text: str) -> str:
    """Mark a text as a message that is said elsewhere, and return it."""
    return text


def say(text: str, /, **values: Any) -> str:
    """Return a message in the language of the page.

    Args:
        text: English, with names in braces as of :meth:`str.format`.
        values: What is put in. A translation may use more of them than the English does.

    Raises:
        KeyError: If the message has no translation.

    Example:
        >>> say("row {n}", n=3)
        'row 3'
    """
    return (text if is_english() else _words(language())[text]).format(**values)


def said(text: str) -> str:
    """Return in the language of the page what another part of the library says, in English, of itself.

    Such a text is a message, or a message with its values put in; one that is neither is a name, and stays as it is.

    Example:
        >>> with in_language("zh"):
        ...     said("512 categories")
        '512 个类别'
    """
    if is_english():
        return text
    words = _words(language())
    if text in words and "{" not in text:
        return words[text]
    for pattern, of_message in _patterns(language()):
        found = pattern.fullmatch(text)
        if found is not None:
            parts = found.groupdict().items()
            # a value of the user's stays as it is; a part of the sentence is said in turn
            return words[of_message].format(
                **{name: said(part) if name.startswith("part") else part for name, part in parts}
            )
    return text


def sentence(text: str) -> str:
    """Return a clause as a sentence: with a capital letter and a full stop.

    Example:
        >>> sentence("a clause"), sentence("What?")
        ('A clause.', 'What?')
    """
    if not is_english():
        return text if text.endswith("。") else f"{text}。"
    whole = f"{text[:1].upper()}{text[1:]}"
    return whole if whole.endswith((".", "?", "!")) else f"{whole}."


@cache
def _catalogue(name: Language) -> Mapping[str, Mapping[str, str]]:
    text = files("latentkit.report").joinpath("words", f"{name}.json").read_text(encoding="utf-8")
    found: Mapping[str, Mapping[str, str]] = json.loads(text)
    return found


@cache
def _words(name: Language) -> Mapping[str, str]:
    """Translations of the page's own messages, and of what other parts say of themselves."""
    both = _catalogue(name)
    return {**both["page"], **both["library"]}


@cache
def _patterns(name: Language) -> list[tuple[re.Pattern[str], str]]:
    """What finds the values in a text that another part wrote, the one with most words of its own first."""
    messages = [text for text in _catalogue(name)["library"] if "{" in text]
    return [
        (re.compile(re.sub(r"\\\{(\w+)\\\}", _group, re.escape(text)), re.DOTALL), text)
        for text in sorted(messages, key=lambda text: len(re.sub(r"\{\w+\}", "", text)), reverse=True)
    ]


def _group(name: re.Match[str]) -> str:
    """What matches a value: a quoted one as a whole, others up to the next comma or semicolon; a part, anything."""
    value = ".*?" if name[1].startswith("part") else r"(?:'.*?'|\".*?\"|(?:(?![,;] ).)+?)"
    return f"(?P<{name[1]}>{value})"
