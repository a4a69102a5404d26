"""What networks and likelihoods know of the columns of a table: how many codes each has, and what they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self, TypeVar, final

import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer

__all__ = ["ColumnCodes", "codes_of"]

Size = TypeVar("Size", int, Tensor)


@final
@dataclass(frozen=True, slots=True)
class ColumnCodes:
    """The codes of the columns of a table of mixed kinds, in which every cell is a code and a position inside it.

    Attributes:
        cardinalities: Number of codes K of each column.
        missing_codes: The code that stands for "missing" in each column, which is its last, or None; () for none.
        is_ordered: Whether the codes of each column are in an order, as those of numbers are; () for none.

    Raises:
        InvalidParameterError: If the lists do not have one entry for each column, or an entry that cannot be.

    Example:
        >>> ColumnCodes((2, 3), missing_codes=(None, 2))
        ColumnCodes(cardinalities=(2, 3), missing_codes=(None, 2), is_ordered=(False, False))
    """

    cardinalities: Sequence[int]
    missing_codes: Sequence[int | None] = ()
    is_ordered: Sequence[bool] = ()

    def __post_init__(self) -> None:
        sizes = tuple(check_integer(f"cardinalities[{i}]", size, low=1) for i, size in enumerate(self.cardinalities))
        lists = {
            "cardinalities": sizes,
            "missing_codes": tuple(self.missing_codes) or (None,) * len(sizes),
            "is_ordered": tuple(map(bool, self.is_ordered)) or (False,) * len(sizes),
        }
        if len({len(values) for values in lists.values()}) > 1:
            raise InvalidParameterError(
                "cardinalities, missing_codes and is_ordered must have one entry for each column; got "
                f"{', '.join(str(len(values)) for values in lists.values())} entries."
            )
        for i, (size, code) in enumerate(zip(sizes, lists["missing_codes"], strict=True)):
            if code not in (None, size - 1):
                raise InvalidParameterError(
                    f"missing_codes[{i}] must be None or the last of the {size} codes, {size - 1}; got {code!r}."
                )
        for name, values in lists.items():
            object.__setattr__(self, name, values)

    def __len__(self) -> int:
        return len(self.cardinalities)

    @property
    def last_values(self) -> tuple[int, ...]:
        """The last code of each column that is a value: K - 1, or K - 2 where K - 1 stands for "missing"."""
        pairs = zip(self.cardinalities, self.missing_codes, strict=True)
        return tuple(size - 1 if code is None else size - 2 for size, code in pairs)

    def describe(self) -> dict[str, Any]:
        """Return the codes as JSON values."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Self:
        """Return the codes that :meth:`describe` described; what else stands there is left aside."""
        names: Iterable[str] = cls.__dataclass_fields__
        return cls(**{name: description[name] for name in names if name in description})


def codes_of(x: Tensor, cardinalities: Size, last_values: Size) -> Tensor:
    """Return the code of every cell, an integer from 0 to K - 1; K stands for a cell that is unknown (NaN).

    A number beyond the codes of its column, on either side, has the code at that end.

    Args:
        x: Cells, shape (*batch, columns), or of one column, shape (*batch,).
        cardinalities: Number of codes K of each column, shape (columns,), or of the one column.
        last_values: The last code that is a value, likewise; see :class:`ColumnCodes`.

    Example:
        >>> codes_of(torch.tensor([[0.5, 2.9], [float("nan"), 7.0]]), torch.tensor([2, 3]), torch.tensor([1, 1]))
        tensor([[0, 2],
                [2, 1]])
    """
    unknown = x.isnan()
    codes = x.masked_fill(unknown, 0.0).floor().long().clamp_min(0)
    return torch.where(unknown, cardinalities, torch.where(codes < cardinalities, codes, last_values))
