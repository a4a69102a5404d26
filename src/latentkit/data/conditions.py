"""What generation is conditioned on: labels and numbers, as the columns that networks see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from latentkit.core.errors import DataError, InvalidParameterError
from latentkit.core.parameters import suggestion
from latentkit.data.containers import is_frame
from latentkit.data.dataset import AnyArray

__all__ = ["Attribute", "ConditionSchema", "learn_conditions"]

#: Different integers in a column up to which they are classes; more are numbers.
MOST_CLASSES = 100


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute: a class among several, or a number.

    Attributes:
        name: Name of the column; empty for an attribute that was given alone.
        classes: The classes as texts, in order; empty for a number.
        mean: Of the numbers seen.
        stddev: Of the numbers seen; 1 where they do not vary.
    """

    name: str
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    stddev: float = 1.0

    @property
    def width(self) -> int:
        """Columns that networks see of it."""
        return len(self.classes) or 1

    def encode(self, values: AnyArray) -> Tensor:
        """Return values, shape (n,), as columns, shape (n, width): one-hot, or standardised.

        Raises:
            DataError: If a class was not seen when the schema was learnt, or a number is not finite.
        """
        if not self.classes:
            return torch.from_numpy((self._numbers(values) - self.mean) / self.stddev).float().unsqueeze(1)
        texts = [_text(value) for value in values]
        places = {name: place for place, name in enumerate(self.classes)}
        unknown = next((text for text in texts if text not in places), None)
        if unknown is not None:
            raise DataError(
                f"{self._whose()}{unknown!r} is no class that the model was fitted with; it knows: "
                f"{', '.join(self.classes)}.{suggestion(unknown, self.classes)}"
            )
        columns = torch.zeros(len(texts), self.width)
        columns[torch.arange(len(texts)), torch.tensor([places[text] for text in texts])] = 1.0
        return columns

    def _numbers(self, values: AnyArray) -> AnyArray:
        try:
            numbers = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"{self._whose()}the model was fitted with numbers here; got {values[0]!r}.") from error
        if not np.isfinite(numbers).all():
            row = int(np.argwhere(~np.isfinite(numbers))[0, 0])
            raise DataError(
                f"{self._whose()}row {row} (counted from 0) is no finite number. Give a number, or no condition."
            )
        return numbers

    def _whose(self) -> str:
        return f"condition {self.name!r}: " if self.name else "condition: "


@final
@dataclass(frozen=True, slots=True)
class ConditionSchema:
    """How conditions become tensors.

    The first column says whether there is a condition: rows of zeros stand for "none", which models learn from the
    conditions that training hides. Then follow the columns of the attributes.

    Attributes:
        attributes: One, or one for each column.
    """

    attributes: tuple[Attribute, ...]

    @property
    def width(self) -> int:
        """Columns in all."""
        return 1 + sum(attribute.width for attribute in self.attributes)

    @property
    def of_classes(self) -> Tensor:
        """Which columns are of classes, shape (width,), bool; the first, which is of no attribute, is not.

        Example:
            >>> learn_conditions(np.array(["cat", "dog", "cat"])).of_classes
            tensor([False,  True,  True])
        """
        flags = [flag for a in self.attributes for flag in [bool(a.classes)] * a.width]
        return torch.tensor([False, *flags])

    def encode(self, condition: Any) -> Tensor:
        """Return conditions as columns.

        Args:
            condition: One value for each example, shape (n,) or (n, attributes), or a data frame with the columns that
                the schema was learnt from.
        Returns:
            Shape (n, width).
        Raises:
            DataError: If a class is unknown, a number is not finite, or columns are missing.
        """
        columns = _columns(condition)
        if len(columns) != len(self.attributes):
            raise DataError(f"the model was fitted with {self._named()}; got a condition of {len(columns)} columns.")
        named = {name: values for name, values in columns if name}
        parts = []
        for attribute, (_, values) in zip(self.attributes, columns, strict=True):
            if attribute.name and named and attribute.name not in named:
                raise DataError(
                    f"the condition has no column {attribute.name!r}.{suggestion(attribute.name, list(named))} The "
                    f"model was fitted with {self._named()}."
                )
            parts.append(attribute.encode(named.get(attribute.name, values)))
        return torch.cat([torch.ones(len(parts[0]), 1), *parts], dim=1)

    def encode_one(self, condition: Any) -> Tensor:
        """Return one condition as columns, shape (1, width): a value, or a mapping from names to values.

        Raises:
            InvalidParameterError: If the value does not fit the attributes.
            DataError: As in :meth:`encode`.
        """
        if isinstance(condition, Mapping):
            unknown = [str(name) for name in condition if str(name) not in {a.name for a in self.attributes}]
            missing = [a.name for a in self.attributes if a.name not in {str(name) for name in condition}]
            if unknown or missing:
                raise InvalidParameterError(
                    f"a condition has the attributes {self._named()}; got {', '.join(map(str, condition))}."
                )
            values = {str(name): value for name, value in condition.items()}
            return self.encode(np.array([[values[a.name] for a in self.attributes]], dtype=object))
        if len(self.attributes) != 1:
            raise InvalidParameterError(
                f"a condition has the attributes {self._named()}; give them by name, as in "
                f"{{{self.attributes[0].name!r}: ...}}; got {condition!r}."
            )
        return self.encode(np.array([condition], dtype=object))

    def values(self, columns: Tensor) -> list[Tensor]:
        """Return each attribute's values of encoded conditions: inverse of :meth:`encode`, in numbers.

        Args:
            columns: Shape (n, width).
        Returns:
            One tensor of shape (n,) for each attribute, of places in its classes, int64, or of numbers in the user's
            units, float64.

        Example:
            >>> schema = learn_conditions(np.array(["cat", "dog", "cat"]))
            >>> schema.values(schema.encode(np.array(["dog", "cat"])))
            [tensor([1, 0])]
        """
        parts = torch.split(columns[:, 1:], [attribute.width for attribute in self.attributes], dim=1)
        return [
            part.argmax(1) if attribute.classes else part[:, 0].double() * attribute.stddev + attribute.mean
            for attribute, part in zip(self.attributes, parts, strict=True)
        ]

    def describe(self) -> dict[str, Any]:
        """Return the schema as JSON values."""
        return {
            "attributes": [
                {"name": a.name, "classes": list(a.classes), "mean": a.mean, "stddev": a.stddev}
                for a in self.attributes
            ]
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> ConditionSchema:
        """Return the schema of a description."""
        return cls(tuple(Attribute(**{**a, "classes": tuple(a["classes"])}) for a in description["attributes"]))

    def _named(self) -> str:
        return ", ".join(repr(a.name) if a.name else "one attribute" for a in self.attributes)


def learn_conditions(condition: Any) -> ConditionSchema:
    """Return the schema of conditions.

    Texts, bools and integers of at most 100 different values are classes; other integers and floats are numbers.

    Args:
        condition: One value for each example, shape (n,), several, shape (n, attributes), or a data frame.
    Raises:
        DataError: If it is empty, has another shape, or a column mixes texts and numbers.

    Example:
        >>> schema = learn_conditions(np.array(["cat", "dog", "cat"]))
        >>> schema.encode(np.array(["dog"]))
        tensor([[1., 0., 1.]])
    """
    columns = _columns(condition)
    if not columns or not len(columns[0][1]):
        raise DataError("a condition needs at least one example and one attribute.")
    return ConditionSchema(tuple(_learn(name, values) for name, values in columns))


def _learn(name: str, values: AnyArray) -> Attribute:
    if values.dtype.kind in "iub" and len(np.unique(values)) <= MOST_CLASSES:
        return Attribute(name=name, classes=tuple(_text(value) for value in np.unique(values)))
    if values.dtype.kind in "OUS":
        texts = sorted({_text(value) for value in values})
        if len(texts) > MOST_CLASSES:
            raise DataError(
                f"condition{f' {name!r}' if name else ''} has {len(texts)} different texts; at most {MOST_CLASSES} can "
                "be classes. Group them, or give numbers."
            )
        return Attribute(name=name, classes=tuple(texts))
    attribute = Attribute(name=name)
    numbers = attribute._numbers(values)  # noqa: SLF001 (of this module)
    stddev = float(numbers.std())
    return Attribute(name=name, mean=float(numbers.mean()), stddev=stddev if stddev > 0 else 1.0)


def _columns(condition: Any) -> list[tuple[str, AnyArray]]:
    """The columns of a condition with their names; an array's have none."""
    if is_frame(condition):
        import narwhals as nw

        frame = nw.from_native(condition, eager_only=True)
        return [(str(name), np.asarray(frame[name].to_numpy())) for name in frame.columns]
    array = condition.numpy() if isinstance(condition, Tensor) else np.asarray(condition)
    if array.ndim == 1:
        return [(str(getattr(condition, "name", "") or ""), array)]
    if array.ndim != 2:
        raise DataError(f"a condition has shape (n,) or (n, attributes); got shape {array.shape}.")
    return [("", column) for column in array.T]


def _text(value: Any) -> str:
    return str(value.item() if hasattr(value, "item") else value)
