"""``latentkit score``: how likely each example is."""

from __future__ import annotations

import heapq
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentkit.cli.application import command
from latentkit.cli.opening import OpenedRun, open_run
from latentkit.cli.options import ArrayName, Data, Json, Labels, Run, SkipBad, TableOutput, UnseenCategories
from latentkit.cli.outputs import MIXED, STDOUT, check_output, write_table, write_tables
from latentkit.cli.printing import Printer
from latentkit.cli.reading import naming
from latentkit.core.errors import InvalidParameterError

if TYPE_CHECKING:
    from latentkit.data import Dataset

__all__ = ["likelihood_columns", "score"]

#: Least probable cells and tokens that are printed.
SHOWN_CELLS = 5
#: Pieces of a text that are printed on each side of a token.
CONTEXT = 8


@command(
    "score",
    "latentkit score run photos/ -o scores.csv",
    "latentkit score run table.csv -o scores.parquet --importance 500",
    "latentkit score run people.csv -o scores.csv --cells",
    "latentkit score run sentences.txt -o scores.csv --cells",
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
            help="Importance samples; more are tighter and slower. [default: 64; of texts 16]",
            show_default=False,
            min=1,
        ),
    ] = None,
    cells: Annotated[
        bool,
        typer.Option(
            "--cells",
            help="Of a table of mixed kinds also each cell: log p(cell given the rest of its row), a column each. Of "
            "texts also each token: log p(token given those before it), in a column of JSON.",
        ),
    ] = False,
    labels: Labels = None,
    array: ArrayName = None,
    skip_bad: SkipBad = False,
    unseen: UnseenCategories = None,
    as_json: Json = False,
) -> None:
    """Score each example: a lower bound on log p(x).

    In nats, and in bits per dimension; of texts in bits per token and per byte, and as perplexity per word. Low scores
    are examples unlike those that the model has learnt from. An effective sample size near 1 says that the bound is
    loose: raise K. Deterministic autoencoders have no such bound: their score is log p(x given z) of the
    reconstruction.
    """
    check_output(output, tables_only=True)
    printer = Printer(as_json=as_json, to_stderr=output == STDOUT)
    opened = open_run(run, unseen=unseen)
    dataset = opened.read(data, printer, labels=labels, array=array, skip_bad=skip_bad)
    is_text = opened.schema.kind == "text"
    if is_text and cells and output != STDOUT and Path(output).suffix.lower() not in MIXED:
        raise InvalidParameterError(
            f"-o {output}: --cells writes the tokens of texts, which this format cannot hold. Choose one of: "
            f"{', '.join(MIXED)}."
        )
    with naming(dataset), printer.waiting(f"scoring {dataset.n:,} examples"):
        estimate = opened.given_labels(dataset, printer).log_likelihood(dataset, n_importance=importance)
        if is_text:
            columns, figures = _text_columns(opened, dataset, estimate)
            oddest = _score_tokens(opened, dataset, columns) if cells else []
        else:
            columns, unit = likelihood_columns(opened.estimator, estimate)
            figures = {"mean_bits_per_dimension": float(columns["bits_per_dimension"].mean()), "unit": unit}
            oddest = _score_cells(opened, dataset, columns) if cells else []
    files = _write(columns, output, is_text=is_text)
    values = {
        "n": dataset.n,
        "mean_log_likelihood_nats": float(columns["log_likelihood"].mean()),
        **figures,
        "estimator": estimate.estimator,
        "is_bound": estimate.is_bound,
        "n_importance": estimate.n_importance,
        "median_effective_sample_size": float(estimate.effective_sample_size.median()),
        "files": files,
    }
    n, bound = estimate.n_importance, " (a lower bound)" if estimate.is_bound else ""
    thing = "text" if is_text else "row"
    told = [
        ("mean", f"{values['mean_log_likelihood_nats']:.3f} nats a {thing}{bound}"),
        ("", _in_bits(values, opened.schema.kind)),
        ("how", f"{estimate.estimator}, K = {n}" if estimate.is_bound else estimate.estimator),
    ]
    if estimate.is_bound:
        told.append(("effective", f"median sample size {values['median_effective_sample_size']:.1f} of {n}"))
    told += [("least probable" if not place else "", text) for place, text in enumerate(oddest)]
    printer.pairs(told)
    printer.written(f"{dataset.n} scores", files)
    printer.document(values)


def _write(columns: Mapping[str, Any], output: str, *, is_text: bool) -> list[Path]:
    """Write the columns; those of texts hold whole numbers, and may hold words."""
    if not is_text:
        return write_table(columns, output)
    import pyarrow as pa

    return write_tables([pa.table(dict(columns))], output)


def _in_bits(values: Mapping[str, Any], kind: str) -> str:
    if kind != "text":
        what = "column" if kind == "table" else "dimension"
        return f"{values['mean_bits_per_dimension']:.4f} bits per {what}, {values['unit']}"
    return (
        f"{values['bits_per_token']:.4f} bits per token, {values['bits_per_byte']:.4f} per byte; perplexity "
        f"{values['perplexity_per_word']:.2f} per word; ends of texts counted"
    )


def _text_columns(opened: OpenedRun, dataset: Dataset, estimate: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the likelihood of texts as columns, and as figures of all of them together."""
    from latentkit.evaluation import bits_per_dimension, perplexity

    schema, nats = opened.schema, estimate.log_likelihood
    storage = schema.encode(dataset.data)
    lengths = schema.lengths(storage)
    each = [perplexity(nats[[row]], storage[[row]], schema) for row in range(len(nats))]
    whole = perplexity(nats, storage, schema)
    n_tokens = int(lengths.sum())
    columns = {
        "log_likelihood": nats.double().numpy(),
        "n_tokens": lengths.numpy(),
        "bits_per_token": (bits_per_dimension(nats.double(), 1) / lengths).numpy(),
        "bits_per_byte": [found.bits_per_byte for found in each],
        "perplexity_per_word": [found.per_word for found in each],
        "effective_sample_size": estimate.effective_sample_size.double().numpy(),
    }
    return columns, {
        "n_tokens": n_tokens,
        "bits_per_token": float(bits_per_dimension(nats.sum(), n_tokens)),
        "bits_per_byte": whole.bits_per_byte,
        "perplexity_per_word": whole.per_word,
    }


def _score_tokens(opened: OpenedRun, dataset: Dataset, columns: dict[str, Any]) -> list[str]:
    """Add the scores of tokens to the columns, and return the least probable tokens in their texts."""
    scores = opened.estimator.score_tokens(dataset)
    columns["tokens"] = [
        json.dumps([[piece, round(nats, 4)] for piece, nats in text], ensure_ascii=False) for text in scores
    ]
    joint = "" if opened.schema.vocabulary.is_exact else " "
    places = ((nats, row, place) for row, text in enumerate(scores) for place, (_, nats) in enumerate(text))
    return [
        f"row {row}, {_in_context([token.piece for token in scores[row]], place, joint)}: {nats:.1f} nats"
        for nats, row, place in heapq.nsmallest(SHOWN_CELLS, places)
    ]


def _in_context(pieces: Sequence[str], place: int, joint: str) -> str:
    """A token in brackets between those beside it; the end is empty."""
    first, last = max(0, place - CONTEXT), place + CONTEXT + 1
    before, behind = joint.join(pieces[first:place]), joint.join(pieces[place + 1 : last])
    start, stop = "…" if first else "", "…" if last < len(pieces) else ""
    return f"{start}{before}{joint}[{pieces[place]}]{joint}{behind}{stop}".replace("\n", " ").strip()


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

    from latentkit.estimators.likelihood_units import likelihood_units
    from latentkit.evaluation import bits_per_dimension

    units = likelihood_units(estimator)
    nats = estimate.log_likelihood
    bits = bits_per_dimension(nats, prod(estimator.specification_.event_shape), step=units.step)
    return {
        "log_likelihood": nats.double().numpy(),
        "bits_per_dimension": bits.double().numpy(),
        "effective_sample_size": estimate.effective_sample_size.double().numpy(),
    }, units.of
