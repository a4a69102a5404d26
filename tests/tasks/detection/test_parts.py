"""Parts of a score: one contract for all that are registered, and each against scipy, numpy or torch."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch import Tensor
from torch.distributions import Normal

from latentkit.tasks.detection import Evidence, ScorePart, SharedPart, SumPart, score_parts
from tests.tasks.detection.cases import N_COLUMNS, OWNERS, rows, witness

NAMES = sorted(score_parts)
SUMS = [name for name in NAMES if issubclass(score_parts[name], SumPart)]
#: Parts that compare a row with those of training.
COMPARING = ["exemplar_elbo", "exemplars", "latent_neighbors", "nearest", "neighbors", "wide_neighbors"]
NOBODY = -1


@torch.no_grad()
def evidence(x: Tensor) -> Evidence:
    return witness()(x)


def nobody(n: int) -> Tensor:
    return torch.full((n,), NOBODY)


def learnt(name: str, pool: Tensor) -> ScorePart:
    part = score_parts[name]()
    part.learn(pool)
    part.recall(evidence(pool))
    return part


def made_up(features: Tensor, **fields: Tensor) -> Evidence:
    """Evidence of a model that knows nothing, but for what is given."""
    nothing = torch.zeros(1, len(features))
    empty = {
        "keys": torch.arange(len(features)),
        "known": torch.ones_like(features),
        "means": nothing[..., None],
        "log_vars": nothing[..., None],
        "residuals": torch.zeros(1, *features.shape),
        "log_likelihood": nothing,
        "kl": nothing,
    }
    return Evidence(features=features, bound=lambda n: nothing, **{**empty, **fields})


# The contract


@pytest.mark.parametrize("holes", [0.0, 0.2])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_part_is_a_finite_number_for_each_row_and_member(name: str, holes: float) -> None:
    part = learnt(name, rows(150, holes=holes))
    new = evidence(rows(40, "new", holes=holes))
    values = part(new, nobody(40))
    assert values.shape in {(1, 40), (4, 40)}
    assert values.isfinite().all()
    assert torch.equal(values, part(new, nobody(40)))
    again = learnt(name, rows(150, holes=holes))
    assert torch.equal(values, again(new, nobody(40))), "nothing is left to chance"
    assert values.unique().numel() > 20, "rows differ"


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_what_was_learnt_can_be_restored(name: str) -> None:
    pool, new = rows(150, holes=0.1), evidence(rows(20, "new"))
    part, again = learnt(name, pool), score_parts[name]()
    again.restore(part.state_dict())
    again.recall(evidence(pool))
    assert torch.equal(part(new, nobody(20)), again(new, nobody(20)))


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_far_row_is_odder_than_every_row_of_training(name: str) -> None:
    pool = rows(150)
    part = learnt(name, pool)
    usual = part(evidence(pool), torch.arange(150)).mean(0)
    far = 9.0 * torch.tensor([[1.0, -1, 1, -1, -1, 1], [1.0, 1, 1, 1, 1, 1]])
    assert (part(evidence(far), nobody(2)).mean(0) > usual.max()).all()


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_row_is_not_compared_with_its_equal(name: str) -> None:
    pool = rows(150)
    part = learnt(name, pool)
    own, other = part(evidence(pool[:10]), torch.arange(10)), part(evidence(pool[:10]), nobody(10))
    if name in COMPARING:
        assert (own > other).all(), "with itself for company it would seem less odd"
        beyond = part(evidence(pool[:10]), torch.full((10,), 10_000))
        assert torch.equal(beyond, other), "an equal row that is not looked through changes nothing"
    else:
        assert torch.equal(own, other)


@pytest.mark.parametrize("name", SUMS)
@torch.no_grad()
def test_columns_add_up_to_the_part(name: str) -> None:
    part, new = learnt(name, rows(150, holes=0.1)), evidence(rows(40, "new", holes=0.1))
    columns = part.of_columns(new, nobody(40), witness())
    assert columns.shape[1:] == (40, N_COLUMNS)
    assert (columns >= 0).all()
    torch.testing.assert_close(columns.sum(-1), part(new, nobody(40)), rtol=1e-4, atol=1e-4)
    terms = part.terms(new, nobody(40))
    torch.testing.assert_close(columns[..., 2], terms[..., 2] + terms[..., 3])
    assert OWNERS[2] == OWNERS[3] == 2


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_very_few_rows_of_training_are_enough(name: str, n: int) -> None:
    part = learnt(name, rows(n))
    assert part(evidence(rows(n)), torch.arange(n)).isfinite().all()
    assert part(evidence(rows(7, "new")), nobody(7)).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_equal_rows_of_training_are_no_trouble(name: str) -> None:
    pool = torch.ones(30, 6)
    part = learnt(name, pool)
    assert part(evidence(pool), torch.arange(30)).isfinite().all()
    assert part(evidence(rows(7)), nobody(7)).isfinite().all()


def test_the_contract_knows_all_parts() -> None:
    assert set(COMPARING) <= set(NAMES)
    assert set(SUMS) == {"histograms", "nearest", "neighbors", "residuals", "wide_neighbors"}
    shared = {name for name in NAMES if issubclass(score_parts[name], SharedPart)}
    assert shared - set(SUMS) == {"surprise", "stretch"}


# Oracles


@torch.no_grad()
def test_residuals_are_those_of_a_cauchy_distribution() -> None:
    pool, new = evidence(rows(150)), evidence(rows(20, "new"))
    part = learnt("residuals", rows(150))
    scale = np.sqrt((pool.residuals.numpy() ** 2).mean(1, keepdims=True))
    expected = np.log1p((new.residuals.numpy() / scale) ** 2).sum(-1)
    np.testing.assert_allclose(part(new, nobody(20)).numpy(), expected, rtol=1e-4)


@torch.no_grad()
def test_histograms_are_those_of_numpy() -> None:
    pool, new = rows(400, holes=0.1), evidence(torch.cat([rows(20, "new", holes=0.1), torch.full((1, 6), 50.0)]))
    part = learnt("histograms", pool)
    expected = np.zeros((21, 6))
    for j in range(6):
        known = pool[:, j][~pool[:, j].isnan()].numpy()
        counts, edges = np.histogram(known, bins=10)  # half the root of the number of rows
        shares = np.r_[0, counts, 0] + 0.5
        costs = np.log(shares.max()) - np.log(shares)
        expected[:, j] = costs[np.searchsorted(edges, new.features[:, j].numpy(), side="right")]
    expected *= new.known.numpy()
    np.testing.assert_allclose(part.terms(new, nobody(21))[0].numpy(), expected, atol=1e-5)
    largest = pool.nan_to_num(-9.0).amax(0, keepdim=True)
    inside = part.terms(evidence(largest), nobody(1))[0, 0]
    assert (inside < part.terms(evidence(largest + 0.1), nobody(1))[0, 0]).all(), "the upper end lies in the last bin"


@pytest.mark.parametrize(
    ("name", "k", "most"), [("nearest", 1, 5000), ("neighbors", 5, 5000), ("wide_neighbors", 50, 500)]
)
def test_neighbours_are_those_of_all_distances(name: str, k: int, most: int) -> None:
    pool, new = rows(5100), rows(30, "new")
    part = score_parts[name]()
    part.recall(made_up(pool))
    distances = np.sort(cdist(new.numpy(), pool[:most].numpy()), axis=1)[:, :k].mean(1)
    np.testing.assert_allclose(part(made_up(new), nobody(30))[0].numpy(), distances, rtol=1e-4)
    own = np.sort(cdist(pool[:30].numpy(), pool[:most].numpy()), axis=1)[:, 1 : k + 1].mean(1)
    np.testing.assert_allclose(part(made_up(pool[:30]), torch.arange(30))[0].numpy(), own, rtol=1e-4)


@pytest.mark.parametrize("name", ["nearest", "neighbors", "wide_neighbors"])
def test_distances_of_rows_with_holes_are_those_over_what_is_known(name: str) -> None:
    from sklearn.metrics.pairwise import nan_euclidean_distances

    pool, new = rows(400), rows(30, "new")
    new[torch.arange(30), torch.arange(30) % 6] = torch.nan
    holes = replace(made_up(new.nan_to_num(0.0)), known=(~new.isnan()).float())
    part = score_parts[name]()
    part.recall(made_up(pool))
    expected = np.sort(nan_euclidean_distances(new.numpy(), pool.numpy()), axis=1)[:, : part.k].mean(1)
    np.testing.assert_allclose(part(holes, nobody(30))[0].numpy(), expected, rtol=1e-4)
    terms = part.terms(holes, nobody(30))[0]
    np.testing.assert_allclose(terms.sum(-1).numpy(), expected, rtol=1e-4)
    assert (terms[new.isnan()] == 0.0).all()


def test_what_lies_very_near_is_told_from_what_is_equal() -> None:
    """Far from the centre, products of single precision alone could not."""
    pool = 10.0 + rows(50)
    part = score_parts["nearest"]()
    part.recall(made_up(pool))
    near = pool[:5] + torch.tensor([1e-3, 0, 0, 0, 0, 0])
    expected = (near[:, 0] - pool[:5, 0]).abs()
    torch.testing.assert_close(part(made_up(near), nobody(5))[0], expected, rtol=1e-4, atol=1e-9)


@torch.no_grad()
def test_latent_neighbours_are_those_of_codes_and_residuals() -> None:
    pool, new = evidence(rows(150)), evidence(rows(20, "new"))
    values = learnt("latent_neighbors", rows(150))(new, nobody(20)).numpy()
    for m in range(4):
        scale = np.sqrt((pool.residuals[m].numpy() ** 2).mean(0))
        places = [np.c_[x.means[m].numpy(), 0.5 * x.residuals[m].numpy() / scale] for x in (new, pool)]
        expected = np.sort(cdist(*places), axis=1)[:, :5].mean(1)
        np.testing.assert_allclose(values[m], expected, rtol=1e-3)


@torch.no_grad()
def test_exemplars_are_a_mixture_of_normals() -> None:
    pool, new = evidence(rows(150)), evidence(rows(20, "new"))
    values = learnt("exemplars", rows(150))(new, nobody(20))
    width = pool.log_vars.exp().mean(1, keepdim=True).sqrt().clamp_min(0.05)
    density = Normal(pool.means[:, None], width[:, None]).log_prob(new.means[:, :, None]).sum(-1).logsumexp(-1)
    constant = width.log().sum(-1) + 0.5 * math.log(2 * math.pi) * pool.means.shape[-1]
    torch.testing.assert_close(values, -(density + constant), rtol=1e-3, atol=1e-3)
    both = learnt("exemplar_elbo", rows(150))(new, nobody(20))
    torch.testing.assert_close(both, values - new.log_likelihood, rtol=1e-4, atol=1e-3)


def test_points_have_the_width_of_scotts_rule() -> None:
    means = torch.randn(1, 200, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5.0, 0.0])
    pool = made_up(rows(200), means=means, log_vars=torch.full_like(means, -math.inf))
    part = score_parts["exemplars"]()
    part.recall(pool)
    expected = means[0].std(0, correction=0) * 200 ** (-1 / 7)
    torch.testing.assert_close(part.bandwidth[0, 0], expected.clamp_min(0.05))
    assert part(pool, torch.arange(200)).isfinite().all()


@torch.no_grad()
def test_what_a_model_says_is_said_with_its_sign() -> None:
    new = evidence(rows(20, "new"))
    parts = {name: learnt(name, rows(50))(new, nobody(20)) for name in ("reconstruction", "elbo", "log_likelihood")}
    assert torch.equal(parts["reconstruction"], -new.log_likelihood)
    torch.testing.assert_close(parts["elbo"], new.kl - new.log_likelihood)
    assert torch.equal(parts["log_likelihood"], -new.bound(16))


@torch.no_grad()
def test_more_draws_give_a_higher_bound_and_all_are_above_the_elbo() -> None:
    x = rows(300, "new")
    seen = evidence(x)
    ensemble, means = witness().ensemble, []
    for seed in range(20):
        q = ensemble.encode(x)
        z = q.sample(torch.randn(q.mean.shape, generator=torch.Generator().manual_seed(seed)))
        means.append(ensemble.decode(z).log_prob(x.expand(4, -1, -1)).sum(-1) - q.kl().sum(-1))
    elbo = torch.stack(means).mean((0, 2))
    bounds = [seen.bound(n).mean(1) for n in (1, 16, 128)]
    torch.testing.assert_close(bounds[0], elbo, rtol=0, atol=0.5)
    assert (bounds[1] > elbo).all()
    assert (bounds[2] > bounds[1]).all()


def test_unknown_numbers_add_nothing() -> None:
    features, known = rows(20, "new"), torch.ones(20, 6)
    known[:, 3] = 0
    for name in ("histograms", "residuals"):
        part = learnt(name, rows(150))
        new = evidence(features.where(known > 0, torch.nan))
        assert not part.terms(new, nobody(20))[..., 3].any()
        assert part.terms(new, nobody(20))[..., 2].any()
    hidden = replace(made_up(features), known=known)
    assert not learnt("histograms", rows(150)).terms(hidden, nobody(20))[..., 3].any()


# Texts


def of_texts(residuals: Tensor, lengths: Tensor) -> Evidence:
    """Evidence of texts whose tokens cost so much more than by their frequency."""
    numbers = torch.zeros(len(lengths), 1)
    places = torch.zeros_like(residuals, dtype=torch.long)
    return made_up(numbers, residuals=residuals[None], lengths=lengths, places=places)


def test_a_text_is_as_surprising_as_its_cost_lies_above_that_of_its_length() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(2, 30, (400,), generator=generator)
    inside = torch.arange(30) < lengths[:, None]
    pool = of_texts((1.5 + torch.randn(400, 30, generator=generator)) * inside, lengths)
    part = score_parts["surprise"]()
    part.recall(pool)
    weights = np.polyfit(lengths, pool.residuals[0].sum(1).numpy(), 1, w=lengths.numpy() ** -0.5)
    torch.testing.assert_close(part.line, torch.tensor(weights[::-1].copy(), dtype=torch.float32), rtol=1e-3, atol=1e-3)
    assert abs(float(part.line[1]) - 1.5) < 0.1
    values = part(pool, nobody(400))[0]
    assert abs(np.corrcoef(values, lengths)[0, 1]) < 0.1, "long texts are no odder"
    assert values.std() == pytest.approx(1.0, rel=0.1), "and differ no more"
    assert (part.terms(pool, nobody(400))[0][~inside] == 0).all(), "nothing stands behind the end"


def test_the_oddest_stretch_is_found_wherever_it_is() -> None:
    residuals = torch.zeros(40, 12)
    residuals[torch.arange(40), torch.arange(40) % 10] = 3.0
    lengths = torch.full((40,), 12)
    part = score_parts["stretch"]()
    part.recall(of_texts(residuals, lengths))
    row = torch.zeros(3, 12)
    row[0, :10] = torch.tensor([0.0, 1, 0, 0, 0, 4, 5, 6, 0, -9])
    row[1, :2] = torch.tensor([9.0, 8])  # shorter than a stretch
    row[2, :5] = torch.tensor([0.0, 0, -9, 5, 6])  # a stretch is whole, also at the end
    rows = of_texts(row, torch.tensor([12, 2, 5]))
    assert part(rows, nobody(3))[0].tolist() == [15.0 - 3.0, 17.0 - 3.0, 2.0 - 3.0]
    assert part.terms(rows, nobody(3))[0][:2].nonzero().tolist() == [[0, 5], [0, 6], [0, 7], [1, 0], [1, 1]]


def test_features_of_texts_go_to_the_places_that_they_come_from() -> None:
    features = torch.eye(3)[[0, 1]]
    places = torch.tensor([[0, 2, 0, -1], [1, -1, -1, -1]])
    pool = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    part = score_parts["nearest"]()
    part.recall(made_up(pool))
    found = part.of_columns(made_up(features, lengths=torch.tensor([4, 2]), places=places), nobody(2), witness())[0]
    assert found[0, 0] == found[0, 2] > 0, "both are of the first feature"
    assert found[:, 3].tolist() == [0, 0], "the end and what is behind it have no feature"
    assert found[1].sum() < 1e-6, "an equal text is near"
