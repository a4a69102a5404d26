"""What the mixture fitted after training is worth: Frechet distance of samples from it and from N(0, I).

    python benchmarks/ex_post.py [--epochs 15]

MNIST in grey levels, the perceptron 784-500-500-16 with a Bernoulli likelihood. Features: the last hidden layer (64) of
a classifier of digits trained in this run, so the figure is no FID and compares rows of this table only. The floor is
the distance between training and test images. 10,000 samples each.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

from _measuring import data_folder, store


def classifier_features(images: Any, labels: Any) -> Any:
    """Train a small classifier and return the map from uint8 images to its 64 features."""
    import torch
    from torch import nn

    torch.manual_seed(0)  # noqa: TID251 (a script of its own)
    body = nn.Sequential(
        nn.Conv2d(1, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 64)
    )
    head = nn.Sequential(nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], 1e-3)
    x, y = torch.from_numpy(images)[:, None], torch.from_numpy(labels).long()
    for _ in range(2):
        for rows in torch.randperm(len(x)).split(128):
            loss = nn.functional.cross_entropy(head(body(x[rows].float() / 255)), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def features(images: Any) -> Any:
        with torch.no_grad():
            parts = torch.from_numpy(images.reshape(-1, 1, 28, 28)).split(1000)
            return torch.cat([body(part.float() / 255) for part in parts])

    return features


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15)
    options = parser.parse_args()
    import numpy as np

    from latentkit import VAE
    from latentkit.evaluation import frechet_distance

    with np.load(data_folder() / "images" / "mnist.npz") as file:
        train, labels, test = file["x_train"], file["y_train"], file["x_test"]
    features = classifier_features(train, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vae = VAE(
            16,
            encoder=(500, 500),
            decoder=(500, 500),
            likelihood="bernoulli",
            batch_size=128,
            max_epochs=options.epochs,
            random_state=0,
            verbose=1,
        ).fit(train)
    reference = features(test)

    def distance(images: Any) -> float:
        return round(float(frechet_distance(features(images), reference)), 2)

    start = time.perf_counter()
    figures = {
        "epochs": vae.n_iter_,
        "floor_train_against_test": distance(train[:10_000]),
        "test_reconstructions": distance(vae.reconstruct(test)),
        "samples_from_standard_normal": distance(vae.sample(10_000, prior="model")),
        "samples_from_mixture": distance(vae.sample(10_000, prior="mixture")),
    }
    print(figures, f"{time.perf_counter() - start:.1f} s")
    store("ex_post", figures)


if __name__ == "__main__":
    run()
