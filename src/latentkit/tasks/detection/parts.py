"""The parts of a score: each a number that grows with how odd a row is, in one respect."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.core.registry import Registry
from latentkit.tasks.detection.evidence import Evidence, Witness
from latentkit.tasks.detection.near import RowIndex

__all__ = ["ScorePart", "SharedPart", "SumPart", "score_parts"]

#: The parts by name.
score_parts: Registry[type[ScorePart]] = Registry("score part")

_FEWEST_BINS: Final = 5
_MOST_BINS: Final = 50
_LEAST_RESIDUAL: Final = 1e-2  # that a residual is measured by
_LEAST_BANDWIDTH: Final = 0.05
_MOST_CODES: Final = 500  # that codes are compared with
_N_DRAWS: Final = 16  # of the bound on log p(x)
_STRETCH: Final = 3  # tokens


class ScorePart(nn.Module, ABC):
    """One respect in which a row may be odd. What it has learnt are its buffers."""

    def learn(self, features: Tensor) -> None:
        """Learn what rows of training are like, as far as it takes all of them; what is learnt is kept.

        Args:
            features: Of all rows of training, shape (n, features); NaN where unknown.
        """

    def recall(self, pool: Evidence) -> None:
        """Take what follows from the rows that others are compared with; it is not kept, but taken again.

        Args:
            pool: Their evidence.
        """

    @abstractmethod
    def forward(self, rows: Evidence, own: Tensor) -> Tensor:
        """Return how odd rows are.

        Args:
            rows: Evidence of the rows, shape (batch, ...).
            own: The number of a row of the pool that is equal to each, -1 where there is none; it may be the row
                itself, and is not compared with it. Shape (batch,).
        Returns:
            Shape (members, batch), or (1, batch) where no model plays a part.
        """

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take what :meth:`learn` found, as ``state_dict`` gives it."""
        for name, tensor in state.items():
            self.register_buffer(name, tensor)

    def _recalled(self, name: str, tensor: Tensor) -> None:
        self.register_buffer(name, tensor, persistent=False)


class SharedPart(ScorePart):
    """A part whose oddness is shared out to the numbers of a row, in the ratio of their terms."""

    #: Whether the numbers are those that are modelled; else they are the features.
    is_modelled: ClassVar[bool] = False

    @abstractmethod
    def terms(self, rows: Evidence, own: Tensor) -> Tensor:
        """Return what each number has to do with it, at least 0, shape (members, batch, numbers)."""

    def of_columns(self, rows: Evidence, own: Tensor, witness: Witness) -> Tensor:
        """Return what each column has to do with it, shape (members, batch, columns)."""
        terms = self.terms(rows, own)
        if rows.places is not None and not self.is_modelled:
            return _of_places(terms, rows.places)
        owners = witness.modelled_owners if self.is_modelled else witness.owners
        n_columns = int(witness.owners.max()) + 1
        return terms.new_zeros(*terms.shape[:-1], n_columns).index_add(-1, owners, terms)


class SumPart(SharedPart):
    """A part that is the sum of the terms of the numbers of a row."""


@score_parts.register("residuals")
@final
class Residuals(SumPart):
    r"""What the reconstruction leaves over: log-likelihood of a Cauchy distribution.

    .. math:: \sum_j \log\left(1 + \left(\frac{x_j - \hat x_j}{\sigma_j}\right)^2\right)

    with :math:`\sigma_j` the root of the mean squared residual of training rows. Nats but for constants. A single cell
    that is far off counts by its logarithm, so that it takes several to beat a row that is off everywhere.
    """

    is_modelled = True
    scale: Tensor

    def recall(self, pool: Evidence) -> None:
        """See :class:`ScorePart`."""
        self._recalled("scale", _residual_scale(pool))

    def terms(self, rows: Evidence, own: Tensor) -> Tensor:
        """See :class:`SumPart`."""
        return (rows.residuals / self.scale).square().log1p()

    def forward(self, rows: Evidence, own: Tensor) -> Tensor:
        """See :class:`ScorePart`."""
        return self.terms(rows, own).sum(-1)


@score_parts.register("histograms", cites=("goldstein2012histogram",))
@final
class Histograms(SumPart):
    r"""How rare each number is on its own.

    .. math:: \sum_j \max_b \log p_{jb} - \log p_j(x_j)

    with :math:`p_{jb}` the share of the rows in bin b of feature j, smoothed by half a row; beyond the bins lies half a
    row. Nats.

    References:
        Goldstein and Dengel, 2012, Histogram-based Outlier Score (HBOS).
    """

    low: Tensor
    width: Tensor
    costs: Tensor

    def learn(self, features: Tensor) -> None:
        """See :class:`ScorePart`."""
        n = len(features)
        n_bins = int(min(_MOST_BINS, max(_FEWEST_BINS, n**0.5 / 2)))
        known = ~features.isnan()
        low = features.where(known, torch.inf).amin(0)
        high = features.where(known, -torch.inf).amax(0)
        is_empty = low > high
        low, high = low.where(~is_empty, 0.0), high.where(~is_empty, 0.0)
        spread = high - low
        self.register_buffer("low", torch.where(spread > 0, low, low - 0.5))
        self.register_buffer("width", torch.where(spread > 0, spread / n_bins, 1.0))
        self.register_buffer("costs", torch.zeros(features.shape[1], n_bins + 2))
        counts = torch.zeros(features.shape[1], n_bins + 2)
        places = self._places(features.where(known, 0.0))
        counts.scatter_add_(1, places.T, known.T.float())
        # where nothing varies there is one bin
        n_used = torch.where(spread > 0, n_bins, 1)[:, None]
        shares = (counts + 0.5) / (known.sum(0)[:, None] + 0.5 * (n_used + 2))
        self.register_buffer("costs", shares.amax(1, keepdim=True).log() - shares.log())

    def _places(self, features: Tensor) -> Tensor:
        """The bin of each feature: 0 below, then the bins, then what lies above; the upper end belongs to the last."""
        n_bins = self.costs.shape[1] - 2
        place = ((features - self.low) / self.width).clamp(-1.0, n_bins + 1.0)
        # half a rounding error beyond the upper end is still the upper end
        inside = (place <= n_bins * (1.0 + 1e-6)).to(place.dtype)
        return torch.where(inside > 0, place.floor().clamp_max(n_bins - 1.0), float(n_bins)).long() + 1

    def terms(self, rows: Evidence, own: Tensor) -> Tensor:
        """See :class:`SumPart`."""
        places = self._places(rows.features)
        return (self.costs.gather(1, places.T).T * rows.known)[None]

    def forward(self, rows: Evidence, own: Tensor) -> Tensor:
        """See :class:`ScorePart`."""
        return self.terms(rows, own).sum(-1)


class _Neighbours(SumPart):
    r"""Mean distance to the nearest rows.

    .. math:: \frac{1}{k} \sum_{i \in N_k(x)} \lVert f(x) - f(x_i) \rVert
    """

    #: Rows that are looked through.
    most_rows: ClassVar[int]
    _index: RowIndex

    def recall(self, pool: Evidence) -> None:
        """See :class:`ScorePart`."""
        self._index = RowIndex(pool.features[: self.most_rows].clone())

    @property
    @abstractmethod
    def k(self) -> int:
        """How many rows are near."""

    def terms(self, rows: Evidence, own: Tensor) -> Tensor:
        """Squares of the differences, over the distance: they add up to it."""
        known = rows.partly_known
        distances, places = self._index.nearest(rows.features, own, self.k, known)
        squares = self._index.differences(rows.features, places, known)
        return (squares / distances[..., None]).mean(1)[None]


class _FewNeighbours(_Neighbours):
    """The nearest few, which parts of one score look up once."""

    most_rows = 5000
    least: ClassVar[int]

    @property
    def k(self) -> int:
        """See :class:`_Neighbours`."""
        return max(1, min(self.least, len(self._index) - 1))

    def forward(self, rows: Evidence, own: Tensor) -> Tensor:
        """See :class:`ScorePart`."""
        if "near" not in rows.memo:
            k = max(1, min(_FEW, len(self._index) - 1))
            rows.memo["near"] = self._index.nearest(rows.features, own, k, rows.partly_known)[0]
        return rows.memo["near"][:, : self.k].mean(-1)[None]


#: Rows that are looked up at once.
_FEW: Final = 5


@score_parts.register("nearest", cites=("ramaswamy2000efficient",))
@final
class Nearest(_FewNeighbours):
    """Distance to the nearest row of training, of 5,000 at most."""

    least = 1


@score_parts.register("neighbors", cites=("angiulli2002fast",))
@final
class Neighbors(_FewNeighbours):
    """Mean distance to the nearest five rows of training, of 5,000 at most."""

    least = _FEW


@score_parts.register("wide_neighbors", cites=("angiulli2002fast",))
@final
class WideNeighbors(_Neighbours):
    """Mean distance to the nearest tenth of the rows of training, of 500 at most.

    Odd rows that were trained on lie near to each other; a tenth of all rows they are not.
    """

    most_rows = 500

    @property
    def k(self) -> int:
        """See :class:`_Neighbours`."""
        n = len(self._index)
        return max(1, min(n - 1, max(_FEW, round(0.1 * n))))

    def forward(self, rows: Evidence, own: Tensor) -> Tensor:
        """See :class:`ScorePart`."""
        return self._index.mean_distance(rows.features, own, self.k, rows.partly_known)[None]


@score_parts.register("latent_neighbors")
@final
class LatentNeighbors(ScorePart):
    r"""Mean distance to the nearest five rows in codes and residuals together, of 500 at most.

    .. math:: \frac{1}{5} \sum_{i \in N_5(x)} \lVert c(x) - c(x_i) \rVert, \qquad
              c(x) = \left(\mu(x), \frac{x - \hat x}{2 \sigma}\right)
    """

    scale: Tensor
    _index: RowIndex

    def recall(self, pool: Evidence) -> None:
        """See :class:`ScorePart`."""
        self._recalled("scale", _residual_scale(pool))
        self._index = RowIndex(self._place(pool)[:, :_MOST_CODES].clone())

    def _place(self, rows: Evidence) -> Tensor:
        return torch.cat([rows.means, 0.5 * rows.residuals / self.scale], dim=-1)

    def forward(self, rows: Evidence, own: Tensor) -> Tensor:
        """See :class:`ScorePart`."""
        return self._index.mean_distance(self._place(rows), own, max(1, min(_FEW, len(self._index) - 1)))


@score_parts.register("reconstruction", cites=("an2015variational",))
@final
class Reconstruction(ScorePart):
    r"""Negative log-likelihood of a row given its code, :math:`-\log p(x \mid z = \mu(x))`, nats.

    References:
        An and Cho, 2015, Variational Autoencoder based Anomaly Detection using Reconstruction Probability.
    """

    def forward(self, rows: Evidence, own: Tensor) -> Tensor:
        """See :class:`ScorePart`."""
        return -rows.log_likelihood


@score_parts.register("elbo", cites=("kingma2014auto",))
@final
class NegativeElbo(ScorePart):
    r"""Negative bound at the posterior mean, :math:`-\log p(x \mid \mu(x)) + KL(q(z \mid x), p(z))`, nats."""

    def forward(self, rows: Evidence, own: Tensor) -> Tensor:
        """See :class:`ScorePart`."""
        return rows.kl - rows.log_likelihood


@score_parts.register("log_likelihood", cites=("burda2016importance",))
@final
class NegativeLogLikelihood(ScorePart):
    r"""Negative importance-weighted bound on log p(x) with 16 draws, nats; the draws are those of the row's content."""

    def forward(self, rows: Evidence, own: Tensor) -> Tensor:
        """See :class:`ScorePart`."""
        return -rows.bound(_N_DRAWS)


class _Exemplars(ScorePart):
    bandwidth: Tensor
    _index: RowIndex

    def recall(self, pool: Evidence) -> None:
        """See :class:`ScorePart`."""
        means = pool.means[:, :_MOST_CODES]
        width = pool.log_vars.exp().mean(1, keepdim=True).sqrt()
        # points have no width of their own: it is the one that suits a normal distribution of as many (Scott's rule)
        spread = means.std(1, keepdim=True, correction=0) * means.shape[1] ** (-1.0 / (means.shape[-1] + 4))
        self._recalled("bandwidth", torch.where(width > 0, width, spread).clamp_min(_LEAST_BANDWIDTH))
        self._index = RowIndex(means / self.bandwidth)

    def _negative_density(self, rows: Evidence, own: Tensor) -> Tensor:
        return -self._index.log_density(rows.means / self.bandwidth, own)


@score_parts.register("exemplars", cites=("norouzi2020exemplar", "tomczak2018vae"))
@final
class Exemplars(_Exemplars):
    r"""How far a code lies from those of training rows: negative log-density of a mixture of their posteriors.

    .. math:: -\log \sum_i N(\mu(x); \mu_i, h^2)

    with h the mean width of the posteriors in each dimension. It is the aggregated posterior in the place of the
    prior, of 500 rows at most. Nats but for a constant.

    References:
        Norouzi et al., 2020, Exemplar VAE, arXiv:2004.04795.
    """

    def forward(self, rows: Evidence, own: Tensor) -> Tensor:
        """See :class:`ScorePart`."""
        return self._negative_density(rows, own)


@score_parts.register("exemplar_elbo", cites=("norouzi2020exemplar", "tomczak2018vae"))
@final
class ExemplarElbo(_Exemplars):
    r"""Negative bound with the aggregated posterior for a prior: ``reconstruction`` and ``exemplars`` together.

    .. math:: -\log p(x \mid \mu(x)) - \log \sum_i N(\mu(x); \mu_i, h^2)
    """

    def forward(self, rows: Evidence, own: Tensor) -> Tensor:
        """See :class:`ScorePart`."""
        return self._negative_density(rows, own) - rows.log_likelihood


@score_parts.register("surprise", cites=("ren2019likelihood",))
@final
class Surprise(SharedPart):
    r"""How improbable a text is for its length, beside what the frequencies of its tokens alone say of it.

    .. math:: \frac{e(x) - a - b n}{\sqrt{n}}, \qquad e(x) = \sum_t r_t + KL(q(z \mid x), p(z)), \qquad
              a, b = \arg\min \sum_i \frac{(e(x_i) - a - b n_i)^2}{n_i}

    with :math:`r_t = \log u(x_t) - \log p(x_t \mid x_{<t}, \mu(x))`, u the frequency of a token, n tokens in a text
    and its end. A sum of n numbers that have little to do with each other spreads by :math:`\sqrt{n}`. A token adds
    what it costs more than b.

    References:
        Ren et al., 2019, Likelihood Ratios for Out-of-Distribution Detection, arXiv:1906.02845.
    """

    is_modelled = True
    line: Tensor

    def recall(self, pool: Evidence) -> None:
        """See :class:`ScorePart`."""
        self._recalled("line", _line(_lengths(pool), self._cost(pool)[0], power=1.0))

    def _cost(self, rows: Evidence) -> Tensor:
        return rows.residuals.sum(-1) + rows.kl

    def terms(self, rows: Evidence, own: Tensor) -> Tensor:
        """See :class:`SharedPart`."""
        return (rows.residuals - self.line[1]).clamp_min(0.0) * _is_reached(rows)

    def forward(self, rows: Evidence, own: Tensor) -> Tensor:
        """See :class:`ScorePart`."""
        n = _lengths(rows)
        return (self._cost(rows) - self.line[0] - self.line[1] * n) / n.sqrt()


@score_parts.register("stretch", cites=("ren2019likelihood",))
@final
class Stretch(SharedPart):
    r"""The oddest stretch of a text: three tokens behind each other, beside what texts of n tokens have.

    .. math:: \max_t \sum_{i=t}^{t+2} r_i - a - b \log n, \qquad
              r_i = \log u(x_i) - \log p(x_i \mid x_{<i}, \mu(x))

    with a and b of least squares, as longer texts have more stretches. It sees what is odd in a small part of a long
    text. Nats.
    """

    is_modelled = True
    line: Tensor

    def recall(self, pool: Evidence) -> None:
        """See :class:`ScorePart`."""
        self._recalled("line", _line(_lengths(pool).log(), self._oddest(pool)[0][0], power=0.0))

    def _oddest(self, rows: Evidence) -> tuple[Tensor, Tensor]:
        """Nats of the oddest stretch and its first place, shape (members, batch)."""
        nats = functional.pad(rows.residuals, (0, max(0, _STRETCH - rows.residuals.shape[-1])))
        sums = nats.unfold(-1, _STRETCH, 1).sum(-1)
        is_whole = torch.arange(sums.shape[-1]) <= (_lengths(rows) - _STRETCH).clamp_min(0.0)[:, None]
        found = sums.masked_fill(~is_whole, -torch.inf).max(-1)
        return found.values, found.indices

    def terms(self, rows: Evidence, own: Tensor) -> Tensor:
        """See :class:`SharedPart`."""
        start = self._oddest(rows)[1].unsqueeze(-1)
        place = torch.arange(rows.residuals.shape[-1])
        inside = (place >= start) & (place < start + _STRETCH)
        return rows.residuals.clamp_min(0.0) * inside

    def forward(self, rows: Evidence, own: Tensor) -> Tensor:
        """See :class:`ScorePart`."""
        return self._oddest(rows)[0] - self.line[0] - self.line[1] * _lengths(rows).log()


def _lengths(rows: Evidence) -> Tensor:
    """Numbers of each row, shape (batch,)."""
    n = torch.full_like(rows.log_likelihood[0], rows.residuals.shape[-1])
    return n if rows.lengths is None else rows.lengths.to(n)


def _is_reached(rows: Evidence) -> Tensor:
    """Which numbers belong to their rows, shape (batch, modelled)."""
    return torch.arange(rows.residuals.shape[-1]) < _lengths(rows)[:, None]


def _line(n: Tensor, values: Tensor, *, power: float) -> Tensor:
    """Height and slope of the line through values over n whose squared errors, over n to a power, are least."""
    weights = n.double().pow(-power)
    centre = (weights * n).sum() / weights.sum()
    level = (weights * values).sum() / weights.sum()
    spread = (weights * (n - centre).square()).sum()
    slope = (weights * (n - centre) * (values - level)).sum() / spread if spread > 1e-9 else torch.zeros_like(spread)
    return torch.stack([level - slope * centre, slope]).to(values.dtype)


def _of_places(terms: Tensor, places: Tensor) -> Tensor:
    """Terms of features shared out to the places that count in them, shape (members, batch, length)."""
    known = places >= 0
    where = places.clamp_min(0)
    n = torch.zeros(terms.shape[1:]).scatter_add_(1, where, known.to(terms.dtype))
    return (terms / n.clamp_min(1.0)).gather(-1, where.expand(len(terms), -1, -1)) * known


def _residual_scale(pool: Evidence) -> Tensor:
    """Root of the mean squared residual of each modelled number, shape (members, 1, modelled)."""
    return pool.residuals.square().mean(1, keepdim=True).sqrt().clamp_min(_LEAST_RESIDUAL)
