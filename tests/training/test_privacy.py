"""Differential privacy of training: gradients of single rows, noise, rows that are drawn, and what has been spent."""

from __future__ import annotations

import copy
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latentkit.core.errors import DivergenceError, InvalidParameterError, TrainingInterrupted, UnsupportedOperationError
from latentkit.core.protocols import Batch, Phase, Terms
from latentkit.models import VaeSpecification, resolve_network
from latentkit.objectives import Elbo, objectives
from latentkit.objectives.phases import single_phase
from latentkit.training import (
    Engine,
    Feed,
    Privacy,
    PrivateStep,
    Trainer,
    TrainingPlan,
    calibrate,
    draw_key,
    read_checkpoint,
)
from latentkit.training.privacy import ORDERS, spent_epsilon
from latentkit.training.private_step import HELD

PRIVACY = Privacy(
    epsilon=3.0, delta=1e-5, max_grad_norm=0.7, sample_rate=0.1, noise_multiplier=1.3, max_steps=100, key=7
)
PLAN = TrainingPlan(
    max_epochs=4,
    batch_size=30,
    learning_rate=3e-3,
    engine=Engine(threads=1),
    checkpoint_interval=0.0,
    privacy=PRIVACY,
)
SIZES, GAPS, ORDER = (2, 30, 4), (None, 29, None), (False, True, False)


class Plain:
    """The bound at the posterior's mean: nothing is drawn, so that gradients can be compared."""

    def __call__(self, model: Any, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        posterior = model.encode(batch.x)
        z = posterior.mean
        if hasattr(model.decoder, "logits"):
            fit = -model.decoder.logits(model.decoder(z).squeeze(1), batch.x).logsumexp(-1)
        else:
            fit = model.decode(z).log_prob(batch.x)
        kl = posterior.log_var.square().sum(-1) + z.square().sum(-1)
        return Terms(fit - kl_weight * kl, fit, kl)

    def phases(self, model: Any) -> list[Phase]:
        return single_phase(self, model)


def rows(n: int = 300) -> Tensor:
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(0)).cumsum(1)


def cells(n: int = 40) -> Tensor:
    x = torch.rand(n, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor(SIZES)
    x[::7, 1] = float("nan")
    return x


def model(*, dropout: float = 0.0) -> nn.Module:
    choice = resolve_network((16,), (8,))
    specification = VaeSpecification(event_shape=(8,), latent_dim=2, encoder=choice, decoder=choice, dropout=dropout)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return specification.build()


def table_model() -> nn.Module:
    kinds = {"cardinalities": list(SIZES), "missing_codes": list(GAPS), "is_ordered": list(ORDER)}
    network = {"network": "columns", "widths": [16], **kinds}
    specification = VaeSpecification(
        event_shape=(3,), latent_dim=2, encoder=network, decoder=network, likelihood="columns", likelihood_options=kinds
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = specification.build()
    built.encoder.hides = False
    return built


def feed(n: int = 300) -> Feed:
    return Feed(rows(n), lambda storage: storage)


def gradients_one_by_one(trained: nn.Module, x: Tensor, max_norm: float) -> list[Tensor]:
    """The oracle: a backward pass for each row, clipped by torch, and summed."""
    total = [torch.zeros_like(parameter) for parameter in trained.parameters()]
    for row in x:
        trained.zero_grad()
        (-Plain()(trained, Batch(row.unsqueeze(0)), kl_weight=0.5).objective.sum()).backward()
        nn.utils.clip_grad_norm_(trained.parameters(), max_norm)
        for part, parameter in zip(total, trained.parameters(), strict=True):
            part += parameter.grad if parameter.grad is not None else 0.0
    return total


@pytest.mark.parametrize(("build", "x"), [(model, rows(40)), (table_model, cells())], ids=["rows", "table"])
def test_gradients_are_those_of_a_loop_over_rows(build, x, monkeypatch) -> None:
    trained = build()
    n_numbers = sum(parameter.numel() for parameter in trained.parameters())
    for max_norm, held in ((0.7, HELD), (1e4, 7 * n_numbers)):  # all clipped, in one part; none, in several
        monkeypatch.setattr("latentkit.training.private_step.HELD", held)
        plan = replace(PLAN, privacy=replace(PRIVACY, max_grad_norm=max_norm))
        found, terms = PrivateStep(trained, Plain(), plan).clipped_sum(Batch(x), 0.5)
        expected = gradients_one_by_one(trained, x, max_norm)
        for part, gradient in zip(expected, found.values(), strict=True):
            torch.testing.assert_close(gradient, part, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(terms.objective, Plain()(trained, Batch(x), kl_weight=0.5).objective)


def test_a_step_without_rows_is_noise_alone_of_the_right_scale() -> None:
    trained = model()
    step = PrivateStep(trained, Plain(), PLAN)
    drawn = []
    for number in (0, 1):
        terms = step(Batch(rows(0)), 1.0, number)
        assert terms.objective.shape == (0,)
        drawn.append(torch.cat([parameter.grad.flatten() for parameter in trained.parameters()]) * PLAN.batch_size)
    numbers = torch.cat(drawn)
    scale = PRIVACY.noise_multiplier * PRIVACY.max_grad_norm
    assert abs(numbers.std().item() / scale - 1) < 5 / len(numbers) ** 0.5
    assert abs(numbers.mean().item()) < 5 * scale / len(numbers) ** 0.5
    assert not torch.equal(*drawn)


def test_noise_is_normal_and_of_one_key_and_step() -> None:
    from scipy.stats import kstest

    numbers = PRIVACY.noise(50_000, 3)
    assert kstest(numbers.numpy() / (1.3 * 0.7), "norm").pvalue > 1e-4
    assert torch.equal(numbers, PRIVACY.noise(50_000, 3))
    for other in (PRIVACY.noise(50_000, 4), replace(PRIVACY, key=8).noise(50_000, 3)):
        assert abs(np.corrcoef(numbers, other)[0, 1]) < 0.02


def test_a_row_changes_the_sum_by_no_more_than_the_norm() -> None:
    x = rows(30)
    x[3] *= 1e4  # an outlier
    step = PrivateStep(model(), Plain(), PLAN)
    whole, _ = step.clipped_sum(Batch(x), 1.0)
    for left_out in (0, 3, 29):
        rest, _ = step.clipped_sum(Batch(torch.cat((x[:left_out], x[left_out + 1 :]))), 1.0)
        change = torch.cat([(whole[name] - rest[name]).flatten() for name in whole]).norm().item()
        assert 0.1 * PRIVACY.max_grad_norm < change <= PRIVACY.max_grad_norm * (1 + 1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_a_row_whose_gradient_is_not_finite_counts_as_zero(value) -> None:
    x, broken = rows(10), rows(10).clone()
    broken[4] = value
    step = PrivateStep(model(), Plain(), PLAN)
    found, _ = step.clipped_sum(Batch(broken), 1.0)
    expected, _ = step.clipped_sum(Batch(torch.cat((x[:4], x[5:]))), 1.0)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name])


def test_rows_are_drawn_each_by_itself_at_the_rate() -> None:
    n, steps = 500, 400
    drawn = torch.zeros(steps, n)
    for step in range(steps):
        numbers = PRIVACY.rows(n, step)
        assert torch.equal(numbers, numbers.unique())
        drawn[step, numbers] = 1.0
    rate = PRIVACY.sample_rate
    assert abs(drawn.mean().item() - rate) < 5 * (rate * (1 - rate) / (n * steps)) ** 0.5
    sizes = drawn.sum(1)
    assert abs(sizes.var().item() / (n * rate * (1 - rate)) - 1) < 0.4  # binomial: batches of one size have none
    assert drawn.mean(0).std().item() < 2 * (rate * (1 - rate) / steps) ** 0.5
    assert torch.equal(PRIVACY.rows(n, 2), PRIVACY.rows(n, 2))
    assert not torch.equal(PRIVACY.rows(n, 2), replace(PRIVACY, key=8).rows(n, 2))


def test_the_training_takes_the_rows_that_are_drawn() -> None:
    trainer = Trainer(model(), Plain(), PLAN, train=feed())
    sizes = []
    step = trainer.step.clipped_sum

    def seen(batch: Batch, kl_weight: float) -> Any:
        sizes.append(batch.rows.tolist())
        return step(batch, kl_weight)

    trainer.step.clipped_sum = seen
    result = trainer.run()
    assert result.n_steps == len(sizes) == 40
    assert sizes == [PRIVACY.rows(300, number).tolist() for number in range(40)]


def test_keys_are_long_and_new_and_not_shown() -> None:
    assert len({draw_key() for _ in range(10)}) == 10
    assert max(draw_key().bit_length() for _ in range(20)) > 120
    secret = replace(PRIVACY, key=123456789123456789)
    assert "123456789" not in repr(secret) + str(secret.to_dict())
    assert Privacy.from_dict(secret.to_dict(), key=secret.key) == secret


# Accounting


@pytest.mark.parametrize(("sigma", "rate", "n_steps"), [(1.1, 0.05, 120), (0.8, 0.3, 25), (2.0, 1.0, 7)])
def test_what_is_spent_is_what_opacus_says(sigma, rate, n_steps) -> None:
    pytest.importorskip("opacus", reason="Opacus is not installed: pip install 'latentkit[privacy]'")
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    for _ in range(n_steps):
        accountant.step(noise_multiplier=sigma, sample_rate=rate)
    expected = accountant.get_epsilon(delta=1e-5, alphas=list(ORDERS))
    found = spent_epsilon(noise_multiplier=sigma, sample_rate=rate, n_steps=n_steps, delta=1e-5)
    assert found == pytest.approx(expected)
    assert found == pytest.approx(accountant.get_epsilon(delta=1e-5), rel=0.02)  # with the orders of Opacus
    spent = replace(PRIVACY, noise_multiplier=sigma, sample_rate=rate).spent(n_steps)
    assert (spent.epsilon, spent.n_steps) == (pytest.approx(expected), n_steps)


@pytest.mark.parametrize(
    "epsilon", [0.1, 3.0, *(pytest.param(epsilon, marks=pytest.mark.slow) for epsilon in (1.0, 20.0))]
)
@pytest.mark.parametrize(("rate", "max_steps"), [(0.01, 1000), (0.3, 50), (1.0, 3)])
def test_the_planned_steps_spend_what_was_asked_for_and_no_more(epsilon, rate, max_steps) -> None:
    pytest.importorskip("opacus", reason="Opacus is not installed: pip install 'latentkit[privacy]'")
    privacy = calibrate(epsilon=epsilon, delta=1e-5, max_grad_norm=1.0, sample_rate=rate, max_steps=max_steps, key=0)
    assert 0.95 * epsilon < privacy.spent(max_steps).epsilon <= epsilon
    assert privacy.spent(max_steps // 2).epsilon < privacy.spent(max_steps).epsilon
    assert privacy.spent(0).epsilon == 0.0


def test_an_epsilon_that_no_noise_gives_is_refused() -> None:
    pytest.importorskip("opacus", reason="Opacus is not installed: pip install 'latentkit[privacy]'")
    with pytest.raises(InvalidParameterError, match=r"no noise makes 10 steps .* Use a larger one"):
        calibrate(epsilon=1e-6, delta=1e-9, max_grad_norm=1.0, sample_rate=1.0, max_steps=10, key=0)


def test_without_opacus_the_error_says_what_to_install(monkeypatch) -> None:
    for name in ("opacus", "opacus.accountants", "opacus.accountants.utils"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InvalidParameterError, match=r"pip install 'latentkit\[privacy\]'"):
        calibrate(epsilon=3.0, delta=1e-5, max_grad_norm=1.0, sample_rate=0.5, max_steps=10, key=0)
    with pytest.raises(InvalidParameterError, match=r"needs Opacus"):
        PRIVACY.spent(3)


# The loop


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    "step", [pytest.param(1, marks=pytest.mark.slow), 13, pytest.param(30, marks=pytest.mark.slow)]
)
def test_a_private_training_that_was_interrupted_and_resumed_ends_in_the_same_weights(tmp_path, step) -> None:
    path = tmp_path / "last.safetensors"
    plan = replace(PLAN, averaging=0.9, checkpoint_path=path)
    whole = model(dropout=0.2)
    Trainer(whole, Elbo(), plan, train=feed(), validation=feed(50)).run()
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls == step

    broken = model(dropout=0.2)
    with pytest.raises(TrainingInterrupted):
        Trainer(broken, Elbo(), plan, train=feed(), validation=feed(50), is_interrupted=stop).run()
    checkpoint = read_checkpoint(path)
    assert checkpoint.values["privacy_key"] == PRIVACY.key
    resumed = model(dropout=0.2)
    result = Trainer(resumed, Elbo(), plan, train=feed(), validation=feed(50)).run(checkpoint)
    assert result.n_steps == 40
    assert same(whole, resumed)


def test_another_key_gives_other_weights() -> None:
    first, second = model(), model()
    for trained, key in ((first, 1), (second, 2)):
        Trainer(trained, Elbo(), replace(PLAN, privacy=replace(PRIVACY, key=key)), train=feed()).run()
    assert not same(first, second)


def test_no_row_decides_what_is_kept_or_when_training_ends() -> None:
    plan = replace(PLAN, learning_rate=0.3, patience=1, max_epochs=8)
    alone, judged = model(), model()
    Trainer(alone, Elbo(), plan, train=feed()).run()
    result = Trainer(judged, Elbo(), plan, train=feed(), validation=feed(50)).run()
    scores = [record.validation for record in result.history]
    assert scores[-1] != max(scores)  # or there would be nothing to see
    assert (result.stopped, result.best_epoch) == ("epochs", 8)
    assert same(alone, judged)


def test_rows_that_break_the_objective_do_not_roll_back() -> None:
    x = rows()
    x[:100] = float("nan")
    trained = model()
    result = Trainer(trained, Elbo(), PLAN, train=Feed(x, lambda storage: storage)).run()
    assert result.events == []
    assert result.n_steps == 40
    assert all(parameter.isfinite().all() for parameter in trained.parameters())


def test_weights_that_are_not_finite_are_an_error() -> None:
    plan = replace(PLAN, optimizer="sgd", learning_rate=1e42, warm_up=0.0)
    with pytest.raises(DivergenceError, match=r"step \d+: a weight is not finite. Use a smaller learning_rate"):
        Trainer(model(), Elbo(), plan, train=feed()).run()


def test_steps_may_be_empty() -> None:
    plan = replace(PLAN, privacy=replace(PRIVACY, sample_rate=1e-9), max_epochs=1)
    trained = model()
    before = copy.deepcopy(trained)
    result = Trainer(trained, Elbo(), plan, train=feed()).run()
    assert result.history[0].objective == 0.0
    assert not same(before, trained)


# What does not go together


@pytest.mark.parametrize("name", ["piwae", "factor"])
def test_objectives_of_several_phases_are_refused(name) -> None:
    with pytest.raises(InvalidParameterError, match=r"takes several, or learns itself. Use objective='elbo'"):
        PrivateStep(model(), objectives[name](), PLAN)


def test_a_model_that_cannot_be_taken_row_by_row_is_refused_with_the_reason() -> None:
    class Looks(Plain):
        def __call__(self, model: Any, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
            assert float(batch.x.sum()) < 1e9  # a number of one row is asked for, which vmap does not know
            return super().__call__(model, batch, kl_weight=kl_weight)

    with pytest.raises(UnsupportedOperationError, match=r"gradient of every row by itself .*'auto' chooses"):
        PrivateStep(model(), Looks(), PLAN).clipped_sum(Batch(rows(5)), 1.0)
