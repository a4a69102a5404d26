"""Distributions over grids of codes: uniform, and autoregressive with a causal transformer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.core.parameters import check_integer, check_real
from latentkit.distributions.noise import gumbel
from latentkit.nn import Quantizer
from latentkit.nn.activations import BRANCH_SCALE, initialise
from latentkit.nn.families import check_sizes

__all__ = ["CodeDistribution", "CodePrior"]

#: Rows that are sampled together.
ROWS = 256


@final
class CodePrior(nn.Module):
    r"""Autoregressive model of grids of codes.

    .. math:: p(c \mid y) = \prod_i p(c_i \mid c_{<i}, y)

    in the order of the rows of the grid. A causal transformer gives the logits. What it sees at place i is the sum of
    what the code before and, on a grid of two dimensions, the code above are embedded to, of an embedding of the
    place's row and column, and of the condition y; attention adds all the places before. Codes go in and come out both
    as symbols and by their vectors, so that what is learnt of a code holds for those like it.

    Args:
        grid: Sides of the grid: (places,) or (height, width).
        n_codes: Number of codes.
        code_dim: Length of a code vector.
        condition_dim: Columns of a condition; 0 for none. Zeros stand for no condition.
        width: Numbers per place inside; a multiple of `n_heads`.
        n_layers: Layers of attention.
        n_heads: Heads of attention.
        dropout: Probability in [0, 1), behind each layer.

    Attributes:
        usage: How often each code stands in the data that the prior was fitted to, shape (n_codes,).
        vectors: Standardised vectors of the codes, and zeros for none, shape (n_codes + 1, code_dim).

    Raises:
        InvalidParameterError: If an argument has a value that it cannot have.

    References:
        Vaswani et al., 2017, Attention Is All You Need, arXiv:1706.03762; van den Oord et al., 2016, Pixel Recurrent
        Neural Networks, arXiv:1601.06759 (images place by place); Razavi et al., 2019, arXiv:1906.00446 (of codes).
        Ho and Salimans, 2022, Classifier-Free Diffusion Guidance, arXiv:2207.12598; Gafni et al., 2022, Make-A-Scene,
        arXiv:2203.13131 (guidance of codes).

    Example:
        >>> prior = CodePrior((2, 3), 8, code_dim=2, width=16)
        >>> prior.log_prob(torch.zeros(4, 6, dtype=torch.int64)).shape
        torch.Size([4])
        >>> prior.sample(5, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([5, 6])
    """

    usage: Tensor
    vectors: Tensor

    def __init__(
        self,
        grid: Sequence[int],
        n_codes: int,
        *,
        code_dim: int,
        condition_dim: int = 0,
        width: int = 128,
        n_layers: int = 2,
        n_heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.grid = check_sizes("grid", grid)
        self.n_codes = check_integer("n_codes", n_codes, low=2)
        self.condition_dim = check_integer("condition_dim", condition_dim)
        check_integer("n_layers", n_layers, low=1)
        check_integer("n_heads", n_heads, low=1)
        if check_integer("width", width, low=1) % n_heads:
            raise InvalidParameterError(
                f"width must be a multiple of n_heads={n_heads}; got {width}. Use {n_heads * (width // n_heads + 1)}."
            )
        self.width = width
        self.places = nn.ParameterList(0.02 * torch.randn(side, width) for side in self.grid)
        self.before = nn.Embedding(n_codes + 1, width)  # the last one stands where there is no code
        self.above = nn.Embedding(n_codes + 1, width) if len(self.grid) > 1 else None
        self.between = nn.Linear(code_dim, width, bias=False)
        self.upwards = nn.Linear(code_dim, width, bias=False) if len(self.grid) > 1 else None
        self.onto = nn.Linear(width, code_dim, bias=False)
        self.given = nn.Linear(condition_dim, width, bias=False) if condition_dim else None
        self.layers = nn.ModuleList(_Layer(width, n_heads, dropout) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, n_codes)
        nn.init.normal_(self.before.weight, std=0.02)
        if self.above is not None:
            nn.init.normal_(self.above.weight, std=0.02)
        initialise(self.output, None, scale=BRANCH_SCALE)
        initialise(self.between, None)
        initialise(self.onto, None, scale=BRANCH_SCALE)
        self.register_buffer("vectors", torch.zeros(n_codes + 1, code_dim))
        self.register_buffer("usage", torch.zeros(n_codes))

    @torch.no_grad()
    def start(self, codes: Tensor, vectors: Tensor) -> None:
        """Start where the data are: with their frequencies of codes, and with what the codes stand for.

        Args:
            codes: Codes of some data, shape (n, places).
            vectors: The vectors of the codes, shape (n_codes, code_dim); they are standardised.
        """
        counts = torch.bincount(codes.flatten(), minlength=self.n_codes).to(self.usage)
        self.usage.copy_(counts)
        self.output.bias.copy_(((counts + 1.0) / (counts + 1.0).sum()).log())
        scale = vectors.std(0, correction=0)
        self.vectors[:-1] = (vectors - vectors.mean(0)) / torch.where(scale > 0, scale, 1.0)

    @property
    def n_places(self) -> int:
        """Number of codes of one example."""
        return math.prod(self.grid)

    def logits(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Logits of the code at every place given those before it, shape (batch, places, n_codes).

        Args:
            codes: Shape (batch, places), int64.
            condition: Shape (batch, condition_dim), or (1, condition_dim) for every row; None for none.
        """
        h = self._seen(codes, condition)
        for layer in self.layers:
            h = layer(h)
        return self._logits(h)

    def log_prob(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Log-probability of codes, shape (batch, places), in nats, shape (batch,)."""
        logits = self.logits(codes, condition)
        logits = logits if logits.dtype in (torch.float32, torch.float64) else logits.float()
        return -functional.cross_entropy(logits.mT, codes, reduction="none").sum(-1)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        condition: Tensor | None = None,
        *,
        temperature: float = 1.0,
        guidance: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        r"""Draw codes place by place, shape (n, places); each layer keeps the keys and values of the places before.

        .. math:: \log \tilde p(c_i \mid c_{<i}, y) = w \log p(c_i \mid c_{<i}, y) + (1 - w) \log p(c_i \mid c_{<i})
                  + const

        Args:
            n: Number of draws.
            condition: Shape (n, condition_dim), or (1, condition_dim) for all; None for none.
            temperature: What the logits are divided by; at 0 each code is the most probable one.
            guidance: Weight w; other than 1 it doubles the work.
            generator: Source of randomness.
        """
        parts = []
        for start in range(0, n, ROWS):
            rows = min(ROWS, n - start)
            own = condition if condition is None or len(condition) == 1 else condition[start : start + rows]
            if own is not None and guidance != 1.0:
                own = torch.cat([own.expand(rows, -1), torch.zeros_like(own).expand(rows, -1)])
            parts.append(self._draw(rows, own, temperature, guidance, generator))
        return torch.cat(parts)

    def _draw(
        self,
        n: int,
        condition: Tensor | None,
        temperature: float,
        guidance: float,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Codes of n rows; where there is guidance, `condition` has those of the rows and then as many of none."""
        copies = 1 if condition is None or guidance == 1.0 else 2
        codes = self.output.weight.new_zeros(copies * n, self.n_places, dtype=torch.int64)
        kept = [layer.empty(copies * n, self.n_places) for layer in self._layers]
        for place in range(self.n_places):
            h = self._seen(codes, condition, place)
            for layer, memory in zip(self._layers, kept, strict=True):
                h = layer.step(h, memory, place)
            logits = self._logits(h)[:, 0]
            if copies == 2:
                given, free = logits.log_softmax(-1).chunk(2)
                logits = free + guidance * (given - free)
            if temperature > 0:
                logits = logits / temperature + gumbel(logits.shape, like=logits, generator=generator)
            codes[:, place] = logits.argmax(-1).repeat(copies)
        return codes[:n]

    @property
    def _layers(self) -> list[_Layer]:
        return list(self.layers)  # type: ignore[arg-type]

    def _seen(self, codes: Tensor, condition: Tensor | None, place: int | None = None) -> Tensor:
        """What goes in at every place, shape (batch, places, width), or at one, shape (batch, 1, width)."""
        places = slice(None) if place is None else slice(place, place + 1)
        left = self._shifted(codes, 1)[:, places]
        h = self.before(left) + self.between(self.vectors[left]) + self._positions()[places]
        if self.above is not None and self.upwards is not None:
            above = self._shifted(codes, math.prod(self.grid[1:]))[:, places]
            h = h + self.above(above) + self.upwards(self.vectors[above])
        if self.given is not None and condition is not None:
            h = h + self.given(condition.to(h))[:, None]
        result: Tensor = h
        return result

    def _logits(self, h: Tensor) -> Tensor:
        h = self.norm(h)
        logits: Tensor = self.output(h) + self.onto(h) @ self.vectors[:-1].T
        return logits

    def _shifted(self, codes: Tensor, n: int) -> Tensor:
        """The code `n` places before each; the number that stands for none at the first ones."""
        return functional.pad(codes, (n, 0), value=self.n_codes)[:, : codes.shape[1]]

    def _positions(self) -> Tensor:
        """Embeddings of the places, shape (places, width)."""
        total = self.places[0]
        for side in list(self.places)[1:]:
            total = total.unsqueeze(-2) + side
        positions: Tensor = total.reshape(-1, self.width)
        return positions


@final
class _Layer(nn.Module):
    """Causal attention and a perceptron, each added to its input."""

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)
        initialise(self.project, None)
        initialise(self.mix, None, scale=BRANCH_SCALE)
        initialise(self.widen, "gelu")
        initialise(self.narrow, None, scale=BRANCH_SCALE)

    def forward(self, h: Tensor) -> Tensor:
        """Map (batch, places, width) to the same shape."""
        query, key, value = self._heads(h)
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self._rest(h, attended)

    def empty(self, n: int, n_places: int) -> Tensor:
        """Memory of keys and values, shape (2, n, heads, places, width / heads)."""
        width = self.mix.in_features
        return self.mix.weight.new_zeros(2, n, self.n_heads, n_places, width // self.n_heads)

    def step(self, h: Tensor, memory: Tensor, place: int) -> Tensor:
        """Map one place, shape (n, 1, width), given the memory of those before, which gets this one."""
        query, memory[0, :, :, place : place + 1], memory[1, :, :, place : place + 1] = self._heads(h)
        key, value = memory[:, :, :, : place + 1]
        return self._rest(h, functional.scaled_dot_product_attention(query, key, value))

    def _heads(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = self.project(self.first(h)).unflatten(-1, (3, self.n_heads, -1)).unbind(-3)
        return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)

    def _rest(self, h: Tensor, attended: Tensor) -> Tensor:
        h = h + self.dropout(self.mix(attended.transpose(1, 2).flatten(2)))
        result: Tensor = h + self.dropout(self.narrow(functional.gelu(self.widen(self.second(h)))))
        return result


@final
class CodeDistribution:
    """A distribution over the vectors of codes, flattened as z: all other vectors have probability 0.

    Args:
        quantizer: Gives the vectors of codes.
        n_places: Codes of one example.
        prior: Model of the codes; None for uniform ones.
        condition: What they are given, shape (1, columns), or one row for each example.
        temperature: What logits are divided by in draws; `log_prob` is that of temperature 1.
        guidance: Weight of the condition in draws, see :meth:`CodePrior.sample`; `log_prob` is that of 1.

    Example:
        >>> from latentkit.nn.quantizers import FiniteScalarQuantizer
        >>> uniform = CodeDistribution(FiniteScalarQuantizer(2, levels=(3, 3)), 4)
        >>> uniform.sample(5, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([5, 8])
    """

    def __init__(
        self,
        quantizer: Quantizer,
        n_places: int,
        *,
        prior: CodePrior | None = None,
        condition: Tensor | None = None,
        temperature: float = 1.0,
        guidance: float = 1.0,
    ) -> None:
        self._quantizer = quantizer
        self._n_places = n_places
        self._prior = prior
        self._condition = condition
        self._temperature = temperature
        self._guidance = guidance

    @property
    def mean(self) -> Tensor:
        """None: codes are symbols.

        Raises:
            UnsupportedOperationError: Always.
        """
        raise UnsupportedOperationError("codes are symbols, which have no mean. Use sample.")

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of the codes nearest to `value`, shape (*batch, latent), in nats, shape (*batch,)."""
        lead = value.shape[:-1]
        codes = self._quantizer.nearest(value.reshape(-1, self._n_places, self._quantizer.code_dim))
        if self._prior is None:
            return value.new_full(lead, -self._n_places * math.log(self._quantizer.n_codes))
        return self._prior.log_prob(codes, self._condition).reshape(lead)

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws, shape (latent,), or (n, latent) when `n` is given; no gradient."""
        count = 1 if n is None else n
        if self._prior is None:
            device = next(itertools.chain(self._quantizer.parameters(), self._quantizer.buffers())).device
            uniform = torch.zeros(count, self._n_places, self._quantizer.n_codes, device=device)
            codes = gumbel(uniform.shape, like=uniform, generator=generator).argmax(-1)
        else:
            codes = self._prior.sample(
                count,
                self._condition,
                temperature=self._temperature,
                guidance=self._guidance,
                generator=generator,
            )
        z = self._quantizer.vectors(codes).flatten(1)
        return z[0] if n is None else z

    def tempered(self, temperature: float) -> CodeDistribution:
        """The same model of codes, its logits divided by `temperature`; at 0 each code is the most probable one."""
        check_real("temperature", temperature, low=0.0)
        return self._with(temperature=temperature, guidance=self._guidance)

    def guided(self, guidance: float) -> CodeDistribution:
        """The same model of codes, extrapolated from none to its condition; see :meth:`CodePrior.sample`.

        Raises:
            InvalidParameterError: If there is no condition to be guided by.
        """
        check_real("guidance", guidance, low=0.0)
        if self._prior is None or self._condition is None:
            raise InvalidParameterError(
                f"guidance={guidance!r} needs a condition to be guided by, and there is none. Give condition= (or "
                "label=), or leave guidance out."
            )
        return self._with(temperature=self._temperature, guidance=guidance)

    def _with(self, *, temperature: float, guidance: float) -> CodeDistribution:
        return CodeDistribution(
            self._quantizer,
            self._n_places,
            prior=self._prior,
            condition=self._condition,
            temperature=temperature,
            guidance=guidance,
        )
