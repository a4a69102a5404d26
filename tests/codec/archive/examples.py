"""A coder for archives of the tests, and archives; their bytes are the same wherever the tests run."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from latentkit.codec import AnsStack, Coder, CoderState, FrequencyTables
from latentkit.codec.archive import ArchiveReader, ArchiveWriter, Block, Method
from latentkit.core.errors import DamagedArchiveError, UnfitDataError

META = {"kind": "images", "shape": [28, 28, 1], "n": 10000}
FROZEN = Path(__file__).parent / "frozen"


class ToyCoder(Coder):
    """Codes bytes below 16 by how far they are from a background that it knows, in steps upwards, round and round."""

    name: ClassVar[str] = "toy"

    def __init__(self, background: bytes, frequencies: Sequence[int], n_lanes: int = 16) -> None:
        self.background = np.frombuffer(background, np.uint8).astype(np.int64) % 16
        self.tables, self.n_lanes = FrequencyTables(np.array([frequencies]), 8), n_lanes

    @classmethod
    def of(cls, state: CoderState) -> ToyCoder:
        background, frequencies = state.arrays["background"], state.arrays["frequencies"]
        return cls(bytes(background.tolist()), frequencies.tolist(), int(state.settings["n_lanes"]))

    def state(self) -> CoderState:
        arrays = {"background": self.background, "frequencies": self.tables.frequencies[0]}
        return CoderState(self.name, {"n_lanes": self.n_lanes}, arrays)

    def encode(self, block: bytes, n: int) -> bytes:
        values = np.frombuffer(block, np.uint8).astype(np.int64)
        if values.max(initial=0) > 15:
            raise UnfitDataError("a byte is not below 16.")
        symbols = (values - self._backgrounds(len(values))) % 16
        stack = AnsStack(self.n_lanes)
        for start in range(0, len(symbols), self.n_lanes):
            these = symbols[start : start + self.n_lanes]
            stack.push(self.tables, np.zeros_like(these), these)
        return stack.to_bytes()

    def decode(self, content: bytes, n: int, size: int) -> bytes:
        stack = AnsStack.from_bytes(content, self.n_lanes)
        symbols = np.empty(size, np.int64)
        for start in reversed(range(0, size, self.n_lanes)):
            these = symbols[start : start + self.n_lanes]
            these[:] = stack.pop(self.tables, np.zeros(len(these), np.int64))
        if not stack.is_fresh:
            raise DamagedArchiveError("more is left than was there.")
        return ((symbols + self._backgrounds(size)) % 16).astype(np.uint8).tobytes()

    def _backgrounds(self, n: int) -> np.ndarray:
        return np.resize(self.background, n)


class CoarseCoder(Coder):
    """Approximates: keeps the upper half of each byte, and says so beforehand."""

    name: ClassVar[str] = "coarse"
    quality = 50

    def state(self) -> CoderState:
        return CoderState(self.name)

    def encode(self, block: bytes, n: int) -> bytes:
        values = np.frombuffer(block + bytes(len(block) % 2), np.uint8)
        return (values[::2] & 0xF0 | values[1::2] >> 4).tobytes()

    def encode_known(self, block: bytes, n: int) -> tuple[bytes, bytes]:
        return self.encode(block, n), coarse(block)

    def decode(self, content: bytes, n: int, size: int) -> bytes:
        values = np.frombuffer(content, np.uint8)
        return np.stack([values & 0xF0, values << 4], 1).tobytes()[:size]


def coarse(block: bytes) -> bytes:
    """What a coarse coder keeps of bytes."""
    return (np.frombuffer(block, np.uint8) & 0xF0).tobytes()


def noise(n: int, name: str = "") -> bytes:
    """Bytes that nothing makes shorter."""
    return hashlib.shake_128(name.encode()).digest(n)


def near(n: int, name: str = "", background: str = "background") -> bytes:
    """Bytes on the background or one above it, which a toy coder makes shorter than zstd does."""
    steps = np.unpackbits(np.frombuffer(noise(n // 8 + 1, name), np.uint8))[:n]
    return (
        ((np.resize(np.frombuffer(noise(256, background), np.uint8) % 16, n) + steps) % 16).astype(np.uint8).tobytes()
    )


def toy(background: str = "background") -> ToyCoder:
    """A coder for what is near a background."""
    return ToyCoder(noise(256, background), [121, 121, *[1] * 14])


def text(n: int, name: str = "") -> bytes:
    """Bytes of few words, which zstd makes shorter, and the toy coder cannot take."""
    words = (b"encoder", b"decoder", b"prior", b"posterior")
    return b" ".join(words[byte % 4] for byte in noise(n // 6 + 1, name)).ljust(n, b".")[:n]


def written(blocks: Sequence[tuple[bytes, int]], meta: dict[str, Any] = META, **options: Any) -> bytes:
    """An archive of blocks, each with its number of items."""
    stream = io.BytesIO()
    with ArchiveWriter(stream, meta, **options) as archive:
        for block, n_items in blocks:
            archive.write(block, n_items)
    return stream.getvalue()


def read(content: bytes, **options: Any) -> list[Block]:
    """Its blocks."""
    with ArchiveReader(io.BytesIO(content), **options) as reader:
        return list(reader)


#: A block that each method packs best, and how many items it has; there is a coder that packs the second.
MIXED = [(noise(400), 5), (near(1000), 7), (text(600), 3)]
METHODS = [Method.STORED, Method.CODER, Method.ZSTD]
