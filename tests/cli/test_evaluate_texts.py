"""Figures of a run of texts from the command line: what is printed, as JSON too, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from latentkit.cli import main
from latentkit.evaluation import language_model
from tests.cli.conftest import QUICK, Command

WORDS = ["red", "green", "blue", "old", "new", "big", "small", "dark", "light", "odd"]
TEXTS = [f"a {a} and {b} house" for a in WORDS for b in WORDS]
SHORT = ("--samples", "40", "--texts", "12", "-k", "3")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of texts, and both files; nobody may change them."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "train.txt").write_text("\n".join(TEXTS[::2]), encoding="utf-8")
    (folder / "test.txt").write_text("\n".join(TEXTS[1::2]), encoding="utf-8")
    line = ("fit", folder / "train.txt", "-o", folder / "run", *QUICK, "--set", "vocabulary=words", "--seed", "0")
    assert main([str(word) for word in line]) == 0
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_model, "_WIDTH", 8)
    monkeypatch.setattr(language_model, "_BUDGET", 1000)


def test_figures_are_printed_and_are_json(latentkit: Command, place: Path) -> None:
    line = ("evaluate", place / "run", place / "test.txt", *SHORT)
    shown = latentkit(*line)
    assert shown.code == 0, shown.err
    names = (
        *("likelihood", "perplexity", "KL", "mutual information", "active units", "tokens rebuilt"),
        *("BLEU of reconstructions", "distinct-1", "self-BLEU", "copied texts", "reverse bits, byte"),
    )
    for name in names:
        assert f"\n{name} " in f"\n{shown.out}"
    assert "K = 3" in shown.out
    found = json.loads(latentkit(*line, "--json").out)
    assert (found["n_texts"], found["n_words"], found["n_importance"]) == (12, 12 * 6, 3)
    assert found["train"] == str(place / "train.txt")
    assert found["samples"]["copied texts"]["floor"] == 0.0
    assert f"{found['perplexity_per_word']:.2f} a word" in shown.out


def test_texts_of_the_fit_that_are_gone(latentkit: Command, place: Path, tmp_path: Path) -> None:
    run = shutil.copytree(place / "run", tmp_path / "run")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(str(place / "train.txt"), str(tmp_path / "gone.txt")))
    line = ("evaluate", run, place / "test.txt", *SHORT)
    shown = latentkit(*line)
    assert shown.code == 0, shown.err
    assert "the texts of the fit are not where they were; without --train no samples are judged" in shown.err
    assert "copied texts" not in shown.out
    (tmp_path / "few.txt").write_text("\n".join(TEXTS[:20]), encoding="utf-8")
    shown = latentkit(*line, "--train", tmp_path / "few.txt")
    assert "few.txt has 20 texts, and the run was fitted on 50" in " ".join(shown.err.split())
    assert "copied texts" in shown.out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("--compression", "--train", "x", "-k", "3"), "--train, --importance with --compression"),
        (("--plot", "x.png"), "give --compression"),
    ],
)
def test_options_that_do_not_fit(latentkit: Command, place: Path, line: tuple[str, ...], message: str) -> None:
    outcome = latentkit("evaluate", place / "run", place / "test.txt", *line)
    assert outcome.code == 2
    assert message in " ".join(outcome.err.split())


def test_runs_of_other_data_say_what_there_is(latentkit: Command, images_run: Path, images_file: Path) -> None:
    outcome = latentkit("evaluate", images_run, images_file)
    assert outcome.code == 2
    assert "of images evaluate measures one thing so far: give --compression" in " ".join(outcome.err.split())
