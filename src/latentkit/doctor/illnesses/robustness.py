"""What does it take to mislead the model, and was it misled in its training?"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from latentkit.doctor.examination import Examination
from latentkit.doctor.findings import Curve, Evidence, Remedy
from latentkit.doctor.illnesses.registry import Sign, check, healthy, settings_for
from latentkit.evaluation.neighbours import kth_neighbour_distances

__all__ = ["contaminated_data", "corruption_curves", "fragile_encoder"]

#: Levels of each corruption: standard deviations of the data, pixels, and a share of the features.
LEVELS = {"noise": (0.1, 0.3, 1.0), "blur": (0.5, 1.0, 2.0), "missing": (0.1, 0.3, 0.5)}
#: How many times its own size noise may change a reconstruction.
AMPLIFIED = 2.0
#: Quartile ranges that may lie between the logarithms of the distances of two rows to their neighbours, of which the
#: fifth is taken, so that a few equal rows do not hide each other; and numbers of a row that are compared, at most.
WIDE, NEIGHBOUR, MOST_COMPARED = 0.25, 5, 4096
#: Rows of which curves are made.
N_CORRUPTED = 256


@check("fragile-encoder", "robustness", "Small changes of x change everything")
def fragile_encoder(examination: Examination) -> Sign:
    """How much more than the noise itself does noise change a reconstruction?"""
    examination.need_encoder()
    examination.need_numbers()
    examination.need_likelihood()
    storage = examination.storage(examination.judged, N_CORRUPTED, passes=4.0)
    x = examination.x(storage)
    level = LEVELS["noise"][1]
    noisy = _corrupted(examination, x, "noise", level)
    size = float((noisy - x).square().mean())
    with torch.no_grad():
        moved = float((examination.reconstruct(noisy) - examination.reconstruct(x)).square().mean())
    evidence = (
        Evidence(
            name="change of reconstructions against the noise that made it",
            value=moved / max(size, 1e-12),
            limit=AMPLIFIED,
        ),
        Evidence(name="noise, standard deviations of the data", value=level),
    )
    if not evidence[0].is_ill:
        return healthy(*evidence)
    return Sign(
        evidence=evidence,
        severity="serious" if evidence[0].value > 4.0 * AMPLIFIED else "moderate",
        explanation="Noise that hardly shows changes what the model makes of a row by more than the noise itself: "
        "codes and scores of data that are a little different cannot be trusted.",
        remedy=Remedy(
            words="Pull weights to zero, drop hidden units while training, and leave out features that never vary; or "
            "use a DenoisingAutoencoder.",
            settings=settings_for(examination, {"weight_decay": 1e-3, "dropout": 0.1}),
        ),
    )


@check("contaminated-data", "robustness", "Rows of another kind are among those of the fit")
def contaminated_data(examination: Examination) -> Sign:
    """Do some rows of the fit lie far from all others, with nothing between?"""
    examination.need_rows("train", 100)
    examination.need_numbers()
    rows = examination.numbers("train")[:, :MOST_COMPARED].double()
    distances = kth_neighbour_distances(rows, rows, k=NEIGHBOUR, skip_self=True).clamp_min(1e-12).log() / 2.0
    low, high = torch.quantile(distances, torch.tensor([0.25, 0.75], dtype=distances.dtype))
    evidence = [
        Evidence(
            name="widest valley among the logs of the largest distances to neighbours, quartile ranges",
            value=_valley(distances) / max(float(high - low), 1e-3),
            limit=WIDE,
        )
    ]
    if examination.has_encoder and examination.has_likelihood:
        scores = examination.scores("train")
        evidence += [
            Evidence(name="median score, nats", value=float(scores.median())),
            Evidence(name="lowest score, nats", value=float(scores.min())),
        ]
    if not evidence[0].is_ill:
        return healthy(*evidence)
    return Sign(
        evidence=tuple(evidence),
        severity="moderate",
        explanation="Some rows that the model learnt from look like no others: damaged, mislaid or of another source. "
        "They take latents and likelihood for themselves, and samples may look like them.",
        remedy=Remedy(
            words="Look at the rows that are least like the others (latentkit detect RUN DATA --top 20), and fit "
            "without those that do not belong.",
        ),
    )


def _valley(distances: Tensor) -> float:
    """The widest step between two neighbours among the largest fifth, with one row in 100 beyond it.

    The steps between the largest few are wide in any sample, so that at least ten rows lie beyond.
    """
    n = len(distances)
    largest = distances.sort(descending=True).values[max(10, n // 100) : max(12, n // 5)]
    return float(-largest.diff().min())


def corruption_curves(examination: Examination) -> tuple[Curve, ...]:
    """Return scores and reconstructions of held-out rows (else of those of the fit) against each corruption.

    Raises:
        NotCheckable: If there is no encoder, or data are neither images nor rows of numbers.
    """
    examination.need_encoder()
    examination.need_numbers()
    examination.need_likelihood()
    x = examination.x(examination.storage(examination.judged, N_CORRUPTED, passes=40.0))
    kinds = ("noise", "blur", "missing") if examination.schema.kind == "images" else ("noise", "missing")
    variance = max(float(x.var(0).mean()), 1e-12)
    curves = []

    def judged(seen: Tensor) -> tuple[float, float]:
        with torch.no_grad():
            error = float((examination.reconstruct(seen) - x).square().mean()) / variance
            return float(examination.score(seen, 4).mean()), error

    clean = judged(x)
    for kind in kinds:
        found = [clean, *(judged(_corrupted(examination, x, kind, level)) for level in LEVELS[kind])]
        scores, errors = zip(*found, strict=True)
        curves.append(Curve(corruption=kind, levels=(0.0, *LEVELS[kind]), score=scores, error=errors))
    return tuple(curves)


def _corrupted(examination: Examination, x: Tensor, kind: str, level: float) -> Tensor:
    """Rows in model units with noise, blurred, or with features replaced by their means; values stay possible ones."""
    if kind == "noise":
        made = x + level * x.std() * examination.noise(*x.shape, purpose="corruption").to(x.device)
    elif kind == "blur":
        made = _blurred(x, level)
    else:
        hidden = torch.rand(x.shape, generator=torch.Generator().manual_seed(examination.seed)).to(x.device) < level
        made = torch.where(hidden, x.mean(0), x)
    n_levels = 2 if examination.schema.values == "binary" else examination.schema.n_levels
    if examination.schema.values != "real":
        made = made.clamp(0.0, 1.0)
    return (made * (n_levels - 1)).round() / (n_levels - 1) if n_levels else made


def _blurred(x: Tensor, stddev: float) -> Tensor:
    reach = max(1, math.ceil(2.0 * stddev))
    places = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    weights = torch.exp(-0.5 * (places / stddev) ** 2)
    weights = weights / weights.sum()
    channels = x.shape[1]
    across = weights.expand(channels, 1, 1, -1)
    padded = functional.pad(x, (reach, reach, reach, reach), mode="replicate")
    return functional.conv2d(
        functional.conv2d(padded, across, groups=channels), across.transpose(2, 3), groups=channels
    )
