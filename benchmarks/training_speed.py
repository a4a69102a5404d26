"""Training speed and memory through ``VAE.fit`` against pythae, the same network and batch, side by side.

    python benchmarks/training_speed.py [--rounds 3] [--only mlp]

Needs ``pip install pythae``. Cases: the articles' 784-500-500-20 network on MNIST at batch 128 and 1024, a 32-64-64-8
network on a table, and pythae's own MNIST convolutions, given to latentkit as modules of the user's own. Validation,
early stopping and the ex-post mixture are off, and the engine chooses as it does by default. The first epoch is left
out on both sides, and with it the compilation of "latentkit compiled": ``VAE(compile=True)``, which needs a C++
compiler and is left out where there is none. ``matrix_limit`` is the rate that bfloat16 and float32 matrix products
alone would allow.
"""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
import time
import warnings
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

from _measuring import contest, data_folder, main, median, peak_memory_mb, ratio, store

CASES: dict[str, dict[str, Any]] = {
    "mlp128": {"hidden": 500, "latent": 20, "batch": 128, "rows": 60_000, "epochs": 3},
    "mlp1024": {"hidden": 500, "latent": 20, "batch": 1024, "rows": 60_000, "epochs": 4},
    "table256": {"hidden": 64, "latent": 8, "batch": 256, "rows": 60_000, "epochs": 8},
    "conv128": {"hidden": 0, "latent": 16, "batch": 128, "rows": 1_280, "epochs": 3},
}


def load(case: str) -> Any:
    """Data of a case: uint8 images, or a table of reals."""
    import numpy as np

    spec = CASES[case]
    if case.startswith("table"):
        return np.random.default_rng(0).standard_normal((spec["rows"], 32)).astype(np.float32)
    images = np.load(data_folder() / "images" / "mnist.npz")["x_train"][: spec["rows"]]
    return images if case.startswith("conv") else images.reshape(len(images), -1)


def convolutions(latent: int) -> tuple[Any, Any]:
    """Build pythae's Encoder_Conv_VAE_MNIST and Decoder_Conv_AE_MNIST, without the heads that latentkit adds."""
    from torch import nn

    def down(a: int, b: int) -> list[nn.Module]:
        return [nn.Conv2d(a, b, 4, 2, padding=1), nn.BatchNorm2d(b), nn.ReLU()]

    encoder = nn.Sequential(*down(1, 128), *down(128, 256), *down(256, 512), *down(512, 1024), nn.Flatten())
    decoder = nn.Sequential(
        nn.Linear(latent, 1024 * 4 * 4),
        nn.Unflatten(1, (1024, 4, 4)),
        nn.ConvTranspose2d(1024, 512, 3, 2, padding=1),
        nn.BatchNorm2d(512),
        nn.ReLU(),
        nn.ConvTranspose2d(512, 256, 3, 2, padding=1, output_padding=1),
        nn.BatchNorm2d(256),
        nn.ReLU(),
        nn.ConvTranspose2d(256, 1, 3, 2, padding=1, output_padding=1),
    )
    return encoder, decoder


def run_latentkit(case: str, precision: str, compiled: bool) -> dict[str, Any]:
    from latentkit import VAE

    spec = CASES[case]
    encoder: Any = (spec["hidden"],) * 2
    decoder: Any = encoder
    if case.startswith("conv"):
        encoder, decoder = convolutions(spec["latent"])
    vae = VAE(
        spec["latent"],
        encoder=encoder,
        decoder=decoder,
        likelihood="gaussian" if case.startswith("table") else "bernoulli",
        likelihood_options={"variance": "fixed"} if case.startswith("table") else None,
        ex_post="none",
        kl_schedule="constant",
        batch_size=spec["batch"],
        # Twice as many epochs as pythae: they are over sooner, and the first is left out.
        max_epochs=2 * spec["epochs"],
        validation_fraction=0.0,
        precision=precision,
        compile=compiled,
        random_state=0,
    )
    data = load(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vae.fit(data)
    seconds = [record["seconds"] for record in vae.history_]
    epochs = [b - a for a, b in itertools.pairwise(seconds)]
    return {
        "samples_per_second": len(data) / statistics.median(epochs),
        "peak_mb": peak_memory_mb(),
        "engine": vae.engine_.summary(),
        "objective": vae.history_[spec["epochs"] - 1]["objective"],
    }


def run_pythae(case: str) -> dict[str, Any]:
    import torch
    from _pythae import perceptron, train
    from pythae.models import VAE, VAEConfig

    spec = CASES[case]
    data = load(case)
    is_table = case.startswith("table")
    shape = (32,) if is_table else (1, 28, 28)
    x = torch.from_numpy(data if is_table else data.reshape(-1, 1, 28, 28)).float()
    if not is_table:
        x = x.div_(255)
    if case.startswith("conv"):
        from pythae.models.nn.benchmarks.mnist import Decoder_Conv_AE_MNIST, Encoder_Conv_VAE_MNIST

        config = VAEConfig(input_dim=shape, latent_dim=spec["latent"], reconstruction_loss="bce")
        model = VAE(config, encoder=Encoder_Conv_VAE_MNIST(config), decoder=Decoder_Conv_AE_MNIST(config))
    else:
        model = perceptron(shape, (spec["hidden"],) * 2, spec["latent"], is_binary=not is_table)
    epochs = train(model, x, n_epochs=spec["epochs"] + 1, learning_rate=1e-3, per_device_train_batch_size=spec["batch"])
    return {"samples_per_second": len(x) / statistics.median(epochs), "peak_mb": peak_memory_mb()}


def matrix_limit(case: str) -> dict[str, Any]:
    """Rate at which the matrix products of a step alone would run: forward, and both products of the backward pass."""
    import torch

    spec = CASES[case]
    features = 32 if case.startswith("table") else 784
    sizes = [features, spec["hidden"], spec["hidden"], 2 * spec["latent"]]
    back = [spec["latent"], spec["hidden"], spec["hidden"], features]
    layers = [*itertools.pairwise(sizes), *itertools.pairwise(back)]
    limits = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        tensors = []
        for a, b in layers:
            shapes = ((spec["batch"], a), (b, a), (spec["batch"], b))
            tensors.append([torch.randn(*shape).to(dtype) for shape in shapes])
        best = float("inf")
        deadline = time.perf_counter() + 3
        while time.perf_counter() < deadline:
            start = time.perf_counter()
            for x, weight, gradient in tensors:
                x @ weight.T, gradient @ weight, gradient.T @ x
            best = min(best, time.perf_counter() - start)
        limits[name] = spec["batch"] / best
    return limits


def child(arguments: list[str]) -> dict[str, Any]:
    who, case = arguments[0], arguments[1]
    if who == "pythae":
        return run_pythae(case)
    return matrix_limit(case) if who == "limit" else run_latentkit(case, arguments[2], "compiled" in arguments)


def parent(options: Any) -> None:
    figures: dict[str, Any] = {}
    for case in (name for name in CASES if options.only in name):
        contestants = {
            "pythae": ["pythae", case],
            "latentkit": ["latentkit", case, "auto"],
            "latentkit float32": ["latentkit", case, "float32"],
        }
        if not case.startswith("conv") and shutil.which("g++"):
            contestants["latentkit compiled"] = ["latentkit", case, "auto", "compiled"]
        if not case.startswith("conv"):
            contestants["matrix products"] = ["limit", case]
        results = contest(__file__, contestants, rounds=options.rounds)
        ours, exact, theirs = results["latentkit"], results["latentkit float32"], results["pythae"]
        figures[case] = {
            "pythae_samples_per_second": round(median(theirs, "samples_per_second")),
            "latentkit_samples_per_second": round(median(ours, "samples_per_second")),
            "latentkit_float32_samples_per_second": round(median(exact, "samples_per_second")),
            "ratio": round(ratio(ours, theirs, "samples_per_second"), 2),
            "ratio_float32": round(ratio(exact, theirs, "samples_per_second"), 2),
            "pythae_peak_mb": round(median(theirs, "peak_mb")),
            "latentkit_peak_mb": round(median(ours, "peak_mb")),
            "engine": ours[-1]["engine"],
            "objective_bfloat16_or_auto": round(ours[-1]["objective"], 2),
            "objective_float32": round(exact[-1]["objective"], 2),
        }
        if "latentkit compiled" in results:
            compiled = results["latentkit compiled"]
            figures[case]["latentkit_compiled_samples_per_second"] = round(median(compiled, "samples_per_second"))
            figures[case]["ratio_compiled"] = round(ratio(compiled, theirs, "samples_per_second"), 2)
        if "matrix products" in results:
            limit = results["matrix products"]
            figures[case]["limit_bfloat16"] = round(median(limit, "bfloat16"))
            figures[case]["limit_float32"] = round(median(limit, "float32"))
        print(case, figures[case], flush=True)
        store("training_speed", figures, merge=True)


if __name__ == "__main__":
    main(child, parent)
