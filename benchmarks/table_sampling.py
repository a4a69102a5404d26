"""New rows of Adult in a second: column after column, and all columns at once given z.

    python benchmarks/table_sampling.py [--rows 200000] [--rounds 5]

Both decoders are trained for a few epochs, in the precision that longer trainings choose: speed does not depend on how
well. What is timed is ``VAE.sample``, from the
prior to the data frame. The table is mixed: 15 columns, 9 of them categories.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

from _measuring import store
from table_floors import read_table

DECODERS = {"column by column": "auto", "columns independent given z": "mlp"}


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    from latentkit import VAE

    warnings.simplefilter("ignore")
    train, _, categorical = read_table("adult")
    kinds = dict.fromkeys(categorical, "categorical")
    same = {"max_epochs": 5, "precision": "bfloat16", "random_state": 0, "kinds": kinds, "verbose": 0}
    fitted = {name: VAE(decoder=decoder, **same).fit(train) for name, decoder in DECODERS.items()}
    rates: dict[str, list[float]] = {name: [] for name in fitted}
    for number in range(options.rounds):
        for name, vae in fitted.items():
            start = time.perf_counter()
            vae.sample(options.rows, random_state=number)
            rates[name].append(options.rows / (time.perf_counter() - start))
            print(name, round(rates[name][-1]), "rows a second", flush=True)
    figures = {
        name: {"rows_per_second": round(statistics.median(each)), "engine": fitted[name].engine_.summary()}
        for name, each in rates.items()
    }
    store("table_sampling", {"rows": options.rows, **figures})


if __name__ == "__main__":
    run()
