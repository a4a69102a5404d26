"""Tables of text with the types of their columns, and rows of tables."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from latentkit.data import TextTable, learn_table_schema
from latentkit.data.table import typed_table
from latentkit.data.table.frames import join_tables, take_rows

COLUMNS = {
    "whole": (["3", "?", "12"], [3, None, 12]),
    "tenths": (["0.5", "1.0", ""], [0.5, 1.0, None]),
    "padded": (["007", "010", "007"], ["007", "010", "007"]),
    "level": (["1", "2", "1"], [1, 2, 1]),
    "word": (["a", "NA", "b"], ["a", None, "b"]),
    "day": (["2020-02-01", "", "2021-12-31"], [dt.date(2020, 2, 1), None, dt.date(2021, 12, 31)]),
    "moment": (
        ["2020-02-01 10:00:05", "2020-02-02 00:00:00", "2020-02-01 10:00:05"],
        [dt.datetime(2020, 2, 1, 10, 0, 5), dt.datetime(2020, 2, 2), dt.datetime(2020, 2, 1, 10, 0, 5)],
    ),
    "time": (["10:30", "11:00", "10:30"], [dt.time(10, 30), dt.time(11, 0), dt.time(10, 30)]),
    "nothing": (["", "", ""], [None] * 3),
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.filterwarnings("ignore")
def test_cells_get_the_type_of_their_column(name) -> None:
    texts, values = COLUMNS[name]
    table = TextTable((name, "other"), (pa.array(texts * 20), pa.array(["x", "y", "y"] * 20)))
    assert typed_table(table, learn_table_schema(table))[name].to_pylist() == values * 20


def test_rows_of_tables_in_their_container() -> None:
    text = TextTable(("a", "b"), (pa.array(["1", "2", "3"]), pa.chunked_array([["x"], ["y", "z"]])))
    assert take_rows(text, [2, 0])["b"] == ["z", "x"]
    joined = join_tables([take_rows(text, [1]), text])
    assert (joined["a"], joined["b"], joined.names) == (["2", "1", "2", "3"], ["y", "x", "y", "z"], ("a", "b"))
    frame = text.to_arrow()
    assert take_rows(frame, [2, 0]).equals(frame.take([2, 0]))
    assert take_rows(["x", "y", "z"], [2, 0]) == ["z", "x"]
    assert join_tables([frame, frame]).num_rows == 6
    assert take_rows(np.arange(6).reshape(3, 2), [1]).tolist() == [[2, 3]]
    assert join_tables([np.zeros((1, 2)), np.ones((2, 2))]).shape == (3, 2)
