"""``latentkit score``: how likely each example is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentkit.cli.application import command
from latentkit.cli.opening import OpenedRun, open_run
from latentkit.cli.options import ArrayName, Data, Json, Labels, Run, SkipBad, TableOutput, UnseenCategories
from latentkit.cli.outputs import STDOUT, check_output, write_table
from latentkit.cli.printing import Printer
from latentkit.cli.reading import naming

if TYPE_CHECKING:
    from latentkit.data import Dataset

__all__ = ["likelihood_columns", "score"]

#: Least probable cells that are printed.
SHOWN_CELLS = 5


@command(
    "score",
    "latentkit score run photos/ -o scores.csv",
    "latentkit score run table.csv -o scores.parquet --importance 500",
    "latentkit score run people.csv -o scores.csv --cells",
    "latentkit score run table.csv -o - | sort -t, -g | head",
)
def score(
    run: Run,
    data: Data,
    output: TableOutput,
    importance: Annotated[
        int | None,
        typer.Option(
            "--importance",
            "-k",
            metavar="K",
            help="Importance samples; more are tighter and slower. [default: 64]",
            show_default=False,
            min=1,
        ),
    ] = None,
    cells: Annotated[
        bool,
        typer.Option(
            "--cells",
            help="Of a table of mixed kinds also each cell: log p(cell given the rest of its row), a column each.",
        ),
    ] = False,
    labels: Labels = None,
    array: ArrayName = None,
    skip_bad: SkipBad = False,
    unseen: UnseenCategories = None,
    as_json: Json = False,
) -> None:
    """Score each example: a lower bound on log p(x).

    In nats, and in bits per dimension. Low scores are examples unlike those that the model has learnt from. An
    effective sample size near 1 says that the bound is loose: raise K. Deterministic autoencoders have no such bound:
    their score is log p(x given z) of the reconstruction.
    """
    check_output(output, tables_only=True)
    printer = Printer(as_json=as_json, to_stderr=output == STDOUT)
    opened = open_run(run, unseen=unseen)
    dataset = opened.read(data, printer, labels=labels, array=array, skip_bad=skip_bad)
    with naming(dataset):
        estimate = opened.estimator.log_likelihood(dataset, n_importance=importance)
        columns, unit = likelihood_columns(opened.estimator, estimate)
        oddest = _score_cells(opened, dataset, columns) if cells else []
    is_table = opened.schema.kind == "table"
    files = write_table(columns, output)
    values = {
        "n": dataset.n,
        "mean_log_likelihood_nats": float(columns["log_likelihood"].mean()),
        "mean_bits_per_dimension": float(columns["bits_per_dimension"].mean()),
        "estimator": estimate.estimator,
        "is_bound": estimate.is_bound,
        "n_importance": estimate.n_importance,
        "median_effective_sample_size": float(estimate.effective_sample_size.median()),
        "unit": unit,
        "files": files,
    }
    n = estimate.n_importance
    figures = [
        (
            "mean",
            f"{values['mean_log_likelihood_nats']:.3f} nats a row{' (a lower bound)' if estimate.is_bound else ''}",
        ),
        ("", f"{values['mean_bits_per_dimension']:.4f} bits per {'column' if is_table else 'dimension'}, {unit}"),
        ("how", f"{estimate.estimator}, K = {n}" if estimate.is_bound else estimate.estimator),
    ]
    if estimate.is_bound:
        figures.append(("effective", f"median sample size {values['median_effective_sample_size']:.1f} of {n}"))
    figures += [("least probable" if not place else "", text) for place, text in enumerate(oddest)]
    printer.pairs(figures)
    printer.written(f"{dataset.n} scores", files)
    printer.document(values)


def _score_cells(opened: OpenedRun, dataset: Dataset, columns: dict[str, Any]) -> list[str]:
    """Add the scores of cells to the columns, and return the least probable cells in words."""
    import numpy as np

    from latentkit.data.table.frames import to_columns

    scores = opened.estimator.score_cells(dataset)
    names = opened.schema.feature_names
    for index, name in enumerate(names):
        if not opened.schema.columns[index].is_left_out:
            columns[f"log_p_{name}"] = scores[:, index]
    table = to_columns(dataset).ordered(names)
    order = np.argsort(np.where(np.isnan(scores), np.inf, scores), axis=None, kind="stable")[:SHOWN_CELLS]
    places = [divmod(int(place), scores.shape[1]) for place in order]
    return [
        f"{table.row(row)}, {names[column]} = {table.arrays[column][row].as_py()}: {scores[row, column]:.1f} nats"
        for row, column in places
        if np.isfinite(scores[row, column])
    ]


def likelihood_columns(estimator: Any, estimate: Any) -> tuple[dict[str, Any], str]:
    """Return a likelihood estimate as columns, and what its figures are figures of."""
    from math import prod

    from latentkit.distributions import likelihoods
    from latentkit.evaluation import bits_per_dimension

    specification, schema = estimator.specification_, estimator.schema_
    step, unit = None, "of a probability mass"
    if schema.kind == "table":
        unit = "of the probability of its categories, frequent values, and bins of numbers"
    elif not likelihoods[specification.likelihood].discrete:
        unit = "of a density over standardised values" if schema.values == "real" else "of a density over [0, 1]"
        if schema.n_levels and schema.n_levels > 1:
            step, unit = 1.0 / (schema.n_levels - 1), "of a density, taken as a mass of its grid"
    nats = estimate.log_likelihood
    bits = bits_per_dimension(nats, prod(specification.event_shape), step=step)
    return {
        "log_likelihood": nats.double().numpy(),
        "bits_per_dimension": bits.double().numpy(),
        "effective_sample_size": estimate.effective_sample_size.double().numpy(),
    }, unit
