"""TVAE of the package ctgan, as its documentation has it used: one side of the comparison of synthetic tables.

    PYTHON benchmarks/_tvae.py TRAIN.parquet SYNTHETIC.parquet EPOCHS SEED COLUMN ...

Run by table_synthesis.py with the interpreter that has it (``pip install ctgan pyarrow``). Reads the training rows,
whose named columns are categories, writes as many new rows, and prints seconds of training and of drawing.
"""

from __future__ import annotations

import json
import sys
import time


def run() -> None:
    import numpy as np
    import pandas as pd
    import torch
    from ctgan import TVAE

    source, target, epochs, seed, *categorical = sys.argv[1:]
    np.random.seed(int(seed))  # noqa: NPY002, TID251 (this process is all TVAE's, which draws from both)
    torch.manual_seed(int(seed))  # noqa: TID251
    train = pd.read_parquet(source)
    start = time.perf_counter()
    tvae = TVAE(epochs=int(epochs), enable_gpu=False)
    tvae.fit(train, categorical)
    fitted = time.perf_counter()
    synthetic = tvae.sample(len(train))
    drawn = time.perf_counter()
    synthetic.to_parquet(target)
    print(json.dumps({"fit_seconds": fitted - start, "drawing_seconds": drawn - fitted}))


if __name__ == "__main__":
    run()
