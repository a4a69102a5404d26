"""What pruning and proposals are worth: ``tune`` against random search without pruning in the same time, on MNIST.

python benchmarks/tune.py [--seed 0] [--seeds 10] [--trials 20] [--rows 20000] [--epochs 20] [--part overhead]

Of each seed ``tune`` tries 20 settings, and random search (Optuna's, plain: no pruning, no first trial at the defaults)
then has the seconds that this took, on as many threads, in the same rows and the same space. A trial has the same
epochs in both. The figure is the ELBO of the best model of each on 5,000 other training images: the validation rows
would flatter the search that looked at more models. Test images are not touched. Images are binarised once, by chance.

One seed takes about fifteen minutes on one thread; ``--seed N`` measures one and adds it to those that are stored.
Overhead is what a trial in a folder takes beside training and judging, of models of one epoch.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _measuring import data_folder, store

from latentkit import VAE
from latentkit.search import Search, prepare

#: Rows that neither search sees, by which both are judged.
N_JUDGED = 5000
SPACE: dict[str, Any] = {
    "latent_dim": (2, 128),
    "width": (64, 512),
    "depth": (1, 3),
    "learning_rate": (1e-4, 1e-2),
    "batch_size": [64, 128, 256, 512],
    "dropout": (0.0, 0.3),
    "weight_averaging": [0.0, 0.99, 0.999],
    "activation": ["relu", "silu", "tanh"],
}


def digits(seed: int, n: int) -> tuple[Any, Any]:
    """Binarised rows to search with, and those to judge by."""
    random = np.random.default_rng(seed)
    with np.load(data_folder() / "images" / "mnist.npz") as file:
        rows = file["x_train"].reshape(-1, 784)[random.permutation(60_000)[: n + N_JUDGED]]
    binary = (random.random(rows.shape) < rows / 255.0).astype(np.uint8)
    return binary[:n], binary[n:]


def ready(rows: Any, seed: int, options: argparse.Namespace, **how: Any) -> Search:
    vae = VAE(max_epochs=options.epochs, random_state=seed)
    return prepare(vae, rows, search=SPACE, only=True, test_fraction=0.0, **how)


def found(search: Search, judged: Any, seconds: float | None = None) -> dict[str, Any]:
    """Run a search; what it found, and how good that is on rows that it has not seen."""
    start = time.perf_counter()
    study = search.run(seconds)
    wall = time.perf_counter() - start
    best = study.best_estimator_
    return {
        "elbo": round(float(best.log_likelihood(judged, n_importance=1).log_likelihood.mean()), 3),
        "bound": round(best.score(judged), 3),
        "validation": round(study.best_score_ or 0.0, 3),
        **{state: study.count(state) for state in ("complete", "pruned", "failed")},  # type: ignore[arg-type]
        "seconds": round(wall, 1),
        "settings": {name: str(value) for name, value in study.best_params_.items()},
    }


def compared(seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Both searches of one seed, one after the other."""
    rows, judged = digits(seed, options.rows)
    tuned = found(ready(rows, seed, options, trials=options.trials), judged)
    plain = ready(rows, seed, options, trials=10_000, sampler="random", pruner="none")
    plain.start = {}
    return {"tune": tuned, "random": found(plain, judged, tuned["seconds"]), "rows": options.rows}


def overhead(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of trials beside training and judging, in a folder, with as many rows and the whole space."""
    rows, _ = digits(0, options.rows)
    options = argparse.Namespace(**{**vars(options), "epochs": 1})
    with tempfile.TemporaryDirectory() as folder:
        study = ready(rows, 0, options, trials=15, pruner="none", folder=Path(folder) / "study").run()
    seconds = [trial.overhead_seconds for trial in study.trials_[1:]]  # the first one measures how to compute
    return {"median_seconds": round(statistics.median(seconds), 3), "largest_seconds": round(max(seconds), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=None, help="measure this one, and keep the others")
    parser.add_argument("--seeds", type=int, default=10, help="else measure those from 0 on")
    parser.add_argument("--trials", type=int, default=20, help="of tune")
    parser.add_argument("--rows", type=int, default=20_000, help="to learn from and to choose by")
    parser.add_argument("--epochs", type=int, default=20, help="of a trial")
    parser.add_argument("--part", choices=["overhead", "search"], help="measure this part alone")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    if options.part != "search":
        figures["overhead"] = overhead(options)
        print("overhead", figures["overhead"], flush=True)
    if options.part != "overhead":
        for seed in range(options.seeds) if options.seed is None else [options.seed]:
            figures[f"seed {seed}"] = compared(seed, options)
            print(f"seed {seed}", figures[f"seed {seed}"], flush=True)
    store("tune", figures, seed=None, merge=True)


if __name__ == "__main__":
    main()
