"""What the rows of published figures share: data, the likelihood of test data, and where a row is stored."""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from _measuring import data_folder, store

__all__ = ["arguments", "bits", "data_folder", "fit", "images", "negative_log_likelihood", "store_row"]


def images(name: str) -> dict[str, Any]:
    """The arrays of an image set of the data folder."""
    import numpy as np

    with np.load(data_folder() / "images" / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def bits(packed: Any) -> Any:
    """Rows of packed bits as uint8 of 0 and 1."""
    import numpy as np

    return np.unpackbits(packed, axis=1)


def arguments(**defaults: Any) -> argparse.Namespace:
    """The options of a row, each with its default; what they are for stands in the script's own text."""
    parser = argparse.ArgumentParser(
        description=sys.modules["__main__"].__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in defaults.items():
        if isinstance(value, bool):
            parser.add_argument(f"--{name}", action="store_true")
        else:
            parser.add_argument(f"--{name}", type=type(value), default=value, help=f"{value} by default")
    return parser.parse_args()


def fit(estimator: Any, X: Any, **parts: Any) -> tuple[Any, float]:
    """The fitted estimator and the seconds it took, without the warnings that a protocol asks for."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(X, **parts)
    return estimator, round(time.perf_counter() - start, 1)


def negative_log_likelihood(estimator: Any, X: Any, *, n_importance: int, **options: Any) -> dict[str, Any]:
    """-log p(x) by importance sampling, nats an example, with its standard error over the examples."""
    start = time.perf_counter()
    estimate = estimator.log_likelihood(X, n_importance=n_importance, **options)
    values = estimate.log_likelihood
    return {
        "nll": round(-float(values.mean()), 3),
        "standard_error": round(float(values.std()) / len(values) ** 0.5, 3),
        "n_importance": n_importance,
        "n_examples": len(values),
        "median_effective_sample_size": round(float(estimate.effective_sample_size.median()), 1),
        "seconds": round(time.perf_counter() - start, 1),
    }


def store_row(figures: dict[str, Any], *, seed: int = 0, merge: bool = False) -> None:
    """Print the figures of the script that runs, and write them to benchmarks/results/tables/SCRIPT.json."""
    print(figures)
    store(f"tables/{Path(sys.argv[0]).stem}", figures, seed=seed, merge=merge)
