"""Other people's random numbers: libraries that are imported late draw some."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["python_random_kept"]


@contextmanager
def python_random_kept() -> Iterator[None]:
    """Restore the state of Python's global generator after the block, or after the function that this decorates.

    scikit-learn imports rich with its first estimator, and rich draws numbers from that generator when it is imported.
    """
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)
