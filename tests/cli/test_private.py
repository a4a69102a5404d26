"""Private training on the command line: what fit prints, what info shows, and what stays out of the run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("opacus", reason="Opacus is not installed: pip install 'latentkit[privacy]'")

SMALL = ("--set", "max_epochs=2", "--set", "latent_dim=2", "--set", "batch_size=32")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    lines = [f"{random.choice(['f', 'm'])},{random.integers(18, 90)}" for _ in range(120)]
    file = tmp_path_factory.mktemp("data") / "people.csv"
    file.write_text("\n".join(["sex,age", *lines, ""]))
    return file


def test_a_private_fit_says_what_is_spent_and_what_is_not_covered(people, tmp_path, latentkit) -> None:
    run = tmp_path / "run"
    done = latentkit("fit", people, "-o", run, "--epsilon", 4, *SMALL)
    assert done.code == 0, done.err
    assert "differentially private: epsilon 4, delta" in done.err
    assert "not private are the schema" in done.err
    line = next(line for line in done.out.splitlines() if "privacy" in line)
    assert "epsilon" in line
    assert "of 4, delta" in line
    assert "not of schema.json" in " ".join(done.out.split())
    assert not (run / "report.html").exists()
    assert not (run / "detector").exists(), "it would keep rows"

    shown = latentkit("info", run)
    assert "of 4, delta" in next(line for line in shown.out.splitlines() if line.lstrip().startswith("privacy"))
    values = json.loads(latentkit("info", run, "--json").out)["privacy"]
    assert 3.5 < values["epsilon"] <= 4.0
    assert latentkit("sample", run, "-n", 5, "-o", tmp_path / "new.csv").code == 0
    again = latentkit("fit", "--resume", "-o", run)
    assert again.code == 0
    assert "trained to the end already" in again.err


def test_a_report_of_a_private_run_is_written_where_it_is_asked_for(people, tmp_path, latentkit, monkeypatch) -> None:
    run = tmp_path / "run"
    # The page has its own test, and takes seconds.
    monkeypatch.setattr(
        "latentkit.report.write_report", lambda estimator, path, data, detector: path.write_text("page")
    )
    done = latentkit("fit", people, "-o", run, "--epsilon", 4, "--report", "--json", *SMALL)
    assert done.code == 0, done.err
    assert (run / "report.html").exists()
    assert json.loads(done.out)["privacy"]["target_epsilon"] == 4.0


def test_a_model_that_cannot_be_private_is_refused(people, latentkit) -> None:
    done = latentkit("fit", people, "--epsilon", 3, "--model", "vqvae")
    assert done.code == 2
    assert "--model vqvae cannot. Use --model vae" in " ".join(done.err.split())


def test_two_epsilons_are_refused(people, latentkit) -> None:
    done = latentkit("fit", people, "--epsilon", 3, "--set", "epsilon=4")
    assert done.code == 2
    assert "--epsilon 3 and --set epsilon=4 say two things" in " ".join(done.err.split())
