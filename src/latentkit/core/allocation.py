"""Freed memory is kept for the next step instead of going back to the operating system."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from functools import cache

__all__ = ["keep_freed_memory", "release_freed_memory"]

# mallopt's parameters, <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

#: Free bytes at the end of the heap above which glibc hands them back.
_KEPT = 256 << 20
#: Largest block that comes from the heap; glibc allows no more on 64-bit machines.
_LARGEST = 32 << 20


def keep_freed_memory() -> bool:
    """Ask glibc to keep what tensors free; return whether it does.

    A step of training allocates and frees the same few megabytes again and again. By default glibc returns them to the
    operating system at the end of each step and gets them back page by page, which took a third of a step of a
    784-500-500-20 network (benchmarks/training_speed.py). The setting holds for the process: up to 256 MiB that are
    free stay with it, until :func:`release_freed_memory`. Other C libraries are left as they are, and so is glibc
    where the user has set ``MALLOC_TRIM_THRESHOLD_``, ``MALLOC_MMAP_THRESHOLD_`` or tunables of ``glibc.malloc``.
    """
    return _keep()


def release_freed_memory() -> None:
    """Hand free memory back to the operating system, after work that needed much of it."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@cache
def _keep() -> bool:
    library = _glibc()
    if library is None or _is_set_by_user():
        return False
    return bool(library.mallopt(_M_MMAP_THRESHOLD, _LARGEST) and library.mallopt(_M_TRIM_THRESHOLD, _KEPT))


@cache
def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    with suppress(OSError, ValueError, AttributeError):
        if (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
            library = ctypes.CDLL(None)
            library.mallopt.argtypes, library.mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
            library.malloc_trim.argtypes, library.malloc_trim.restype = (ctypes.c_size_t,), ctypes.c_int
            return library
    return None


def _is_set_by_user() -> bool:
    names = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")
    return any(name in os.environ for name in names) or "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "")
