"""Random numbers: seeds derived by name, and scopes that leave the user's global random state alone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["RowGenerator", "derive_seed", "generator", "isolated_rng", "row_keys", "row_noise"]

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # 2**64 divided by the golden ratio, odd: the step of SplitMix64
_NOISE_CHUNK = 1 << 17  # pairs per pass: fewer cost more in calls, more cost more in cache misses (measured)
_HASHED_WORDS = 1 << 20  # 64-bit words hashed per pass, which bounds the memory of row_keys


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


def row_keys(storage: Tensor) -> Tensor:
    """Return a 64-bit key of each row's content: the name by which a row draws its random numbers.

    Equal rows of one dtype have equal keys, in any batch, in any order and on any little-endian machine; different
    rows have different keys but for a chance of about 2**-64 a pair. Keys are hashes for drawing, not for security.

    .. math:: h = mix( sum_j mix(w_j + mix(j + 1)) + length )

    with `w_j` the row's bytes in words of 64 bits, `mix` the finaliser of SplitMix64 and all sums modulo 2**64.

    Args:
        storage: One example per row, shape (n, *event), any dtype that has bytes; -0.0 counts as 0.0.

    Returns:
        Keys, int64, shape (n,), on the device of `storage`.

    References:
        Steele, Lea and Flood, 2014, Fast Splittable Pseudorandom Number Generators, OOPSLA.

    Example:
        >>> keys = row_keys(torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]]))
        >>> bool(keys[0] == keys[2]), bool(keys[0] == keys[1])
        (True, False)
    """
    rows = storage.detach().flatten(1) if storage.ndim > 1 else storage.detach().unsqueeze(1)
    if rows.dtype == torch.bool:
        rows = rows.to(torch.uint8)
    n_bytes = rows.shape[1] * rows.element_size()
    n_words = -(-n_bytes // 8)
    salts = _mix64(torch.arange(1, n_words + 1, device=rows.device))
    keys = torch.empty(rows.shape[0], dtype=torch.int64, device=rows.device)
    step = max(1, _HASHED_WORDS // max(1, n_words))
    for start in range(0, rows.shape[0], step):
        part = rows[start : start + step]
        if part.is_floating_point() or part.is_complex():
            part = part + 0.0  # one zero: -0.0 + 0.0 is 0.0
        octets = part.contiguous().view(torch.uint8) if n_bytes else part.new_zeros(part.shape[0], 0, dtype=torch.uint8)
        words = functional.pad(octets, (0, 8 * n_words - n_bytes)).view(torch.int64)
        keys[start : start + step] = _mix64(words + salts).sum(1)
    return _mix64(keys + n_bytes)


def row_noise(
    keys: Tensor, n_samples: int, dim: int, *, seed: int = 0, start: int = 0, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return standard normal numbers that are a function of each row's key and the seed alone.

    What a row draws does not depend on the batch that it comes in, on its place there, or on how the draws are cut
    into chunks: draws `start` to `start + n_samples` of a long request are what that request would hold there.

    A counter-based generator: for the pair of draws (2j, 2j + 1) and column d, two 32-bit words are hashed from 64-bit
    mixtures of (seed, j) and of (seed, key, d), and Box and Muller's transform makes two normals of them. All integer
    work is exact, so machines differ only in the last bits of log, sqrt and cos. It takes about the time of
    ``torch.randn`` (shape (5000, 20, 50): 20 ms against 17 on one thread, 13 against 17 on two).

    Args:
        keys: Keys of the rows, int64, shape (batch,); see :func:`row_keys`. Rows of equal keys draw equal numbers.
        n_samples: Draws per row.
        dim: Numbers per draw.
        seed: Another seed gives unrelated numbers.
        start: Number of the first draw, for working in chunks.
        dtype: Floating dtype of the result. float64 holds the numbers of float32 with more digits.

    Returns:
        Noise, shape (n_samples, batch, dim), on the device of `keys`. The largest value possible is 6.7.

    References:
        Salmon et al., 2011, Parallel Random Numbers: As Easy as 1, 2, 3. Box and Muller, 1958. The multipliers of the
        32-bit hash are those of C. Wellons' hash-prospector ("lowbias32").

    Example:
        >>> keys = torch.tensor([7, 8, 9])
        >>> noise = row_noise(keys, 100, 4, seed=1)
        >>> torch.equal(noise[60:, 1:2], row_noise(keys[1:2], 40, 4, seed=1, start=60))
        True
    """
    exact = dtype if dtype in (torch.float32, torch.float64) else torch.float32
    # draws 2j and 2j + 1 are the two normals of one pair, so both are computed wherever either is wanted
    lead = start % 2
    n_pairs = (lead + n_samples + 1) // 2
    columns = torch.arange(dim, device=keys.device) + 1
    row_words = _mix64(_mix64(keys.to(torch.int64) + derive_seed(seed, "rows"))[:, None] + columns * _GOLDEN).flatten()
    pair_words = _mix64(torch.arange(n_pairs, device=keys.device) + (start // 2 + derive_seed(seed, "draws")))
    row_a, row_b = _halves(row_words)
    pair_a, pair_b = (words[:, None] for words in _halves(pair_words))
    noise = torch.empty(n_pairs, 2, row_words.shape[0], dtype=exact, device=keys.device)
    column_step = min(max(1, row_words.shape[0]), _NOISE_CHUNK)
    for left in range(0, row_words.shape[0], column_step):
        right = left + column_step
        pair_step = max(1, _NOISE_CHUNK // column_step)
        for first in range(0, n_pairs, pair_step):
            last = first + pair_step
            radius_words = _hash32(pair_a[first:last] + row_a[left:right])
            angle_words = _hash32(pair_b[first:last] + row_b[left:right])
            _box_muller(radius_words, angle_words, noise[first:last, :, left:right])
    draws = noise.view(2 * n_pairs, keys.shape[0], dim)[lead : lead + n_samples]
    return draws.to(dtype)


class RowGenerator(torch.Generator):
    """A source of random numbers for a batch of rows in which each row has numbers of its own.

    It stands where a ``torch.Generator`` is asked for. Code that knows it asks it for :meth:`normal` and
    :meth:`uniform` numbers, and what a row draws is then independent of its batch; for code that does not, it is a
    generator seeded by `seed` alone, whose numbers depend on a row's place.

    Args:
        keys: Keys of the rows, int64, shape (batch,); see :func:`row_keys`.
        seed: Another seed gives unrelated numbers.
        row_dim: The dimension of a requested shape that counts rows; those before it count draws.

    Example:
        >>> first, second = RowGenerator(torch.tensor([5, 6])), RowGenerator(torch.tensor([6]))
        >>> torch.equal(first.normal((3, 2, 4))[:, 1:], second.normal((3, 1, 4)))
        True
    """

    def __new__(cls, keys: Tensor, *, seed: int = 0, row_dim: int = 1) -> Self:
        """Make a CPU generator."""
        return super().__new__(cls)

    def __init__(self, keys: Tensor, *, seed: int = 0, row_dim: int = 1) -> None:
        self.manual_seed(derive_seed(seed, "place"))
        self._keys, self._seed, self._row_dim, self._n_requests = keys, seed, row_dim, 0

    def normal(self, shape: Sequence[int], *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Fresh standard normal numbers of this shape, on the device of the keys."""
        assert shape[self._row_dim] == self._keys.shape[0], "the shape does not have one row per key"
        self._n_requests += 1
        draws, event = math.prod(shape[: self._row_dim]), math.prod(shape[self._row_dim + 1 :])
        seed = derive_seed(self._seed, "request", self._n_requests)
        return row_noise(self._keys, draws, event, seed=seed, dtype=dtype).reshape(tuple(shape))

    def uniform(self, shape: Sequence[int], *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Fresh uniform numbers of this shape in the open interval (0, 1), on the device of the keys."""
        edge = torch.finfo(dtype).eps / 2
        numbers: Tensor = torch.special.ndtr(self.normal(shape, dtype=dtype))
        return numbers.clamp_(edge, 1.0 - edge)


def _box_muller(radius_words: Tensor, angle_words: Tensor, out: Tensor) -> None:
    """Fill `out`, shape (pairs, 2, columns), with normals; the int32 words, shape (pairs, columns), are used up."""
    # 31 bits as (i + 1/2) / 2**31 keep the logarithm finite; the half is lost to rounding only where i is large
    uniform = radius_words.bitwise_right_shift_(1).bitwise_and_(0x7FFFFFFF).to(out.dtype).add_(0.5).mul_(2.0**-31)
    radius = uniform.log_().mul_(-2.0).sqrt_()
    angle = angle_words.to(out.dtype).mul_(math.pi * 2.0**-31)
    torch.mul(radius, angle.cos(), out=out[:, 0])
    torch.mul(radius, angle.sin_(), out=out[:, 1])


def _halves(words: Tensor) -> tuple[Tensor, Tensor]:
    """Split int64 words of shape (n,) into their low and high 32 bits, as int32 of shape (n,) each."""
    halves = words.view(torch.int32).view(-1, 2)
    return halves[:, 0].contiguous(), halves[:, 1].contiguous()


def _mix64(words: Tensor) -> Tensor:
    """Scramble int64 words one to one (SplitMix64): every input bit reaches every output bit."""
    words = words + _GOLDEN
    # >> keeps the sign in torch; the masks make it a logical shift, without which the steps would not be one to one
    words = (words ^ ((words >> 30) & (2**34 - 1))) * _signed(0xBF58476D1CE4E5B9, 64)
    words = (words ^ ((words >> 27) & (2**37 - 1))) * _signed(0x94D049BB133111EB, 64)
    return words ^ ((words >> 31) & (2**33 - 1))


def _hash32(words: Tensor) -> Tensor:
    """Scramble int32 words in place; the high bits of the result are the good ones."""
    words ^= (words >> 16).bitwise_and_(0xFFFF)
    words *= _signed(0x7FEB352D, 32)
    words ^= (words >> 15).bitwise_and_(0x1FFFF)
    words *= _signed(0x846CA68B, 32)
    words ^= (words >> 16).bitwise_and_(0xFFFF)
    return words


def _signed(constant: int, bits: int) -> int:
    """Return the two's-complement reading of an unsigned constant."""
    return constant - (1 << bits) if constant >> (bits - 1) else constant
