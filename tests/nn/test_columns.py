"""Networks over tables: codes, embeddings with known and unknown cells, and the chain that draws a row."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from latentkit.core.columns import ColumnCodes
from latentkit.core.errors import InvalidParameterError
from latentkit.nn import CellEmbedding, CodeVectors, ColumnDecoder, ColumnEncoder, build_decoder, build_encoder
from latentkit.nn.columns import default_column_widths

SIZES = (2, 3, 7)
COLUMNS = ColumnCodes(SIZES)
NAN = math.nan


def _rows(n: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, len(SIZES), generator=generator) * torch.tensor(SIZES)


def test_a_row_is_embedded_as_the_sum_of_its_cells() -> None:
    embedding = CellEmbedding(COLUMNS, 5)
    x = _rows().masked_fill(torch.rand(6, 3, generator=torch.Generator().manual_seed(1)) < 0.4, NAN)
    assert x.isnan().any()
    alone = [torch.full_like(x, NAN).index_copy(1, torch.tensor([column]), x[:, [column]]) for column in range(3)]
    nothing = embedding(torch.full_like(x, NAN))
    torch.testing.assert_close(embedding(x), sum(embedding(part) for part in alone) - 2 * nothing)


def test_the_position_inside_a_code_moves_the_vector_evenly() -> None:
    embedding = CellEmbedding(ColumnCodes(SIZES, is_ordered=(False, False, True)), 5)
    low, middle, high = (embedding(torch.tensor([[0.5, 0.5, 4.0 + part]])) for part in (0.1, 0.5, 0.9))
    torch.testing.assert_close(low + high, 2 * middle)
    assert (low != high).any()
    unknown = embedding(torch.tensor([[0.5, 0.5, NAN]]))
    assert unknown.isfinite().all()
    assert (unknown != middle).any()


def test_the_chain_gives_the_logits_of_one_pass() -> None:
    decoder = ColumnDecoder(COLUMNS, 4, widths=(8, 8)).eval()
    h, x = decoder(torch.randn(6, 4))[:, 0], _rows()
    walk = decoder.begin(h)
    for column, logits in enumerate(decoder.logits(h, torch.full_like(x, NAN)).split(SIZES, -1)):
        torch.testing.assert_close(walk.logits(column), logits)
    partly = x.clone()
    partly[:3, 1], partly[:, 2] = NAN, NAN
    for column in (0, 1):
        walk.add(partly[:, column], column)
    for column, logits in enumerate(decoder.logits(h, partly).split(SIZES, -1)):
        torch.testing.assert_close(walk.logits(column), logits)


def test_a_walk_under_autocast_computes_in_its_precision_and_hardly_differs() -> None:
    decoder = ColumnDecoder(COLUMNS, 4, widths=(32, 32)).eval()
    h, x = decoder(torch.randn(6, 4))[:, 0], _rows()
    expected = decoder.begin(h)
    with torch.autocast("cpu", torch.bfloat16):
        walk = decoder.begin(h)
        for each in (expected, walk):
            each.add(x[:, 0], 0)
        logits = walk.logits(2)
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), expected.logits(2), rtol=0.02, atol=0.02)


def test_an_encoder_hides_cells_while_it_is_trained() -> None:
    encoder = ColumnEncoder(COLUMNS, 4, widths=(8,))
    x = _rows(1).expand(400, -1)
    hidden = encoder.train()(x)
    whole = encoder.eval()(x)
    shown = (hidden - whole).abs().amax(1) < 1e-6
    # half of the rows, and of the others those in which no cell was hidden: E[(1 - u)^3] = 1/4
    assert 0.5 < shown.float().mean() < 0.75
    assert torch.equal(whole[0], whole[-1])
    open_encoder = ColumnEncoder(COLUMNS, 4, widths=(8,), hides=False)
    torch.testing.assert_close(open_encoder.train()(x), open_encoder.eval()(x))


def test_networks_are_built_by_name() -> None:
    encoder = build_encoder("columns", (3,), 4, columns=COLUMNS, n_rows=100)
    decoder = build_decoder("columns", 4, (1, sum(SIZES)), columns=COLUMNS, widths=(16, 16))
    assert isinstance(encoder, ColumnEncoder)
    assert isinstance(decoder, ColumnDecoder)
    assert encoder.embedding.vectors.free.shape[1] == 64
    assert decoder.logits(decoder(encoder(_rows()))[:, 0], _rows()).shape == (6, 12)
    assert default_column_widths(200) == (256,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "'columns' networks need a table of mixed kinds"),
        ({"columns": COLUMNS, "normalization": "batch"}, "normalised by layer; got normalization='batch'"),
        (
            {"columns": COLUMNS, "widths": (8, 16)},
            r"of the same number, one a block; got \(8, 16\). Use \(16, 16\)",
        ),
    ],
)
def test_wrong_settings(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        build_encoder("columns", (3,), 4, **options)  # type: ignore[arg-type]


def test_vectors_of_ordered_codes_are_smooth_before_training() -> None:
    torch.manual_seed(0)
    vectors = CodeVectors(ColumnCodes((40, 40, 3), (None, 39, None), (True, True, True)), 16, n_more=1)
    for column, last in ((0, 40), (1, 39)):
        rows = vectors.weight.split(vectors.sizes)[column]
        assert rows.shape == (41, 16)
        near, far = (functional.cosine_similarity(rows[: last - k], rows[k:last]).mean() for k in (1, 20))
        assert near > 0.9
        assert far < 0.5
    unordered = CodeVectors(ColumnCodes((40,)), 16).weight
    assert functional.cosine_similarity(unordered[:-1], unordered[1:]).mean() < 0.3


def test_slopes_follow_the_smooth_part_of_the_vectors() -> None:
    torch.manual_seed(0)
    vectors = CodeVectors(ColumnCodes((240, 3, 5), (239, None, None), (True, True, False)), 4)
    with torch.no_grad():
        vectors.free.zero_()  # what is smooth is left
    rows, slopes = ([part[:239] for part in each.split(vectors.sizes)] for each in vectors())
    torch.testing.assert_close((rows[0][2:] - rows[0][:-2]) / 2, slopes[0][1:-1], atol=5e-4, rtol=0.0)
    assert slopes[0].abs().mean() > 5e-3
    torch.testing.assert_close(rows[1].diff(dim=0), slopes[1][1:])
    assert not slopes[2].any()


def test_few_rows_leave_codes_little_freedom() -> None:
    columns = ColumnCodes((50, 50, 4), is_ordered=(True, False, True))

    def roughness(n_rows: int | None) -> list[float]:
        vectors = CodeVectors(columns, 8, n_rows=n_rows)
        with torch.no_grad():
            vectors.free.fill_(1.0)
            vectors.bumps.zero_()
        return [round(rows.mean().item(), 3) for rows in vectors.weight.split(vectors.sizes)]

    assert roughness(None) == roughness(20_000) == [1.0, 1.0, 1.0]
    assert roughness(5_000) == [0.25, 1.0, 1.0]
    assert roughness(20) == [0.1, 1.0, 1.0]
