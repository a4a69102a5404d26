"""MIWAE, PIWAE and CIWAE: between the ELBO and IWAE, and which part climbs which."""

from __future__ import annotations

import itertools

import pytest
import torch

from latentkit.core import seeds
from latentkit.core.protocols import Batch
from latentkit.objectives import Ciwae, Iwae, Miwae, Piwae
from latentkit.objectives.phases import inference_parameters

DOUBLE = torch.float64


def _batch(n: int = 8) -> Batch:
    return Batch(2 * torch.randn(n, 5, generator=seeds.generator(0, "x"), dtype=DOUBLE))


@pytest.fixture
def model(linear_gaussian, use_noise):
    """A model whose posterior is wrong, and twelve given draws for each of eight examples."""
    use_noise(torch.randn(12, 8, 2, generator=seeds.generator(3), dtype=DOUBLE))
    return linear_gaussian(wrong=0.4, full=False)


@pytest.mark.parametrize("kl_weight", [1.0, 0.3])
def test_ends_of_the_family(model, kl_weight) -> None:
    def value(objective) -> torch.Tensor:
        return objective(model, _batch(), kl_weight=kl_weight).objective

    iwae = value(Iwae(n_importance=12))
    elbo = value(Miwae(n_bounds=12, n_importance=1))
    torch.testing.assert_close(value(Miwae(n_bounds=1, n_importance=12)), iwae)
    torch.testing.assert_close(value(Piwae(n_bounds=3, n_importance=4)), iwae)
    torch.testing.assert_close(value(Ciwae(beta=0.0, n_importance=12)), iwae)
    torch.testing.assert_close(value(Ciwae(beta=1.0, n_importance=12)), elbo)
    torch.testing.assert_close(value(Ciwae(beta=0.3, n_importance=12)), 0.3 * elbo + 0.7 * iwae)
    terms = Miwae(n_bounds=12, n_importance=1)(model, _batch(), kl_weight=kl_weight)
    assert not torch.allclose(elbo, iwae, rtol=0.01)
    assert not terms.kl.requires_grad


def test_order_of_the_bounds(model) -> None:
    """Of the same draws: ELBO <= MIWAE of more, smaller groups <= ... <= IWAE, for each example."""
    bounds = [Miwae(n_bounds=m, n_importance=12 // m)(model, _batch()).objective for m in (12, 6, 2, 1)]
    for looser, tighter in itertools.pairwise(bounds):
        assert (tighter > looser).all()
    middle = Ciwae(beta=0.5, n_importance=12)(model, _batch()).objective
    assert ((middle > bounds[0]) & (middle < bounds[-1])).all()


def test_groups_are_of_draws_and_not_of_examples(model, use_noise) -> None:
    """The bound of an example does not depend on the others."""
    whole = Miwae(n_bounds=3, n_importance=4)(model, _batch()).objective
    use_noise(torch.randn(12, 8, 2, generator=seeds.generator(3), dtype=DOUBLE)[:, 2:5])
    part = Miwae(n_bounds=3, n_importance=4)(model, Batch(_batch().x[2:5])).objective
    torch.testing.assert_close(part, whole[2:5])


def test_exact_posterior_gives_the_evidence(linear_gaussian) -> None:
    model, batch = linear_gaussian(full=True), _batch()
    for objective in (Miwae(), Piwae(n_bounds=2, n_importance=3), Ciwae(beta=0.2)):
        torch.testing.assert_close(objective(model, batch).objective, model.log_evidence(batch.x), rtol=0.0, atol=1e-6)


def test_encoder_climbs_miwae_and_decoder_climbs_iwae(tiny, use_noise) -> None:
    noise = torch.randn(6, 3, 1, generator=seeds.generator(0), dtype=DOUBLE)
    batch = Batch(torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=DOUBLE))
    encoder, decoder = Piwae(n_bounds=2, n_importance=3).phases(tiny)
    assert [id(parameter) for parameter in encoder.parameters] == [id(tiny.posterior)]
    assert [id(parameter) for parameter in decoder.parameters] == [id(tiny.weight), id(tiny.bias)]
    use_noise(noise)
    for phase, objective in ((encoder, Miwae(n_bounds=2, n_importance=3)), (decoder, Iwae(n_importance=6))):
        actual = torch.autograd.grad(phase.terms(batch, 0.7).objective.mean(), phase.parameters)
        expected = torch.autograd.grad(objective(tiny, batch, kl_weight=0.7).objective.mean(), phase.parameters)
        torch.testing.assert_close(actual, expected)


def test_frozen_parts_have_no_phase(tiny) -> None:
    tiny.posterior.requires_grad_(False)
    (phase,) = Piwae().phases(tiny)
    assert [id(parameter) for parameter in phase.parameters] == [id(tiny.weight), id(tiny.bias)]
    tiny.requires_grad_(False)
    assert Piwae().phases(tiny) == []


def test_finding_the_parts_leaves_no_trace(tiny) -> None:
    """Running statistics, modes and the global random state are what they were."""
    normalization = torch.nn.BatchNorm1d(3).double()
    encode = tiny.encode
    tiny.normalization = normalization
    tiny.encode = lambda x: encode(normalization(x))
    tiny.train()
    normalization.eval()
    before = torch.random.get_rng_state()
    inference = inference_parameters(tiny)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert tiny.training
    assert not normalization.training
    assert int(normalization.num_batches_tracked) == 0
    assert not normalization.running_mean.any()
    assert {id(parameter) for parameter in inference} == {id(tiny.posterior)}
