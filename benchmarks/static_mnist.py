"""Statically binarised MNIST: test NLL of a one-latent-layer perceptron VAE after ten minutes of training.

    python benchmarks/static_mnist.py [--minutes 10] [--valid]

Larochelle's split: 50,000 images to train, 10,000 to choose by (--valid scores those instead; the recipe was chosen on
them), 10,000 to test. NLL: importance sampling with K = 5000 on all 10,000 test images, under the prior N(0, I)
that was trained, and under the mixture fitted after training, which is what ``sample`` draws from.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

from _measuring import data_folder, peak_memory_mb, store

K = 5000
RECIPE: dict[str, Any] = {
    "latent_dim": 50,
    "encoder": (500, 500),
    "decoder": (500, 500),
    "batch_size": 256,
    "optimizer": "adamw",
    "learning_rate": 2e-3,
    "weight_decay": 0.3,
    "weight_averaging": 0.999,
    "validation_fraction": 0.0,
    "random_state": 0,
}


def load() -> tuple[Any, Any, Any]:
    """Training, validation and test images, uint8 of 0 and 1, shape (n, 784)."""
    import numpy as np

    with np.load(data_folder() / "images" / "binarized_mnist.npz") as file:
        train, valid, test = (np.unpackbits(file[f"{part}_packed"], axis=1) for part in ("train", "valid", "test"))
    return train, valid, test


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="time budget of training")
    parser.add_argument("--valid", action="store_true", help="score 2,000 validation images with K = 500 instead")
    options = parser.parse_args()
    from latentkit import VAE

    train, valid, test = load()
    start = time.perf_counter()
    vae = VAE(max_time=60 * options.minutes, verbose=1, **RECIPE).fit(train)
    seconds = time.perf_counter() - start
    if options.valid:
        print(f"valid NLL (K = 500): {-vae.score(valid[::5], n_importance=500):.3f} after {vae.n_iter_} epochs")
        return
    start = time.perf_counter()
    estimate = vae.log_likelihood(test, n_importance=K)
    mixed = vae.log_likelihood(test, n_importance=K, prior="mixture")
    figures = {
        "test_nll": round(-float(estimate.log_likelihood.mean()), 3),
        "test_nll_mixture": round(-float(mixed.log_likelihood.mean()), 3),
        "standard_error": round(float(estimate.log_likelihood.std()) / len(test) ** 0.5, 3),
        "median_effective_sample_size": round(float(estimate.effective_sample_size.median()), 1),
        "n_importance": K,
        "training_seconds": round(seconds, 1),
        "epochs": vae.n_iter_,
        "scoring_seconds": round(time.perf_counter() - start, 1),
        "train_nll_first_1000": round(-vae.score(train[:1000], n_importance=500), 3),
        "peak_mb": round(peak_memory_mb()),
        "engine": vae.engine_.summary(),
        "recipe": {key: list(value) if isinstance(value, tuple) else value for key, value in RECIPE.items()},
    }
    print(figures)
    store("static_mnist", figures)


if __name__ == "__main__":
    run()
