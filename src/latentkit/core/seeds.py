"""Random numbers: seeds derived by name, and scopes that leave the user's global random state alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["derive_seed", "generator", "isolated_rng"]


def derive_seed(seed: int, *keys: str | int) -> int:
    """Return a seed in [0, 2**63) that depends on `seed` and on every key, the same on every machine.

    Example:
        >>> derive_seed(0, "epoch", 3) == derive_seed(0, "epoch", 3) != derive_seed(0, "epoch", 4)
        True
    """
    text = "\x1f".join(str(part) for part in (seed, *keys))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *keys: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a torch generator seeded by :func:`derive_seed`."""
    return torch.Generator(device=device).manual_seed(derive_seed(seed, *keys))


@contextmanager
def isolated_rng(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch's global generators inside the block and restore them after it.

    Parameters are initialised and dropout is drawn from torch's global generator; inside this scope they depend on
    `seed` alone, and the caller's random state is what it was before.

    Example:
        >>> state = torch.random.get_rng_state()
        >>> with isolated_rng(0):
        ...     _ = torch.randn(3)
        >>> bool((torch.random.get_rng_state() == state).all())
        True
    """
    device = torch.device(device)
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
