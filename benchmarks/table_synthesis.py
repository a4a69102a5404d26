"""New rows of real tables: shapes, trends, usefulness and privacy after a time of training, over seeds.

    python benchmarks/table_synthesis.py [--data adult] [--seconds 90] [--seeds 3]

VAE with its defaults and a time; as many rows are drawn as there are for training. Quality beside privacy, with what
real test rows score in its place in table_floors.py. Of the latent space: nats of KL by dimension, active units, and
the nats that a row loses when it is scored with the z of another row, which are none where z does not matter. Nothing
was chosen on the test rows.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
import warnings
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

from _measuring import store
from table_floors import TABLES, as_numbers, read_table


def latent_space(vae: Any, rows: Any) -> dict[str, Any]:
    """KL, active units, and what a row loses by the z of another row."""
    import torch

    from latentkit.evaluation import active_units

    x = vae.schema_.encode(rows)
    with torch.no_grad():
        q = vae.model_.encode(x)
        kl = 0.5 * (q.mean.square() + q.log_var.exp() - 1.0 - q.log_var)
        own, others = (vae.model_.decode(z).log_prob(x).mean() for z in (q.mean, q.mean.roll(1, 0)))
    return {
        "kl": round(float(kl.sum(1).mean()), 3),
        "kl_of_dimensions": [round(float(part), 3) for part in kl.mean(0)],
        "active_units": int(active_units(q.mean).sum()),
        "nats_lost_by_another_z": round(float(own - others), 3),
    }


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="adult", choices=TABLES)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()

    from latentkit import VAE
    from latentkit.evaluation import measure_table, mixed_tables

    warnings.simplefilter("ignore")
    train, test, categorical = read_table(options.data)
    runs = []
    for seed in range(options.seeds):
        start = time.perf_counter()
        vae = VAE(max_time=options.seconds, random_state=seed, verbose=1).fit(train)
        seconds = time.perf_counter() - start
        start = time.perf_counter()
        synthetic = vae.sample(len(train))
        drawing = time.perf_counter() - start
        real, held_out, drawn = mixed_tables(train, test, synthetic, categorical=categorical)
        figures = as_numbers(measure_table(drawn, train=real, test=held_out, target=TABLES[options.data].target))
        runs.append(
            {
                "seed": seed,
                "fit_seconds": round(seconds, 1),
                "epochs": vae.n_iter_,
                "rows_per_second": round(len(train) / drawing),
                **figures,
                **latent_space(vae, train.head(5000)),
            }
        )
        print(json.dumps(runs[-1], indent=1), flush=True)
    names = [name for name, value in runs[0].items() if isinstance(value, int | float)]
    summary = {name: round(statistics.mean(each[name] for each in runs), 4) for name in names if name != "seed"}
    store(
        "table_synthesis", {options.data: {"mean": summary, "runs": runs, "engine": vae.engine_.summary()}}, merge=True
    )


if __name__ == "__main__":
    run()
