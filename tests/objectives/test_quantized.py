"""The bound of models with codes, term by term, and where its gradients go."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.protocols import Batch
from latentkit.core.seeds import generator
from latentkit.models import CodePrior, QuantizedAutoencoder, QuantizedSpecification
from latentkit.nn.quantizers import quantizers
from latentkit.objectives import MaximumLikelihood, VectorQuantized

OPTIONS: dict[str, dict[str, Any]] = {"fsq": {"levels": [4, 2]}}


def model(quantizer: str = "ema") -> QuantizedAutoencoder:
    layers = {"network": "mlp", "widths": [8]}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return (
            QuantizedSpecification(
                event_shape=(5,),
                latent_dim=6,
                encoder=layers,
                decoder=layers,
                code_dim=2,
                quantizer=quantizer,
                quantizer_options=OPTIONS.get(quantizer, {"n_codes": 8}),
            )
            .build()
            .double()
            .eval()
        )


def x(n: int = 4) -> Tensor:
    return torch.randn(n, 5, generator=generator(1), dtype=torch.float64)


@pytest.mark.parametrize("quantizer", list(quantizers))
def test_the_terms_are_those_of_the_formula(quantizer: str) -> None:
    coder = model(quantizer)
    terms = VectorQuantized(commitment=0.7)(coder, Batch(x()), kl_weight=0.3)
    h = coder.encoder(x()).reshape(4, 3, -1)
    codes = coder.codes(x())
    vectors = coder.quantizer.vectors(codes).double()
    fit = coder.likelihood(coder.decoder(vectors.flatten(1))).log_prob(x())
    kl = torch.full((4,), 3 * math.log(8.0), dtype=torch.float64)
    distance = torch.zeros(4, dtype=torch.float64)
    if quantizer == "gumbel":
        kl = kl - torch.distributions.Categorical(logits=h).entropy().sum(-1)
    if coder.quantizer.commits:
        distance = (h - vectors).square().sum((1, 2))
        assert (distance > 0).all()
    torch.testing.assert_close(terms.log_likelihood, fit)
    torch.testing.assert_close(terms.kl, kl)
    torch.testing.assert_close(terms.objective, fit - 0.3 * kl - 0.7 * distance)


def test_the_encoder_climbs_the_gradient_at_its_codes_and_the_commitment() -> None:
    coder, beta = model(), 0.7
    vectors = coder.quantizer.vectors(coder.codes(x())).requires_grad_()
    (at_codes,) = torch.autograd.grad(coder.decode_vectors(vectors).log_prob(x()).sum(), vectors)
    h = coder.encoder(x()).reshape(4, 3, 2)
    towards = at_codes - 2 * beta * (h - vectors).detach()
    expected = torch.autograd.grad(h, list(coder.encoder.parameters()), towards)
    objective = VectorQuantized(commitment=beta)(coder, Batch(x())).objective.sum()
    found = torch.autograd.grad(objective, list(coder.encoder.parameters()))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_what_is_masked_does_not_count() -> None:
    coder, data = model(), x()
    mask = torch.ones_like(data, dtype=torch.bool)
    mask[:, 2] = False
    terms = VectorQuantized()(coder, Batch(data, mask))
    decoded = coder.decode(coder.encode(data).mean)
    torch.testing.assert_close(terms.log_likelihood, decoded.log_prob(data, mask=mask))
    assert (terms.log_likelihood != VectorQuantized()(coder, Batch(data)).log_likelihood).all()


def test_there_is_one_phase_with_every_parameter() -> None:
    coder = model("gumbel")
    (phase,) = VectorQuantized().phases(coder)
    assert len(phase.parameters) == len(list(coder.parameters()))
    assert phase.terms(Batch(x()), 1.0).objective.shape == (4,)


def test_the_bound_is_below_the_best_code_of_all() -> None:
    """log p(x) under uniform codes, by all 512 grids of codes, is above the terms without commitment."""
    coder = model()
    grids = torch.cartesian_prod(*[torch.arange(8)] * 3)
    vectors = coder.quantizer.vectors(grids)
    evidence = [
        torch.logsumexp(coder.decode_vectors(vectors).log_prob(row.expand(512, 5)) - 3 * math.log(8.0), 0)
        for row in x()
    ]
    bound = VectorQuantized(commitment=0.0)(coder, Batch(x())).objective
    assert (bound <= torch.stack(evidence)).all()


def test_codes_climb_their_log_probability() -> None:
    with torch.random.fork_rng():
        prior = CodePrior((2, 2), 3, code_dim=2, condition_dim=2, width=8, n_heads=2)
        codes = torch.randint(3, (4, 4), generator=generator(0))
        condition = torch.eye(4)[:, :2]
        terms = MaximumLikelihood()(prior, Batch(codes, condition=condition))  # type: ignore[arg-type]
        (phase,) = MaximumLikelihood().phases(prior)  # type: ignore[arg-type]
    torch.testing.assert_close(terms.objective, prior.log_prob(codes, condition))
    assert torch.equal(terms.kl, torch.zeros(4))
    assert len(phase.parameters) == len(list(prior.parameters()))


def test_a_negative_commitment_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="commitment must be a float in"):
        VectorQuantized(commitment=-1.0)
