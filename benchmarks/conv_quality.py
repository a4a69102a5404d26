"""The default convolutional VAE against pythae's MNIST convolutions: test ELBO over time.

    python benchmarks/conv_quality.py [--minutes 6]

Both are trained through ``VAE.fit`` with the same likelihood, latent size, optimiser and schedule on 28 x 28 MNIST in
grey, Bernoulli targets as pythae uses them (comparable with each other only). pythae's networks, given as modules of
the user's own, get the whole budget; the default network gets a third of it.
"""

from __future__ import annotations

import argparse
import os
import warnings
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

from _measuring import data_folder, store
from training_speed import convolutions


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=6.0, help="budget of pythae's networks")
    options = parser.parse_args()
    import numpy as np

    from latentkit import VAE

    with np.load(data_folder() / "images" / "mnist.npz") as file:
        train, test = file["x_train"][:50_000], file["x_test"]
    encoder, decoder = convolutions(16)
    networks: dict[str, tuple[dict[str, Any], float]] = {
        "default": ({}, options.minutes / 3),
        "pythae_networks": ({"encoder": encoder, "decoder": decoder}, options.minutes),
    }
    figures: dict[str, Any] = {"minutes": options.minutes}
    for name, (network, minutes) in networks.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            vae = VAE(
                16,
                likelihood="bernoulli",
                batch_size=128,
                max_time=60 * minutes,
                validation_fraction=0.0,
                ex_post="none",
                random_state=0,
                verbose=1,
                **network,
            ).fit(train)
        elbo = vae.log_likelihood(test, n_importance=1, precision="float32").log_likelihood.mean()
        figures[name] = {
            "test_elbo": round(float(elbo), 2),
            "training_minutes": round(vae.history_[-1]["seconds"] / 60, 2),
            "epochs": vae.history_[-1]["step"] * 128 / len(train),
            "parameters": sum(p.numel() for p in vae.model_.parameters()),
            "engine": vae.engine_.summary(),
        }
        print(name, figures[name], flush=True)
    store("conv_quality", figures)


if __name__ == "__main__":
    run()
