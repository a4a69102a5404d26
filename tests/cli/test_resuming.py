"""Going on with a training, in real second processes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from latentkit.cli import main
from tests.cli.conftest import ALONE, QUICK

#: Long enough to be stopped in the middle, several times.
LONG = ("--set", "max_epochs=120", *QUICK[2:], "--set", "patience=null", "--set", "weight_averaging=0.9")
WEIGHTS = "weights.safetensors"


@pytest.fixture(scope="module")
def undisturbed(images_file: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of a training that nothing disturbs."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    assert main(["fit", str(images_file), "-o", str(run), *LONG]) == 0
    return (run / WEIGHTS).read_bytes()


def _start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "latentkit", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def _stop(process: subprocess.Popen[str], run: Path, number: signal.Signals, seconds: float) -> tuple[int, str]:
    """Signal a process some time after it began to train; return its exit code and what it said."""
    metrics = run / "metrics.jsonl"
    before = metrics.stat().st_mtime_ns if metrics.exists() else 0
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.stat().st_mtime_ns != before):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


@pytest.mark.parametrize(
    "signals",
    [
        pytest.param((signal.SIGTERM,), id="stopped"),
        pytest.param((signal.SIGTERM, signal.SIGKILL), id="stopped-killed", marks=pytest.mark.slow),
        pytest.param((signal.SIGINT, signal.SIGKILL, signal.SIGTERM), id="thrice", marks=pytest.mark.slow),
    ],
)
def test_stopped_and_killed_and_resumed_ends_in_the_same_weights(images_file, undisturbed, tmp_path, signals) -> None:
    run = tmp_path / "run"
    moments = random.Random()
    for number in signals:
        # The same command line each time, but for --resume.
        line = ("fit", images_file, "-o", run, *LONG, *(("--resume",) if run.exists() else ()))
        code, err = _stop(_start(*line), run, number, moments.uniform(0.0, 0.3))
        assert not (run / WEIGHTS).exists()
        if number is signal.SIGKILL:
            assert code == -signal.SIGKILL
            continue
        assert code == 130, err
        assert "training was interrupted at step" in err.splitlines()[-1]
        assert "Traceback" not in err
        assert (run / "checkpoints" / "last.safetensors").exists()
    assert main(["info", str(run)]) == 0
    # Settings and data come from the run.
    assert main(["fit", "--resume", "-o", str(run), *ALONE]) == 0
    assert (run / WEIGHTS).read_bytes() == undisturbed


@pytest.mark.slow
def test_killed_before_training_began(images_file, undisturbed, tmp_path) -> None:
    run = tmp_path / "run"
    process = _start("fit", images_file, "-o", run, *LONG)
    time.sleep(random.Random().uniform(0.0, 1.5))
    process.kill()
    process.communicate(timeout=60)
    assert main(["fit", str(images_file), "-o", str(run), *LONG, "--resume"]) == 0
    assert (run / WEIGHTS).read_bytes() == undisturbed


@pytest.mark.slow
def test_full_disk_in_a_real_process(images_run, tmp_path) -> None:
    """A process that may not write large files: what was there stays."""
    target = tmp_path / "samples.npy"
    target.write_bytes(b"what was there")
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "from latentkit.cli import main;"
        f"sys.exit(main(['sample', {str(images_run)!r}, '-n', '200', '-o', {str(target)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", limited], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "samples.npy" in done.stderr
    assert "intact" in done.stderr
    assert target.read_bytes() == b"what was there"
    assert [file.name for file in tmp_path.iterdir()] == ["samples.npy"]


def test_resuming_a_finished_run_changes_nothing(latentkit, images_run) -> None:
    before = {file: file.stat().st_mtime_ns for file in images_run.rglob("*")}
    outcome = latentkit("fit", "--resume", "-o", images_run, "--no-report", "--no-detector")
    assert outcome.code == 0
    assert "trained to the end already" in outcome.err
    assert {file: file.stat().st_mtime_ns for file in images_run.rglob("*")} == before


def test_resuming_with_other_settings(latentkit, images_run, images_file) -> None:
    for arguments, word in (
        (("--set", "latent_dim=9"), "latent_dim is 3; got 9"),
        (("--seed", "5"), "random_state is 0; got 5"),
        (("--time", "1m"), "max_time is None; got '1m'"),
        (("--array", "y"), "got array=y"),
    ):
        outcome = latentkit("fit", images_file, "--resume", "-o", images_run, *arguments)
        assert outcome.code == 2
        assert word in outcome.err, outcome.err
    same = ("fit", images_file, "--resume", "-o", images_run, "--set", "latent_dim=3", "--seed", "0")
    assert latentkit(*same, "--no-report", "--no-detector").code == 0


@pytest.fixture
def unfinished(images_file, images_run, tmp_path) -> Path:
    """A run that was killed before its first checkpoint, whose data are a copy."""
    data = shutil.copy(images_file, tmp_path / "x.npz")
    run = shutil.copytree(images_run, tmp_path / "run")
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["fitted"]
    config["data"]["reading"]["source"] = str(data)
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    for name in (WEIGHTS, "checkpoints/last.safetensors"):
        (run / name).unlink(missing_ok=True)
    return run


def test_using_an_unfinished_run(latentkit, unfinished, tmp_path) -> None:
    outcome = latentkit("sample", unfinished, "-o", tmp_path / "a.png")
    assert outcome.code == 3
    assert "not trained to the end" in outcome.err
    assert "--resume" in outcome.err
    assert "--resume" in latentkit("info", unfinished).out


def test_resuming_where_the_data_are_gone(latentkit, unfinished, images_file, images_run, tmp_path) -> None:
    (tmp_path / "x.npz").unlink()
    outcome = latentkit("fit", "--resume", "-o", unfinished)
    assert outcome.code == 3
    assert f"are not at {tmp_path / 'x.npz'} any more" in outcome.err
    assert latentkit("fit", images_file, "--resume", "-o", unfinished, *ALONE).code == 0
    assert (unfinished / WEIGHTS).read_bytes() == (images_run / WEIGHTS).read_bytes()


def test_resuming_where_there_is_no_run(latentkit, tmp_path) -> None:
    outcome = latentkit("fit", "--resume", "-o", tmp_path / "gone")
    assert outcome.code == 3
    assert "there is no run" in outcome.err


def test_resuming_with_a_damaged_checkpoint(latentkit, unfinished) -> None:
    file = unfinished / "checkpoints" / "last.safetensors"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"nothing")
    outcome = latentkit("fit", "--resume", "-o", unfinished)
    assert outcome.code == 3
    assert "last.safetensors is damaged" in outcome.err
