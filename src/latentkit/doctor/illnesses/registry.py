"""The checks by name, and what one of them says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from latentkit.core.registry import Registry
from latentkit.doctor.examination import Examination, NotCheckable
from latentkit.doctor.findings import Evidence, Finding, Healthy, Outcome, Problem, Remedy, Severity, Unchecked

__all__ = ["Check", "Sign", "check", "checks", "healthy", "kept_apart", "learnt_variance", "settings_for"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """What a check saw.

    Attributes:
        evidence: The figures; the first is the measure.
        severity: How bad it is; None where nothing is wrong.
        explanation: What it means, where something is wrong.
        remedy: What would help, likewise.
    """

    evidence: tuple[Evidence, ...]
    severity: Severity | None = None
    explanation: str = ""
    remedy: Remedy | None = None


Look: TypeAlias = Callable[[Examination], Sign]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One illness, and how it is looked for.

    Attributes:
        name: Its name in findings.
        problem: The hard problem that it belongs to.
        title: What it is, in a few words.
        look: Looks; raises :class:`NotCheckable` where it cannot.
    """

    name: str
    problem: Problem
    title: str
    look: Look

    def __call__(self, examination: Examination) -> Outcome:
        """Return what was found."""
        try:
            sign = self.look(examination)
        except NotCheckable as error:
            return Unchecked(name=self.name, problem=self.problem, title=self.title, reason=str(error))
        if sign.severity is None:
            return Healthy(name=self.name, problem=self.problem, title=self.title, evidence=sign.evidence)
        assert sign.remedy is not None, "a finding has a remedy"
        return Finding(
            name=self.name,
            problem=self.problem,
            severity=sign.severity,
            title=self.title,
            evidence=sign.evidence,
            explanation=sign.explanation,
            remedy=sign.remedy,
        )


checks: Registry[Check] = Registry("check")


def check(name: str, problem: Problem, title: str) -> Callable[[Look], Look]:
    """Return a decorator that files a function as a check."""

    def decorator(look: Look) -> Look:
        checks.register(name)(Check(name=name, problem=problem, title=title, look=look))
        return look

    return decorator


def healthy(*evidence: Evidence) -> Sign:
    """Nothing is wrong, by these figures."""
    return Sign(evidence=evidence)


def settings_for(examination: Examination, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that the estimator knows, and that are not what they shall be already."""
    known = examination.parameters
    return {name: value for name, value in wanted.items() if name in known and known[name] != value}


def learnt_variance(options: Mapping[str, Any] | None, variance: str = "shared") -> dict[str, Any]:
    """Options of a Gaussian likelihood as they are, but with a variance that the model learns."""
    kept = {name: value for name, value in (options or {}).items() if name != "stddev"}
    return {**kept, "variance": variance}


def kept_apart(examination: Examination, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that hold rows out to stop by, as far as the estimator does not do so already, and others."""
    holds_out = examination.parameters.get("validation_fraction", 0.0)
    held_out = {} if holds_out else {"validation_fraction": 0.1}
    return {**held_out, "patience": "auto", **wanted}
