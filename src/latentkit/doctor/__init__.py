"""What is wrong with a model: evidence, severity, explanation and remedy; and the remedy applied.

:func:`diagnose` looks at a fitted estimator, :func:`mend` fits it again with what would help.
"""

from __future__ import annotations

from latentkit.doctor.diagnosing import diagnose
from latentkit.doctor.examination import NotCheckable
from latentkit.doctor.findings import Curve, Diagnosis, Evidence, Finding, Healthy, Remedy, Unchecked
from latentkit.doctor.illnesses import checks
from latentkit.doctor.mending import Mending, Treated, mend

__all__ = [
    "Curve",
    "Diagnosis",
    "Evidence",
    "Finding",
    "Healthy",
    "Mending",
    "NotCheckable",
    "Remedy",
    "Treated",
    "Unchecked",
    "checks",
    "diagnose",
    "mend",
]
