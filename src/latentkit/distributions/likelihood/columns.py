"""Rows of mixed kinds: every cell is a code of its column and a position inside that code."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeAlias, final

import torch
from torch import Tensor, nn

from latentkit.core.columns import ColumnCodes, codes_of
from latentkit.core.errors import InvalidParameterError
from latentkit.distributions.likelihood.family import Likelihood, likelihoods
from latentkit.distributions.noise import drawn_shape, uniform
from latentkit.distributions.precision import at_least_float32

__all__ = ["Columns", "ColumnsLikelihood", "Context", "Region", "RegionOf", "median", "quantiles"]

#: Share of training rows whose known cells are the first ones of the order in which rows are drawn.
ORDERED = 0.5
#: Nats that a number costs for each width of an end bin that it lies beyond it.
TAIL = 1.0
#: The largest position inside a code that is drawn: the next float32 of a large code is not the code above it.
INSIDE = 1.0 - 1e-3


class Context(Protocol):
    """A decoder that can be told which cells of a row are known; see :class:`~latentkit.nn.ColumnDecoder`."""

    def logits(self, h: Tensor, x: Tensor) -> Tensor:
        """Logits of all columns, shape (batch, sum of cardinalities), given h and rows with NaN where unknown."""
        ...

    def begin(self, h: Tensor) -> Walk:
        """Rows of which nothing is known but h, shape (batch, width)."""
        ...


class Walk(Protocol):
    """Rows that become known column by column; see :class:`~latentkit.nn.ColumnWalk`."""

    def add(self, x: Tensor, column: int) -> None:
        """Take in cells of one column, shape (batch,); NaN leaves a row as it was."""
        ...

    def logits(self, column: int) -> Tensor:
        """Logits of one column given what is known, shape (batch, cardinality)."""
        ...


@dataclass(frozen=True, slots=True)
class Region:
    """What a column is held to: of each of its codes, the positions from `low` to `high`.

    Attributes:
        low: Shape (cardinality,), from 0 to 1; or (rows, cardinality), where each row has its own.
        high: Likewise; where it is not above `low`, the code is left out.
        value: What stands in a row where another code than "missing" is drawn, shape (rows,); NaN where that is free.
    """

    low: Tensor
    high: Tensor
    value: Tensor | None = None


#: A region, or a function that gives it for the cells that are known so far, shape (rows, columns), NaN where unknown.
RegionOf: TypeAlias = Region | Callable[[Tensor], Region]


@final
class Columns:
    r"""A row of columns given z, each cell a code c and a position in [0, 1) inside it, which is uniform.

    .. math:: \log p(x \mid z) = \sum_j \log p(c_{o_j} \mid c_{o_1}, \ldots, c_{o_{j-1}}, z), \; c = \lfloor x \rfloor

    in the order o of the family, or without the dots where the decoder looks at z alone. Positions have density 1, so
    that the figures of a row are those of its codes. A number beyond its column's codes is an outlier: it costs a nat
    for every width of the bin at that end that it lies beyond.

    Args:
        parameters: What the decoder gives: logits of all columns, shape (*batch, sum of cardinalities), or what
            `context` takes.
        family: The likelihood that it belongs to.
        context: The decoder, where it looks at the known cells of a row, too.
        training: Whether :meth:`log_prob` is estimated from one random part of each row.
    """

    __slots__ = ("_context", "_training", "family", "parameters")

    def __init__(
        self, parameters: Tensor, family: ColumnsLikelihood, context: Context | None, *, training: bool
    ) -> None:
        self.parameters = parameters
        self.family = family
        self._context = context
        self._training = training

    # What there is to expect

    @property
    def mode(self) -> Tensor:
        """The middle of each column's most probable code given z alone, shape (*batch, columns)."""
        return torch.stack([logits.argmax(-1) for logits in self._marginal_logits()], -1).to(self._dtype) + 0.5

    @property
    def mean(self) -> Tensor:
        """The median of ordered columns and the most probable code of others, given z alone, shape (*batch, columns).

        It is no mean: the codes of categories cannot be averaged, and the mean of a number lies where there is none.
        """
        columns = []
        for logits, is_ordered in zip(self._marginal_logits(), self.family.codes.is_ordered, strict=True):
            columns.append(median(logits) if is_ordered else logits.argmax(-1) + 0.5)
        return torch.stack([column.to(self._dtype) for column in columns], -1)

    def probabilities(self, value: Tensor) -> tuple[Tensor, ...]:
        """Return each column's p(code given z and the known cells of `value`), shapes (*batch, cardinality).

        Args:
            value: Rows in model units with NaN where unknown, shape (*batch, columns).
        """
        return tuple(torch.softmax(part, -1) for part in self._split(self._all_logits(value)))

    # Figures

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Log-density of `value` in nats, shape (*batch,); cells that are NaN or have a false `mask` do not count."""
        return self.log_prob_columns(value, mask).sum(-1)

    def log_prob_columns(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Parts of :meth:`log_prob` by column, shape (*batch, columns), in the order of the columns."""
        value = value if mask is None else value.masked_fill(~mask, math.nan)
        if self._context is None:
            return self._log_masses(self._split(self.parameters), value.expand(*self._lead(value), value.shape[-1]))
        lead, rows, h = self._flattened(value)
        parts = self._estimate(rows, h, self._context) if self._training else self._chain(rows, h, self._context)
        return parts.reshape(*lead, -1)

    def log_prob_given(self, x: Tensor, column: int, others: Tensor) -> Tensor:
        """Log-density of cells of one column given z and other cells, nats, shape (*batch,).

        Args:
            x: Cells of the column, shape (*batch,).
            column: Its number.
            others: Rows with NaN where unknown, in that column too, shape (*batch, columns).
        """
        logits = self._split(self._all_logits(others))[column]
        return self._log_mass(logits, x.expand(logits.shape[:-1]), column)

    def _estimate(self, x: Tensor, h: Tensor, context: Context) -> Tensor:
        """Unbiased for the mean over orders, from one random part of each row that is known."""
        n, n_columns = x.shape
        known = torch.randint(0, n_columns, (n, 1), device=x.device)
        rank = torch.rand(n, n_columns, device=x.device).argsort(1).argsort(1)
        is_ordered = torch.rand(n, 1, device=x.device) < ORDERED
        rank = torch.where(is_ordered, self.family.rank, rank)
        logits = self._split(context.logits(h, x.masked_fill(rank >= known, math.nan)))
        weights = (rank >= known) * (n_columns / (n_columns - known))
        following = (rank == known) * float(n_columns)
        weights = torch.where(is_ordered, 0.5 * (weights + following), weights)
        return self._log_masses(logits, x) * weights

    def _chain(self, x: Tensor, h: Tensor, context: Context) -> Tensor:
        walk, parts = context.begin(h), [x.new_empty(0)] * x.shape[1]
        for column in self.family.order:
            parts[column] = self._log_mass(at_least_float32(walk.logits(column)), x[:, column], column)
            walk.add(x[:, column], column)
        return torch.stack(parts, -1)

    def _log_masses(self, logits: Sequence[Tensor], value: Tensor, columns: slice = slice(None)) -> Tensor:
        """Log-masses of the codes of cells of these columns, shape (*batch, columns), 0 where one is unknown."""
        sizes = self.family.cardinalities[columns]
        codes = codes_of(value, sizes, self.family.last_values[columns]).minimum(sizes - 1)
        parts = zip(logits, torch.split(codes, 1, -1), strict=True)
        masses = torch.cat([torch.log_softmax(part, -1).gather(-1, code) for part, code in parts], -1)
        beyond = torch.relu(-value) + torch.relu(value - sizes)
        return (masses - TAIL * beyond.to(masses.dtype)).masked_fill(value.isnan(), 0.0)

    def _log_mass(self, logits: Tensor, x: Tensor, column: int) -> Tensor:
        """Log-mass of the codes of cells of one column, shape (*batch,), 0 where one is unknown."""
        return self._log_masses((logits,), x.unsqueeze(-1), slice(column, column + 1)).squeeze(-1)

    # Draws

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Rows, shape (*batch, columns) or (n, *batch, columns); no gradient."""
        lead = drawn_shape(n, self.parameters.shape[:-1])
        unknown = self.parameters.new_full((*lead, len(self.family.sizes)), math.nan, dtype=self._dtype)
        return self.complete(unknown, generator=generator)

    def complete(self, value: Tensor, *, generator: torch.Generator | None = None, missing: bool = True) -> Tensor:
        """Return `value` with its unknown cells drawn given z and the known ones; no gradient.

        Args:
            value: Rows in model units with NaN where unknown, shape (*batch, columns).
            generator: Source of the draws.
            missing: Whether "missing" may be drawn where a column has a code for it; False draws what would stand
                there.
        """
        with torch.no_grad():
            chain = self._begin(value)
            for column in self.family.order:
                # drawn also where nothing is wanted: what a row gets must not depend on the others of its batch
                places, positions = self._uniform(chain.lead, generator), self._uniform(chain.lead, generator)
                holes = chain.rows[:, column].isnan()
                if not bool(holes.any()):
                    continue
                logits = chain.logits(column)
                code = self.family.codes.missing_codes[column]
                if not missing and code is not None:
                    logits = _without(logits, code)
                cells = drawn_codes(logits, places) + positions.clamp_max(INSIDE)
                chain.know(torch.where(holes, cells, math.nan), column)
            return chain.rows.reshape(*chain.lead, -1)

    def within(
        self, regions: Mapping[int, RegionOf], *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        r"""Draw some columns within regions, and say how probable it was that they lie there.

        .. math:: w = \prod_j P(x_j \in A_j(x_1, \ldots, x_{j-1}) \mid z, x_1, \ldots, x_{j-1})

        over the columns of `regions` in their order, each drawn within its region A, which may depend on those before
        it. Rows weighted by w are draws of p(x given x in A, z); the mean of w over z of the prior is the probability
        of the regions.

        Args:
            regions: What columns are held to, by their numbers, in the order in which they are drawn.
            generator: Source of the draws.
        Returns:
            Rows, shape (*batch, columns), NaN in the other columns; and log w, nats, shape (*batch,).
        """
        with torch.no_grad():
            unknown = self.parameters.new_full((len(self.family.sizes),), math.nan, dtype=self._dtype)
            chain = self._begin(unknown)
            log_mass = chain.rows.new_zeros(len(chain.rows))
            for column, given in regions.items():
                region = given if isinstance(given, Region) else given(chain.rows)
                low, high = (end.to(chain.rows).expand(len(chain.rows), -1) for end in (region.low, region.high))
                places, positions = self._uniform(chain.lead, generator), self._uniform(chain.lead, generator)
                logits = torch.log_softmax(chain.logits(column), -1) + torch.log((high - low).clamp_min(0.0))
                log_mass = log_mass + torch.logsumexp(logits, -1)
                codes = drawn_codes(logits, places)
                first, last = (end.gather(1, codes.unsqueeze(1)).squeeze(1) for end in (low, high))
                cells = codes + (first + positions * (last - first)).clamp_max(INSIDE)
                chain.know(self._set(cells, region.value, column), column)
            return chain.rows.reshape(*chain.lead, -1), log_mass.reshape(chain.lead)

    def _set(self, cells: Tensor, value: Tensor | None, column: int) -> Tensor:
        """Cells with those that are set in their place, unless they are missing."""
        if value is None:
            return cells
        is_missing = cells.floor() == (-1 if (code := self.family.codes.missing_codes[column]) is None else code)
        return torch.where(is_missing | value.to(cells).isnan(), cells, value.to(cells))

    def _begin(self, value: Tensor) -> _Chain:
        lead, rows, h = self._flattened(value)
        return _Chain(lead, rows.clone(), h, self.family, self._context)

    def _flattened(self, value: Tensor) -> tuple[tuple[int, ...], Tensor, Tensor]:
        """The common batch shape of `value` and the parameters, and both in it as rows, shapes (rows, ...)."""
        lead = self._lead(value)
        rows, h = (part.expand(*lead, part.shape[-1]).reshape(-1, part.shape[-1]) for part in (value, self.parameters))
        return lead, rows, h

    def _lead(self, value: Tensor) -> tuple[int, ...]:
        """The common batch shape of `value` and the parameters."""
        return tuple(torch.broadcast_shapes(value.shape[:-1], self.parameters.shape[:-1]))  # type: ignore[no-untyped-call]

    def _uniform(self, lead: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
        """A number in [0, 1) for each row, shape (rows,)."""
        like = self.parameters.new_empty((), dtype=self._dtype)
        return uniform(lead, like=like, generator=generator).reshape(-1)

    # Logits

    @property
    def _dtype(self) -> torch.dtype:
        return torch.promote_types(self.parameters.dtype, torch.float32)

    def _split(self, logits: Tensor) -> tuple[Tensor, ...]:
        parts: tuple[Tensor, ...] = at_least_float32(logits).split(self.family.sizes, -1)  # type: ignore[no-untyped-call]
        return parts

    def _marginal_logits(self) -> tuple[Tensor, ...]:
        unknown = self.parameters.new_full((1, len(self.family.sizes)), math.nan, dtype=self._dtype)
        return self._split(self._all_logits(unknown.expand(*self.parameters.shape[:-1], -1)))

    def _all_logits(self, value: Tensor) -> Tensor:
        if self._context is None:
            return self.parameters
        lead, rows, h = self._flattened(value)
        return self._context.logits(h, rows).reshape(*lead, -1)


class _Chain:
    """Rows that become known column by column, with what the decoder makes of them so far."""

    def __init__(
        self, lead: tuple[int, ...], rows: Tensor, h: Tensor, family: ColumnsLikelihood, context: Context | None
    ) -> None:
        self.lead, self.rows = lead, rows
        self._walk = None if context is None else context.begin(h)
        self._independent: tuple[Tensor, ...] = h.split(family.sizes, -1) if context is None else ()  # type: ignore[no-untyped-call]
        if self._walk is not None:
            for column in (column for column in family.order if not bool(rows[:, column].isnan().all())):
                self._walk.add(rows[:, column], column)

    def logits(self, column: int) -> Tensor:
        """Logits of a column given what is known, shape (rows, cardinality)."""
        return at_least_float32(self._independent[column] if self._walk is None else self._walk.logits(column))

    def know(self, cells: Tensor, column: int) -> None:
        """Take in cells of a column, shape (rows,); NaN changes nothing."""
        cells = cells.to(self.rows.dtype)
        self.rows[:, column] = torch.where(cells.isnan(), self.rows[:, column], cells)
        if self._walk is not None:
            self._walk.add(cells, column)


def _without(logits: Tensor, code: int) -> Tensor:
    """Logits, shape (rows, codes), of which one code has no mass."""
    nothing = logits.new_full((len(logits), 1), -math.inf)
    return torch.cat((logits[:, :code], nothing, logits[:, code + 1 :]), 1)


def drawn_codes(logits: Tensor, places: Tensor) -> Tensor:
    """Return the code of each row at a place, from 0 to 1, of its cumulative distribution, shape (rows,).

    Args:
        logits: Shape (rows, codes).
        places: Shape (rows,).

    Example:
        >>> drawn_codes(torch.zeros(3, 4), torch.tensor([0.1, 0.6, 0.99]))
        tensor([0, 2, 3])
    """
    ends = torch.softmax(logits, -1).cumsum(-1)
    codes = torch.searchsorted(ends, (places * ends[:, -1]).unsqueeze(-1), right=True)
    return codes.squeeze(-1).clamp_max(logits.shape[-1] - 1)


def median(logits: Tensor) -> Tensor:
    """Return the median of a distribution that is uniform inside every code, shape (*batch,).

    Example:
        >>> median(torch.zeros(5))
        tensor(2.5000)
    """
    return quantiles(torch.softmax(logits, -1), logits.new_tensor([0.5]))[0]


def quantiles(masses: Tensor, levels: Tensor) -> Tensor:
    """Return quantiles of distributions that are uniform inside every code.

    Args:
        masses: Shape (*batch, codes); they need not sum to one.
        levels: In (0, 1), shape (points,).
    Returns:
        Shape (points, *batch).

    Example:
        >>> quantiles(torch.tensor([1.0, 3.0]), torch.tensor([0.125, 0.625]))
        tensor([0.5000, 1.5000])
    """
    ends = masses.cumsum(-1)
    wanted = levels * ends[..., -1:]
    codes = torch.searchsorted(ends, wanted).clamp_max(masses.shape[-1] - 1)
    mass = masses.gather(-1, codes).clamp_min(torch.finfo(masses.dtype).tiny)
    inside = ((wanted - ends.gather(-1, codes) + mass) / mass).clamp(0.0, INSIDE)
    return (codes + inside).movedim(-1, 0)


@likelihoods.register("columns")
@final
class ColumnsLikelihood(Likelihood):
    """Rows of mixed kinds, every cell given by a softmax over the codes of its column.

    With a decoder that looks at z alone the columns are independent given z. With a ``"columns"`` decoder each is drawn
    given z and the columns before it, in an order from the fewest codes to the most; and any part of a row may be
    given, of which the rest is then drawn.

    Args:
        event_shape: (columns,).
        cardinalities: Number of codes of each column.
        missing_codes: See :class:`~latentkit.core.columns.ColumnCodes`.
        is_ordered: Likewise.

    Attributes:
        codes: The three together.

    Raises:
        InvalidParameterError: If the lists do not have one entry for each column.

    Example:
        >>> family = ColumnsLikelihood((2,), cardinalities=(2, 3))
        >>> family(torch.zeros(16, 1, 5)).log_prob(torch.full((16, 2), 0.5)).shape
        torch.Size([16])
    """

    discrete: ClassVar[bool] = True
    of_tables: ClassVar[bool] = True

    rank: Tensor
    cardinalities: Tensor
    last_values: Tensor

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        cardinalities: Sequence[int] = (),
        missing_codes: Sequence[int | None] = (),
        is_ordered: Sequence[bool] = (),
    ) -> None:
        super().__init__(event_shape, n_parameters=1)
        n = self.n_features
        self.codes = ColumnCodes(cardinalities, missing_codes, is_ordered)
        self.sizes = list(self.codes.cardinalities)
        if len(self.codes) != n or len(self.event_shape) != 1:
            raise InvalidParameterError(
                f"likelihood 'columns' needs cardinalities of one entry for each of the {n} columns; got "
                f"{len(self.codes)}. Fit on a table, from which they are learnt."
            )
        self.order = tuple(sorted(range(n), key=lambda column: (self.sizes[column], column)))
        rank = torch.empty(n, dtype=torch.long)
        rank[list(self.order)] = torch.arange(n)
        self.register_buffer("rank", rank, persistent=False)
        self.register_buffer("cardinalities", torch.tensor(self.sizes), persistent=False)
        self.register_buffer("last_values", torch.tensor(self.codes.last_values), persistent=False)
        self._context: tuple[Context, ...] = ()

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of a decoder's output for one example, the logits of all columns."""
        return (1, sum(self.sizes))

    def look_at(self, decoder: nn.Module) -> None:
        """Give each column the cells that are known before it, through a decoder that takes them.

        The decoder's weights stay its own: they are no part of this module.
        """
        self._context = (decoder,)  # type: ignore[assignment]  # in a tuple, so that it is not registered here

    def forward(self, parameters: Tensor) -> Columns:
        """Read logits, shape (*batch, 1, sum of cardinalities), or what a decoder takes beside cells, likewise."""
        context = self._context[0] if self._context else None
        return Columns(parameters.squeeze(-2), self, context, training=self.training)

    def initial_parameters(self, x: Tensor) -> Tensor:
        """Log-frequency of each code of each column, with one count more for each, shape (1, sum of cardinalities)."""
        columns = []
        for size, cells in zip(self.sizes, at_least_float32(x).unbind(-1), strict=True):
            codes = cells[~cells.isnan()].floor().long().clamp(0, size - 1)
            counts = torch.bincount(codes, minlength=size).to(torch.float32) + 1.0
            columns.append(torch.log(counts / counts.sum()))
        return torch.cat(columns).unsqueeze(0)
