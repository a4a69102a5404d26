"""PNG files as pixels and what they hold besides."""

from __future__ import annotations

import base64
import binascii
import io
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import DamagedArchiveError

__all__ = ["PngPicture", "read_picture", "written_picture"]

_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
_CHANNELS: Final = {0: 1, 2: 3, 4: 2, 6: 4}  # by the type of colour
_MODES: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_DATA, _START, _END = b"IDAT", b"IHDR", b"IEND"
#: What may be copied beside pixels that are written anew, besides chunks whose names say so (PNG 3, section 14.2).
_KEPT: Final = {b"bKGD", b"cHRM", b"cICP", b"cLLI", b"gAMA", b"iCCP", b"mDCV", b"sPLT", b"sRGB", b"tIME"}
_SAFE: Final = 32  # bit of the last letter of a chunk's name


@final
@dataclass(frozen=True, slots=True)
class PngPicture:
    """A PNG file without its pixels.

    Attributes:
        shape: Height, width, channels.
        before: Chunks of the file between its header and its pixels, as they stand there.
        after: Those behind the pixels.
    """

    shape: tuple[int, int, int]
    before: bytes = b""
    after: bytes = b""

    @property
    def n_bytes(self) -> int:
        """How many bytes its pixels are."""
        return math.prod(self.shape)

    def to_json(self) -> list[Any]:
        """Return it as JSON values."""
        return [list(self.shape), *(base64.b64encode(chunks).decode() for chunks in (self.before, self.after))]

    @classmethod
    def of(cls, told: Sequence[Any]) -> PngPicture:
        """Return the picture of JSON values.

        Raises:
            DamagedArchiveError: If they are of none.
        """
        try:
            (height, width, n_channels), before, after = told
            chunks = [base64.b64decode(part, validate=True) for part in (before, after)]
            for part in chunks:
                _ = list(_chunks(part))
            sizes = (height, width, n_channels)
            if not all(type(size) is int and size > 0 for size in sizes) or n_channels not in _MODES:
                raise ValueError(sizes)
        except (TypeError, ValueError, binascii.Error) as error:
            raise DamagedArchiveError("an image of the folder has no size.") from error
        return cls((height, width, n_channels), *chunks)


def read_picture(path: Path, most_bytes: int) -> tuple[PngPicture, NDArray[np.uint8]] | None:
    """Return what a PNG file holds; None where it cannot be written again without loss, or is no PNG file.

    Args:
        path: Of the file.
        most_bytes: Of pixels; an image that has more is not decoded.
    Returns:
        The picture, and its pixels, uint8, shape (height, width, channels).
    """
    from PIL import Image

    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return None
    content = path.read_bytes()
    try:
        chunks = list(_chunks(content[len(_MAGIC) :]))
        width, height, depth, colour = struct.unpack(">IIBB", chunks[0][1][:10])
        kinds = [kind for kind, _ in chunks]
        if depth != 8 or colour not in _CHANNELS or chunks[0][0] != _START or kinds[-1] != _END:
            return None
        first, last = kinds.index(_DATA), len(kinds) - 1 - kinds[::-1].index(_DATA)
        if any(kind != _DATA for kind in kinds[first : last + 1]):
            return None
        if not all(kind in _KEPT or kind[3] & _SAFE for kind in kinds[1:first] + kinds[last + 1 : -1]):
            return None
        if height * width * _CHANNELS[colour] > most_bytes:
            return None
        picture = PngPicture(
            (height, width, _CHANNELS[colour]),
            b"".join(_chunk(*chunk) for chunk in chunks[1:first]),
            b"".join(_chunk(*chunk) for chunk in chunks[last + 1 : -1]),
        )
        with Image.open(io.BytesIO(content)) as image:
            pixels = np.array(image).reshape(height, width, -1)
    except (ValueError, IndexError, OSError, SyntaxError, struct.error, zlib.error, Image.DecompressionBombError):
        return None
    return (picture, pixels) if pixels.shape == picture.shape and pixels.dtype == np.uint8 else None


def written_picture(picture: PngPicture, pixels: bytes) -> bytes:
    """Return a PNG file of these pixels, with all that the picture holds besides."""
    from PIL import Image

    height, width, n_channels = picture.shape
    with io.BytesIO() as file:
        Image.frombytes(_MODES[n_channels], (width, height), pixels).save(file, "PNG")
        chunks = list(_chunks(file.getvalue()[len(_MAGIC) :]))
    data = b"".join(_chunk(kind, content) for kind, content in chunks if kind == _DATA)
    return b"".join([_MAGIC, _chunk(*chunks[0]), picture.before, data, picture.after, _chunk(*chunks[-1])])


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each chunk; ValueError where they are damaged."""
    place = 0
    while place < len(content):
        size, kind = int.from_bytes(content[place : place + 4], "big"), content[place + 4 : place + 8]
        body = content[place + 8 : place + 8 + size]
        checksum = content[place + 8 + size : place + 12 + size]
        if len(checksum) != 4 or int.from_bytes(checksum, "big") != zlib.crc32(kind + body):
            raise ValueError("a chunk is damaged")
        yield kind, body
        place += 12 + size


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
