"""Applying remedies: the model with other settings, and how the measures of its illnesses have changed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import Any

from sklearn.base import clone

from latentkit.core.errors import UnsupportedOperationError
from latentkit.data import Dataset
from latentkit.doctor.diagnosing import diagnose
from latentkit.doctor.findings import SEVERITIES, Diagnosis, Finding, Unchecked, readable
from latentkit.estimators.runs import save

__all__ = ["Mending", "Treated", "mend"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Treated:
    """A finding before and after its remedy.

    Attributes:
        finding: Before.
        after: Its measure afterwards; None where it could not be measured any more.
        is_cured: Whether it was not found again.
    """

    finding: Finding
    after: float | None
    is_cured: bool

    def __str__(self) -> str:
        after = "not measured" if self.after is None else readable(self.after)
        measure = self.finding.measure
        return f"{measure.name}: {readable(measure.value)} -> {after}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mending:
    """What remedies have made of a model.

    Attributes:
        estimator: The mended one; the other is as it was.
        settings: What was changed.
        has_retrained: Whether it was trained again.
        treated: The findings whose remedies were applied.
        before: The diagnosis that they come from.
        after: That of the mended model.
    """

    estimator: Any
    settings: dict[str, Any]
    has_retrained: bool
    treated: tuple[Treated, ...]
    before: Diagnosis
    after: Diagnosis

    def to_dict(self) -> dict[str, Any]:
        """The result as values for JSON."""
        return {
            "settings": {name: value if _is_plain(value) else str(value) for name, value in self.settings.items()},
            "has_retrained": self.has_retrained,
            "treated": [
                {
                    "name": each.finding.name,
                    "measure": each.finding.measure.name,
                    "before": each.finding.measure.value,
                    "after": each.after,
                    "is_cured": each.is_cured,
                }
                for each in self.treated
            ],
            "after": self.after.to_dict(),
        }


def mend(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    diagnosis: Diagnosis | None = None,
    held_out: Any = None,
    run: str | PathLike[str] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Mending:
    """Apply the remedies of the most severe findings, in one round, and make the same checks again.

    Where a prior that is fitted after training is all that is wanted, the trained model stays; otherwise a clone with
    the other settings is fitted, with the same seed, so that the same rows are held out.

    Args:
        estimator: Fitted; it is left as it is.
        X: The data of its fit.
        y: Their labels, where they were given to fit.
        diagnosis: Its diagnosis; None makes one.
        held_out: Rows that it has not learnt, as for :func:`diagnose`.
        run: Folder for the mended model.
        seed: As for :func:`diagnose`.
        progress: Called with the name of each check before it is made.
    Raises:
        UnsupportedOperationError: If no finding has a remedy that is a setting, or there are conditions.
    Example:
        >>> from sklearn.datasets import load_iris
        >>> from latentkit import VAE
        >>> X = load_iris().data
        >>> silent = VAE(latent_dim=2, beta=1000.0, max_epochs=20, random_state=0).fit(X)
        >>> diagnosis = diagnose(silent, X, only=["posterior-collapse"])
        >>> mend(silent, X, diagnosis=diagnosis).treated[0].is_cured
        True
    """
    if diagnosis is None:
        diagnosis = diagnose(estimator, X, held_out=held_out, seed=seed, progress=progress)
    findings = _to_treat(diagnosis)
    if not findings:
        raise UnsupportedOperationError(
            "there is nothing to mend: no finding has a remedy that is a setting of the estimator."
        )
    if estimator.condition_schema_ is not None:
        raise UnsupportedOperationError(
            "this model was fitted with conditions, which are not in its data. Fit again with: "
            f"{', '.join(f'{name}={value!r}' for name, value in _joined(findings).items())}"
        )
    settings = _joined(findings)
    retrains = any(finding.remedy.retrains for finding in findings)
    mended = _retrained(estimator, X, y, settings, run) if retrains else _with_prior(estimator, X, y, settings, run)
    after = diagnose(mended, X, held_out=held_out, only=diagnosis.checked, seed=seed, progress=progress)
    return Mending(
        estimator=mended,
        settings=settings,
        has_retrained=retrains,
        treated=tuple(_treated(finding, after) for finding in findings),
        before=diagnosis,
        after=after,
    )


def _to_treat(diagnosis: Diagnosis) -> list[Finding]:
    """The most severe findings that a setting may help, all of one severity."""
    fixable = [finding for finding in diagnosis.findings if finding.remedy.is_applicable]
    for severity in SEVERITIES:
        chosen = [finding for finding in fixable if finding.severity == severity]
        if chosen:
            return chosen
    return []


def _joined(findings: list[Finding]) -> dict[str, Any]:
    """All settings; where two findings ask for different values, the first one has its way."""
    settings: dict[str, Any] = {}
    for finding in findings:
        settings = {**finding.remedy.settings, **settings}
    return settings


def _retrained(estimator: Any, X: Any, y: Any, settings: dict[str, Any], run: str | PathLike[str] | None) -> Any:
    mended = clone(estimator).set_params(**settings, random_state=estimator.seed_)
    return mended.fit(X, y, run=run)


def _with_prior(estimator: Any, X: Any, y: Any, settings: dict[str, Any], run: str | PathLike[str] | None) -> Any:
    mended = copy.copy(estimator).set_params(**settings).fit_prior(X, y)
    if run is not None:
        save(mended, run, data=X if isinstance(X, Dataset) else None)
    return mended


def _treated(finding: Finding, after: Diagnosis) -> Treated:
    outcome = after[finding.name]
    measured = None if isinstance(outcome, Unchecked) else outcome.measure.value
    return Treated(finding=finding, after=measured, is_cured=not isinstance(outcome, Finding))


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool, dict, type(None)))
