"""What the penalties of a deterministic autoencoder change, by weight: on rows held out of the training part.

    python benchmarks/penalties.py [--data digits mnist frey] [--seeds 2] [--only gradient]

An autoencoder 256-256 with 16 latents, trained on a part of the training images, with each penalty at several weights.
Against other images of the training part: Frechet distance of samples from the mixture fitted to the codes, and of
midpoints between pairs of codes (how smooth the latent space is), and the log-likelihood of reconstructions. Features
are those of a classifier of the digits trained in this run, or principal components of the faces, so distances compare
rows of one data set only. Test images are not looked at.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from functools import cache
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

from _measuring import data_folder, store

#: Penalty, its weight, and the weight of the squared norm of the code; the rows of the table.
SETTINGS: list[tuple[str, Any, float]] = [
    ("none", "auto", 0.0),
    ("none", "auto", 1.0),
    *[("contractive", weight, 0.0) for weight in (1e-3, 0.1, 1.0, 10.0)],
    *[("gradient", weight, latent) for latent in (0.01, 0.1) for weight in (1e-3, 0.1, 1.0)],
    *[("l2", weight, latent) for latent in (0.01, 0.1) for weight in (1e-5, 0.01, 0.1, 1.0)],
    *[("spectral", "auto", latent) for latent in (0.0, 0.1, 1.0)],
]


def images(name: str) -> tuple[Any, Any, Any]:
    """Training images, their labels or None, and images of the training part that are held out."""
    import numpy as np

    if name == "digits":
        from sklearn.datasets import load_digits

        x, labels = load_digits().images.astype(np.uint8), load_digits().target
        order = np.random.default_rng(0).permutation(len(x))[:1500]  # the rest is a test part
        return x[order[:1100]], labels[order[:1100]], x[order[1100:]]
    folder = data_folder() / "images"
    if name == "frey":
        with np.load(folder / "frey_faces.npz") as file:
            x = file["x"]
            order = np.random.default_rng(0).permutation(len(x))[:1600]
            return x[order[:1200]], None, x[order[1200:]]
    with np.load(folder / "mnist.npz") as file:
        return file["x_train"][:5000], file["y_train"][:5000], file["x_train"][50_000:52_000]


@cache
def judged(name: str) -> tuple[Any, Any, Any]:
    """Training images, held-out images, and the Frechet distance of images from these."""
    import numpy as np
    import torch

    from latentkit.evaluation import ClassifierFeatures, PrincipalComponentFeatures, frechet_distance

    train, labels, held_out = images(name)

    def tensor(x: Any) -> Any:
        return torch.from_numpy(np.ascontiguousarray(x)).float().reshape(len(x), 1, *x.shape[1:]) / float(train.max())

    features: Any = (
        PrincipalComponentFeatures(tensor(train)) if labels is None else ClassifierFeatures(tensor(train), labels)
    )
    reference = features(tensor(held_out))

    def distance(x: Any) -> float:
        return float(frechet_distance(features(tensor(x)), reference))

    return train, held_out, distance


def measure(name: str, setting: tuple[str, Any, float], seeds: int, epochs: int) -> dict[str, Any]:
    """The figures of one setting, each the mean over the seeds."""
    import numpy as np

    from latentkit import Autoencoder

    train, held_out, distance = judged(name)
    penalty, weight, latent_l2 = setting
    rows: dict[str, list[float]] = {}
    for seed in range(seeds):
        start = time.perf_counter()
        model = Autoencoder(
            16,
            encoder=(256, 256),
            decoder=(256, 256),
            penalty=penalty,
            penalty_weight=weight,
            latent_l2=latent_l2,
            max_epochs=epochs,
            validation_fraction=0,
            random_state=seed,
        ).fit(train)
        codes = model.transform(held_out)
        figures = {
            "samples": distance(model.sample(len(held_out), random_state=seed)),
            "midpoints": distance(model.inverse_transform((codes + np.roll(codes, 1, axis=0)) / 2)),
            "reconstructions": distance(model.reconstruct(held_out)),
            "nats": model.score(held_out),
            "code_norm": float(np.linalg.norm(codes, axis=1).mean()),
            "seconds": time.perf_counter() - start,
        }
        for key, value in figures.items():
            rows.setdefault(key, []).append(value)
    spread = max(rows["samples"]) - min(rows["samples"])
    return {**{key: round(statistics.mean(values), 3) for key, values in rows.items()}, "spread": round(spread, 3)}


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=["digits", "mnist", "frey"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=0, help="passes over the data; 0 makes about 1,000 steps")
    parser.add_argument("--only", default="", help="only the penalties whose name contains this")
    options = parser.parse_args()
    for name in options.data:
        figures = {}
        for setting in SETTINGS:
            if options.only in setting[0]:
                epochs = options.epochs or {"mnist": 25}.get(name, 80)
                key = f"{setting[0]} {setting[1]} code {setting[2]:g}"
                figures[key] = measure(name, setting, options.seeds, epochs)
                print(name, key, figures[key], flush=True)
        store(f"penalties_{name}", figures, merge=bool(options.only))


if __name__ == "__main__":
    run()
