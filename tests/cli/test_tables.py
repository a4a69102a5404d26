"""Tables of mixed kinds on the command line: what goes in comes out in the same form."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from pyarrow import parquet

from latentkit.cli import main
from tests.cli.conftest import ALONE, QUICK

SHORT = (*QUICK[:2], *ALONE)
HEADER = "id;kind;weight;legs;born;planet"


def _lines(n: int = 300, seed: int = 0) -> list[str]:
    """Rows of animals with a decimal comma, quotes, a marker of what is missing, and dates."""
    random = np.random.default_rng(seed)
    lines = []
    for index in range(n):
        kind = str(random.choice(["cat", "dog", "owl, snowy"], p=[0.5, 0.3, 0.2]))
        weight = {"cat": 4.0, "dog": 20.0}.get(kind, 1.0) * random.lognormal(0, 0.1)
        shown = "?" if random.random() < 0.1 else f"{weight:.2f}".replace(".", ",")
        year, month, day = str(np.datetime64("2015-01-01") + int(random.integers(0, 3000))).split("-")
        quoted = f'"{kind}"' if "," in kind else kind
        lines.append(f"A{index:05d};{quoted};{shown};{2 if kind[0] == 'o' else 4};{day}.{month}.{year};earth")
    return lines


def _write(path: Path, lines: list[str]) -> Path:
    path.write_bytes("\r\n".join([HEADER, *lines, ""]).encode("cp1252"))
    return path


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter=";"))


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("data") / "animals.csv", _lines())


@pytest.fixture(scope="module")
def run(animals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the table; nobody may change it."""
    place = tmp_path_factory.mktemp("runs") / "animals"
    settings = ("--set", "max_epochs=20", "--set", "learning_rate=0.01", *ALONE)
    assert main(["fit", str(animals), "-o", str(place), *settings]) == 0
    return place


@pytest.fixture
def holes(tmp_path: Path) -> Path:
    """Other rows, a third of whose legs and dates are missing."""
    random = np.random.default_rng(5)
    lines = [line.split(";") for line in _lines(60, seed=7)]
    for cells in lines:
        cells[3] = "" if random.random() < 0.3 else cells[3]
        cells[4] = "?" if random.random() < 0.3 else cells[4]
    return _write(tmp_path / "holes.csv", [";".join(cells) for cells in lines])


def test_check_says_what_a_fit_would_choose(latentkit, animals) -> None:
    values = json.loads(latentkit("check", animals, "--json").out)
    assert values["auto"]["likelihood"] == "columns"
    assert values["auto"]["latent_dim"] == 2
    assert values["suggested"] == f"latentkit fit {animals} -o run"


def test_fit_tells_what_is_left_out(latentkit, animals, tmp_path) -> None:
    outcome = latentkit("fit", animals, "-o", tmp_path / "r", *QUICK[:2], "--no-detector")
    assert outcome.code == 0, outcome.err
    assert "column 'id' holds identifiers" in outcome.err
    assert "column 'planet' has one value" in outcome.err
    assert "270 examples of 4 columns (mixed, columns likelihood)" in outcome.err
    assert "report" in outcome.out
    card = (tmp_path / "r" / "README.md").read_text()
    assert "left out: id (identifier), planet (constant)" in card
    assert (
        "left out: id (identifier), planet (constant)"
        in json.loads(latentkit("info", tmp_path / "r", "--json").out)["columns"]
    )
    assert "<html" in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")


def test_new_rows_are_written_as_the_table_was(latentkit, run, animals, tmp_path) -> None:
    file = tmp_path / "new.csv"
    assert latentkit("sample", run, "-n", 50, "-o", file).code == 0
    content = file.read_bytes()
    assert content.startswith(HEADER.encode() + b"\r\n")
    assert content.count(b"\r\n") == 51
    rows = _rows(content.decode("cp1252"))
    assert {row["kind"] for row in rows} <= {"cat", "dog", "owl, snowy"}
    assert all(row["weight"] == "?" or row["weight"].count(",") == 1 for row in rows)
    assert all(row["planet"] == "earth" and len(row["born"]) == 10 for row in rows)
    assert not {row["id"] for row in rows} & {line[:6] for line in _lines()}
    assert latentkit("sample", run, "-n", 50, "-o", "-").out == content.decode()


def test_new_rows_keep_constraints(latentkit, run, animals, tmp_path) -> None:
    file = tmp_path / "held.csv"
    rules = ("--constraint", "1,5 < weight <= 20", "--constraint", "born < 01.01.2019", "--constraint", "(kind, legs)")
    outcome = latentkit("sample", run, "-n", 120, "-o", file, *rules, "--json")
    assert outcome.code == 0, outcome.err
    assert f"combinations (kind, legs) are those of the data of the fit, {animals}" in outcome.err
    assert "every row keeps 1,5 < weight <= 20, born < 01.01.2019, (kind, legs); without being held" in outcome.err
    assert "Rows that were drawn again: 0" in outcome.err
    values = json.loads(outcome.out)
    assert values["constraints"] == list(rules[1::2])
    assert values["redrawn"] == 0
    assert 0.01 < values["probability"] < 0.9
    rows = _rows(file.read_text(encoding="cp1252"))
    assert len(rows) == 120
    assert all(row["weight"] == "?" or 1.5 < float(row["weight"].replace(",", ".")) <= 20 for row in rows)
    assert all(int(row["born"][-4:]) < 2019 for row in rows)
    assert {(row["kind"][0], row["legs"]) for row in rows} <= {("c", "4"), ("d", "4"), ("o", "2")}


def test_combinations_come_from_the_table_that_is_given(latentkit, run, animals, tmp_path) -> None:
    table = _write(tmp_path / "few.csv", [line for line in _lines() if ";cat;" in line])
    told = ("--constraint", "(kind, legs)", "--combinations", table)
    rows = _rows(latentkit("sample", run, "-n", 20, "-o", "-", *told).out)
    assert {(row["kind"], row["legs"]) for row in rows} == {("cat", "4")}


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (["bron < 01.01.2019"], "neither 'bron' nor '01.01.2019' is a column"),
        (["weight <= wieght"], "'wieght' cannot be read as that. Did you mean 'weight'"),
        (["weight < 3", "weight > 9"], "no row can keep 'weight < 3' and '9 < weight' together"),
        (["weight"], "there is no comparison in it"),
    ],
)
def test_constraints_that_make_no_sense_are_wrong_usage(latentkit, run, tmp_path, rules, message) -> None:
    told = [part for rule in rules for part in ("--constraint", rule)]
    outcome = latentkit("sample", run, "-o", tmp_path / "x.csv", *told)
    assert outcome.code == 2
    assert message in outcome.err
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_other_formats_hold_numbers_and_dates(latentkit, run, tmp_path, ending) -> None:
    file = tmp_path / f"new.{ending}"
    assert latentkit("sample", run, "-n", 80, "-o", file).code == 0
    if ending == "parquet":
        table = parquet.read_table(file)
        types = {name: str(kind) for name, kind in zip(table.column_names, table.schema.types, strict=True)}
        assert types["weight"] == "double"
        assert types["legs"] == "int64"
        assert types["born"] == "date32[day]"
        assert types["kind"] == "string"
        assert table["weight"].null_count > 0
    else:
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        assert {type(row["legs"]) for row in rows} == {int}
        assert {type(row["weight"]) for row in rows} == {float, type(None)}


@pytest.mark.parametrize(
    ("where", "fits"),
    [
        ("kind='owl, snowy'", lambda row: row["kind"] == "owl, snowy"),
        ('kind=cat|dog,weight="3,5"..', lambda row: row["kind"] in ("cat", "dog") and _weight(row) >= 3.5),
        ("weight=?", lambda row: row["weight"] == "?"),
        ("weight=", lambda row: row["weight"] == "?"),
        ("weight=..10", lambda row: _weight(row) <= 10),
        ("legs=2,born=01.01.2018..31.12.2020", lambda row: row["legs"] == "2" and row["born"][-4:] in _YEARS),
    ],
)
def test_rows_fit_what_is_asked_of_columns(latentkit, run, where, fits) -> None:
    outcome = latentkit("sample", run, "-n", 30, "-o", "-", "--where", where)
    assert outcome.code == 0, outcome.err
    rows = _rows(outcome.out)
    assert len(rows) == 30
    assert all(fits(row) for row in rows)


_YEARS = ("2018", "2019", "2020")


def _weight(row: dict[str, str]) -> float:
    return float(row["weight"].replace(",", "."))


def test_a_rare_condition_is_told(latentkit, run, tmp_path) -> None:
    file = tmp_path / "x.csv"
    rare = latentkit("sample", run, "-o", file, "--where", "born=03.04.2019,legs=2", "--json")
    assert "what is asked is rare: the model gives it a probability of " in rare.err
    assert 0 < json.loads(rare.out)["probability"] < 0.01
    usual = latentkit("sample", run, "-o", file, "--where", "legs=4", "--json")
    assert "what is asked is rare" not in usual.err
    assert 0.7 < json.loads(usual.out)["probability"] < 0.9


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("kidn=cat", "there is no column 'kidn'"),
        ("kidn=cat", "Did you mean 'kind'?"),
        ("kind=cta", "Did you mean 'cat'?"),
        ("kind", "'kind' is no condition"),
        ("kind=cat,", "nothing between two commas"),
        ("kind='cat", "a quote is not closed"),
        ("kind=cat,kind=dog", "names 'kind' twice"),
        ("weight=..", "has no end"),
        ("weight=1..2|4", "one range, or several values"),
        ("kind=cat=dog", "is no value"),
        ("weight=heavy", "cannot be read as that"),
        ("id=A00001", "is left out"),
    ],
)
def test_conditions_that_cannot_be_read(latentkit, run, tmp_path, where, words) -> None:
    outcome = latentkit("sample", run, "-o", tmp_path / "x.csv", "--where", where)
    assert outcome.code == 2, outcome.err
    assert words in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "x.csv").exists()


def test_conditions_are_for_tables(latentkit, run, table_run, tmp_path) -> None:
    outcome = latentkit("sample", table_run, "-o", tmp_path / "x.csv", "--where", "a=1")
    assert (outcome.code, "this run is one of rows" in outcome.err) == (2, True)
    outcome = latentkit("sample", run, "-o", tmp_path / "x.csv", "--where", "legs=2", "--condition", "legs=2")
    assert (outcome.code, "two ways to say the same" in outcome.err) == (2, True)
    outcome = latentkit("sample", run, "-o", tmp_path / "x.csv", "--where", "legs=2", "--guidance", "0.5")
    assert (outcome.code, "guidance=0.5. Leave them out" in outcome.err) == (2, True)


def test_holes_are_filled_and_every_other_byte_stays(latentkit, run, holes, tmp_path) -> None:
    file = tmp_path / "filled.csv"
    outcome = latentkit("recover", run, holes, "-o", file, "--json")
    assert outcome.code == 0, outcome.err
    before, after = (path.read_bytes().decode("cp1252").split("\r\n") for path in (holes, file))
    assert len(before) == len(after)
    n_filled = 0
    for old, new in zip(before, after, strict=True):
        for was, now in zip(old.split(";"), new.split(";"), strict=True):
            if was in ("", "?") and old:
                n_filled += 1
                assert now not in ("", "?")
            else:
                assert was == now
    assert n_filled == json.loads(outcome.out)["filled_cells"] > 20
    assert {row["legs"] for row in _rows("\n".join(after))} == {"2", "4"}, "levels that there are"
    assert latentkit("recover", run, holes, "-o", "-").out == file.read_bytes().decode("cp1252")


def test_near_rows_have_a_say(latentkit, run, table_run, animals, holes, tmp_path) -> None:
    texts = {}
    for name, *words in (("own",), ("none", "--reference", "none"), ("other", "--reference", animals)):
        assert latentkit("recover", run, holes, "-o", tmp_path / f"{name}.csv", *words).code == 0
        texts[name] = (tmp_path / f"{name}.csv").read_bytes()
    assert len(set(texts.values())) == 3
    draws = ("recover", run, holes, "-o", tmp_path / "f.csv", "--result", "draws", "--reference", animals)
    outcome = latentkit(*draws)
    assert (outcome.code, "draws come from the model alone" in outcome.err) == (2, True)
    outcome = latentkit("recover", table_run, animals, "-o", tmp_path / "x.csv", "--reference", animals)
    assert (outcome.code, "for tables of mixed kinds" in outcome.err) == (2, True)


@pytest.mark.filterwarnings("always:.*taken as unknown")
def test_cells_that_cannot_be_known_stay(latentkit, run, tmp_path) -> None:
    text = [HEADER, "A1;ferret;4,00;;02.03.2019;earth", "A2;cat;?;4;02.03.2019;mars"]
    source = tmp_path / "new.csv"
    source.write_text("\n".join(text) + "\n")
    outcome = latentkit("recover", run, source, "-o", tmp_path / "filled.csv")
    assert "2 cells filled in 2 of 2 rows" in outcome.out
    assert "column 'kind' in 1 row, the first is 'ferret' in line 2" in outcome.err
    rows = _rows((tmp_path / "filled.csv").read_text())
    assert [row["kind"] for row in rows] == ["ferret", "cat"]
    assert rows[1]["planet"] == "mars"


def test_completions_are_written_one_by_one(latentkit, run, holes, tmp_path) -> None:
    line = ("recover", run, holes, "--result", "draws", "--draws", 3)
    assert latentkit(*line, "-o", tmp_path / "f.csv").code == 0
    texts = [(tmp_path / f"f-{number}.csv").read_bytes() for number in (1, 2, 3)]
    assert not (tmp_path / "f.csv").exists()
    assert len(set(texts)) == 3
    assert latentkit(*line, "-o", "-").code == 2
    assert latentkit("recover", run, holes, "-o", tmp_path / "f.csv", "--steps", 3).code == 2
    assert latentkit("recover", run, holes, "-o", tmp_path / "f.parquet").code == 0
    assert parquet.read_table(tmp_path / "f.parquet")["born"].null_count == 0


def test_a_mask_hides_cells(latentkit, run, animals, tmp_path) -> None:
    shown = np.array([True, False, True, True, True, True])
    np.save(tmp_path / "m.npy", shown)
    outcome = latentkit("recover", run, animals, "--mask", tmp_path / "m.npy", "-o", tmp_path / "f.csv", "--json")
    missing = sum(";?;" in line for line in _lines())
    assert json.loads(outcome.out)["filled_cells"] == 300 + missing
    before, after = (_rows(path.read_bytes().decode("cp1252")) for path in (animals, tmp_path / "f.csv"))
    assert np.mean([old["kind"] == new["kind"] for old, new in zip(before, after, strict=True)]) > 0.6
    assert all(old["born"] == new["born"] for old, new in zip(before, after, strict=True))


def test_scores_of_rows_and_cells(latentkit, run, holes, tmp_path) -> None:
    file = tmp_path / "scores.csv"
    outcome = latentkit("score", run, holes, "-k", 8, "-o", file, "--cells")
    assert outcome.code == 0, outcome.err
    assert "bits per column, of the probability of its categories" in " ".join(outcome.out.split())
    assert "standardised" not in outcome.out
    table = np.genfromtxt(file, delimiter=",", names=True)
    assert table.dtype.names == (
        *("log_likelihood", "bits_per_dimension", "effective_sample_size"),
        *("log_p_kind", "log_p_weight", "log_p_legs", "log_p_born"),
    )
    cells = np.stack([table[name] for name in table.dtype.names[3:]], axis=1)
    row, _ = np.unravel_index(np.nanargmin(cells), cells.shape)
    assert f"least probable  line {row + 2}, " in outcome.out
    missing = [row["legs"] == "" for row in _rows(holes.read_bytes().decode("cp1252"))]
    assert np.array_equal(np.isnan(table["log_p_legs"]), missing)


def test_latents_there_and_back(latentkit, run, animals, tmp_path) -> None:
    z, back, reconstructed = (tmp_path / name for name in ("z.csv", "back.csv", "reconstructed.csv"))
    assert latentkit("encode", run, animals, "-o", z).code == 0
    assert latentkit("decode", run, z, "-o", back).code == 0
    assert latentkit("reconstruct", run, animals, "-o", reconstructed).code == 0
    assert back.read_bytes() == reconstructed.read_bytes()
    assert len(_rows(back.read_bytes().decode("cp1252"))) == 300


def test_ways_through_the_latent_space(latentkit, run, animals) -> None:
    for line in (
        ("interpolate", run, animals, "--from", 3, "--to", 7, "--steps", 6),
        ("traverse", run, animals, "--row", 3, "--dim", 1, "--steps", 6),
        ("traverse", run, "--steps", 3),
    ):
        outcome = latentkit(*line, "-o", "-")
        assert outcome.code == 0, outcome.err
        assert outcome.out.startswith(HEADER)
        assert len(_rows(outcome.out)) == 6


def test_edit_of_a_table_with_labels(latentkit, animals, tmp_path) -> None:
    assert latentkit("fit", animals, "-o", tmp_path / "r", *SHORT, "--labels", "kind").code == 0
    line = ("edit", tmp_path / "r", animals, "--attribute", "cat", "--rows", "0-5")
    outcome = latentkit(*line, "-o", "-")
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[0] == "id;weight;legs;born;planet"
    assert len(outcome.out.splitlines()) == 7
    assert latentkit("sample", tmp_path / "r", "-n", 4, "--label", "cat", "-o", "-").code == 0
    filled = tmp_path / "filled.csv"
    assert latentkit("recover", tmp_path / "r", animals, "-o", filled).code == 0
    assert filled.read_bytes().startswith(HEADER.encode()), "the column of labels stays in the file"


@pytest.mark.parametrize("is_given", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_report_of_a_table(latentkit, run, holes, tmp_path, is_given) -> None:
    data = (holes,) if is_given else ()
    assert latentkit("report", run, *data, "-o", tmp_path / "page.html").code == 0
    assert "<html" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_table_of_numbers_as_one_of_kinds(latentkit, tmp_path) -> None:
    random = np.random.default_rng(0)
    file = tmp_path / "numbers.csv"
    np.savetxt(file, random.integers(0, 5, (80, 3)), "%d", ",", header="a,b,c", comments="")
    assert json.loads(latentkit("check", file, "--json").out)["kind"] == "rows"
    values = json.loads(latentkit("check", file, "--table", "--json").out)
    assert (values["kind"], values["suggested"]) == ("table", f"latentkit fit {file} -o run --table")
    assert latentkit("fit", file, "-o", tmp_path / "r", "--table", *SHORT).code == 0
    outcome = latentkit("sample", tmp_path / "r", "-n", 9, "-o", "-", "--where", "b=1..2")
    assert {row["b"] for row in csv.DictReader(io.StringIO(outcome.out))} <= {"1", "2"}
    assert latentkit("score", tmp_path / "r", file, "-o", "-").code == 0
    np.save(tmp_path / "x.npy", random.normal(size=(30, 3)))
    outcome = latentkit("check", tmp_path / "x.npy", "--table")
    assert (outcome.code, "--missing are for tables" in outcome.err) == (2, True)


def test_pictures_and_arrays_are_no_form_of_tables(latentkit, run, tmp_path) -> None:
    for name, words in (("x.png", "a table, no picture"), ("x.npy", "which is no array"), ("x/", "no picture")):
        outcome = latentkit("sample", run, "-o", f"{tmp_path}/{name}")
        assert outcome.code == 2
        assert words in outcome.err


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["A1;cat;4,00;4;02.03.2019"], ("bad.csv, line 2", "5 cells", "6 columns")),
        (["A1;cat;4,00;4;02.03.2019;earth", "A2;cat;heavy;4;02.03.2019;earth"], ("line 3, column 3 ('weight')",)),
        (["A1;cat;4,00;4;31.02.2019;earth"], ("line 2, column 5 ('born')", "31.02.2019")),
    ],
)
@pytest.mark.parametrize("command", ["encode", "score", "recover"])
def test_bad_cells_are_named(latentkit, run, tmp_path, command, lines, words) -> None:
    outcome = latentkit(command, run, _write(tmp_path / "bad.csv", lines), "-o", tmp_path / "x.csv")
    assert outcome.code == 3, outcome.err
    assert all(word in outcome.err for word in ("bad.csv", *words))
    assert not (tmp_path / "x.csv").exists()


def test_a_column_that_is_not_there_is_named(latentkit, run, tmp_path) -> None:
    file = tmp_path / "few.csv"
    file.write_text("id;kind;weight;legs;born\nA1;cat;4,00;4;02.03.2019\n")
    outcome = latentkit("score", run, file, "-o", tmp_path / "x.csv")
    assert outcome.code == 3
    assert "few.csv" in outcome.err
    assert "planet" in outcome.err


@pytest.mark.filterwarnings("always:.*taken as unknown")
def test_categories_not_seen_before_are_told(latentkit, run, tmp_path) -> None:
    file = _write(tmp_path / "new.csv", ["A1;ferret;4,00;4;02.03.2019;earth"])
    outcome = latentkit("score", run, file, "-o", tmp_path / "x.csv")
    assert outcome.code == 0
    assert "new.csv: categories that the model was not fitted on" in outcome.err
    assert "'ferret' in line 2" in outcome.err


@pytest.fixture
def shirts(tmp_path: Path) -> Path:
    """Sizes with an order, numbers of shops that are none, and -999 for what is missing."""
    random = np.random.default_rng(0)
    lines = [f"{random.choice(['S', 'M', 'L'])},{random.integers(1, 40)},{random.normal():.2f}" for _ in range(200)]
    lines[::20] = [f"{line.rsplit(',', 1)[0]},-999" for line in lines[::20]]
    file = tmp_path / "shirts.csv"
    file.write_text("\n".join(["size,shop,wear", *lines, ""]))
    return file


ASKED = ("--kind", "size=S,M,L", "--kind", "shop=categorical", "--missing", "-999")


def test_what_is_asked_of_columns(latentkit, shirts, tmp_path) -> None:
    values = json.loads(latentkit("check", shirts, *ASKED, "--json").out)
    assert {column["name"]: column["kind"] for column in values["columns"]} == {
        "size": "ordinal",
        "shop": "categorical",
        "wear": "real",
    }
    assert values["columns"][2]["missing"] == 0.05
    assert values["suggested"] == f"latentkit fit {shirts} -o run {' '.join(ASKED)}"
    place = tmp_path / "r"
    outcome = latentkit("fit", shirts, "-o", place, *SHORT, *ASKED, "--set", "kinds.wear=real", "--unseen", "error")
    assert outcome.code == 0, outcome.err
    parameters = yaml.safe_load((place / "config.yaml").read_text())["parameters"]
    assert parameters["kinds"] == {"wear": "real", "size": ["S", "M", "L"], "shop": "categorical"}
    assert (parameters["na_values"], parameters["unseen"]) == (["-999"], "error")
    rows = csv.DictReader(io.StringIO(latentkit("sample", place, "-n", 40, "-o", "-", "--where", "size=S..M").out))
    assert {row["size"] for row in rows} == {"S", "M"}
    assert latentkit("fit", "--resume", "-o", place, *ALONE).code == 0
    assert "where unseen is 'error'" in latentkit("fit", "--resume", "-o", place, "--unseen", "unknown").err


@pytest.mark.filterwarnings("always:.*categories that the model was not fitted on:UserWarning")
def test_unseen_categories_are_counted_or_refused(latentkit, shirts, tmp_path) -> None:
    place, other = tmp_path / "r", tmp_path / "other.csv"
    assert latentkit("fit", shirts, "-o", place, *SHORT, *ASKED, "--unseen", "error").code == 0
    other.write_text("size,shop,wear\nS,1,0.5\nXL,1,0.5\nXXL,2,\n")
    refused = "line 3, column 1 ('size') is 'XL', a category that the model was not fitted on; it knows 'S', 'M', 'L'."
    for verb in ("score", "encode", "recover", "reconstruct"):
        outcome = latentkit(verb, place, other, "-o", tmp_path / f"{verb}.csv")
        assert (outcome.code, f"other.csv: {refused}" in outcome.err) == (3, True), outcome.err
        outcome = latentkit(verb, place, other, "-o", tmp_path / f"{verb}.csv", "--unseen", "unknown")
        assert outcome.code == 0
        assert "column 'size' in 2 rows, the first is 'XL' in line 3" in outcome.err
    filled = (tmp_path / "recover.csv").read_text().splitlines()
    assert filled[2] == "XL,1,0.5"
    assert filled[3].startswith("XXL,2,")
    assert filled[3][-1].isdigit()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--kind", "size"), "it is no NAME=KIND. Write NAME=KIND, or NAME=A,B,C"),
        (("--kind", "=real"), "it is no NAME=KIND"),
        (("--kind", "size=S,,L"), "a category is empty"),
        (("--kind", "size='S"), "a quote is not closed"),
        (("--kind", "size=categorial"), "Did you mean 'categorical'"),
        (("--kind", "size=real", "--kind", "size=count"), "names 'size' twice"),
        (("--kind", "siz=categorical"), "kinds names column 'siz', which there is not.* Did you mean 'size'"),
        (("--unseen", "eror"), "error"),
        (("--kind", "size=categorical", "--model", "vqvae"), "--kind is for tables of mixed kinds, which --model"),
    ],
)
def test_what_cannot_be_asked_of_columns(latentkit, shirts, tmp_path, options, words) -> None:
    outcome = latentkit("fit", shirts, "-o", tmp_path / "r", *options)
    assert outcome.code == 2
    assert re.search(words, " ".join(outcome.err.split())), outcome.err
    assert not (tmp_path / "r").exists()


def test_what_is_asked_is_for_tables(latentkit, tmp_path) -> None:
    file = tmp_path / "numbers.csv"
    np.savetxt(file, np.random.default_rng(0).normal(size=(40, 2)), "%.3f", ",", header="a,b", comments="")
    assert latentkit("fit", file, "-o", tmp_path / "t", *SHORT, "--unseen", "error").code == 0
    assert json.loads((tmp_path / "t" / "schema.json").read_text())["type"] == "table"
    assert latentkit("fit", file, "-o", tmp_path / "r", *SHORT).code == 0
    outcome = latentkit("score", tmp_path / "r", file, "-o", "-", "--unseen", "error")
    assert (outcome.code, "--unseen is for tables of mixed kinds" in outcome.err) == (2, True)
    outcome = latentkit("check", "digits", "--kind", "a=real")
    assert (outcome.code, "--missing are for tables, and digits holds images" in outcome.err) == (2, True)
