"""All figures of a synthetic table: quality beside privacy, each beside its floor."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import torch

from latentkit.core.parameters import check_choice, check_integer
from latentkit.core.registry import Registry
from latentkit.core.seeds import generator
from latentkit.evaluation.column_shapes import column_shapes
from latentkit.evaluation.figures import Figure, normal_interval
from latentkit.evaluation.mixed_table import MixedTable, check_tables
from latentkit.evaluation.pair_trends import PairRule, pair_trends
from latentkit.evaluation.sample_quality import Measurement, two_sample_measurement
from latentkit.evaluation.table_efficacy import train_synthetic_test_real
from latentkit.evaluation.table_privacy import closest_records, copied_cells
from latentkit.evaluation.two_sample import two_sample_auc

__all__ = ["TableMetric", "measure_table", "table_metrics", "table_privacy_figures"]

#: A metric takes real rows, synthetic rows and a seed.
TableMetric = Callable[[MixedTable, MixedTable, int], Sequence[Measurement]]

table_metrics: Registry[TableMetric] = Registry("table metric")

# of each table: more would cost time, and floors of shorter tables would come from weaker classifiers
_TWO_SAMPLE_ROWS = 15_000


def measure_table(
    synthetic: MixedTable,
    *,
    train: MixedTable,
    test: MixedTable,
    target: str | None = None,
    metrics: Sequence[str] | None = None,
    learners: Sequence[str] | None = None,
    floor: Literal["test", "bootstrap"] = "test",
    max_rows: int = 10_000,
    seed: int = 0,
) -> tuple[Figure, ...]:
    """Compare a synthetic table with the real one by every metric, and always give its privacy as well.

    Quality is measured against the training rows, as is usual for tables, so copies of these score best: that is what
    the figures of privacy are for, which come last. Their floors are those of a model that cannot know the training
    rows: 0.5 by symmetry, or what test rows have. A figure beyond its floor is no better than one at it.

    Args:
        synthetic: Rows to judge, at least 10; as many as the training rows if figures are to be compared with
            published ones, for noise makes short tables worse.
        train: Rows that the model was fitted on.
        test: Real rows that it has not seen.
        target: Column to predict, for training on synthetic and testing on real rows; None leaves this out.
        metrics: Names of `table_metrics`; all of them by default.
        learners: Names of `table_learners`; all of them by default.
        floor: What stands in the place of the synthetic rows for the floor of quality: the test rows, as many as there
            are, or as many training rows drawn with replacement as there are synthetic ones.
        max_rows: Rows of each table in the search for closest records.
        seed: Decides the rows, the folds and the learners.

    Returns:
        The figures: in the order of the metrics, then by learner, then privacy.

    Raises:
        InvalidParameterError: If the columns differ, a table has fewer than 10 rows, or a name is unknown.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> train, test, new = (
        ...     MixedTable(values=rng.normal(size=(100, 2)), is_categorical=[False, False], names=["a", "b"])
        ...     for _ in range(3)
        ... )
        >>> figures = measure_table(new, train=train, test=test, metrics=["column-shapes"])
        >>> [figure.name for figure in figures[:3]]
        ['column shape error, %', 'share nearer to training rows', 'membership AUC']
    """
    check_choice("floor", floor, ("test", "bootstrap"))
    check_integer("max_rows", max_rows, low=10)
    check_tables(10, synthetic=synthetic, train=train, test=test)
    wanted = [table_metrics[name] for name in (table_metrics if metrics is None else metrics)]
    if floor == "test":
        stand_in, floor_of = test, f"{test.n:,} test rows in place of the synthetic ones"
    else:
        draws = torch.randint(train.n, (synthetic.n,), generator=generator(seed, "bootstrap"))
        stand_in = train.take(draws.numpy())
        floor_of = f"{synthetic.n:,} training rows drawn with replacement"
    figures = []
    for metric in wanted:
        begun = time.perf_counter()
        pairs = list(zip(metric(train, synthetic, seed), metric(train, stand_in, seed), strict=True))
        seconds = (time.perf_counter() - begun) / len(pairs)
        figures += [got.beside(bottom.value, floor_of, seconds=seconds) for got, bottom in pairs]
    if target is not None:
        figures += _efficacy_figures(train, synthetic, test, target, learners, seed)
    return (*figures, *table_privacy_figures(train, test, synthetic, max_rows=max_rows, seed=seed))


def _efficacy_figures(
    train: MixedTable, synthetic: MixedTable, test: MixedTable, target: str, learners: Sequence[str] | None, seed: int
) -> list[Figure]:
    scores = train_synthetic_test_real(train, synthetic, test, target=target, learners=learners, seed=seed)
    return [
        Figure(
            name=f"{score.measure} trained on synthetic, {score.learner}",
            value=score.synthetic,
            better="lower" if score.measure == "RMSE" else "higher",
            floor=score.real,
            floor_of="trained on real rows",
            computed_with=score.computed_with,
            group="samples",
        )
        for score in scores
    ]


def table_privacy_figures(
    train: MixedTable, held_out: MixedTable, synthetic: MixedTable, *, max_rows: int = 10_000, seed: int = 0
) -> tuple[Figure, ...]:
    """Every figure of privacy with the floor of a model that cannot know the training rows.

    Args:
        train: The rows that the model was fitted on.
        held_out: Real rows that it has not seen.
        synthetic: A table with the same columns.
        max_rows: Rows of each table in the search for closest records.
        seed: Decides these rows.

    Returns:
        Share nearer to training rows, membership AUC, where enough rows are repeated how much rather those of training
        are, repeated rows with and without the columns of many values, and copied values, the mean over such columns
        where there are any.

    Raises:
        InvalidParameterError: If the columns differ or a table has fewer than 2 rows.
    """
    near = closest_records(train, held_out, synthetic, max_rows=max_rows, seed=seed)
    copies = copied_cells(train, held_out, synthetic)
    unseen, fresh = "a model that cannot know the training rows", "held-out rows in place of the synthetic ones"
    guesses: list[tuple[str, float, float, float | None, str]] = [
        ("share nearer to training rows", near.nearer_to_training, 0.5, near.standard_error, near.computed_with),
        ("membership AUC", near.membership_auc, 0.5, near.membership_standard_error, near.computed_with),
    ]
    if not math.isnan(copies.preference):
        name = "repeats of a training row over those of a held-out row"
        guesses.append((name, copies.preference, 1.0, None, copies.computed_with))
    figures = [
        Measurement(
            name=name,
            value=value,
            better="nearer to the floor",
            standard_error=error,
            interval=None if error is None else normal_interval(value, error, low=0.0),
            interval_by="" if error is None else "normal over the rows",
            n_rows=synthetic.n,
            computed_with=how,
        ).beside(floor, unseen, group="copies")
        for name, value, floor, error, how in guesses
    ]
    shares = [
        ("share of repeated rows", copies.rows, copies.rows_floor),
        ("share of repeated rows, columns of many values apart", copies.coarse_rows, copies.coarse_rows_floor),
    ]
    if copies.values:
        value, floor = (float(np.mean(list(found.values()))) for found in (copies.values, copies.values_floor))
        shares.append(("share of repeated values", value, floor))
    figures += [
        Measurement(
            name=name, value=share, better="lower", n_rows=synthetic.n, computed_with=copies.computed_with
        ).beside(floor, fresh, group="copies")
        for name, share, floor in shares
    ]
    return tuple(figures)


@table_metrics.register("column-shapes")
def _column_shapes(real: MixedTable, synthetic: MixedTable, seed: int) -> Sequence[Measurement]:
    result = column_shapes(real, synthetic)
    return (_error("column shape error, %", result.error_percent, synthetic.n, result.computed_with),)


@table_metrics.register("pair-trends")
def _pair_trends(real: MixedTable, synthetic: MixedTable, seed: int) -> Sequence[Measurement]:
    return tuple(_pair_figure(real, synthetic, rule) for rule in get_args(PairRule))


def _pair_figure(real: MixedTable, synthetic: MixedTable, rule: PairRule) -> Measurement:
    result = pair_trends(real, synthetic, rule=rule)
    return _error(f"pair trend error, %, rule {rule}", result.error_percent, synthetic.n, result.computed_with)


@table_metrics.register("two-sample")
def _two_sample(real: MixedTable, synthetic: MixedTable, seed: int) -> Sequence[Measurement]:
    n = min(real.n, synthetic.n, _TWO_SAMPLE_ROWS)
    rows = real.drawn(n, seed, "real"), synthetic.drawn(n, seed, "synthetic")
    return (two_sample_measurement(two_sample_auc(*rows, seed=seed)),)


def _error(name: str, value: float, n_rows: int, computed_with: str) -> Measurement:
    return Measurement(name=name, value=value, better="lower", n_rows=n_rows, computed_with=computed_with)
