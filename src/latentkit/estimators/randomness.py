"""The seed of an estimator, and the random numbers of other libraries."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from sklearn.utils.validation import check_random_state

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer

__all__ = ["draw_seed", "python_random_kept"]


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    """Return a seed: the integer itself, one drawn from a generator, or a fresh one for None.

    Raises:
        InvalidParameterError: If it is none of these.
    """
    if random_state is None:
        return secrets.randbelow(2**31)  # not numpy's global generator: the user's random state is left alone
    if isinstance(random_state, (int, np.integer)):
        return check_integer("random_state", random_state)
    try:
        return int(check_random_state(random_state).randint(2**31 - 1))
    except ValueError:
        raise InvalidParameterError(
            f"random_state must be None, an integer of at least 0 or a numpy.random.RandomState; got {random_state!r}."
        ) from None


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
