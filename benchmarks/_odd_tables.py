"""Tables of odd rows, how they are split, and the detectors that are compared on them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from _measuring import data_folder
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Split = tuple[Floats, Floats, NDArray[np.int64]]

PROTOCOLS = ("clean", "contaminated")


def names() -> list[str]:
    """Names of the tables, in the order of their numbers."""
    files = (data_folder() / "anomaly").glob("*.npz")
    return [path.stem for path in sorted(files, key=lambda path: int(path.stem.split("_")[0]))]


def split(name: str, protocol: str, seed: int) -> Split:
    """Rows to fit to, rows to score, and which of these are odd.

    ``"clean"``: half of the normal rows against the other half and all odd rows. ``"contaminated"``: 70 % of all rows,
    with as many odd ones as there are, against the rest. No row is left out, and none comes twice.
    """
    content = np.load(data_folder() / "anomaly" / f"{name}.npz", allow_pickle=False)
    x, y = np.asarray(content["X"], np.float64), np.asarray(content["y"]).astype(np.int64).ravel()
    random = np.random.default_rng(seed)
    if protocol == "clean":
        normal = random.permutation(np.flatnonzero(y == 0))
        half = len(normal) // 2
        train, test = normal[:half], np.concatenate([normal[half:], np.flatnonzero(y == 1)])
    else:
        parts = [random.permutation(np.flatnonzero(y == kind)) for kind in (0, 1)]
        cuts = [round(0.7 * len(part)) for part in parts]
        train = np.concatenate([part[:cut] for part, cut in zip(parts, cuts, strict=True)])
        test = np.concatenate([part[cut:] for part, cut in zip(parts, cuts, strict=True)])
    return x[train], x[test], y[test]


def peers(seed: int, n_features: int) -> dict[str, Callable[[], Any]]:
    """The detectors of PyOD at their defaults; those that draw random numbers are given the seed.

    VAE and AutoEncoder take a seed of torch's alone, which is set before each.
    """
    from pyod.models.auto_encoder import AutoEncoder
    from pyod.models.ecod import ECOD
    from pyod.models.hbos import HBOS
    from pyod.models.iforest import IForest
    from pyod.models.knn import KNN
    from pyod.models.lof import LOF
    from pyod.models.pca import PCA
    from pyod.models.vae import VAE

    return {
        "KNN": KNN,
        "LOF": LOF,
        "IForest": lambda: IForest(random_state=seed),
        "ECOD": ECOD,
        "HBOS": HBOS,
        "PCA": lambda: PCA(random_state=seed),
        "VAE": lambda: VAE(random_state=seed, verbose=0),
        "AutoEncoder": lambda: AutoEncoder(random_state=seed, verbose=0),
    }


def peer_scores(make: Callable[[], Any], train: Floats, test: Floats) -> Floats:
    """Scores of the rows to score, higher is odder, of standardised columns; what is not finite counts as normal."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        detector = make()
        detector.fit(scaler.transform(train))
        scores = np.asarray(detector.decision_function(scaler.transform(test)), np.float64)
    return np.nan_to_num(scores, nan=0.0, posinf=np.finfo(np.float64).max, neginf=np.finfo(np.float64).min)


def ranks(figures: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Mean rank of each detector over tables, 1 for the best; equal figures share a rank."""
    from scipy.stats import rankdata

    detectors = list(next(iter(figures.values())))
    table = np.array([[row[name] for name in detectors] for row in figures.values()])
    mean = np.mean([rankdata(-row) for row in table], axis=0)
    return {name: round(float(rank), 2) for name, rank in zip(detectors, mean, strict=True)}


def each(chosen: str, seeds: int) -> Iterator[tuple[str, str, int]]:
    """All tables whose name contains a text, in both protocols, by seed."""
    for name in names():
        if chosen in name:
            for protocol in PROTOCOLS:
                for seed in range(seeds):
                    yield name, protocol, seed
