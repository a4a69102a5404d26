"""Quantisers against slow formulas, autograd, and what all of them keep."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import entropy
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.seeds import generator
from latentkit.nn.quantizers import (
    EmaQuantizer,
    FiniteScalarQuantizer,
    GumbelQuantizer,
    MovingCodebook,
    Quantizer,
    k_means,
    levels_for,
    perplexity,
    quantizers,
    rotate_to,
    straight_through,
)

CODE_DIM = 3
SMALL: dict[str, dict[str, Any]] = {
    "ema": {"n_codes": 8},
    "rotation": {"n_codes": 8},
    "gumbel": {"n_codes": 8},
    "fsq": {"levels": (3, 4, 2)},
}
everyone = pytest.mark.parametrize("name", list(quantizers))


def make(name: str) -> Quantizer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return quantizers[name](CODE_DIM, **SMALL[name])


def normal(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64).to(dtype)


def quantize(quantizer: Quantizer, h: Tensor, seed: int = 0) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return quantizer(h)


# What all of them keep


def test_every_quantizer_has_a_small_setting() -> None:
    assert set(SMALL) == set(quantizers)


@everyone
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_codes_and_vectors_agree(name: str, dtype: torch.dtype) -> None:
    quantizer = make(name).to(dtype).eval()
    h = normal(5, 7, quantizer.n_inputs, dtype=dtype)
    result = quantizer(h)
    assert result.codes.shape == (5, 7)
    assert result.codes.dtype is torch.int64
    assert 0 <= int(result.codes.min()) <= int(result.codes.max()) < quantizer.n_codes
    assert result.vectors.dtype is dtype
    torch.testing.assert_close(result.vectors, quantizer.vectors(result.codes).to(dtype))
    assert torch.equal(quantizer.encode(h), result.codes)
    for term in (result.commitment, result.kl):
        assert term.shape == (5,)
        assert (term >= 0).all()
    everything = torch.arange(quantizer.n_codes)
    assert torch.equal(quantizer.nearest(quantizer.vectors(everything).to(dtype)), everything)
    assert quantizer.nearest(normal(2, 4, CODE_DIM, dtype=dtype)).shape == (2, 4)


@everyone
def test_gradients_reach_the_encoder(name: str) -> None:
    quantizer = make(name).train()
    h = normal(5, 7, quantizer.n_inputs).requires_grad_()
    result = quantize(quantizer, h)
    ((result.vectors * normal(5, 7, CODE_DIM, seed=6)).sum() + result.commitment.sum()).backward()
    assert h.grad is not None
    assert h.grad.isfinite().all()
    assert (h.grad != 0).any(-1).all()


@everyone
def test_half_precision_is_quantised_in_single(name: str) -> None:
    quantizer = make(name).eval()
    h = normal(5, 7, quantizer.n_inputs).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        result = quantizer(h)
        assert torch.equal(result.codes, quantizer.encode(h))
    assert result.vectors.dtype is result.commitment.dtype is torch.float32
    assert torch.equal(result.codes, quantizer(h.float()).codes)


@everyone
def test_nothing_is_learnt_or_drawn_outside_of_training(name: str) -> None:
    quantizer = make(name).eval()
    h = normal(5, 7, quantizer.n_inputs)
    before = {key: value.clone() for key, value in quantizer.state_dict().items()}
    assert torch.equal(quantize(quantizer, h, 0).vectors, quantize(quantizer, h, 1).vectors)
    with torch.no_grad():
        quantize(quantizer.train(), h)
    for key, value in quantizer.state_dict().items():
        assert torch.equal(value, before[key])


@everyone
def test_the_state_goes_on_where_it_was(name: str) -> None:
    first, second = make(name).train(), make(name).train()
    quantize(first, normal(5, 7, first.n_inputs), 3)
    second.load_state_dict(first.state_dict())
    h = normal(5, 7, first.n_inputs, seed=2)
    assert torch.equal(quantize(first, h, 4).codes, quantize(second, h, 4).codes)
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])


# Gradients


def test_the_straight_through_gradient_is_that_at_the_quantised_point() -> None:
    h = normal(6, CODE_DIM, dtype=torch.float64).requires_grad_()
    q = h.detach().round().requires_grad_()
    weights = normal(6, CODE_DIM, seed=5, dtype=torch.float64)

    def loss(z: Tensor) -> Tensor:
        return (weights * z.sin() * z.square()).sum()

    (expected,) = torch.autograd.grad(loss(q), q)
    (gradient,) = torch.autograd.grad(loss(straight_through(h, q)), h)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_the_rotation_is_the_one_that_takes_h_to_its_code(dim: int) -> None:
    h, q = normal(dim, seed=2, dtype=torch.float64), normal(dim, seed=3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda value: rotate_to(value, q), h)
    rotation = jacobian / (q.norm() / h.norm())
    if dim > 1:
        torch.testing.assert_close(rotation @ rotation.T, torch.eye(dim, dtype=torch.float64))
        assert math.isclose(float(torch.linalg.det(rotation)), 1.0, rel_tol=1e-9)
        # what is orthogonal to both stays as it is
        across = normal(dim, seed=4, dtype=torch.float64)
        basis = torch.linalg.qr(torch.stack((h, q), 1)).Q
        across = across - basis @ (basis.T @ across)
        torch.testing.assert_close(rotation @ across, across)
    torch.testing.assert_close(jacobian @ h, q)
    torch.testing.assert_close(rotate_to(h, q), q)


def test_the_rotated_gradient_keeps_its_angle() -> None:
    h, q = normal(4, CODE_DIM, seed=2).requires_grad_(), normal(4, CODE_DIM, seed=3)
    at_code = normal(4, CODE_DIM, seed=4)
    (gradient,) = torch.autograd.grad((rotate_to(h, q) * at_code).sum(), h)
    torch.testing.assert_close(F.cosine_similarity(gradient, h), F.cosine_similarity(at_code, q))


def test_vectors_that_point_apart_or_are_zero_have_finite_gradients() -> None:
    h = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 2.0]]).requires_grad_()
    q = torch.tensor([[-2.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    rotated = rotate_to(h, q)
    torch.testing.assert_close(rotated, q)
    (gradient,) = torch.autograd.grad(rotated.sum(), h)
    assert gradient.isfinite().all()


def test_commitment_pulls_the_encoder_to_its_code_and_leaves_the_codebook() -> None:
    quantizer = make("ema").eval()
    h = normal(2, 4, CODE_DIM).requires_grad_()
    result = quantizer(h)
    expected = sum((h[:, i] - result.vectors[:, i].detach()).square().sum(-1) for i in range(4))
    torch.testing.assert_close(result.commitment, expected)
    (gradient,) = torch.autograd.grad(result.commitment.sum(), h)
    torch.testing.assert_close(gradient, 2 * (h - result.vectors).detach())
    assert not list(quantizer.parameters())


def test_gumbel_is_that_of_torch() -> None:
    quantizer = GumbelQuantizer(CODE_DIM, n_codes=8, temperature=0.7).train()
    h = normal(5, 7, 8).requires_grad_()
    weights = normal(5, 7, CODE_DIM, seed=3)
    result = quantize(quantizer, h)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        # torch divides the noise by the temperature as well
        expected = F.gumbel_softmax(h, tau=0.7, hard=True, dim=-1) @ quantizer.codebook
    torch.testing.assert_close(result.vectors, expected)
    for wanted in (h, quantizer.codebook):
        (ours,) = torch.autograd.grad((result.vectors * weights).sum(), wanted, retain_graph=True)
        (theirs,) = torch.autograd.grad((expected * weights).sum(), wanted, retain_graph=True)
        torch.testing.assert_close(ours, theirs)
    uniform = torch.distributions.Categorical(logits=torch.zeros(8))
    divergence = torch.distributions.kl_divergence(torch.distributions.Categorical(logits=h), uniform).sum(-1)
    torch.testing.assert_close(result.kl, divergence)


# The codebook


def test_moving_averages_follow_the_slow_formula() -> None:
    decay, n_codes = 0.9, 4
    codebook = MovingCodebook(n_codes, 2, decay=decay, restart_below=0.0).double().train()
    codebook.vectors.copy_(normal(n_codes, 2, dtype=torch.float64))
    codebook.sums.copy_(codebook.vectors)
    counts, sums = [1.0] * n_codes, [codebook.vectors[k].clone() for k in range(n_codes)]
    for step in range(5):
        h = normal(3, 6, 2, seed=10 + step, dtype=torch.float64)
        vectors = [sums[k] / counts[k] for k in range(n_codes)]
        codes = [min(range(n_codes), key=lambda k: float((row - vectors[k]).square().sum())) for row in h.flatten(0, 1)]
        found, codes_found = codebook(h)
        assert codes_found.flatten().tolist() == codes
        torch.testing.assert_close(found.flatten(0, 1), torch.stack([vectors[k] for k in codes]))
        for k in range(n_codes):
            members = [row for row, code in zip(h.flatten(0, 1), codes, strict=True) if code == k]
            counts[k] = decay * counts[k] + (1 - decay) * len(members)
            sums[k] = decay * sums[k] + (1 - decay) * sum(members, torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(codebook.counts, torch.tensor(counts, dtype=torch.float64))
    torch.testing.assert_close(codebook.vectors, torch.stack([s / c for s, c in zip(sums, counts, strict=True)]))


def test_dead_codes_start_again_at_vectors_of_the_batch() -> None:
    codebook = MovingCodebook(6, 2, decay=0.5, restart_below=0.2).train()
    codebook.vectors.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0], [50.0, 0.0], [60.0, 0.0], [70.0, 0.0], [80.0, 0.0]]))
    codebook.sums.copy_(codebook.vectors)
    h = normal(1, 40, 2) * 0.1 + 0.5
    for _ in range(6):
        codebook(h)
    assert (codebook.vectors < 10).all()
    assert len(codebook.nearest(h).unique()) == 6
    mean = codebook.counts.mean()
    assert (codebook.counts >= 0.2 * mean * 0.5).all()
    lone = MovingCodebook(2, 2, decay=0.0, restart_below=0.5).train()
    lone.vectors.copy_(torch.tensor([[0.0, 0.0], [100.0, 0.0]]))
    lone(torch.tensor([[[1.0, 1.0]]]))
    assert lone.vectors.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_codes_that_nobody_uses_stay_where_they_are_without_restarts() -> None:
    codebook = MovingCodebook(2, 1, decay=0.0, restart_below=0.0).train()
    codebook.vectors.copy_(torch.tensor([[0.0], [100.0]]))
    for _ in range(3):
        codebook(torch.tensor([[[1.0], [3.0]]]))
    assert codebook.vectors.tolist() == [[2.0], [100.0]]


def test_the_codebook_starts_where_the_data_are() -> None:
    quantizer = EmaQuantizer(CODE_DIM, n_codes=16)
    h = normal(64, 4, CODE_DIM) + 20.0
    before = float(quantizer.eval()(h).commitment.mean())
    quantizer.start(h)
    after = quantizer(h)
    assert float(after.commitment.mean()) < 0.01 * before
    assert perplexity(after.codes, 16) > 10


def test_k_means_finds_clusters_and_repeats_itself() -> None:
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    rows = (centres.repeat(30, 1) + normal(90, 2) * 0.1)[torch.randperm(90, generator=generator(3))]
    found = k_means(rows, 12)
    assert torch.equal(found, k_means(rows, 12))
    assert torch.cdist(centres, found).min(1).values.max() < 0.2
    few = k_means(rows[:2], 5)
    assert few.shape == (5, 2)
    assert few.isfinite().all()


# Finite scalars


@pytest.mark.parametrize("levels", [(2,), (3, 4, 2), (8, 5, 5, 5)])
def test_scalars_take_all_levels_and_no_other(levels: tuple[int, ...]) -> None:
    quantizer = FiniteScalarQuantizer(len(levels), levels=levels)
    h = 3 * normal(1, 20_000, len(levels))
    result = quantizer(h)
    for j, level in enumerate(levels):
        values = [(digit - level // 2) / (level // 2) for digit in range(level)]
        found = result.vectors[..., j].unique()
        torch.testing.assert_close(found, torch.tensor(values))
    # the number of a code is its digits, the first one the lowest
    digits = torch.tensor(list(itertools.product(*(range(level) for level in reversed(levels))))).flip(-1)
    half = torch.tensor([level // 2 for level in levels])
    torch.testing.assert_close(quantizer.vectors(torch.arange(len(digits))), (digits - half) / half)


def test_scalars_are_rounded_to_the_nearest_level() -> None:
    """The reference of the paper's appendix, number by number."""
    levels = (5, 4)
    quantizer = FiniteScalarQuantizer(2, levels=levels)
    h = normal(1, 50, 2)
    vectors = quantizer(h).vectors[0]
    for row, vector in zip(h[0].tolist(), vectors.tolist(), strict=True):
        for value, level, found in zip(row, levels, vector, strict=True):
            half = (level - 1) * 1.001 / 2
            offset = 0.0 if level % 2 else 0.5
            bounded = math.tanh(value + math.atanh(offset / half)) * half - offset
            assert found == pytest.approx(round(bounded) / (level // 2))
    assert quantizer(torch.zeros(1, 1, 2)).vectors.abs().max() == 0


def test_levels_come_near_the_number_that_is_wanted() -> None:
    for n_codes in (16, 64, 200, 512, 4096, 60_000):
        assert 0.5 < math.prod(levels_for(n_codes)) / n_codes < 2


def test_perplexity_is_the_exponential_of_scipys_entropy() -> None:
    codes = torch.randint(5, (4, 30), generator=generator(0)) ** 2 % 7
    counts = torch.bincount(codes.flatten()).numpy()
    assert perplexity(codes, 9) == pytest.approx(math.exp(entropy(counts)))
    assert perplexity(torch.arange(9), 9) == pytest.approx(9.0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: EmaQuantizer(3, n_codes=1), "n_codes must be an integer of at least 2; got 1"),
        (lambda: EmaQuantizer(0), "code_dim must be an integer of at least 1"),
        (lambda: EmaQuantizer(3, decay=1.0), r"decay must be a float in \[0, 1\); got 1.0"),
        (lambda: EmaQuantizer(3, restart_below=-1.0), r"restart_below must be a float in \[0, 1\)"),
        (lambda: GumbelQuantizer(3, temperature=0.0), r"temperature must be a float in \(0, inf\)"),
        (lambda: FiniteScalarQuantizer(3, levels=(8, 8)), r"levels must be 3 integers of at least 2.*\(8, 8\)"),
        (lambda: FiniteScalarQuantizer(2, levels=(8, 1)), r"levels must be 2 integers of at least 2"),
        (lambda: quantizers["emma"], "unknown quantizer 'emma'.* Did you mean 'ema'"),
    ],
)
def test_what_cannot_be_says_why(make: Any, words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        make()
