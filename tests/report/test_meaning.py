"""The part of a report about what latent dimensions mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latentkit.data import Dataset
from latentkit.estimators import VAE
from latentkit.report.charts import cell_map
from latentkit.report.meaning import meaning
from latentkit.report.page import Note, Panels, Strips, Table, Texts
from latentkit.report.style import draw_svg
from latentkit.report.subject import Subject


def test_rows_have_maps_directions_and_exemplars(row_model: VAE, rows: Dataset) -> None:
    section = meaning(Subject(row_model, rows))
    overview, maps, directions, *exemplars = section.blocks
    assert isinstance(overview, Table)
    assert len(overview.rows) == 3
    assert overview.header == ["dimension", "carries", "tells about, nats", "looks at, standard deviations"]
    assert isinstance(maps, Panels)
    assert [chart.name for chart in maps.charts] == ["meaning-information", "meaning-sensitivity"]
    assert isinstance(directions, Table)
    assert directions.rows[0][0] in {"class: high", "pair", "长度"} or "script" in directions.rows[0][0]
    assert [type(block) for block in exemplars] == [Table, Table]
    assert all(int(row[0].replace(",", "")) < 80 for block in exemplars for row in block.rows)  # type: ignore[union-attr]


def test_images_have_pictures(image_model: VAE, images: Dataset) -> None:
    section = meaning(Subject(image_model, images))
    kinds = [type(block) for block in section.blocks]
    assert kinds[0] is Table
    assert Strips in kinds
    assert {"meaning-pixels-0", "meaning-prototypes", "meaning-criticisms"} <= {chart.name for chart in section.charts}


def test_texts_have_texts(text_model: VAE, texts: Dataset) -> None:
    section = meaning(Subject(text_model, texts))
    (shown,) = [block for block in section.blocks if isinstance(block, Texts)]
    assert [one.heading for one in shown.lists] == ["Prototypes", "Criticisms"]
    assert all(len(one.lines) == 8 for one in shown.lists)


@pytest.mark.parametrize("n", [0, 10])
def test_what_is_missing_is_said(row_model: VAE, rows: Dataset, n: int) -> None:
    few = Dataset(rows.data[:n], rows.source, "rows") if n else None
    (note,) = meaning(Subject(row_model, few)).blocks
    assert isinstance(note, Note)
    assert ("at least 20 rows" in note.text) == bool(n)


def test_cells_that_hold_nothing_are_empty(tmp_path: Path) -> None:
    svg = draw_svg(cell_map(np.array([[0.0, 1.25], [0.0, 0.0]]), ["0", "1"], ["a", "b"]), name="x", title="t")
    assert svg.count("1.25") == 1
    assert svg.count("opacity: 0.55") == 1
