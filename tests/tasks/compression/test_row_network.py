"""The network of rows in whole numbers is the one that was learnt, and as coarse as it pays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentkit.codec.rows.softmax import PRECISION
from latentkit.tasks.compression.row_network import ColumnShape, RowNetwork
from latentkit.tasks.compression.rows import _fewest_bits

SIZES = (40, 4, 31)  # a key, words, numbers under a bump


@pytest.fixture
def network() -> RowNetwork:
    """One whose parameters are drawn."""
    random, none = np.random.default_rng(0), np.zeros(0, np.int64)
    shapes = []
    for number, size in enumerate(SIZES):
        positions = np.linspace(-900, 900, size).astype(np.int64) * (number != 1)
        counts = random.integers(1, 50, size)
        shapes.append(ColumnShape(counts, positions, np.arange(size), 30 * (number == 2), -1, none))
    network = RowNetwork([0, 1, 2], shapes, n_hidden=16, seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameters in (*network.embeddings, *network.kin_embeddings, *network.heads):
            parameters += 0.3 * torch.randn(parameters.shape, generator=generator)
    return network


def drawn(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and those that have the same key: none, one or two."""
    random = np.random.default_rng(1)
    rows = np.stack([random.integers(0, size, (3, n)) for size in SIZES], -1)
    n_kin = random.integers(0, 3, n)
    kin = np.where(n_kin[:, None, None] > np.arange(2)[:, None], rows[1:].transpose(1, 0, 2), -1)
    return rows[0], kin


def test_rows_of_the_same_key_tell_the_same_in_whole_numbers(network: RowNetwork) -> None:
    symbols, kin = drawn(500)
    with torch.no_grad():
        expected = network(torch.from_numpy(symbols), torch.from_numpy(kin)).numpy() / np.log(2)
    conditionals = network.exact()
    context = conditionals.context(kin)
    for number in range(3):
        frequencies = np.diff(conditionals.frequencies(context, number))[np.arange(500), symbols[:, number]]
        np.testing.assert_allclose(PRECISION - np.log2(frequencies), expected[:, number], atol=0.6)
        conditionals.tell(context, number, symbols[:, number])
    alone = network(torch.from_numpy(symbols), torch.full(kin.shape, -1)).detach().numpy() / np.log(2)
    has_kin = kin[:, 0, 0] >= 0
    assert np.abs(alone - expected)[has_kin].mean() > 0.3
    assert np.allclose(alone[~has_kin], expected[~has_kin])


def test_coarse_numbers_are_multiples_and_take_less_room(network: RowNetwork) -> None:
    fine, coarse = network.exact(), network.exact(8)
    for table in coarse.tables:
        for values in (table.embeddings, table.kin_embeddings, table.head.integers[0]):
            assert not (values % 8).any()
    assert any((table.embeddings % 8).any() for table in fine.tables)


def test_the_fewer_rows_are_learnt_from_the_coarser_the_numbers(network: RowNetwork) -> None:
    candidates, (symbols, kin) = [network.exact(8), network.exact(1)], drawn(2000)
    # rows as the finer numbers foretell them
    context, slots = candidates[1].context(kin), np.random.default_rng(2).integers(0, 1 << PRECISION, (2000, 3))
    for number in range(3):
        ends = candidates[1].frequencies(context, number)[:, 1:]
        symbols[:, number] = (ends <= slots[:, number, None]).sum(1)
        candidates[1].tell(context, number, symbols[:, number])
    assert _fewest_bits(candidates, symbols, kin, n_learnt=20) is candidates[0]
    assert _fewest_bits(candidates, symbols, kin, n_learnt=10**9) is candidates[1]
