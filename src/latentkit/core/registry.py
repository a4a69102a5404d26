"""Registries: one per axis of change, so that nothing else has to learn a new name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import suggestion

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to parts of one kind.

    Args:
        axis: What the parts are, in the singular, for messages: ``"likelihood"``.

    Example:
        >>> shapes: Registry[type] = Registry("shape")
        >>> @shapes.register("circle")
        ... class Circle: ...
        >>> shapes["circle"].__name__
        'Circle'
        >>> shapes["zebra"]
        Traceback (most recent call last):
            ...
        latentkit.core.errors.InvalidParameterError: unknown shape 'zebra'; choose one of: circle.
    """

    def __init__(self, axis: str) -> None:
        self.axis = axis
        self._parts: dict[str, T] = {}
        self._cites: dict[str, tuple[str, ...]] = {}

    def register(self, name: str, *, cites: Sequence[str] = ()) -> Callable[[T], T]:
        """Return a decorator that files a part under `name`, with the keys of what it implements; a name is given once.

        Args:
            name: What users call it.
            cites: Keys of the bibliography, ``core/bibliography.bib``.
        """

        def decorator(part: T) -> T:
            assert name not in self._parts, f"{self.axis} {name!r} is registered twice"
            self._parts[name] = part
            self._cites[name] = tuple(cites)
            return part

        return decorator

    def __getitem__(self, name: str) -> T:
        """Return the part of this name.

        Raises:
            InvalidParameterError: If there is none; the message lists the names and suggests the nearest.
        """
        try:
            return self._parts[name]
        except (KeyError, TypeError):
            allowed = ", ".join(self._parts)
            raise InvalidParameterError(
                f"unknown {self.axis} {name!r}; choose one of: {allowed}.{suggestion(str(name), self._parts)}"
            ) from None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def cites(self, name: str) -> tuple[str, ...]:
        """Keys of what the part of this name implements."""
        self[name]
        return self._cites[name]

    def names(self) -> tuple[str, ...]:
        """The registered names, in order of registration."""
        return tuple(self._parts)
