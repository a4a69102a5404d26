"""The game: its losses and penalty by their formulas, who learns in which phase, and when it is over."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.core.errors import InvalidParameterError
from latentkit.core.protocols import Batch, Watchful
from latentkit.distributions import kl_divergence
from latentkit.models import GanSpecification, VaeGanSpecification
from latentkit.objectives import GanObjective, VaeGanObjective, adversarial_losses
from latentkit.objectives.adversarial import Rivalry

MLP: dict[str, Any] = {"network": "mlp", "widths": [8]}
SHARED: dict[str, Any] = {"event_shape": (5,), "latent_dim": 3, "decoder": MLP, "discriminator": MLP}


def make(kind: str, **options: Any) -> tuple[Any, Any]:
    torch.manual_seed(0)
    if kind == "gan":
        return GanSpecification(likelihood_options={"variance": "fixed"}, **SHARED).build(), GanObjective(**options)
    return VaeGanSpecification(encoder=MLP, **SHARED).build(), VaeGanObjective(**options)


def batch(n: int = 16, condition: Tensor | None = None) -> Batch:
    return Batch(torch.randn(n, 5, generator=torch.Generator().manual_seed(1)), condition=condition)


def test_the_nonsaturating_losses_are_cross_entropies() -> None:
    loss, odds = adversarial_losses["nonsaturating"], torch.linspace(-5, 5, 11)
    is_data, is_sample = torch.ones(11), torch.zeros(11)
    cross_entropy = functional.binary_cross_entropy_with_logits
    torch.testing.assert_close(loss.data(odds), cross_entropy(odds, is_data, reduction="none"))
    torch.testing.assert_close(loss.samples(odds), cross_entropy(odds, is_sample, reduction="none"))
    torch.testing.assert_close(loss.generator(odds), cross_entropy(odds, is_data, reduction="none"))


def test_the_hinge_losses_stop_at_the_margin() -> None:
    loss, odds = adversarial_losses["hinge"], torch.tensor([-2.0, 0.0, 2.0])
    assert loss.data(odds).tolist() == [3.0, 1.0, 0.0]
    assert loss.samples(odds).tolist() == [0.0, 1.0, 3.0]
    assert loss.generator(odds).tolist() == [2.0, 0.0, -2.0]


@pytest.mark.parametrize("name", adversarial_losses.names())
def test_guessing_costs_what_is_said(name: str) -> None:
    loss, zero = adversarial_losses[name], torch.zeros(())
    assert float(loss.data(zero) + loss.samples(zero)) == pytest.approx(loss.guessing)


def test_the_penalty_is_half_the_squared_slope_and_comes_at_its_turn() -> None:
    judge = nn.Linear(5, 1)
    x, samples = batch().x, torch.zeros(16, 5)
    plain = Rivalry(r1=0.0)
    rivalry = Rivalry(r1=3.0, every=4)

    def penalty() -> Tensor:
        def discriminate(part: Tensor, condition: Tensor | None) -> Tensor:
            return judge(part).squeeze(-1)

        bare = plain.discriminator_loss(discriminate, x, [samples])
        return rivalry.discriminator_loss(discriminate, x, [samples]) - bare

    expected = 0.5 * 3.0 * 4 * judge.weight.square().sum()
    for step in range(9):
        torch.testing.assert_close(penalty(), (expected if step % 4 == 0 else 0 * expected).expand(16))


def test_the_turn_of_the_penalty_is_part_of_the_state() -> None:
    model, objective = make("gan", r1=3.0, r1_every=4)
    discriminate, _ = objective.phases(model)
    for _ in range(3):
        discriminate.terms(batch(), 1.0)
    _, twin = make("gan", r1=3.0, r1_every=4)
    twin.load_state_dict(objective.state_dict())
    assert twin.rivalry._step == 3
    torch.testing.assert_close(twin.rivalry.balance.spread, objective.rivalry.balance.spread)
    objective.phases(model)
    assert objective.rivalry._step == 0


@pytest.mark.parametrize("kind", ["gan", "vaegan"])
def test_every_weight_is_in_one_phase_and_a_phase_moves_its_own_alone(kind: str) -> None:
    model, objective = make(kind)
    phases = objective.phases(model)
    ours = [id(parameter) for phase in phases for parameter in phase.parameters]
    assert len(ours) == len(set(ours))
    assert set(ours) == {id(parameter) for parameter in model.parameters()}
    for phase in phases:
        model.zero_grad()
        terms = phase.terms(batch(), 1.0)
        assert terms.objective.shape == terms.kl.shape == terms.log_likelihood.shape == (16,)
        (-terms.objective.mean()).backward()
        own = {id(parameter) for parameter in phase.parameters}
        assert all(parameter.grad is not None for parameter in phase.parameters)
        judged = [p for p in model.discriminator.parameters() if id(p) not in own]
        assert all(parameter.grad is None for parameter in judged)
        assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_discriminator_learns_what_is_data() -> None:
    model, objective = make("gan", r1=0.1)
    phase = objective.phases(model)[0]
    far = Batch(batch(64).x + 5.0)
    optimizer = torch.optim.Adam(phase.parameters, lr=0.01)
    for _ in range(50):
        optimizer.zero_grad()
        (-phase.terms(far, 1.0).objective.mean()).backward()
        optimizer.step()
    samples = model.decode(model.prior().sample(64)).mean
    assert model.discriminator(far.x).mean() > 1.0
    assert model.discriminator(samples).mean() < -1.0


def test_the_encoder_climbs_likeness_of_features_less_divergence() -> None:
    model, objective = make("vaegan", beta=2.0)
    torch.manual_seed(3)
    terms = objective(model, batch(), kl_weight=0.5)
    torch.manual_seed(3)
    posterior = model.encode(batch().x)
    decoded = model.decode(posterior.rsample())
    judge = model.discriminator
    wanted = judge.features(batch().x)
    distance = (wanted - judge.features(decoded.mean)).square().sum(-1) / wanted.var(0, correction=0).mean()
    kl = kl_divergence(posterior, model.prior(), z=posterior.mean)
    torch.testing.assert_close(terms.objective, -0.5 * distance - kl)
    torch.testing.assert_close(terms.kl, kl)
    torch.testing.assert_close(terms.log_likelihood, decoded.log_prob(batch().x))


def test_likeness_does_not_depend_on_the_scale_of_the_features() -> None:
    model, objective = make("vaegan")
    values = []
    for factor in (1.0, 100.0):
        with torch.no_grad():
            model.discriminator.body.linears[-1].weight.mul_(factor)
            model.discriminator.body.linears[-1].bias.mul_(factor)
        torch.manual_seed(0)
        values.append(objective(model, batch()).objective)
    torch.testing.assert_close(values[0], values[1])
    assert torch.isfinite(objective(model, batch(1)).objective).all()


def test_the_variance_of_a_vaegan_is_learnt_and_does_not_pull_its_means() -> None:
    model, objective = make("vaegan", gamma=0.0)
    phase = objective.phases(model)[1]
    likelihood, bias = model.autoencoder.likelihood, model.autoencoder.decoder.linears[-1].bias
    slopes, pulls = [], []
    for raw in (3.0, -3.0):
        with torch.no_grad():
            likelihood.raw_log_stddev.fill_(raw)
        model.zero_grad()
        torch.manual_seed(0)
        (-phase.terms(batch(), 1.0).objective.mean()).backward()
        slopes.append(float(likelihood.raw_log_stddev.grad))
        pulls.append(bias.grad.clone())
    assert slopes[0] > 0.5  # too wide comes down
    assert slopes[1] < -0.5  # too narrow goes up
    torch.testing.assert_close(pulls[0], pulls[1])


def observed(loss: float, spread: float, n: int = 400) -> str | None:
    rivalry = Rivalry()
    x = torch.randn(32, 5)
    for _ in range(n):
        rivalry.balance.observe(torch.tensor(loss), x, x * math.sqrt(spread))
    return rivalry.failure()


def test_a_game_that_is_over_is_told() -> None:
    assert observed(0.9, 1.0) is None
    assert observed(0.1, 0.5) is None
    assert observed(1e-4, 1.0, n=100) is None  # too early to tell
    assert "discriminator has won: its loss is 0.01 % of a guesser's" in str(observed(1e-4, 1.0))
    assert "samples have collapsed: their variance is 0.1 % of the data's" in str(observed(0.9, 1e-3))


def test_a_game_that_recovers_is_forgiven() -> None:
    rivalry, x = Rivalry(), torch.randn(32, 5)
    for loss in [1e-4] * 300 + [0.5] * 100:
        rivalry.balance.observe(torch.tensor(loss), x, x)
    assert rivalry.failure() is None


@pytest.mark.parametrize("kind", ["gan", "vaegan"])
def test_the_trainer_can_ask(kind: str) -> None:
    model, objective = make(kind)
    objective.phases(model)
    assert isinstance(objective, Watchful)
    assert objective.failure() is None
    assert "nonsaturating" in repr(objective)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loss": "hinges"}, "unknown adversarial loss 'hinges'.*Did you mean 'hinge'"),
        ({"r1": -1.0}, "r1 must be a float in .0, inf.*Use r1=0 for no penalty"),
        ({"r1_every": 0}, "r1_every must be an integer of at least 1"),
    ],
)
@pytest.mark.parametrize("kind", [GanObjective, VaeGanObjective])
def test_nonsense_is_refused(kind: Any, options: Any, words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        kind(**options)


def test_nonsense_weights_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match="gamma must be"):
        VaeGanObjective(gamma=-1.0)
    with pytest.raises(InvalidParameterError, match="beta must be .* drop the KL"):
        VaeGanObjective(beta=-1.0)
