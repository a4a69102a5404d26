"""Quantisers: from an encoder's numbers at each place of a grid to one code of finitely many, and gradients past it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer, check_real
from latentkit.core.registry import Registry
from latentkit.core.seeds import generator
from latentkit.nn.families import check_sizes

__all__ = [
    "EmaQuantizer",
    "FiniteScalarQuantizer",
    "GumbelQuantizer",
    "MovingCodebook",
    "Quantized",
    "Quantizer",
    "k_means",
    "levels_for",
    "perplexity",
    "quantizers",
    "rotate_to",
    "rotation",
    "straight_through",
]

#: Rows that :func:`k_means` looks at, for each centre.
ROWS_PER_CENTRE = 32
#: Levels of finite scalar quantisation by number of codes (Mentzer et al., 2024, table 1; 2^4 and 2^6 added).
_LEVELS: dict[int, tuple[int, ...]] = {
    1 << 4: (4, 4),
    1 << 6: (8, 8),
    1 << 8: (8, 6, 5),
    1 << 9: (8, 8, 8),
    1 << 10: (8, 5, 5, 5),
    1 << 12: (7, 5, 5, 5, 5),
    1 << 14: (8, 8, 8, 6, 5),
    1 << 16: (8, 8, 8, 5, 5, 5),
}


@dataclass(frozen=True, slots=True)
class Quantized:
    """What a quantiser makes of a batch.

    Attributes:
        vectors: Code vectors, shape (batch, positions, code_dim); gradients reach the encoder by the quantiser's rule.
        codes: Numbers of the codes, int64, shape (batch, positions).
        commitment: Squared distance of what was quantised from its code vectors, summed over positions and dimensions,
            shape (batch,): with a weight, the nats of a Gaussian around the code. 0 where a quantiser needs none.
        kl: Divergence of q(codes given x) from uniform codes, nats, summed over positions, shape (batch,); positions
            times log n_codes where a code is certain.
    """

    vectors: Tensor
    codes: Tensor
    commitment: Tensor
    kl: Tensor


class Quantizer(nn.Module, ABC):
    """Maps the numbers that an encoder gives for a position to one of `n_codes` vectors.

    Args:
        n_codes: Number of codes, at least 2.
        code_dim: Length of a code vector, at least 1.
        n_inputs: Numbers that the encoder gives for each position.
    """

    #: Whether the distance of the encoder's numbers from the code vectors is to be kept small by the objective.
    commits: ClassVar[bool]

    def __init__(self, n_codes: int, code_dim: int, n_inputs: int) -> None:
        super().__init__()
        self.n_codes = check_integer("n_codes", n_codes, low=2)
        self.code_dim = check_integer("code_dim", code_dim, low=1)
        self.n_inputs = n_inputs

    @abstractmethod
    def forward(self, h: Tensor) -> Quantized:
        """Quantise h, shape (batch, positions, n_inputs), in at least single precision."""

    @abstractmethod
    def encode(self, h: Tensor) -> Tensor:
        """The codes of h, int64, shape of `h` without its last dimension; nothing is drawn or learnt."""

    @abstractmethod
    def vectors(self, codes: Tensor) -> Tensor:
        """The vectors of codes of any shape (*shape,), shape (*shape, code_dim)."""

    @abstractmethod
    def nearest(self, z: Tensor) -> Tensor:
        """The codes whose vectors are nearest to z, shape (*shape, code_dim); int64, shape (*shape,)."""

    @torch.no_grad()
    def start(self, h: Tensor) -> None:
        """Place what is learnt where the data are, given some of the encoder's numbers, shape (..., n_inputs)."""

    def _certain(self, h: Tensor) -> Tensor:
        """KL from uniform codes of codes that are certain, shape (batch,)."""
        return h.new_full((h.shape[0],), h.shape[1] * math.log(self.n_codes))


quantizers: Registry[Callable[..., Quantizer]] = Registry("quantizer")


def straight_through(h: Tensor, quantized: Tensor) -> Tensor:
    """`quantized`, with the gradient of `h`: as if nothing had been rounded.

    Example:
        >>> h = torch.tensor([0.4], requires_grad=True)
        >>> straight_through(h, h.round()).backward()
        >>> h.grad
        tensor([1.])
    """
    return h + (quantized - h).detach()


def rotate_to(h: Tensor, quantized: Tensor) -> Tensor:
    r"""`quantized`, with the gradient of the rotation and scaling that take `h` there.

    .. math::
        q = \frac{\|q\|}{\|h\|} R h, \quad R = I - 2 r r^T + 2 \hat q \hat h^T, \quad
        r = \frac{\hat h + \hat q}{\|\hat h + \hat q\|}

    R and the scale are constants of the gradient, so that the angle between a gradient and q becomes that between the
    gradient at h and h: points of one cell are pushed apart or together as the decoder wants it.

    Args:
        h: What was quantised, shape (..., code_dim).
        quantized: Its code vector, same shape; it gets no gradient.

    References:
        Fifty et al., 2024, Restructuring Vector Quantization with the Rotation Trick, arXiv:2410.06424.

    Example:
        >>> h = torch.tensor([3.0, 0.0], requires_grad=True)
        >>> q = rotate_to(h, torch.tensor([0.0, 6.0]))
        >>> q[1].backward()
        >>> [round(value, 4) for value in q.tolist() + h.grad.tolist()]
        [0.0, 6.0, 2.0, 0.0]
    """
    tiny = torch.finfo(h.dtype).tiny ** 0.5
    quantized = quantized.detach()
    length = h.detach().norm(dim=-1, keepdim=True).clamp_min(tiny)
    target_length = quantized.norm(dim=-1, keepdim=True)
    start, target = h.detach() / length, quantized / target_length.clamp_min(tiny)
    between = functional.normalize(start + target, dim=-1, eps=tiny)
    mirrored = h - 2.0 * (h * between).sum(-1, keepdim=True) * between
    rotated = mirrored + 2.0 * (h * start).sum(-1, keepdim=True) * target
    return straight_through(rotated * (target_length / length), quantized)


@final
class MovingCodebook(nn.Module):
    r"""A codebook whose vectors are exponential moving averages of what is quantised to them.

    .. math::
        N_k \leftarrow d N_k + (1 - d)\, n_k, \quad m_k \leftarrow d\, m_k + (1 - d) \sum_{i: c_i = k} h_i, \quad
        e_k = m_k / N_k

    with n_k the number of vectors of a batch whose nearest code is k. A code whose N_k falls below `restart_below`
    times the mean over the codes is dead: it starts again at a vector drawn from the batch, with the mean count. It
    learns while the module is in training mode and gradients are recorded.

    Args:
        n_codes: Number of codes.
        code_dim: Length of a vector.
        decay: d, in [0, 1).
        restart_below: Share of the mean count below which a code is dead, in [0, 1); 0 restarts none. Drawn from the
            batch, codes come to lie where data are dense, so that a higher share evens out how often codes are used.

    References:
        van den Oord et al., 2017, Neural Discrete Representation Learning, appendix A.1, arXiv:1711.00937; Razavi et
        al., 2019, Generating Diverse High-Fidelity Images with VQ-VAE-2, arXiv:1906.00446; Dhariwal et al., 2020,
        Jukebox, section 3, arXiv:2005.00341 (restarts).
    """

    vectors: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, n_codes: int, code_dim: int, *, decay: float, restart_below: float) -> None:
        super().__init__()
        self.decay = check_real("decay", decay, low=0.0, high=1.0, inclusive=(True, False))
        self.restart_below = check_real("restart_below", restart_below, low=0.0, high=1.0, inclusive=(True, False))
        start = torch.randn(n_codes, code_dim)
        self.register_buffer("vectors", start)
        self.register_buffer("counts", torch.ones(n_codes))
        self.register_buffer("sums", start.clone())

    def nearest(self, h: Tensor) -> Tensor:
        """Codes of the vectors nearest to h, shape (..., code_dim)."""
        with torch.autocast(h.device.type, enabled=False):
            return _nearest_row(_full(h), self.vectors)

    @torch.no_grad()
    def start(self, h: Tensor) -> None:
        """Start at the centres of k-means of h, shape (n, code_dim)."""
        self.vectors.copy_(k_means(h, len(self.vectors)))
        self.counts.fill_(1.0)
        self.sums.copy_(self.vectors)

    @torch.no_grad()
    def update(self, h: Tensor, codes: Tensor) -> None:
        """Move towards h, shape (n, code_dim), that was quantised to `codes`, shape (n,)."""
        # As a product the sums come out the same on any device; additions by index would race on a GPU.
        members = functional.one_hot(codes, len(self.counts)).to(h.dtype)
        counts = self.counts.lerp(members.sum(0), 1.0 - self.decay)
        sums = self.sums.lerp(members.T @ h, 1.0 - self.decay)
        mean_count = counts.mean()
        dead = counts < self.restart_below * mean_count
        drawn = h[torch.randint(len(h), (len(counts),), device=h.device)]
        counts = torch.where(dead, mean_count, counts)
        sums = torch.where(dead[:, None], drawn * mean_count, sums)
        moved = counts > torch.finfo(h.dtype).eps * mean_count
        vectors = torch.where(moved[:, None], sums / counts.clamp_min(torch.finfo(h.dtype).tiny)[:, None], self.vectors)
        self.counts.copy_(counts)
        self.sums.copy_(sums)
        self.vectors.copy_(vectors)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """The code vectors nearest to h, shape (batch, positions, code_dim), and their codes; then learn from h."""
        codes = self.nearest(h)
        vectors = self.vectors[codes]
        if self.training and torch.is_grad_enabled():
            self.update(h.detach().flatten(0, -2), codes.flatten())
        return vectors, codes


@quantizers.register("ema")
@final
class EmaQuantizer(Quantizer):
    """Nearest vector of a codebook that follows by moving averages; the gradient goes straight through.

    Args:
        code_dim: Length of a code vector.
        n_codes: Number of codes.
        decay: Of the moving averages, in [0, 1).
        restart_below: Share of the mean use below which a code starts again at a vector of the batch; 0 for never.
        estimate: What gives a code vector the gradient of what was quantised to it.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    References:
        van den Oord et al., 2017, Neural Discrete Representation Learning, arXiv:1711.00937.

    Example:
        >>> EmaQuantizer(4, n_codes=8)(torch.zeros(2, 5, 4)).codes.shape
        torch.Size([2, 5])
    """

    commits: ClassVar[bool] = True

    def __init__(
        self,
        code_dim: int,
        n_codes: int = 512,
        decay: float = 0.99,
        restart_below: float = 0.5,
        *,
        estimate: Callable[[Tensor, Tensor], Tensor] = straight_through,
    ) -> None:
        super().__init__(n_codes, code_dim, code_dim)
        self._estimate = estimate
        self.codebook = MovingCodebook(n_codes, code_dim, decay=decay, restart_below=restart_below)

    def forward(self, h: Tensor) -> Quantized:
        """Quantise; in training the codebook learns."""
        with torch.autocast(h.device.type, enabled=False):
            h = _full(h)
            vectors, codes = self.codebook(h)
            distance = (h - vectors).square().sum((-2, -1))
            return Quantized(self._estimate(h, vectors), codes, distance, self._certain(h))

    def encode(self, h: Tensor) -> Tensor:
        return self.nearest(h)

    def vectors(self, codes: Tensor) -> Tensor:
        return self.codebook.vectors[codes]

    def nearest(self, z: Tensor) -> Tensor:
        return self.codebook.nearest(z)

    @torch.no_grad()
    def start(self, h: Tensor) -> None:
        """Start the codebook at centres of k-means."""
        self.codebook.start(_full(h).flatten(0, -2))


@quantizers.register("rotation")
def rotation(code_dim: int, n_codes: int = 512, decay: float = 0.99, restart_below: float = 0.5) -> EmaQuantizer:
    """The same codebook as :class:`EmaQuantizer`, with the gradient of :func:`rotate_to`.

    Args:
        code_dim: Length of a code vector.
        n_codes: Number of codes.
        decay: Of the moving averages, in [0, 1).
        restart_below: As for :class:`EmaQuantizer`.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    Example:
        >>> rotation(4, n_codes=8)(torch.zeros(2, 5, 4)).vectors.shape
        torch.Size([2, 5, 4])
    """
    return EmaQuantizer(code_dim, n_codes, decay, restart_below, estimate=rotate_to)


@quantizers.register("gumbel")
@final
class GumbelQuantizer(Quantizer):
    r"""Codes drawn from a categorical posterior, with the gradient of its Gumbel-softmax relaxation.

    .. math:: q(c = k \mid x) = \mathrm{softmax}(l)_k, \quad
              c = \arg\max_k (l_k + g_k), \quad y = \mathrm{softmax}((l + g) / T)

    The vector is that of the drawn code; its gradient is that of the mixture of vectors with weights y. Outside of
    training nothing is drawn: the code is the most probable one.

    Args:
        code_dim: Length of a code vector.
        n_codes: Number of codes; the encoder gives a logit for each.
        temperature: T, above 0; lower is closer to the draws and noisier.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    References:
        Jang et al., 2017, Categorical Reparameterization with Gumbel-Softmax, arXiv:1611.01144; Ramesh et al., 2021,
        Zero-Shot Text-to-Image Generation, section 2.1, arXiv:2102.12092.

    Example:
        >>> GumbelQuantizer(4, n_codes=8)(torch.zeros(2, 5, 8)).vectors.shape
        torch.Size([2, 5, 4])
    """

    commits: ClassVar[bool] = False

    def __init__(self, code_dim: int, n_codes: int = 512, temperature: float = 1.0) -> None:
        super().__init__(n_codes, code_dim, n_codes)
        self.temperature = check_real("temperature", temperature, low=0.0, inclusive=(False, True))
        self.codebook = nn.Parameter(torch.randn(n_codes, code_dim))

    def forward(self, h: Tensor) -> Quantized:
        """Quantise; in training codes are drawn from torch's global generator, which the trainer seeds."""
        with torch.autocast(h.device.type, enabled=False):
            h = _full(h)
            log_probabilities = torch.log_softmax(h, -1)
            kl = (log_probabilities.exp() * (log_probabilities + math.log(self.n_codes))).sum((-2, -1))
            noisy = h - torch.empty_like(h).exponential_().log() if self.training else h
            codes = noisy.argmax(-1)
            weights = torch.softmax(noisy / self.temperature, -1)
            hard = functional.one_hot(codes, self.n_codes).to(weights.dtype)
            vectors = straight_through(weights, hard) @ self.codebook
            return Quantized(vectors, codes, torch.zeros_like(kl), kl)

    def encode(self, h: Tensor) -> Tensor:
        return h.argmax(-1)

    def vectors(self, codes: Tensor) -> Tensor:
        return self.codebook[codes]

    def nearest(self, z: Tensor) -> Tensor:
        with torch.autocast(z.device.type, enabled=False):
            return _nearest_row(_full(z), self.codebook)


@quantizers.register("fsq")
@final
class FiniteScalarQuantizer(Quantizer):
    r"""Each of a few numbers is rounded to one of its levels; a code is the tuple of levels, and there is no codebook.

    .. math:: z_j = \mathrm{round}(f_j(h_j)) / \lfloor L_j / 2 \rfloor, \quad
              f_j(h) = \tfrac{L_j - 1}{2} (1 + \epsilon) \tanh(h + s_j) - o_j

    with o_j = 1/2 for even L_j, else 0, and s_j such that f_j(0) = 0. The gradient goes straight through the rounding.

    Args:
        code_dim: Number of numbers, as many as there are levels.
        levels: L_j, each at least 2; there are prod(levels) codes.

    Raises:
        InvalidParameterError: If there is not one level of at least 2 for each of `code_dim` numbers.

    References:
        Mentzer et al., 2024, Finite Scalar Quantization: VQ-VAE Made Simple, arXiv:2309.15505.

    Example:
        >>> FiniteScalarQuantizer(2, levels=(3, 3)).vectors(torch.arange(9))[:4].tolist()
        [[-1.0, -1.0], [0.0, -1.0], [1.0, -1.0], [-1.0, 0.0]]
    """

    commits: ClassVar[bool] = False
    levels: Tensor
    places: Tensor

    def __init__(self, code_dim: int, levels: Sequence[int] = (8, 8, 8)) -> None:
        sizes = check_sizes("levels", levels)
        if len(sizes) != code_dim or min(sizes, default=0) < 2:
            raise InvalidParameterError(
                f"levels must be {code_dim} integers of at least 2, one for each number of a code; got {sizes}. Use "
                "levels=(8, 8, 8) for 512 codes of 3 numbers."
            )
        super().__init__(math.prod(sizes), code_dim, code_dim)
        # Numbers, so that they follow the module's precision; they are known, and stand in no run.
        self.register_buffer("levels", torch.tensor(sizes), persistent=False)
        places = [math.prod(sizes[:j]) for j in range(len(sizes))]
        self.register_buffer("places", torch.tensor(places), persistent=False)

    def forward(self, h: Tensor) -> Quantized:
        """Quantise each number."""
        with torch.autocast(h.device.type, enabled=False):
            bounded = self._bounded(_full(h))
            rounded = straight_through(bounded, bounded.round())
            half = self.levels // 2
            return Quantized(rounded / half, self._codes(rounded), bounded.new_zeros(len(h)), self._certain(bounded))

    def encode(self, h: Tensor) -> Tensor:
        return self._codes(self._bounded(_full(h)).round())

    def vectors(self, codes: Tensor) -> Tensor:
        half = self.levels // 2
        digits = codes.unsqueeze(-1) // self.places % self.levels
        return (digits - half) / half

    def nearest(self, z: Tensor) -> Tensor:
        half = self.levels // 2
        lowest, highest = -half, self.levels - 1 - half
        return self._codes((_full(z) * half).round().clamp(lowest, highest))

    def _bounded(self, h: Tensor) -> Tensor:
        """Numbers between the lowest level - 1/2 and the highest + 1/2."""
        half = (self.levels - 1) * (1.0 + 1e-3) / 2.0
        offset = (1 - self.levels % 2) * 0.5
        shift = torch.atanh(offset / half)
        return torch.tanh(h + shift) * half - offset

    def _codes(self, rounded: Tensor) -> Tensor:
        return ((rounded.detach().round().long() + self.levels // 2) * self.places).sum(-1)


def levels_for(n_codes: int) -> tuple[int, ...]:
    """Levels of finite scalar quantisation whose product is nearest to a number of codes.

    Example:
        >>> levels_for(512), levels_for(1000)
        ((8, 8, 8), (8, 5, 5, 5))
    """
    return _LEVELS[min(_LEVELS, key=lambda size: abs(math.log(size / n_codes)))]


def perplexity(codes: Tensor, n_codes: int) -> float:
    r"""How many codes are in use, as the exponential of the entropy of their frequencies.

    .. math:: \exp(- \sum_k f_k \log f_k)

    Args:
        codes: Integers from 0 to n_codes - 1, any shape.
        n_codes: Number of codes that there are.

    Returns:
        From 1 (one code alone) to n_codes (all alike).

    Example:
        >>> round(perplexity(torch.tensor([0, 0, 1, 1]), 8), 6)
        2.0
    """
    counts = torch.bincount(codes.flatten(), minlength=n_codes).double()
    return float(torch.special.entr(counts / counts.sum()).sum().exp())


def k_means(rows: Tensor, n_centres: int, *, n_steps: int = 10) -> Tensor:
    """Centres of rows by Lloyd's algorithm, from rows chosen at random; the same rows give the same centres.

    Args:
        rows: Shape (n, dim), n at least 1; a random :data:`ROWS_PER_CENTRE` for each centre are looked at.
        n_centres: Number of centres; with fewer rows than that, rows are repeated with a little noise.
        n_steps: Steps of Lloyd's algorithm. A centre without rows moves to a random row.

    Returns:
        Shape (n_centres, dim).

    Example:
        >>> rows = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
        >>> k_means(rows, 2).sort(0).values
        tensor([[ 0.5000],
                [10.5000]])
    """
    random = generator(0, "k-means")
    rows = rows[torch.randperm(len(rows), generator=random)[: ROWS_PER_CENTRE * n_centres].to(rows.device)]
    repeats = -(-n_centres // len(rows))
    centres = rows.repeat(repeats, 1)[:n_centres].clone()
    if repeats > 1:
        noise = torch.randn(centres.shape, generator=random, dtype=centres.dtype)
        centres += 1e-3 * rows.std(0, correction=0) * noise.to(centres)
    for _ in range(n_steps):
        members = functional.one_hot(_nearest_row(rows, centres), n_centres).to(rows.dtype)
        counts = members.sum(0)[:, None]
        drawn = rows[torch.randint(len(rows), (n_centres,), generator=random).to(rows.device)]
        centres = torch.where(counts > 0, members.T @ rows / counts.clamp_min(1.0), drawn)
    return centres


def _full(h: Tensor) -> Tensor:
    """At least single precision: distances in half precision mistake one code for another."""
    return h if h.dtype in (torch.float32, torch.float64) else h.float()


@torch.no_grad()
def _nearest_row(h: Tensor, rows: Tensor) -> Tensor:
    """The row nearest to each h, shape (..., dim); int64, shape (...)."""
    # the squared distance without the part that is the same for all rows
    distances = torch.addmm(rows.square().sum(1), h.reshape(-1, h.shape[-1]), rows.T, alpha=-2.0)
    return distances.argmin(1).reshape(h.shape[:-1])
