"""What every test may ask for: real data, a browser, quiet threads, examples that are the same on every run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from functools import partial
from pathlib import Path

import hypothesis
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent

# The suite shares its machine with others: threads that spin beside a busy neighbour cost more than they give.
torch.set_num_threads(1)

# No deadline: the first call of an operation may compile or load something. In CI the examples are the same each time.
hypothesis.settings.register_profile("local", deadline=None, print_blob=True)
hypothesis.settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets, which are not part of the repository: $LATENTKIT_DATA, or ../shared/data."""
    folder = Path(os.environ.get("LATENTKIT_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(reason=f"no real data at {folder}; set LATENTKIT_DATA to the folder that holds them")
    return folder


@pytest.fixture(scope="module")
def brief_ensembles() -> Generator[None, None, None]:
    """Ensembles of detectors learn for a tenth of their steps, where how well they find is not the question."""
    from latentkit.estimators import detector

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detector, "fit_ensemble", partial(detector.fit_ensemble, n_steps=40))
        yield


@pytest.fixture(scope="module")
def quick_classifier() -> Generator[None, None, None]:
    """Samples are told from real rows by a linear classifier, where how well is not the question."""
    from latentkit.evaluation import two_sample
    from latentkit.evaluation.table_learners import linear

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(two_sample, "_classifier", lambda name, kinds, seed: linear(kinds, 2, seed))
        yield


@pytest.fixture(scope="session")
def chromium() -> str:
    """The program that browser tests start."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if program := shutil.which(name):
            return program
    pytest.skip(reason="no Chromium on this machine")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where a browser is required, a browser test that was skipped has failed."""
    report = yield
    if report.skipped and item.get_closest_marker("browser") and os.environ.get("LATENTKIT_REQUIRE_BROWSER"):
        report.outcome = "failed"
        report.longrepr = f"LATENTKIT_REQUIRE_BROWSER is set, and this was skipped: {report.longrepr}"
    return report
