"""Reports of models whose codes are points: no bound, no divergence, no prior of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from latentkit import Autoencoder, SparseAutoencoder
from latentkit.data import Dataset
from latentkit.report import write_report
from latentkit.report.subject import Subject
from tests.report.test_writing import check

SMALL: dict[str, Any] = {"encoder": (16,), "decoder": (16,), "max_epochs": 2, "ex_post_options": {"n_components": 2}}


@pytest.mark.parametrize("kind", ["images", pytest.param("rows", marks=pytest.mark.slow)])
def test_a_report_speaks_of_reconstructions(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    data: Dataset = request.getfixturevalue(kind)
    model = SparseAutoencoder(6, top_k=2, random_state=0, **SMALL).fit(data.data, data.labels)
    for given in (data, None):
        page = check(write_report(model, tmp_path / "report.html", data=given))
        text = " ".join(page.text)
        assert given is None or "log p(x given z) of reconstructions, mean" in text
        for words in ("KL", "N(0, I)", "ower bound on", "K =", "effective sample size", "prior of training"):
            assert words not in text
        assert "SparseAutoencoder" in text
        assert "whose codes vary most" in text
        assert "the codes' standard deviation" in text


@pytest.mark.parametrize("kind", ["images", pytest.param("rows", marks=pytest.mark.slow)])
def test_without_a_mixture_there_is_nothing_to_draw_from(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    data: Dataset = request.getfixturevalue(kind)
    model = Autoencoder(2, random_state=0, **{**SMALL, "ex_post": "none", "ex_post_options": None}).fit(data.data)
    for given in (data, None):
        text = " ".join(check(write_report(model, tmp_path / "report.html", data=given)).text)
        assert "fitted without a prior of its codes" in text


def test_figures_are_those_of_the_estimator(images: Dataset) -> None:
    model = Autoencoder(3, penalty="spectral", random_state=0, **SMALL).fit(images.data)
    subject = Subject(model, images)
    assert subject.scored[1] == 1
    assert float(subject.likelihood.log_likelihood.mean()) == pytest.approx(model.score(images.data))
    assert subject.posterior[1] is None
    spread = model.transform(images.data).var(0, ddof=1)
    assert subject.dimensions.tolist() == (-spread).argsort(kind="stable").tolist()
    assert subject.weight(1) == f"sd {spread[1] ** 0.5:.3g}"
    walked = subject.walk(2, 7)
    assert walked[3] == pytest.approx(float(model.ex_post_prior_().mean[2]))
    assert walked[6] - walked[3] == pytest.approx(3 * float(model.ex_post_prior_().stddev[2]), rel=1e-4)
