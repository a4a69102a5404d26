"""What a diagnosis says of itself."""

from __future__ import annotations

import json
import math

import pytest

from latentkit.doctor import Diagnosis, Evidence, Finding, Healthy, Remedy, Unchecked
from latentkit.doctor.findings import ordered, readable


def finding(severity: str = "serious", problem: str = "inference", **remedy: object) -> Finding:
    return Finding(
        name=f"{severity}-{problem}",
        problem=problem,
        severity=severity,
        title="It is ill",
        evidence=(Evidence(name="heat, degrees", value=41.0, limit=38.0),),
        explanation="It is hot.",
        remedy=Remedy(words="Cool it.", **remedy),
    )


def diagnosis(*findings: Finding) -> Diagnosis:
    return Diagnosis(
        findings=ordered(findings),
        healthy=(
            Healthy(name="blur", problem="sample quality", title="Blur", evidence=(Evidence(name="a", value=1),)),
        ),
        unchecked=(Unchecked(name="dead-codes", problem="optimisation", title="Dead", reason="no codes."),),
        curves=(),
        n_train=10,
        n_held_out=2,
        seconds=0.5,
    )


@pytest.mark.parametrize(
    ("value", "limit", "ill", "is_ill"),
    [(2.0, 1.0, "above", True), (1.0, 1.0, "above", False), (0.5, 1.0, "below", True), (math.nan, 1.0, "above", True)],
)
def test_evidence_is_ill_beyond_its_limit_and_where_it_is_no_number(value, limit, ill, is_ill) -> None:
    assert Evidence(name="x", value=value, limit=limit, ill=ill).is_ill is is_ill
    assert not Evidence(name="x", value=value).is_ill


def test_evidence_stands_beside_its_limit() -> None:
    assert str(Evidence(name="heat", value=41.234, limit=38.0)) == "heat: 41.2 (healthy: at most 38)"
    assert str(Evidence(name="heat", value=0.01234, limit=0.1, ill="below")) == "heat: 0.0123 (healthy: at least 0.100)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1234.5, "1,234"),
        (-3.14159, "-3.14"),
        (38.0, "38"),
        (1e-7, "1.0e-07"),
        (math.nan, "no number"),
        (math.inf, "infinite"),
    ],
)
def test_numbers_are_readable(value, text) -> None:
    assert readable(value) == text


def test_the_most_severe_findings_come_first() -> None:
    found = diagnosis(finding("mild"), finding("serious", "robustness"), finding("moderate"), finding("serious"))
    assert found.names == ("serious-inference", "serious-robustness", "moderate-inference", "mild-inference")


def test_the_verdict_counts() -> None:
    assert diagnosis().verdict == "Healthy: 1 check."
    assert diagnosis(finding("mild")).verdict == "Healthy: 2 checks, 1 remark."
    assert (
        diagnosis(finding(), finding("moderate")).verdict == "It is ill, and 1 more: 1 serious, 1 moderate of 3 checks."
    )
    assert diagnosis(finding()).is_serious
    assert not diagnosis(finding("moderate")).is_serious


def test_outcomes_are_found_by_name() -> None:
    found = diagnosis(finding())
    assert found["serious-inference"] is found.findings[0]
    assert found["blur"] is found.healthy[0]
    assert found["dead-codes"].reason == "no codes."
    with pytest.raises(KeyError):
        found["measles"]


def test_the_summary_and_the_document_hold_everything() -> None:
    found = diagnosis(finding(settings={"beta": 1.0}))
    text = "\n".join(f"{heading}: {line}" for heading, line in found.summary())
    for part in ("It is ill", "heat, degrees: 41", "It is hot.", "Cool it.", "blur", "no codes."):
        assert part in text
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["findings"][0]["remedy"]["settings"] == {"beta": 1.0}
    assert document["unchecked"][0]["name"] == "dead-codes"
