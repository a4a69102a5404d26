"""Blocks: bytes of some items, packed by the method that takes fewest."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, final

import google_crc32c

from latentkit.codec.archive.frames import Fields, Frame, FrameKind, word
from latentkit.codec.coders import Coder
from latentkit.codec.numbers import written_numbers
from latentkit.core.errors import DamagedArchiveError

__all__ = [
    "MOST_BLOCK_BYTES",
    "MOST_MODEL_BYTES",
    "Block",
    "Method",
    "Packed",
    "PackedBlock",
    "fewest",
    "packed_by_zstd",
]

#: Size of a block, at most.
MOST_BLOCK_BYTES: Final = 64 << 20
#: Size of a model, at most.
MOST_MODEL_BYTES: Final = 256 << 20


@final
class Method(IntEnum):
    """How the bytes of a block are packed."""

    STORED = 0
    ZSTD = 1
    CODER = 2


@final
@dataclass(frozen=True, slots=True)
class Block:
    """Items of an archive, as they were handed to its writer.

    Attributes:
        first: Number of the first item.
        n_items: How many.
        content: Their bytes.
        method: How they were packed.
    """

    first: int
    n_items: int
    content: bytes
    method: Method


@final
@dataclass(frozen=True, slots=True)
class Packed:
    """Bytes that were packed, and what they have to be when they are unpacked.

    Attributes:
        method: How.
        n_bytes: How many they were.
        checksum: CRC-32C of what they were.
        payload: What they are.
    """

    method: Method
    n_bytes: int
    checksum: int
    payload: bytes

    @classmethod
    def stored(cls, content: bytes) -> Packed:
        """Return bytes as they are."""
        return cls(Method.STORED, len(content), 0, content)

    @classmethod
    def of(cls, content: bytes, method: Method, payload: bytes) -> Packed:
        """Return what a method made of `content`."""
        return cls(method, len(content), google_crc32c.value(content), payload)

    @classmethod
    def from_fields(cls, fields: Fields, most_bytes: int) -> Packed:
        """Return what the rest of a frame's body holds.

        Raises:
            DamagedArchiveError: If the method is not known, or the bytes are more than there can be.
        """
        number = fields.byte()
        if number > max(Method):
            raise DamagedArchiveError(f"bytes of it are packed by a method that there is none of ({number}).")
        if number == Method.STORED:
            return cls.stored(fields.rest())
        n_bytes, checksum = fields.number(), fields.word()
        if n_bytes > most_bytes:
            raise DamagedArchiveError(
                f"a block says that it is of {n_bytes:,} bytes; one is of {most_bytes:,} at most."
            )
        return cls(Method(number), n_bytes, checksum, fields.rest())

    def parts(self) -> tuple[bytes, ...]:
        """Return the method; where it is not :attr:`Method.STORED`, size and checksum; and the payload."""
        told = b"" if self.method is Method.STORED else written_numbers(self.n_bytes) + word(self.checksum)
        return bytes((self.method,)) + told, self.payload

    @property
    def size(self) -> int:
        """Size of :meth:`parts`."""
        return sum(len(part) for part in self.parts())

    def unpacked(self, coder: Coder | None = None, n_items: int = 0) -> bytes:
        """Return the bytes that were packed.

        Args:
            coder: Which packed them, where one did.
            n_items: Of how many items they are.

        Raises:
            DamagedArchiveError: If the payload does not give them.
        """
        if self.method is Method.STORED:
            return self.payload
        if self.method is Method.ZSTD:
            content = _from_zstd(self.payload, self.n_bytes)
        else:
            assert coder is not None, "who unpacks sees to a coder first"
            if not 1 <= n_items <= self.n_bytes:  # what a coder does takes time by its items, too
                raise DamagedArchiveError(f"{n_items:,} items of {self.n_bytes:,} bytes in all are none of a coder's.")
            content = coder.decode(self.payload, n_items, self.n_bytes)
        if len(content) != self.n_bytes or google_crc32c.value(content) != self.checksum:
            raise DamagedArchiveError(
                "a block does not become what was written: its checksum is another. Where the archive is whole, this "
                "machine computes otherwise than the one that wrote it."
            )
        return content


@final
@dataclass(frozen=True, slots=True)
class PackedBlock:
    """A block as it stands in an archive.

    Attributes:
        first: Number of the first item.
        n_items: How many.
        packed: Their bytes.
    """

    first: int
    n_items: int
    packed: Packed

    @classmethod
    def of(cls, frame: Frame) -> PackedBlock:
        """Return the block that a frame holds.

        Raises:
            DamagedArchiveError: If it holds none.
        """
        assert frame.kind is FrameKind.BLOCK
        fields = Fields(frame.body)
        first, n_items = fields.number(), fields.number()
        return cls(first, n_items, Packed.from_fields(fields, MOST_BLOCK_BYTES))

    def parts(self) -> tuple[bytes, ...]:
        """Return the body of its frame."""
        return (written_numbers(self.first) + written_numbers(self.n_items), *self.packed.parts())

    def unpacked(self, coder: Coder | None = None) -> Block:
        """Return the block as it was handed to the writer; see :meth:`Packed.unpacked`."""
        try:
            content = self.packed.unpacked(coder, self.n_items)
        except DamagedArchiveError as error:
            last = self.first + self.n_items - 1
            raise DamagedArchiveError(f"items {self.first:,} to {last:,}: {error}") from error
        return Block(self.first, self.n_items, content, self.packed.method)


def packed_by_zstd(content: bytes, level: int) -> Packed:
    """Return bytes packed by zstd."""
    import pyarrow as pa

    return Packed.of(content, Method.ZSTD, pa.Codec("zstd", compression_level=level).compress(content, asbytes=True))


def fewest(*candidates: Packed | None) -> Packed:
    """Return that of the fewest bytes, the first of those that are equal; None stands for a method that cannot."""
    return min((packed for packed in candidates if packed is not None), key=lambda packed: packed.size)


def _from_zstd(payload: bytes, n_bytes: int) -> bytes:
    import pyarrow as pa

    try:
        content: bytes = pa.Codec("zstd").decompress(payload, decompressed_size=n_bytes, asbytes=True)
    except OSError as error:
        raise DamagedArchiveError(f"its bytes cannot be unpacked: {error}") from error
    return content
