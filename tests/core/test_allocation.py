"""Freed memory stays for the next step; seen from outside, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from latentkit.core.allocation import keep_freed_memory, release_freed_memory

GLIBC = sys.platform == "linux" and (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
pytestmark = pytest.mark.skipif(not GLIBC, reason="only glibc is asked to keep memory")

SCRIPT = """
import ctypes, resource, sys
from latentkit.core.allocation import keep_freed_memory, release_freed_memory
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
size = 8 << 20

def step():
    blocks = [library.malloc(size) for _ in range(3)]
    for block in blocks:
        library.memset(block, 1, size)
    for block in blocks:
        library.free(block)

kept = keep_freed_memory() if "keep" in sys.argv else False
step(), step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

held = resident()
release_freed_memory()
print(int(kept), faults, held - resident())
"""


def measure(*arguments: str, **environment: str) -> tuple[bool, int, int]:
    """Whether memory is kept, page faults of ten steps, bytes that releasing gave back."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_"))}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    kept, faults, released = map(int, run.stdout.split())
    return bool(kept), faults, released


def test_steps_reuse_their_memory_instead_of_faulting_it_in_again() -> None:
    assert measure()[1] > 10_000  # 24 MiB a step, in pages of 4 KiB
    kept, faults, released = measure("keep")
    assert kept
    assert faults < 100
    assert released > 20 << 20


@pytest.mark.parametrize(
    "environment", [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"}]
)
def test_a_setting_of_the_user_stands(environment: dict[str, str]) -> None:
    kept, faults, _ = measure("keep", **environment)
    assert not kept
    assert faults > 10_000


def test_asking_twice_is_the_same_as_asking_once() -> None:
    assert keep_freed_memory() == keep_freed_memory()
    release_freed_memory()
