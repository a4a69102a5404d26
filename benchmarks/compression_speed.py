"""How fast images become archives, and come back: megabytes a second by one worker and by all, beside xz.

    python benchmarks/compression_speed.py [--seconds 60] [--rounds 3]

A `Compressor` learns from the training part for so long; what is timed is writing 30 MB of that part without the
comparison, and reading it, each the median of the rounds, the start of processes included. How long was learnt does not
matter for these rates, nor does which images are coded. xz has the same bytes in the same rounds.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

import argparse
import io
import lzma
import statistics
import time
from typing import Any

import numpy as np
from _measuring import data_folder, store

SETS = ("mnist", "fashion_mnist", "cifar10_subset")
MEGABYTES = 30


def seconds_of(call: Any, *arguments: Any, **options: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    found = call(*arguments, **options)
    return time.perf_counter() - start, found


def rates(compressor: Any, test: np.ndarray, n_workers: int, rounds: int) -> dict[str, float]:
    import torch

    from latentkit.tasks.compression import compress, decompress, open_contents

    torch.set_num_threads(n_workers)  # of one block, too, no more than so many
    took: dict[str, list[float]] = {"written": [], "read": []}
    for _ in range(rounds):
        archive, again = io.BytesIO(), io.BytesIO()
        options = {"embeds_model": False, "verify": False, "n_workers": n_workers}
        took["written"].append(seconds_of(compress, open_contents(test), archive, compressor.coder_, **options)[0])
        archive.seek(0)
        took["read"].append(seconds_of(decompress, archive, again, compressor.coder_, n_workers=n_workers)[0])
        if not again.getvalue().endswith(test.tobytes()):
            raise AssertionError("what came back is not what was written")
    return {f"MB/s {way}": round(test.nbytes / statistics.median(each) / 1e6, 3) for way, each in took.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each training")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    import torch

    from latentkit import Compressor

    n_threads = int(os.environ["OMP_NUM_THREADS"])
    figures: dict[str, Any] = {}
    for name in SETS:
        content = np.load(data_folder() / "images" / f"{name}.npz")
        torch.set_num_threads(n_threads)
        compressor = Compressor(max_time=options.seconds, random_state=0).fit(content["x_train"])
        test = content["x_train"][: MEGABYTES * 1_000_000 // content["x_train"][0].nbytes]
        row: dict[str, Any] = {f"{n} workers": rates(compressor, test, n, options.rounds) for n in {1, n_threads}}
        packed = [seconds_of(lzma.compress, test.tobytes(), preset=9) for _ in range(options.rounds)]
        unpacked = [seconds_of(lzma.decompress, packed[0][1])[0] for _ in range(options.rounds)]
        row["xz -9"] = {
            "MB/s written": round(test.nbytes / statistics.median(took for took, _ in packed) / 1e6, 3),
            "MB/s read": round(test.nbytes / statistics.median(unpacked) / 1e6, 3),
        }
        figures[name] = row
        print(name, row, flush=True)
    store("compression_speed", figures)


if __name__ == "__main__":
    main()
