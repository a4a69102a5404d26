"""Networks over tables of mixed kinds, in which every cell is a code of its column and a position inside that code."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from latentkit.core.columns import ColumnCodes, codes_of
from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.nn.activations import BRANCH_SCALE, activations, initialise
from latentkit.nn.families import NetworkFamily, NetworkOptions, check_dropout, check_sizes, networks

__all__ = ["CellEmbedding", "CodeVectors", "ColumnDecoder", "ColumnEncoder", "ColumnWalk"]

#: Standard deviation of the entries of a code's vector before training.
VECTOR_SCALE = 0.3
#: Half widths of a code beyond its ends to which an outlier is followed.
FAR = 1.5
#: Bumps along an ordered column, wide and narrow, where it has more than a few codes.
WIDE, NARROW, FEW = 4, 16, 4
#: Rows for each code from which on codes are told apart freely, and the least freedom of theirs; how small it begins.
ROWS_OF_A_CODE, LEAST, FREE = 400, 0.1, 0.1


@final
class CodeVectors(nn.Module):
    r"""A matrix with a row for each code; along the codes of an ordered column the rows change smoothly.

    .. math:: V = s F + \Phi(p) B, \qquad s = \min(1, n / 400 K)

    with free rows F and smooth functions :math:`\Phi` of the place p of a code among those of its column, from 0 to 1:
    a straight line, wide bumps, and narrow ones of height :math:`\sqrt s`. Where a column of K codes has been seen in
    few rows n, what is learnt of one code holds for its neighbours; with many rows they are told apart. "Missing" has
    no place among the others, and columns without an order have free rows alone.

    Args:
        columns: Codes of the columns.
        width: Length of a row.
        n_rows: Number of training examples; None stands for many.
        n_more: Rows without a place behind those of each column.
        scale: Standard deviation of the entries before training.

    Example:
        >>> CodeVectors(ColumnCodes((2, 30), is_ordered=(False, True)), 8).weight.shape
        torch.Size([32, 8])
    """

    _freedom: Tensor

    def __init__(
        self,
        columns: ColumnCodes,
        width: int,
        *,
        n_rows: int | None = None,
        n_more: int = 0,
        scale: float = VECTOR_SCALE,
    ) -> None:
        super().__init__()
        sizes = columns.cardinalities
        gaps = [code is not None for code in columns.missing_codes]
        details = [1.0 if n_rows is None else min(1.0, max(LEAST, n_rows / (ROWS_OF_A_CODE * size))) for size in sizes]
        curves = [
            _smooth(size - gap, detail) if is_ordered else None
            for size, gap, detail, is_ordered in zip(sizes, gaps, details, columns.is_ordered, strict=True)
        ]
        self.sizes = [size + n_more for size in sizes]
        self._curves = _Curves(curves, self.sizes)
        has_bumps = self._curves.has_bumps
        freedom = torch.tensor(details).repeat_interleave(torch.tensor(self.sizes))
        self.register_buffer("_freedom", torch.where(has_bumps, freedom, 1.0).unsqueeze(1), persistent=False)
        self.free = nn.Parameter(torch.randn(sum(self.sizes), check_integer("width", width, low=1)) * scale)
        self.bumps = nn.Parameter(torch.randn(self._curves.n_functions, width) * scale)
        with torch.no_grad():
            self.free[has_bumps] *= FREE

    @property
    def weight(self) -> Tensor:
        """All rows, shape (sum of codes, width)."""
        vectors: Tensor = self()[0]
        return vectors

    def forward(self) -> tuple[Tensor, Tensor]:
        """All rows, and how they change from one code to the next, each of shape (sum of codes, width).

        The change is 0 where there is no order.
        """
        values, changes = self._curves(self.bumps)
        return self.free * self._freedom + values, changes


@final
class _Curves(nn.Module):
    """Sums of functions along the codes of ordered columns; columns with equally many functions go together."""

    _values: Tensor
    _changes: Tensor

    def __init__(self, curves: Sequence[tuple[Tensor, Tensor] | None], sizes: Sequence[int]) -> None:
        super().__init__()
        counts = [0 if curve is None else curve[0].shape[1] for curve in curves]
        rows, functions = ([0, *itertools.accumulate(each)] for each in (sizes, counts))
        self.n_functions, self._groups = functions[-1], sorted(set(counts) - {0})
        self.has_bumps = torch.zeros(rows[-1], dtype=torch.bool)
        places = torch.zeros(2, rows[-1], dtype=torch.long)  # in what forward gathers, of which the first row is zero
        n_gathered = 1
        for count in self._groups:
            group = [(column, curve) for column, curve in enumerate(curves) if curve and counts[column] == count]
            longest = max(len(curve[0]) for _, curve in group)
            basis = torch.zeros(len(group), 2, longest, count)
            for index, (column, curve) in enumerate(group):
                n = len(curve[0])
                here = slice(rows[column], rows[column] + n)
                for part in (0, 1):
                    basis[index, part, :n] = curve[part]
                    places[part, here] = n_gathered + (2 * index + part) * longest + torch.arange(n)
                self.has_bumps[here] = count > 1
            of_group = [range(functions[column], functions[column + 1]) for column, _ in group]
            self.register_buffer(f"_basis_{count}", basis.flatten(1, 2), persistent=False)
            self.register_buffer(f"_functions_{count}", torch.tensor(of_group), persistent=False)
            n_gathered += basis.shape[:3].numel()
        self.register_buffer("_values", places[0], persistent=False)
        self.register_buffer("_changes", places[1], persistent=False)

    def forward(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums with these weights, shape (functions, width), and their changes, (sum of sizes, width)."""
        gathered = [weights.new_zeros(1, weights.shape[1])]
        for count in self._groups:
            chosen = functional.embedding(self.get_buffer(f"_functions_{count}"), weights)
            gathered.append(torch.bmm(self.get_buffer(f"_basis_{count}"), chosen).flatten(0, 1))
        rows = torch.cat(gathered)
        return functional.embedding(self._values, rows), functional.embedding(self._changes, rows)


def _smooth(n: int, detail: float) -> tuple[Tensor, Tensor]:
    """Smooth functions at n even places from 0 to 1, and their change from one place to the next, (n, functions)."""
    places = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    width = 12**-0.5  # standard deviation of places
    values, changes = [(places - 0.5).unsqueeze(1) / width], [torch.full((n, 1), 1 / (n * width), dtype=torch.float64)]
    for m, height in ((WIDE, 1.0), (NARROW, detail**0.5)):
        if n <= FEW or n < m:
            break
        centres = (torch.arange(m, dtype=torch.float64) + 0.5) / m
        away = m * (places[:, None] - centres)
        bumps = height * torch.exp(-0.5 * away.square())
        values.append(bumps)
        changes.append(-bumps * away * (m / n))
    return torch.cat(values, 1).float(), torch.cat(changes, 1).float()


@final
class CellEmbedding(nn.Module):
    r"""A vector for each cell of a row, and their sum.

    .. math:: e(x) = \sum_j v_{j, c_j} + (x_j - c_j - 1/2)\, v'_{j, c_j}, \qquad c_j = \lfloor x_j \rfloor

    with the slopes v' of :class:`CodeVectors`, so that vectors change along a numeric column within its codes, too. A
    cell that is unknown has a vector of its own.

    Args:
        columns: Codes of the columns.
        width: Length of a vector.
        n_rows: Number of training examples; None stands for many.

    References:
        Gorishniy et al., 2022, On Embeddings for Numerical Features in Tabular Deep Learning, arXiv:2203.05556.

    Example:
        >>> CellEmbedding(ColumnCodes((2, 3)), 8)(torch.tensor([[0.5, float("nan")]])).shape
        torch.Size([1, 8])
    """

    cardinalities: Tensor
    last_values: Tensor
    _starts: Tensor

    def __init__(
        self,
        columns: ColumnCodes,
        width: int,
        *,
        n_rows: int | None = None,
    ) -> None:
        super().__init__()
        starts = [0, *itertools.accumulate(size + 1 for size in columns.cardinalities)]
        self.register_buffer("cardinalities", torch.tensor(columns.cardinalities), persistent=False)
        self.register_buffer("last_values", torch.tensor(columns.last_values), persistent=False)
        self.register_buffer("_starts", torch.tensor(starts[:-1]), persistent=False)
        self.is_ordered = tuple(columns.is_ordered)
        self.vectors = CodeVectors(columns, width, n_rows=n_rows, n_more=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum over the cells of x, shape (batch, columns), as shape (batch, width)."""
        codes, offsets = _read(x, self.cardinalities, self.last_values)
        places, (vectors, slopes) = codes + self._starts, self.vectors()
        moved = functional.embedding_bag(places, slopes, mode="sum", per_sample_weights=offsets.to(slopes.dtype))
        return functional.embedding_bag(places, vectors, mode="sum") + moved


def _read(x: Tensor, cardinalities: Tensor, last_values: Tensor) -> tuple[Tensor, Tensor]:
    """The codes of cells, and how far inside it each lies from the middle of its code; 0 where it is unknown."""
    codes = codes_of(x, cardinalities, last_values)
    return codes, (x - codes - 0.5).nan_to_num(0.0).clamp(-FAR, FAR)


@final
class _Block(nn.Module):
    """h + W2 d(a(W1 n(h))), with layer normalisation n, activation a and dropout d."""

    def __init__(self, width: int, *, activation: str, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, width), nn.Linear(width, width)
        self.dropout = nn.Dropout(check_dropout(dropout))
        self._activate = activations[activation].function
        initialise(self.widen, activation)
        initialise(self.narrow, None, scale=BRANCH_SCALE)

    def forward(self, h: Tensor) -> Tensor:
        result: Tensor = h + self.narrow(self.dropout(self._activate(self.widen(self.norm(h)))))
        return result


def _trunk(widths: Sequence[int], *, activation: str, dropout: float) -> nn.Sequential:
    if len(set(widths)) != 1:
        raise InvalidParameterError(
            f"widths of a network over columns are one or more of the same number, one a block; got {tuple(widths)}. "
            f"Use {(max(widths, default=128),) * max(1, len(widths))}."
        )
    blocks = [_Block(width, activation=activation, dropout=dropout) for width in widths]
    return nn.Sequential(*blocks, nn.LayerNorm(widths[0]))


@final
class ColumnEncoder(nn.Module):
    """Network from a row of mixed cells to the parameters of its posterior; it has learnt to do with a part of them.

    While training, half of the rows show all their cells and the others a random part: every cell is hidden with a
    probability that is drawn for its row, from 0 to 1.

    Args:
        columns: Codes of the columns.
        n_outputs: Number of outputs.
        widths: Width of each residual block, all equal.
        activation: A name of `latentkit.nn.activations`.
        dropout: Probability in [0, 1).
        n_rows: Number of training examples; see :class:`CodeVectors`.
        n_given: Numbers that stand behind the cells of a row, such as those of a condition; they are never hidden.
        hides: Whether cells are hidden while training.

    Raises:
        InvalidParameterError: If an argument has a value that it cannot have.

    References:
        Ivanov et al., 2019, Variational Autoencoder with Arbitrary Conditioning, arXiv:1806.02382 (random masks).

    Example:
        >>> ColumnEncoder(ColumnCodes((2, 3)), 4, widths=(16,))(torch.tensor([[0.5, float("nan")]])).shape
        torch.Size([1, 4])
    """

    def __init__(
        self,
        columns: ColumnCodes,
        n_outputs: int,
        *,
        widths: Sequence[int],
        activation: str = "silu",
        dropout: float = 0.0,
        n_rows: int | None = None,
        n_given: int = 0,
        hides: bool = True,
    ) -> None:
        super().__init__()
        self.trunk = _trunk(check_sizes("widths", widths), activation=activation, dropout=dropout)
        self.embedding = CellEmbedding(columns, widths[0], n_rows=n_rows)
        self.head = nn.Linear(widths[0], check_integer("n_outputs", n_outputs, low=1))
        initialise(self.head, None)
        self.given = nn.Linear(n_given, widths[0], bias=False) if n_given else None
        if self.given is not None:
            initialise(self.given, None)
        self.n_columns = len(columns)
        self.hides = hides

    def forward(self, x: Tensor) -> Tensor:
        """Map x of shape (batch, columns + n_given) to (batch, n_outputs)."""
        x, given = x[:, : self.n_columns], x[:, self.n_columns :]
        if self.training and self.hides:
            n = len(x)
            share = torch.rand(n, 1, device=x.device) * (torch.rand(n, 1, device=x.device) < 0.5)
            x = x.masked_fill(torch.rand(x.shape, device=x.device) < share, math.nan)
        h = self.embedding(x)
        result: Tensor = self.head(self.trunk(h if self.given is None else h + self.given(given)))
        return result


@final
class ColumnDecoder(nn.Module):
    r"""Network from z, and from whichever cells of a row are known already, to the logits of every column.

    .. math:: l(z, x) = W\, t(g(z) + e(x)) + b

    with g a linear map, e the sum of the cells' vectors and t residual blocks. Called with z alone it gives g(z), which
    is all that the other methods need of z; one pass of :meth:`logits` gives the logits of all columns given the same
    cells, and :meth:`begin` starts a walk through the columns, in which each is given those before it.

    Args:
        columns: Codes of the columns.
        latent_dim: Length of z.
        widths: Width of each residual block, all equal.
        activation: A name of `latentkit.nn.activations`.
        dropout: Probability in [0, 1).
        n_rows: Number of training examples; see :class:`CodeVectors`.

    Raises:
        InvalidParameterError: If an argument has a value that it cannot have.

    Example:
        >>> decoder = ColumnDecoder(ColumnCodes((2, 3)), 4, widths=(16,))
        >>> decoder.logits(decoder(torch.zeros(1, 4))[:, 0], torch.tensor([[0.5, float("nan")]])).shape
        torch.Size([1, 5])
    """

    def __init__(
        self,
        columns: ColumnCodes,
        latent_dim: int,
        *,
        widths: Sequence[int],
        activation: str = "silu",
        dropout: float = 0.0,
        n_rows: int | None = None,
    ) -> None:
        super().__init__()
        self.sizes = list(columns.cardinalities)
        self.latent_map = nn.Linear(check_integer("latent_dim", latent_dim, low=1), widths[0])
        self.embedding = CellEmbedding(columns, widths[0], n_rows=n_rows)
        self.trunk = _trunk(check_sizes("widths", widths), activation=activation, dropout=dropout)
        self.head = CodeVectors(columns, widths[0], n_rows=n_rows, scale=widths[0] ** -0.5)
        self.bias = nn.Parameter(torch.zeros(sum(self.sizes)))
        initialise(self.latent_map, None)

    def forward(self, z: Tensor) -> Tensor:
        """Map z of shape (batch, latent) to g(z), shape (batch, 1, width)."""
        result: Tensor = self.latent_map(z).unsqueeze(-2)
        return result

    def logits(self, h: Tensor, x: Tensor) -> Tensor:
        """Return the logits of all columns one after the other, shape (batch, sum of cardinalities).

        Args:
            h: g(z), shape (batch, width).
            x: Rows whose unknown cells are NaN, shape (batch, columns).
        """
        result: Tensor = functional.linear(self.trunk(h + self.embedding(x)), self.head.weight, self.bias)
        return result

    def begin(self, h: Tensor) -> ColumnWalk:
        """Return rows of which nothing is known but g(z), shape (batch, width)."""
        return ColumnWalk(self, h)


@final
class ColumnWalk:
    """Rows that become known column by column, and what a decoder makes of them.

    Its weights are made ready once: in the precision of autocast where that is on, in which the blocks then compute as
    a whole. The sum of what is known keeps the precision of the weights.

    Args:
        decoder: The network.
        h: g(z), shape (batch, width).

    Example:
        >>> decoder = ColumnDecoder(ColumnCodes((2, 3)), 4, widths=(16,))
        >>> walk = decoder.begin(decoder(torch.zeros(1, 4))[:, 0])
        >>> walk.add(torch.tensor([0.5]), column=0)
        >>> walk.logits(1).shape
        torch.Size([1, 3])
    """

    def __init__(self, decoder: ColumnDecoder, h: Tensor) -> None:
        device, full = h.device.type, decoder.bias.dtype
        self._dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else full
        with torch.autocast(device, enabled=False):
            self._trunk = decoder.trunk
            self._weights = {name: weight.to(self._dtype) for name, weight in decoder.trunk.named_parameters()}
            self._heads = torch.split(decoder.head.weight.to(self._dtype), decoder.sizes)
            self._biases = torch.split(decoder.bias.to(self._dtype), decoder.sizes)
            embedding = decoder.embedding
            self._sizes, self._last = embedding.cardinalities, embedding.last_values
            self._is_ordered = embedding.is_ordered
            self._vectors, self._slopes = (torch.split(part, embedding.vectors.sizes) for part in embedding.vectors())
            self._state = h.to(full) + torch.stack([vectors[-1] for vectors in self._vectors]).sum(0)

    def add(self, x: Tensor, column: int) -> None:
        """Take in cells of one column, shape (batch,); where one is NaN its row stays as it was."""
        codes, offsets = _read(x, self._sizes[column], self._last[column])
        vectors, slopes = self._vectors[column], self._slopes[column]
        known = functional.embedding(codes, vectors - vectors[-1])
        if self._is_ordered[column]:
            known = torch.addcmul(known, offsets.to(known.dtype).unsqueeze(-1), functional.embedding(codes, slopes))
        self._state = self._state + known

    def logits(self, column: int) -> Tensor:
        """Return the logits of one column given what is known, shape (batch, cardinality)."""
        with torch.autocast(self._state.device.type, enabled=False):
            h = functional_call(self._trunk, self._weights, (self._state.to(self._dtype),))
            return functional.linear(h, self._heads[column], self._biases[column])


def default_column_widths(n_columns: int, *, n_rows: int | None = None) -> tuple[int, ...]:
    """Width of each block by number of columns and rows.

    Example:
        >>> default_column_widths(15), default_column_widths(15, n_rows=500)
        ((192,), (64,))
    """
    few = n_rows is not None and n_rows < 2000
    return (64,) if few else (192,) if n_columns <= 64 else (256,)


def _settings(options: NetworkOptions) -> tuple[ColumnCodes, dict[str, Any]]:
    """The columns, and what encoder and decoder are both made with."""
    if options.columns is None:
        raise InvalidParameterError(
            "'columns' networks need a table of mixed kinds; these data are numbers or images. Use 'auto' or 'mlp'."
        )
    if options.normalization not in ("auto", "layer"):
        raise InvalidParameterError(
            f"'columns' networks are normalised by layer; got normalization={options.normalization!r}. Leave it out."
        )
    default = default_column_widths(len(options.columns), n_rows=options.n_rows)
    return options.columns, {
        "widths": check_sizes("widths", default if options.widths == "auto" else options.widths),
        "activation": "silu" if options.activation == "auto" else options.activation,
        "dropout": options.dropout,
        "n_rows": options.n_rows,
    }


def _encoder(event_shape: tuple[int, ...], n_outputs: int, options: NetworkOptions) -> ColumnEncoder:
    columns, settings = _settings(options)
    return ColumnEncoder(columns, n_outputs, n_given=event_shape[0] - len(columns), **settings)


def _decoder(latent_dim: int, output_shape: tuple[int, ...], options: NetworkOptions) -> ColumnDecoder:
    columns, settings = _settings(options)
    return ColumnDecoder(columns, latent_dim, **settings)


networks.register("columns")(NetworkFamily(encoder=_encoder, decoder=_decoder, of_tables=True))
