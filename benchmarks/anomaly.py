"""Odd rows in 20 tables of ADBench: AnomalyDetector beside the detectors of PyOD.

    python benchmarks/anomaly.py [--seeds 3] [--tables cardio] [--detectors ours|peers]

Two protocols, as the papers have them: fit to half of the normal rows, or to 70 % of all rows with their odd ones in
them; no cap on rows. PyOD's detectors have their defaults, on standardised columns. Ours has its defaults and is told
the regime, as whoever fits it knows it.

Beside it stand, from the same fits: the same neighbours without a model (``ours without VAE``), and ``ours, parts left
to other tables``: of the sets of parts named in CANDIDATES the one that is best on the 19 other tables, by AUROC and
average precision together. Needs pyod, tqdm.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

import numpy as np
from _measuring import RESULTS, store
from _odd_tables import PROTOCOLS, each, names, peer_scores, peers, ranks, split

#: Sets of parts that the choice by other tables is made of.
CANDIDATES = {
    "clean": (
        ("exemplars", "nearest", "neighbors"),
        ("exemplars", "nearest"),
        ("exemplars", "neighbors"),
        ("exemplars", "residuals"),
        ("exemplars", "residuals", "nearest"),
        ("exemplar_elbo",),
        ("exemplar_elbo", "nearest"),
        ("latent_neighbors",),
        ("latent_neighbors", "exemplars"),
        ("residuals", "neighbors"),
        ("exemplars", "histograms", "nearest"),
        ("reconstruction",),
        ("elbo",),
    ),
    "contaminated": (
        ("residuals", "histograms", "wide_neighbors"),
        ("residuals", "wide_neighbors"),
        ("residuals", "histograms"),
        ("reconstruction", "histograms", "wide_neighbors"),
        ("reconstruction", "wide_neighbors"),
        ("exemplars", "residuals", "histograms", "wide_neighbors"),
        ("residuals",),
        ("reconstruction",),
        ("elbo",),
    ),
}
WITHOUT = {"clean": ("nearest", "neighbors"), "contaminated": ("histograms", "wide_neighbors")}
METRICS = ("auroc", "ap")
OURS, ABLATED, CHOSEN = "ours", "ours without VAE", "ours, parts left to other tables"


def quality(is_odd: Any, scores: Any) -> tuple[float, float]:
    """AUROC and average precision, per cent."""
    from latentkit.evaluation import detection_quality

    found = detection_quality(is_odd == 1, scores)
    return round(100 * found.auroc, 3), round(100 * found.average_precision, 3)


def measure_ours(train: Any, test: Any, is_odd: Any, protocol: str, seed: int) -> dict[str, dict[str, float]]:
    """Figures of every candidate and of the ablation, from one fit; the time is that of the default."""
    from latentkit import AnomalyDetector

    parts = sorted({name for candidate in CANDIDATES[protocol] for name in candidate})
    figures = {}
    start = time.perf_counter()
    detector = AnomalyDetector(regime=protocol, random_state=seed).fit(train)
    seconds, start = time.perf_counter() - start, time.perf_counter()
    auroc, ap = quality(is_odd, -detector.score_samples(test))
    scoring = time.perf_counter() - start
    figures[OURS] = {"auroc": auroc, "ap": ap, "fit_seconds": round(seconds, 3), "score_seconds": round(scoring, 3)}
    values = AnomalyDetector(regime=protocol, parts=parts, random_state=seed).fit(train).score_parts(test)
    named = {ABLATED: WITHOUT[protocol], **{" + ".join(candidate): candidate for candidate in CANDIDATES[protocol]}}
    for name, candidate in named.items():
        auroc, ap = quality(is_odd, sum(values[part] for part in candidate))
        figures[name] = {"auroc": auroc, "ap": ap}
    return figures


def measure_peers(train: Any, test: Any, is_odd: Any, seed: int) -> dict[str, dict[str, float]]:
    """Figures of PyOD's detectors; one that fails has those of a coin, and says so."""
    figures: dict[str, dict[str, Any]] = {}
    for name, make in peers(seed, train.shape[1]).items():
        start = time.perf_counter()
        try:
            auroc, ap = quality(is_odd, peer_scores(make, train, test))
            figures[name] = {"auroc": auroc, "ap": ap}
        except Exception as error:  # whatever a peer raises, the others are measured
            figures[name] = {"auroc": 50.0, "ap": round(100 * float((is_odd == 1).mean()), 3), "failed": repr(error)}
        figures[name]["seconds"] = round(time.perf_counter() - start, 3)
    return figures


def chosen_by_others(rows: dict[str, dict[str, dict[str, Any]]], protocol: str) -> dict[str, str]:
    """For each table the candidate that is best on all others."""
    options = [" + ".join(candidate) for candidate in CANDIDATES[protocol]]
    return {
        table: max(
            options,
            key=lambda option: sum(
                np.mean(rows[other][option]["auroc"]) + np.mean(rows[other][option]["ap"])
                for other in rows
                if other != table
            ),
        )
        for table in rows
    }


def summarise(rows: dict[str, dict[str, dict[str, Any]]], protocol: str) -> dict[str, Any]:
    """Means and mean ranks over the tables."""
    choice = chosen_by_others(rows, protocol) if len(rows) > 1 and OURS in next(iter(rows.values())) else {}
    for table, option in choice.items():
        rows[table][CHOSEN] = {**rows[table][option], "parts": option}
    options = {" + ".join(candidate) for candidate in CANDIDATES[protocol]}
    shown = [name for name in next(iter(rows.values())) if name not in options]
    means = {
        name: {key: round(float(np.mean([np.mean(row[name][key]) for row in rows.values()])), 2) for key in METRICS}
        for name in shown
    }
    ranked = [name for name in shown if name not in (ABLATED, CHOSEN)]
    for key in METRICS:
        table = {t: {name: float(np.mean(row[name][key])) for name in ranked} for t, row in rows.items()}
        for name, rank in ranks(table).items():
            means[name][f"{key}_rank"] = rank
    return means


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tables", default="", help="only those whose name contains this")
    parser.add_argument("--detectors", choices=("all", "ours", "peers"), default="all")
    options = parser.parse_args()

    path = RESULTS / "anomaly.json"
    tables: dict[str, Any] = json.loads(path.read_text())["figures"]["tables"] if path.exists() else {}
    tables = {protocol: dict(tables.get(protocol, {})) for protocol in PROTOCOLS}
    for name, protocol, seed in each(options.tables, options.seeds):
        train, test, is_odd = split(name, protocol, seed)
        found: dict[str, dict[str, Any]] = {}
        if options.detectors != "peers":
            found |= measure_ours(train, test, is_odd, protocol, seed)
        if options.detectors != "ours":
            found |= measure_peers(train, test, is_odd, seed)
        row = tables[protocol].setdefault(name, {})
        for detector, figures in found.items():
            for key, value in figures.items():
                row.setdefault(detector, {}).setdefault(key, [])
                row[detector][key] = [*row[detector][key][:seed], value]
        short = {
            detector: figures["auroc"] for detector, figures in found.items() if detector in (OURS, "KNN", "IForest")
        }
        print(f"{name:<20} {protocol:<13} {seed}  {short}", flush=True)
        if seed == options.seeds - 1:
            keep(tables, options.seeds)
    for protocol, rows in keep(tables, options.seeds).items():
        for name, row in rows.items():
            print(f"  {protocol:<13} {name:<34} {row}")


def keep(tables: dict[str, Any], seeds: int) -> dict[str, Any]:
    """Write what there is, and return the means."""
    whole = {kind: {name: rows[name] for name in names() if name in rows} for kind, rows in tables.items()}
    means = {protocol: summarise(rows, protocol) for protocol, rows in whole.items() if rows}
    store("anomaly", {"seeds": seeds, "means": means, "tables": whole})
    return means


if __name__ == "__main__":
    run()
