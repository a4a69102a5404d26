"""The next point of a search, by a Gaussian process of all trials, those that were ended early included."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern, WhiteKernel

from latentkit.search.space import Choice, Space, Value
from latentkit.search.study import Trial

__all__ = ["expected_worths", "propose"]

Floats = NDArray[np.float64]
#: Points that are looked at: of the whole space, and around each of the best, which are so many.
N_ANYWHERE, N_AROUND, N_BEST = 1000, 100, 5
#: Steps around the best points, as shares of a range: of each round one.
STEPS = (0.1, 0.05)
#: Chance that a coordinate moves in such a step, and that it then moves anywhere.
MOVES, JUMPS = 0.3, 0.2
#: Logarithms of what scales of lengths and the variance of noise are expected to be, and how far they may be off.
LENGTH, NOISE = (0.3, math.sqrt(3.0)), (-4.0, 1.0)
#: Trials that these are learnt from, at most: the latest.
MOST_LEARNT = 60


def propose(space: Space, trials: Sequence[Trial], *, maximize: bool, is_bound: bool, seed: int) -> dict[str, Value]:
    r"""Return the point from which most improvement is expected.

    With :math:`m(u)` and :math:`s(u)` of a Gaussian process at point :math:`u`, and :math:`t^*` the best trial, it has
    the largest

    .. math:: \mathrm{EI}(u) = s(u)\,[z\,\Phi(z) + \varphi(z)], \qquad z = (m(u) - t^*) / s(u)

    among points of the whole space and others around the best, where no trial stands yet. The process is one of
    :math:`t = -\log(1 + 5 d / \mathrm{median}(d))`, where :math:`d` is how far a trial is behind the best: how bad a
    model is tells little of where good ones are. The scales of lengths, one for each dimension, maximise the posterior.

    Args:
        space: What is searched.
        trials: What is known, at least one of them complete.
        maximize: Whether larger figures are better.
        is_bound: Whether the figure measures what curves of trials show, so that these tell of trials ended early.
        seed: Of the points that are looked at.

    References:
        Jones, Schonlau and Welch, 1998, Efficient Global Optimization, equation 15; Snoek, Larochelle and Adams, 2012,
        Practical Bayesian Optimization of Machine Learning Algorithms, arXiv:1206.2944, section 3.1 (Matern 5/2).
    """
    random = np.random.default_rng(seed)
    worths = expected_worths(trials, maximize=maximize, is_bound=is_bound)
    tried = _features(space, [trial.point for trial in trials])
    process = _Process.learnt(tried, _squashed(worths))

    def improvement(points: Sequence[Mapping[str, Value]]) -> Floats:
        features = _features(space, points)
        is_known = (features[:, None] == tried).all(axis=2).any(axis=1)
        return np.where(is_known, -1.0, process.expected_improvement(features))

    best = np.array([_places(space, trials[i].point) for i in np.argsort(-worths)[:N_BEST]])
    places = np.concatenate([random.random((N_ANYWHERE, len(space))), _moved(best, STEPS[0], random)])
    for step in STEPS:
        points = [_point(space, row) for row in places]
        order = np.argsort(-improvement(points), kind="stable")[:N_BEST]
        places = np.concatenate([places[order], _moved(places[order], step, random)])
    points = [_point(space, row) for row in places]
    return points[int(np.argmax(improvement(points)))]


def expected_worths(trials: Sequence[Trial], *, maximize: bool, is_bound: bool) -> Floats:
    """Return what each trial is worth, more being better: of trials without a figure what is to be expected.

    One that was ended early would have gained what complete ones gained from that share of their training on, by the
    median. One that has failed or diverged, or was ended for another figure than its curve shows, is worth as little as
    the worst; one that is running as much as the median.
    """
    sign = 1.0 if maximize else -1.0
    known = [(sign * trial.value, trial.curve) for trial in trials if trial.value is not None]
    worths = np.full(len(trials), np.nan)
    for i, trial in enumerate(trials):
        if trial.value is not None:
            worths[i] = sign * trial.value
        elif is_bound and trial.state == "pruned" and trial.curve:
            share, bound = max(trial.curve.items())
            gains = [value - curve[share] for value, curve in known if share in curve]
            worths[i] = bound + float(np.median(gains)) if gains else np.nan
    least, middle = float(np.nanmin(worths)), float(np.nanmedian(worths))
    running = np.array([trial.state == "running" for trial in trials])
    return np.where(np.isfinite(worths), worths, np.where(running, middle, least))


def _squashed(worths: Floats) -> Floats:
    behind = worths.max() - worths
    return np.asarray(-np.log1p(5.0 * behind / (float(np.median(behind)) or 1.0)))


@final
class _Process(GaussianProcessRegressor):  # type: ignore[misc]
    """A Gaussian process whose parameters have a log-normal prior: few trials would fit any."""

    @classmethod
    def learnt(cls, features: Floats, targets: Floats) -> _Process:
        n_features = features.shape[1]
        kernel = Matern(np.full(n_features, math.exp(LENGTH[0])), (1e-2, 1e2), nu=2.5)
        kernel += WhiteKernel(math.exp(NOISE[0]), (1e-6, 1.0))
        process = cls(kernel, random_state=0)
        process.expected = np.array([*[LENGTH] * n_features, NOISE]).T
        process.mean, process.scale = float(targets.mean()), float(targets.std()) or 1.0
        standard = (targets - process.mean) / process.scale
        process.most = float(standard.max())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a scale at its bound is one that does not matter
            process.fit(features[-MOST_LEARNT:], standard[-MOST_LEARNT:])
        if len(features) > MOST_LEARNT:
            process.set_params(kernel=process.kernel_, optimizer=None).fit(features, standard)
        return process

    def log_marginal_likelihood(
        self, theta: Floats | None = None, eval_gradient: bool = False, clone_kernel: bool = True
    ) -> Any:
        found = super().log_marginal_likelihood(theta, eval_gradient, clone_kernel)
        if theta is None:
            return found
        middle, spread = self.expected
        off = (theta - middle) / spread
        if eval_gradient:
            return found[0] - 0.5 * off @ off, found[1] - off / spread
        return found - 0.5 * off @ off

    def expected_improvement(self, features: Floats) -> Floats:
        mean, spread = self.predict(features, return_std=True)
        spread = np.sqrt(np.maximum(spread**2 - self.kernel_.k2.noise_level, 1e-12))  # of the mean, not of a trial
        z = (mean - self.most) / spread
        return np.asarray(spread * (z * norm.cdf(z) + norm.pdf(z)))


def _features(space: Space, points: Sequence[Mapping[str, Value]]) -> Floats:
    """Coordinates in [0, 1]: of ranges and of choices between numbers one each, of other choices one for each value."""
    columns: list[Sequence[float]] = []
    for name, dimension in space.items():
        values = [point[name] for point in points]
        if not isinstance(dimension, Choice):
            columns.append([dimension.place(value) for value in values])
        elif dimension.is_ordered:
            ranks = {value: i / (len(dimension.values) - 1) for i, value in enumerate(sorted(dimension.values))}
            columns.append([ranks[value] for value in values])
        else:  # two values are as far from each other as the ends of a range
            columns += [[math.sqrt(0.5) * (value == level) for value in values] for level in dimension.values]
    return np.array(columns, dtype=np.float64).T


def _places(space: Space, point: Mapping[str, Value]) -> list[float]:
    return [dimension.place(point[name]) for name, dimension in space.items()]


def _point(space: Space, places: Floats) -> dict[str, Value]:
    return {name: dimension.at(float(place)) for (name, dimension), place in zip(space.items(), places, strict=True)}


def _moved(places: Floats, step: float, random: np.random.Generator) -> Floats:
    """Places around others, within the space."""
    copies = np.repeat(places, N_AROUND, axis=0)
    moves = random.random(copies.shape) < MOVES
    moved = copies + moves * step * random.standard_normal(copies.shape)
    jumps = moves & (random.random(copies.shape) < JUMPS)
    return np.clip(np.where(jumps, random.random(copies.shape), moved), 0.0, 1.0)
