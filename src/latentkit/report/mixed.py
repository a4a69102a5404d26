"""What a model of a table of mixed kinds learnt: its columns, new rows beside real ones, and the oddest cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentkit.core.seeds import generator
from latentkit.evaluation import MixedTable, measure_table
from latentkit.report.cells import texts_of
from latentkit.report.language import said, say, sentence
from latentkit.report.latent import needs_data
from latentkit.report.page import Method, Note, Section, Table
from latentkit.report.subject import Subject
from latentkit.report.synthetic import compare_tables
from latentkit.report.wording import count, first_of, number

__all__ = ["parts"]

#: Rows of training, held-out rows and new rows that are compared, and rows whose cells are scored, at most.
MOST_COMPARED, MOST_SCORED = 10_000, 1000
#: Columns of a table of rows, columns that are described, and cells shown, of all columns and of one, at most.
MOST_SHOWN, MOST_DESCRIBED, MOST_CELLS, MOST_OF_COLUMN = 8, 80, 12, 3
#: Rows without which there are no figures.
FEWEST = 10


def parts() -> dict[str, Callable[[Subject], Section]]:
    """The parts of the report that are those of tables, by their keys."""
    return {"columns": _columns, "samples": _samples, "synthetic": _compared, "cells": _cells}


def _columns(subject: Subject) -> Section:
    columns = subject.schema.columns
    rows = [
        [
            str(column.name),
            said(column.kind),
            say("left out") if column.is_left_out else " × ".join(map(str, column.sizes)),
            f"{number(100 * column.missing.share, 2)} %" if column.missing.share else "",
            said(column.reason),
        ]
        for column in columns[:MOST_DESCRIBED]
    ]
    seen = sum(not column.is_left_out for column in columns)
    caption = say(
        "{columns}, {seen:,} of them learnt.{more}",
        columns=count(len(columns), "column"),
        seen=seen,
        more=first_of(MOST_DESCRIBED, len(columns)),
    )
    notes = [Note(text=sentence(said(note))) for note in subject.schema.notes]
    return Section(
        key="columns",
        heading=say("What was recognised"),
        lead=say(
            "Each column was taken for a kind by its type and by how its cells are written. A wrong kind "
            "is the cheapest mistake to mend: give the column another type, and fit again."
        ),
        short=say("Columns"),
        blocks=[
            Table(
                header=[say("column"), say("kind"), say("codes"), say("missing"), say("because")],
                rows=rows,
                numeric=(2, 3),
                caption=caption,
            ),
            *notes,
        ],
        method=[
            Method(
                say("Codes of a column"),
                say(
                    "Its categories, or its frequent values and the bins between them, whose bounds are quantiles"
                    " of the data of fit; missing is one code more where something was missing."
                ),
            )
        ],
    )


def _samples(subject: Subject) -> Section:
    names = subject.feature_names
    rows = subject.estimator.sample(6, random_state=subject.seed_of("rows"))
    return Section(
        key="samples",
        heading=say("Samples"),
        lead=say("New rows, in the form of the table; the columns of a row are drawn together."),
        blocks=[
            Table(
                header=names[:MOST_SHOWN],
                rows=list(zip(*texts_of(subject, rows)[:MOST_SHOWN], strict=True)),
                caption=say("Six new rows, as sample() gives them.{more}", more=first_of(MOST_SHOWN, len(names))),
            )
        ],
        method=[
            Method(
                say("Samples"),
                say(
                    "Latent vectors drawn with the run's seed, {origin}, and for each a draw of every column from"
                    " p(x given z).",
                    origin=subject.origin,
                ),
            )
        ],
    )


def _compared(subject: Subject) -> Section:
    """New rows beside those of the data: charts always, figures where privacy can be measured as well."""
    if subject.sample is None:
        return Section(
            key="synthetic",
            heading=say("New rows beside real ones"),
            lead=say("Good new rows spread as the real ones do, column by column and pair by pair."),
            short=say("New rows"),
            blocks=[needs_data(say("Charts that compare new rows with real ones"))],
        )
    split = subject.split
    if split is None or min(map(len, split)) < FEWEST:
        real = _numbers(subject, subject.sample.data)
        new = _new_rows(subject, max(200, real.n))
        section = compare_tables(real, new)
        return replace(section, blocks=[*section.blocks, _no_figures(subject)])
    train, held_out = (_numbers(subject, subject.rows_of(_some(subject, rows))) for rows in split)
    new = _new_rows(subject, train.n)
    return compare_tables(train, new, figures=measure_table(new, train=train, test=held_out, seed=subject.seed))


def _no_figures(subject: Subject) -> Note:
    """Why there are no figures of quality: without those of privacy they would praise copies."""
    why = say(
        "Figures of quality stand here together with those of privacy, for copies of real rows have the best quality."
    )
    if subject.split is None:
        return Note(
            text=say(
                "{why} That takes the data of the fit, with the rows that were held out, and these are "
                "others. Give them with:",
                why=why,
            ),
            command="latentkit report RUN DATA",
        )
    return Note(
        text=say(
            "{why} That takes at least {fewest} rows that were learnt from and {fewest} that were held "
            "out; here are {n_train} and {n_held_out}. Fit with more rows, or with:",
            why=why,
            fewest=FEWEST,
            n_train=len(subject.split[0]),
            n_held_out=len(subject.split[1]),
        ),
        command="latentkit fit DATA -o RUN --set validation_fraction=0.2",
    )


def _numbers(subject: Subject, data: Any) -> MixedTable:
    found = subject.schema.numbers(data)
    return MixedTable(
        values=found.values, is_categorical=found.is_categorical, names=found.names, categories=found.categories
    )


def _new_rows(subject: Subject, n: int) -> MixedTable:
    return _numbers(subject, subject.estimator.sample(n, random_state=subject.seed_of("new rows")))


def _some(subject: Subject, rows: torch.Tensor) -> NDArray[np.int64]:
    chosen = torch.randperm(len(rows), generator=generator(subject.seed, "report", "compared"))[:MOST_COMPARED]
    return np.asarray(rows[chosen.sort().values].numpy(), np.int64)


def _cells(subject: Subject) -> Section:
    heading, short = say("Least probable cells"), say("Odd cells")
    lead = say(
        "Cells that hardly fit the rest of their row: errors of typing, oddities, or what the model "
        "did not learn. A first look, and no verdict."
    )
    if subject.sample is None:
        return Section(
            key="cells", heading=heading, lead=lead, blocks=[needs_data(say("Scores of cells"))], short=short
        )
    places = torch.randperm(subject.sample.n, generator=generator(subject.seed, "report", "cells"))[:MOST_SCORED]
    rows = subject.sample.rows[places.sort().values.numpy()]
    scores = subject.estimator.score_cells(subject.rows_of(rows))
    usual = [float(column[~np.isnan(column)].mean()) if not np.isnan(column).all() else np.nan for column in scores.T]
    chosen = _oddest(scores - np.array(usual))
    if not chosen:
        note = Note(text=say("No cell of these rows has a value that the model knows."))
        return Section(key="cells", heading=heading, lead=lead, blocks=[note], short=short)
    odd = subject.rows_of(rows[[row for row, _ in chosen]])
    shown = np.ones((len(chosen), scores.shape[1]), np.bool_)
    shown[np.arange(len(chosen)), [column for _, column in chosen]] = False
    given, expected = texts_of(subject, odd), texts_of(subject, subject.estimator.recover(odd, shown))
    table = [
        [
            f"{rows[row]:,}",
            subject.feature_names[column],
            given[column][place],
            expected[column][place],
            number(scores[row, column], 3),
            number(usual[column], 3),
        ]
        for place, (row, column) in enumerate(chosen)
    ]
    return Section(
        key="cells",
        heading=heading,
        lead=lead,
        short=short,
        blocks=[
            Table(
                header=[
                    say("row"),
                    say("column"),
                    say("value"),
                    say("given the rest, rather"),
                    say("log p, nats"),
                    say("usual"),
                ],
                rows=table,
                numeric=(0, 4, 5),
                caption=say(
                    "Of {rows}, counted from 0; of one column {most} at most.",
                    rows=count(len(rows), "row"),
                    most=MOST_OF_COLUMN,
                ),
            )
        ],
        method=[
            Method(
                say("Least probable cells"),
                say(
                    "log p(cell given all other cells of its row), with 8 draws of z from q(z given these), as "
                    "score_cells() gives it. Cells are ranked by how far that lies below the mean of their "
                    "column, which stands as usual: columns of many values are improbable cell by cell. What the "
                    "rest of the row suggests is the mean of a number, and the most probable category."
                ),
            )
        ],
    )


def _oddest(excess: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Rows and columns of the lowest cells, lowest first, and not too many of one column."""
    result: list[tuple[int, int]] = []
    of_column = np.zeros(excess.shape[1], np.int64)
    for place in np.argsort(excess, axis=None, kind="stable"):
        row, column = divmod(int(place), excess.shape[1])
        if np.isnan(excess[row, column]) or len(result) == MOST_CELLS:
            break
        if of_column[column] < MOST_OF_COLUMN:
            of_column[column] += 1
            result.append((row, column))
    return result
