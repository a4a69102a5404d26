"""What a model makes of rows, against the model itself and against integrals over a grid."""

from __future__ import annotations

import math

import torch
from torch.distributions import Normal

from latentkit.core.seeds import isolated_rng, row_keys
from latentkit.models import AutoencoderEnsemble
from latentkit.tasks.detection import EnsembleWitness
from tests.tasks.detection.cases import rows, witness


@torch.no_grad()
def test_an_ensemble_is_asked_at_the_posterior_mean() -> None:
    x = rows(30, holes=0.2)
    seen, ensemble = witness()(x), witness().ensemble
    known = ~x.isnan()
    assert torch.equal(seen.features, x.nan_to_num(0.0))
    assert torch.equal(seen.known, known.float())
    assert torch.equal(seen.keys, row_keys(x))
    q = ensemble.encode(x.nan_to_num(0.0), known.float())
    p = ensemble.decode(q.mean)
    torch.testing.assert_close(seen.means, q.mean)
    density = Normal(p.mean, (0.5 * p.log_var).exp()).log_prob(seen.features) + 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(seen.log_likelihood, density.where(known, 0.0).sum(-1))
    torch.testing.assert_close(seen.residuals, (seen.features - p.mean).where(known, 0.0))
    assert (seen.kl >= 0).all()


@torch.no_grad()
def test_the_bound_comes_to_the_integral_over_the_codes() -> None:
    with isolated_rng(0):
        ensemble = AutoencoderEnsemble(4, (2, 1), width=16)
        for parameter in ensemble.parameters():
            torch.nn.init.normal_(parameter, std=0.12)
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    x[2, 1] = torch.nan
    seen = EnsembleWitness(ensemble.eval(), torch.arange(4)).eval()(x)
    bound = seen.bound(1000)
    line = torch.arange(-6, 6, 0.1)
    grid = torch.cartesian_prod(line, line)
    p = ensemble.decode(grid.expand(2, -1, -1))
    prior = Normal(0.0, 1.0).log_prob(grid).sum(-1) + 2 * math.log(0.1)
    for row in range(6):
        known = ~x[row].isnan()
        fit = p.log_prob(x[row].nan_to_num(0.0).expand(2, len(grid), -1))[..., known].sum(-1)
        torch.testing.assert_close(bound[:, row], (fit + prior).logsumexp(-1), rtol=0, atol=0.08)


@torch.no_grad()
def test_draws_are_those_of_the_rows_content() -> None:
    x = rows(30)
    together, alone = witness()(x).bound(4), witness()(x[7:9]).bound(4)
    torch.testing.assert_close(together[:, 7:9], alone)
    keys = row_keys(x.flip(0))
    assert not torch.equal(witness()(x, keys).bound(1), witness()(x).bound(1)), "they may be those of others"
