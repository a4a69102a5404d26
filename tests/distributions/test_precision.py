"""The precision of distributions."""

from __future__ import annotations

import torch

from latentkit.distributions.precision import at_least_float32, without_autocast


def test_precision_is_raised_and_never_lowered() -> None:
    for given, expected in ((torch.bfloat16, torch.float32), (torch.float16, torch.float32), (torch.float64,) * 2):
        assert at_least_float32(torch.ones(2, dtype=given)).dtype is expected
    value = torch.ones(2)
    assert at_least_float32(value) is value


def test_products_keep_their_precision_under_autocast() -> None:
    value = torch.eye(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (value @ value).dtype is torch.bfloat16
        with without_autocast(value):
            assert (value @ value).dtype is torch.float32
