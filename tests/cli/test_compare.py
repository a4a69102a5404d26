"""Runs side by side from the command line: what is printed, the page, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from latentkit.cli import main
from tests.cli.conftest import QUICK, Command, make_images

SHORT = ("-k", "3", "--samples", "20")

pytestmark = pytest.mark.usefixtures("quick_classifier")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of the same images, one of them in a folder of another name; nobody may change them."""
    folder = tmp_path_factory.mktemp("compare")
    images = make_images(100)
    np.save(folder / "train.npy", images[::2])
    np.save(folder / "test.npy", images[1::2])
    for name, epochs in (("short/vae", 1), ("long/vae", 20)):
        line = (
            "fit",
            folder / "train.npy",
            "-o",
            folder / name,
            *QUICK,
            "--set",
            f"max_epochs={epochs}",
            "--seed",
            "0",
        )
        assert main([str(word) for word in (*line, "--set", "validation_fraction=0.3")]) == 0
    return folder


def test_runs_stand_side_by_side(latentkit: Command, place: Path, tmp_path: Path) -> None:
    page = tmp_path / "compare.html"
    shown = latentkit("compare", place / "short/vae", place / "long/vae", place / "test.npy", *SHORT, "-o", page)
    assert shown.code == 0, shown.err
    for text in ("2 runs on the same 50 rows", "How good new data are", "short/vae − long/vae:", "p < 0.0001"):
        assert text in shown.out
    assert max(len(line) for line in shown.out.splitlines() if not line.startswith("page ->")) <= 80
    assert "no difference" not in page.read_text()
    assert "long/vae is ahead" in page.read_text()


def test_without_data_the_rows_that_all_held_out_are_taken(latentkit: Command, place: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    line = ("compare", place / "short/vae", place / "long/vae", *SHORT, "-o", page, "--language", "zh", "--json")
    shown = latentkit(*line)
    assert shown.code == 0, shown.err
    found = json.loads(shown.out)
    assert found["best"]["log p(x)"] == "long/vae"
    assert found["pairs"][0]["difference"]["n"] == 15
    assert set(found["models"]) == {"short/vae", "long/vae"}
    assert found["page"] == str(page)
    assert '<html lang="zh-CN">' in page.read_text(encoding="utf-8")
    assert f"on 15 rows of {place / 'train.npy'} that no run has learnt" in " ".join(shown.err.split())
    assert "2 runs on the same 15 rows" in shown.err


def test_of_the_data_of_the_fit_the_rows_that_all_held_out_are_taken(latentkit: Command, place: Path) -> None:
    line = ("compare", place / "short/vae", place / "long/vae", *SHORT)
    shown = latentkit(*line, place / "train.npy", "--json")
    assert "train.npy has the data of the fit: the figures are of the 15 that were held out" in shown.err
    found, whole = json.loads(shown.out), json.loads(latentkit(*line, "--json").out)
    assert found["pairs"][0]["difference"]["mean"] == whole["pairs"][0]["difference"]["mean"]


def test_rows_that_were_learnt_bring_a_warning(
    latentkit: Command, images_run: Path, trained_run: Path, images_file: Path
) -> None:
    shown = latentkit("compare", images_run, trained_run, images_file, *SHORT)  # together they held out a few
    assert shown.code == 0, shown.err
    assert "warning: these data are those of fit" in shown.out
    assert "2 runs on the same 60 rows" in shown.out


def test_runs_of_other_data_are_left_out(latentkit: Command, place: Path, table_run: Path) -> None:
    line = ("compare", place / "short/vae", place / "long/vae", table_run, place / "test.npy", *SHORT)
    shown = latentkit(*line)
    assert shown.code == 0, shown.err
    assert "table is left out: it does not take these data" in " ".join(shown.out.split())
    assert "do not share the data of their fits" in " ".join(shown.err.split())


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("RUN", "DATA"), 2, "it takes at least 2 runs to compare; got 1"),
        (("RUN", "RUN", "DATA"), 2, "a run stands twice among"),
        (("RUN", "TABLE"), 3, "were not fitted on the same data"),
        (("RUN", "TABLE", "DATA"), 3, "fewer than two of the models take these data"),
    ],
)
def test_what_cannot_be_compared(
    latentkit: Command, place: Path, table_run: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    places = {"RUN": place / "short/vae", "TABLE": table_run, "DATA": place / "test.npy"}
    outcome = latentkit("compare", *(places[word] for word in words))
    assert outcome.code == code
    assert message in " ".join(outcome.err.split())
