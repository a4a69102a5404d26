"""What figures of synthetic tables mean: those of real rows, of repeated rows and of shuffled columns.

    python benchmarks/table_floors.py [--data adult]

No model is trained. In the place of synthetic rows stand real test rows (as good as a model can be that does not know
its training rows), training rows drawn with replacement (perfect but for noise, and a leak) and training rows whose
columns were shuffled one by one (right column by column, and worthless).
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from _measuring import data_folder, store

if TYPE_CHECKING:
    import pandas as pd

    from latentkit.evaluation import Figure, MixedTable


@dataclass(frozen=True)
class TableData:
    """A table that papers on synthetic rows use: its files, what to predict, and codes that look like numbers."""

    train: str
    target: str
    test: str = ""
    codes: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


TABLES = {
    "adult": TableData("adult.train.csv", "income", test="adult.test.csv"),
    "credit_default": TableData(
        "credit_default.csv",
        "DID_DEFAULT_PAYMENT",
        codes=("SEX", "EDUCATION", "MARITALSTATUS", "DID_DEFAULT_PAYMENT"),
        dropped=("USER_ID",),
    ),
    "diamonds": TableData("diamonds.csv", "price"),
    "mushroom": TableData("mushroom.csv", "class"),
    "nsl_kdd": TableData("nsl_kdd.train.csv.gz", "attack", dropped=("difficulty",)),
}


def read_table(name: str) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Training rows, test rows and the names of the categorical columns; a third is the test where no file is one."""
    import numpy as np
    import pandas as pd

    data = TABLES[name]
    train, *more = (
        pd.read_csv(data_folder() / "tables" / file).drop(columns=[*data.dropped], errors="ignore")
        for file in (data.train, data.test)
        if file
    )
    if more:
        test = more[0]
    else:
        order = np.random.default_rng(0).permutation(len(train))
        third = len(train) // 3
        train, test = train.iloc[order[third:]], train.iloc[order[:third]]
    categorical = [c for c in train if c in data.codes or not pd.api.types.is_numeric_dtype(train[c])]
    return train.reset_index(drop=True), test.reset_index(drop=True), categorical


def shuffled_columns(table: MixedTable) -> MixedTable:
    """The same columns, each in an order of its own."""
    from dataclasses import replace

    import numpy as np

    return replace(table, values=np.random.default_rng(0).permuted(table.values, axis=0))


def as_numbers(figures: tuple[Figure, ...]) -> dict[str, Any]:
    """Values by name, with their standard error where there is one."""
    return {
        figure.name: round(figure.value, 4)
        if figure.standard_error is None
        else [round(figure.value, 4), round(figure.standard_error, 4)]
        for figure in figures
    }


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="adult", choices=TABLES, help="which table")
    name = parser.parse_args().data
    import numpy as np

    from latentkit.evaluation import measure_table, mixed_tables, table_privacy_figures

    *frames, categorical = read_table(name)
    train, test = mixed_tables(*frames, categorical=categorical)
    drawn = train.take(np.random.default_rng(0).integers(0, train.n, train.n))
    start = time.perf_counter()
    figures: dict[str, Any] = {"rows": {"train": train.n, "test": test.n}}
    order = np.random.default_rng(0).permutation(test.n)
    halves = [test.take(half) for half in np.array_split(order, 2)]
    for who, rows in (("training rows drawn with replacement", drawn), ("shuffled columns", shuffled_columns(train))):
        measured = measure_table(rows, train=train, test=test, target=TABLES[name].target, max_rows=test.n)
        figures[who] = as_numbers(measured)
        figures["test rows"] = {
            figure.name: round(figure.floor, 4)
            for figure in measured
            if "test rows" in figure.floor_of or "real rows" in figure.floor_of
        }
    figures["test rows"] |= as_numbers(table_privacy_figures(train, *halves, max_rows=test.n))
    figures["seconds"] = round(time.perf_counter() - start, 1)
    print(json.dumps(figures, indent=2))
    store("table_floors", {name: figures}, merge=True)


if __name__ == "__main__":
    run()
