"""A figure as it is shown: with its floor, its direction and what it was computed with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Direction", "Figure"]

Direction = Literal["lower", "higher", "nearer to the floor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number that can be judged without the code beside it.

    Attributes:
        name: Of the metric: "FCD", "recall".
        value: The figure.
        better: "lower", "higher" or "nearer to the floor".
        floor: What a perfect model would have, or codes that know nothing; see where the figure is made.
        floor_of: What the floor is.
        standard_error: Of `value`, where one is known.
        computed_with: Rows, features, settings.

    Example:
        >>> print(
        ...     Figure(name="FCD", value=28.41, better="lower", floor=1.44, floor_of="train", computed_with="64 units")
        ... )
        FCD 28.41 (floor 1.44: train; lower is better; 64 units)
    """

    name: str
    value: float
    better: Direction
    floor: float
    floor_of: str
    standard_error: float | None = None
    computed_with: str

    def __str__(self) -> str:
        error = "" if self.standard_error is None else f" ± {self.standard_error:.2g}"
        return (
            f"{self.name} {self.value:.4g}{error} (floor {self.floor:.4g}: {self.floor_of}; "
            f"{self.better} is better; {self.computed_with})"
        )
