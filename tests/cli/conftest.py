"""A small run that the tests share, and the command line in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from latentkit.cli import main


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def latentkit(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command line and return its exit code and what it printed."""

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


def make_images(n: int = 60) -> np.ndarray:
    """Two kinds of images: a bright upper and a bright left half, 8 x 8 bytes, noisy."""
    random = np.random.default_rng(0)
    images = random.integers(0, 60, (n, 8, 8))
    images[: n // 2, :4] += 180
    images[n // 2 :, :, :4] += 180
    return images.astype(np.uint8)


@pytest.fixture(scope="session")
def images_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .npz of images with labels."""
    file = tmp_path_factory.mktemp("data") / "halves.npz"
    np.savez(file, x=make_images(), y=np.repeat([0, 1], 30))
    return file


@pytest.fixture(scope="session")
def table_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of three columns and a column of labels."""
    file = tmp_path_factory.mktemp("data") / "table.csv"
    random = np.random.default_rng(1)
    rows = random.normal(size=(40, 2))
    lines = [f"{a:.4f},{b:.4f},{a + b:.4f},{'high' if a > 0 else 'low'}" for a, b in rows]
    file.write_text("\n".join(["a,b,total,size", *lines]) + "\n")
    return file


@pytest.fixture(scope="session")
def images_run(images_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the images; nobody may change it."""
    run = tmp_path_factory.mktemp("runs") / "images"
    assert main(["fit", str(images_file), "-o", str(run), *QUICK, "--set", "latent_dim=3"]) == 0
    return run


@pytest.fixture(scope="session")
def trained_run(images_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the images that has learnt what they are."""
    run = tmp_path_factory.mktemp("runs") / "trained"
    assert main(["fit", str(images_file), "-o", str(run), *QUICK, "--set", "max_epochs=60"]) == 0
    return run


@pytest.fixture(scope="session")
def table_run(table_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the table; nobody may change it."""
    run = tmp_path_factory.mktemp("runs") / "table"
    assert main(["fit", str(table_file), "-o", str(run), *QUICK, "--labels", "size", "--set", "latent_dim=2"]) == 0
    return run


#: A fit of the model alone; what needs a detector or a report makes one.
ALONE = ("--no-report", "--no-detector", "-q")
#: A fit of a moment.
QUICK = ("--set", "max_epochs=2", "--set", "encoder=[16]", "--set", "decoder=[16]", *ALONE)
