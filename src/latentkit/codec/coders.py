"""What an archive asks of whatever codes its blocks, and what of it has to be kept for them to be read."""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import DamagedArchiveError, LatentkitError
from latentkit.core.registry import Registry

__all__ = ["Coder", "CoderState", "coder_from_state", "coders"]

_SIZE: Final = 4  # bytes that tell how long the description is
_KINDS: Final = {"i1", "u1", "i2", "u2", "i4", "u4", "i8"}
_MOST_DIMENSIONS: Final = 4


@final
@dataclass(frozen=True)
class CoderState:
    """All that a coder consists of: whole numbers and words, and no floating-point number that decoding depends on.

    Attributes:
        name: Under which the coder is registered.
        settings: Of it, as JSON knows them.
        arrays: Of whole numbers.

    Example:
        >>> state = CoderState("toy", {"width": 2}, {"table": np.array([1, 300])})
        >>> again = CoderState.from_bytes(state.to_bytes())
        >>> again.arrays["table"], again.fingerprint == state.fingerprint
        (array([  1, 300]), True)
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of :meth:`to_bytes`: equal for coders that read each other's blocks."""
        return hashlib.sha256(self.to_bytes()).digest()

    def to_bytes(self) -> bytes:
        """Return the same bytes for the same state: a description in JSON, behind its length, and the arrays.

        Arrays stand in the order of their names, each in the smallest type that holds it, little-endian.
        """
        contents = {name: _smallest(np.asarray(self.arrays[name])) for name in sorted(self.arrays)}
        description = {
            "name": self.name,
            "settings": self.settings,
            "arrays": {name: [array.dtype.str[1:], list(array.shape)] for name, array in contents.items()},
        }
        told = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
        return len(told).to_bytes(_SIZE, "little") + told + b"".join(array.tobytes() for array in contents.values())

    @classmethod
    def from_bytes(cls, content: bytes) -> CoderState:
        """Return the state that became these bytes, with arrays of int64.

        Raises:
            DamagedArchiveError: If none did.
        """
        try:
            place = _SIZE + int.from_bytes(content[:_SIZE], "little")
            description = json.loads(content[_SIZE:place])
            arrays = {}
            for name, (kind, shape) in description["arrays"].items():
                if kind not in _KINDS or len(shape) > _MOST_DIMENSIONS or not all(type(n) is int for n in shape):
                    raise ValueError(name)
                n = math.prod(shape)
                if min(shape, default=0) < 0 or place + n * int(kind[1]) > len(content):
                    raise ValueError(name)
                values = np.frombuffer(content, f"<{kind}", n, place).astype(np.int64)
                arrays[str(name)] = values.reshape(shape)
                place += n * int(kind[1])
            if place != len(content):
                raise ValueError("more follows")
            state = cls(str(description["name"]), dict(description["settings"]), arrays)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DamagedArchiveError("its model cannot be read.") from error
        return state


class Coder(ABC):
    """Turns blocks of data into fewer bytes and back, by a model of data like them.

    A block is bytes: those of n items, such as the pixels of n images one after the other, or n lines of a table.
    What `decode` gives is what `encode` was given, to the byte, on every machine; and both take time and memory in
    proportion to the size of the block, whatever the bytes are. A coder that approximates gives another block of that
    size instead, the same on every machine, which :meth:`encode_known` tells beforehand.
    """

    #: Under which it is registered.
    name: ClassVar[str]
    #: From 1 to 100, how well a coder that approximates does so; None where each byte comes back.
    quality: int | None = None

    @abstractmethod
    def state(self) -> CoderState:
        """Return all that reading its blocks takes."""

    @abstractmethod
    def encode(self, block: bytes, n: int) -> bytes:
        """Return the code of a block.

        Args:
            block: Bytes of n items.
            n: How many.
        Raises:
            UnfitDataError: If they are not what this coder can code; another method is taken then.
        """

    def encode_known(self, block: bytes, n: int) -> tuple[bytes, bytes]:
        """Return the code of a block, and what :meth:`decode` gives for it: the block, unless that is approximated.

        Args:
            block: As for :meth:`encode`.
            n: How many items it has.
        Raises:
            UnfitDataError: As :meth:`encode` does.
        """
        return self.encode(block, n), block

    @abstractmethod
    def decode(self, content: bytes, n: int, size: int) -> bytes:
        """Return the block that has become `content`.

        Args:
            content: What :meth:`encode` gave.
            n: How many items it has.
            size: How many bytes it has.
        Raises:
            DamagedArchiveError: If no such block became these bytes, as far as that can be told.
        """


#: Names to functions that make a coder of its state; they raise :class:`DamagedArchiveError` for states of no coder.
coders: Registry[Callable[[CoderState], Coder]] = Registry("coder")


def coder_from_state(state: CoderState) -> Coder:
    """Return the coder of a state, which may come from a file.

    Raises:
        DamagedArchiveError: If this version knows none of that name, or the state is not one of it.
    """
    if state.name not in coders:
        known = ", ".join(coders)
        raise DamagedArchiveError(f"it was written by a coder that this version does not know, of these: {known}.")
    try:
        return coders[state.name](state)
    except DamagedArchiveError:
        raise
    except (LatentkitError, ValueError, KeyError, TypeError, IndexError, OverflowError, AttributeError) as error:
        raise DamagedArchiveError(f"its model is no {state.name} coder: {error}") from error


def _smallest(array: NDArray[np.integer]) -> NDArray[np.integer]:
    low, high = int(array.min(initial=0)), int(array.max(initial=0))
    for kind in ("<i1", "<u1", "<i2", "<u2", "<i4", "<u4"):
        limits = np.iinfo(kind)
        if limits.min <= low and high <= limits.max:
            return array.astype(kind)
    return array.astype("<i8")
