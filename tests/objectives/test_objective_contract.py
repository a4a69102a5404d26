"""What every objective keeps: a new one is tested by being registered."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from latentkit.core import seeds
from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.core.protocols import Batch, Terms
from latentkit.distributions import has_closed_form_kl, likelihoods, posteriors, priors
from latentkit.objectives import Dreg, Elbo, Iwae, Stl, objectives

FREE_BITS = Elbo(free_bits=0.1)
CASES = [
    *(objectives[name]() for name in objectives),
    Elbo(beta=4.0),
    FREE_BITS,
    Stl(n_importance=3),
    Dreg(n_importance=1),
]
everyone = pytest.mark.parametrize("objective", CASES, ids=repr)


class Model(nn.Module):
    def __init__(self, likelihood: str = "bernoulli", posterior: str = "diagonal", dtype=torch.float32) -> None:
        super().__init__()
        self.likelihood = likelihoods[likelihood]((6,))
        self.family = posteriors[posterior](2)
        self.encoder = nn.Linear(6, self.family.n_parameters)
        self.decoder = nn.Linear(2, 6 * self.likelihood.n_parameters)
        self.prior_family = priors["spherical" if self.family.support == "sphere" else "normal"](2)
        generator = seeds.generator(0, "weights")
        with torch.no_grad():
            for parameter in self.parameters():
                if parameter.ndim:
                    parameter.normal_(0.0, 0.5, generator=generator)
        self.to(dtype)

    def encode(self, x: Tensor):
        return self.family(self.encoder(x))

    def decode(self, z: Tensor):
        return self.likelihood(self.decoder(z).unflatten(-1, (self.likelihood.n_parameters, 6)))

    def prior(self):
        return self.prior_family()


def _x(n: int = 16, dtype: torch.dtype = torch.float32) -> Tensor:
    return (torch.rand(n, 6, generator=seeds.generator(1)) > 0.5).to(dtype)


def _run(objective, model: Model, batch: Batch, **options: float) -> tuple[Terms, list[Tensor]]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        terms = objective(model, batch, **options)
        gradients = torch.autograd.grad(terms.objective.mean(), list(model.parameters()))
    return terms, list(gradients)


# Free bits need a divergence that splits into dimensions.
WITH_POSTERIOR = [
    (objective, name) for objective in CASES for name in posteriors if name == "diagonal" or objective != FREE_BITS
]


@pytest.mark.parametrize(("objective", "posterior"), WITH_POSTERIOR, ids=repr)
@pytest.mark.parametrize("likelihood", list(likelihoods))
def test_terms_and_gradients(objective, likelihood, posterior) -> None:
    model = Model(likelihood, posterior)
    terms, gradients = _run(objective, model, Batch(_x()))
    for term in (terms.objective, terms.log_likelihood, terms.kl):
        assert term.shape == (16,)
        assert term.isfinite().all()
        assert term.dtype is torch.float32
    if has_closed_form_kl(model.encode(_x()), model.prior()):  # one draw's estimate may be negative
        assert (terms.kl >= 0).all()
    for gradient in gradients:
        assert gradient.isfinite().all()
        assert (gradient != 0).any()


@everyone
def test_precision(objective) -> None:
    terms, _ = _run(objective, Model(dtype=torch.float64), Batch(_x(dtype=torch.float64)))
    assert terms.objective.dtype is torch.float64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low, _ = _run(objective, Model(), Batch(_x()))
    assert low.objective.dtype is low.kl.dtype is low.log_likelihood.dtype is torch.float32
    full, _ = _run(objective, Model(), Batch(_x()))
    torch.testing.assert_close(low.objective, full.objective, atol=0.2, rtol=0.05)


@everyone
def test_one_phase_with_what_is_trainable(objective) -> None:
    model = Model()
    model.decoder.bias.requires_grad_(False)
    (phase,) = objective.phases(model)
    assert {id(parameter) for parameter in phase.parameters} == {
        id(model.encoder.weight),
        id(model.encoder.bias),
        id(model.decoder.weight),
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        actual = phase.terms(Batch(_x()), 0.25)
        torch.manual_seed(0)
        expected = objective(model, Batch(_x()), kl_weight=0.25)
    assert torch.equal(actual.objective, expected.objective)


@everyone
def test_no_weight_leaves_the_likelihood(objective) -> None:
    terms, _ = _run(objective, Model(dtype=torch.float64), Batch(_x(dtype=torch.float64)), kl_weight=0.0)
    if getattr(objective, "n_importance", 1) == 1:
        torch.testing.assert_close(terms.objective, terms.log_likelihood)
    else:
        assert (terms.objective >= terms.log_likelihood).all()


@everyone
def test_missing_features_do_not_count(objective) -> None:
    mask = torch.rand(16, 6, generator=seeds.generator(2)) > 0.4
    model = Model(dtype=torch.float64)
    x = _x(dtype=torch.float64)
    one, gradients = _run(objective, model, Batch(x, mask))
    # The encoder sees x as it is; what the likelihood sees where nothing was observed must not matter.
    whole, _ = _run(objective, model, Batch(x))
    none, _ = _run(objective, model, Batch(x, torch.zeros_like(mask)))
    assert (one.log_likelihood > whole.log_likelihood).all()
    assert (none.log_likelihood == 0).all()
    assert all(gradient.isfinite().all() for gradient in gradients)


@everyone
def test_evaluation_needs_no_graph(objective) -> None:
    with torch.inference_mode():
        assert objective(Model(), Batch(_x())).objective.isfinite().all()


@everyone
def test_the_model_sees_the_condition(objective) -> None:
    with pytest.raises(UnsupportedOperationError, match="a Model has no place for a condition"):
        objective(Model(), Batch(_x(), condition=torch.zeros(16, 2)))

    class Conditional(Model):
        def given(self, condition: Tensor) -> Model:
            assert condition.shape == (16, 2)
            self.seen = condition
            return self

    model, condition = Conditional(), torch.ones(16, 2)
    objective(model, Batch(_x(), condition=condition))
    assert model.seen is condition


COMPILED = [(objective, "bernoulli") for objective in CASES if type(objective) is not Elbo or objective.free_bits]
COMPILED += [(Elbo(), name) for name in likelihoods]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("objective", "likelihood"), COMPILED, ids=repr)
def test_compiled_gradients_are_the_same(objective, likelihood) -> None:
    """The whole step in one graph: no part of it falls back to Python."""
    model, batch = Model(likelihood), Batch(_x())

    def step(kl_weight: float) -> Tensor:
        return objective(model, batch, kl_weight=kl_weight).objective.mean()

    def run(function) -> tuple[Tensor, ...]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            value = function(0.5)
            return value, *torch.autograd.grad(value, list(model.parameters()))

    torch._dynamo.reset()
    torch.testing.assert_close(run(torch.compile(step, fullgraph=True, backend="aot_eager")), run(step))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Elbo(beta=-1.0), r"beta must be a float in \[0, inf\); got -1.0. Use beta=0 to drop the KL term"),
        (lambda: Elbo(free_bits=-1.0), r"free_bits must be a float in \[0, inf\).*nats per latent dimension"),
        (lambda: Iwae(n_importance=0), "n_importance must be an integer of at least 1"),
        (lambda: Dreg(n_importance=2.5), "n_importance must be an integer of at least 1"),
        (lambda: Stl(n_importance=0), "n_importance must be an integer of at least 1"),
        (lambda: objectives["elbow"], "unknown objective 'elbow'.*Did you mean 'elbo'"),
    ],
)
def test_refused_options(build, message) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        build()
