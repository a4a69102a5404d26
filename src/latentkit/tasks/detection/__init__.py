"""Odd rows: what is odd about them, how odd they are, and whom to alarm."""

from __future__ import annotations

from latentkit.tasks.detection.ensembles import MEMBERS, Member, build_ensemble, fit_ensemble
from latentkit.tasks.detection.evidence import (
    CodesWitness,
    EnsembleWitness,
    Evidence,
    ModelWitness,
    TextWitness,
    Witness,
)
from latentkit.tasks.detection.features import RowScale, squash
from latentkit.tasks.detection.parts import ScorePart, SharedPart, SumPart, score_parts
from latentkit.tasks.detection.scoring import BATCH, PARTS, Explanation, OddnessScore, check_parts
from latentkit.tasks.detection.thresholds import (
    Calibration,
    Tail,
    auto_cut,
    benjamini_hochberg,
    best_cut,
    conformal_calibration,
    conformal_cut,
    conformal_p_values,
    fit_tail,
    rate_cut,
    repeated_confidence,
    verdict_confidence,
)

__all__ = [
    "BATCH",
    "MEMBERS",
    "PARTS",
    "Calibration",
    "CodesWitness",
    "EnsembleWitness",
    "Evidence",
    "Explanation",
    "Member",
    "ModelWitness",
    "OddnessScore",
    "RowScale",
    "ScorePart",
    "SharedPart",
    "SumPart",
    "Tail",
    "TextWitness",
    "Witness",
    "auto_cut",
    "benjamini_hochberg",
    "best_cut",
    "build_ensemble",
    "check_parts",
    "conformal_calibration",
    "conformal_cut",
    "conformal_p_values",
    "fit_ensemble",
    "fit_tail",
    "rate_cut",
    "repeated_confidence",
    "score_parts",
    "squash",
    "verdict_confidence",
]
