"""Agreement of what was asked for with what is recognised: known cases, ceilings, chance, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import (
    AttributeRegressor,
    ClassifierFeatures,
    attribute_control,
    classification_accuracy_score,
)


@dataclass
class First:
    """Reads the attribute off the first column."""

    description: str = "the first column"

    def predict(self, x: Tensor) -> Tensor:
        return x[:, 0]


CLASSES = torch.tensor([0, 0, 1, 1, 2])
TEST = torch.tensor([0, 1, 1, 2, 2, 2])
#: Of the test rows of class 1 one is not recognised, of class 2 two.
SEEN = torch.tensor([[0], [1], [0], [2], [1], [0]])


def test_agreement_ceiling_and_chance_of_classes_are_those_of_the_confusion() -> None:
    control = attribute_control(
        torch.tensor([[0], [1], [1], [1], [0]]), CLASSES, recognizer=First(), test=SEEN, test_values=TEST, name="kind"
    )
    assert control.metric == "accuracy"
    assert control.agreement == pytest.approx(3 / 5)
    assert control.standard_error == pytest.approx((0.6 * 0.4 / 5) ** 0.5)
    assert control.ceiling == pytest.approx(2 / 5 * 1 + 2 / 5 / 2 + 1 / 5 / 3)
    assert control.chance == pytest.approx(2 / 5 * 2 / 5 + 2 / 5 * 3 / 5)
    assert control.confusion is not None
    assert control.confusion.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert control.by_class is not None
    torch.testing.assert_close(control.by_class, torch.tensor([0.5, 1.0, 0.0], dtype=torch.float64))
    assert control.figure.name == "attribute accuracy of kind"
    assert "chance 0.4; 5 samples and 6 held-out rows; the first column" in str(control.figure)


def test_numbers_are_judged_by_the_share_of_their_variance() -> None:
    asked = torch.arange(5.0)
    given = {"recognizer": First(), "test": asked[:, None], "test_values": asked}
    exact = attribute_control(asked[:, None], asked, **given)
    assert (exact.metric, exact.agreement, exact.ceiling, exact.chance) == ("R2", 1.0, 1.0, 0.0)
    assert exact.correlation == pytest.approx(1.0)
    half = attribute_control(0.5 * asked[:, None], asked, **given)
    assert half.correlation == pytest.approx(1.0)
    assert half.agreement == pytest.approx(1 - 0.25 * 30 / 10)
    assert attribute_control(torch.full((5, 1), 2.0), asked, **given).agreement == pytest.approx(0.0)
    assert half.confusion is half.by_class is half.standard_error is None


def clouds(n: int, seed: int) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (n,), generator=source)
    return torch.randn(n, 2, generator=source) + 4.0 * y[:, None], y


@pytest.mark.slow
def test_real_rows_reach_the_ceiling_and_shuffled_ones_chance() -> None:
    (train, labels), (test, true), (other, same) = (clouds(n, seed) for seed, n in enumerate((300, 200, 200)))
    given = {"recognizer": ClassifierFeatures(train, labels, n_features=8), "test": test, "test_values": true}
    good = attribute_control(other, same, **given)
    assert good.agreement == pytest.approx(good.ceiling, abs=0.05)
    bad = attribute_control(other, same[torch.randperm(200, generator=torch.Generator().manual_seed(0))], **given)
    assert bad.agreement == pytest.approx(bad.chance, abs=0.1)
    score = classification_accuracy_score(other, same, **given)
    assert score.value == pytest.approx(score.floor, abs=0.05)
    crossed = classification_accuracy_score(other, (same + 1) % 3, **given)
    assert crossed.value < 0.1


def test_a_regressor_says_how_well_it_tells() -> None:
    x = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
    state = torch.random.get_rng_state()
    regressor = AttributeRegressor(x, 100.0 + 10.0 * x[:, 0], n_epochs=60)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert 0.9 < regressor.r2 <= 1.0
    assert f"a regressor trained on 300 rows (seed 0, held-out R2 {regressor.r2:.3f})" == regressor.description
    assert regressor.predict(x).mean() == pytest.approx(100.0, abs=2.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"asked": torch.zeros(4)}, "asked must be integers"),
        ({"asked": CLASSES[:3]}, r"asked must have one value per row, shape \(5,\); got \(3,\)"),
        ({"asked": CLASSES - 1}, "asked must be classes from 0; got -1"),
        ({"test_values": TEST.clamp_max(1)}, "test_values has no row of class 2, which was asked for"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Tensor], words: str) -> None:
    samples = torch.tensor([[0], [1], [1], [1], [0]])
    given = {"asked": CLASSES, "recognizer": First(), "test": SEEN, "test_values": TEST, **changes}
    with pytest.raises(InvalidParameterError, match=words):
        attribute_control(samples, **given)


def test_numbers_that_do_not_vary_are_refused() -> None:
    x = torch.randn(30, 2)
    with pytest.raises(InvalidParameterError, match="asked must be at least 2 finite numbers that vary"):
        attribute_control(x, torch.ones(30), recognizer=First(), test=x, test_values=x[:, 0])
    with pytest.raises(InvalidParameterError, match="values must be finite and vary"):
        AttributeRegressor(x, torch.ones(30))
    with pytest.raises(InvalidParameterError, match="a regressor needs at least 20 rows"):
        AttributeRegressor(x[:10], x[:10, 0])
