"""Bad texts and odd ones from the command line: one line that says what, where and what to do; or all as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import QUICK, Command

SMALL = ("--set", "encoder=[8]", "--set", "decoder=[8]")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ("the file is empty",)),
        (b"one cat\n", ("at least 2 texts",)),
        (b"a cat\na \xff dog\n", ("line 2 is no UTF-8", "--skip-bad", "'replace'")),
        (b"a cat\n\na dog\n", ("line 2 is empty", "--skip-bad")),
    ],
    ids=["nothing", "one line", "no UTF-8", "empty line"],
)
def test_bad_files_of_texts(latentkit: Command, tmp_path: Path, content: bytes, words: tuple[str, ...]) -> None:
    (tmp_path / "t.txt").write_bytes(content)
    outcome = latentkit("fit", tmp_path / "t.txt", "-o", tmp_path / "run", *QUICK)
    assert outcome.code == 3
    line = outcome.err.splitlines()[-1]
    assert line.startswith("latentkit: ")
    assert all(word in line for word in words), line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--text", "title", "--labels", "topic"), ("topic",)),
        (("--text", "titel", "--labels", "kind"), ("'titel'", "Did you mean 'title'?")),
    ],
    ids=["no labels", "no texts"],
)
def test_columns_that_are_not_there(
    latentkit: Command, tmp_path: Path, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    (tmp_path / "t.csv").write_text("title,kind\n" + "a cat,pet\na wolf,wild\n" * 9, encoding="utf-8")
    outcome = latentkit("fit", tmp_path / "t.csv", "-o", tmp_path / "run", *options, *QUICK)
    assert outcome.code in (2, 3)
    assert all(word in outcome.err for word in words), outcome.err
    assert not (tmp_path / "run").exists()


def test_a_vocabulary_of_other_texts(latentkit: Command, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a cat\na dog\n" * 9, encoding="utf-8")
    (tmp_path / "words.txt").write_text("<unk>\nle\nchat\n", encoding="utf-8")
    line = ("fit", tmp_path / "t.txt", "-o", tmp_path / "run", *QUICK, "--set", f"vocabulary={tmp_path / 'words.txt'}")
    outcome = latentkit(*line)
    assert outcome.code == 3
    assert "the vocabulary does not fit" in outcome.err
    (tmp_path / "words.txt").write_text("<unk>\na\ncat\n", encoding="utf-8")
    assert latentkit(*line, *SMALL).code == 0
    assert "words, 4 tokens" in latentkit("info", tmp_path / "run").out


def test_lines_of_a_megabyte_are_cut(latentkit: Command, tmp_path: Path) -> None:
    long = "the cat sat on the mat and " * 40_000
    (tmp_path / "t.txt").write_text(f"{long}\n" + "a cat sat on a mat\n" * 19, encoding="utf-8")
    assert "longer than 512 tokens: 1 of the texts" in latentkit("check", tmp_path / "t.txt").out
    outcome = latentkit("fit", tmp_path / "t.txt", "-o", tmp_path / "run", *QUICK, *SMALL, "--set", "max_length=32")
    assert outcome.code == 0, outcome.err
    assert latentkit("encode", tmp_path / "run", tmp_path / "t.txt", "-o", tmp_path / "z.csv").code == 0


def test_signs_of_every_kind_come_back(latentkit: Command, tmp_path: Path) -> None:
    texts = [
        "\x00 a cat",
        "a\x00 dog\x07",
        "a\x1b[31m wolf\x7f",
        "\ta\x0b cat\x0c",
        "a\u2028 dog\u200b",
        "ein Bär",
        "一只猫",
    ]
    (tmp_path / "t.txt").write_text("\n".join(texts * 5), encoding="utf-8", newline="\n")
    outcome = latentkit("fit", tmp_path / "t.txt", "-o", tmp_path / "run", *QUICK, *SMALL, "--seed", "0")
    assert outcome.code == 0, outcome.err
    lost = tmp_path / "lost.txt"
    lost.write_text("\n".join([*texts, "a ___"]), encoding="utf-8", newline="\n")
    outcome = latentkit("recover", tmp_path / "run", lost, "-o", tmp_path / "again.txt")
    assert outcome.code == 0, outcome.err
    *again, _ = (tmp_path / "again.txt").read_bytes().split(b"\n")
    assert again[: len(texts)] == [text.encode() for text in texts]
