"""The coder of the tests is known while they run."""

from __future__ import annotations

import pytest

from latentkit.codec import coders
from tests.codec.archive.examples import ToyCoder


@pytest.fixture(autouse=True)
def toy_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(coders._parts, "toy", ToyCoder.of)
