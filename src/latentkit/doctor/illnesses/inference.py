"""Is the posterior what it should be? Collapse, amortisation, the family, and rows that the encoder has not seen."""

from __future__ import annotations

import math
from typing import Any

from latentkit.doctor.examination import SURE, Amortisation, Examination, NotCheckable
from latentkit.doctor.findings import Evidence, Remedy
from latentkit.doctor.illnesses.optimisation import AHEAD, gain_of_smaller_steps, smaller_steps
from latentkit.doctor.illnesses.registry import Sign, check, healthy, kept_apart, learnt_variance, settings_for
from latentkit.evaluation import active_units, mutual_information

__all__ = ["amortisation_gap", "narrow_posterior", "overfitted_encoder", "posterior_collapse"]

#: Nats that a linear model must find in the data for a model without information to be ill.
WORTH_ENCODING = 0.5
#: Share of those nats (at most ten of them) that z must be worth to the decoder.
HEARD = 0.1
#: Share of what the model explains that the encoder may leave unused, that a family of posteriors may, and that rows
#: which the encoder has not seen may lose beside those of the fit.
LEFT, LEFT_BY_FAMILY, LEFT_UNSEEN = 0.15, 0.2, 0.08
#: Nats of a row below which a gap is at most a remark.
NOTABLE = 1.0
#: Probability with which a row that the encoder has not seen may have a larger gap than one that it has.
LARGER = 0.75


@check("posterior-collapse", "inference", "Posterior collapse: z says nothing about x")
def posterior_collapse(examination: Examination) -> Sign:
    """Does the reconstruction care for z?"""
    own, other = examination.shuffled
    gain = float((own - other).mean())
    structure = examination.structure
    limit = HEARD * min(structure, 10.0)
    evidence = [
        Evidence(name="what the own z is worth beside that of another row, nats", value=gain, limit=limit, ill="below"),
    ]
    if math.isfinite(structure):
        evidence.append(Evidence(name="what a linear model of as many latents finds, nats", value=structure))
    mean, log_var = examination.posterior(examination.judged)
    n_latent = mean.shape[1]
    if log_var is not None:
        kl = examination.kl(examination.judged)
        known = mutual_information(mean[:1000], log_var[:1000], seed=examination.seed)
        evidence += [
            Evidence(name="KL, nats", value=float(kl.sum())),
            Evidence(name="mutual information of x and z, nats, at least", value=max(0.0, known.lower)),
            Evidence(name=f"active dimensions of {n_latent}", value=float(active_units(mean).sum())),
        ]
    if structure < WORTH_ENCODING or not evidence[0].is_ill:
        return healthy(*evidence)
    return Sign(
        evidence=tuple(evidence),
        severity="serious",
        explanation="The decoder gives the same result whatever z is: the model has learnt the data without it. Latent "
        "vectors tell nothing, reconstructions are not those of their rows, and scores miss what only z ties together.",
        remedy=_let_z_speak(examination),
    )


def _let_z_speak(examination: Examination) -> Remedy:
    parameters, beta = examination.parameters, examination.asked_beta
    options = parameters.get("likelihood_options") or {}
    wanted: dict[str, Any] = {}
    causes = []
    if beta > 1.0:
        wanted["beta"] = 1.0
        causes.append(f"weigh the KL term by 1 instead of {beta:g}")
    if options.get("variance") == "fixed":
        wanted["likelihood_options"] = learnt_variance(options)
        causes.append("let the model learn the variance of the data around the decoder's mean")
    if not causes and _overshoots(examination):
        wanted |= smaller_steps(examination)
        causes.append("take smaller steps, which do not throw the decoder out of where it listens")
    if not causes and parameters.get("objective") == "elbo" and parameters.get("posterior") == "diagonal":
        nats = max(0.05, min(0.5, 8.0 / examination.specification.latent_dim))
        wanted["free_bits"] = round(nats, 2)
        causes.append(f"leave each latent dimension {nats:.2g} nats of KL for free")
    if parameters.get("kl_schedule") == "linear" and "learning_rate" not in wanted:
        wanted["kl_warm_up"] = 0.3
        causes.append("let the weight of the KL term rise over a third of the training")
    sentence = "; ".join(causes) or "give the model's decoder less of its own, or weigh its KL term less"
    return Remedy(words=f"{sentence[0].upper()}{sentence[1:]}.", settings=settings_for(examination, wanted))


def _overshoots(examination: Examination) -> bool:
    try:
        return gain_of_smaller_steps(examination) > AHEAD
    except NotCheckable:
        return False


@check("amortisation-gap", "inference", "The encoder misses the posteriors it should find")
def amortisation_gap(examination: Examination) -> Sign:
    """How much better are posteriors that are optimised row by row?"""
    _need_elbo(examination)
    found = examination.amortisation(examination.known)
    worth = _worth(examination, found)
    median = float(found.gap.median())
    share = median / worth
    evidence = (
        Evidence(name="amortisation gap of the median row, share of what the model explains", value=share, limit=LEFT),
        Evidence(name="amortisation gap, mean, nats", value=float(found.gap.mean())),
        Evidence(name="bound of the encoder, nats", value=float(found.encoder.mean())),
        Evidence(name="importance bound, nats", value=float(found.tight.mean())),
    )
    if not evidence[0].is_ill or not _is_sure(found):
        return healthy(*evidence)
    return Sign(
        evidence=evidence,
        # of what little there is to explain in some tables, much may be a fraction of a nat
        severity="mild" if median < NOTABLE else "serious" if share > 3.0 * LEFT else "moderate",
        explanation="For the same decoder, posteriors that are optimised one by one explain the rows better than "
        "those of the encoder. Codes and reconstructions are worse than they need be, and the decoder learns "
        "from wrong codes.",
        remedy=Remedy(
            words="Give the encoder more to compute with, and let it keep up with the decoder: networks of the "
            "default size, the default rate, and a first part of the training that is the encoder's.",
            settings=settings_for(examination, {"encoder": "auto", "aggressive": 0.2, "warm_start": False}),
        ),
    )


@check("overfitted-encoder", "inference", "The encoder knows the rows of its fit by heart")
def overfitted_encoder(examination: Examination) -> Sign:
    """Is the amortisation gap larger on rows that were held out?"""
    _need_elbo(examination)
    examination.need_rows("train")
    examination.need_rows("held out")
    known, unseen = examination.amortisation("train"), examination.amortisation("held out")
    worth = _worth(examination, unseen)
    more = float(unseen.gap.median() - known.gap.median())
    area, error = examination.area(unseen.gap, known.gap)
    evidence = (
        Evidence(
            name="larger gap of the median held-out row, share of what the model explains",
            value=more / worth,
            limit=LEFT_UNSEEN,
        ),
        Evidence(name="held-out rows with a larger gap than rows of the fit, AUC", value=area, limit=LARGER),
        Evidence(name="amortisation gap of the median row of the fit, nats", value=float(known.gap.median())),
        Evidence(name="amortisation gap of the median held-out row, nats", value=float(unseen.gap.median())),
    )
    if not (evidence[0].is_ill and evidence[1].is_ill and area - 0.5 > SURE * error):
        return healthy(*evidence)
    wanted = kept_apart(examination, {"dropout": 0.2, "weight_decay": 1e-3, "encoder": "auto"})
    return Sign(
        evidence=evidence,
        severity="serious" if more / worth > 3.0 * LEFT_UNSEEN else "moderate",
        explanation="On rows that it has not seen, the encoder is further from the best posterior than on those of its "
        "fit. The decoder may be fine; scores and codes of new rows are not.",
        remedy=Remedy(
            words="Hold rows out and keep the best state, drop hidden units while training, and pull weights to zero.",
            settings=settings_for(examination, wanted),
        ),
    )


@check("narrow-posterior", "inference", "The family of posteriors is too narrow")
def narrow_posterior(examination: Examination) -> Sign:
    """Does even the best posterior of the family leave a gap to the importance bound?"""
    _need_elbo(examination)
    found = examination.amortisation(examination.known)
    if examination.specification.latent_dim < 2:
        raise NotCheckable("one latent dimension has no correlations.")
    gap = float((found.tight - found.optimised).mean())
    evidence = (
        Evidence(
            name="gap of the best diagonal posterior, share of what the model explains",
            value=gap / _worth(examination, found),
            limit=LEFT_BY_FAMILY,
        ),
        Evidence(name="gap of the best diagonal posterior, nats", value=gap),
    )
    if not evidence[0].is_ill or gap < NOTABLE:
        return healthy(*evidence)
    full = examination.specification.latent_dim <= 64
    return Sign(
        evidence=evidence,
        severity="mild",
        explanation="The true posterior is no Gaussian with independent dimensions: scores with one draw are too low, "
        "and the decoder has bent itself to the family.",
        remedy=Remedy(
            words=f"Use posteriors with a {'full covariance' if full else 'flow'}, or score with more importance "
            "samples.",
            settings=settings_for(examination, {"posterior": "full" if full else "flow"}),
        ),
    )


def _need_elbo(examination: Examination) -> None:
    """Raises: NotCheckable, where encoders learn something else than the posterior with the best ELBO."""
    examination.need_encoder()
    objective = examination.parameters.get("objective", "elbo")
    if objective not in ("elbo", "stl", "semi_amortized"):
        raise NotCheckable(f"the encoder of the objective {objective!r} does not look for the best ELBO.")


def _worth(examination: Examination, found: Amortisation) -> float:
    """Nats that the model would explain with the best posteriors, beyond features one by one; at least 1."""
    baseline = float(examination.baseline(examination.judged).mean())
    return max(1.0, float(found.optimised.mean()) - baseline)


def _is_sure(found: Amortisation) -> bool:
    return float(found.gap.mean()) > SURE * float(found.gap.std()) / math.sqrt(len(found.gap))
