"""A figure as it is shown: with its floor, its direction and what it was computed with; and why there is none."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["BoundOf", "Direction", "Figure", "MissingFigure", "normal_interval", "wilson_interval"]

Direction = Literal["lower", "higher", "nearer to the floor", "neither"]
#: On which side of what is wanted a value lies on average.
BoundOf = Literal["neither", "lower", "upper"]

_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number that can be judged without the code beside it.

    Attributes:
        name: Of the metric: "FCD", "recall".
        value: The figure.
        better: "lower", "higher", "nearer to the floor", or "neither" where more is not better and not worse.
        floor: What a perfect model would have, or codes that know nothing; see where the figure is made. None where
            there is none.
        floor_of: What the floor is.
        standard_error: Of `value`, where one is known.
        computed_with: Rows, features, settings.
        unit: Of the value: "nats", "dB"; empty for none.
        bound: Whether `value` is a "lower" or an "upper" bound of what its name says, on average, and no more.
        interval: 95 % interval, where one is known.
        interval_by: How the interval was found.
        n_rows: Rows that it rests on.
        n_draws: Draws K for each row, where there are any.
        effective_sample_size: How many of these count, the median over the rows.
        seconds: That it took; what several figures share counts for the first of them.
        group: What it is about: "likelihood", "samples".

    Example:
        >>> print(
        ...     Figure(name="FCD", value=28.41, better="lower", floor=1.44, floor_of="train", computed_with="64 units")
        ... )
        FCD 28.41 (floor 1.44: train; lower is better; 64 units)
    """

    name: str
    value: float
    better: Direction
    floor: float | None = None
    floor_of: str = ""
    standard_error: float | None = None
    computed_with: str
    unit: str = ""
    bound: BoundOf = "neither"
    interval: tuple[float, float] | None = None
    interval_by: str = ""
    n_rows: int | None = None
    n_draws: int | None = None
    effective_sample_size: float | None = None
    seconds: float | None = field(default=None, compare=False)
    group: str = ""

    def __str__(self) -> str:
        error = "" if self.standard_error is None else f" ± {self.standard_error:.2g}"
        floor = "" if self.floor is None else f"floor {self.floor:.4g}: {self.floor_of}; "
        better = "" if self.better == "neither" else f"{self.better} is better; "
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.name} {self.shown_value}{error}{unit} ({floor}{better}{self.computed_with})"

    @property
    def shown_value(self) -> str:
        """The value with four digits, behind a sign where it is a bound."""
        sign = {"neither": "", "lower": "≥ ", "upper": "≤ "}[self.bound]
        return f"{sign}{self.value:.4g}"

    @property
    def is_finite(self) -> bool:
        """Whether it can be shown."""
        return math.isfinite(self.value)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        values = asdict(self)
        return {**values, "interval": None if self.interval is None else list(self.interval)}


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingFigure:
    """A figure that cannot be had.

    Attributes:
        name: Of the metric.
        why: What lacks, and what to do where something can be done.
        group: What it is about.
    """

    name: str
    why: str
    group: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"


def normal_interval(
    value: float, standard_error: float, *, low: float = -math.inf, high: float = math.inf
) -> tuple[float, float]:
    """Return the 95 % interval of a normal distribution around a value, cut to what it can be.

    Example:
        >>> normal_interval(0.9, 0.1, high=1.0)
        (0.704..., 1.0)
    """
    reach = _NORMAL_95 * standard_error
    return max(low, value - reach), min(high, value + reach)


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    r"""Return the 95 % interval of a share of n rows, which says something of shares of 0 and 1, too.

    .. math:: \frac{p + \frac{c^2}{2 n} \pm c \sqrt{\frac{p (1 - p)}{n} + \frac{c^2}{4 n^2}}}{1 + c^2 / n},
              \qquad c = 1.96

    References:
        Wilson, 1927, Probable Inference, the Law of Succession, and Statistical Inference.

    Example:
        >>> wilson_interval(0.0, 100)
        (0.0, 0.036...)
    """
    c = _NORMAL_95
    middle, reach = share + c * c / (2 * n), c * math.sqrt(share * (1.0 - share) / n + c * c / (4 * n * n))
    whole = 1.0 + c * c / n
    return min(share, max(0.0, (middle - reach) / whole)), max(share, min(1.0, (middle + reach) / whole))
