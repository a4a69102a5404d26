"""The score of a row: parts put together on one scale, in nats, and what each column has to do with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentkit.core.errors import InvalidParameterError
from latentkit.core.seeds import generator, row_keys
from latentkit.tasks.detection.evidence import Evidence, Witness
from latentkit.tasks.detection.near import RowIndex
from latentkit.tasks.detection.parts import ScorePart, SharedPart, score_parts

__all__ = ["PARTS", "Explanation", "OddnessScore", "Regime", "check_parts"]

Floats = NDArray[np.float64]
Regime = Literal["clean", "contaminated", "mixed"]

#: Parts by what is known of the rows of training, chosen on tables other than those that figures are reported of.
PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "clean": ("exemplars", "nearest", "neighbors"),
    "clean, with categories": ("reconstruction", "nearest"),
    "texts": ("surprise", "stretch", "neighbors"),
    "contaminated": ("residuals", "histograms", "wide_neighbors"),
    "mixed": ("exemplars", "residuals", "histograms", "wide_neighbors"),
}

#: Rows that are scored at once.
BATCH: Final = 1024
_POOL: Final = 5000  # rows that others are compared with; fewer of many numbers
_FEWEST_IN_POOL: Final = 200
_NUMBERS_IN_POOL: Final = 1 << 22
_SAMPLE: Final = 500  # rows that the scales of the parts are learnt from
_TAIL: Final = 0.1  # share of the scores whose excesses give the unit
_FEWEST: Final = 5  # excesses
_COUNTERPARTS: Final = 10  # near rows, of which the most normal is taken
_TOGETHER: Final = 64  # rows whose gradients are taken at once
_STEPS: Final = 16  # of the path from a row's counterpart to it


@final
@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """What makes rows odd.

    Attributes:
        contributions: Of each column to the score, nats, shape (n, columns); with `baseline` they add up to it.
        baseline: Score of a row that nothing is odd about, nats, shape (n,).
        scores: Nats, shape (n,).
        counterparts: Number of the row of the pool that is most normal of the ten nearest to each, shape (n,).
    """

    contributions: Floats
    baseline: Floats
    scores: Floats
    counterparts: NDArray[np.int64]


@final
class OddnessScore(nn.Module):
    r"""How odd rows are, in nats.

    .. math:: T(x) = \frac{1}{|P|} \sum_{p \in P} \frac{1}{M_p} \sum_m
                     \frac{\log(1 + v_{pm}(x) - l_{pm}) - a_{pm}}{b_{pm}}, \qquad
              S(x) = \frac{T(x) - t_0}{\tau} + \log \frac{1}{\phi}

    :math:`v_{pm}` is part p as member m of the model has it, a and b the mean and standard deviation of its logarithm
    over rows of training (each compared with all others but itself) and l its least value there, if that is below 0.
    :math:`t_0` is the value that a share :math:`\phi` of the reference rows exceed, by :math:`\tau` on average, so that
    S is the negative log-probability that a row of the reference has a higher score, as far as its tail is exponential.

    A row's score depends on its content alone: not on its batch, and not on whether it was trained on: of the rows of
    the pool that are equal to a row one, which may be itself, is left out of all comparisons.

    Args:
        witness: The model that is asked about rows.
        parts: Names of the parts.
        batch_size: Rows that are scored at once. Each batch is filled up to it, so that the figures of a row never
            depend on its company.

    References:
        Aggarwal and Sathe, 2017, Outlier Ensembles (parts standardised, then averaged). Hosking and Wallis, 1987
        (excesses). Aumann and Shapley, 1974, Values of Non-Atomic Games; Sundararajan et al., 2017, Axiomatic
        Attribution for Deep Networks, arXiv:1703.01365 (contributions).
    """

    unit: Tensor
    pool: Tensor
    pool_keys: Tensor
    pool_order: Tensor

    def __init__(self, witness: Witness, parts: Sequence[str], *, batch_size: int = BATCH) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.names = check_parts(parts)
        self.witness = witness
        self.parts = nn.ModuleDict({name: score_parts[name]() for name in parts})

    # Learn

    @torch.no_grad()
    def learn(self, rows: Tensor, *, reference: Tensor | None = None, seed: int = 0) -> OddnessScore:
        """Learn what rows of training are like, and return self.

        Args:
            rows: What the witness is shown, shape (n, numbers), NaN where unknown.
            reference: Rows that were held out of all, from which the unit is learnt; None for rows of training.
            seed: Which rows are compared with, and which give the scales.
        """
        order = torch.randperm(len(rows), generator=generator(seed, "pool"))
        most = min(_POOL, max(_FEWEST_IN_POOL, _NUMBERS_IN_POOL // rows.shape[1]))
        self.pool_places = order[:most].numpy()
        pool = rows[order[:most]].contiguous()
        keys = row_keys(pool)
        self.register_buffer("pool", pool)
        self.register_buffer("pool_order", keys.argsort())
        self.register_buffer("pool_keys", keys[self.pool_order])
        self._recall()
        features = self.witness.features(rows)
        for name in self.names:
            self._part(name).learn(features)
        chosen = torch.randperm(len(rows), generator=generator(seed, "sample"))[:_SAMPLE].sort().values
        values: dict[str, list[Tensor]] = {name: [] for name in self.names}
        for batch, evidence, own in self._batches(rows[chosen]):
            for name in self.names:
                values[name].append(self._part(name)(evidence, own)[:, : len(batch)].double())
        for name, parts in values.items():
            v = torch.cat(parts, dim=1)
            low = v.amin(1, keepdim=True).clamp_max(0.0)
            logs = (v - low).log1p()
            spread = logs.std(1, keepdim=True, correction=0)
            scale = torch.stack([low, logs.mean(1, keepdim=True), torch.where(spread > 1e-9, spread, 1.0)])
            self.register_buffer(f"scale_{name}", scale)
        self.register_buffer("unit", torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
        raw = torch.from_numpy(self(rows[chosen] if reference is None else reference))
        self.register_buffer("unit", _tail_unit(raw))
        return self

    def restore(self, state: Mapping[str, Tensor]) -> OddnessScore:
        """Take what :meth:`learn` found, as :meth:`state` gives it.

        Raises:
            InvalidParameterError: If it is that of a score of other parts.
        """
        scales = {f"scale_{name}" for name in self.names}
        if {name for name in state if name.startswith("scale_")} != scales:
            raise InvalidParameterError(f"this is the state of a score of other parts than {', '.join(self.names)}.")
        for name in self.names:
            prefix = f"parts.{name}."
            self._part(name).restore({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        for name, tensor in state.items():
            if "." not in name:
                self.register_buffer(name, tensor)
        self._recall()
        return self

    @torch.no_grad()
    def _recall(self) -> None:
        """Let the parts take what they compare rows with."""
        evidence = self._evidence_of(self.pool)
        for name in self.names:
            self._part(name).recall(evidence)
        self._pool_scores: Floats | None = None

    def state(self) -> dict[str, Tensor]:
        """What was learnt, by name; the witness's own state is not among it."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("witness.")}

    # Score

    def forward(self, rows: Tensor) -> Floats:
        """Return scores, nats, shape (n,); higher is odder.

        Each batch is computed by one thread, several batches at once: the products are too small to be shared out.
        """
        starts = range(0, len(rows), self.batch_size)
        n_threads = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                parts = list(pool.map(lambda start: self._score(rows[start : start + self.batch_size]), starts))
        finally:
            torch.set_num_threads(n_threads)
        return np.concatenate(parts) if parts else np.empty(0)

    @property
    def pool_scores(self) -> Floats:
        """Scores of the rows that others are compared with, nats, computed when they are first asked for."""
        if self._pool_scores is None:
            self._pool_scores = self(self.pool)
        return self._pool_scores

    @torch.no_grad()
    def _score(self, rows: Tensor) -> Floats:
        """Scores of one batch at most."""
        [(batch, evidence, own)] = self._batches(rows)
        total = sum(self._level(name, self._part(name)(evidence, own)) for name in self.names)
        assert isinstance(total, Tensor)
        scores: Floats = self._in_nats(total / len(self.names))[: len(batch)].numpy()
        return scores

    @torch.no_grad()
    def values(self, rows: Tensor) -> dict[str, Floats]:
        """Return the parts of the score on their common scale, by name, shape (n,); their mean is T."""
        values: dict[str, list[Tensor]] = {name: [] for name in self.names}
        for batch, evidence, own in self._batches(rows):
            for name in self.names:
                values[name].append(self._level(name, self._part(name)(evidence, own))[: len(batch)])
        return {name: torch.cat(parts).numpy() for name, parts in values.items()}

    # Explain

    @torch.no_grad()
    def explain(self, rows: Tensor) -> Explanation:
        r"""Return what each column has to do with the scores of rows.

        A part that is a sum :math:`v = \sum_j v_j` over columns gives column j the share :math:`v_j / v` of what it
        adds to the score: the Aumann-Shapley value along the straight line from "nothing odd" to the row. What codes
        say is shared by the gradient along the straight line from the row's counterpart in the pool (integrated
        gradients); of a model that is shown codes, by what the part falls when the column's cell becomes the
        counterpart's. Of texts a column is a place; the parts of texts are shared out by the ratio of their terms, too,
        and what codes say belongs to no place: it is part of the baseline.
        """
        n_columns = int(self.witness.owners.max()) + 1
        shares, baselines, counterparts, owned = [], [], [], []
        scores, normal = self(rows), torch.from_numpy(self.pool_scores)
        pool = RowIndex(self.witness.features(self.pool).nan_to_num(0.0))
        n_near = max(1, min(_COUNTERPARTS, len(pool) - 1))
        for batch, evidence, own in self._batches(rows):
            near = pool.nearest(evidence.features, own, n_near, evidence.partly_known)[1]
            nearest = near.gather(1, normal[near].argmin(1, keepdim=True))[:, 0]
            given = torch.zeros(len(own), n_columns, dtype=torch.float64)
            base = torch.zeros(len(own), dtype=torch.float64)
            smooth = []
            for name in self.names:
                part = self._part(name)
                if isinstance(part, SharedPart):
                    value = part(evidence, own)
                    terms = part.of_columns(evidence, own, self.witness).double()
                    nothing = self._levels(name, torch.zeros_like(value))
                    gain = self._levels(name, value) - nothing
                    share = terms / terms.sum(-1, keepdim=True).clamp_min(1e-300)
                    given += (share * gain[..., None]).mean(0)
                    base += nothing.mean(0)
                elif evidence.lengths is not None:
                    base += self._level(name, part(evidence, own))
                else:
                    smooth.append(name)
            n = len(batch)
            given, base, nearest = given[:n], base[:n], nearest[:n]
            if smooth:
                share, start = self._smooth_shares(smooth, batch, self.pool[nearest], own[:n], evidence.keys[:n])
                given, base = given + share, base + start
            shares.append(given / len(self.names))
            baselines.append(base / len(self.names))
            counterparts.append(nearest)
            reach = n_columns if evidence.lengths is None else evidence.lengths[:n, None]
            owned.append((torch.arange(n_columns) < reach).expand(n, -1))
        contributions = torch.cat(shares) / self.unit[1]
        baseline = self._in_nats(torch.cat(baselines))
        contributions = _adding_up(contributions, torch.from_numpy(scores) - baseline, torch.cat(owned))
        return Explanation(
            contributions.numpy(), baseline.numpy(), scores, torch.cat(counterparts).numpy().astype(np.int64)
        )

    def fewest_changes(self, rows: Tensor, found: Explanation, threshold: float) -> list[list[int]]:
        """Return for each row the fewest columns that make it normal when they become its counterpart's.

        Columns are changed in the order of their contributions, the largest first, until the score is no higher than
        the threshold.

        Args:
            rows: The rows that were explained.
            found: Their explanation.
            threshold: Score above which a row is odd.
        Returns:
            Numbers of columns; none of rows that are not above the threshold.
        """
        owners = self.witness.owners
        if not self.witness.is_smooth:
            owners = torch.cat([self.witness.modelled_owners, owners])
        order = np.argsort(-found.contributions, axis=1, kind="stable")
        n_changed = np.zeros(len(rows), np.int64)
        left = np.flatnonzero(found.scores > threshold)
        # the place of each number's column in the order of its row
        ranks = torch.from_numpy(np.argsort(order, axis=1))[:, owners]
        step, n_columns = 0, order.shape[1]
        while step < n_columns and len(left):
            several = min(n_columns - step, max(1, self.batch_size // len(left)))
            numbers = torch.arange(step + 1, step + several + 1)
            own, others = rows[left][:, None], self.pool[torch.from_numpy(found.counterparts[left])][:, None]
            mixed = torch.where(ranks[left][:, None] < numbers[None, :, None], others, own)
            is_odd = (self(mixed.flatten(0, 1)) > threshold).reshape(len(left), several)
            n_changed[left] = step + 1 + np.where(is_odd.all(1), several - 1, is_odd.argmin(1))
            left, step = left[is_odd.all(1)], step + several
        return [row[:count].tolist() for row, count in zip(order, n_changed, strict=True)]

    # Inside

    def _part(self, name: str) -> ScorePart:
        part = self.parts[name]
        assert isinstance(part, ScorePart)
        return part

    def _levels(self, name: str, values: Tensor) -> Tensor:
        """Values of a part on the common scale, shape (members, batch), float64."""
        scale: Tensor = getattr(self, f"scale_{name}")
        low, mean, spread = scale.unbind()
        return ((values.double() - low).clamp_min(0.0).log1p() - mean) / spread

    def _level(self, name: str, values: Tensor) -> Tensor:
        return self._levels(name, values).mean(0)

    def _in_nats(self, total: Tensor) -> Tensor:
        base, scale, offset = self.unit.unbind()
        return (total - base) / scale + offset

    @torch.no_grad()
    def _evidence_of(self, rows: Tensor) -> Evidence:
        parts = [evidence for _, evidence, _ in self._batches(rows)]
        fields = (
            ("features", "known", "keys", "lengths", "places"),
            ("means", "log_vars", "residuals", "log_likelihood", "kl"),
        )
        n = len(rows)
        of_rows = [name for name in fields[0] if getattr(parts[0], name) is not None]
        joined: dict[str, Any] = {name: torch.cat([getattr(part, name) for part in parts])[:n] for name in of_rows}
        joined |= {name: torch.cat([getattr(part, name) for part in parts], dim=1)[:, :n] for name in fields[1]}
        return Evidence(**joined, bound=parts[0].bound)

    @torch.no_grad()
    def _batches(self, rows: Tensor) -> Iterator[tuple[Tensor, Evidence, Tensor]]:
        """Yield rows with what the witness says of them, filled up to whole batches, and their equals in the pool."""
        for start in range(0, len(rows), self.batch_size):
            batch = rows[start : start + self.batch_size]
            evidence = self.witness(self._filled(batch))
            yield batch, evidence, self._equal(evidence.keys)

    def _filled(self, rows: Tensor) -> Tensor:
        """Rows filled up to a whole batch with copies of the last."""
        missing = self.batch_size - len(rows)
        return rows if not missing else torch.cat([rows, rows[-1:].expand(missing, -1)])

    def _equal(self, keys: Tensor) -> Tensor:
        """The number of a row of the pool that is equal to the row of each key, -1 where there is none."""
        places = torch.searchsorted(self.pool_keys, keys).clamp_max(len(self.pool_keys) - 1)
        return torch.where(self.pool_keys[places] == keys, self.pool_order[places], -1)

    def _smooth_shares(
        self, names: Sequence[str], rows: Tensor, counterparts: Tensor, own: Tensor, keys: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What each column adds to parts that are no sums, from the counterparts to the rows, and where it began.

        A few rows at a time, filled up to as many: there are many passes through the model, and figures do not depend
        on the company of a row.
        """
        parts = []
        for start in range(0, len(rows), _TOGETHER):
            some = torch.arange(start, start + _TOGETHER).clamp_max(len(rows) - 1)
            share, base = self._shares_of_few(names, rows[some], counterparts[some], own[some], keys[some])
            n = min(_TOGETHER, len(rows) - start)
            parts.append((share[:n], base[:n]))
        shares, bases = zip(*parts, strict=True)
        return torch.cat(shares), torch.cat(bases)

    def _shares_of_few(
        self, names: Sequence[str], rows: Tensor, counterparts: Tensor, own: Tensor, keys: Tensor
    ) -> tuple[Tensor, Tensor]:
        def level(x: Tensor) -> Tensor:
            evidence = self.witness(x, keys)
            levels = [self._level(name, self._part(name)(evidence, own)) for name in names]
            return torch.stack(levels).sum(0)

        shares = _along(level, rows, counterparts, self.witness) if self.witness.is_smooth else None
        with torch.no_grad():
            end, start = level(rows), level(counterparts)
            if shares is None:
                shares = _replaced(level, rows, counterparts, self.witness, end)
        return _adding_up(shares, end - start), start


def check_parts(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of parts of a score as they are.

    Raises:
        InvalidParameterError: If there is none, or one is unknown.
    """
    if not names:
        raise InvalidParameterError(f"a score has at least one part; choose of: {', '.join(score_parts)}.")
    for name in names:
        score_parts[name]
    return tuple(names)


def _adding_up(shares: Tensor, total: Tensor, owned: Tensor | None = None) -> Tensor:
    """Shares, shape (batch, columns), that add up: what rounding lost goes to those that have most to do with it.

    Columns that are not among those that are `owned` by their rows, same shape, get nothing.
    """
    rest = total - shares.sum(1)
    weights = shares.abs() + (1e-12 if owned is None else 1e-12 * owned)
    return shares + rest[:, None] * weights / weights.sum(1, keepdim=True)


def _tail_unit(raw: Tensor) -> Tensor:
    """Value that the odd tail of the reference begins at, mean excess over it, and the nats of getting there."""
    ordered = raw.double().sort().values
    n = len(ordered)
    k = max(1, min(max(_FEWEST, round(_TAIL * n)), n // 2))
    base = ordered[-k - 1] if k < n else ordered[0]
    excess = float((ordered[-k:] - base).mean())
    return torch.tensor([float(base), excess if excess > 1e-9 else 1.0, math.log(n / k)], dtype=torch.float64)


def _along(level: Callable[[Tensor], Tensor], rows: Tensor, start: Tensor, witness: Witness) -> Tensor:
    """Integrated gradients of each column from `start` to the rows, shape (batch, columns)."""
    start = start.nan_to_num(0.0).where(~rows.isnan(), torch.nan)
    way = rows - start
    gradient = torch.zeros_like(rows, dtype=torch.float64)
    for step in range(_STEPS):
        with torch.enable_grad():
            x = (start + (step + 0.5) / _STEPS * way).requires_grad_()
            gradient += torch.autograd.grad(level(x).sum(), x)[0].double()
    parts = (gradient / _STEPS * way).nan_to_num(0.0)
    return parts.new_zeros(len(rows), int(witness.owners.max()) + 1).index_add(1, witness.owners, parts)


def _replaced(
    level: Callable[[Tensor], Tensor], rows: Tensor, others: Tensor, witness: Witness, whole: Tensor
) -> Tensor:
    """By how much each row falls when a column becomes that of another, shape (batch, columns), at least 0."""
    owners = torch.cat([witness.modelled_owners, witness.owners])
    n_columns = int(witness.owners.max()) + 1
    falls = [whole - level(torch.where(owners == column, others, rows)) for column in range(n_columns)]
    shares = torch.stack(falls, dim=1).clamp_min(0.0)
    gap = (whole - level(others))[:, None]
    return shares / shares.sum(1, keepdim=True).clamp_min(1e-12) * gap
