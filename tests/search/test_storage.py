"""A study in a folder: it goes on after a kill, several processes share it, and others' studies are refused."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_wine

from latentkit import VAE, load
from latentkit.core.errors import RunError, StudyError, StudyVersionError
from latentkit.search import prepare, tune
from latentkit.search.storage import JOURNAL, StudyFolder, read_study

X = load_wine().data
VAE_OF_TESTS = {"encoder": (8,), "decoder": (8,), "batch_size": 128, "random_state": 0, "patience": None}
SEARCH = {"latent_dim": (1, 8), "learning_rate": (1e-4, 1e-2)}

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def go_on(folder: Path, *, trials: int = 3, max_epochs: int = 3, data=X, **options):
    vae = VAE(**{**VAE_OF_TESTS, "max_epochs": max_epochs, **options.pop("settings", {})})
    defaults = {"search": SEARCH, "only": True, "pruner": "none", "trials": trials, "folder": folder}
    return tune(vae, data, **{**defaults, **options})


def in_a_process(function, *arguments, **options):
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments, kwargs=options)
    process.start()
    return process


def journal_holds(folder: Path, text: str, times: int) -> bool:
    file = folder / JOURNAL
    return file.exists() and file.read_text().count(text) >= times


def hang_in_the_third_trial(folder: Path) -> None:
    """Two trials as ever; the third never ends."""
    ready = prepare(
        VAE(**VAE_OF_TESTS, max_epochs=3), X, search=SEARCH, only=True, pruner="none", trials=6, folder=folder
    )
    fit, n = ready._fit, 0

    def slow(*arguments):
        nonlocal n
        n += 1
        if n == 3:
            (folder / ".hangs").touch()
            time.sleep(60)
        return fit(*arguments)

    ready._fit = slow
    ready.run()


@pytest.mark.slow
def test_a_study_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path):
    folder = tmp_path / "study"
    process = in_a_process(hang_in_the_third_trial, folder)
    while not (folder / ".hangs").exists():
        time.sleep(0.02)
        assert process.is_alive()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    found = go_on(folder, trials=6)
    assert [trial.state for trial in found.trials_] == ["complete"] * 2 + ["failed"] + ["complete"] * 4
    assert found.trials_[2].why == "the process died"
    whole = go_on(tmp_path / "whole", trials=6)
    kept = [(trial.point, trial.value) for trial in found.trials_ if trial.state == "complete"]
    assert kept == [(trial.point, trial.value) for trial in whole.trials_]


def test_a_trial_that_died_is_tried_once_more_and_then_given_up(tmp_path):
    ready = prepare(VAE(**VAE_OF_TESTS), X, search=SEARCH, only=True, trials=6, folder=tmp_path / "study")
    points = []
    for _ in range(3):
        trial = ready._ask()
        trial.set_user_attr("worker", "a-dead-one")
        points.append(trial.params)
    assert points[0] == points[1]
    assert points[2] != points[0]


def test_two_processes_share_a_study(tmp_path):
    folder = tmp_path / "study"
    process = in_a_process(go_on, folder, trials=5)
    go_on(folder, trials=5)
    process.join()
    found = go_on(folder, trials=5)
    assert process.exitcode == 0
    assert [trial.state for trial in found.trials_] == ["complete"] * 5
    assert len({line["worker_id"] for line in map(json.loads, (folder / JOURNAL).read_text().splitlines())}) >= 2
    assert load(folder / "best").latent_dim_ == found.best_params_["latent_dim"]


def test_finished_studies_stay_as_they_are(tmp_path):
    first = go_on(tmp_path / "study")
    before = (tmp_path / "study" / JOURNAL).read_bytes()
    again = go_on(tmp_path / "study")
    assert (tmp_path / "study" / JOURNAL).read_bytes() == before
    assert [trial.value for trial in again.trials_] == [trial.value for trial in first.trials_]


def test_more_trials_go_on(tmp_path):
    go_on(tmp_path / "study", trials=2)
    assert len(go_on(tmp_path / "study", trials=3).trials_) == 3


def test_the_best_run_is_ready_to_use(tmp_path):
    found = go_on(tmp_path / "study")
    best = load(tmp_path / "study" / "best")
    assert best.score(X[found.validation_rows_]) == pytest.approx(found.best_score_, rel=1e-6)
    assert best.sample(2).shape == (2, X.shape[1])
    names = {file.name for file in (tmp_path / "study").iterdir()}
    assert names == {"study.json", "journal.log", "best", "trials.csv", ".locks"}


def test_the_study_says_which_rows_are_for_what(tmp_path):
    found = go_on(tmp_path / "study", trials=1)
    rows = read_study(tmp_path / "study")["rows"]
    assert rows["validation"] == found.validation_rows_.tolist()
    assert rows["test"] == found.test_rows_.tolist()


def test_a_table_of_trials_is_written(tmp_path):
    found = go_on(tmp_path / "study")
    lines = (tmp_path / "study" / "trials.csv").read_text().splitlines()
    assert lines[0] == "trial,state,value,standard_error,seconds,epochs,why,latent_dim,learning_rate"
    assert len(lines) == 1 + len(found.trials_)


def test_a_best_run_that_waited_when_its_process_died_is_taken(tmp_path):
    folder = tmp_path / "study"
    found = go_on(folder)
    number = found.best_trial_.number
    (folder / "best").rename(folder / f".best-{number}")
    (folder / ".best-99").mkdir()
    again = go_on(folder)
    assert again.best_estimator_ is not None
    assert not list(folder.glob(".best-*"))


def test_a_torn_line_of_the_journal_is_cut(tmp_path):
    folder = tmp_path / "study"
    go_on(folder)
    with (folder / JOURNAL).open("a") as file:
        file.write('{"op_code": 5, "worker')
    assert len(go_on(folder, trials=4).trials_) == 4


def test_a_trial_is_tried_once_more_and_then_left(tmp_path):
    folder = tmp_path / "study"
    ready = prepare(VAE(**VAE_OF_TESTS, max_epochs=1), X, search=SEARCH, only=True, trials=2, folder=folder)
    for _ in range(3):
        trial = ready._ask()
        trial.set_user_attr("worker", "of a dead process")
    found = go_on(folder, trials=2, max_epochs=1, pruner="auto")
    points = [trial.point for trial in found.trials_ if trial.state == "failed"]
    assert points[0] == points[1]  # the first, and its second time
    assert found.count("complete") == 2


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A study of one trial; nobody may change it."""
    folder = tmp_path_factory.mktemp("begun") / "study"
    go_on(folder, trials=1)
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": X + 1.0}, "set of data. It has as many examples, but others"),
        ({"data": X[:100]}, "It has 178 examples, and these are 100"),
        ({"search": {"latent_dim": (1, 4)}}, "another space"),
        ({"goal": "impute"}, "another goal"),
        ({"settings": {"dropout": 0.1}}, "another set of settings"),
        ({"settings": {"random_state": 3}}, "another seed"),
        ({"test_fraction": 0.2}, "another share of test rows"),
        ({"sampler": "random"}, "another sampler"),
    ],
)
def test_another_study_is_refused(begun, change, message):
    with pytest.raises(StudyError, match=message):
        go_on(begun, trials=1, **change)


def test_another_version_is_refused(begun, tmp_path):
    shutil.copytree(begun, tmp_path / "study")
    file = tmp_path / "study" / "study.json"
    file.write_text(file.read_text().replace('"format": 1', '"format": 7'))
    with pytest.raises(StudyVersionError, match="study format 7; latentkit .* goes on with format 1"):
        go_on(tmp_path / "study", trials=1)
    assert issubclass(StudyVersionError, RunError)


def test_a_damaged_study_is_refused(begun, tmp_path):
    shutil.copytree(begun, tmp_path / "study")
    (tmp_path / "study" / "study.json").write_text("{")
    with pytest.raises(StudyError, match="damaged"):
        go_on(tmp_path / "study", trials=1)


def test_folders_of_others_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StudyError, match="holds other files"):
        StudyFolder(tmp_path)
    with pytest.raises(StudyError, match="is a file"):
        StudyFolder(tmp_path / "notes.txt")
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_name_that_begins_like_that_of_the_locks_is_strange(tmp_path):
    (tmp_path / ".locks-of-mine").touch()
    with pytest.raises(StudyError, match="holds other files"):
        StudyFolder(tmp_path)


def test_a_study_that_another_process_is_just_beginning_is_waited_for(tmp_path):
    found = []
    beginner = StudyFolder(tmp_path)
    with beginner.alone():
        (tmp_path / JOURNAL).touch()
        second = threading.Thread(target=lambda: found.append(StudyFolder(tmp_path)))
        second.start()
        second.join(0.2)
        assert second.is_alive()
        beginner.settle(dict.fromkeys(("estimator", "data"), "any"))
    second.join()
    assert found[0].known()["data"] == "any"


def test_what_a_kill_in_the_first_moment_leaves_is_no_strange_file(tmp_path):
    (tmp_path / ".locks").mkdir()
    (tmp_path / ".study.json.abc.json").touch()
    assert StudyFolder(tmp_path).known() is None


def test_an_interrupted_trial_does_not_count(tmp_path):
    folder = tmp_path / "study"
    ready = prepare(VAE(**VAE_OF_TESTS, max_epochs=1), X, search=SEARCH, only=True, trials=2, folder=folder)

    def interrupt(*arguments):
        raise KeyboardInterrupt

    ready._fit = interrupt
    with pytest.raises(KeyboardInterrupt):
        ready.run()
    found = go_on(folder, trials=2, max_epochs=1, pruner="auto")
    assert [trial.state for trial in found.trials_] == ["failed", "complete", "complete"]
    assert np.isfinite([trial.value for trial in found.trials_ if trial.state == "complete"]).all()
