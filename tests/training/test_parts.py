"""Optimisers, schedules, feed, engine, checkpoints and progress."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from torch import nn

from latentkit.core.errors import DamagedRunError, InvalidParameterError, RunVersionError, StorageError
from latentkit.training import (
    Checkpoint,
    Engine,
    Feed,
    Interruption,
    build_optimizer,
    choose_engine,
    make_reporter,
    optimizer_names,
    pick_device,
    read_checkpoint,
    schedules,
    write_checkpoint,
)
from latentkit.training.engine import engine_cache_path, measure_engine
from latentkit.training.progress import PlainLines, ProgressBar, Silent, Status
from latentkit.training.schedules import Plateau, Step, warm_up

# Optimisers


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


@pytest.mark.parametrize("name", optimizer_names())
def test_every_optimizer_of_torch_lowers_a_loss_and_restores_its_state(name: str) -> None:
    torch.manual_seed(0)
    x, net, twin = torch.randn(64, 4), network(), network()
    y = x.sum(1, keepdim=True)

    def advance(module: nn.Module, optimizer: object) -> float:
        optimizer.zero_grad()
        loss = (module(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    optimizer = build_optimizer(name, net.parameters(), learning_rate=0.01)
    losses = [advance(net, optimizer) for _ in range(20)]
    assert losses[-1] < losses[0]

    twin.load_state_dict(net.state_dict())
    restored = build_optimizer(name, twin.parameters(), learning_rate=0.01)
    tensors, values = optimizer.state()
    restored.load_state({key: value.clone() for key, value in tensors.items()}, json.loads(json.dumps(values)))
    assert advance(net, optimizer) == advance(twin, restored)
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", [name for name in optimizer_names() if name != "muon"])
def test_steps_without_torchs_wrappers_are_those_with_them(name: str) -> None:
    torch.manual_seed(0)
    x, net, twin = torch.randn(64, 4), network(), network()
    twin.load_state_dict(net.state_dict())
    ours = build_optimizer(name, net.parameters(), learning_rate=0.01)
    theirs = build_optimizer(name, twin.parameters(), learning_rate=0.01).members[0]
    for _ in range(3):
        for module, optimizer in ((net, ours), (twin, theirs)):
            optimizer.zero_grad()
            module(x).square().mean().backward()
            optimizer.step()
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.slow
def test_neither_models_nor_training_steps_import_torchs_compiler() -> None:
    script = """
import sys, torch
import latentkit.estimators
from latentkit.training import build_optimizer
for name in ("adam", "sgd", "muon"):
    net = torch.nn.Linear(4, 4)
    optimizer = build_optimizer(name, net.parameters(), learning_rate=0.1)
    optimizer.zero_grad()
    net(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    optimizer.load_state(*optimizer.state())
method = torch.optim.Optimizer.add_param_group.__wrapped__
print("torch._dynamo" in sys.modules, "__dynamo_disable" in vars(method))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]


def test_weight_decay_spares_vectors() -> None:
    net = network()
    optimizer = build_optimizer("adamw", net.parameters(), learning_rate=0.1, weight_decay=0.5)
    groups = optimizer.members[0].param_groups
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert all(decays[id(p)] == (0.5 if p.dim() > 1 else 0.0) for p in net.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "adm"}, r"optimizer must be one of: .*got 'adm'. Did you mean 'adam'"),
        ({"name": "sgd", "options": {"momentun": 0.9}}, r"SGD has no option 'momentun'.*Did you mean 'momentum'"),
        ({"name": "adam", "options": {"betas": (2.0, 0.9)}}, r"Adam refused its options"),
        ({"name": "rprop", "weight_decay": 0.1}, r"Rprop has no weight decay"),
    ],
)
def test_wrong_optimizers_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        build_optimizer(parameters=network().parameters(), learning_rate=0.1, **arguments)


# Schedules


@pytest.mark.parametrize("name", schedules.names())
def test_every_schedule_starts_at_full_strength_and_restores_its_state(name: str) -> None:
    schedule = schedules[name]()
    assert schedule.factor(0.0) == pytest.approx(1.0)
    for score in (1.0, 0.5, 0.4, 0.3, 0.2):
        schedule.observe(score)
    assert 0.0 < schedule.factor(1.0) <= 1.0
    twin = schedules[name]()
    twin.load_state(json.loads(json.dumps(schedule.state())))
    for progress in (0.0, 0.3, 0.9, 1.0):
        assert twin.factor(progress) == schedule.factor(progress)


def test_step_and_plateau() -> None:
    assert [round(Step().factor(p), 6) for p in (0.0, 0.6, 0.9)] == [1.0, 0.1, 0.01]
    plateau = Plateau(patience=2)
    for score in (1.0, 0.9, 0.9):
        plateau.observe(score)
    assert plateau.factor(0.5) == 0.5


def test_warm_up_is_a_ramp() -> None:
    assert [warm_up(p, 0.1) for p in (0.05, 0.1, 1.0)] == [0.5, 1.0, 1.0]
    assert 0 < warm_up(0.0, 0.1) < 0.01


# Feed


def test_a_feed_serves_every_row_once_in_an_order_of_seed_and_epoch() -> None:
    feed = Feed(torch.arange(10), lambda storage: storage.float())
    first = [batch.x.tolist() for batch in feed.epoch(4, seed=0, epoch=0)]
    assert sorted(row for rows in first for row in rows) == list(range(10))
    assert first == [batch.x.tolist() for batch in feed.epoch(4, seed=0, epoch=0)]
    assert first != [batch.x.tolist() for batch in feed.epoch(4, seed=0, epoch=1)]
    assert first[1:] == [batch.x.tolist() for batch in feed.epoch(4, seed=0, epoch=0, start=1)]


@pytest.mark.parametrize(("n", "batch", "steps"), [(10, 4, 3), (9, 4, 2), (3, 4, 1), (8, 4, 2), (1, 1, 1)])
def test_a_small_remainder_sits_out(n: int, batch: int, steps: int) -> None:
    feed = Feed(torch.arange(n), lambda storage: storage.float())
    assert feed.steps_per_epoch(batch) == steps == len(list(feed.epoch(batch, seed=0, epoch=0)))


def test_a_feed_carries_conditions_with_their_rows() -> None:
    feed = Feed(torch.arange(6), lambda storage: storage.float(), condition=torch.arange(6)[:, None] * 10.0)
    for batch in feed.subset(torch.tensor([5, 1, 3])).epoch(2, seed=0, epoch=0):
        assert torch.equal(batch.condition[:, 0], batch.x * 10)


# Engine


def test_an_engine_sets_threads_and_kernels_and_restores_them() -> None:
    threads, matmul = torch.get_num_threads(), torch.get_float32_matmul_precision()
    with Engine(threads=1, matmul="medium").applied():
        assert torch.get_num_threads() == 1
        assert torch.get_float32_matmul_precision() == "medium"
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (threads, matmul)


def test_the_fastest_engine_is_chosen_and_remembered(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("LATENTKIT_CACHE", str(tmp_path))
    measured: list[Engine] = []

    def make_step(engine: Engine):
        measured.append(engine)
        work = 4 if engine.precision == "float32" else 1
        a = torch.randn(200 * work, 200)

        def step() -> torch.Tensor:
            return a @ a.T

        return step

    arguments = {"device": "cpu", "precision": "auto", "compiled": False, "signature": "s", "make_step": make_step}
    first = choose_engine(**arguments, n_steps=1e9)
    assert first.measured == "measured"
    assert engine_cache_path().parent == tmp_path
    n_measured = len(measured)
    again = choose_engine(**arguments, n_steps=1e9)
    assert again.measured == "remembered"
    assert len(measured) == n_measured
    assert (again.precision, again.threads, again.matmul) == (first.precision, first.threads, first.matmul)
    other = choose_engine(**{**arguments, "signature": "another"}, n_steps=1e9)
    assert other.measured == "measured"


def test_a_short_training_takes_the_default_and_keeps_to_it(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("LATENTKIT_CACHE", str(tmp_path))
    arguments = {"device": "cpu", "precision": "auto", "compiled": False, "signature": "s"}
    default = choose_engine(**arguments, make_step=lambda engine: lambda: torch.zeros(1), n_steps=3)
    assert (default.measured, default.precision) == ("default", "float32")
    again = choose_engine(**arguments, make_step=lambda engine: pytest.fail("measured"), n_steps=1e9)
    assert again == default


def test_a_broken_cache_is_measured_anew(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("LATENTKIT_CACHE", str(tmp_path))
    (tmp_path / "engines.json").write_text("{ not json")
    engine = choose_engine(
        device="cpu",
        precision="float32",
        compiled=False,
        signature="s",
        make_step=lambda engine: lambda: torch.zeros(1),
        n_steps=1e9,
    )
    assert engine.measured == "measured"
    assert engine.precision == "float32"


def test_a_precision_that_was_asked_for_is_kept() -> None:
    base = Engine(threads=1, precision="bfloat16")
    engine = measure_engine(base, lambda engine: lambda: torch.zeros(1), precisions=("bfloat16",), seconds=0.001)
    assert engine.precision == "bfloat16"


@pytest.mark.parametrize("device", ["tpu", "cuda:99x", "gpu"])
def test_unknown_devices_are_refused(device: str) -> None:
    with pytest.raises(InvalidParameterError, match="device"):
        pick_device(device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_an_absent_device_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="not available here"):
        pick_device("cuda")


# Checkpoints


def test_a_checkpoint_comes_back_exactly(tmp_path) -> None:
    path = tmp_path / "a" / "last.safetensors"
    tensors = {"model": {"w": torch.randn(3, 2), "n": torch.tensor(7)}, "rng": {"cpu": torch.random.get_rng_state()}}
    write_checkpoint(path, Checkpoint(tensors, {"state": {"x": 0.1 + 0.2, "best": float("-inf"), "list": [1, None]}}))
    back = read_checkpoint(path)
    assert back.values == {"state": {"x": 0.1 + 0.2, "best": float("-inf"), "list": [1, None]}}
    for section, content in tensors.items():
        for name, tensor in content.items():
            assert torch.equal(back.tensors[section][name], tensor)


def test_damaged_checkpoints_are_named(tmp_path) -> None:
    path = tmp_path / "last.safetensors"
    with pytest.raises(DamagedRunError, match="there is no checkpoint"):
        read_checkpoint(path)
    write_checkpoint(path, Checkpoint({"model": {"w": torch.randn(30)}}, {}))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedRunError, match="damaged"):
        read_checkpoint(path)
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(1)}, path)
    with pytest.raises(DamagedRunError, match="not a checkpoint"):
        read_checkpoint(path)
    save_file(
        {"a/w": torch.zeros(1)}, path, metadata={"format": "latentkit-checkpoint", "version": "99", "values": "{}"}
    )
    with pytest.raises(RunVersionError, match="format 99"):
        read_checkpoint(path)


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch) -> None:
    path = tmp_path / "last.safetensors"
    write_checkpoint(path, Checkpoint({"model": {"w": torch.ones(3)}}, {"n": 1}))

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("latentkit.training.checkpoints.save_file", lambda *a, **k: full())
    with pytest.raises(StorageError, match="No space left"):
        write_checkpoint(path, Checkpoint({"model": {"w": torch.zeros(3)}}, {"n": 2}))
    assert read_checkpoint(path).values == {"n": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.safetensors"]


# Interruption and progress


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_the_handlers_come_back(number: int) -> None:
    before = signal.getsignal(number)
    with Interruption() as interruption:
        assert not interruption.requested
        os.kill(os.getpid(), number)
        assert interruption.requested
        assert interruption.received == number
    assert signal.getsignal(number) is before


STATUS = Status(
    epoch=3,
    max_epochs=10,
    progress=0.25,
    elapsed=30.0,
    objective=-101.25,
    validation=-99.5,
    kl=20.1,
    samples_per_second=12_345,
)


def test_the_status_line_has_the_terms_the_rate_and_the_time_left() -> None:
    assert STATUS.remaining == pytest.approx(90.0)
    assert STATUS.text() == "epoch 3/10  objective -101.2  kl 20.1  valid -99.5  12k/s"


def test_plain_lines_go_to_standard_error(capsys) -> None:
    reporter = PlainLines(interval=0.0)
    reporter.start("begin")
    reporter.update(STATUS)
    reporter.epoch(STATUS)
    reporter.event("went back")
    reporter.close()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[0] == "begin"
    assert "0:30 elapsed, 1:30 left" in captured.err
    assert "went back" in captured.err


def test_the_last_epoch_is_printed_even_when_lines_are_sparse(capsys) -> None:
    reporter = PlainLines(interval=1e9)
    reporter._last = float("inf")
    reporter.epoch(STATUS)
    assert capsys.readouterr().err == ""
    reporter.close()
    assert "epoch 3/10" in capsys.readouterr().err


def test_the_reporter_suits_the_place(monkeypatch) -> None:
    assert isinstance(make_reporter(0), Silent)
    assert isinstance(make_reporter(1), PlainLines)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(make_reporter(1), ProgressBar)


def test_the_bar_runs_without_a_terminal(capsys) -> None:
    reporter = ProgressBar()
    reporter.start("begin")
    reporter.update(STATUS)
    reporter.epoch(STATUS)
    reporter.event("went back")
    reporter.close()
    assert "epoch 3/10" in capsys.readouterr().err
