"""What a diagnosis says: findings with their evidence and remedies, what is healthy, and what could not be checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

__all__ = [
    "PROBLEMS",
    "SEVERITIES",
    "Curve",
    "Diagnosis",
    "Evidence",
    "Finding",
    "Healthy",
    "Outcome",
    "Problem",
    "Remedy",
    "Severity",
    "Unchecked",
    "ordered",
    "readable",
]

Problem: TypeAlias = Literal["inference", "generator", "overfitting", "sample quality", "optimisation", "robustness"]
Severity: TypeAlias = Literal["serious", "moderate", "mild"]

#: The hard problems of variational autoencoders, and the data that one is learnt from.
PROBLEMS: tuple[Problem, ...] = (
    "inference",
    "generator",
    "overfitting",
    "sample quality",
    "optimisation",
    "robustness",
)
#: From what spoils a model to what is good to know.
SEVERITIES: tuple[Severity, ...] = ("serious", "moderate", "mild")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One figure that a check rests on.

    Attributes:
        name: What was measured, with its unit.
        value: The figure.
        limit: Where illness begins; None for a figure that only explains.
        ill: On which side of the limit.
    """

    name: str
    value: float
    limit: float | None = None
    ill: Literal["above", "below"] = "above"

    @property
    def is_ill(self) -> bool:
        """Whether the figure lies beyond its limit; one that is no number does."""
        if self.limit is None:
            return False
        return not (self.value <= self.limit if self.ill == "above" else self.value >= self.limit)

    def __str__(self) -> str:
        text = f"{self.name}: {readable(self.value)}"
        if self.limit is None:
            return text
        bound = "at most" if self.ill == "above" else "at least"
        return f"{text} (healthy: {bound} {readable(self.limit)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What would help.

    Attributes:
        words: In a sentence or two.
        settings: Parameters of the estimator to change; empty where no setting helps, such as where data are wrong.
        retrains: Whether the model has to be trained again; a prior that is fitted afterwards needs no training.
    """

    words: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    retrains: bool = True

    @property
    def is_applicable(self) -> bool:
        """Whether :func:`latentkit.doctor.mend` can apply it."""
        return bool(self.settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An illness that was found.

    Attributes:
        name: Its name, which does not change from version to version, such as ``"posterior-collapse"``.
        problem: The hard problem that it belongs to.
        severity: ``"serious"`` spoils what the model is for, ``"moderate"`` costs quality, ``"mild"`` is good to know.
        title: What it is, in a few words.
        evidence: The figures; the first one is its measure, by which a remedy is judged.
        explanation: What it means, for people who have not met it before.
        remedy: What would help.
    """

    name: str
    problem: Problem
    severity: Severity
    title: str
    evidence: tuple[Evidence, ...]
    explanation: str
    remedy: Remedy

    @property
    def measure(self) -> Evidence:
        """The figure by which a remedy is judged."""
        return self.evidence[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthy:
    """A check that found nothing.

    Attributes:
        name: Name of the illness that was looked for.
        problem: The hard problem that it belongs to.
        title: What the illness would be, in a few words.
        evidence: The figures; the first one is its measure.
    """

    name: str
    problem: Problem
    title: str
    evidence: tuple[Evidence, ...]

    @property
    def measure(self) -> Evidence:
        """The figure that a finding would be judged by."""
        return self.evidence[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchecked:
    """A check that could not be made.

    Attributes:
        name: Name of the illness that would have been looked for.
        problem: The hard problem that it belongs to.
        title: What the illness would be, in a few words.
        reason: Why, and what would make it possible.
    """

    name: str
    problem: Problem
    title: str
    reason: str


Outcome: TypeAlias = Finding | Healthy | Unchecked


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """How scores and reconstructions suffer from a corruption of what the encoder sees.

    Attributes:
        corruption: ``"noise"``, ``"blur"`` or ``"missing"``.
        levels: How strong it was: noise in standard deviations of the data, blur in pixels, missing as a share.
        score: Mean score of the corrupted rows, nats, at each level.
        error: Mean squared error of their reconstructions against the clean rows, relative to the variance of the data.
    """

    corruption: str
    levels: tuple[float, ...]
    score: tuple[float, ...]
    error: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What was found in a fitted model.

    Attributes:
        findings: Illnesses, the most severe first.
        healthy: Checks that found nothing.
        unchecked: Checks that could not be made, each with its reason.
        curves: Scores and reconstructions against corruption; none where they were not measured.
        n_train: Rows of the fit that were looked at; 0 for none.
        n_held_out: Rows that training did not learn from.
        seconds: What it took.
        notes: What to know of how it was examined, a sentence each.
    """

    findings: tuple[Finding, ...]
    healthy: tuple[Healthy, ...]
    unchecked: tuple[Unchecked, ...]
    curves: tuple[Curve, ...]
    n_train: int
    n_held_out: int
    seconds: float
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Outcome:
        """Return what became of the check of this name.

        Raises:
            KeyError: If there was no such check.
        """
        for outcome in self.outcomes:
            if outcome.name == name:
                return outcome
        raise KeyError(name)

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """What became of all checks."""
        return (*self.findings, *self.healthy, *self.unchecked)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the findings, the most severe first."""
        return tuple(finding.name for finding in self.findings)

    @property
    def checked(self) -> tuple[str, ...]:
        """Names of all checks that were asked for, those that could not be made among them."""
        return tuple(outcome.name for outcome in self.outcomes)

    @property
    def grave(self) -> tuple[Finding, ...]:
        """Findings that are more than remarks, the most severe first."""
        return tuple(finding for finding in self.findings if finding.severity != "mild")

    @property
    def is_serious(self) -> bool:
        """Whether there is a serious finding."""
        return any(finding.severity == "serious" for finding in self.findings)

    @property
    def verdict(self) -> str:
        """The diagnosis in a line."""
        n_checks = len(self.findings) + len(self.healthy)
        if not n_checks:
            return "Nothing could be checked."
        grave = self.grave
        if not grave:
            minor = f", {_count(len(self.findings), 'remark')}" if self.findings else ""
            return f"Healthy: {_count(n_checks, 'check')}{minor}."
        counts = [
            f"{number} {severity}"
            for severity in SEVERITIES
            if (number := sum(finding.severity == severity for finding in self.findings))
        ]
        rest = f", and {_count(len(grave) - 1, 'more')}" if len(grave) > 1 else ""
        return f"{grave[0].title}{rest}: {', '.join(counts)} of {_count(n_checks, 'check')}."

    def summary(self) -> list[tuple[str, str]]:
        """Headings and texts for people: the verdict, then each finding with its evidence and remedy."""
        rows = [("verdict", self.verdict), *(("note", note) for note in self.notes)]
        for finding in self.findings:
            rows.append((finding.severity, finding.title))
            rows.append(("evidence", "; ".join(map(str, finding.evidence))))
            rows.append(("meaning", finding.explanation))
            rows.append(("remedy", finding.remedy.words))
        if self.healthy:
            rows.append(("healthy", ", ".join(outcome.name for outcome in self.healthy)))
        rows.extend((f"no {outcome.name}?", outcome.reason) for outcome in self.unchecked)
        return rows

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as values for JSON."""
        return {
            "verdict": self.verdict,
            "findings": [_plain(finding) for finding in self.findings],
            "healthy": [_plain(outcome) for outcome in self.healthy],
            "unchecked": [asdict(outcome) for outcome in self.unchecked],
            "curves": [asdict(curve) for curve in self.curves],
            "n_train": self.n_train,
            "n_held_out": self.n_held_out,
            "seconds": round(self.seconds, 2),
            "notes": list(self.notes),
        }


def ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return findings, the most severe first, in the order of the problems where they are alike."""
    return tuple(sorted(findings, key=lambda each: (SEVERITIES.index(each.severity), PROBLEMS.index(each.problem))))


def readable(value: float) -> str:
    """Return a number with three figures that count, a whole one as it is."""
    if not math.isfinite(value):
        return "no number" if math.isnan(value) else "infinite" if value > 0 else "minus infinity"
    if value == round(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}" if digits <= 5 else f"{value:.1e}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 or noun == "more" else f"{number} {noun}s"


def _plain(outcome: Finding | Healthy) -> dict[str, Any]:
    values = asdict(outcome)
    for evidence in values["evidence"]:
        if not math.isfinite(evidence["value"]):
            evidence["value"] = None
    return values
