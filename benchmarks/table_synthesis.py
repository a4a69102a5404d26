"""New rows of real tables: shapes, trends, usefulness and privacy after a time of training, over seeds.

    python benchmarks/table_synthesis.py [--data adult] [--seconds 90] [--seeds 3] [--tvae PYTHON]

VAE with its defaults, columns of categories named, and a time; as many rows are drawn as there are for training.
Quality beside privacy, with what real test rows score in its place in table_floors.py. Of the latent space: nats of KL
by dimension, active units, and the nats that a row loses when it is scored with the z of another row, which are none
where z does not matter. Nothing was chosen on the test rows. With --tvae, the TVAE of ctgan stands beside it, in the
same run, with the 300 epochs that are its default and the same columns named as categories.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
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


def of_latentkit(train: Any, categorical: list[str], seconds: float, seed: int) -> tuple[Any, dict[str, Any]]:
    """New rows of a VAE, and what there is to say of its fit."""
    from latentkit import VAE

    start = time.perf_counter()
    kinds = dict.fromkeys(categorical, "categorical")
    vae = VAE(max_time=seconds, random_state=seed, verbose=1, kinds=kinds).fit(train)
    fitted = time.perf_counter()
    synthetic = vae.sample(len(train))
    figures = {
        "fit_seconds": round(fitted - start, 1),
        "epochs": vae.n_iter_,
        "rows_per_second": round(len(train) / (time.perf_counter() - fitted)),
        "engine": vae.engine_.summary(),
        **latent_space(vae, train.head(5000)),
    }
    return synthetic, figures


def of_tvae(train: Any, categorical: list[str], python: str, epochs: int, seed: int) -> tuple[Any, dict[str, Any]]:
    """New rows of TVAE, trained in a process of its own by an interpreter that has it."""
    import pandas as pd

    with tempfile.TemporaryDirectory() as folder:
        source, target = (f"{folder}/{name}.parquet" for name in ("train", "synthetic"))
        train.to_parquet(source)
        script = str(Path(__file__).with_name("_tvae.py"))
        command = [python, script, source, target, str(epochs), str(seed), *categorical]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            sys.exit(run.stderr[-3000:])
        seconds = json.loads(run.stdout.strip().splitlines()[-1])
        synthetic = pd.read_parquet(target)[list(train)]
    rate = round(len(train) / seconds["drawing_seconds"])
    return synthetic, {"fit_seconds": round(seconds["fit_seconds"], 1), "epochs": epochs, "rows_per_second": rate}


def summary(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Means over seeds of every figure that is a number, or a number with its standard error, in all runs."""
    means = {}
    for name, value in runs[0].items():
        if name in ("seed", "kl_of_dimensions") or isinstance(value, str) or any(name not in each for each in runs):
            continue
        values = [each[name][0] if isinstance(each[name], list) else each[name] for each in runs]
        means[name] = round(statistics.mean(values), 4)
    return means


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=",".join(TABLES), help="tables, with commas")
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tvae", default="", metavar="PYTHON", help="an interpreter that has ctgan and pyarrow")
    parser.add_argument("--tvae-epochs", type=int, default=300)
    parser.add_argument("--tvae-seeds", type=int, default=1, help="its figures hardly differ, and take their time")
    options = parser.parse_args()

    from latentkit.evaluation import measure_table, mixed_tables

    warnings.simplefilter("ignore")
    for data in options.data.split(","):
        train, test, categorical = read_table(data)
        train, test = (table.astype(dict.fromkeys(categorical, str)) for table in (train, test))
        contestants = {"latentkit": partial(of_latentkit, train, categorical, options.seconds)}
        if options.tvae:
            contestants["tvae"] = partial(of_tvae, train, categorical, options.tvae, options.tvae_epochs)
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
        for seed in range(options.seeds):
            for name, contestant in contestants.items():
                if name == "tvae" and seed >= options.tvae_seeds:
                    continue
                synthetic, figures = contestant(seed)
                real, held_out, drawn = mixed_tables(train, test, synthetic, categorical=categorical)
                measured = measure_table(drawn, train=real, test=held_out, target=TABLES[data].target)
                runs[name].append({"seed": seed, **figures, **as_numbers(measured)})
                print(data, name, json.dumps(runs[name][-1], indent=1), flush=True)
        threads = int(os.environ["OMP_NUM_THREADS"])
        figures = {name: {"mean": summary(each), "runs": each, "threads": threads} for name, each in runs.items()}
        store("table_synthesis", {data: figures}, merge=True)


if __name__ == "__main__":
    run()
