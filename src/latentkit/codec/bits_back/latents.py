"""Gaussian latent variables in whole numbers: on a grid, with standard deviations of finitely many levels."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.codec.curves import exponential_curve, normal_curve
from latentkit.codec.exact import Span
from latentkit.codec.frequencies import FrequencyTables
from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer

__all__ = ["LEVELS_PER_UNIT", "GaussianLatents"]

Integers = NDArray[np.int64]

#: Levels of standard deviations in a nat: level l is of exp(l / 16).
LEVELS_PER_UNIT: Final = 16
_LEVELS: Final = Span(-160, 64)
_STEPS: Final = 4096
_MEANS: Final = 1 << 15
_ENTRIES: Final = 1 << 22  # of all tables of one kind

_REACH: Final = 6  # standard deviations of a posterior that have frequencies of their own
_PRECISION: Final = 24
_CURVE_PER_UNIT: Final = 256
_CURVE_HALF: Final = 8 * _CURVE_PER_UNIT
_CURVE_BITS: Final = 30
_SLOPE_BITS: Final = 20
_BETWEEN_BITS: Final = 16  # by which places between two of the curve are told apart
_BIT: Final = 256  # parts of a bit, in which what is popped is estimated


@final
class GaussianLatents:
    r"""Latent variables in whole numbers: those of Gaussian distributions, on a grid.

    .. math:: z = \mu + o, \qquad
              p(o \mid \ell) = \Phi\left(\tfrac{o + 1/2}{g \sigma_\ell}\right)
              - \Phi\left(\tfrac{o - 1/2}{g \sigma_\ell}\right), \qquad \sigma_\ell = e^{\ell / 16}

    Means are whole numbers of grid steps, of which g make a unit. What lies beyond the last number belongs to it. All
    of it is arithmetic of whole numbers: tables need not be kept.

    Args:
        steps: g, grid steps in a unit.
        means: Where means lie, in steps.
        levels: Of standard deviations of posteriors.
        prior: Mean in steps and level of the prior of each latent variable, shape (latents, 2).
        coarse_step: Grid steps between the values that latent variables of rows have that get no bits back.
        coarse: Mean in steps and level of the distribution of those, shape (latents, 2).

    Raises:
        InvalidParameterError: If these are no such latent variables, or their tables would be too large.

    Example:
        >>> latents = GaussianLatents(
        ...     steps=16,
        ...     means=Span(-64, 63),
        ...     levels=Span(-32, 0),
        ...     prior=np.array([[0, 0]]),
        ...     coarse_step=16,
        ...     coarse=np.array([[0, 0]]),
        ... )
        >>> latents.reach, latents.span
        (96, Span(low=-160, high=159))
    """

    def __init__(
        self, *, steps: int, means: Span, levels: Span, prior: Integers, coarse_step: int, coarse: Integers
    ) -> None:
        self.steps = check_integer("steps", steps, low=1, high=_STEPS)
        self.coarse_step = check_integer("coarse_step", coarse_step, low=1, high=_MEANS)
        self.means, self.levels, self.prior_parameters, self.coarse_parameters = means, levels, prior, coarse
        if not (-_MEANS <= means.low <= 0 <= means.high <= _MEANS and levels.low <= levels.high):
            raise InvalidParameterError(f"means of {means} and levels of {levels} are none of latent variables.")
        for name, given in (("prior", prior), ("coarse", coarse)):
            fits = given.ndim == 2 and len(given) and given.shape == prior.shape and given.shape[1] == 2
            if not fits or not _LEVELS.holds(Span(int(given[:, 1].min()), int(given[:, 1].max()))):
                raise InvalidParameterError(f"{name} must be a mean and a level for each latent variable.")
            if np.abs(given[:, 0]).max() > _MEANS:
                raise InvalidParameterError(f"{name} has a mean beyond {_MEANS:,} steps.")
        if not _LEVELS.holds(levels):
            raise InvalidParameterError(f"levels lie between {_LEVELS.low} and {_LEVELS.high}; got {levels}.")
        # the largest standard deviation in grid steps, rounded up; of curves that are whole numbers on every machine
        widest = int(exponential_curve(1, per_unit=LEVELS_PER_UNIT, bits=_SLOPE_BITS, first=-levels.high)[0])
        self.reach = max(1, -(-_REACH * self.steps * widest >> _SLOPE_BITS))
        self.span = Span(means.low - self.reach, means.high + self.reach)
        width = self.span.high - self.span.low + 1
        if max(self.n_levels * 2 * width, self.n_latents * width) > _ENTRIES:
            raise InvalidParameterError(
                f"{self.n_levels} levels of {self.n_latents} latent variables with {width} values each make tables "
                "that are too large. Use a coarser grid."
            )

    @property
    def n_latents(self) -> int:
        """How many latent variables."""
        return len(self.prior_parameters)

    @property
    def n_levels(self) -> int:
        """How many levels of posteriors."""
        return self.levels.high - self.levels.low + 1

    @property
    def coarse_span(self) -> Span:
        """Where rows that get no bits back have their latent variables, in coarse steps."""
        return Span(-(-self.means.low // self.coarse_step), self.means.high // self.coarse_step)

    @cached_property
    def posteriors(self) -> FrequencyTables:
        """A table of offsets from -reach to reach for each level."""
        return self._centred(self.reach, least=0)

    @cached_property
    def conditionals(self) -> FrequencyTables:
        """The same of all offsets that there can be within the span, each of which is possible."""
        return self._centred(self.span.high - self.span.low, least=1)

    @cached_property
    def prior(self) -> FrequencyTables:
        """A table of the numbers of the span, from the lowest on, for each latent variable."""
        edges = 2 * np.arange(self.span.low, self.span.high + 2) - 1
        means, levels = self.prior_parameters.T
        return self._tables(edges - 2 * means[:, None], levels, least=1)

    @cached_property
    def first(self) -> FrequencyTables:
        """A table of the numbers of the coarse span for each latent variable."""
        edges = (2 * np.arange(self.coarse_span.low, self.coarse_span.high + 2) - 1) * self.coarse_step
        means, levels = self.coarse_parameters.T
        return self._tables(edges - 2 * means[:, None], levels, least=1)

    @cached_property
    def posterior_costs(self) -> Integers:
        """Bits that popping a variable of each level takes on average, in parts of 256."""
        shares = self.posteriors.frequencies / (1 << _PRECISION)
        bits = -(shares * np.log2(np.where(shares > 0, shares, 1.0))).sum(1)
        return np.asarray(np.rint(bits * _BIT), np.int64)

    def describe(self) -> dict[str, Any]:
        """Return what is not in :meth:`arrays`, as JSON values."""
        return {
            "steps": self.steps,
            "means": [self.means.low, self.means.high],
            "levels": [self.levels.low, self.levels.high],
            "coarse_step": self.coarse_step,
        }

    def arrays(self) -> dict[str, Integers]:
        """Return the parameters of its priors by their names."""
        return {"prior": self.prior_parameters, "coarse": self.coarse_parameters}

    def _centred(self, reach: int, *, least: int) -> FrequencyTables:
        edges = 2 * np.arange(-reach, reach + 2) - 1
        levels = np.arange(self.levels.low, self.levels.high + 1)
        return self._tables(np.broadcast_to(edges, (len(levels), len(edges))), levels, least=least)

    def _tables(self, edges: Integers, levels: Integers, *, least: int) -> FrequencyTables:
        """Tables of normal distributions of levels, between edges in half steps, shape (tables, symbols + 1)."""
        n_levels = _LEVELS.high - _LEVELS.low + 1
        inverses = exponential_curve(n_levels, per_unit=LEVELS_PER_UNIT, bits=_SLOPE_BITS, first=_LEVELS.low)
        slopes = inverses[levels - _LEVELS.low][:, None] * _CURVE_PER_UNIT
        places = edges * slopes // (2 * self.steps)
        most = _CURVE_HALF << _SLOPE_BITS
        places = places.clip(-most, most - 1) + most
        curve = normal_curve(_CURVE_HALF, per_unit=_CURVE_PER_UNIT, bits=_CURVE_BITS)
        whole = places >> _SLOPE_BITS
        between = (places >> (_SLOPE_BITS - _BETWEEN_BITS)) & ((1 << _BETWEEN_BITS) - 1)
        below = curve[whole]
        heights = below + ((curve[whole + 1] - below) * between >> _BETWEEN_BITS)
        heights[:, 0], heights[:, -1] = 0, 1 << _CURVE_BITS
        n = edges.shape[1] - 1
        starts = (heights * ((1 << _PRECISION) - least * n) >> _CURVE_BITS) + least * np.arange(n + 1)
        return FrequencyTables(np.diff(starts, axis=1), _PRECISION, least=least)
