"""The training loop: it climbs, stops, goes back, averages, and resumes exactly."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from latentkit.core.errors import DivergenceError, TrainingInterrupted
from latentkit.core.protocols import Batch, Phase, Terms
from latentkit.models import VaeSpecification, resolve_network
from latentkit.objectives import Elbo
from latentkit.objectives.phases import single_phase
from latentkit.training import Engine, Feed, Trainer, TrainingPlan, mean_objective, read_checkpoint
from latentkit.training.progress import Silent, Status

PLAN = TrainingPlan(max_epochs=6, batch_size=32, learning_rate=3e-3, engine=Engine(threads=1), checkpoint_interval=0.0)


def rows(n: int = 300, *, seed: int = 0) -> Tensor:
    """Eight columns that depend on two hidden numbers."""
    random = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n, 2, generator=random)
    x = hidden @ torch.randn(2, 8, generator=torch.Generator().manual_seed(99))
    x = x + 0.1 * torch.randn(n, 8, generator=random)
    return (x - x.mean(0)) / x.std(0)


def model(seed: int = 0, *, dropout: float = 0.2) -> nn.Module:
    choice = resolve_network((16,), (8,))
    specification = VaeSpecification(event_shape=(8,), latent_dim=2, encoder=choice, decoder=choice, dropout=dropout)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return specification.build()


def feed(n: int = 300, *, seed: int = 0) -> Feed:
    return Feed(rows(n, seed=seed), lambda storage: storage)


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_training_climbs_and_keeps_the_best_state() -> None:
    trained, validation = model(), feed(100, seed=1)
    before = mean_objective(trained, Elbo(), validation, batch_size=50)
    plan = replace(PLAN, max_epochs=15)
    result = Trainer(trained, Elbo(), plan, train=feed(), validation=validation).run()
    scores = [record.validation for record in result.history]
    assert result.stopped == "epochs"
    assert len(scores) == 15
    assert None not in scores
    assert max(scores) > before + 1.0
    assert scores[result.best_epoch - 1] == max(scores)
    assert not trained.training


def test_examples_of_about_one_length_are_judged_together() -> None:
    lengths, met = torch.arange(300).flip(0), []

    def objective(model: Any, batch: Batch) -> Terms:
        assert batch.rows is not None
        met.append(lengths[batch.rows])
        values = batch.rows.float()
        return Terms(objective=values, log_likelihood=values, kl=values)

    by_length = Feed(rows(), lambda storage: storage, lengths=lengths)
    assert mean_objective(model(), objective, by_length, batch_size=40) == 149.5
    assert torch.equal(torch.cat(met), torch.arange(300))


def test_progress_tells_the_mean_of_the_last_steps() -> None:
    told: list[float] = []

    class Listener(Silent):
        def update(self, status: Status) -> None:
            told.append(status.objective)

    trainer = Trainer(model(), Elbo(), PLAN, train=feed(), reporter=Listener())
    trainer._window = [Terms(*(torch.full((n,), value),) * 3) for n, value in ((10, -7.0), (10, -5.0), (20, -8.0))]
    trainer._tell(0.5)
    assert told == [-7.0]


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_state_alone() -> None:
    state = torch.random.get_rng_state()
    first, second, other = model(), model(), model()
    for trained, seed in ((first, 1), (second, 1), (other, 2)):
        Trainer(trained, Elbo(), replace(PLAN, seed=seed), train=feed()).run()
    assert same(first, second)
    assert not same(first, other)
    assert torch.equal(state, torch.random.get_rng_state())


class Watched:
    """A bound that finds fault with training from step `n` on."""

    def __init__(self, n: int) -> None:
        self.n, self.steps, self.elbo = n, 0, Elbo()

    def __call__(self, model: Any, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        self.steps += 1
        return self.elbo(model, batch, kl_weight=kl_weight)

    def phases(self, model: Any) -> list[Phase]:
        return single_phase(self, model)

    def failure(self) -> str | None:
        return "the game is over (play another)" if self.steps >= self.n else None


def test_an_objective_that_finds_fault_is_answered_by_going_back_and_then_by_an_error() -> None:
    plan = replace(PLAN, max_rollbacks=2)
    with pytest.raises(DivergenceError, match=r"step \d+: the game is over \(play another\), after 2 rollbacks"):
        Trainer(model(), Watched(15), plan, train=feed()).run()
    result = Trainer(model(), Watched(10**9), plan, train=feed()).run()
    assert result.events == []


def test_examples_keep_their_numbers_in_a_subset() -> None:
    part = feed(20).subset(torch.tensor([4, 9, 2]))
    batch = part.batch(torch.tensor([2, 0]))
    assert batch.rows.tolist() == [2, 4]
    torch.testing.assert_close(batch.x, rows(20)[[2, 4]])
    seen = torch.cat([batch.rows for batch in feed(20).epoch(5, seed=0, epoch=0)])
    assert sorted(seen.tolist()) == list(range(20))


@pytest.mark.parametrize("step", [*(pytest.param(step, marks=pytest.mark.slow) for step in (1, 10, 50)), 27])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "muon"])
def test_a_training_that_was_interrupted_and_resumed_ends_in_the_same_weights(tmp_path, step, optimizer) -> None:
    options = {"momentum": 0.5} if optimizer == "sgd" else {}
    rate = 3e-4 if optimizer == "sgd" else 3e-3
    path = tmp_path / "last.safetensors"
    plan = replace(
        PLAN,
        learning_rate=rate,
        optimizer=optimizer,
        optimizer_options=options,
        averaging=0.9,
        schedule="plateau",
        checkpoint_path=path,
    )
    undisturbed, stopped, resumed = model(), model(), model(seed=5)
    whole = Trainer(undisturbed, Elbo(), plan, train=feed(), validation=feed(60, seed=1)).run()

    count = iter(range(1, 10_000))
    with pytest.raises(TrainingInterrupted, match=r"--resume goes on"):
        Trainer(
            stopped,
            Elbo(),
            plan,
            train=feed(),
            validation=feed(60, seed=1),
            is_interrupted=lambda: next(count) == step,
        ).run()
    rest = Trainer(resumed, Elbo(), plan, train=feed(), validation=feed(60, seed=1)).run(read_checkpoint(path))
    assert same(undisturbed, resumed)
    assert [r.objective for r in rest.history] == [r.objective for r in whole.history]
    assert [r.validation for r in rest.history] == [r.validation for r in whole.history]
    assert rest.best_epoch == whole.best_epoch


def test_an_interruption_without_a_folder_says_that_nothing_was_saved() -> None:
    with pytest.raises(TrainingInterrupted, match="nothing was saved"):
        Trainer(model(), Elbo(), PLAN, train=feed(), is_interrupted=lambda: True).run()


def test_more_epochs_can_be_added_to_a_finished_training(tmp_path) -> None:
    plan = replace(PLAN, max_epochs=2, checkpoint_path=tmp_path / "last.safetensors")
    Trainer(model(), Elbo(), plan, train=feed()).run()
    longer = Trainer(model(), Elbo(), replace(plan, max_epochs=5), train=feed())
    result = longer.run(read_checkpoint(tmp_path / "last.safetensors"))
    assert [record.epoch for record in result.history] == [1, 2, 3, 4, 5]


def test_patience_ends_a_training_that_no_longer_improves() -> None:
    plan = replace(PLAN, max_epochs=50, patience=2, learning_rate=1e-9)
    result = Trainer(model(), Elbo(), plan, train=feed(), validation=feed(60, seed=1)).run()
    assert result.stopped == "patience"
    assert len(result.history) < 50


def test_a_time_budget_ends_training_and_steers_the_rate() -> None:
    plan = replace(PLAN, max_epochs=100_000, max_time=0.6)
    result = Trainer(model(), Elbo(), plan, train=feed()).run()
    assert result.stopped == "time"
    assert result.history[-1].seconds < 2.0
    assert result.history[-1].learning_rate < 0.05 * plan.learning_rate


def test_averaged_weights_are_smoother_than_the_last_ones() -> None:
    plan = replace(PLAN, learning_rate=0.03, schedule="constant", max_epochs=40)
    last, averaged = model(dropout=0.0), model(dropout=0.0)
    Trainer(last, Elbo(), plan, train=feed()).run()
    Trainer(averaged, Elbo(), replace(plan, averaging=0.98), train=feed()).run()
    validation = feed(200, seed=1)
    scores = [mean_objective(m, Elbo(), validation, batch_size=200) for m in (last, averaged)]
    assert scores[1] > scores[0]


class Spike:
    """An objective that turns into NaN while the learning rate is too high, in one chosen step."""

    def __init__(self, at: int, *, times: int = 1, value: float = math.nan) -> None:
        self.calls, self.at, self.left, self.value = 0, at, times, value

    def __call__(self, model: nn.Module, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        terms = Elbo()(model, batch, kl_weight=kl_weight)
        if not torch.is_grad_enabled():
            return terms
        self.calls += 1
        if self.calls >= self.at and self.left > 0:
            self.left -= 1
            broken = terms.kl * self.value if math.isnan(self.value) else terms.kl + self.value
            return Terms(terms.log_likelihood - broken, terms.log_likelihood, broken)
        return terms

    def phases(self, model: nn.Module) -> list[Phase]:
        parameters = list(model.parameters())
        return [Phase(parameters, lambda batch, weight: self(model, batch, kl_weight=weight))]


@pytest.mark.parametrize("value", [math.nan, 1e12])
def test_a_divergence_is_rolled_back_and_the_rate_halved(value: float) -> None:
    trained = model()
    result = Trainer(trained, Spike(25, value=value), PLAN, train=feed()).run()
    assert len(result.events) == 1
    assert "halved the learning rate to 0.0015" in result.events[0]
    assert "step 27" in result.events[0]
    assert len(result.history) == 6
    assert all(torch.isfinite(parameter).all() for parameter in trained.parameters())


def test_a_divergence_that_does_not_end_is_an_error_that_names_step_term_and_value() -> None:
    with pytest.raises(DivergenceError, match=r"diverged at step \d+: objective was nan, after 5 rollbacks"):
        Trainer(model(), Spike(1, times=10_000), PLAN, train=feed()).run()


def test_gradient_clipping_bounds_the_step() -> None:
    free, clipped = model(dropout=0.0), model(dropout=0.0)
    plan = replace(
        PLAN, optimizer="sgd", learning_rate=1e-2, max_epochs=1, batch_size=300, schedule="constant", warm_up=0
    )
    start = model(dropout=0.0)
    for trained, clip in ((free, None), (clipped, 1e-3)):
        Trainer(trained, Elbo(), replace(plan, gradient_clip=clip), train=feed()).run()

    def moved(trained: nn.Module) -> float:
        pairs = zip(trained.parameters(), start.parameters(), strict=True)
        return math.sqrt(sum(float((a - b).detach().square().sum()) for a, b in pairs))

    assert moved(clipped) == pytest.approx(1e-2 * 1e-3, rel=1e-2)
    assert moved(free) > 10 * moved(clipped)


def test_a_checkpoint_is_left_by_every_training_with_a_folder(tmp_path) -> None:
    path = tmp_path / "run" / "checkpoints" / "last.safetensors"
    Trainer(model(), Elbo(), replace(PLAN, checkpoint_path=path, max_epochs=1), train=feed()).run()
    checkpoint = read_checkpoint(path)
    assert checkpoint.values["state"]["epoch"] == 1
    assert set(checkpoint.tensors) >= {"model", "rng", "optimizer0"}
    assert [p.name for p in path.parent.iterdir()] == ["last.safetensors"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it loads its compiler
def test_compiled_steps_learn_as_eager_ones_do() -> None:
    eager, compiled = model(dropout=0.0), model(dropout=0.0)
    plan = replace(PLAN, max_epochs=20)
    try:
        Trainer(compiled, Elbo(), replace(plan, engine=Engine(threads=1, compiled=True)), train=feed()).run()
    except Exception as error:
        if "compiler" in str(error).lower():
            pytest.skip(reason="no C++ compiler for torch.compile")
        raise
    Trainer(eager, Elbo(), plan, train=feed()).run()
    validation = feed(500, seed=1)
    a, b = (mean_objective(m, Elbo(), validation, batch_size=500) for m in (eager, compiled))
    assert a == pytest.approx(b, abs=0.5)
