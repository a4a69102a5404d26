"""Numbers and names as people write them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from latentkit.report.language import is_english, say

__all__ = ["count", "duration", "first_of", "number", "shape", "value"]


def number(x: float, digits: int = 4) -> str:
    """Return a number with at most `digits` significant digits, a true minus sign, and no needless zeros.

    Example:
        >>> number(-98.2671), number(0.00012), number(1234567.0), number(0.0)
        ('−98.27', '1.2e−4', '1,234,567', '0')
    """
    x = float(x)
    if not math.isfinite(x):
        return say("not a number") if math.isnan(x) else "∞" if x > 0 else "−∞"
    if x == 0:
        return "0"
    size = abs(x)
    if size < 1e-3 or size >= 1e9:
        mantissa, exponent = f"{x:.{max(0, digits - 2)}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{int(exponent)}".replace("-", "−")
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    text = f"{x:,.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def count(n: int, noun: str, plural: str = "") -> str:
    """Return a number of things, in the language of the page.

    Args:
        n: How many.
        noun: One of them, in English.
        plural: Many of them; with an s where empty.

    Example:
        >>> count(1, "row"), count(60000, "row"), count(2, "class", "classes")
        ('1 row', '60,000 rows', '2 classes')
    """
    many = plural or f"{noun}s"
    return f"{n:,} {noun}" if n == 1 and is_english() else say(f"{{n:,}} {many}", n=n)


def first_of(n_shown: int, n: int, noun: str = "column", plural: str = "") -> str:
    """Return a sentence that says that not all are shown; empty where they are.

    Example:
        >>> first_of(8, 30), first_of(8, 5)
        (' The first 8 of 30 columns.', '')
    """
    return "" if n <= n_shown else say(" The first {n} of {things}.", n=n_shown, things=count(n, noun, plural))


def duration(seconds: float) -> str:
    """Return a duration.

    Example:
        >>> duration(7.25), duration(130), duration(7500)
        ('7.2 s', '2 min 10 s', '2 h 5 min')
    """
    if seconds < 59.95:
        return say("{s:.1f} s", s=seconds)
    whole = round(seconds)
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return say("{min} min {s} s", min=minutes, s=rest) if rest else say("{min} min", min=minutes)
    return say("{h} h {min} min", h=whole // 3600, min=whole % 3600 // 60)


def shape(event_shape: Sequence[int]) -> str:
    """Return the shape of one example.

    Example:
        >>> shape((30,)), shape((1, 28, 28)), shape((3, 32, 48))
        ('30 features', '28 × 28 pixels', '32 × 48 pixels with 3 channels')
    """
    if len(event_shape) == 1:
        return count(event_shape[0], "feature")
    channels, height, width = event_shape
    size = say("{height} × {width} pixels", height=height, width=width)
    return size if channels == 1 else say("{size} with {channels} channels", size=size, channels=channels)


def value(x: Any) -> str:
    """Return a setting.

    Example:
        >>> value(None), value(True), value((500, 500)), value({"variance": "feature"}), value(0.001)
        ('none', 'yes', '500, 500', 'variance: feature', '0.001')
    """
    if x is None:
        return say("none")
    if isinstance(x, bool):
        return say("yes") if x else say("no")
    if isinstance(x, float):
        return f"{x:g}".replace("-", "−")
    if isinstance(x, Mapping):
        return "; ".join(f"{key}: {value(item)}" for key, item in x.items()) or say("none")
    if isinstance(x, (list, tuple)):
        return ", ".join(value(item) for item in x) or say("none")
    if isinstance(x, (str, int)):
        return str(x)
    return say("own {kind}", kind=type(x).__name__)
