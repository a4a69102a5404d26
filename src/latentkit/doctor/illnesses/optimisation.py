"""Did training work? Rates, time, batches, gradients, and parts that do nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentkit.doctor.examination import Examination, NotCheckable, Trial
from latentkit.doctor.findings import Evidence, Remedy
from latentkit.doctor.illnesses.registry import Sign, check, healthy, settings_for
from latentkit.evaluation import codebook_perplexity

__all__ = [
    "ADDED",
    "AHEAD",
    "added_by_steps",
    "dead_codes",
    "dead_units",
    "extreme_variances",
    "gain_of_smaller_steps",
    "gradient_spikes",
    "learning_rate_high",
    "learning_rate_low",
    "small_batch",
    "smaller_steps",
    "stopped_early",
]

#: Share of what the model explains that a few steps more may add.
ADDED = 0.12
#: Share of the best trial's gain by which a rate ten times lower may be ahead from first weights.
AHEAD = 0.3
#: Rollbacks of a training, and epochs that threw it back, at most.
MOST_ROLLBACKS, MOST_FALLS = 0, 2
#: Share of the objective's way that an epoch may throw back.
FALL = 0.2
#: Largest norm of a gradient against the usual one.
SPIKE = 12.0
#: Share of a layer's units that may be without any gradient.
DEAD = 0.6
#: Share of a codebook that is in use at least, as perplexity.
LEAST_CODES = 0.1
#: Log-variances beyond which posteriors are points, and the share of them.
NARROW, MOST_NARROW = -13.0, 0.02
#: Rows in a step below which a larger batch is tried.
SMALL_BATCH = 16


@check("learning-rate-high", "optimisation", "The learning rate is too high")
def learning_rate_high(examination: Examination) -> Sign:
    """Was training thrown back, and does a tenth of the rate begin better?"""
    falls = _falls(examination)
    if falls > MOST_FALLS and _is_slow(examination):
        falls = 0
    rollbacks = sum("went back" in event for event in examination.events)
    evidence = (
        Evidence(
            name="gain of a tenth of the rate from first weights, share of the best",
            value=gain_of_smaller_steps(examination),
            limit=AHEAD,
        ),
        Evidence(name="learning rate", value=examination.plan.learning_rate),
        Evidence(name="rollbacks of the training", value=float(rollbacks), limit=float(MOST_ROLLBACKS)),
        Evidence(name="epochs that threw training back", value=float(falls), limit=float(MOST_FALLS)),
    )
    if not any(each.is_ill for each in evidence):
        return healthy(*evidence)
    return Sign(
        evidence=evidence,
        severity="serious" if evidence[0].is_ill or rollbacks > 1 else "moderate",
        explanation="Steps are so large that they overshoot: training is thrown back, and ends in worse weights than "
        "smaller steps would reach, with units that do nothing any more.",
        remedy=Remedy(
            words="Take smaller steps, and cut the gradients that are far too long.",
            settings=settings_for(examination, smaller_steps(examination)),
        ),
    )


def _is_slow(examination: Examination) -> bool:
    """Whether ten times the rate begins better, so that no rate as low as this one can be too high."""
    rate = examination.plan.learning_rate
    same, higher = (examination.trial(factor * rate, fresh=True) for factor in (1.0, 10.0))
    return higher.is_above(same) and higher.value > same.value


def gain_of_smaller_steps(examination: Examination) -> float:
    """What a tenth of the rate gains from first weights, as a share of the best; 0 where it gains nothing."""
    rate = examination.plan.learning_rate
    high, low = (examination.trial(factor * rate, fresh=True) for factor in (1.0, 0.1))
    # how much a lower one loses says nothing: all rates that are low enough are slow
    if low.value <= high.value or _is_slow(examination):
        return 0.0
    return _gain(examination, low.value - high.value, (high, low))


def smaller_steps(examination: Examination) -> dict[str, Any]:
    """Settings with which steps are smaller."""
    automatic = examination.parameters.get("learning_rate") == "auto"
    return {
        "learning_rate": 0.1 * examination.plan.learning_rate if automatic else "auto",
        "gradient_clip": 1.0,
    }


def _falls(examination: Examination) -> int:
    """Epochs at whose end the objective was lower than before by a part of the way that it had come."""
    values = np.asarray([record["objective"] for record in examination.history if record["kl_weight"] >= 0.99])
    if len(values) < 4:
        return 0
    if not np.isfinite(values).all():
        return len(values)
    way = np.quantile(values, 0.95) - values[0]
    return int((np.diff(values) < -FALL * max(way, 1e-9)).sum()) if way > 0 else 0


def _gain(examination: Examination, difference: float, trials: tuple[Trial, ...]) -> float:
    """A difference of values as a share of what the best of the trials, or the model itself, explains."""
    if np.isnan(difference):
        return 0.0
    baseline = float(examination.baseline(examination.judged).mean()) if examination.has_encoder else 0.0
    best = max(examination.untried.value, *(trial.value for trial in trials))
    to_find = examination.structure if math.isfinite(examination.structure) else 0.0
    # an objective with a heavy KL term rises by as many times the nats
    return difference / max(1.0, examination.asked_beta) / max(1.0, best - baseline, 0.3 * to_find)


@check("learning-rate-low", "optimisation", "The learning rate is too low")
def learning_rate_low(examination: Examination) -> Sign:
    """Do a few steps at ten times the rate add what steps at the rate do not?"""
    examination.need_encoder()
    same, faster = _further(examination)
    more = _gain(examination, faster.value - max(same.value, examination.untried.value), (same, faster))
    added = _gain(examination, faster.value - examination.untried.value, (same, faster))
    evidence = (
        Evidence(name="gain of steps at ten times the rate, share of what is explained", value=added, limit=ADDED),
        Evidence(name="of it beyond that of steps at the rate itself", value=more, limit=0.5 * ADDED),
        Evidence(name="learning rate", value=examination.plan.learning_rate),
        Evidence(name="steps that were tried", value=float(same.n_steps)),
    )
    if not all(each.is_ill for each in evidence[:2]) or not faster.is_above(examination.untried):
        return healthy(*evidence)
    automatic = examination.parameters.get("learning_rate") == "auto"
    return Sign(
        evidence=evidence,
        severity="serious" if added > 3.0 * ADDED else "moderate",
        explanation="A few steps at ten times the rate gain what as many at the rate itself do not: training has been "
        "slower than it need be, or has come to rest where small steps do not lead out.",
        remedy=Remedy(
            words="Take larger steps.",
            settings=settings_for(
                examination, {"learning_rate": 10.0 * examination.plan.learning_rate if automatic else "auto"}
            ),
        ),
    )


@check("stopped-early", "optimisation", "Training ended before it was done")
def stopped_early(examination: Examination) -> Sign:
    """Do a few more steps at the same rate still add something?"""
    examination.need_encoder()
    same, _ = _further(examination)
    added = added_by_steps(examination)
    evidence = (
        Evidence(name="gain of a few steps more, share of what is explained", value=added, limit=ADDED),
        Evidence(name="steps that were tried", value=float(same.n_steps)),
        Evidence(name="epochs of the training", value=float(len(examination.history))),
    )
    if not evidence[0].is_ill or not same.is_above(examination.untried):
        return healthy(*evidence)
    parameters = examination.parameters
    wanted: dict[str, Any] = {"patience": "auto" if parameters.get("patience") != "auto" else 100}
    if parameters.get("max_time") is not None:
        wanted |= {"max_time": None}
    wanted["max_epochs"] = "auto" if parameters.get("max_epochs") != "auto" else 4 * max(1, len(examination.history))
    return Sign(
        evidence=evidence,
        severity="serious" if added > 3.0 * ADDED else "moderate",
        explanation="The bound of held-out rows still rises when training goes on with the same steps.",
        remedy=Remedy(words="Train for longer: more epochs or time.", settings=settings_for(examination, wanted)),
    )


def added_by_steps(examination: Examination) -> float:
    """What a few steps at the rate of the training still add, as a share of what the model explains.

    It is added for rows of the fit, too: large steps make a model forget a part of what it knows by heart, which helps
    held-out rows, and is no progress of the training.
    """
    same, untried = examination.trial(examination.plan.learning_rate), examination.untried
    added = min(same.value - untried.value, float(same.learnt.mean() - untried.learnt.mean()))
    return _gain(examination, added, (same,))


def _further(examination: Examination) -> tuple[Trial, Trial]:
    """Trials that go on from the trained weights: at the rate of the training, and at ten times that."""
    rate = examination.plan.learning_rate
    return examination.trial(rate), examination.trial(10.0 * rate)


@check("small-batch", "optimisation", "Batches are too small")
def small_batch(examination: Examination) -> Sign:
    """Do steps of sixteen times the rows end better?"""
    examination.need_encoder()
    size = examination.plan.batch_size
    measured = Evidence(name="rows in a step", value=float(size))
    if size >= SMALL_BATCH:
        return healthy(measured)
    rate = examination.plan.learning_rate
    same, larger = examination.trial(rate), examination.trial(rate, batch_size=16 * size)
    added = _gain(examination, larger.value - max(same.value, examination.untried.value), (same, larger))
    evidence = (
        Evidence(name="gain of steps with 16 times the rows, share of what is explained", value=added, limit=ADDED),
        measured,
    )
    if not evidence[0].is_ill or not larger.is_above(same):
        return healthy(*evidence)
    return Sign(
        evidence=evidence,
        severity="moderate",
        explanation="The gradient of so few rows is mostly noise, which hides the last part of what there is to learn.",
        remedy=Remedy(words="Take more rows in a step.", settings=settings_for(examination, {"batch_size": "auto"})),
    )


@check("gradient-spikes", "optimisation", "Single batches tear at the weights")
def gradient_spikes(examination: Examination) -> Sign:
    """How much longer than usual are the longest gradients?"""
    norms, _ = examination.gradients
    usual = float(np.median(norms))
    finite = bool(np.isfinite(norms).all())
    evidence = (
        Evidence(
            name="longest gradient against the usual one", value=float(norms.max()) / max(usual, 1e-12), limit=SPIKE
        ),
        Evidence(name="usual norm of the gradient", value=usual),
        Evidence(name="batches", value=float(len(norms))),
    )
    if finite and not evidence[0].is_ill:
        return healthy(*evidence)
    return Sign(
        evidence=evidence,
        severity="serious" if not finite else "moderate",
        explanation="A few batches have gradients many times as long as the others, mostly by rows that are far off. "
        "Each of them undoes many steps.",
        remedy=Remedy(
            words="Cut gradients at twice their usual norm, and look at the rows with the lowest scores.",
            settings=settings_for(examination, {"gradient_clip": float(f"{max(2.0 * usual, 1e-3):.2g}")}),
        ),
    )


@check("dead-units", "optimisation", "Units of the networks do nothing")
def dead_units(examination: Examination) -> Sign:
    """Which hidden units does no gradient reach?"""
    _, largest = examination.gradients
    weights = [(name, slope) for name, slope in largest.items() if slope.ndim >= 2 and slope.shape[0] >= 8]
    shares = {name: _dead(slope) for name, slope in weights if bool((slope > 0).any())}
    if not shares:
        raise NotCheckable("no layer with 8 units or more has a gradient.")
    worst = max(shares, key=lambda name: shares[name])
    evidence = (
        Evidence(name=f"units of {worst} without any gradient, as a share", value=shares[worst], limit=DEAD),
        Evidence(name="of all layers, mean", value=sum(shares.values()) / len(shares)),
    )
    if not evidence[0].is_ill:
        return healthy(*evidence)
    return Sign(
        evidence=evidence,
        # a network may have been wider than it need be: fewer units are an illness where hardly any are left
        severity="moderate" if shares[worst] > 0.9 else "mild",
        explanation="No row moves these units, so that no training will: the network is as narrow as what is left. "
        "Rectifiers end so after steps that were too large, or where inputs are far from zero.",
        remedy=Remedy(
            words="Use an activation that is never flat, and smaller steps.",
            settings=settings_for(examination, {"activation": "silu", "learning_rate": "auto", "gradient_clip": 1.0}),
        ),
    )


def _dead(slope: Tensor) -> float:
    reach = slope.flatten(1).amax(1)
    return float((reach <= 1e-7 * reach.max()).float().mean())


@check("dead-codes", "optimisation", "Most of the codebook is not used")
def dead_codes(examination: Examination) -> Sign:
    """How many codes do the rows need?"""
    if not examination.is_discrete:
        raise NotCheckable("it is for vector-quantised members.")
    codes = examination.map(examination.model.codes, examination.storage(examination.known))
    n_codes = int(examination.estimator.n_codes_)
    used = codebook_perplexity(codes, n_codes)
    evidence = (
        Evidence(name="effective number of codes in use, share", value=used / n_codes, limit=LEAST_CODES, ill="below"),
        Evidence(name="effective number of codes in use", value=used),
        Evidence(name="codes", value=float(n_codes)),
    )
    if not evidence[0].is_ill:
        return healthy(*evidence)
    return Sign(
        evidence=evidence,
        severity="serious" if used < 0.3 * LEAST_CODES * n_codes else "moderate",
        explanation="The encoder keeps to few of the codes: the others cost memory and say nothing.",
        remedy=Remedy(
            words="Take a codebook of moving averages, which begins unused codes anew, of a size that suits the data.",
            settings=settings_for(
                examination, {"quantizer": "ema", "n_codes": "auto", "commitment": "auto", "quantizer_options": None}
            ),
        ),
    )


@check("extreme-variances", "optimisation", "Variances have run to their bounds")
def extreme_variances(examination: Examination) -> Sign:
    """Are posteriors as narrow as points, or the likelihood at the floor of its spread?"""
    examination.need_encoder()
    if examination.is_point:
        raise NotCheckable("codes are points.")
    _, log_var = examination.posterior(examination.known)
    assert log_var is not None, "posteriors have a spread"
    share = float((log_var < NARROW).float().mean())
    evidence = [
        Evidence(name=f"log-variances below {NARROW:g}, as a share", value=share, limit=MOST_NARROW),
        Evidence(name="lowest log-variance of z", value=float(log_var.min())),
        Evidence(name="highest log-variance of z", value=float(log_var.max())),
    ]
    family: Any = getattr(examination.model, "likelihood", None)
    if hasattr(family, "min_stddev") and getattr(family, "variance", "fixed") in ("shared", "feature"):
        with torch.no_grad():
            lowest = float((family.stddev / family.min_stddev).min())
        evidence.append(Evidence(name="stated spread against its floor", value=lowest))
    if not evidence[0].is_ill:
        return healthy(*evidence)
    return Sign(
        evidence=tuple(evidence),
        severity="moderate",
        explanation="The model has made points of its posteriors: the KL term grows without limit, its gradients with "
        "it, and new rows lie between codes that mean nothing.",
        remedy=Remedy(
            words="Weigh the KL term by 1, let the model learn the variance of the data, and hold rows out to stop by.",
            settings=settings_for(examination, {"beta": "auto", "likelihood_options": None, "likelihood": "auto"}),
        ),
    )
