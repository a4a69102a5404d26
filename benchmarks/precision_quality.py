"""What bfloat16 costs in quality: test ELBO against float32 after equal epochs, three seeds.

    python benchmarks/precision_quality.py [--epochs 20]

Network 784-500-500-20 on statically binarised MNIST, batch 128; the ELBO is evaluated in float32 in both cases.
"""

from __future__ import annotations

import argparse
import os
import statistics
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

from _measuring import store
from static_mnist import load

SEEDS = (0, 1, 2)


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    from latentkit import VAE

    train, _, test = load()
    elbos: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for seed in SEEDS:
        for precision, found in elbos.items():
            vae = VAE(
                20,
                encoder=(500, 500),
                decoder=(500, 500),
                batch_size=128,
                max_epochs=options.epochs,
                validation_fraction=0.0,
                ex_post="none",
                precision=precision,
                random_state=seed,
            ).fit(train)
            found.append(float(vae.log_likelihood(test, n_importance=1, precision="float32").log_likelihood.mean()))
            print(f"seed {seed}  {precision:<9} test ELBO {found[-1]:.3f}", flush=True)
    differences = [a - b for a, b in zip(elbos["bfloat16"], elbos["float32"], strict=True)]
    figures: dict[str, Any] = {
        "epochs": options.epochs,
        "seeds": list(SEEDS),
        "float32_test_elbo": [round(value, 3) for value in elbos["float32"]],
        "bfloat16_test_elbo": [round(value, 3) for value in elbos["bfloat16"]],
        "mean_difference": round(statistics.mean(differences), 3),
    }
    print(figures)
    store("precision_quality", figures, seed=None)


if __name__ == "__main__":
    run()
