"""Binarised MNIST through a variational autoencoder by bits back: real files of the test part, their size and speed.

    python benchmarks/compression_bits_back.py [--minutes 10] [--widths 400] [--latents 40]

Trains a perceptron VAE on dynamically binarised training images (each grey pixel is a coin, tossed anew in each epoch),
turns it into a coder of whole numbers, and writes the 10,000 test images, tossed with four seeds, as one block each,
which is read back and compared. The gap is to the model's own -ELBO in floating-point numbers under its own prior, of
the same images; what whole numbers cost is measured apart, by the tables alone. Times are of one thread, the best of
the four files: of the clock, which counts what else the machine does, and of the processor.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
from itertools import pairwise
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from _measuring import data_folder, store

SEEDS = 4
DRAWS = 8


def tossed(images: Any, seed: int) -> Any:
    """Zeros and ones, uint8, with the probabilities that grey pixels are."""
    import numpy as np

    random = np.random.default_rng(seed)
    return (random.integers(0, 255, images.shape) < images).astype(np.uint8)


def bound_bits(model: Any, rows: Any, seed: int) -> float:
    """The model's -ELBO of rows in bits a pixel, the mean of several draws."""
    import torch

    from latentkit.distributions import kl_divergence

    x = torch.from_numpy(rows).float()
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        posterior = model.encode(x)
        nats = kl_divergence(posterior, model.prior()).double().mean()
        for _ in range(DRAWS):
            nats -= model.decode(posterior.sample(generator=source)).log_prob(x).double().mean() / DRAWS
    return float(nats) / math.log(2) / rows.shape[1]


def measure(coder: Any, model: Any, images: Any, seed: int) -> dict[str, float]:
    import numpy as np

    rows = tossed(images, 1000 + seed)
    block, n = rows.tobytes(), len(rows)
    clocks = [(time.perf_counter(), time.process_time())]
    content = coder.encode(block, n)
    clocks.append((time.perf_counter(), time.process_time()))
    same = coder.decode(content, n, len(block)) == block
    clocks.append((time.perf_counter(), time.process_time()))
    if not same:
        raise SystemExit("the rows did not come back")
    (encode, encode_cpu), (decode, decode_cpu) = (
        (b - a for a, b in zip(*pair, strict=True)) for pair in pairwise(clocks)
    )
    megapixels = rows.size / 1e6
    integers = [coder.chain.bits(rows, np.random.default_rng([seed, draw])) for draw in range(DRAWS)]
    figures = {
        "bits_per_pixel": 8 * len(content) / rows.size,
        "bound": bound_bits(model, rows, seed),
        "integers": statistics.mean(integers) / rows.size,
        "encode": megapixels / encode,
        "decode": megapixels / decode,
        "encode_cpu": megapixels / encode_cpu,
        "decode_cpu": megapixels / decode_cpu,
    }
    print({key: round(value, 5) for key, value in figures.items()}, flush=True)
    return figures


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="time budget of training")
    parser.add_argument("--widths", type=int, nargs="+", default=[400], help="hidden layers, each way")
    parser.add_argument("--latents", type=int, default=40, help="latent variables")
    parser.add_argument("--dry", action="store_true", help="print only, and leave the file of results as it is")
    options = parser.parse_args()
    import numpy as np

    from latentkit import VAE
    from latentkit.data import learn_schema
    from latentkit.tasks.compression import bits_back_coder

    with np.load(data_folder() / "images" / "mnist.npz") as file:
        train, test = (file[name].reshape(-1, 784) for name in ("x_train", "x_test"))
    recipe: dict[str, Any] = {
        "latent_dim": options.latents,
        "encoder": tuple(options.widths),
        "decoder": tuple(options.widths),
        "likelihood": "bernoulli",
        "augmentation": "binarize",
        "batch_size": 256,
        "learning_rate": 2e-3,
        "weight_averaging": 0.999,
        "validation_fraction": 0.0,
        "ex_post": "none",
        "random_state": 0,
    }
    start = time.perf_counter()
    vae = VAE(max_time=60 * options.minutes, **recipe).fit(train)
    seconds = time.perf_counter() - start
    model, rows = vae.model_, tossed(train[::7], 0)
    schema = learn_schema(rows)
    coder = bits_back_coder(model, schema, schema.encode(rows))
    figures = [measure(coder, model, test, seed) for seed in range(SEEDS)]
    mean = {key: statistics.mean(each[key] for each in figures) for key in figures[0]}
    gaps = [each["bits_per_pixel"] / each["bound"] - 1 for each in figures]
    state = coder.state().to_bytes()
    result = {
        "bits_per_pixel": round(mean["bits_per_pixel"], 5),
        "bits_per_pixel_each": [round(each["bits_per_pixel"], 5) for each in figures],
        "bound_bits_per_pixel": round(mean["bound"], 5),
        "gap_percent": round(100 * statistics.mean(gaps), 3),
        "gap_percent_each": [round(100 * gap, 3) for gap in gaps],
        "whole_numbers_percent": round(100 * (mean["integers"] / mean["bound"] - 1), 3),
        "megapixels_per_second": {way: round(max(each[way] for each in figures), 1) for way in ("encode", "decode")},
        "megapixels_per_cpu_second": {
            way: round(max(each[f"{way}_cpu"] for each in figures), 1) for way in ("encode", "decode")
        },
        "model_bytes": len(state),
        "model_bytes_packed": packed(state),
        "training_seconds": round(seconds, 1),
        "epochs": vae.n_iter_,
        "images": len(test),
        "recipe": {key: list(value) if isinstance(value, tuple) else value for key, value in recipe.items()},
    }
    print(result)
    if not options.dry:
        store("compression_bits_back", result)


def packed(state: bytes) -> int:
    """Bytes of a model's state as zstd packs them."""
    import pyarrow as pa

    return len(pa.Codec("zstd", compression_level=19).compress(state, asbytes=True))


if __name__ == "__main__":
    run()
