"""Does the model know rows instead of their distribution?"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latentkit.doctor.examination import SURE, Examination
from latentkit.doctor.findings import Evidence, Remedy
from latentkit.doctor.illnesses.registry import Sign, check, healthy, kept_apart, settings_for
from latentkit.evaluation.neighbours import squared_distance_blocks

__all__ = ["effective_number", "memorisation", "overfitting"]

#: Share of what the model explains of rows of its fit that it may miss of others, and probability with which a row of
#: the fit may score higher than one held out. Both must be beyond: a few odd rows among few lower a mean alone.
LOST, TOLD_APART = 0.4, 0.7
#: Least share of the samples beside held-out rows that is to be expected of them.
LEAST_NEAR = 0.6
#: Nearest neighbours among held-out rows that must be expected for a ratio to be told.
EXPECTED = 12.0
#: Rows that neighbours are looked for among, and numbers of a row, at most.
MOST_SEARCHED, MOST_NUMBERS = 20_000, 4096


@check("overfitting", "overfitting", "The model explains its own rows much better than others")
def overfitting(examination: Examination) -> Sign:
    """How far apart are the scores of rows of the fit and of others?"""
    examination.need_rows("train")
    examination.need_rows("held out")
    known, unseen = examination.scores("train"), examination.scores("held out")
    worth = max(1.0, float(known.mean() - examination.baseline("train").mean()))
    lost = float(known.mean() - unseen.mean())
    error = math.sqrt(float(known.var()) / len(known) + float(unseen.var()) / len(unseen))
    area, area_error = examination.area(known, unseen)
    evidence = (
        Evidence(name="lost on held-out rows, share of what the model explains", value=lost / worth, limit=LOST),
        Evidence(name="rows of the fit told from others by their score, AUC", value=area, limit=TOLD_APART),
        Evidence(name="mean score of rows of the fit, nats", value=float(known.mean())),
        Evidence(name="mean score of held-out rows, nats", value=float(unseen.mean())),
    )
    is_sure = lost > SURE * error and area - 0.5 > SURE * area_error
    if not (evidence[0].is_ill and evidence[1].is_ill and is_sure):
        return healthy(*evidence)
    wanted = {"dropout": 0.2, "weight_decay": 1e-3, "encoder": "auto", "decoder": "auto"}
    return Sign(
        evidence=evidence,
        severity="serious" if lost / worth > 2.0 * LOST or area > 0.9 else "moderate",
        explanation="The bound is much higher on the rows that were learnt than on others of their kind: "
        "the figures of the training are no forecast, and whoever has a row can tell whether it was among them.",
        remedy=Remedy(
            words="Hold rows out and stop where they do best; smaller networks, dropout, weight decay, or more rows.",
            settings=settings_for(examination, kept_apart(examination, wanted)),
        ),
    )


def effective_number(neighbours: Tensor) -> float:
    """Return how many different neighbours, equally frequent, would tell as much as these, shape (n,).

    Samples with the same neighbour tell no more than one: pictures that are still blurred have a few rows in common.
    """
    shares = torch.bincount(neighbours).double() / len(neighbours)
    return 1.0 / float(shares.square().sum())


@check("memorisation", "overfitting", "Samples repeat rows of the fit")
def memorisation(examination: Examination) -> Sign:
    """Are samples nearer to rows of the fit than to others, beyond what their numbers explain?"""
    examination.need_numbers()
    examination.need_rows("train")
    examination.need_rows("held out")
    known = examination.numbers("train", MOST_SEARCHED)[:, :MOST_NUMBERS].double()
    unseen = examination.numbers("held out", MOST_SEARCHED)[:, :MOST_NUMBERS].double()
    made = examination.samples.flatten(1)[:, :MOST_NUMBERS].double()
    spread = known.std(0).clamp_min(1e-6) if examination.schema.kind == "rows" else torch.ones(known.shape[1])
    known, unseen, made = (rows / spread for rows in (known, unseen, made))
    n = min(len(known), 4 * len(unseen))  # a share that is not too small is told better
    blocks = squared_distance_blocks(made, torch.cat([known[:n], unseen]))
    both = [(block.argmin(1), block[:, :n].amin(1), block[:, n:].amin(1)) for _, block in blocks]
    nearest, to_known, to_unseen = (torch.cat(parts) for parts in zip(*both, strict=True))
    expected = len(unseen) / (n + len(unseen))
    # rows of few values have equals on both sides, which tell nothing
    is_held = torch.where(to_unseen == to_known, expected, (to_unseen < to_known).double())
    share = float(is_held.mean())
    evidence = (
        Evidence(
            name="samples nearest to a held-out row, against the share that chance gives",
            value=share / expected,
            limit=LEAST_NEAR,
            ill="below",
        ),
        Evidence(name="samples nearest to a held-out row, as a share", value=share),
        Evidence(name="share that chance gives", value=expected),
    )
    error = math.sqrt(expected * (1.0 - expected) / effective_number(nearest)) / expected
    is_sure = 1.0 - share / expected > SURE * error
    if not evidence[0].is_ill or not is_sure:
        return healthy(*evidence)
    return Sign(
        evidence=evidence,
        severity="serious" if share < 0.5 * LEAST_NEAR * expected else "moderate",
        explanation="New examples lie beside rows of the fit and not beside rows of the same kind that were held out, "
        "where as many should be: they are copies with small changes, which also gives those rows away.",
        remedy=Remedy(
            words="Learn from more rows, with smaller networks, dropout, and rows held out to stop by; where rows are "
            "private, fit with epsilon=.",
            settings=settings_for(
                examination,
                {"dropout": 0.2, "weight_decay": 1e-3, "patience": "auto", "encoder": "auto", "decoder": "auto"},
            ),
        ),
    )
