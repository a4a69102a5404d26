"""Encoding and importance-sampled likelihood against pythae, 784-500-500-20 network, MNIST images.

    python benchmarks/inference_speed.py [--rounds 3]

Encoding: 10,000 test images through ``VAE.transform`` and pythae's ``embed``. Likelihood: K = 5000 importance samples
an image; seconds per image on a few images (pythae evaluates one at a time, so its cost does not depend on how many).
Both models are trained for one epoch first: speed does not depend on how well they are trained.
"""

from __future__ import annotations

import os
import time
import warnings
from typing import Any, Literal

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

from _measuring import contest, data_folder, main, median, peak_memory_mb, ratio, store

K = 5000


def images() -> tuple[Any, Any]:
    """Training and test images, uint8."""
    import numpy as np

    with np.load(data_folder() / "images" / "mnist.npz") as file:
        return file["x_train"], file["x_test"]


def best(function: Any, *, seconds: float) -> float:
    """Shortest of several calls."""
    times = []
    deadline = time.perf_counter() + seconds
    while not times or time.perf_counter() < deadline:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def run_latentkit() -> dict[str, Any]:
    from latentkit import VAE

    train, test = images()
    train, test = train.reshape(len(train), -1), test.reshape(len(test), -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vae = VAE(20, encoder=(500, 500), decoder=(500, 500), likelihood="bernoulli", max_epochs=4, random_state=0)
        vae.fit(train)

    def score(precision: Literal["auto", "float32"], rows: int = 50) -> Any:
        return vae.log_likelihood(test[:rows], n_importance=K, precision=precision).log_likelihood

    encode = best(lambda: vae.transform(test), seconds=3)
    auto = best(lambda: score("auto"), seconds=4)
    exact = best(lambda: score("float32"), seconds=4)
    return {
        "encode_per_second": len(test) / encode,
        "ms_per_image": 1e3 * auto / 50,
        "ms_per_image_float32": 1e3 * exact / 50,
        "precision": vae.engine_.precision,
        "mean_difference": float((score("auto", 500) - score("float32", 500)).mean()),
        "peak_mb": peak_memory_mb(),
    }


def run_pythae() -> dict[str, Any]:
    import torch
    from _pythae import perceptron
    from _pythae import train as train_by_pythae

    train, test = (torch.from_numpy(part).float().div_(255).reshape(-1, 1, 28, 28) for part in images())
    train = train[:2000]  # how well it fits does not change how fast it is
    model = perceptron((1, 28, 28), (500, 500), 20)
    train_by_pythae(model, train, n_epochs=1, learning_rate=1e-3)
    model.eval()
    encode = best(lambda: model.embed(test), seconds=3)
    with torch.no_grad():
        score = best(lambda: model.get_nll(test[:5], n_samples=K, batch_size=100), seconds=3)
    return {"encode_per_second": len(test) / encode, "ms_per_image": 1e3 * score / 5, "peak_mb": peak_memory_mb()}


def child(arguments: list[str]) -> dict[str, Any]:
    return run_pythae() if arguments[0] == "pythae" else run_latentkit()


def parent(options: Any) -> None:
    results = contest(__file__, {"pythae": ["pythae"], "latentkit": ["latentkit"]}, rounds=options.rounds)
    ours, theirs = results["latentkit"], results["pythae"]
    figures = {
        "n_importance": K,
        "pythae_encode_per_second": round(median(theirs, "encode_per_second")),
        "latentkit_encode_per_second": round(median(ours, "encode_per_second")),
        "encode_ratio": round(ratio(ours, theirs, "encode_per_second"), 2),
        "pythae_ms_per_image": round(median(theirs, "ms_per_image"), 2),
        "latentkit_ms_per_image": round(median(ours, "ms_per_image"), 2),
        "likelihood_ratio": round(ratio(theirs, ours, "ms_per_image"), 2),
        "likelihood_precision": ours[-1]["precision"],
        "latentkit_ms_per_image_float32": round(median(ours, "ms_per_image_float32"), 2),
        "mean_difference_to_float32_nats": round(ours[-1]["mean_difference"], 4),
    }
    print(figures)
    store("inference_speed", figures)


if __name__ == "__main__":
    main(child, parent)
