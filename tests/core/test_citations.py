"""Every part cites what is in the bibliography, and every entry there is well formed."""

from __future__ import annotations

import pytest

import latentkit.estimators  # noqa: F401 (registers the estimators)
from latentkit.core.citations import bibtex, known_keys
from latentkit.distributions import likelihoods, posteriors, priors
from latentkit.estimators.registry import estimators
from latentkit.objectives import objectives

REGISTRIES = [estimators, likelihoods, posteriors, priors, objectives]


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.axis)
def test_what_parts_cite_is_in_the_bibliography(registry) -> None:
    for name in registry:
        assert set(registry.cites(name)) <= known_keys(), name


def test_every_estimator_cites_something() -> None:
    assert all(estimators.cites(name) for name in estimators)


@pytest.mark.parametrize("key", sorted(known_keys()))
def test_entries_are_whole(key: str) -> None:
    entry = bibtex([key]).strip()
    assert entry.startswith("@")
    assert entry.endswith("}")
    assert entry.count("{") == entry.count("}")
    for field in ("title", "author", "year"):
        assert f"\n  {field} = " in entry


def test_entries_come_once_and_in_order() -> None:
    keys = ["roeder2017sticking", "kingma2014auto", "roeder2017sticking"]
    text = bibtex(keys)
    assert text.count("@") == 2
    assert text.index("roeder2017") < text.index("kingma2014")
