"""The data sets that ship inside scikit-learn: no download."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from latentkit.core.registry import Registry
from latentkit.data.dataset import Dataset

__all__ = ["builtin_sets"]

#: Readers of the built-in data sets, by name.
builtin_sets: Registry[Callable[[], Dataset]] = Registry("built-in data set")


@builtin_sets.register("digits")
def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    return _dataset("digits", bunch.images, bunch, ("1797 handwritten digits, 8 x 8 pixels of 17 grey levels",))


def _table(name: str, *, has_classes: bool) -> Callable[[], Dataset]:
    def load() -> Dataset:
        from sklearn import datasets

        as_frame = importlib.util.find_spec("pandas") is not None
        bunch: Any = getattr(datasets, f"load_{name}")(as_frame=as_frame)
        if has_classes:
            return _dataset(name, bunch.data, bunch, ())
        return Dataset(
            bunch.data, _source(name), "rows", notes=("its targets are measurements, not classes: left out",)
        )

    return load


for _name, _has_classes in (
    ("breast_cancer", True),
    ("wine", True),
    ("iris", True),
    ("diabetes", False),
    ("linnerud", False),
):
    builtin_sets.register(_name)(_table(_name, has_classes=_has_classes))


def _source(name: str) -> str:
    return f"{name} (scikit-learn)"


def _dataset(name: str, data: Any, bunch: Any, notes: tuple[str, ...]) -> Dataset:
    labels = np.asarray(bunch.target, np.int64)
    return Dataset(
        data,
        _source(name),
        "images" if data.ndim > 2 else "rows",
        labels,
        tuple(str(name) for name in bunch.target_names),
        notes,
    )
