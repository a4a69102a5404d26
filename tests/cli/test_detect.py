"""Odd rows on the command line: what is found, why, and how well."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from PIL import Image
from pyarrow import csv as arrow_csv
from pyarrow import parquet

import latentkit as package
from latentkit.cli import main
from latentkit.cli.opening import open_run
from latentkit.cli.printing import Printer
from latentkit.cli.verdicts import odd_rows
from latentkit.data import ParquetPieces, Selection, WholePieces
from tests.cli.conftest import QUICK, make_images

pytestmark = pytest.mark.usefixtures("brief_ensembles")

FIT = tuple(word for word in QUICK if word != "--no-detector")
N, N_ODD = 1300, 60


def _table(seed: int, n: int, n_odd: int, *, text: bool = True) -> pa.Table:
    """Machines of two kinds, whose load, heat and speed go together; the last rows are too hot for their load."""
    random = np.random.default_rng(seed)
    load = random.normal(size=n)
    heat = load + 0.1 * random.normal(size=n)
    speed = -load + 0.1 * random.normal(size=n)
    heat[n - n_odd :] += 6.0
    verdict = np.array(["fine"] * (n - n_odd) + ["broken"] * n_odd)
    columns = {"load": load, "heat": heat, "speed": speed}
    if text:
        columns["kind"] = random.choice(["saw", "drill"], n)
    return pa.table({**columns, "verdict": verdict, "grade": random.integers(0, 9, n)})


def _write(table: pa.Table, path: Path) -> Path:
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=150)
    else:
        arrow_csv.write_csv(table, path)
    return path


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("machines")


@pytest.fixture(scope="module")
def train(folder: Path) -> Path:
    return _write(_table(0, N, N_ODD), folder / "train.csv")


@pytest.fixture(scope="module")
def test(folder: Path) -> Path:
    return _write(_table(1, 400, 40), folder / "test.csv")


@pytest.fixture(scope="module")
def run(train: Path, folder: Path) -> Path:
    """A run on the machines that are fine; nobody may change it."""
    line = ["fit", str(train), "-o", str(folder / "run"), *FIT, "--where", "verdict=fine", "--leave-out", "grade"]
    assert main(line) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def numbers_run(folder: Path) -> Path:
    """A run on a table that holds numbers but for the column that chooses its rows."""
    table = _write(_table(0, N, N_ODD, text=False), folder / "numbers.csv")
    options = ("--where", "verdict=fine", "--leave-out", "grade")
    assert main(["fit", str(table), "-o", str(folder / "numbers"), *FIT, *options]) == 0
    return folder / "numbers"


# What a fit is made of


def test_a_fit_takes_rows_and_tells(latentkit, train, tmp_path) -> None:
    line = ("fit", train, "-o", tmp_path / "r", *QUICK[:-1], "--where", "verdict=fine", "--leave-out", "grade")
    outcome = latentkit(*line)
    assert outcome.code == 0, outcome.err
    assert "kept 1,240 of 1,300 rows where verdict=fine; the columns grade and verdict are left out" in outcome.err
    config = yaml.safe_load((tmp_path / "r" / "config.yaml").read_text())
    assert config["data"]["reading"]["where"] == ["verdict=fine"]
    assert config["data"]["reading"]["leave_out"] == ["grade"]
    assert "is_later" not in config["data"]["reading"]
    assert config["data"]["examples"] == 1240
    assert list(package.load(tmp_path / "r").schema_.feature_names) == ["load", "heat", "speed", "kind"]
    assert not (tmp_path / "r" / "detector").exists()


def test_a_table_without_its_text_is_one_of_numbers(numbers_run) -> None:
    schema = package.load(numbers_run).schema_
    assert (schema.kind, tuple(schema.feature_names)) == ("rows", ("load", "heat", "speed"))


@pytest.mark.parametrize(
    "ending", [*(pytest.param(ending, marks=pytest.mark.slow) for ending in (".tsv", ".csv.gz")), ".parquet", ".jsonl"]
)
def test_rows_are_taken_from_every_format(latentkit, tmp_path, ending) -> None:
    table, file = _table(0, 90, 30), tmp_path / f"table{ending}"
    if ending == ".parquet":
        parquet.write_table(table, file)
    elif ending == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    else:
        arrow_csv.write_csv(table, tmp_path / "t.csv", arrow_csv.WriteOptions(quoting_style="none"))
        text = (tmp_path / "t.csv").read_text()
        if ending == ".tsv":
            file.write_text(text.replace(",", "\t"))
        else:
            file.write_bytes(gzip.compress(text.encode()))
    options = ("--where", "verdict=fine,grade=0..4", "--where", "kind=saw|drill")
    outcome = latentkit("fit", file, "-o", tmp_path / "r", *QUICK[:-1], *options)
    assert outcome.code == 0, outcome.err
    kept = sum(row["verdict"] == "fine" and row["grade"] <= 4 for row in table.to_pylist())
    told = (
        f"kept {kept} of 90 rows where verdict=fine and grade=0..4 and kind=saw|drill; the column verdict is left out"
    )
    assert told in outcome.err
    assert list(package.load(tmp_path / "r").schema_.feature_names) == ["load", "heat", "speed", "kind", "grade"]


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        (("--where", "verdikt=fine"), ("has no column 'verdikt'", "Did you mean 'verdict'?"), 2),
        (("--leave-out", "grad"), ("has no column 'grad'", "Did you mean 'grade'?"), 2),
        (("--leave-out", "grade,,kind"), ("'' is no name of a column",), 2),
        (("--where", "verdict"), ("'verdict' is no condition",), 2),
        (("--where", "verdict=fnie"), ("no row has verdict=fnie", "broken, fine", "Did you mean 'fine'?"), 3),
        (("--where", "verdict=broken,load=90.."), ("no row has load=90..",), 3),
        (("--where", "verdict=fine,heat=5.."), ("no row fits verdict=fine and heat=5.. together",), 3),
        (("--where", "load=low..high"), ("goes between numbers, or dates",), 2),
        (("--leave-out", "load,heat,speed,kind,verdict,grade"), ("no column is left",), 3),
    ],
)
def test_selections_that_cannot_be(latentkit, train, tmp_path, options, words, code) -> None:
    outcome = latentkit("fit", train, "-o", tmp_path / "r", *FIT, *options)
    assert outcome.code == code, outcome.err
    assert all(word in outcome.err for word in words), outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_rows_are_chosen_of_tables_alone(latentkit, images_file, tmp_path) -> None:
    outcome = latentkit("fit", images_file, "-o", tmp_path / "r", "--where", "a=1")
    assert (outcome.code, "for the columns of tables" in outcome.err) == (2, True)


def test_a_selection_is_read_again_by_resume(latentkit, run, train, tmp_path) -> None:
    place = shutil.copytree(run, tmp_path / "run")
    config = yaml.safe_load((place / "config.yaml").read_text())
    del config["fitted"]
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    shutil.rmtree(place / "detector")
    assert latentkit("fit", "--resume", "-o", place, "--no-report", "-q").code == 0
    for name in ("weights.safetensors", "detector/weights.safetensors"):
        assert (place / name).read_bytes() == (run / name).read_bytes()
    outcome = latentkit("fit", train, "--resume", "-o", place, "--where", "verdict=broken")
    assert outcome.code == 2
    assert "where=['verdict=fine']" in outcome.err


def test_messages_name_the_lines_of_the_file(latentkit, run, train, tmp_path) -> None:
    lines = train.read_text().splitlines()
    lines[1 + N - 5] = (
        lines[1 + N - 5].replace('"broken"', '"fine"').replace(lines[1 + N - 5].split(",")[0], "heavy", 1)
    )
    (tmp_path / "bad.csv").write_text("\n".join(lines) + "\n")
    outcome = latentkit(
        "fit", tmp_path / "bad.csv", "-o", tmp_path / "r", *FIT, "--where", "verdict=fine", "--kind", "load=real"
    )
    assert outcome.code == 3
    assert f"line {N - 3}, column 1 ('load') is 'heavy'" in outcome.err


def test_a_selection_of_dates_and_missing_cells() -> None:
    table = pa.table(
        {
            "x": [1.0, 2.0, None, 4.0],
            "day": pa.array(["2024-01-01", "2024-02-01", "2024-03-01", "soon"]),
            "at": pa.array([1, 2, 3, 4], pa.date32()),
        }
    )
    notes: list[str] = []
    assert Selection({"day": ("2024-01-15", None)}).apply(table, "t", notes)["x"].to_pylist() == [2.0, None]
    assert Selection({"x": None}).apply(table, "t", notes)["day"].to_pylist() == ["2024-03-01"]
    assert Selection({"at": (None, "1970-01-03")}).apply(table, "t", notes)["x"].to_pylist() == [1.0, 2.0]
    assert Selection({"x": ["4", "1.0"]}).apply(table, "t", notes)["x"].to_pylist() == [1.0, 4.0]


def test_the_data_of_the_fit_are_the_rows_that_it_took(run, train) -> None:
    opened, printer = open_run(run), Printer(quiet=True)
    assert opened.read(str(train), printer).n == N
    own = opened.read(str(train), printer, as_fitted=True)
    assert own.n == N - N_ODD
    assert own.data.columns == ["load", "heat", "speed", "kind"]


# The detector of a run


def test_a_fit_keeps_a_detector(latentkit, run, images_file, tmp_path) -> None:
    detector = package.load(run / "detector")
    assert (detector.regime_, detector.is_held_out_, detector.estimator_) == ("clean", True, None)
    line = ("fit", images_file, "-o", tmp_path / "r", *FIT[:-1], "--json")
    outcome = latentkit(*line)
    values = json.loads(outcome.out)["detector"]
    assert values["folder"] == str(tmp_path / "r" / "detector")
    assert "detector" in outcome.err
    assert f"it keeps {values['kept_rows']} rows of training to compare with (5,000 at most)" in " ".join(
        outcome.err.split()
    )
    assert not (tmp_path / "r" / "detector" / "model").exists(), "the model is that of the run"
    assert package.load(tmp_path / "r" / "detector").regime_ == "mixed"
    assert latentkit(*line, "--overwrite", "--no-detector").code == 0
    assert not (tmp_path / "r" / "detector").exists(), "that of the run before is of other weights"


def test_no_detector_where_there_can_be_none(latentkit, images_file, train, tmp_path) -> None:
    quick = ("--set", "max_epochs=1", "--no-report", "-q")
    assert latentkit("fit", images_file, "-o", tmp_path / "v", "--model", "vqvae", *quick).code == 0
    assert not (tmp_path / "v" / "detector").exists()
    assert latentkit("fit", images_file, "-o", tmp_path / "c", "--conditional", *quick).code == 0
    assert not (tmp_path / "c" / "detector").exists()
    for options, word in ((("--model", "vqvae"), "VQVAE"), (("--conditional",), "a conditional model")):
        outcome = latentkit("fit", images_file, "-o", tmp_path / "x", *options, "--detector", *quick)
        assert outcome.code == 2
        assert "--detector" in outcome.err
        assert word in outcome.err
        assert not (tmp_path / "x").exists()


# Odd rows


def test_odd_rows_are_found_and_ranked(latentkit, run, test, tmp_path) -> None:
    outcome = latentkit("detect", run, test, "-o", tmp_path / "a.csv", "--labels", "verdict", "--json")
    assert outcome.code == 0, outcome.err
    values, rows = json.loads(outcome.out), _rows(tmp_path / "a.csv")
    assert list(rows[0]) == ["row", "score", "is_odd", "p_value", "confidence"]
    assert [int(row["row"]) for row in rows] == list(range(400))
    scores = np.array([float(row["score"]) for row in rows])
    flagged = np.array([row["is_odd"] == "true" for row in rows])
    assert flagged[360:].all()
    assert flagged[:360].mean() < 0.05
    assert values["n_odd"] == flagged.sum()
    assert np.array_equal(flagged, scores > values["cut_nats"])
    assert [found["row"] for found in values["oddest"]] == np.argsort(-scores)[:5].tolist()
    assert values["quality"]["auroc"] > 0.99
    assert values["quality"]["precision_at"]["10"] == 1.0
    assert values["quality"]["prevalence"] == 0.1
    assert values["files"] == [str(tmp_path / "a.csv"), str(tmp_path / "a.curves.png")]
    with Image.open(tmp_path / "a.curves.png") as image:
        assert image.size[0] > 1000
    detector = package.load(run / "detector")
    table = arrow_csv.read_csv(test).drop_columns(["verdict", "grade"])
    assert np.array_equal(scores, -detector.score_samples(table)), "text and types give the same"
    assert np.allclose([float(row["p_value"]) for row in rows], detector.p_values(table))
    assert np.allclose([float(row["confidence"]) for row in rows], detector.confidence(table))


def test_the_summary_says_what_came_of_it(latentkit, run, test, tmp_path) -> None:
    outcome = latentkit("detect", run, test, "-o", tmp_path / "a.csv")
    text = " ".join(outcome.out.split())
    assert " flagged (1" in text
    assert "tail of the scores" in text
    assert "if all rows were normal" in text
    assert text.count(" nats; heat +") == 5
    assert f"400 verdicts -> {tmp_path / 'a.csv'}" in text
    assert "AUROC" not in text
    assert not (tmp_path / "a.curves.png").exists()


def test_without_an_output_the_oddest_rows_are_told_alone(latentkit, run, test, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    told = latentkit("detect", run, test, "--labels", "verdict", "--explain")
    assert told.code == 0
    assert "AUROC" in told.out + told.err
    assert "nats" in told.out + told.err
    assert set(tmp_path.rglob("*")) == before


def test_explanations_name_the_column(latentkit, run, test, tmp_path) -> None:
    assert latentkit("detect", run, test, "-o", tmp_path / "a.csv", "--explain").code == 0
    rows = _rows(tmp_path / "a.csv")
    odd = rows[360:]
    assert {row["top_1"] for row in odd} == {"heat"}
    assert all(float(row["top_1_nats"]) >= float(row["top_2_nats"]) for row in odd)
    assert all(row["why"].startswith("heat +") and "normal would be heat " in row["why"] for row in odd)
    assert all(bool(row["why"]) == (row["is_odd"] == "true") for row in rows), "flagged rows alone are explained"


def test_the_oddest_rows_first(latentkit, run, test, tmp_path) -> None:
    assert latentkit("detect", run, test, "-o", tmp_path / "all.parquet").code == 0
    line = ("detect", run, test, "-o", tmp_path / "top.jsonl", "--top", 7, "--explain")
    assert latentkit(*line).code == 0
    scores = parquet.read_table(tmp_path / "all.parquet")["score"].to_numpy()
    top = [json.loads(text) for text in (tmp_path / "top.jsonl").read_text().splitlines()]
    assert [row["row"] for row in top] == np.argsort(-scores, kind="stable")[:7].tolist()
    assert [row["score"] for row in top] == sorted(scores, reverse=True)[:7]
    assert all(row["why"].startswith("heat +") for row in top)


def test_a_column_that_the_fit_left_out_may_be_there_or_not(latentkit, run, numbers_run, folder, tmp_path) -> None:
    for place, text in ((run, True), (numbers_run, False)):
        table = _table(1, 400, 40, text=text)
        with_it = _write(table, tmp_path / "with.csv")
        without = _write(table.drop_columns(["verdict", "grade"]), tmp_path / "without.csv")
        for file in (with_it, without):  # the answer is no part of the data
            assert latentkit("detect", place, file, "-o", file.with_suffix(".jsonl")).code == 0
        assert (tmp_path / "with.jsonl").read_bytes() == (tmp_path / "without.jsonl").read_bytes()
        assert len((tmp_path / "with.jsonl").read_text().splitlines()) == 400, "rows are all taken"
    assert latentkit("score", run, tmp_path.parent / "x", "-o", tmp_path / "s.csv").code == 3
    assert latentkit("score", numbers_run, with_it, "-o", tmp_path / "s.csv").code == 0


@pytest.mark.parametrize("text", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_pieces_give_the_same_as_the_whole(latentkit, run, numbers_run, tmp_path, monkeypatch, text) -> None:
    place = run if text else numbers_run
    table = _table(1, 200, 20, text=text)
    for ending in ("csv", "parquet"):
        _write(table, tmp_path / f"x.{ending}")
    line = ("--explain", "--labels", "verdict")
    assert latentkit("detect", place, tmp_path / "x.csv", "-o", tmp_path / "whole.csv", *line).code == 0
    monkeypatch.setattr(ParquetPieces.__init__, "__defaults__", (*ParquetPieces.__init__.__defaults__[:-1], 90))
    monkeypatch.setattr(WholePieces.__init__, "__defaults__", (70,))
    monkeypatch.setattr("latentkit.data.pieces.PIECE", 33)
    for ending in ("csv", "parquet"):
        file = tmp_path / f"{ending}.csv"
        assert latentkit("detect", place, tmp_path / f"x.{ending}", "-o", file, *line).code == 0
        assert file.read_bytes() == (tmp_path / "whole.csv").read_bytes()
        top = tmp_path / f"{ending}.top.csv"
        assert latentkit("detect", place, tmp_path / f"x.{ending}", "-o", top, "--top", 50, "--explain").code == 0
    assert (tmp_path / "csv.top.csv").read_bytes() == (tmp_path / "parquet.top.csv").read_bytes()


def test_pieces_of_a_file_of_parquet(tmp_path) -> None:
    parquet.write_table(pa.table({"x": range(100), "y": ["a", "b"] * 50}), tmp_path / "t.parquet", row_group_size=13)
    pieces = ParquetPieces(tmp_path / "t.parquet", "table", labels="y", size=20)
    parts = list(pieces)
    assert [value for part in parts for value in part.data["x"].to_pylist()] == list(range(100))
    assert max(part.n for part in parts) < 40
    assert len(parts) < 10, "small groups of rows are put together"
    taken = pieces.take([99, 3, 50, 3])
    assert taken.data["x"].to_pylist() == [99, 3, 50, 3]
    assert [taken.label_names[code] for code in taken.labels] == ["b", "b", "a", "b"]


def test_false_alarms_are_held_to_a_rate(latentkit, run, test, tmp_path) -> None:
    outcome = latentkit("detect", run, test, "-o", tmp_path / "a.csv", "--false-alarms", "0.2", "--json")
    values = json.loads(outcome.out)
    rows = _rows(tmp_path / "a.csv")
    assert values["rule"] == "conformal: at most 0.2 of normal rows"
    assert 0.1 < np.mean([row["is_odd"] == "true" for row in rows[:360]]) < 0.3
    assert all((float(row["p_value"]) <= 0.2) == (row["is_odd"] == "true") for row in rows)
    outcome = latentkit("detect", run, test, "-o", tmp_path / "b.csv", "--false-alarms", "0.0001")
    assert outcome.code == 3
    assert "guaranteed from 9999 held-out normal rows on; there are 124" in outcome.err
    assert not (tmp_path / "b.csv").exists()


def test_false_discoveries_are_held_to_a_rate(latentkit, run, test, tmp_path) -> None:
    outcome = latentkit("detect", run, test, "-o", tmp_path / "a.csv", "--fdr", "0.2", "--json")
    values, rows = json.loads(outcome.out), _rows(tmp_path / "a.csv")
    detector = package.load(run / "detector")
    table = arrow_csv.read_csv(test).drop_columns(["verdict", "grade"])
    found = detector.discover(table, false_discovery_rate=0.2)
    assert found.any()
    assert [row["is_odd"] == "true" for row in rows] == found.tolist()
    assert np.isclose(values["expected_false_alarms"], 0.2 * found.sum())
    assert latentkit("detect", run, test, "-o", tmp_path / "a.csv", "--fdr", "0.001", "--explain", "--json").code == 0


def test_other_rows_say_what_is_normal(latentkit, table_run, run, train, test, tmp_path) -> None:
    outcome = latentkit("detect", table_run, test, "-o", tmp_path / "a.csv")
    assert outcome.code == 3
    assert "has no detector" in outcome.err
    assert "--reference TRAIN" in outcome.err
    outcome = latentkit(
        "detect", run, test, "-o", tmp_path / "a.csv", "--reference", train, "--labels", "verdict", "--json"
    )
    assert outcome.code == 0, outcome.err
    assert "kept 1,240 of 1,300 rows where verdict=fine" in outcome.err
    assert json.loads(outcome.out)["quality"]["auroc"] > 0.9
    fine = _write(_table(0, N, 0).drop_columns(["verdict", "grade"]), tmp_path / "fine.csv")
    outcome = latentkit("detect", run, test, "-o", tmp_path / "b.csv", "--reference", fine)
    assert outcome.code == 0, outcome.err
    assert "has no columns to tell verdict=fine: all rows are taken" in outcome.err
    outcome = latentkit("detect", run / "detector", test, "-o", tmp_path / "c.csv", "--reference", fine)
    assert (outcome.code, "is a detector" in outcome.err) == (2, True)


def test_a_detector_is_a_folder_of_its_own(latentkit, run, test, tmp_path) -> None:
    assert latentkit("detect", run, test, "-o", tmp_path / "a.csv").code == 0
    assert latentkit("detect", run / "detector", test, "-o", tmp_path / "b.csv").code == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    outcome = latentkit("sample", run / "detector", "-o", tmp_path / "x.csv")
    assert (outcome.code, "is a detector, no run of a model" in outcome.err) == (3, True)


@pytest.mark.slow
def test_another_process_says_the_same(latentkit, run, test, tmp_path) -> None:
    assert latentkit("detect", run, test, "-o", tmp_path / "a.csv").code == 0
    moved = shutil.copytree(run, tmp_path / "moved")
    script = [sys.executable, "-m", "latentkit", "detect", str(moved), str(test), "-o", "-"]
    done = subprocess.run(
        script, capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True
    )
    assert done.stdout == (tmp_path / "a.csv").read_text(), "another process, bit for bit"
    assert "400" in done.stderr


def test_labels_that_are_understood() -> None:
    for labels, expected in (
        (["0", "1", "0"], [False, True, False]),
        (["True", "False", "False"], [True, False, False]),
        (["normal", "Anomaly", "normal"], [False, True, False]),
        (["1", "-1", "1"], [False, True, False]),
    ):
        assert odd_rows(np.array(labels), "y", []).tolist() == expected
    labels = np.array(["a", "b", "c"])
    assert odd_rows(labels, "y", ["a", "c"]).tolist() == [False, True, False]
    assert odd_rows(labels, "y", [], "b").tolist() == [True, False, True]
    assert odd_rows(labels, "y", ["a"], "b").tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        (("--labels", "grade"), ("which of these are normal", "0, 1, 2", "--normal"), 2),
        (("--labels", "verdict", "--normal", "fein"), ("there are: broken, fine", "Did you mean 'fine'?"), 2),
        (("--labels", "verdict", "--normal", "fine,broken"), ("none of 400 labels are odd",), 3),
        (("--labels", "verdit"), ("there is no column 'verdit'", "Did you mean 'verdict'?"), 2),
        (("--normal", "fine"), ("Name the labels with --labels",), 2),
        (("--fdr", "0.1", "--false-alarms", "0.1"), ("Give one of them",), 2),
        (("--fdr", "1.5"), ("--fdr", "1.5"), 2),
        (("--false-alarms", "0"), ("--false-alarms",), 2),
        (("--top", "0"), ("--top",), 2),
    ],
)
@pytest.mark.parametrize("ending", ["csv", pytest.param("parquet", marks=pytest.mark.slow)])
def test_wrong_options(latentkit, run, test, tmp_path, options, words, code, ending) -> None:
    data = _write(arrow_csv.read_csv(test), tmp_path / f"x.{ending}")
    outcome = latentkit("detect", run, data, "-o", tmp_path / "a.csv", *options)
    assert outcome.code == code, outcome.err
    assert all(word in outcome.err for word in words), outcome.err
    assert not (tmp_path / "a.csv").exists()


def test_explanations_are_words(latentkit, run, test, tmp_path) -> None:
    outcome = latentkit("detect", run, test, "-o", tmp_path / "a.npy", "--explain")
    assert (outcome.code, "writes words" in outcome.err) == (2, True)
    assert latentkit("detect", run, test, "-o", tmp_path / "a.npy").code == 0
    assert np.load(tmp_path / "a.npy").shape == (400, 5)


@pytest.mark.parametrize("ending", ["csv", pytest.param("parquet", marks=pytest.mark.slow)])
def test_bad_data(latentkit, run, numbers_run, tmp_path, ending) -> None:
    table = _table(1, 400, 40)
    out = tmp_path / "a.csv"
    other = _write(
        table.rename_columns(["load", "heta", "speed", "kind", "verdict", "grade"]), tmp_path / f"o.{ending}"
    )
    more = _write(table.append_column("new", table["load"]), tmp_path / f"m.{ending}")
    (tmp_path / f"empty.{ending}").write_bytes(b"")
    none = _write(table.slice(0, 0), tmp_path / f"none.{ending}")
    (tmp_path / f"noise.{ending}").write_bytes(b"\x00\x01noise\n\x02,")
    for file, words in (
        (other, ("'heat'", "Did you mean 'heta'?")),
        (more, ("1 columns are not known to the model", "'new'")),
        (tmp_path / f"empty.{ending}", ("empty",)),
        (none, ("the table has no rows",)),
        (tmp_path / f"noise.{ending}", (f"noise.{ending}",)),
        (tmp_path / f"gone.{ending}", ("there is no such file",)),
    ):
        outcome = latentkit("detect", run, file, "-o", out)
        assert outcome.code == 3, (file, outcome.err)
        assert all(word in outcome.err for word in words), outcome.err
        assert file.name in outcome.err
        assert "Traceback" not in outcome.err
    heat = table["heat"].to_pylist()
    heat[222] = float("inf")
    infinite = _write(table.set_column(1, "heat", pa.array(heat)), tmp_path / f"i.{ending}")
    outcome = latentkit("detect", run, infinite, "-o", out)
    assert outcome.code == 3
    assert ("line 224" if ending == "csv" else "row 222") in outcome.err
    assert not out.exists()
    assert latentkit("detect", tmp_path / "gone", infinite, "-o", out).code == 3


def test_categories_that_the_fit_did_not_see_are_odd(latentkit, run, test, tmp_path) -> None:
    text = test.read_text().splitlines()
    text[1] = text[1].replace('"saw"', '"lathe"').replace('"drill"', '"lathe"')
    (tmp_path / "new.csv").write_text("\n".join(text) + "\n")
    outcome = latentkit("detect", run, tmp_path / "new.csv", "-o", tmp_path / "a.csv", "--explain")
    assert outcome.code == 0, outcome.err
    first = _rows(tmp_path / "a.csv")[0]
    assert first["is_odd"] == "true"
    assert first["top_1"] == "kind"
    assert "instead of not seen before" in first["why"]


@pytest.fixture(scope="module")
def halves(folder: Path) -> tuple[Path, Path]:
    """A run on images, and images of which two are others."""
    np.savez(folder / "halves.npz", x=make_images(200))
    settings = ("--set", "max_epochs=15", "--set", "latent_dim=3", *FIT[2:])
    assert main(["fit", str(folder / "halves.npz"), "-o", str(folder / "images"), *settings]) == 0
    images, odd = make_images(200)[:40], np.zeros(40, np.int64)
    images[4, 2:4, 5:7], images[9] = 0, 255 - images[9]
    odd[[4, 9]] = 1
    np.savez(folder / "odd.npz", x=images, y=odd)
    return folder / "images", folder / "odd.npz"


def test_odd_images_and_where(latentkit, halves, tmp_path) -> None:
    run, data = halves
    outcome = latentkit("detect", run, data, "-o", tmp_path / "a.csv", "--explain", "--labels", "y", "--json")
    assert outcome.code == 0, outcome.err
    values = json.loads(outcome.out)
    assert {values["oddest"][0]["row"], values["oddest"][1]["row"]} == {4, 9}
    assert values["quality"]["auroc"] == 1.0
    assert [Path(file).name for file in values["files"]] == ["a.csv", "a.heat-maps.png", "a.curves.png"]
    with Image.open(tmp_path / "a.heat-maps.png") as image:
        assert image.size[1] > image.size[0], "eight lines of two"
    assert "why" not in _rows(tmp_path / "a.csv")[0]
    outcome = latentkit("detect", run, data, "-o", tmp_path / "b.csv", "--false-alarms", "0.1")
    assert outcome.code == 3
    assert "this detector held out none" in outcome.err
