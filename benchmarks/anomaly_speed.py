"""How long a detector takes: to fit a table of 5,000 rows beside PyOD, and to score a million rows of 30 numbers.

    python benchmarks/anomaly_speed.py [--rounds 3]

Every round runs each contestant in a process of its own, one after the other. The table are the first 5,000 normal rows
of `shuttle` (9 numbers) and of `campaign` (62); times are those of fit and of scoring the same rows. A million rows are
drawn from a normal distribution, read from a Parquet file by the batch and scored by the batch.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _measuring import contest, data_folder, main, median, peak_memory_mb, ratio, store

TABLES = {"shuttle": "32_shuttle", "campaign": "5_campaign"}
REGIMES = ("clean", "contaminated", "auto")
MILLION = 1_000_000
BATCH = 65_536


def rows_of(name: str) -> Any:
    """The first 5,000 normal rows of a table, standardised."""
    content = np.load(data_folder() / "anomaly" / f"{TABLES[name]}.npz", allow_pickle=False)
    rows = np.asarray(content["X"], np.float64)[np.asarray(content["y"]).ravel() == 0][:5000]
    spread = rows.std(0)
    return (rows - rows.mean(0)) / np.where(spread > 0, spread, 1.0)


def child(arguments: list[str]) -> dict[str, Any]:
    """Time one contestant."""
    contestant, what = arguments
    if what == "million":
        return score_million(contestant)
    rows = rows_of(what)
    if contestant == "ours":
        from latentkit import AnomalyDetector

        AnomalyDetector(random_state=0).fit(rows[:50])  # what is imported at first use is no part of it
        detector = AnomalyDetector(random_state=0)
        score = "score_samples"
    else:
        from _odd_tables import peers

        peers(0, rows.shape[1])["KNN"]().fit(rows[:50])
        detector = peers(0, rows.shape[1])[contestant]()
        score = "decision_function"
    start = time.perf_counter()
    detector.fit(rows)
    fitted = time.perf_counter()
    getattr(detector, score)(rows)
    return {"fit": fitted - start, "score": time.perf_counter() - fitted, "whole": time.perf_counter() - start}


def score_million(regime: str) -> dict[str, Any]:
    """Rows a second through a detector, from a file that is read by the batch, and the peak of memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from latentkit import AnomalyDetector

    random = np.random.default_rng(0)
    detector = AnomalyDetector(regime=regime, random_state=0).fit(random.normal(size=(5000, 30)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        writer = None
        for _ in range(0, MILLION, BATCH):
            batch = pa.table({f"c{j}": random.normal(size=BATCH) for j in range(30)})
            writer = writer or pq.ParquetWriter(path, batch.schema)
            writer.write_table(batch)
        assert writer is not None
        writer.close()
        before, n = peak_memory_mb(), 0
        start = time.perf_counter()
        for part in pq.ParquetFile(path).iter_batches(BATCH):
            rows = np.stack([column.to_numpy() for column in part.columns], axis=1)
            n += len(detector.score_samples(rows))
        seconds = time.perf_counter() - start
    return {"rows_per_second": n / seconds, "rows": n, "peak_mb": peak_memory_mb(), "peak_mb_before": before}


def parent(options: argparse.Namespace) -> None:
    figures: dict[str, Any] = {}
    for table in TABLES:
        cases = {
            name: [name, table] for name in ("ours", "VAE", "AutoEncoder", "KNN", "IForest") if options.only in name
        }
        results = contest(__file__, cases, rounds=options.rounds)
        figures[table] = {
            name: {key: round(median(rows, key), 3) for key in ("fit", "score", "whole")}
            for name, rows in results.items()
        }
        if {"ours", "VAE"} <= results.keys():
            figures[table]["VAE of PyOD / ours"] = round(ratio(results["VAE"], results["ours"], "whole"), 2)
    cases = {regime: [regime, "million"] for regime in REGIMES}
    results = contest(__file__, cases, rounds=options.rounds)
    figures["a million rows of 30"] = {
        regime: {key: round(median(rows, key)) for key in rows[0]} for regime, rows in results.items()
    }
    store("anomaly_speed", figures, merge=True)


if __name__ == "__main__":
    main(child, parent)
