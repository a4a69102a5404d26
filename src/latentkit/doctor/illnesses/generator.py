"""Is p(x given z) the right one? Its kind, its spread, and its weight against the KL term."""

from __future__ import annotations

import math
from typing import Any

import torch

from latentkit.distributions import Gaussian
from latentkit.doctor.examination import Examination, NotCheckable
from latentkit.doctor.findings import Evidence, Remedy
from latentkit.doctor.illnesses.optimisation import ADDED, added_by_steps
from latentkit.doctor.illnesses.registry import Sign, check, healthy, learnt_variance, settings_for

__all__ = ["miscalibrated_likelihood", "scaled_objective", "wrong_likelihood"]

#: Ratio of the real error to the one that the likelihood states, either way.
MISSTATED = 2.0
#: How far the share of values in 90 % intervals may be from 90 %, at worst.
LEAST_COVERAGE = 0.75
#: Factor by which the KL term may weigh more or less than in the bound, without and with intent.
MISWEIGHED, MISWEIGHED_MUCH = 3.0, 10.0
#: Cosine of the gradients that a weight above that of the bound balances, at least: at rest they point alike.
LEAST_BALANCED = 0.8
#: Below this a weight is as good as none.
LEAST_WEIGHT = 1e-3
#: Draws from which an interval is made.
N_RANKED = 39


@check("wrong-likelihood", "generator", "The likelihood is not one for these data")
def wrong_likelihood(examination: Examination) -> Sign:
    """Does the family have a value for what is in the data?"""
    examination.need_likelihood()
    examination.need_numbers()
    name, values = examination.specification.parts["likelihood"], examination.schema.values
    redrawn = "binarize" in str(getattr(examination.estimator, "augmentation", None))
    x = examination.numbers(examination.judged)
    between = float(((x > 1e-3) & (x < 1 - 1e-3)).float().mean())
    evidence = [Evidence(name="values that are neither 0 nor 1, as a share", value=between)]
    is_wrong = False
    meaning = ""
    if name == "bernoulli" and not redrawn:
        evidence[0] = Evidence(name=evidence[0].name, value=between, limit=0.02)
        is_wrong = evidence[0].is_ill
        meaning = "A Bernoulli likelihood knows 0 and 1 only, and these values lie between: its nats are no likelihood."
    elif name == "gaussian" and (values == "binary" or between == 0.0):
        evidence[0] = Evidence(name=evidence[0].name, value=between, limit=0.02, ill="below")
        is_wrong = True
        meaning = "A Gaussian density on values that are 0 or 1 rises without limit where they are foretold, so that "
        meaning += "its nats are no likelihood, and samples lie between the values."
    if not is_wrong:
        return healthy(*evidence)
    return Sign(
        evidence=tuple(evidence),
        severity="serious",
        explanation=f"{meaning} Scores cannot be compared with those of other models.",
        remedy=Remedy(
            words="Use the likelihood for this kind of data: likelihood='auto'.",
            settings=settings_for(examination, {"likelihood": "auto", "likelihood_options": None}),
        ),
    )


@check("miscalibrated-likelihood", "generator", "The likelihood states a wrong spread")
def miscalibrated_likelihood(examination: Examination) -> Sign:
    """Are values as far from the decoder's mean as it says?"""
    examination.need_encoder()
    examination.need_likelihood()
    examination.need_numbers()
    examination.need_rows(examination.judged)
    storage = examination.storage(examination.judged, 300, passes=float(N_RANKED))
    x = examination.x(storage)
    z = examination.posterior_draws(examination.judged)[: len(storage)].to(x.device)
    with torch.no_grad():
        p = examination.model.decode(z)
        evidence = _of_gaussian(p, x) if isinstance(p, Gaussian) else []
        draws = p.sample(N_RANKED, generator=torch.Generator(x.device).manual_seed(examination.seed))
    # ties of discrete values are broken evenly: the rank of x among draws that are distributed alike is uniform
    below, equal = (draws < x).float().sum(0), (draws == x).float().sum(0)
    lowest = 0.05 * (N_RANKED + 1)
    low = torch.clamp((lowest - below) / (equal + 1.0), 0.0, 1.0)
    high = torch.clamp((below + equal + 1.0 - (N_RANKED + 1 - lowest)) / (equal + 1.0), 0.0, 1.0)
    coverage = 1.0 - float((low + high).mean())
    evidence.append(
        Evidence(
            name="values within their 90 % intervals, as a share",
            value=coverage,
            limit=None if evidence else LEAST_COVERAGE,
            ill="below",
        )
    )
    if not any(each.is_ill for each in evidence):
        return healthy(*evidence)
    wanted: dict[str, Any] = {}
    words = "Hold rows out and keep the best state, so that the spread is not that of rows known by heart."
    if isinstance(p, Gaussian):
        variance = "shared" if examination.schema.kind == "images" else "feature"
        wanted["likelihood_options"] = learnt_variance(examination.parameters.get("likelihood_options"), variance)
        wanted["likelihood"] = "gaussian"
        words = "Let the model learn the standard deviation: likelihood_options={'variance': 'shared'}."
    is_bad = evidence[0].value > 1.5 * MISSTATED or not evidence[0].is_ill
    return Sign(
        evidence=tuple(evidence),
        severity="serious" if is_bad else "moderate",
        explanation="The decoder's mean is right or wrong by another amount than the likelihood says. It acts as a "
        "hidden weight between reconstruction and KL term; intervals, scores and draws are too wide or too narrow.",
        remedy=Remedy(words=words, settings=settings_for(examination, wanted)),
    )


def _of_gaussian(p: Gaussian, x: torch.Tensor) -> list[Evidence]:
    ratio = float(((x - p.mean) / p.stddev).square().mean().sqrt())
    variance = float(p.stddev.square().mean())
    return [
        Evidence(
            name="real error against the stated one, or the reverse, as a factor",
            value=max(ratio, 1.0 / max(ratio, 1e-9)),
            limit=MISSTATED,
        ),
        Evidence(name="real error, in stated standard deviations", value=ratio),
        Evidence(name="implied weight of the KL term, 1 / ratio^2", value=1.0 / max(ratio, 1e-9) ** 2),
        Evidence(name="beta of a squared error that would be the same, 2 sigma^2", value=2.0 * variance),
    ]


@check("scaled-objective", "generator", "The KL term has a wrong weight")
def scaled_objective(examination: Examination) -> Sign:
    """At which weight of the KL term are the posteriors at rest?"""
    examination.need_gaussian()
    parameters = examination.parameters
    if parameters.get("objective", "elbo") not in ("elbo", "semi_amortized"):
        raise NotCheckable(f"the objective {parameters['objective']!r} weighs parts of the divergence by itself.")
    if (parameters.get("objective_options") or {}).get("capacity") is not None:
        raise NotCheckable("with a capacity the weight of the KL term is no constant.")
    given, balance = examination.asked_beta, examination.balance
    is_silent, is_restless = math.isnan(balance.beta), balance.beta < -1.0 / MISWEIGHED
    is_told = not (is_silent or is_restless)
    beta = max(balance.beta, 0.0) if is_told else given
    if parameters.get("free_bits", 0.0) not in (0.0, "auto") or given == 0.0:
        raise NotCheckable("free bits, or a KL term that is dropped, leave the weight without a meaning.")
    if is_silent and given == 1.0:
        raise NotCheckable("no latent dimension carries anything, by which a weight could be told.")
    if is_restless and given == 1.0:
        raise NotCheckable("no weight balances the gradients of the two terms: training has not come to rest.")
    off = max(beta, 1.0 / max(beta, LEAST_WEIGHT))
    evidence = [
        Evidence(name="weight of the KL term against that of the bound, either way", value=off, limit=MISWEIGHED),
        Evidence(name="effective beta" if is_told else "beta, as asked for", value=beta),
        Evidence(name="beta that was asked for", value=given),
    ]
    if is_told:
        evidence.append(Evidence(name="cosine of the gradients that it balances, 1 at rest", value=balance.cosine))
    if not evidence[0].is_ill:
        return healthy(*evidence)
    is_askew = beta > 1.0 and balance.cosine < LEAST_BALANCED
    if given == 1.0 and (is_askew or added_by_steps(examination) > ADDED):
        raise NotCheckable("training has not come to rest, where gradients would tell the weight.")
    side = "more" if beta > 1.0 else "less"
    is_meant = is_told and off < MISWEIGHED_MUCH and abs(math.log(beta / given)) < math.log(2.0)
    return Sign(
        evidence=tuple(evidence),
        severity="mild" if is_meant else "serious" if off > MISWEIGHED_MUCH else "moderate",
        explanation=f"The posteriors rest where the KL term weighs {beta:.3g} times what it does in the bound, {side} "
        "than it should. A mean over features in place of a sum does that (by the number of features), and so does a "
        "mean over latent dimensions.",
        remedy=Remedy(
            words="Use beta=1, and sum the log-likelihood over features and the KL over latent dimensions.",
            settings=settings_for(examination, {"beta": "auto"}),
        ),
    )
