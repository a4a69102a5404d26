"""Scores: the same in any company bit for bit, in nats, explained to the last digit, kept and taken again."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import nan_euclidean_distances
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.seeds import generator
from latentkit.tasks.detection import PARTS, EnsembleWitness, OddnessScore, fit_ensemble, score_parts
from latentkit.tasks.detection.scoring import _tail_unit
from tests.tasks.detection.cases import N_COLUMNS, OWNERS, rows, witness

EVERYTHING = tuple(sorted(score_parts))
SETS = {**PARTS, "all": EVERYTHING}
N, HELD_OUT = 300, 200


def made(parts: tuple[str, ...] = EVERYTHING, **settings) -> OddnessScore:
    return OddnessScore(witness(), parts, **{"batch_size": 64, **settings})


@pytest.fixture(scope="module")
def scores() -> dict[str, OddnessScore]:
    x, reference = rows(N, holes=0.05), rows(HELD_OUT, "reference", holes=0.05)
    return {name: made(parts).learn(x, reference=reference) for name, parts in SETS.items()}


def planted() -> Tensor:
    """Usual rows, of which the third feature of the column 2 is off in the first, and column 0 in the second."""
    x = rows(40, "new")
    x[0, 3] += 8.0
    x[1, 0] -= 8.0
    return x


# The same in any company


@pytest.mark.parametrize("name", SETS)
def test_scores_are_bit_equal_in_any_batch_order_and_subset(scores, name) -> None:
    score, x = scores[name], torch.cat([rows(90, "new", holes=0.1), rows(N, holes=0.05)[:50]])
    whole = score(x)
    assert np.isfinite(whole).all()
    order = torch.randperm(len(x), generator=generator(0, "order"))
    assert score(x[order]).tobytes() == whole[order.numpy()].tobytes()
    for part in (slice(0, 1), slice(3, 5), slice(60, 68), slice(100, 140)):
        assert score(x[part]).tobytes() == whole[part].tobytes()
    assert score(x[:0]).shape == (0,)


@pytest.mark.parametrize("batch_size", [32, 128, 1024])
def test_the_size_of_batches_hardly_matters(scores, batch_size) -> None:
    x = rows(90, "new")
    other = made(batch_size=batch_size).restore(scores["all"].state())
    np.testing.assert_allclose(other(x), scores["all"](x), rtol=1e-4, atol=1e-4)


def test_who_was_trained_on_is_judged_as_new_rows_are(scores) -> None:
    """Rows of training and others come from the same place: with itself for company one would seem less odd."""
    for name, score in scores.items():
        values = [score(x) for x in (rows(N, holes=0.05), rows(400, "fresh", holes=0.05))]
        assert abs(np.median(values[0]) - np.median(values[1])) < 0.35, name


def test_parts_are_on_one_scale_and_the_score_is_their_mean(scores) -> None:
    score, x = scores["all"], rows(N, holes=0.05)
    values = score.values(x)
    assert set(values) == set(EVERYTHING)
    for name, part in values.items():
        single = {"nearest", "neighbors", "wide_neighbors", "histograms"}
        assert part.mean() == pytest.approx(0, abs=1e-6), name
        assert part.std() == pytest.approx(1, abs=1e-6) if name in single else 0.5 < part.std() <= 1, name
    base, scale, offset = score.unit.tolist()
    np.testing.assert_allclose((sum(values.values()) / len(values) - base) / scale + offset, score(x), rtol=1e-9)


# The unit


def test_an_exponential_tail_is_told_in_nats() -> None:
    raw = torch.from_numpy(np.random.default_rng(0).exponential(3.0, 100_000))
    base, scale, offset = _tail_unit(raw).tolist()
    for share in (0.1, 0.01, 1e-3):
        value = -3.0 * math.log(share)
        assert (value - base) / scale + offset == pytest.approx(-math.log(share), abs=0.05)


def test_a_tenth_of_the_reference_exceeds_its_log_and_by_one_nat(scores) -> None:
    for score in scores.values():
        found = score(rows(HELD_OUT, "reference", holes=0.05))
        above = found[found > math.log(10) + 1e-9]
        assert len(above) == HELD_OUT // 10
        assert (above - math.log(10)).mean() == pytest.approx(1)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 12])
def test_the_unit_of_few_scores_is_finite(n) -> None:
    assert _tail_unit(torch.arange(float(n))).isfinite().all()
    base, scale, _ = _tail_unit(torch.ones(n)).tolist()
    assert (base, scale) == (1.0, 1.0)


# Explain


@pytest.mark.parametrize("name", SETS)
def test_contributions_add_up_and_name_the_column(scores, name) -> None:
    score, x = scores[name], planted()
    found = score.explain(x)
    assert found.contributions.shape == (40, N_COLUMNS)
    assert np.array_equal(found.scores, score(x))
    np.testing.assert_allclose(found.contributions.sum(1) + found.baseline, found.scores, rtol=0, atol=1e-9)
    assert found.contributions[:2].argmax(1).tolist() == [OWNERS[3], OWNERS[0]]
    assert set(np.argsort(-found.scores)[:2]) == {0, 1}


def test_what_is_unknown_contributes_nothing_to_what_asks_for_known_numbers() -> None:
    x = planted()
    x[:, 4] = torch.nan
    found = made(("residuals", "histograms")).learn(rows(N)).explain(x)
    assert np.abs(found.contributions[:, OWNERS[4]]).max() < 1e-9
    assert np.abs(found.contributions[:, OWNERS[5]]).min() > 1e-9


def test_a_counterpart_is_the_most_normal_of_ten_near_rows(scores) -> None:
    score = scores["clean"]
    pool = score.pool.nan_to_num(0.0)
    x = torch.cat([planted(), score.pool[:20]])
    distances = torch.from_numpy(nan_euclidean_distances(x.numpy(), pool.numpy()))
    distances[torch.arange(40, 60), torch.arange(20)] = torch.inf
    near = distances.topk(10, dim=1, largest=False).indices
    normal = torch.from_numpy(score(score.pool))
    expected = near.gather(1, normal[near].argmin(1, keepdim=True))[:, 0]
    assert score.explain(x).counterparts.tolist() == expected.tolist()


def test_explanations_do_not_depend_on_the_company(scores) -> None:
    x = planted()
    whole, one = scores["mixed"].explain(x), scores["mixed"].explain(x[5:6])
    np.testing.assert_allclose(one.contributions, whole.contributions[5:6], rtol=1e-6, atol=1e-9)


def test_the_sum_of_parts_is_shared_by_what_each_column_adds(scores) -> None:
    """One part that is a sum: the shares of the columns in the score are theirs in the part."""
    score = made(("histograms",)).learn(rows(N))
    x = planted()
    found = score.explain(x)
    part, evidence = score.parts["histograms"], witness()(x)
    terms = part.of_columns(evidence, torch.full((40,), -1), witness())[0].numpy()
    expected = terms * (found.contributions.sum(1) / np.maximum(terms.sum(1), 1e-9))[:, None]
    np.testing.assert_allclose(found.contributions, expected, atol=1e-5)
    assert terms[:2].max(1).min() > 2, "some are odd"


# Keep


@pytest.mark.parametrize("name", SETS)
def test_what_was_learnt_is_taken_again_bit_for_bit(scores, name) -> None:
    score, x = scores[name], planted()
    state = score.state()
    assert not [key for key in state if key.startswith("witness")]
    again = made(SETS[name]).restore({key: tensor.clone() for key, tensor in state.items()})
    assert again(x).tobytes() == score(x).tobytes()
    assert again.explain(x).contributions.tobytes() == score.explain(x).contributions.tobytes()
    assert set(again.state()) == set(state)


def test_the_seed_says_which_rows_are_compared_with() -> None:
    first, same, other = (made(("nearest",)).learn(rows(N), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.pool, same.pool)
    assert not torch.equal(first.pool, other.pool)
    assert torch.equal(first.pool.sort(0).values, other.pool.sort(0).values)


# Hard rows


def test_far_rows_are_finite_and_odder_the_farther(scores) -> None:
    away = torch.tensor([1.0, -1, 1, -1, 1, -1])
    x = torch.stack([away * d for d in (5.0, 50.0, 5e3)])
    for score in scores.values():
        found = score(x)
        assert np.isfinite(found).all()
        assert (np.diff(found) > 0).all()
        assert (found > score(rows(N, holes=0.05)).max()).all()


def test_rows_that_are_all_the_same_have_scores() -> None:
    x = torch.ones(30, 6)
    score = made().learn(x)
    assert np.unique(score(x)).size == 1
    new = score(rows(5, "new"))
    assert np.isfinite(new).all()
    assert (new > score(x)[0]).all()
    assert np.isfinite(score.explain(torch.cat([x[:1], rows(2)])).contributions).all()


@pytest.mark.parametrize("n", [2, 3, 7])
def test_few_rows_are_enough(n) -> None:
    score = made().learn(rows(n))
    assert np.isfinite(score(torch.cat([rows(n), rows(10, "new")]))).all()


def test_many_numbers_are_compared_with_fewer_rows() -> None:
    x = torch.randn(300, 30_000, generator=generator(0, "wide"))
    ensemble = fit_ensemble(x[:2, :2], seed=0, n_steps=1)

    class Narrow(torch.nn.Module):
        is_smooth, owners, modelled_owners = True, torch.arange(2), torch.arange(2)
        inner = EnsembleWitness(ensemble, torch.arange(2))

        def features(self, x: Tensor) -> Tensor:
            return self.inner.features(x[:, :2])

        def forward(self, x: Tensor, keys: Tensor | None = None):
            return self.inner(x[:, :2], keys)

    score = OddnessScore(Narrow(), ("nearest",), batch_size=64).learn(x)
    assert len(score.pool) == 200


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="at least one part; choose of: residuals, "):
        made(())
    state = made(("nearest",)).learn(rows(10)).state()
    for others in (("neighbors",), ("nearest", "neighbors")):
        with pytest.raises(InvalidParameterError, match="state of a score of other parts than .*neighbors"):
            made(others).restore(state)
    with pytest.raises(InvalidParameterError, match="unknown score part .nearst.*Did you mean .nearest"):
        made(("nearst",))
