"""What every objective keeps: a new one is tested by being registered."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from latentkit.core import seeds
from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.core.protocols import Batch, Terms
from latentkit.distributions import has_closed_form_kl, likelihoods, posteriors, priors
from latentkit.objectives import (
    BetaTc,
    Ciwae,
    Dip,
    Dreg,
    Elbo,
    Factor,
    Info,
    Iwae,
    Miwae,
    Piwae,
    Reconstruction,
    SemiAmortized,
    Stl,
    objectives,
)

FREE_BITS = Elbo(free_bits=0.1)
PENALISED = Reconstruction(
    corruption="salt_and_pepper", latent_l2=0.1, l1=0.1, rate_weight=0.1, contractive=0.1, gradient_penalty=0.1
)
EXACT = Reconstruction(corruption="masking", decoder_l2=0.1, contractive=0.1, gradient_penalty=0.1, n_probes=None)
CASES = [
    *(objectives[name]() for name in objectives),
    Elbo(beta=4.0),
    FREE_BITS,
    Elbo(beta=30.0, capacity=5.0),
    Stl(n_importance=3),
    Dreg(n_importance=1),
    BetaTc(n_data=1000, sampling="weighted"),
    Dip(version="ii"),
    Info(alpha=0.0, kernel="rbf"),
    PENALISED,
    EXACT,
]
#: These are differentiated twice, which no compiler does.
PYTHON_ONLY = (PENALISED, EXACT, SemiAmortized())
#: These need a Gaussian posterior, and take whatever else there is for an error.
GAUSSIAN = (BetaTc, Dip)
#: These need one whose dimensions are independent.
DIAGONAL = (SemiAmortized,)
OF_NUMBERS = [name for name in likelihoods if not (likelihoods[name].of_tables or likelihoods[name].of_texts)]
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


# Points have no density; free bits need a divergence that splits into dimensions.
DENSE = [name for name in posteriors if posteriors[name].has_density]
WITH_POSTERIOR = [
    (objective, name)
    for objective in CASES
    for name in DENSE
    if name == "diagonal"
    or (
        objective != FREE_BITS
        and not isinstance(objective, DIAGONAL)
        and not (isinstance(objective, GAUSSIAN) and name != "full")
    )
]


@pytest.mark.parametrize(("objective", "posterior"), WITH_POSTERIOR, ids=repr)
@pytest.mark.parametrize("likelihood", OF_NUMBERS)
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
def test_phases_have_each_trainable_parameter_once(objective) -> None:
    model = Model()
    model.decoder.bias.requires_grad_(False)
    phases = objective.phases(model)
    own = {id(parameter) for parameter in objective.parameters()} if isinstance(objective, nn.Module) else set()
    trained = [id(parameter) for phase in phases for parameter in phase.parameters]
    assert len(trained) == len(set(trained))
    assert set(trained) - own == {id(model.encoder.weight), id(model.encoder.bias), id(model.decoder.weight)}
    assert own <= set(trained)
    phase = phases[-1]  # the loop reports the last one
    with torch.random.fork_rng():
        torch.manual_seed(0)
        actual = phase.terms(Batch(_x()), 0.25)
        torch.manual_seed(0)
        expected = objective(model, Batch(_x()), kl_weight=0.25)
    assert torch.equal(actual.objective, expected.objective)


#: The schedule's weight is no weight of theirs.
UNWEIGHTED = [case for case in CASES if isinstance(case, Reconstruction) or getattr(case, "capacity", None) is not None]


@pytest.mark.parametrize("objective", [case for case in CASES if case not in UNWEIGHTED], ids=repr)
def test_no_weight_leaves_the_likelihood(objective) -> None:
    terms, _ = _run(objective, Model(dtype=torch.float64), Batch(_x(dtype=torch.float64)), kl_weight=0.0)
    if getattr(objective, "n_importance", 1) * getattr(objective, "n_bounds", 1) == 1:
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
    if not isinstance(objective, Reconstruction):  # its encoder sees what chance has corrupted
        assert (one.log_likelihood > whole.log_likelihood).all()
    assert (none.log_likelihood == 0).all()
    assert all(gradient.isfinite().all() for gradient in gradients)


@everyone
def test_one_example_is_a_batch(objective) -> None:
    terms, gradients = _run(objective, Model(), Batch(_x(1)))
    assert all(tensor.isfinite().all() for tensor in (terms.objective, terms.log_likelihood, terms.kl, *gradients))


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("objective", [case for case in CASES if isinstance(case, GAUSSIAN)], ids=repr)
def test_posteriors_of_unknown_moments_are_refused(objective, name) -> None:
    class Other(Model):
        def encode(self, x: Tensor):
            return Wrapped(super().encode(x))

    class Wrapped:
        def __init__(self, q) -> None:
            self.mean, self.rsample, self.log_prob = q.mean, q.rsample, q.log_prob

    with pytest.raises(UnsupportedOperationError, match="got a Wrapped. Use the 'diagonal' or 'full' posterior"):
        objective(Other(posterior=name), Batch(_x()))


@everyone
def test_evaluation_needs_no_graph(objective) -> None:
    model = Model()
    with torch.inference_mode():
        assert objective(model, Batch(_x())).objective.isfinite().all()


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


COMPILED = [
    (objective, "bernoulli")
    for objective in CASES
    if objective not in PYTHON_ONLY and (type(objective) is not Elbo or objective.free_bits or objective.capacity)
]
COMPILED += [(Elbo(), name) for name in OF_NUMBERS]
#: One bound, one of several draws and one that compares the rows of a batch by default: compiling takes a second.
FIRST = {type(objective): objective for objective, _ in reversed(COMPILED) if isinstance(objective, Elbo | Dreg | Dip)}
COMPILED = [
    pytest.param(*case, marks=[] if case[0] is FIRST.get(type(case[0])) else pytest.mark.slow) for case in COMPILED
]


quietly_compiled = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


@quietly_compiled
@pytest.mark.parametrize(("objective", "likelihood"), COMPILED, ids=repr)
def test_compiled_gradients_are_the_same(objective, likelihood) -> None:
    """The whole step in one graph: no part of it falls back to Python."""
    _check_compiled(objective, Model(likelihood), fullgraph=True)


@quietly_compiled
@pytest.mark.parametrize(
    "objective", [*(pytest.param(each, marks=pytest.mark.slow) for each in PYTHON_ONLY[:-1]), PYTHON_ONLY[-1]], ids=repr
)
def test_what_is_differentiated_twice_is_left_to_python(objective) -> None:
    _check_compiled(objective, Model(), fullgraph=False)


def _check_compiled(objective, model: Model, *, fullgraph: bool) -> None:
    batch = Batch(_x())

    def step(kl_weight: float) -> Tensor:
        return objective(model, batch, kl_weight=kl_weight).objective.mean()

    def run(function) -> tuple[Tensor, ...]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            value = function(0.5)
            return value, *torch.autograd.grad(value, list(model.parameters()))

    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=fullgraph, backend="aot_eager")
    torch.testing.assert_close(run(compiled), run(step))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Elbo(beta=-1.0), r"beta must be a float in \[0, inf\); got -1.0. Use beta=0 to drop the KL term"),
        (lambda: Elbo(free_bits=-1.0), r"free_bits must be a float in \[0, inf\).*nats per latent dimension"),
        (lambda: Iwae(n_importance=0), "n_importance must be an integer of at least 1"),
        (lambda: Dreg(n_importance=2.5), "n_importance must be an integer of at least 1"),
        (lambda: Stl(n_importance=0), "n_importance must be an integer of at least 1"),
        (lambda: Elbo(capacity=-1.0), r"capacity must be a float in \[0, inf\); got -1.0. .* None is for no target"),
        (lambda: Elbo(capacity=2.0, free_bits=0.1), "got capacity=2.0 and free_bits=0.1. Leave one of them out"),
        (lambda: BetaTc(alpha=-1.0), "alpha must be a float.* 1 for all three is the ELBO"),
        (lambda: BetaTc(gamma=-1.0), "gamma must be a float"),
        (lambda: BetaTc(n_data=0), "n_data must be an integer of at least 1; got 0. It is the number of training"),
        (lambda: BetaTc(sampling="stratfied"), "sampling must be one of: weighted, stratified.* mean 'stratified'"),
        (lambda: Dip(version="iii"), "version must be one of: i, ii; got 'iii'"),
        (lambda: Dip(lambda_od=-1.0), "lambda_od must be a float"),
        (lambda: Dip(lambda_d=-1.0), "lambda_d must be a float"),
        (lambda: Dip(beta=-1.0), "beta must be a float"),
        (lambda: Factor(beta=-1.0), "beta must be a float"),
        (lambda: Factor(gamma=-1.0), "gamma must be a float.* Use gamma=0 to drop the total correlation"),
        (lambda: Factor(width=0), "width must be an integer of at least 1"),
        (lambda: Factor(n_layers=0), "n_layers must be an integer of at least 1"),
        (lambda: Info(alpha=1.5), r"alpha must be a float in \(-inf, 1\]; got 1.5. 1 drops the KL term"),
        (lambda: Info(lambda_mmd=0.2), r"lambda_mmd must be a float in \[0.5, inf\); got 0.2. The discrepancy has"),
        (lambda: Info(kernel="rfb"), "unknown kernel 'rfb'.* Did you mean 'rbf'"),
        (lambda: Info(bandwidths=[]), "bandwidths must be a sequence of at least one number above 0"),
        (lambda: Info(bandwidths=[1.0, 0.0]), r"bandwidths must be a float in \(0, inf\); got 0.0"),
        (lambda: Miwae(n_bounds=0), "n_bounds must be an integer of at least 1"),
        (lambda: Miwae(n_importance=0), "n_importance must be an integer of at least 1"),
        (lambda: Piwae(n_bounds=0), "n_bounds must be an integer of at least 1"),
        (lambda: Piwae(n_importance=0), "n_importance must be an integer of at least 1"),
        (lambda: Ciwae(beta=1.5), r"beta must be a float in \[0, 1\]; got 1.5. 1 is the ELBO, 0 the importance"),
        (lambda: Ciwae(n_importance=0), "n_importance must be an integer of at least 1"),
        (lambda: Reconstruction(corruption="maskin"), "unknown corruption 'maskin'.* Did you mean 'masking'"),
        (lambda: Reconstruction(corruption_level=-1.0), "corruption_level must be a float"),
        (lambda: Reconstruction(corruption="masking", corruption_level=2.0), r"corruption_level .*\[0, 1\]; got 2.0"),
        (lambda: Reconstruction(rate=1.0), r"rate must be a float in \(0, 1\); got 1.0"),
        (lambda: Reconstruction(l1=-1.0), "l1 must be a float.* Use 0 to drop it"),
        (lambda: Reconstruction(contractive=-1.0), "contractive must be a float"),
        (lambda: Reconstruction(n_probes=0), "n_probes must be an integer of at least 1; got 0. None is for the exact"),
        (lambda: objectives["elbow"], "unknown objective 'elbow'.*Did you mean 'elbo'"),
    ],
)
def test_refused_options(build, message) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        build()
