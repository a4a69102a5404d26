"""One small fitted model per form of data, shared by the tests of this folder."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from _pytest.fixtures import SubRequest

from latentkit import VAE
from tests.estimators.cases import CASES, Case, classes, rows, small


class Fitted(NamedTuple):
    """A case, its data as given to fit, and the model; with labels where the data are rows in memory."""

    case: Case
    X: Any
    vae: VAE


@pytest.fixture(scope="session", params=CASES, ids=lambda case: case.name)
def fitted(request: SubRequest, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    X = request.param.make(tmp_path_factory.mktemp("data"))
    return Fitted(request.param, X, small().fit(X))


@pytest.fixture(scope="session")
def labelled() -> VAE:
    return small(max_epochs=40, learning_rate=1e-2).fit(rows(300), classes(300))
