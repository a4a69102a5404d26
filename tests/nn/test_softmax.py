"""The softmax that is computed in parts, against torch's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from latentkit.nn import softmax
from latentkit.nn.softmax import Sampled, log_softmax_of


@pytest.mark.parametrize("alive", [1, 14, 1 << 20])
def test_values_and_gradients_are_torchs(alive: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_ALIVE", "_AT_ONCE"):
        monkeypatch.setattr(softmax, name, alive)
    random = torch.Generator().manual_seed(0)
    given = [torch.randn(shape, generator=random, dtype=torch.float64) for shape in ((9, 4), (7, 4), (7,))]
    targets, weights = torch.randint(0, 7, (9,), generator=random), torch.randn(9, generator=random).double()
    ours, theirs = ([part.clone().requires_grad_() for part in given] for _ in range(2))
    found = log_softmax_of(*ours, targets)
    expected = -functional.cross_entropy(functional.linear(*theirs), targets, reduction="none")
    torch.testing.assert_close(found, expected)
    for each in (found, expected):
        (each * weights).sum().backward()
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own.grad, other.grad)


def test_no_row_and_low_precision() -> None:
    assert log_softmax_of(torch.zeros(0, 3), torch.zeros(4, 3), torch.zeros(4), torch.zeros(0).long()).shape == (0,)
    features, weight = torch.randn(5, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = log_softmax_of(features, weight, torch.zeros(4), torch.arange(5) % 4)
    assert found.dtype == torch.float32
    found.sum().backward()
    assert features.grad is not None
    assert features.grad.dtype == torch.float32
    expected = -functional.cross_entropy(features @ weight.T, torch.arange(5) % 4, reduction="none")
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0.05)


def test_all_classes_sampled_are_the_softmax() -> None:
    random = torch.Generator().manual_seed(0)
    features, weight, bias = (torch.randn(shape, generator=random) for shape in ((9, 4), (7, 4), (7,)))
    targets = torch.randint(0, 7, (9,), generator=random)
    found = Sampled.of(torch.randperm(7, generator=random), 7).log_probs(features, weight, bias, targets)
    torch.testing.assert_close(found, log_softmax_of(features, weight, bias, targets))


def test_the_sum_of_sampled_classes_is_unbiased_beside_the_target() -> None:
    random = torch.Generator().manual_seed(0)
    features, weight, bias = (torch.randn(shape, generator=random) for shape in ((1, 4), (30, 4), (30,)))
    masses = torch.exp(functional.linear(features, weight, bias))[0]
    order = masses.argsort(descending=True)
    for target in (int(order[0]), int(order[-1])):  # one that is always there, one that is drawn at times
        own = masses[target]
        torch.manual_seed(1)
        given = features, weight, bias, torch.tensor([target])
        sums = torch.cat([own / Sampled.of(order, 10).log_probs(*given).exp() - own for _ in range(800)])
        assert abs(sums.mean() - (masses.sum() - own)) < 4 * sums.std() / 800**0.5
