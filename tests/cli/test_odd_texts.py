"""Texts that are scored token by token, and odd ones that are found, on the command line."""

from __future__ import annotations

import csv
import json
import math

import pytest

ANIMALS, FOODS = ("cat", "dog", "bird", "horse"), ("soup", "bread", "fish", "rice")
TEXTS = [f"the {animal} is {how}" for animal in ANIMALS for how in ("big", "small", "old")] * 8
TEXTS += [f"i like {food} with {other}" for food in FOODS for other in FOODS] * 6
SETTINGS = ("encoder=[16]", "decoder=[16]", "latent_dim=4", "vocabulary=words", "max_epochs=8", "learning_rate=0.01")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("texts")


@pytest.fixture
def run(latentkit, place):
    if not (place / "run").exists():
        (place / "t.txt").write_text("\n".join(TEXTS), encoding="utf-8")
        settings = [part for setting in (*SETTINGS, "batch_size=16", "ex_post=none") for part in ("--set", setting)]
        outcome = latentkit("fit", place / "t.txt", "-o", place / "run", "--no-report", "--seed", 0, *settings)
        assert outcome.code == 0, outcome.err
        assert (place / "run" / "detector").is_dir()
    return place / "run"


def test_scores_of_texts_count_tokens_bytes_and_words(latentkit, run, place) -> None:
    (place / "new.txt").write_text("the cat is big\nthe soup is big\n", encoding="utf-8")
    outcome = latentkit("score", run, place / "new.txt", "-o", place / "s.csv", "--cells", "--json")
    assert outcome.code == 0, outcome.err
    values = json.loads(outcome.out)
    rows = list(csv.DictReader((place / "s.csv").read_text(encoding="utf-8").splitlines()))
    columns = "log_likelihood n_tokens bits_per_token bits_per_byte perplexity_per_word effective_sample_size tokens"
    assert list(rows[0]) == columns.split()
    nats = [-float(row["log_likelihood"]) for row in rows]
    assert [row["n_tokens"] for row in rows] == ["5", "5"]
    for row, cost, n_bytes in zip(rows, nats, (15, 16), strict=True):
        assert float(row["bits_per_token"]) == pytest.approx(cost / 5 / math.log(2))
        assert float(row["bits_per_byte"]) == pytest.approx(cost / n_bytes / math.log(2))
        assert float(row["perplexity_per_word"]) == pytest.approx(math.exp(cost / 5))
    assert values["bits_per_token"] == pytest.approx(sum(nats) / 10 / math.log(2))
    assert values["perplexity_per_word"] == pytest.approx(math.exp(sum(nats) / 10))
    tokens = json.loads(rows[1]["tokens"])
    assert [piece for piece, _ in tokens] == ["the", "soup", "is", "big", ""]
    assert min(tokens, key=lambda token: token[1])[0] == "soup"
    assert "least probable" in outcome.err
    assert "row 1, the [soup] is big" in outcome.err


def test_numbers_alone_hold_no_tokens(latentkit, run, place) -> None:
    assert latentkit("score", run, place / "t.txt", "-o", place / "s.npy", "-k", 2).code == 0
    outcome = latentkit("score", run, place / "t.txt", "-o", place / "s.npy", "--cells")
    assert outcome.code == 2
    assert "--cells writes the tokens of texts, which this format cannot hold" in outcome.err


def test_odd_texts_and_their_tokens(latentkit, run, place) -> None:
    (place / "mixed.txt").write_text("\n".join([*TEXTS[:20], "the soup is big", "with i bread"]), encoding="utf-8")
    outcome = latentkit("detect", run, place / "mixed.txt", "-o", place / "odd.csv", "--top", 3, "--explain", "--json")
    assert outcome.code == 0, outcome.err
    rows = list(csv.DictReader((place / "odd.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["row"] for row in rows[:2]} == {"20", "21"}
    [soup] = [row for row in rows if row["row"] == "20"]
    assert soup["top_1"] == "soup"
    assert '"soup"' in soup["why"]
    assert json.loads(outcome.out)["oddest"][0]["is_odd"]
    again = latentkit("detect", run, place / "mixed.txt", "--reference", place / "t.txt", "--json")
    assert again.code == 0, again.err
    assert {found["row"] for found in json.loads(again.out)["oddest"][:2]} == {20, 21}


def test_a_detector_of_texts_needs_no_conditions(latentkit, place) -> None:
    (place / "c.csv").write_text("\n".join(["text,kind", *(f"{t},{t[0]}" for t in TEXTS)]), encoding="utf-8")
    line = ("fit", place / "c.csv", "-o", place / "c", "--text", "text", "--labels", "kind", "--conditional")
    outcome = latentkit(*line, "--detector", "--time", "1s")
    assert outcome.code == 2
    assert "of texts a detector asks the model" in outcome.err
