"""The commands on a run whose codes are points."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from latentkit.cli import main
from tests.cli.conftest import QUICK, make_images


@pytest.fixture(scope="module")
def run(images_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "sparse"
    settings = ("--model", "sparse", "--set", "latent_dim=8", "--set", "top_k=2")
    assert main(["fit", str(images_file), "-o", str(folder), *QUICK, *settings]) == 0
    return folder


def test_codes_samples_and_reconstructions(latentkit, run, images_file, tmp_path) -> None:
    assert latentkit("encode", run, images_file, "-o", tmp_path / "z.npy").code == 0
    assert ((np.load(tmp_path / "z.npy") != 0).sum(1) <= 2).all()
    assert latentkit("sample", run, "-n", 5, "-o", tmp_path / "x.npy").code == 0
    assert np.load(tmp_path / "x.npy").shape == (5, 8, 8)
    assert latentkit("reconstruct", run, images_file, "-o", tmp_path / "r.npy").code == 0
    assert np.load(tmp_path / "r.npy").shape == (60, 8, 8)


def test_score_says_that_it_is_no_bound(latentkit, run, images_file, tmp_path) -> None:
    line = ("score", run, images_file, "-o", tmp_path / "s.csv")
    text = latentkit(*line).out
    assert "not a bound on log p(x)" in text
    assert "lower bound" not in text
    assert "effective" not in text
    values = json.loads(latentkit(*line, "--json").out)
    assert values["is_bound"] is False
    refused = latentkit(*line, "-k", 5)
    assert refused.code != 0
    assert "got n_importance=5" in refused.err


def test_info_names_the_figure_and_no_prior(latentkit, run) -> None:
    values = json.loads(latentkit("info", run, "--json").out)
    assert values["model"] == "sparse"
    assert values["posterior"] == "point"
    assert "prior" not in values
    assert values["objective_is"] == "reconstruction, log p(x given z) minus penalties"
    assert values["objective_value"] < 0
    assert values["measured_on"] == "held-out rows"
    assert "Reconstruction, log p(x given z)" in (run / "README.md").read_text(encoding="utf-8")


def test_recover_fills_and_draws_nothing(latentkit, run, images_file, tmp_path) -> None:
    mask = np.ones((8, 8), dtype=bool)
    mask[5:] = False
    np.save(tmp_path / "m.npy", mask)
    line = ("recover", run, images_file, "--mask", tmp_path / "m.npy")
    assert latentkit(*line, "-o", tmp_path / "x.npy").code == 0
    assert np.array_equal(np.load(tmp_path / "x.npy")[:, :5], make_images()[:, :5])
    assert latentkit(*line, "-o", tmp_path / "x.png").code == 0
    assert "got n_draws=3" in latentkit(*line, "--draws", 3, "-o", tmp_path / "x.npy").err
