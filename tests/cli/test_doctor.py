"""``latentkit doctor``: the verdict, the evidence, the remedy."""

from __future__ import annotations

import json

import numpy as np
import pytest

from latentkit import VAE
from latentkit.cli import main


@pytest.fixture(scope="module")
def rows_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("doctor") / "rows.npy"
    random = np.random.default_rng(0)
    np.save(file, random.normal(size=(600, 2)) @ random.normal(size=(2, 6)) + 0.2 * random.normal(size=(600, 6)))
    return file


@pytest.fixture(scope="module")
def ill_run(rows_file, tmp_path_factory):
    run = tmp_path_factory.mktemp("doctor") / "ill"
    settings = (
        "beta=300",
        "max_epochs=60",
        "batch_size=32",
        "encoder=[16]",
        "decoder=[16]",
        "latent_dim=2",
        "learning_rate=0.003",
    )
    chosen = [part for setting in settings for part in ("--set", setting)]
    assert main(["fit", str(rows_file), "-o", str(run), *chosen, "--no-report", "--no-detector", "-q"]) == 0
    return run


def test_it_says_what_is_wrong_within_80_columns(latentkit, ill_run, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = latentkit("doctor", ill_run)
    assert page.code == 0
    assert "Posterior collapse: z says nothing about x" in page.out
    assert "Remedy: Weigh the KL term by 1 instead of 300" in page.out
    assert "--set beta=1.0" in page.out
    assert "Healthy" in page.out
    assert f"latentkit doctor {ill_run} --fix" in page.out
    body = [line for line in page.out.splitlines() if str(ill_run) not in line]
    assert max(map(len, body)) <= 80


def test_json_is_the_diagnosis_and_strict_is_an_exit_code(latentkit, ill_run, rows_file) -> None:
    page = latentkit("doctor", ill_run, rows_file, "--json", "--strict")
    assert page.code == 1
    document = json.loads(page.out)
    assert "posterior-collapse" in [finding["name"] for finding in document["findings"]]
    assert (document["n_train"], document["n_held_out"]) == (540, 60)  # DATA are those of the fit
    assert "has the data of the fit: the 60 rows that were held out are looked at" in page.err


def test_data_that_may_have_been_learnt_are_not_taken_in_silence(latentkit, rows_file, tmp_path) -> None:
    VAE(2, encoder=(4,), decoder=(4,), max_epochs=1, verbose=0).fit(np.load(rows_file)).save(tmp_path / "run")
    page = latentkit("doctor", tmp_path / "run", rows_file)
    assert "the run does not say where the data of its fit are; say where they are with --train" in page.err
    assert f"if they were, give --train {rows_file} in place of it" in page.err
    page = latentkit("doctor", tmp_path / "run", "--fix", "-o", tmp_path / "mended")
    assert (page.code, "--fix fits again, and the run does not say where" in page.err) == (3, True)


@pytest.mark.slow
def test_fix_makes_a_run_that_is_better_and_knows_its_data(latentkit, ill_run, tmp_path) -> None:
    page = latentkit("doctor", ill_run, "--fix", "-o", tmp_path / "mended", "--json")
    assert page.code == 0
    mending = json.loads(page.out)["mending"]
    assert {each["name"]: each["is_cured"] for each in mending["treated"]}["posterior-collapse"]
    assert "posterior-collapse: cured" in page.err
    again = json.loads(latentkit("doctor", tmp_path / "mended", "--json").out)
    assert "posterior-collapse" in [outcome["name"] for outcome in again["healthy"]]


def test_fix_needs_a_place_and_the_data(latentkit, ill_run, rows_file, tmp_path) -> None:
    assert latentkit("doctor", ill_run, "--fix").code == 2
    assert "go together" in latentkit("doctor", ill_run, "-o", tmp_path / "x").err
    other = tmp_path / "other.npy"
    np.save(other, np.load(rows_file)[:50])
    page = latentkit("doctor", ill_run, "--train", other, "--fix", "-o", tmp_path / "y")
    assert page.code != 0
    assert "has 50 rows and the fit took 600" in page.err
