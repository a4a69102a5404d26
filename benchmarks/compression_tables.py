"""How small rows of tables become: archives of rows that were not learnt from, written, read back and compared.

    python benchmarks/compression_tables.py [--seconds 300] [--seeds 4] [--only adult]

A `Compressor` learns from training rows for so long on one thread and writes the other rows, with their header, into
one archive, with its model and without; once more with a model that keeps rows, without it. `adult` and `nsl_kdd` have
test parts of their own; of the others a shuffle with seed 0 gives the first 60 % to learn from, and the rest is coded.
Classic coders get the same bytes, zpaq among them where the command is installed; Parquet with zstd gets the same rows
as columns of their types. Speeds are those of the processors that the process may use, the writing one without the
comparison.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import gzip
import io
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _measuring import contest, data_folder, median, store, zpaq_bytes

OWN_PARTS = {"adult": "csv", "nsl_kdd": "csv.gz"}
SETS = (*OWN_PARTS, "credit_default", "diamonds", "mushroom", "wine_white", "yeast")


def parts(name: str) -> tuple[bytes, bytes]:
    """Lines to learn from and lines to code, each with the header."""
    folder = data_folder() / "tables"
    if name in OWN_PARTS:
        paths = [folder / f"{name}.{part}.{OWN_PARTS[name]}" for part in ("train", "test")]
        train, test = (gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes() for p in paths)
        return train, test
    header, *lines = (folder / f"{name}.csv").read_bytes().splitlines(keepends=True)
    order = np.random.default_rng(0).permutation(len(lines))
    n = len(lines) * 6 // 10
    train, test = (b"".join([header, *(lines[place] for place in places)]) for places in (order[:n], order[n:]))
    return train, test


def child(arguments: list[str]) -> dict[str, Any]:
    """Learn, write, read, compare."""
    import torch

    from latentkit import Compressor

    name, seed, seconds, keeps_rows = arguments[0], int(arguments[1]), float(arguments[2]), arguments[3] == "rows"
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    train, test = parts(name)
    n = test.count(b"\n") - 1
    with tempfile.TemporaryDirectory() as folder:
        learnt, source, again = (Path(folder) / f"{part}.csv" for part in ("learnt", "source", "again"))
        learnt.write_bytes(train)
        source.write_bytes(test)
        compressor = Compressor(max_time=seconds, random_state=seed, keeps_rows=keeps_rows).fit(learnt)
        whole, bare = Path(folder) / "whole.lkz", Path(folder) / "bare.lkz"
        with_model = compressor.compress(source, whole)
        start = time.perf_counter()
        without = compressor.compress(source, bare, embed=False, verify=False)
        written = time.perf_counter()
        compressor.decompress(bare, again)
        read = time.perf_counter()
        if again.read_bytes() != test:
            raise AssertionError("what came back is not what was written")
        again.unlink()
        compressor.decompress(whole, again)
        if again.read_bytes() != test:
            raise AssertionError("what came back is not what was written")
    return {
        "bits": 8.0 * without.summary.file_bytes / n,
        "bits with the model": 8.0 * with_model.summary.file_bytes / n,
        "model bytes": float(with_model.summary.model_bytes),
        "rows/s written": n / (written - start),
        "rows/s read": n / (read - written),
    }


def classic(test: bytes) -> dict[str, float]:
    """Bits a row of classic coders."""
    import pyarrow.csv
    import pyarrow.parquet

    from latentkit.evaluation import classic_sizes

    found = {size.name: size.n_bytes for size in classic_sizes(test)}
    columns = io.BytesIO()
    table = pyarrow.csv.read_csv(io.BytesIO(test))
    pyarrow.parquet.write_table(table, columns, compression="zstd", compression_level=19)
    found["Parquet, zstd -19"] = columns.tell()
    if shutil.which("zpaq"):
        found["zpaq -m5"] = zpaq_bytes(test)
    return {coder: round(8.0 * n_bytes / (test.count(b"\n") - 1), 2) for coder, n_bytes in found.items()}


def parent(options: argparse.Namespace) -> None:
    figures: dict[str, Any] = {}
    for name in SETS:
        if options.only and options.only != name:
            continue
        row: dict[str, Any] = {}
        for kept in ("", "rows"):
            runs = [
                contest(__file__, {name: [name, str(seed), str(options.seconds), kept]}, rounds=1)[name][0]
                for seed in range(options.seeds)
            ]
            own: dict[str, Any] = {key: round(median(runs, key), 2) for key in runs[0]}
            own["bits of each seed"] = [round(run["bits"], 2) for run in runs]
            own["mean bits"] = round(statistics.mean(run["bits"] for run in runs), 2)
            row["ours, rows kept" if kept else "ours"] = own
        figures[name] = {**row, "classic": classic(parts(name)[1]), "seconds": options.seconds}
        print(name, figures[name], flush=True)
        store("compression_tables", figures, merge=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="of each training")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--only", choices=SETS, help="one set only")
    return parser.parse_args()


if __name__ == "__main__":
    if "--child" in sys.argv:
        print(json.dumps(child(sys.argv[sys.argv.index("--child") + 1 :])))
    else:
        parent(arguments())
