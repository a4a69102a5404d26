"""Coders of small models, trained once."""

from __future__ import annotations

import pytest

from latentkit.codec.bits_back import BitsBackCoder, LatentChain
from tests.codec.bits_back.models import trained


@pytest.fixture(scope="session")
def one_layer() -> LatentChain:
    return trained(5)


@pytest.fixture(scope="session")
def two_layers() -> LatentChain:
    return trained(5, 2)


@pytest.fixture(params=[1, 2], ids=["one layer", "two layers"])
def coder(request: pytest.FixtureRequest) -> BitsBackCoder:
    return BitsBackCoder(request.getfixturevalue(["one_layer", "two_layers"][request.param - 1]), b"\x00\xff")
