"""How small images become: archives of whole test parts, written, read back and compared, beside classic coders.

    python benchmarks/compression_images.py [--seconds 600] [--seeds 4] [--only mnist]

A `Compressor` learns from the training part for so long on one thread and writes the test part into one archive, with
its model and without. `mnist` and `fashion_mnist` are grey, `cifar10_subset` is RGB; `binarized` are MNIST images whose
pixels are drawn by their brightness (the training part three times over), another draw for each seed; `static` is
Larochelle's file. Classic coders get the same bytes, zpaq among them where the command is installed; coders of images
get all images side by side as one picture. How fast it is stands in compression_speed.py.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _measuring import contest, data_folder, median, store, zpaq_bytes

SETS = ("mnist", "fashion_mnist", "binarized", "static", "cifar10_subset")


def parts(name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training and test images, uint8."""
    folder = data_folder() / "images"
    if name == "static":
        packed = np.load(folder / "binarized_mnist.npz")
        train, test = (
            np.unpackbits(packed[f"{part}_packed"], axis=1).reshape(-1, 28, 28) for part in ("train", "test")
        )
        return train, test
    content = np.load(folder / f"{'mnist' if name == 'binarized' else name}.npz")
    train, test = content["x_train"], content["x_test"]
    if name == "binarized":
        random = np.random.default_rng(seed)
        train = np.concatenate([random.random(train.shape) * 255 < train for _ in range(3)]).view(np.uint8)
        test = (random.random(test.shape) * 255 < test).view(np.uint8)
    return train, test


def child(arguments: list[str]) -> dict[str, Any]:
    """Learn, write, read, compare."""
    import torch

    from latentkit import Compressor

    name, seed, seconds = arguments[0], int(arguments[1]), float(arguments[2])
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    train, test = parts(name, seed)
    compressor = Compressor(max_time=seconds, random_state=seed).fit(train)
    with tempfile.TemporaryDirectory() as folder:
        whole, bare = Path(folder) / "whole.lkz", Path(folder) / "bare.lkz"
        with_model = compressor.compress(test, whole)
        without = compressor.compress(test, bare, embed=False, verify=False)
        if not ((compressor.decompress(bare) == test).all() and (compressor.decompress(whole) == test).all()):
            raise AssertionError("what came back is not what was written")
    bits = 8.0 / test.size
    return {
        "bits": without.summary.file_bytes * bits,
        "bits with the model": with_model.summary.file_bytes * bits,
        "model bytes": float(with_model.summary.model_bytes),
        "held out": compressor.bits_,
        "epochs": float(len(compressor.history_)),
    }


def classic(test: np.ndarray) -> dict[str, float]:
    """Bits a byte of classic coders, on the bytes as they are; of binary images as bits."""
    from latentkit.evaluation import classic_sizes

    is_binary = test.max() == 1
    content = np.packbits(test, axis=-1).tobytes() if is_binary else test.tobytes()
    images = test.reshape(*test.shape[:3], -1)
    sizes = classic_sizes(content, images * 255 if is_binary else images)
    found = {size.name: size.n_bytes for size in sizes}
    if shutil.which("zpaq"):
        found["zpaq -m5"] = zpaq_bytes(content)
    return {coder: round(8.0 * n_bytes / test.size, 4) for coder, n_bytes in found.items()}


def parent(options: argparse.Namespace) -> None:
    figures: dict[str, Any] = {}
    for name in SETS:
        if options.only and options.only != name:
            continue
        runs = [
            contest(__file__, {name: [name, str(seed), str(options.seconds)]}, rounds=1)[name][0]
            for seed in range(options.seeds)
        ]
        row: dict[str, Any] = {key: round(median(runs, key), 4) for key in runs[0]}
        row["bits of each seed"] = [round(run["bits"], 4) for run in runs]
        row["mean bits"] = round(statistics.mean(run["bits"] for run in runs), 4)
        figures[name] = {"ours": row, "classic": classic(parts(name, 0)[1]), "seconds": options.seconds}
        print(name, figures[name], flush=True)
        store("compression_images", figures, merge=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="of each training")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--only", choices=SETS, help="one set only")
    return parser.parse_args()


if __name__ == "__main__":
    if "--child" in sys.argv:
        print(json.dumps(child(sys.argv[sys.argv.index("--child") + 1 :])))
    else:
        parent(arguments())
