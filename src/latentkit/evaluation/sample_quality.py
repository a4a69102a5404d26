"""All figures of a set of samples, each beside what training rows would get."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.core.registry import Registry
from latentkit.core.seeds import generator
from latentkit.evaluation.features import FeatureMap
from latentkit.evaluation.figures import Direction, Figure, normal_interval, wilson_interval
from latentkit.evaluation.frechet import frechet_distance
from latentkit.evaluation.kernel import kernel_distance
from latentkit.evaluation.manifold import density_coverage, precision_recall
from latentkit.evaluation.memorisation import copy_rate
from latentkit.evaluation.two_sample import TwoSampleAuc, two_sample_auc

__all__ = ["Measurement", "measure_samples", "sample_metrics", "two_sample_measurement"]

_FLOOR = "training rows in place of samples"
#: Groups of rows of which one is left out at a time.
_GROUPS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One number of one metric on one pair of sets.

    Attributes:
        name: Of the figure; a metric may give two.
        value: The number.
        better: Which way is better.
        standard_error: Where one is known.
        computed_with: Settings and numbers of rows.
        interval: 95 % interval, where one is known.
        interval_by: How it was found.
        n_rows: Rows of each set.
    """

    name: str
    value: float
    better: Direction
    standard_error: float | None = None
    computed_with: str
    interval: tuple[float, float] | None = None
    interval_by: str = ""
    n_rows: int | None = None

    def beside(self, floor: float, floor_of: str, *, seconds: float | None = None, group: str = "samples") -> Figure:
        """The figure that shows this number with its floor, and with the time that both took."""
        return Figure(
            name=self.name,
            value=self.value,
            better=self.better,
            floor=floor,
            floor_of=floor_of,
            standard_error=self.standard_error,
            computed_with=self.computed_with,
            interval=self.interval,
            interval_by=self.interval_by,
            n_rows=self.n_rows,
            seconds=seconds,
            group=group,
        )


#: A metric takes features of real rows, features of samples and a seed.
SampleMetric = Callable[[Tensor, Tensor, int], Sequence[Measurement]]

sample_metrics: Registry[SampleMetric] = Registry("sample metric")


def measure_samples(
    samples: Tensor,
    *,
    train: Tensor,
    test: Tensor,
    features: FeatureMap,
    metrics: Sequence[str] | None = None,
    max_rows: int = 10_000,
    seed: int = 0,
) -> tuple[Figure, ...]:
    """Compare samples with test rows by every metric, and give training rows the same examination as the floor.

    All sets are cut, by `seed`, to the size of the smallest of samples, test rows and training rows, at most
    `max_rows`: the biases of the metrics are then those of the floor too. The training rows that make the floor are
    real, so a figure better than it tells of crowding or copying rather than of quality; hence the copy rate is always
    given, against all training rows (of which at most 10 `max_rows` are looked at). Its floor is that of the test rows.
    Where the feature map was itself fitted on training rows, the floor holds what it has learnt by heart as well.

    Args:
        samples: In model units, shape (n, *event), at least 10.
        train: Rows that the model was fitted on.
        test: Rows that neither the model nor `features` has seen.
        features: Where examples are compared.
        metrics: Names of `sample_metrics`; all of them by default.
        max_rows: At least 10. Neighbours take time quadratic in it: some 20 s for all at 10,000 rows of 64 features.
        seed: Decides the rows and the folds.

    Returns:
        The figures, in the order of the metrics, then the copy rate.

    Raises:
        InvalidParameterError: If the shapes do not fit, a set has fewer than 10 rows, or a metric is unknown.

    Example:
        >>> from latentkit.evaluation import RowFeatures
        >>> rows = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
        >>> (figure, copies) = measure_samples(
        ...     rows[:100] + 5.0, train=rows[100:200], test=rows[200:], features=RowFeatures(), metrics=["frechet"]
        ... )
        >>> figure.name, figure.value > 10 * figure.floor, copies.name
        ('Frechet distance of rows', True, 'copy rate')
    """
    check_integer("max_rows", max_rows, low=10)
    sets = {"samples": samples, "train": train, "test": test}
    shapes = {name: tuple(x.shape) for name, x in sets.items()}
    if len({shape[1:] for shape in shapes.values()}) > 1 or min(shape[0] for shape in shapes.values()) < 10:
        raise InvalidParameterError(
            f"samples, train and test must have one shape (n, *event) with at least 10 rows each; got {shapes}."
        )
    wanted = [(name, sample_metrics[name]) for name in (sample_metrics if metrics is None else metrics)]
    n = min(max_rows, *(shape[0] for shape in shapes.values()))
    known = features(_drawn(train, 10 * max_rows, seed, "train")).detach()
    real, floor = features(_drawn(test, n, seed, "test")).detach(), known[:n]
    generated = features(_drawn(samples, n, seed, "samples")).detach()
    figures = []
    for name, metric in wanted:
        begun = time.perf_counter()
        pairs = list(zip(metric(real, generated, seed), metric(real, floor, seed), strict=True))
        seconds = (time.perf_counter() - begun) / len(pairs)
        for got, bottom in pairs:
            named = replace(
                got,
                name=features.frechet_name if name == "frechet" else got.name,
                computed_with=f"{got.computed_with}; {features.description}",
            )
            figures.append(named.beside(bottom.value, _FLOOR, seconds=seconds))
    begun = time.perf_counter()
    copies = copy_rate(known, real, generated)
    copied = Measurement(
        name="copy rate",
        value=copies.rate,
        better="lower",
        standard_error=_share_error(copies.rate, n),
        interval=wilson_interval(copies.rate, n),
        interval_by="Wilson's, over the generated rows",
        n_rows=n,
        computed_with=f"{copies.computed_with}; {features.description}",
    )
    return (
        *figures,
        copied.beside(
            copies.floor, "test rows in place of samples", seconds=time.perf_counter() - begun, group="copies"
        ),
    )


def _drawn(x: Tensor, n: int, seed: int, name: str) -> Tensor:
    order = torch.randperm(x.shape[0], generator=generator(seed, "measure-samples", name))[:n]
    return x[order.to(x.device)]


def _sizes(real: Tensor, generated: Tensor) -> str:
    return f"{real.shape[0]:,} real and {generated.shape[0]:,} generated rows"


def _share_error(share: float, n: int) -> float:
    """Standard error of a share of n rows."""
    return math.sqrt(share * (1.0 - share) / n)


def _jackknife_error(real: Tensor, generated: Tensor, statistic: Callable[[Tensor, Tensor], float], seed: int) -> float:
    r"""Standard error of a statistic of two sets, by leaving out one of g groups of both at a time.

    .. math:: s^2 = \frac{g - 1}{g} \sum_j (T_{-j} - \bar T)^2
    """
    parts = [
        torch.randperm(len(rows), generator=generator(seed, "jackknife", name)).to(rows.device) % _GROUPS
        for name, rows in (("real", real), ("generated", generated))
    ]
    left = [statistic(real[parts[0] != group], generated[parts[1] != group]) for group in range(_GROUPS)]
    values = torch.tensor(left, dtype=torch.float64)
    return float(((_GROUPS - 1) / _GROUPS * (values - values.mean()).square().sum()).sqrt())


@sample_metrics.register("frechet")
def _frechet(real: Tensor, generated: Tensor, seed: int) -> Sequence[Measurement]:
    value, few = frechet_distance(real, generated), min(len(real), len(generated)) < 3 * _GROUPS
    error = None if few else _jackknife_error(real, generated, frechet_distance, seed)
    return (
        Measurement(
            name="Frechet distance",
            value=value,
            better="lower",
            standard_error=error,
            interval=None if error is None else normal_interval(value, error, low=0.0),
            interval_by="" if few else f"normal, by a jackknife over {_GROUPS} groups of the rows",
            n_rows=len(generated),
            computed_with=_sizes(real, generated),
        ),
    )


@sample_metrics.register("kernel")
def _kernel(real: Tensor, generated: Tensor, seed: int) -> Sequence[Measurement]:
    result = kernel_distance(real, generated, seed=seed)
    return (
        Measurement(
            name="kernel distance",
            value=result.value,
            better="lower",
            standard_error=result.standard_error,
            interval=normal_interval(result.value, result.standard_error),
            interval_by="normal over disjoint subsets",
            n_rows=len(generated),
            computed_with=result.computed_with,
        ),
    )


@sample_metrics.register("precision-recall")
def _precision_recall(real: Tensor, generated: Tensor, seed: int) -> Sequence[Measurement]:
    result = precision_recall(real, generated)
    return (
        _share("precision", result.precision, len(generated), "generated", result.computed_with),
        _share("recall", result.recall, len(real), "real", result.computed_with),
    )


@sample_metrics.register("density-coverage")
def _density_coverage(real: Tensor, generated: Tensor, seed: int) -> Sequence[Measurement]:
    result = density_coverage(real, generated)
    return (
        Measurement(
            name="density",
            value=result.density,
            better="nearer to the floor",
            n_rows=len(generated),
            computed_with=result.computed_with,
        ),
        _share("coverage", result.coverage, len(real), "real", result.computed_with),
    )


def _share(name: str, share: float, n: int, of: str, computed_with: str) -> Measurement:
    """A share of the rows of one set, given the other one."""
    return Measurement(
        name=name,
        value=share,
        better="higher",
        standard_error=_share_error(share, n),
        interval=wilson_interval(share, n),
        interval_by=f"Wilson's, over the {of} rows",
        n_rows=n,
        computed_with=computed_with,
    )


@sample_metrics.register("two-sample")
def _two_sample(real: Tensor, generated: Tensor, seed: int) -> Sequence[Measurement]:
    return (two_sample_measurement(two_sample_auc(real, generated, seed=seed)),)


def two_sample_measurement(result: TwoSampleAuc) -> Measurement:
    """The number of a classifier two-sample test."""
    return Measurement(
        name="two-sample AUC",
        value=result.auc,
        better="nearer to the floor",
        standard_error=result.standard_error,
        interval=result.interval,
        interval_by="normal, by DeLong's variance over held-out folds",
        n_rows=result.n_generated,
        computed_with=result.computed_with,
    )
