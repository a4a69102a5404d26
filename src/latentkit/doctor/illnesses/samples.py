"""Are new examples like those of the data? Holes of the prior, blur, and modes that are missing."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from latentkit.doctor.examination import Examination, NotCheckable, Part
from latentkit.doctor.findings import Evidence, Remedy
from latentkit.doctor.illnesses.registry import Sign, check, healthy, learnt_variance, settings_for
from latentkit.estimators.ex_post import ex_post_name
from latentkit.evaluation import (
    PrincipalComponentFeatures,
    active_units,
    density_coverage,
    frechet_distance,
    two_sample_auc,
)

__all__ = ["blur", "main_directions", "mode_collapse", "power_ratio", "prior_hole"]

#: Probability with which a classifier may tell latent vectors of the data from those of the prior.
TOLD_APART = 0.8
#: How many times further from the data samples may be than reconstructions, by Frechet distance.
FURTHER = 1.5
#: Share of the power of fine structure that reconstructions keep at least.
LEAST_FINE = 0.09
#: Cycles a pixel from which on structure is fine; 0.5 is the finest.
FINE = 0.2
#: Share of real rows, beside that of held-out ones, that samples come near to at least.
LEAST_COVERED = 0.5
#: Share of the variance of real rows that the directions hold in which coverage is taken.
COVERED_VARIANCE = 0.5
#: How far samples must lie from each other, beside real rows.
LEAST_SPREAD = 0.3
#: Numbers of an example that are compared, and rows.
N_COMPARED, MOST_COMPARED = 32, 1000


@check("prior-hole", "sample quality", "The prior draws where no data lie")
def prior_hole(examination: Examination) -> Sign:
    """Can the latent vectors that `sample` draws be told from those of the data?"""
    examination.need_encoder()
    examination.need_no_condition()
    if examination.is_discrete:
        raise NotCheckable("codes are drawn from a prior that is learnt over them.")
    part = examination.known
    z, drawn = examination.posterior_draws(part), examination.prior_draws
    n = min(len(z), len(drawn), MOST_COMPARED)
    z, drawn = z[:n], drawn[:n]
    if z.shape[1] > N_COMPARED:
        busiest = z.var(0).topk(N_COMPARED).indices if examination.is_point else _most_informative(examination, part)
        z, drawn = z[:, busiest], drawn[:, busiest]
    found = two_sample_auc(z, drawn, n_folds=3, seed=examination.seed)
    evidence = [
        Evidence(
            name="latent vectors of the data told from those that samples are made of, AUC",
            value=found.auc,
            limit=TOLD_APART,
        )
    ]
    further = 0.0
    if examination.schema.kind != "text":
        samples, rebuilt, floor = _distances(examination)
        further = samples / max(rebuilt, floor, 1e-12)
        evidence += [
            Evidence(
                name="distance of samples from the data, against that of reconstructions", value=further, limit=FURTHER
            ),
            Evidence(name="Frechet distance of samples, principal components", value=samples),
            Evidence(name="the same of reconstructions", value=rebuilt),
            Evidence(name="the same of other real rows: the floor", value=floor),
        ]
    if not all(each.is_ill for each in evidence[:2]):
        return healthy(*evidence)
    name = ex_post_name(examination.estimator) if hasattr(examination.estimator, "ex_post") else None
    wanted: dict[str, Any] = {"ex_post": "mixture", "ex_post_options": None} if name == "none" else {}
    if name == "mixture":
        wanted = {"ex_post": "flow", "ex_post_options": None}
    words = (
        "Fit a mixture to the latent vectors of the data, and draw from that: ex_post='mixture'; the model stays."
        if name == "none"
        else "Draw from a prior with more freedom, fitted after training: ex_post='flow'; or use fewer latents."
    )
    return Sign(
        evidence=tuple(evidence),
        severity="serious" if found.auc > 0.95 or further > 4.0 else "moderate",
        explanation="Latent vectors of the data leave holes where `sample` draws, or lie where it never does. The "
        "decoder has not learnt what to make of such vectors: reconstructions are good, and samples are not.",
        remedy=Remedy(words=words, settings=settings_for(examination, wanted), retrains=False),
    )


def _most_informative(examination: Examination, part: Part) -> Tensor:
    return examination.kl(part).topk(N_COMPARED).indices


def _distances(examination: Examination) -> tuple[float, float, float]:
    """Frechet distances of samples, of reconstructions and of other real rows from real rows."""
    known = torch.nan_to_num(examination.numbers(examination.known))
    spread = known.std(0).clamp_min(1e-3)
    scale = torch.ones_like(spread) if examination.schema.kind == "images" else spread
    components = PrincipalComponentFeatures(known / scale, n_features=N_COMPARED, seed=examination.seed)
    n = min(len(known), len(examination.samples)) // 2

    def features(rows: Tensor) -> Tensor:
        return components(torch.nan_to_num(rows.flatten(1)) / scale)

    real = features(known[:n])
    samples, rebuilt = examination.samples[n : 2 * n], examination.rebuilt[n : 2 * n]
    first, second, floor = (frechet_distance(real, features(rows)) for rows in (samples, rebuilt, known[n : 2 * n]))
    return first, second, floor


def power_ratio(images: Tensor, like: Tensor) -> float:
    """Power of fine structure in images relative to that in others, of as many pixels, shapes (n, channels, h, w).

    What all of the others have in common is left out: a mean of pictures may have edges, and no details.
    """
    common = like.double().mean(0)

    def power(x: Tensor) -> float:
        spectrum = torch.fft.fft2(x.double() - common).abs().square().mean((0, 1))
        rows, columns = (torch.fft.fftfreq(size, dtype=torch.float64) for size in x.shape[-2:])
        fine = (rows[:, None].square() + columns[None].square()).sqrt() >= FINE
        return float(spectrum[fine].sum())

    return power(images) / max(power(like), 1e-12)


@check("blur", "sample quality", "Pictures are blurred")
def blur(examination: Examination) -> Sign:
    """How much of the fine structure of the data is in reconstructions, and in samples?"""
    examination.need_images()
    examination.need_encoder()
    if examination.schema.values == "binary":
        raise NotCheckable("means of pixels that are 0 or 1 are probabilities, which are smooth.")
    storage = examination.storage(examination.judged, 500)
    real = examination.map(lambda x: x, storage)
    kept = power_ratio(examination.map(examination.reconstruct, storage), real)
    evidence = (
        Evidence(name="power of fine structure in reconstructions, share", value=kept, limit=LEAST_FINE, ill="below"),
        Evidence(name="power of fine structure in samples, share", value=power_ratio(examination.samples, real)),
    )
    if not evidence[0].is_ill:
        return healthy(*evidence)
    parameters, beta = examination.parameters, examination.asked_beta
    options = parameters.get("likelihood_options") or {}
    wanted: dict[str, Any] = {}
    causes = []
    if options.get("variance") == "fixed":
        wanted["likelihood_options"] = learnt_variance(options)
        causes.append("let the model learn the standard deviation (sigma-VAE)")
    elif parameters.get("likelihood", "auto") not in ("auto", "discretized_logistic"):
        wanted |= {"likelihood": "auto", "likelihood_options": None}
        causes.append("use the likelihood for pixels, likelihood='auto'")
    if beta > 1.0:
        wanted["beta"] = 1.0
        causes.append(f"weigh the KL term by 1 instead of {beta:g}")
    mean, _ = examination.posterior(examination.judged)
    if not causes and isinstance(parameters.get("latent_dim"), int) and bool(active_units(mean.flatten(1)).all()):
        wanted["latent_dim"] = "auto"
        causes.append("give z more dimensions")
    words = "; ".join(causes) or "train for longer, or use a VAEGAN or HierarchicalVAE"
    return Sign(
        evidence=evidence,
        severity="serious" if kept < 0.5 * LEAST_FINE else "moderate",
        explanation="The decoder gives averages: edges and texture are missing even where it rebuilds pictures of the "
        "data. An error that counts little, or too few latents, leave details out.",
        remedy=Remedy(words=f"{words[0].upper()}{words[1:]}.", settings=settings_for(examination, wanted)),
    )


def main_directions(rows: Tensor) -> Tensor:
    """Return the principal directions that hold half of the variance of rows, shape (features, directions).

    Grain keeps samples away from all real rows, but lies across what these differ in most; modes left out do not.
    """
    _, values, axes = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    held = values.square().cumsum(0)
    n_axes = int((held < COVERED_VARIANCE * held[-1]).sum()) + 1
    return cast(Tensor, axes[:n_axes].mT)


@check("mode-collapse", "sample quality", "Samples leave out a part of the data")
def mode_collapse(examination: Examination) -> Sign:
    """How much of the data do samples come near to?"""
    examination.need_numbers()
    if not examination.is_adversarial:
        raise NotCheckable("it is for adversarial members; likelihoods punish what is left out.")
    examination.need_no_condition()
    known = examination.numbers(examination.known)
    n = min(len(known), len(examination.samples)) // 2
    real, others, samples = known[:n].double(), known[n : 2 * n].double(), examination.samples[:n].flatten(1).double()
    axes = main_directions(real)
    floor, found = (density_coverage(real @ axes, each @ axes).coverage for each in (others, samples))
    share = found / max(floor, 1e-9)
    spread = Evidence(
        name="spread of samples against that of real rows",
        value=float((samples.var(0).sum() / real.var(0).sum().clamp_min(1e-12)).sqrt()),
        limit=LEAST_SPREAD,
        ill="below",
    )
    covered = Evidence(
        name="coverage of real rows by samples, against that by others", value=share, limit=LEAST_COVERED, ill="below"
    )
    evidence = (
        *sorted((spread, covered), key=lambda each: not each.is_ill),
        Evidence(name="coverage by samples", value=found),
        Evidence(name="coverage by other real rows: the floor", value=floor),
        Evidence(name="principal components that coverage is taken in", value=axes.shape[1]),
    )
    # a single picture, the mean, may lie within reach of many: coverage is not enough
    if not (spread.is_ill or covered.is_ill):
        return healthy(*evidence)
    return Sign(
        evidence=evidence,
        severity="serious" if spread.is_ill or share < 0.5 * LEAST_COVERED else "moderate",
        explanation="Samples come near to a part of the data only: the generator keeps to what the discriminator takes "
        "for real.",
        remedy=Remedy(
            words="Begin anew with the default rates and networks; a discriminator that sees less, or a VAEGAN, whose "
            "encoder asks for every example.",
            settings=settings_for(examination, {"learning_rate": "auto", "batch_size": "auto", "max_epochs": "auto"}),
        ),
    )
