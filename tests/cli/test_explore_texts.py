"""Texts from the command line: what a run is, its latent space, and its report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from latentkit.cli import main
from tests.cli.conftest import QUICK, Command

ROWS = [f"{kind},the {animal} is {how}" for kind, animal in (("pet", "cat"), ("wild", "wolf")) for how in "abcdefghij"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of texts with labels, and its file; nobody may change them."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "animals.csv").write_text("\n".join(["kind,text", *ROWS * 2]), encoding="utf-8")
    line = ("fit", folder / "animals.csv", "-o", folder / "run", "--text", "text", "--labels", "kind", *QUICK)
    assert main([str(word) for word in (*line, "--set", "vocabulary=words", "--seed", "0")]) == 0
    return folder


def test_info_and_check_speak_of_tokens(latentkit: Command, place: Path) -> None:
    told = latentkit("info", place / "run").out
    assert "words, 16 tokens" in told
    assert "up to 5 tokens" in told
    assert json.loads(latentkit("info", place / "run", "--json").out)["event"] == [5]
    assert "up to 5 tokens" in (place / "run" / "README.md").read_text(encoding="utf-8")
    told = latentkit("check", place / "animals.csv", "--text", "text", "--labels", "kind").out
    assert "texts are the column 'text'\n" in "".join(f"{line.rstrip()}\n" for line in told.splitlines())


def test_a_traversal_starts_from_a_text(latentkit: Command, place: Path, tmp_path: Path) -> None:
    shown = latentkit("traverse", place / "run", "the cat is a", "--dim", "0,1", "--steps", "3")
    assert shown.code == 0, shown.err
    assert len(shown.out.splitlines()) == 6
    outcome = latentkit("traverse", place / "run", place / "animals.csv", "--row", "3", "-o", tmp_path / "z.csv")
    assert outcome.code == 0, outcome.err
    n_dims = json.loads(latentkit("info", place / "run", "--json").out)["latent_dim"]
    assert len((tmp_path / "z.csv").read_text(encoding="utf-8").splitlines()) == 1 + 9 * n_dims
    refused = latentkit("traverse", place / "run", "the cat is a", "-o", "grid.png")
    assert refused.code == 2
    assert "the result is texts" in refused.err


def test_an_edit_of_one_text_learns_from_the_data_of_the_fit(latentkit: Command, place: Path) -> None:
    shown = latentkit("edit", place / "run", "the cat is a", "--attribute", "wild", "--strength", "3")
    assert shown.code == 0, shown.err
    assert len(shown.out.splitlines()) == 1
    rows = latentkit("edit", place / "run", place / "animals.csv", "--attribute", "wild", "--rows", "0-3")
    assert len(rows.out.splitlines()) == 4
    refused = latentkit("edit", place / "run", "the cat is a", "--attribute", "wilt")
    assert refused.code == 2
    assert "Did you mean 'wild'?" in refused.err


def test_other_data_need_an_output(latentkit: Command, table_run: Path) -> None:
    for line in (("traverse", table_run), ("edit", table_run, "x.csv", "--attribute", "1")):
        refused = latentkit(*line)
        assert refused.code == 2
        assert "-o OUT says where the result goes" in refused.err


def test_a_run_is_no_archive(latentkit: Command, place: Path) -> None:
    refused = latentkit("inspect", place / "run")
    assert refused.code == 2
    assert f"latentkit info {place / 'run'}" in "".join(refused.err.split("\n"))


@pytest.mark.slow
def test_a_report_of_texts(latentkit: Command, place: Path, tmp_path: Path) -> None:
    outcome = latentkit("report", place / "run", "-o", tmp_path / "page.html")
    assert outcome.code == 0, outcome.err
    assert "the data of the fit" in outcome.err
    assert "New texts by class" in (tmp_path / "page.html").read_text(encoding="utf-8")
