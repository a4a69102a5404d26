"""The same seed gives the same model and samples, and nobody else's random state moves."""

# ruff: noqa: NPY002 (the old global state of numpy is what must not move)

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentkit import VAE
from tests.estimators.cases import N, classes, pixels, rows, small

TASKS: dict[str, Callable[[VAE, Any], Any]] = {
    "transform": lambda vae, X: vae.transform(X),
    "inverse_transform": lambda vae, X: vae.inverse_transform(vae.transform(X)),
    "reconstruct": lambda vae, X: vae.reconstruct(X),
    "score": lambda vae, X: vae.score_samples(X, n_importance=3),
    "sample": lambda vae, X: vae.sample(5),
    "sample draws": lambda vae, X: vae.sample(5, draw="sample", prior="model", random_state=3),
    "sample by class": lambda vae, X: vae.sample(5, label="dog"),
    "interpolate": lambda vae, X: vae.interpolate(X[0], X[1]),
    "traverse": lambda vae, X: vae.traverse(X[0], dim=1),
    "edit": lambda vae, X: vae.edit(X, vae.attribute_direction(X, classes())),
    "recover": lambda vae, X: vae.recover(X, np.arange(X[0].size).reshape(X[0].shape) % 2 == 0, n_draws=2, n_steps=2),
}


@contextmanager
def untouched() -> Iterator[None]:
    """Fail if a global random state is another one after the block."""
    before = (random.getstate(), np.random.get_state(), torch.random.get_rng_state())
    yield
    assert random.getstate() == before[0]
    after = np.random.get_state()
    assert all(np.array_equal(a, b) for a, b in zip(after, before[1], strict=True))
    assert torch.equal(torch.random.get_rng_state(), before[2])


@pytest.mark.parametrize("random_state", [0, None])
def test_the_users_random_states_are_left_alone(random_state: int | None) -> None:
    with untouched():
        vae = small(random_state=random_state, dropout=0.2).fit(rows(), classes())
    for task in TASKS.values():
        with untouched():
            task(vae, rows())


@pytest.mark.slow
def test_pythons_generator_is_left_alone_by_what_a_first_fit_imports() -> None:
    """In a process of its own: libraries that draw numbers when they are imported do so once."""
    script = (
        "import random; from tests.estimators.cases import classes, rows, small; state = random.getstate(); "
        "vae = small(verbose=1).fit(rows()); vae.attribute_direction(rows(), classes()); vae.sample(2); "
        "print(random.getstate() == state)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize(
    "make", [rows, pytest.param(lambda: pixels(N, 8, 8), marks=pytest.mark.slow)], ids=["rows", "images"]
)
def test_the_same_seed_gives_the_same_of_everything_whatever_the_global_state(make: Callable[[], Any]) -> None:
    X = make()
    first = small(dropout=0.2).fit(X, classes())
    results = {name: task(first, X) for name, task in TASKS.items()}
    np.random.seed(123)
    torch.manual_seed(123)
    second = small(dropout=0.2).fit(X, classes())
    for name, weight in first.model_.state_dict().items():
        assert torch.equal(weight, second.model_.state_dict()[name]), name
    for name, task in TASKS.items():
        np.testing.assert_array_equal(task(second, X), results[name], err_msg=name)
        np.testing.assert_array_equal(task(first, X), results[name], err_msg=name)


def test_another_seed_gives_another_model_and_other_samples() -> None:
    X = rows()
    first, second = small().fit(X), small(random_state=1).fit(X)
    assert not np.allclose(first.transform(X), second.transform(X))
    assert not np.allclose(first.sample(5), first.sample(5, random_state=7))
    np.testing.assert_array_equal(first.sample(5, random_state=7), first.sample(5, random_state=7))


def test_without_a_seed_every_call_differs() -> None:
    vae = small(random_state=None).fit(rows())
    assert not np.allclose(vae.sample(5), vae.sample(5))
    assert not np.allclose(vae.transform(rows()), small(random_state=None).fit(rows()).transform(rows()))
    np.testing.assert_array_equal(vae.score_samples(rows()), vae.score_samples(rows()))


def test_a_generator_is_drawn_from() -> None:
    X = rows()
    same = [small(random_state=np.random.RandomState(5)).fit(X).transform(X) for _ in range(2)]
    np.testing.assert_array_equal(*same)
    generator = np.random.RandomState(5)
    vae = small().fit(X)
    assert not np.allclose(vae.sample(5, random_state=generator), vae.sample(5, random_state=generator))


def test_a_longer_sample_is_not_a_repetition() -> None:
    X = small().fit(rows()).sample(400, draw="mean")
    assert len(np.unique(X, axis=0)) == 400
