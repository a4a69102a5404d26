"""A million rows of forty columns, one of them of 300,000 categories: time and memory of fitting and drawing.

    python benchmarks/table_scale.py [--rows 1000000] [--seconds 60]

The table is made up: numbers that depend on each other, amounts that are often zero, categories of 2 to 40 values,
dates, missing cells, and a column of users whose frequencies fall as one over their rank. It is written as a CSV file,
which one process reads and fits, and another loads the run and draws 100,000 rows; the peak memory is that of each
process. For the column of users it says how often the drawn rows name each tenth of them (by frequency), beside how
often the file does.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

from _measuring import contest, peak_memory_mb, store

N_USERS, N_DRAWN, N_COLUMNS = 300_000, 100_000, 40
BLOCK = 100_000


def write_table(path: Path, n_rows: int) -> None:
    """Write the table block by block."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    shares = 1.0 / np.arange(1, N_USERS + 1)
    shares /= shares.sum()
    for start in range(0, n_rows, BLOCK):
        n = min(BLOCK, n_rows - start)
        hidden = rng.normal(size=(n, 6))
        numbers = hidden @ rng.normal(size=(6, 20)) + 0.3 * rng.normal(size=(n, 20))
        columns: dict[str, Any] = {f"number_{i}": numbers[:, i].round(4) for i in range(20)}
        for i in range(6):
            amount = np.exp(hidden[:, i] + 0.5 * rng.normal(size=n)).round(2)
            columns[f"amount_{i}"] = np.where(rng.random(n) < 0.4, 0.0, amount)
        for i, size in enumerate((2, 2, 3, 5, 8, 12, 20, 30, 40, 40)):
            code = np.clip((hidden[:, i % 6] / 5 + 0.5 + 0.1 * rng.normal(size=n)) * size, 0, size - 1).astype(int)
            columns[f"kind_{i}"] = np.char.add("c", code.astype(str))
        days = rng.integers(0, 3650, (n, 2)).astype("timedelta64[D]")
        for i in range(2):
            columns[f"day_{i}"] = np.datetime64("2015-01-01") + days[:, i]
        columns["user"] = np.char.add("u", rng.choice(N_USERS, n, p=shares).astype(str))
        columns["count"] = rng.poisson(np.exp(0.5 * hidden[:, 0]))
        table = pd.DataFrame(columns)
        table = table.mask(rng.random(table.shape) < np.where(np.arange(table.shape[1]) < 10, 0.05, 0.0))
        table.to_csv(path, mode="a" if start else "w", header=not start, index=False)


def fit(path: str, run: str, seconds: str) -> dict[str, Any]:
    """Fit a file and save the run."""
    from latentkit import VAE

    start = time.perf_counter()
    vae = VAE(max_time=float(seconds), random_state=0, verbose=1).fit(path)
    vae.save(run)
    column = next(column for column in vae.schema_.columns if column.name == "user")
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "training_seconds": round(vae.history_[-1]["seconds"], 1),
        "epochs": vae.n_iter_,
        "rows_seen_a_second": round(vae.history_[-1]["samples_per_second"]),
        "peak_megabytes": round(peak_memory_mb()),
        "codes_of_users": list(column.sizes),
        "parameters": sum(p.numel() for p in vae.model_.parameters()),
        "engine": vae.engine_.summary(),
    }


def draw(path: str, run: str, seconds: str) -> dict[str, Any]:
    """Load the run and draw rows."""
    from latentkit import load

    vae = load(run)
    start = time.perf_counter()
    rows = vae.sample(N_DRAWN)
    taken = time.perf_counter() - start
    peak = round(peak_memory_mb())  # before the file is read to be compared
    figures = {"seconds": round(taken, 1), "rows_per_second": round(N_DRAWN / taken), "peak_megabytes": peak}
    return {**figures, **users(path, rows["user"])}


def users(path: str, names: list[str]) -> dict[str, Any]:
    """How often rows name each tenth of the users, from the most frequent on, in the file and as drawn."""
    import numpy as np
    import pandas as pd

    real = pd.read_csv(path, usecols=["user"])["user"].value_counts(normalize=True)
    drawn = pd.Series(names).value_counts(normalize=True)
    tenths = np.array_split(real.index, 10)
    return {
        "share_of_tenths_of_users": [round(float(real[part].sum()), 4) for part in tenths],
        "share_of_tenths_of_users_drawn": [round(float(drawn.reindex(part).sum()), 4) for part in tenths],
        "users_drawn": len(drawn),
    }


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        part, *arguments = options.child
        print(json.dumps({"fit": fit, "draw": draw}[part](*arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path, figures = Path(folder) / "table.csv", {}
        write_table(path, options.rows)
        figures["file_megabytes"] = round(path.stat().st_size / 1e6)
        for part in ("fit", "draw"):
            arguments = [part, str(path), f"{folder}/run", str(options.seconds)]
            figures[part] = contest(__file__, {part: arguments}, rounds=1)[part][0]
    store("table_scale", {"rows": options.rows, "columns": N_COLUMNS, "categories": N_USERS, **figures})


if __name__ == "__main__":
    run()
