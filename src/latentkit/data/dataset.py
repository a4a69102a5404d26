"""What a source held: the data in the user's form, their labels, and notes on what was recognised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["AnyArray", "Dataset", "Kind", "Progress", "TABLES", "Tables"]

AnyArray: TypeAlias = NDArray[Any]
Kind: TypeAlias = Literal["rows", "images", "table", "text"]
#: What becomes of tables that are not numbers alone; see :func:`~latentkit.data.read`.
Tables: TypeAlias = Literal["numbers", "mixed", "always"]
#: What becomes of them where nobody says: the one place that decides it, for reading and for learning a schema.
TABLES: Tables = "mixed"
#: Called with the number of files done and the number of all files.
Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Data that were read from a source.

    Attributes:
        data: The data in the user's form: an ndarray, a tensor or a data frame; the first axis counts examples.
        source: Where they came from, for messages and model cards.
        kind: ``"rows"`` of numbers, ``"images"``, a ``"table"`` of mixed kinds, or ``"text"``.
        labels: Class of each example as a code, shape (n,), int64; None where there are none.
        label_names: Name of each code; None where the labels are plain integers, which then are the codes.
        notes: What was recognised, chosen, skipped or looks odd, a sentence each.
        reading: The source and the options with which it was read, as YAML values, where a run shall remember them.
    """

    data: Any
    source: str
    kind: Kind
    labels: NDArray[np.int64] | None = None
    label_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(self.data)
