"""Attacks in network connections: NSL-KDD, fitted to normal connections alone, scored on the whole of KDDTest+.

    python benchmarks/anomaly_network.py [--seeds 3] [--rows 5000]

The training rows are normal ones of KDDTrain+, `--rows` of them by seed, and all 67,343 for one more figure. The
columns `attack` and `difficulty` are left out. Ours takes the table as it is; PyOD's detectors at their defaults get
indicators of the three columns of text, and all columns standardised. Needs pyod, tqdm.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

import numpy as np
from _measuring import data_folder, store
from _odd_tables import peer_scores, peers
from anomaly import quality

LEFT_OUT = ["attack", "difficulty"]


def tables() -> tuple[Any, Any, Any]:
    """Normal rows of training, all rows of the test, and which of these are attacks."""
    import pandas as pd

    train, test = (pd.read_csv(data_folder() / "tables" / f"nsl_kdd.{part}.csv.gz") for part in ("train", "test"))
    is_attack = (test["attack"] != "normal").to_numpy().astype(np.int64)
    normal = train[train["attack"] == "normal"].drop(columns=LEFT_OUT).reset_index(drop=True)
    return normal, test.drop(columns=LEFT_OUT), is_attack


def as_numbers(train: Any, test: Any) -> tuple[Any, Any]:
    """Columns of text as indicators of the values of the training rows."""
    import pandas as pd

    known = pd.get_dummies(train).astype(float)
    return known.to_numpy(), pd.get_dummies(test).astype(float).reindex(
        columns=known.columns, fill_value=0.0
    ).to_numpy()


def ours(train: Any, test: Any, is_attack: Any, seed: int) -> dict[str, Any]:
    """Figures of AnomalyDetector told that its rows are clean."""
    from latentkit import AnomalyDetector

    start = time.perf_counter()
    detector = AnomalyDetector(regime="clean", random_state=seed).fit(train)
    fitted = time.perf_counter()
    scores = -detector.score_samples(test)
    auroc, ap = quality(is_attack, scores)
    return {
        "auroc": auroc,
        "ap": ap,
        "parts": " + ".join(detector.parts_),
        "false_alarms": round(float((scores[is_attack == 0] > -detector.offset_).mean()), 4),
        "found": round(float((scores[is_attack == 1] > -detector.offset_).mean()), 4),
        "fit_seconds": round(fitted - start, 2),
        "score_seconds": round(time.perf_counter() - fitted, 2),
    }


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=5000)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    normal, test, is_attack = tables()
    runs: dict[str, list[dict[str, Any]]] = {}
    for seed in range(options.seeds):
        train = normal.sample(options.rows, random_state=seed)
        runs.setdefault("ours", []).append(ours(train, test, is_attack, seed))
        numbers, test_numbers = as_numbers(train, test)
        for name, make in peers(seed, numbers.shape[1]).items():
            start = time.perf_counter()
            auroc, ap = quality(is_attack, peer_scores(make, numbers, test_numbers))
            figures = {"auroc": auroc, "ap": ap, "seconds": round(time.perf_counter() - start, 2)}
            runs.setdefault(name, []).append(figures)
        print(seed, {name: (row[-1]["auroc"], row[-1]["ap"]) for name, row in runs.items()}, flush=True)
    means = {
        name: {key: round(statistics.mean(row[key] for row in rows), 2) for key in ("auroc", "ap")}
        for name, rows in runs.items()
    }
    whole = ours(normal, test, is_attack, 0)
    store("anomaly_network", {"rows": options.rows, "means": means, "runs": runs, "ours, all 67,343 rows": whole})
    for name, row in means.items():
        print(f"{name:<14} {row}")
    print("all rows", whole)


if __name__ == "__main__":
    run()
