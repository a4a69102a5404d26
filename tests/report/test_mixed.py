"""Reports of models of tables of mixed kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentkit import VAE
from latentkit.data import Dataset, read
from latentkit.data.table.frames import to_columns
from latentkit.evaluation import MixedTable, measure_table
from latentkit.report import mixed, write_report
from latentkit.report.page import Table
from latentkit.report.subject import Subject
from tests.report.cases import HOSTILE
from tests.report.test_writing import check

pd = pytest.importorskip("pandas")

SECTIONS = [
    *(
        "training",
        "columns",
        "samples",
        "synthetic",
        "dimensions",
        "meaning",
        "map",
        "cells",
        "configuration",
        "methods",
    ),
]
FOREIGN = ("econstructions", " pixels", "images", "feature ", "raversal", "By class")


def animals(n: int = 240) -> Any:
    """Kinds with weights and legs, a colour that is missing at times, a constant and an identifier."""
    rng = np.random.default_rng(0)
    kind = rng.choice(["cat", "<b>owl</b>"], n)
    weight = np.where(kind == "cat", 4.0, 1.0) * rng.lognormal(0, 0.1, n)
    colour = np.where(rng.random(n) < 0.2, "", rng.choice(["black", "white"], n))
    return pd.DataFrame(
        {
            HOSTILE: kind,
            "weight": weight.round(2),
            "legs": np.where(kind == "cat", 4, 2),
            "colour": colour,
            "born": pd.date_range("2020-01-01", periods=n, freq="D").strftime("%Y-%m-%d"),
            "chip": [f"chip-{row:04}" for row in rng.permutation(n)],
            "planet": "earth",
        }
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("tables") / "animals.csv"
    animals().to_csv(path, index=False)
    return read(path)


@pytest.fixture(scope="module")
def model(table: Dataset) -> VAE:
    return VAE(max_epochs=30, learning_rate=1e-2, random_state=0).fit(table)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentkit.report.subject.LIKELIHOOD_BUDGET", 1e8)


@pytest.fixture(scope="module")
def page(table: Dataset, model: VAE, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latentkit.report.subject.LIKELIHOOD_BUDGET", 1e8)
        patch.setattr("latentkit.report.latent.TSNE_POINTS", 40)
        return write_report(model, tmp_path_factory.mktemp("pages") / "report.html", data=table)


def own(text: str) -> str:
    """The text without the settings."""
    return text[: text.index("Settings that were given")] + text[text.index("How each figure was computed") :]


def test_the_page_shows_what_applies_to_a_table_and_nothing_else(page: Path) -> None:
    text = own(" ".join(check(page, SECTIONS).text))
    assert not [words for words in FOREIGN if words in text]
    for words in (
        "A VAE that turns 240 rows of 7 columns into",
        "7 columns, 5 of them learnt",
        "Per column",
        "identifier",
        "dimensions are active",
        "Six new rows, as sample() gives them",
        "column shape error, %",
        "share nearer to training rows",
        "membership AUC",
        "given the rest, rather",
    ):
        assert words in text
    assert "No such" not in text


def test_quality_stands_beside_privacy_or_not_at_all(table: Dataset, model: VAE, tmp_path: Path) -> None:
    few = Dataset(table.data.take(np.arange(100)), "others.csv", "table")
    text = " ".join(check(write_report(model, tmp_path / "others.html", data=few), SECTIONS).text)
    assert "these are others" in text
    assert "Grey: 100 real rows. Blue: 200 new rows." in text
    for figure in ("column shape error", "two-sample AUC", "membership AUC"):
        assert figure not in text


@pytest.mark.slow
def test_quality_is_not_measured_where_nothing_was_held_out(table: Dataset, tmp_path: Path) -> None:
    whole = VAE(max_epochs=1, validation_fraction=0, random_state=0).fit(table)
    text = " ".join(check(write_report(whole, tmp_path / "whole.html", data=table), SECTIONS).text)
    assert "here are 240 and 0" in text
    assert "column shape error" not in text


def test_figures_are_those_of_the_rows_of_fit(table: Dataset, model: VAE) -> None:
    subject = Subject(model, table)
    section = mixed.parts()["synthetic"](subject)
    (found,) = (block for block in section.blocks if isinstance(block, Table))
    train, held_out = model._split(240)
    numbers = model.schema_.numbers(table.data)
    real = MixedTable(values=numbers.values, is_categorical=numbers.is_categorical, names=numbers.names)
    assert [len(rows) for rows in subject.split] == [216, 24]
    assert torch.equal(subject.split[0], train)
    expected = measure_table(
        real.take(train.numpy()), train=real.take(train.numpy()), test=real.take(held_out.numpy()), seed=model.seed_
    )
    assert [row[0] for row in found.rows] == [figure.name for figure in expected]
    assert any(row[3] == "24 test rows in place of the synthetic ones" for row in found.rows)


def test_data_are_those_of_fit_only_with_the_same_columns(table: Dataset, model: VAE) -> None:
    frame = animals()
    frame.loc[0, "weight"] += 50.0
    for other in (frame, animals(239)):
        assert Subject(model, Dataset(other, "memory", "table")).split is None
    assert Subject(model, None).split is None


def test_without_data_it_says_what_is_missing(model: VAE, tmp_path: Path) -> None:
    text = " ".join(check(write_report(model, tmp_path / "nothing.html"), SECTIONS).text)
    for words in ("Charts that compare new rows with real ones need data", "Scores of cells need data", "Six new rows"):
        assert words in text
    assert "latentkit report RUN DATA" in text
    assert "membership AUC" not in text


def test_odd_cells_are_found_with_what_would_fit(model: VAE) -> None:
    frame = animals()
    cats = np.flatnonzero(frame["legs"] == 4)
    frame.loc[cats[:2], "legs"] = 2
    section = mixed.parts()["cells"](Subject(model, Dataset(frame, "memory", "table")))
    (found,) = section.blocks
    assert isinstance(found, Table)
    odd = {(row[0], row[1]): row for row in found.rows}
    for cat in cats[:2]:
        row = odd[str(cat), "legs"]
        assert row[2:4] == ["2", "4"]
        assert float(row[4].replace("−", "-")) < float(row[5].replace("−", "-"))
    names = [row[1] for row in found.rows]
    assert max(map(names.count, names)) <= 3
    assert not {"chip", "planet"} & set(names)


def test_cells_are_ranked_by_how_far_they_are_from_usual() -> None:
    excess = np.array([[-1.0, np.nan, -9.0], [-5.0, -4.0, -8.0], [-2.0, -3.0, -7.0], [-6.0, 0.0, -10.0]])
    assert mixed._oddest(excess)[:5] == [(3, 2), (0, 2), (1, 2), (3, 0), (1, 0)]
    assert len(mixed._oddest(np.zeros((50, 9)))) == 12
    assert mixed._oddest(np.full((2, 2), np.nan)) == []


def test_missing_cells_are_shown_as_missing(table: Dataset, model: VAE) -> None:
    texts = mixed._texts(Subject(model, table), table.data.take(np.arange(20)))
    empty = [cell == "" for cell in to_columns(table).arrays[3].to_pylist()[:20]]
    assert [text == "missing" for text in texts[3]] == empty
    assert any(empty)


@pytest.mark.slow
def test_equal_models_give_equal_pages(table: Dataset, model: VAE, page: Path, tmp_path: Path) -> None:
    again = write_report(model, tmp_path / "again.html", data=table)
    assert again.read_bytes() == page.read_bytes()
