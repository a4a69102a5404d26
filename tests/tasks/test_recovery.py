from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.seeds import row_keys
from latentkit.tasks import complete, recover
from tests.evaluation.linear_gaussian import LinearGaussian

OBSERVED = torch.tensor([True, False, True, False, False])


def exact_conditional(model: LinearGaussian, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean, shape (batch, missing), and covariance of the missing features of x given the observed ones."""
    seen, missing = OBSERVED.nonzero().flatten(), (~OBSERVED).nonzero().flatten()
    mean, covariance = model.posterior(x[:, seen], seen)
    weight = model.weight[missing]
    noise = model.stddev**2 * torch.eye(len(missing), dtype=torch.float64)
    return mean @ weight.mT + model.bias[missing], weight @ covariance @ weight.mT + noise


# the exact encoder, ones that are too narrow or too wide or off the place, and one that is hopeless
@pytest.mark.parametrize(
    ("widen", "shift"),
    [
        pytest.param(1.0, 0.0, marks=pytest.mark.slow),
        (0.6, 0.1),
        pytest.param(1.5, -0.2, marks=pytest.mark.slow),
        pytest.param(0.3, 1.5, marks=pytest.mark.slow),
    ],
)
def test_draws_follow_the_exact_conditional(widen: float, shift: float) -> None:
    model = LinearGaussian(stddev=0.4, widen=widen, shift=shift)
    x = model.draw(6)
    mean, covariance = exact_conditional(model, x)
    draws = recover(model, x, OBSERVED.expand_as(x), n_draws=3000, n_steps=60)[..., ~OBSERVED]
    deviations = draws - draws.mean(0)
    empirical = torch.einsum("kbi,kbj->bij", deviations, deviations) / len(draws)
    scale = covariance.diagonal().sqrt()
    # means to 5 standard errors; covariances in units of the standard deviations
    torch.testing.assert_close(draws.mean(0) / scale, mean / scale, atol=5 / math.sqrt(3000), rtol=0)
    torch.testing.assert_close(
        empirical / torch.outer(scale, scale),
        (covariance / torch.outer(scale, scale)).expand_as(empirical),
        atol=0.13,
        rtol=0,
    )


def test_means_average_to_the_conditional_mean_without_the_noise() -> None:
    model = LinearGaussian(stddev=0.4)
    x = model.draw(6)
    mean, covariance = exact_conditional(model, x)
    draws = recover(model, x, OBSERVED.expand_as(x), n_draws=2000, n_steps=30, draw="mean")[..., ~OBSERVED]
    torch.testing.assert_close(draws.mean(0), mean, atol=0.1, rtol=0)
    expected = covariance.diagonal() - model.stddev**2
    torch.testing.assert_close(draws.var(0).mean(0), expected, atol=0, rtol=0.12)


def test_steps_move_the_chains() -> None:
    model = LinearGaussian(stddev=0.4, widen=0.6)
    x = model.draw(3)
    mask = OBSERVED.expand_as(x)
    start, end = (recover(model, x, mask, n_draws=20, n_steps=n, draw="mean")[..., ~OBSERVED] for n in (0, 20))
    assert (start != end).any(-1).float().mean() > 0.9


@pytest.mark.parametrize("event", [(5,), (1, 2, 3)])
def test_observed_features_are_kept_exactly(event: tuple[int, ...]) -> None:
    model = LinearGaussian(event)
    x = model.draw(7)
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(x.shape, generator=generator) < 0.5
    mask[0], mask[1] = True, False
    holes = torch.where(mask, x, torch.nan)
    draws = recover(model, holes, mask, n_draws=3, n_steps=2)
    assert draws.shape == (3, 7, *event)
    assert torch.isfinite(draws).all()
    assert torch.equal(draws[:, mask], x[mask].expand(3, -1))
    assert not torch.equal(draws[0, 1], draws[1, 1])
    assert not draws.is_inference()


def test_what_stands_in_missing_places_is_never_read() -> None:
    model = LinearGaussian()
    x = model.draw(4)
    mask = OBSERVED.expand_as(x)
    first = recover(model, torch.where(mask, x, torch.nan), mask, n_steps=3)
    assert torch.equal(first, recover(model, torch.where(mask, x, 1e9), mask, n_steps=3))


def test_nothing_observed_gives_draws_from_the_model() -> None:
    model = LinearGaussian(latent_dim=1, event_shape=(2,))
    x = torch.zeros(1, 2, dtype=torch.float64)
    draws = recover(model, x, torch.zeros(1, 2, dtype=torch.bool), n_draws=4000, n_steps=30)[:, 0]
    covariance = model.weight @ model.weight.mT + model.stddev**2 * torch.eye(2, dtype=torch.float64)
    torch.testing.assert_close(draws.mean(0), model.bias, atol=0.1, rtol=0)
    torch.testing.assert_close(draws.T.cov(), covariance, atol=0.1, rtol=0.12)


def test_nothing_missing_or_no_rows_returns_the_data() -> None:
    model = LinearGaussian()
    x = model.draw(3)
    assert torch.equal(recover(model, x, torch.ones_like(x, dtype=torch.bool), n_draws=2), x.expand(2, 3, 5))
    assert recover(model, x[:0], torch.ones(0, 5, dtype=torch.bool), n_draws=2).shape == (2, 0, 5)


def test_draws_do_not_depend_on_batch_or_order() -> None:
    model = LinearGaussian(widen=1.3)
    x = model.draw(6)
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) < 0.6
    whole = recover(model, x, mask, n_draws=3, n_steps=10, seed=2)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    shuffled = recover(model, x[order], mask[order], n_draws=3, n_steps=10, seed=2)
    torch.testing.assert_close(shuffled, whole[:, order], rtol=1e-10, atol=1e-10)
    for row in range(6):
        single = recover(model, x[row : row + 1], mask[row : row + 1], n_draws=3, n_steps=10, seed=2)
        torch.testing.assert_close(single[:, 0], whole[:, row], rtol=1e-10, atol=1e-10)


def test_blocks_bound_the_memory_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = LinearGaussian(widen=1.3)
    x = model.draw(6)
    mask = OBSERVED.expand_as(x)
    whole = recover(model, x, mask, n_draws=2, n_steps=3)
    monkeypatch.setattr("latentkit.tasks.recovery._ELEMENTS", 100)
    torch.testing.assert_close(recover(model, x, mask, n_draws=2, n_steps=3), whole, rtol=1e-10, atol=1e-10)


def test_seed_and_keys_decide_the_draws() -> None:
    model = LinearGaussian()
    x = model.draw(3)
    mask = OBSERVED.expand_as(x)
    first = recover(model, x, mask, n_steps=2, seed=1)
    assert torch.equal(first, recover(model, x, mask, n_steps=2, seed=1))
    assert not torch.equal(first, recover(model, x, mask, n_steps=2, seed=2))
    assert not torch.equal(first, recover(model, x, mask, n_steps=2, seed=1, keys=row_keys(x)))


def test_wrong_options_are_named() -> None:
    model = LinearGaussian()
    x = model.draw(3)
    mask = OBSERVED.expand_as(x)
    with pytest.raises(InvalidParameterError, match="n_draws must be an integer of at least 1; got 0"):
        recover(model, x, mask, n_draws=0)
    with pytest.raises(InvalidParameterError, match="n_steps"):
        recover(model, x, mask, n_steps=-1)
    with pytest.raises(InvalidParameterError, match="draw must be one of: sample, mean"):
        recover(model, x, mask, draw="median")  # type: ignore[arg-type]
    with pytest.raises(InvalidParameterError, match=r"mask must be bool .* of shape \(3, 5\); got torch.float64"):
        recover(model, x, mask.double())
    with pytest.raises(InvalidParameterError, match=r"mask must be bool"):
        recover(model, x, mask[:, :2])
    with pytest.raises(InvalidParameterError, match="row 1 holds NaN or infinity"):
        recover(model, torch.where(torch.arange(3)[:, None] == 1, torch.nan, x), mask)
    with pytest.raises(InvalidParameterError, match="one key per row"):
        recover(model, x, mask, keys=torch.arange(2))


def test_completing_comes_to_rest_at_a_row_that_the_model_rebuilds() -> None:
    model = LinearGaussian(stddev=0.4)
    x = model.draw(6)
    mask = OBSERVED.expand_as(x)
    rest = complete(model, x, mask, n_steps=500)
    assert torch.equal(rest[mask], x[mask])
    rebuilt = model.decode(model.encode(rest).mean).mean
    torch.testing.assert_close(rest[~mask], rebuilt[~mask])
    # with the exact posterior it rests at the mean of the missing features given the observed ones
    mean, _ = exact_conditional(model, x)
    torch.testing.assert_close(rest[:, ~OBSERVED], mean)


def test_completing_starts_from_zeros_and_never_reads_what_is_missing() -> None:
    model = LinearGaussian(stddev=0.4, shift=0.2)
    x = model.draw(6)
    mask = OBSERVED.expand_as(x)
    zeros, holes = torch.where(mask, x, 0.0), torch.where(mask, x, math.nan)
    once = complete(model, holes, mask, n_steps=1)
    torch.testing.assert_close(once[~mask], model.decode(model.encode(zeros).mean).mean[~mask])
    with pytest.raises(InvalidParameterError, match="n_steps must be an integer of at least 1; got 0"):
        complete(model, x, mask, n_steps=0)
    with pytest.raises(InvalidParameterError, match="row 0 holds NaN"):
        complete(model, holes, torch.ones_like(mask))
