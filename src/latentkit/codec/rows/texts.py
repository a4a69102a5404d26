"""Bytes that no model foretells, made small by what the standard library has."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import Final

from latentkit.core.errors import DamagedArchiveError

__all__ = ["packed", "unpacked"]

_FILTERS: Final = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 20}]
_LONG: Final = 256  # bytes of a text that the slower methods may make shorter
_PLAIN, _DEFLATED, _BLOCK_SORTED, _LONG_RANGE = range(4)


def packed(text: bytes, known: bytes) -> bytes:
    """Return the shortest of what the methods give, behind the number of the method; nothing for nothing.

    Args:
        text: Any bytes.
        known: Bytes that text often looks like.
    """
    if not text:
        return b""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=known)
    found = {_PLAIN: text, _DEFLATED: deflate.compress(text) + deflate.flush()}
    if len(text) >= _LONG:
        found[_BLOCK_SORTED] = bz2.compress(text)
        found[_LONG_RANGE] = lzma.compress(text, lzma.FORMAT_RAW, filters=_FILTERS)
    method = min(found, key=lambda method: len(found[method]))
    return bytes([method]) + found[method]


def unpacked(content: bytes, known: bytes, most: int) -> bytes:
    """Return the text that became `content`.

    Args:
        content: What :func:`packed` gave.
        known: What it was given.
        most: How long the text can be; no more is unpacked.

    Raises:
        DamagedArchiveError: If no text of that length became these bytes.
    """
    if not content:
        return b""
    method, rest = content[0], content[1:]
    text, is_whole = b"", False
    try:
        if method == _PLAIN:
            text, is_whole = rest[: most + 1], True
        elif method == _DEFLATED:
            inflate = zlib.decompressobj(-15, zdict=known)
            text = inflate.decompress(rest, most + 1)
            is_whole = inflate.eof and not inflate.unused_data
        elif method == _BLOCK_SORTED:
            blocks = bz2.BZ2Decompressor()
            text = blocks.decompress(rest, most + 1)
            is_whole = blocks.eof and not blocks.unused_data
        elif method == _LONG_RANGE:
            long_range = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
            text = long_range.decompress(rest, most + 1)
            is_whole = long_range.eof and not long_range.unused_data
    except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError) as error:
        raise DamagedArchiveError("cells and lines that are written in full cannot be read.") from error
    if not is_whole or len(text) > most:
        raise DamagedArchiveError("cells and lines that are written in full cannot be read.")
    return text
