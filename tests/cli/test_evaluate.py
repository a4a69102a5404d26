"""Figures of a run from the command line: what is printed, as JSON too, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from latentkit.cli import figures, main
from latentkit.estimators import evaluating
from latentkit.evaluation import language_model
from tests.cli.conftest import QUICK, Command

WORDS = ["red", "green", "blue", "old", "new", "big", "small", "dark", "light", "odd"]
TEXTS = [f"a {a} and {b} house" for a in WORDS for b in WORDS]
SHORT = ("--samples", "40", "--rows", "12", "-k", "3")


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
def small(monkeypatch: pytest.MonkeyPatch, quick_classifier: None) -> None:
    monkeypatch.setattr(language_model, "_WIDTH", 8)
    monkeypatch.setattr(language_model, "_BUDGET", 1000)


def test_figures_of_texts_are_printed_and_are_json(latentkit: Command, place: Path) -> None:
    line = ("evaluate", place / "run", place / "test.txt", *SHORT)
    shown = latentkit(*line)
    assert shown.code == 0, shown.err
    names = (
        *("log p(x), nats", "perplexity of a word", "KL, nats", "mutual information, nats", "active dimensions"),
        *("tokens rebuilt, %", "BLEU of reconstructions", "distinct-1", "self-BLEU", "copied texts"),
    )
    # a long name is folded, its other lines further in than the first
    lines = re.findall(r"^ {2}(\S+(?: \S+)*).*((?:\n {4}\S+(?: \S+)* *)*)$", shown.out, re.MULTILINE)
    assert {*names} <= {" ".join((first, *more.split())) for first, more in lines}
    assert "K = 3, of which" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80
    found = json.loads(latentkit(*line, "--json").out)
    assert (found["n"], found["n_scored"], found["figures"]["log p(x)"]["n_draws"]) == (50, 12, 3)
    assert f"12 of 50 texts, drawn by the seed of {12 * 6} words" in found["figures"]["bits per byte"]["computed_with"]
    assert found["train"] == str(place / "train.txt")
    assert found["figures"]["copied texts"]["floor"] == 0.0
    assert found["figures"]["mutual information"]["unit"] == "nats"


def test_figures_of_images_and_numbers(
    latentkit: Command,
    images_run: Path,
    images_file: Path,
    table_run: Path,
    table_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluating, "N_TEMPERATURES", 5)
    shown = latentkit("evaluate", images_run, images_file, "-k", "2", "--samples", "20")
    assert shown.code == 0, shown.err
    for text in (
        "How well they are rebuilt",
        "PSNR, dB",
        "SSIM, window of 7",
        "no MS-SSIM: it needs sides of at least",
    ):
        assert text in shown.out
    assert "copy rate" in shown.out
    assert "warning: of 2 draws a row" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80
    shown = latentkit("evaluate", table_run, table_file, "--rows", "20", "--estimator", "ais", "-k", "4", "--json")
    found = json.loads(shown.out)
    assert found["figures"]["log p(x)"]["n_rows"] == 20
    assert "annealed" in found["figures"]["log p(x)"]["computed_with"]


def test_texts_of_the_fit_that_are_gone(latentkit: Command, place: Path, tmp_path: Path) -> None:
    run = shutil.copytree(place / "run", tmp_path / "run")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(str(place / "train.txt"), str(tmp_path / "gone.txt")))
    line = ("evaluate", run, place / "test.txt", *SHORT)
    shown = latentkit(*line)
    assert shown.code == 0, shown.err
    why = f"the data of the fit are not where they were, at {tmp_path / 'gone.txt'}"
    assert f"{why}; without --train no samples are judged" in shown.err
    assert "copied texts" not in shown.out
    (tmp_path / "few.txt").write_text("\n".join(TEXTS[:20]), encoding="utf-8")
    shown = latentkit(*line, "--train", tmp_path / "few.txt")
    assert "few.txt has 20 texts, and the run was fitted on 50" in " ".join(shown.err.split())
    assert "copied texts" in shown.out


def test_of_the_data_of_the_fit_the_held_out_rows_are_judged(
    latentkit: Command, place: Path, images_run: Path, images_file: Path, table_file: Path, tmp_path: Path
) -> None:
    texts, run = place / "train.txt", tmp_path / "run"
    line = ("fit", texts, "-o", run, *QUICK, "--set", "validation_fraction=0.2", "--set", "vocabulary=words")
    assert latentkit(*line).code == 0
    shown = latentkit("evaluate", run, shutil.copy(texts, tmp_path / "copy.txt"), *SHORT, "--json")
    assert "copy.txt has the data of the fit: the figures are of the 10 that were held out" in shown.err
    assert json.loads(shown.out)["n"] == 10
    assert "among 40 of training" in json.loads(shown.out)["figures"]["copied texts"]["computed_with"]
    shown = latentkit("evaluate", images_run, images_file, "-k", "2", "--samples", "20")
    assert "warning: these data are those of fit" in shown.out  # 6 are held out
    assert shown.out.startswith("VAE, 60 images")
    holes, copy = tmp_path / "holes.csv", tmp_path / "copy.csv"
    for file in (holes, copy):
        file.write_text(re.sub(r"^[-.0-9]+,", ",", table_file.read_text(), count=2, flags=re.MULTILINE))
    assert latentkit("fit", holes, "-o", tmp_path / "filled", *QUICK, "--set", "validation_fraction=0.3").code == 0
    shown = latentkit("evaluate", tmp_path / "filled", copy, "-k", "2", "--samples", "20", "--json")
    assert json.loads(shown.out)["n"] == 12


def test_rows_of_which_some_were_learnt_bring_a_warning(latentkit: Command, table_file: Path, tmp_path: Path) -> None:
    line = ("fit", table_file, "-o", tmp_path / "run", *QUICK, "--where", "size=low")
    assert latentkit(*line).code == 0
    for command in ("evaluate", "doctor"):
        shown = latentkit(command, tmp_path / "run", table_file)
        assert f"{table_file} is where the data of the fit are: some of these rows were learnt" in shown.err
    other = shutil.copy(table_file, tmp_path / "other.csv")
    assert "some of these rows" not in latentkit("doctor", tmp_path / "run", other).err


def test_columns_make_room_for_each_other() -> None:
    rows = [("mutual information, nats", "≥ −0.01234", "−2.374e−4 to −1.235e−4", "", "higher"), ("KL", *4 * ("",))]
    assert figures._widths([figures.HEADINGS, *rows]) == (29, 10, 22, 5, 6)


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


def test_data_of_another_kind_are_refused(latentkit: Command, images_run: Path, table_file: Path) -> None:
    outcome = latentkit("evaluate", images_run, table_file)
    assert outcome.code == 3
    assert "table.csv" in outcome.err
