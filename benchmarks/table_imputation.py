"""Holes of real tables filled: right categories and errors of numbers, beside chains of forests and of boosted trees.

    python benchmarks/table_imputation.py [--data adult] [--share 0.3] [--seconds 40] [--seeds 3] [--only latentkit]

Cells are hidden completely at random; all methods see the same table with holes, learn from it and fill it. `right` is
the share of hidden categories that were found, a mean over the categorical columns; `rmse` the root of the mean squared
error of hidden numbers over the column's standard deviation, a mean over the numeric columns but capital gain and loss,
in which every method but the mean is worse than the mean. `covered` is the share of hidden numbers inside the 90 %
interval of 20 completions, whose ends are such that another completion lies inside in 90 % of the cases (Hyndman and
Fan's sixth kind of quantiles). The chains are missForest's: each column in turn is predicted from all others, three
times. latentkit stands there twice: with --seconds for its training, of which it often leaves some, and with as many as
the chain of forests has taken for all its work.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

from _measuring import data_folder, store

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: File, columns that are left out, and categories that are written as numbers.
TABLES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "adult": ("adult.train.csv", (), ()),
    "wine_white": ("wine_white.csv", (), ()),
    "yeast": ("yeast.csv", ("name", "sequence_name"), ()),
    "mushroom": ("mushroom.csv", (), ()),
}
ROWS = 10_000
UNCOUNTED = ("capital_gain", "capital_loss")


def read_table(name: str) -> tuple[pd.DataFrame, list[str]]:
    """A table of at most 10,000 rows and the names of its categorical columns."""
    import pandas as pd

    file, dropped, codes = TABLES[name]
    table = pd.read_csv(data_folder() / "tables" / file).drop(columns=[*dropped], errors="ignore")
    table = table.sample(min(len(table), ROWS), random_state=0).reset_index(drop=True)
    return table, [c for c in table if c in codes or not pd.api.types.is_numeric_dtype(table[c])]


def judged(filled: pd.DataFrame, truth: pd.DataFrame, hidden: np.ndarray, categorical: list[str]) -> dict[str, float]:
    """Right categories and errors of numbers among hidden cells that were there."""
    import numpy as np

    right, errors = [], []
    for index, name in enumerate(truth):
        cells = hidden[:, index] & truth[name].notna().to_numpy()
        if name in categorical:
            right.append(float((filled[name][cells].astype(str) == truth[name][cells].astype(str)).mean()))
        elif name not in UNCOUNTED:
            off = filled[name][cells].to_numpy(float) - truth[name][cells].to_numpy(float)
            errors.append(float(np.sqrt(np.mean(off**2)) / truth[name].std()))
    figures = {}
    if right:
        figures["right"] = round(float(np.mean(right)), 4)
    if errors:
        figures["rmse"] = round(float(np.mean(errors)), 4)
    return figures


def mean_and_mode(holes: pd.DataFrame, categorical: list[str], seed: int) -> pd.DataFrame:
    """Every hole filled with the column's mean or most frequent category."""
    return holes.fillna({c: holes[c].mode()[0] if c in categorical else holes[c].mean() for c in holes})


def chained(kind: str) -> Callable[[pd.DataFrame, list[str], int], pd.DataFrame]:
    """A chain of regressions and classifications, each column from all others, three rounds."""

    def fill(holes: pd.DataFrame, categorical: list[str], seed: int) -> pd.DataFrame:
        import numpy as np
        import pandas as pd
        from sklearn.ensemble import (
            HistGradientBoostingClassifier,
            HistGradientBoostingRegressor,
            RandomForestClassifier,
            RandomForestRegressor,
        )

        is_category = np.array([name in categorical for name in holes])
        levels = {name: pd.Categorical(holes[name]).categories for name in categorical}
        codes = np.column_stack(
            [
                np.where(holes[c].isna(), np.nan, pd.Categorical(holes[c], levels[c]).codes)
                if c in categorical
                else holes[c].to_numpy(float)
                for c in holes
            ]
        )
        missing = np.isnan(codes)
        start = mean_and_mode(holes, categorical, seed)
        full = np.column_stack(
            [pd.Categorical(start[c], levels[c]).codes if c in categorical else start[c].to_numpy(float) for c in holes]
        ).astype(float)
        for _ in range(3):
            for column in np.argsort(missing.sum(0)):
                gaps = missing[:, column]
                others = np.arange(codes.shape[1]) != column
                if not gaps.any():
                    continue
                if kind == "forest":
                    Model: Any = RandomForestClassifier if is_category[column] else RandomForestRegressor
                    model = Model(50, min_samples_leaf=1 if is_category[column] else 3, n_jobs=-1, random_state=seed)
                else:
                    Model = HistGradientBoostingClassifier if is_category[column] else HistGradientBoostingRegressor
                    model = Model(categorical_features=is_category[others], random_state=seed, max_iter=60)
                model.fit(full[~gaps][:, others], codes[~gaps, column])
                full[gaps, column] = model.predict(full[gaps][:, others])
        columns = {
            c: levels[c][full[:, i].astype(int)] if c in categorical else full[:, i] for i, c in enumerate(holes)
        }
        return pd.DataFrame(columns)

    return fill


CHAINS = {"mean and mode": mean_and_mode, "forest chain": chained("forest"), "boosted chain": chained("boosting")}
TRAINED = ("latentkit, trained as long as the forests took", "latentkit")


def filled_by_latentkit(
    holes: pd.DataFrame, truth: pd.DataFrame, hidden: np.ndarray, categorical: list[str], seed: int, seconds: float
) -> dict[str, Any]:
    """Figures of an imputer with its defaults and some seconds: single completions, and the intervals of several."""
    import numpy as np

    from latentkit import VAE, TableImputer

    start = time.perf_counter()
    imputer = TableImputer(VAE(max_time=seconds), random_state=seed)
    filled = imputer.fit_transform(holes)
    vae = imputer.estimator_
    taken = round(time.perf_counter() - start, 1)
    draws = vae.recover(holes, result="draws", n_draws=20)
    inside = []
    for index, column in enumerate(truth):
        cells = hidden[:, index] & truth[column].notna().to_numpy()
        if column in categorical or column in UNCOUNTED or not cells.any():
            continue
        values = np.stack([draw[column][cells].to_numpy(float) for draw in draws])
        low, high = np.quantile(values, [0.05, 0.95], axis=0, method="weibull")
        inside.append(float(((truth[column][cells] >= low) & (truth[column][cells] <= high)).mean()))
    figures = {**judged(filled, truth, hidden, categorical), "seconds": taken, "epochs": vae.n_iter_}
    return {**figures, "covered": round(float(np.mean(inside)), 4)} if inside else figures


def measured(data: str, share: float, seeds: int, seconds: float, only: str) -> dict[str, Any]:
    """Figures of every method on one table with one share of hidden cells, by seed, and their means."""
    import numpy as np

    truth, categorical = read_table(data)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in ([only] if only else [*CHAINS, *TRAINED])}
    for seed in range(seeds):
        hidden = np.random.default_rng(seed).random(truth.shape) < share
        holes = truth.mask(hidden)
        for name, each in runs.items():
            if name in CHAINS:
                start = time.perf_counter()
                filled = CHAINS[name](holes, categorical, seed)
                result = judged(filled, truth, hidden, categorical)
                result["seconds"] = round(time.perf_counter() - start, 1)
            else:
                given = seconds if name == "latentkit" else runs["forest chain"][-1]["seconds"]
                result = filled_by_latentkit(holes, truth, hidden, categorical, seed, given)
            each.append(result)
            print(data, share, name, result, flush=True)
    means = {
        name: {figure: round(statistics.mean(one[figure] for one in each), 4) for figure in each[0]}
        for name, each in runs.items()
    }
    return {"rows": len(truth), "mean": means, "runs": runs}


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=",".join(TABLES), help="tables, with commas")
    parser.add_argument("--share", default="0.3,0.5", help="of the cells that are hidden, with commas")
    parser.add_argument("--seconds", type=float, default=40.0, help="for the VAE, at most")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", choices=["", *CHAINS, "latentkit"], help="a method")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for data in options.data.split(","):
        for share in map(float, options.share.split(",")):
            figures = measured(data, share, options.seeds, options.seconds, options.only)
            store("table_imputation", {f"{data} {share:g}": figures}, merge=True)


if __name__ == "__main__":
    run()
