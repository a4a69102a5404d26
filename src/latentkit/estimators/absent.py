"""Tasks that a kind of estimator does not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from latentkit.core.errors import UnsupportedOperationError

__all__ = ["AbsentTaskError", "AbsentTasks"]


class AbsentTaskError(UnsupportedOperationError, AttributeError):
    """A task that this kind of estimator does not have; ``hasattr`` is False for it."""


class AbsentTasks:
    """Names the tasks that the others have and this kind of estimator has not, with the reason."""

    #: Reason by name of the task.
    _absent: ClassVar[Mapping[str, str]] = {}

    def __getattr__(self, name: str) -> Any:
        if name in self._absent:
            raise AbsentTaskError(f"a {type(self).__name__} has no {name}: {self._absent[name]}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
