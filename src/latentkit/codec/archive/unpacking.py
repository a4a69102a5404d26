"""Which coder unpacks the blocks of an archive: the one that is given, or the one that the archive holds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, final

from latentkit.codec.archive.blocks import Block, Method, Packed, PackedBlock
from latentkit.codec.coders import Coder, CoderState, coder_from_state
from latentkit.codec.processes import CoderProcesses
from latentkit.core.errors import ArchiveError, DamagedArchiveError

__all__ = ["Unpacker", "model_state"]

_SHOWN: Final = 12  # hexadecimal digits of a fingerprint


@final
class Unpacker:
    """Unpacks blocks of one archive.

    Args:
        fingerprint: Of the state of the coder that the archive was written with; None where there was none.
        coder: The one that is given, or several, of which one may be its.

    Attributes:
        model: The packed model that the archive holds, as soon as it has been read.

    Raises:
        ArchiveError: If the archive was written with another coder than those that are given.
    """

    def __init__(self, fingerprint: bytes | None, coder: Coder | Sequence[Coder] | None) -> None:
        given = [] if coder is None else [coder] if isinstance(coder, Coder) else list(coder)
        known = {each.state().fingerprint: each for each in given}
        self._fingerprint = fingerprint
        self._coder = given[0] if given and fingerprint is None else known.get(fingerprint or b"")
        self.model: Packed | None = None
        if given and self._coder is None and fingerprint is not None:
            one = "the one given is" if len(known) == 1 else "those given are"
            raise ArchiveError(
                f"it was written with the model {_shown(fingerprint)}, and {one} {', '.join(map(_shown, known))}. Give "
                "the run that it was written with."
            )

    @property
    def needs_model(self) -> bool:
        """Whether the model that the archive holds is wanted."""
        return self._coder is None

    def prepare(self, block: PackedBlock) -> None:
        """See to the coder that a block asks for.

        Raises:
            ArchiveError: If none is given, and the archive holds none.
            DamagedArchiveError: If the model that it holds is none, or another than the one that its head names.
        """
        if block.packed.method is not Method.CODER:
            return
        if self._fingerprint is None:
            raise DamagedArchiveError("a block of it was written by a coder, and its head names none.")
        if self._coder is not None:
            return
        if self.model is None:
            raise ArchiveError(
                f"it was written with the model {_shown(self._fingerprint)}, which it does not hold. Give the run that "
                "it was written with."
            )
        self._coder = coder_from_state(model_state(self.model, self._fingerprint))

    def unpacked(self, block: PackedBlock, processes: CoderProcesses | None = None) -> Block:
        """Return a block that was prepared for, decoded by one of some processes; see :meth:`PackedBlock.unpacked`."""
        coder = self._coder
        return block.unpacked(coder if coder is None or processes is None else processes.of(coder))


def model_state(model: Packed, fingerprint: bytes | None) -> CoderState:
    """Return the state of the coder that an archive holds.

    Raises:
        DamagedArchiveError: If it is none, or another than the one that the archive's head names.
    """
    content = model.unpacked()
    found = hashlib.sha256(content).digest()
    if fingerprint != found:
        named = "none" if fingerprint is None else _shown(fingerprint)
        raise DamagedArchiveError(f"it holds the model {_shown(found)}, and its head names {named}.")
    return CoderState.from_bytes(content)


def _shown(fingerprint: bytes) -> str:
    return fingerprint.hex()[:_SHOWN]
