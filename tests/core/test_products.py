"""Faster kernels of float32 products are used where they are exact, and for the block alone."""

from __future__ import annotations

import pytest
import torch

from latentkit.core import products
from latentkit.core.products import fast_products, is_medium_exact


def test_products_stay_exact_and_the_setting_comes_back() -> None:
    a, b = torch.randn(2, 300, 300, generator=torch.Generator().manual_seed(1)).unbind()
    exact = a.double() @ b.double()
    with fast_products():
        inside, fast = torch.get_float32_matmul_precision(), a @ b
    assert inside == ("medium" if is_medium_exact() else "highest")
    assert torch.get_float32_matmul_precision() == "highest"
    assert ((fast - exact).abs().max() / exact.abs().max()) < 1e-5


def test_nothing_changes_where_medium_means_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "is_medium_exact", lambda: False)
    with fast_products():
        assert torch.get_float32_matmul_precision() == "highest"


def test_a_choice_of_the_user_stands() -> None:
    torch.set_float32_matmul_precision("high")
    try:
        with fast_products():
            assert torch.get_float32_matmul_precision() == "high"
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
