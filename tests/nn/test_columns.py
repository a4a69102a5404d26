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
    cells = [embedding.cell(x[:, column], column) for column in range(3)]
    torch.testing.assert_close(embedding(x), torch.stack(cells).sum(0))


def test_the_position_inside_a_code_moves_the_vector_evenly() -> None:
    embedding = CellEmbedding(ColumnCodes(SIZES, is_ordered=(False, False, True)), 5)
    low, middle, high = (embedding.cell(torch.tensor([4.0 + part]), 2) for part in (0.1, 0.5, 0.9))
    torch.testing.assert_close(low + high, 2 * middle)
    assert (low != high).any()
    unknown = embedding.cell(torch.tensor([NAN]), 2)
    assert unknown.isfinite().all()
    assert (unknown != middle).any()


def test_the_chain_gives_the_logits_of_one_pass() -> None:
    decoder = ColumnDecoder(COLUMNS, 4, widths=(8, 8)).eval()
    h, x = decoder(torch.randn(6, 4))[:, 0], _rows()
    state = decoder.begin(h)
    for column, logits in enumerate(decoder.logits(h, torch.full_like(x, NAN)).split(SIZES, -1)):
        torch.testing.assert_close(decoder.column_logits(state, column), logits)
    partly = x.clone()
    partly[:3, 1], partly[:, 2] = NAN, NAN
    for column in (0, 1):
        state = decoder.add(state, partly[:, column], column)
    for column, logits in enumerate(decoder.logits(h, partly).split(SIZES, -1)):
        torch.testing.assert_close(decoder.column_logits(state, column), logits)


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
        rows = vectors.rows(column)
        assert rows.shape == (41, 16)
        near, far = (functional.cosine_similarity(rows[: last - k], rows[k:last]).mean() for k in (1, 20))
        assert near > 0.9
        assert far < 0.5
    assert torch.equal(vectors.weight, torch.cat([vectors.rows(column) for column in range(3)]))
    unordered = CodeVectors(ColumnCodes((40,)), 16).rows(0)
    assert functional.cosine_similarity(unordered[:-1], unordered[1:]).mean() < 0.3


def test_slopes_follow_the_smooth_part_of_the_vectors() -> None:
    torch.manual_seed(0)
    vectors = CodeVectors(ColumnCodes((240, 3, 5), (239, None, None), (True, True, False)), 4)
    with torch.no_grad():
        vectors.free.zero_()  # what is smooth is left
    rows, slopes = vectors.rows(0)[:239], vectors.row_slopes(0)[:239]
    torch.testing.assert_close((rows[2:] - rows[:-2]) / 2, slopes[1:-1], atol=5e-4, rtol=0.0)
    assert slopes.abs().mean() > 5e-3
    line = vectors.row_slopes(1)
    torch.testing.assert_close(vectors.rows(1).diff(dim=0), line[1:])
    assert not vectors.row_slopes(2).any()
    assert torch.equal(vectors.slopes, torch.cat([vectors.row_slopes(column) for column in range(3)]))


def test_few_rows_leave_codes_little_freedom() -> None:
    columns = ColumnCodes((50, 50, 4), is_ordered=(True, False, True))

    def roughness(n_rows: int | None) -> list[float]:
        vectors = CodeVectors(columns, 8, n_rows=n_rows)
        with torch.no_grad():
            vectors.free.fill_(1.0)
            vectors.bumps.zero_()
        return [round(vectors.rows(column).mean().item(), 3) for column in range(3)]

    assert roughness(None) == roughness(20_000) == [1.0, 1.0, 1.0]
    assert roughness(5_000) == [0.25, 1.0, 1.0]
    assert roughness(20) == [0.1, 1.0, 1.0]
