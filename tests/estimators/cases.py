"""Small data in every form that an estimator takes, and what each form promises of its results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import torch
from PIL import Image

from latentkit import VAE

N = 48
LATENT_DIM = 3
SMALL: dict[str, Any] = {
    "latent_dim": LATENT_DIM,
    "encoder": (8,),
    "decoder": (8,),
    "max_epochs": 2,
    "batch_size": 16,
    "random_state": 0,
}


def small(**settings: Any) -> VAE:
    return VAE(**{**SMALL, **settings})


def rows(n: int = N, *, seed: int = 0) -> np.ndarray:
    """Five columns of different scales that depend on two hidden numbers."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=(n, 2))
    loadings = np.random.default_rng(99).normal(size=(2, 5))
    noise = random.normal(scale=0.1, size=(n, 5))
    return (hidden @ loadings + noise) * [1.0, 10.0, 0.1, 3.0, 1000.0] + [0.0, 5.0, -1.0, 100.0, 0.0]


def classes(n: int = N) -> np.ndarray:
    return np.array(["cat", "dog"])[(rows(n)[:, 0] > 0).astype(int)]


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    """Bytes whose brightness depends on one hidden number; 0 and 255 occur."""
    random = np.random.default_rng(seed)
    brightness = random.uniform(30, 225, size=(shape[0], *[1] * (len(shape) - 1)))
    image = np.clip(brightness + random.normal(scale=30, size=shape), 0, 255).astype(np.uint8)
    image.flat[0], image.flat[1] = 0, 255
    return image


def texts(n: int = N) -> np.ndarray:
    """Sentences in two scripts, all different."""
    random = np.random.default_rng(0)
    whats, hows = ("cat", "dog", "狗", "soup"), ("big", "small", "old", "good")
    made = [f"the {whats[a]} is {hows[b]}, {number}" for number, (a, b) in enumerate(random.integers(0, 4, (n, 2)))]
    return np.array(made, dtype=object)


def pandas_frame() -> pd.DataFrame:
    X = rows()
    return pd.DataFrame(
        {
            "age": X[:, 0].round().astype(np.int64),
            "height": X[:, 1],
            "small": X[:, 2].astype(np.float32),
            "flag": X[:, 3] > 100,
        }
    )


def polars_frame() -> pl.DataFrame:
    return pl.from_pandas(pandas_frame())


def folder(path: Path) -> Path:
    place = path / "pictures"
    place.mkdir()
    for index, image in enumerate(pixels(N, 8, 8, 3)):
        Image.fromarray(image).save(place / f"{index:03d}.png")
    return place


def npz(path: Path) -> Path:
    np.savez(path / "pictures.npz", x_train=pixels(N, 8, 8), y_train=np.arange(N) % 3)
    return path / "pictures.npz"


def csv(path: Path) -> Path:
    pandas_frame().drop(columns="flag").to_csv(path / "table.csv", index=False)
    return path / "table.csv"


@dataclass(frozen=True)
class Case:
    """Data in one form.

    `make` gives them, in a folder if they are files; `likelihood` is what "auto" shall take for them.
    """

    name: str
    make: Callable[[Path], Any]
    likelihood: str

    @property
    def is_path(self) -> bool:
        return self.name in {"folder", "npz", "csv"}


CASES = [
    Case("float64", lambda _: rows(), "gaussian"),
    Case("float32", lambda _: rows().astype(np.float32), "gaussian"),
    Case("int64", lambda _: rows().round().astype(np.int64), "gaussian"),
    Case("list", lambda _: rows().tolist(), "gaussian"),
    Case("pandas", lambda _: pandas_frame(), "gaussian"),
    Case("polars", lambda _: polars_frame(), "gaussian"),
    Case("torch-rows", lambda _: torch.from_numpy(rows()).float(), "gaussian"),
    Case("grey", lambda _: pixels(N, 8, 8), "discretized_logistic"),
    Case("grey-1", lambda _: pixels(N, 8, 8, 1), "discretized_logistic"),
    Case("colour", lambda _: pixels(N, 8, 8, 3), "discretized_logistic"),
    Case("torch-colour", lambda _: torch.from_numpy(pixels(N, 3, 8, 8)), "discretized_logistic"),
    Case("unit", lambda _: pixels(N, 8, 8) / np.float32(256) + np.float32(1e-3), "gaussian"),
    Case("bool", lambda _: pixels(N, 8, 8) > 128, "bernoulli"),
    Case("binary-rows", lambda _: (rows() > rows().mean(0)).astype(np.float64), "bernoulli"),
    Case("folder", folder, "discretized_logistic"),
    Case("npz", npz, "discretized_logistic"),
    Case("csv", csv, "gaussian"),
]


def array(data: Any) -> np.ndarray:
    """Any form as an array."""
    return np.asarray(data.to_pandas() if isinstance(data, pl.DataFrame) or hasattr(data, "to_pandas") else data)


def first(data: Any, n: int) -> Any:
    """The first n examples, in the same form."""
    return data.iloc[:n] if isinstance(data, pd.DataFrame) else data[:n]
