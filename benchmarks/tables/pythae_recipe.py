"""Statically binarised MNIST, network and 500 epochs of pythae's own script: test NLL with 200 samples, and time.

    python benchmarks/tables/pythae_recipe.py [--rounds 3]

784-400-40 and back with relu, 500 epochs, one draw, as in pythae's examples/scripts/reproducibility/vae.py, which takes
batches of 100 and decays Adam's learning rate from 1e-4 in steps. Here batches are of 250, the rate falls along half a
cosine, and the weights are averaged. The time of an epoch is taken side by side with pythae's own trainer and batches
(needs ``pip install pythae``), three epochs each in turn, the first left out. The likelihood of the 10,000 validation
images, which are not learnt from, stands beside that of the test images: settings are chosen by it.

Published by pythae: 89.78 (0.01); by the paper it follows: 89.9.
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
from typing import Any

from _row import arguments, bits, fit, images, negative_log_likelihood, store_row

EPOCHS = 500
RECIPE: dict[str, Any] = {
    "latent_dim": 40,
    "encoder": (400,),
    "decoder": (400,),
    "batch_size": 250,
    "optimizer": "adamw",
    "learning_rate": 1.5e-3,
    "weight_decay": 0.02,
    "weight_averaging": 0.999,
    "validation_fraction": 0.0,
    "kl_schedule": "constant",
}


def load(part: str) -> Any:
    """Training, validation or test images, uint8 of 0 and 1, shape (n, 784)."""
    return bits(images("binarized_mnist")[f"{part}_packed"])


def seconds_of_latentkit(n_epochs: int) -> float:
    """Median seconds of an epoch."""
    from latentkit import VAE

    vae, _ = fit(VAE(max_epochs=n_epochs, random_state=0, ex_post="none", **RECIPE), load("train"))
    ends = [record["seconds"] for record in vae.history_]
    return statistics.median(b - a for a, b in itertools.pairwise(ends))


def seconds_of_pythae(n_epochs: int) -> float:
    """Median seconds of an epoch of pythae's trainer, without its validation."""
    import torch
    from _pythae import perceptron, train

    x = torch.from_numpy(load("train").reshape(-1, 1, 28, 28)).float()
    model = perceptron((1, 28, 28), (400,), 40)
    return statistics.median(
        train(model, x, n_epochs=n_epochs + 1, learning_rate=1e-4, per_device_train_batch_size=100)
    )


def epoch_in_a_process(contestant: str) -> float:
    """Seconds of an epoch of one contestant, measured in a process of its own."""
    command = [sys.executable, __file__, "--contestant", contestant]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(run.stderr[-3000:])
    return float(json.loads(run.stdout.strip().splitlines()[-1]))


def run() -> None:
    options = arguments(rounds=3, seed=0, contestant="")
    if options.contestant:
        seconds = seconds_of_pythae(4) if options.contestant == "pythae" else seconds_of_latentkit(7)
        print(json.dumps(seconds))
        return
    from latentkit import VAE

    vae, seconds = fit(VAE(max_epochs=EPOCHS, random_state=options.seed, verbose=1, **RECIPE), load("train"))
    rounds = [{name: epoch_in_a_process(name) for name in ("pythae", "latentkit")} for _ in range(options.rounds)]
    figures = {
        "valid": negative_log_likelihood(vae, load("valid"), n_importance=200),
        "test": negative_log_likelihood(vae, load("test"), n_importance=200),
        "test_under_mixture": negative_log_likelihood(vae, load("test"), n_importance=200, prior="mixture"),
        "epochs": vae.n_iter_,
        "training_seconds": seconds,
        "seconds_an_epoch": {
            name: round(statistics.median(one[name] for one in rounds), 3) for name in ("pythae", "latentkit")
        },
        "share_of_pythae_time": round(statistics.median(one["latentkit"] / one["pythae"] for one in rounds), 3),
        "engine": vae.engine_.summary(),
        "recipe": RECIPE,
    }
    store_row(figures, seed=options.seed)


if __name__ == "__main__":
    run()
