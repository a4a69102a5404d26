"""``latentkit tune``: a study in a folder, what is printed, and what is refused."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time

import pytest

from latentkit.cli.searching import parse_search
from latentkit.core.errors import InvalidParameterError

QUICK = (
    "--quiet",
    "--set",
    "max_epochs=2",
    "--set",
    "batch_size=128",
    "--set",
    "encoder=[8]",
    "--set",
    "decoder=[8]",
    "--trials",
    3,
)
SPACE = ("--search", "latent_dim=1:4", "--search", "learning_rate=1e-4:1e-2", "--only")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    from latentkit.cli import main

    folder = tmp_path_factory.mktemp("study") / "wine"
    assert main([str(word) for word in ("tune", "wine", "-o", folder, *QUICK, *SPACE)]) == 0
    return folder


def test_a_study_is_a_folder_with_a_run_a_table_and_a_page(study, latentkit, tmp_path):
    assert {file.name for file in study.iterdir()} >= {
        "best",
        "journal.log",
        "results.html",
        "study.json",
        "trials.csv",
    }
    assert latentkit("sample", study / "best", "-n", 5, "-o", tmp_path / "new.csv").code == 0
    assert latentkit("score", study / "best", "wine", "-o", tmp_path / "scores.csv").code == 0
    assert latentkit("info", study / "best").code == 0
    with (study / "trials.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    page = (study / "results.html").read_text()
    assert "Settings of a VAE for wine" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_the_same_command_goes_on(study, latentkit):
    done = latentkit("tune", "wine", "-o", study, *QUICK, *SPACE, "--trials", 4, "--language", "zh", "--json")
    found = json.loads(done.out)
    assert done.code == 0
    assert found["trials"]["all"] == 4
    assert found["best"]["settings"].keys() == {"latent_dim", "learning_rate"}
    assert found["best"]["run"] == str(study / "best")
    page = (study / "results.html").read_text(encoding="utf-8")
    assert '<html lang="zh-CN">' in page


def test_the_best_run_knows_which_rows_it_was_given(study, latentkit):
    """178 rows, of which 18 are put aside; of the other 160 training holds out 40."""
    by_test = latentkit("evaluate", study / "best", "wine", "-k", 2, "--samples", 20, "--json")
    assert json.loads(by_test.out)["n"] == 18
    assert "has the data of the fit: the figures are of the 18 that were held out" in by_test.err
    assert "was fitted on" not in by_test.err  # other rows than those of the fit
    found = json.loads(latentkit("doctor", study / "best", "--json").out)
    assert (found["n_train"], found["n_held_out"]) == (120, 40)
    found = json.loads(latentkit("doctor", study / "best", "wine", "--json").out)
    assert (found["n_train"], found["n_held_out"]) == (120, 18)


def test_rows_put_aside_are_those_of_the_study(study):
    from latentkit.data.parts import put_aside

    rows = json.loads((study / "study.json").read_text())["rows"]
    assert put_aside(178, 0.1, seed=0)[1].tolist() == rows["test"]
    assert put_aside(12, 0.25, seed=0)[1].tolist() == [0, 3, 9]


def test_what_is_searched_is_printed_first(latentkit, tmp_path):
    loud = [word for word in QUICK if word != "--quiet"]
    done = latentkit("tune", "wine", "-o", tmp_path / "study", *loud, "--trials", 1)
    assert done.code == 0
    words = " ".join(done.out.split())
    assert "bound on log p(x), by gp; a trial takes 2 epochs at most" in words
    assert "latent_dim 1 to 13, whole, logarithmic (first 6)" in words
    assert "120 rows to learn from, 40 to judge by, 18 that nothing looks at" in words
    assert done.out.index("latent_dim") < done.out.index("1 trials")
    assert "latentkit sample" in done.out
    assert f"latentkit evaluate {tmp_path / 'study' / 'best'} wine" in done.out
    assert "--set prior=normal" in done.out
    assert "trial 0 complete" in done.err


def test_other_data_are_refused(study, latentkit):
    done = latentkit("tune", "iris", "-o", study, *QUICK, *SPACE)
    assert done.code == 3
    assert "Give the data and the options of before, or choose another folder" in done.err


def test_another_version_is_refused(study, latentkit, tmp_path):
    (tmp_path / "study.json").write_text('{"format": 99, "latentkit": "9.0"}')
    done = latentkit("tune", "wine", "-o", tmp_path, *QUICK, *SPACE)
    assert done.code == 3
    assert "study format 99" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--search", "latent_dims=1:4"), "Did you mean 'latent_dim'"),
        (("--only",), "there is nothing to search"),
        (("--search", "encoder=[4],[8]"), "encoder is set to one value and searched"),
        (("--for", "speed"), "speed"),
        (("--language", "fr"), "--language must be one of: en, zh; got 'fr'"),
        (("--set", "latent_dmi=4"), "Did you mean 'latent_dim'"),
        (("--model", "gan"), "has no encoder"),
    ],
)
def test_wrong_words_are_told(words, message, latentkit, tmp_path):
    plain = () if "gan" in words else QUICK
    done = latentkit("tune", "wine", "-o", tmp_path / "study", *plain, *words)
    assert done.code == 2
    assert message in " ".join(done.err.split())


def test_labels_say_which_rows_are_odd(latentkit, tmp_path):
    file = tmp_path / "rows.csv"
    rows = [f"{i % 7},{i % 5},{(i * i) % 11},{'odd' if i % 9 == 0 else 'fine'}" for i in range(200)]
    file.write_text("a,b,c,kind\n" + "\n".join(rows) + "\n")
    loud = [word for word in QUICK if word != "--quiet"]
    where = ("tune", file, "-o", tmp_path / "study", "--for", "detect", "--labels", "kind")
    done = latentkit(*where, *loud, *SPACE, "--trials", 1)
    assert done.code == 0, done.err
    assert "odd rows: the 23 labelled odd" in done.err
    assert "AUROC" in done.out


def test_searches_are_read_from_words():
    asked = parse_search(["latent_dim=2:64", "likelihood-options.variance=shared,feature", "beta=1e-1:10", "dropout"])
    assert asked == {
        "latent_dim": (2, 64),
        "likelihood_options.variance": ["shared", "feature"],
        "beta": (0.1, 10),
        "dropout": None,
    }
    for wrong in ("=2:3", "latent_dim=", "latent_dim=a:b"):
        with pytest.raises(InvalidParameterError, match="--search"):
            parse_search([wrong])


def finished(journal):
    """Trials that are complete or pruned, by the lines of a journal."""
    if not journal.exists():
        return 0
    whole = [json.loads(line) for line in journal.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return sum(line.get("state") in (1, 2) for line in whole)


@pytest.mark.slow
def test_a_killed_command_goes_on(tmp_path, latentkit):
    folder = tmp_path / "study"
    words = [str(word) for word in ("tune", "wine", "-o", folder, *QUICK, *SPACE, "--trials", 200)]
    process = subprocess.Popen([sys.executable, "-m", "latentkit", *words])
    try:
        while finished(folder / "journal.log") < 3:
            time.sleep(0.05)
            assert process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    n = finished(folder / "journal.log")
    done = latentkit("tune", "wine", "-o", folder, *QUICK, *SPACE, "--trials", n + 2, "--json")
    found = json.loads(done.out)["trials"]
    assert found["complete"] + found["pruned"] == n + 2
    assert found["running"] == 0


@pytest.mark.slow
def test_workers_share_a_study(tmp_path, latentkit):
    done = latentkit("tune", "wine", "-o", tmp_path / "study", *QUICK, *SPACE, "--trials", 12, "--workers", 2, "--json")
    assert done.code == 0
    assert json.loads(done.out)["trials"]["all"] == 12
