"""Files of text: how they are recognised, read cell by cell, and written as they were."""

from __future__ import annotations

import bz2
import gzip
import json
import re

import numpy as np
import pyarrow as pa
import pytest
import torch

from latentkit.core.errors import DataError, InvalidParameterError, SchemaMismatchError, UnreadableDataError
from latentkit.data import TextTable, learn_table_schema, read, schema_from_description, write, write_filled
from latentkit.data.table.cells import cells_kinds
from latentkit.data.table.text import scan

RNG = np.random.default_rng(0)
PLAIN = "name,when,price,done\nann,2020-01-31,1.50,yes\nbob,2021-12-01,20.25,no\nann,2019-02-28,3.00,yes\n"


def learnt(tmp_path, content, name="a.csv", **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path, learn_table_schema(path, **options)


def many(text, n=40):
    header, *rows = text.splitlines()
    return "\n".join([header, *(rows * n)[:n]]) + "\n"


FILES = {
    "comma": many(PLAIN),
    "semicolon and decimal comma": many(PLAIN).replace(".", "#").replace(",", ";").replace("#", ","),
    "tab": many(PLAIN).replace(",", "\t"),
    "windows lines": many(PLAIN).replace("\n", "\r\n"),
    "no last line end": many(PLAIN).rstrip("\n"),
    "blank behind the comma": many(PLAIN).replace(",", ", "),
    "all quoted": "\n".join(",".join(f'"{c}"' for c in line.split(",")) for line in many(PLAIN).split("\n")[:-1])
    + "\n",
    "quotes where needed": many('a,b\n"x, y",1\n"say ""so""",2\nplain,3\n'),
    "line breaks in cells": many("a,b\n1,plain\n2,other\n").replace("plain", '"two\nlines"'),
    "no header": "\n".join(f"{i % 7},{'ab'[i % 2]}" for i in range(30)) + "\n",
    "leading zeros": many("zip,x\n01067,1\n99084,2\n04109,4\n"),
    "fixed places": many("x,y\n1.50,2.0\n0.25,1.25\n10.00,1.5\n"),
    "days and times": many("a,b,c\n31.12.2020,2020-01-01T10:00:00,09:30\n01.02.2021,2020-01-01T23:15:59,22:00\n"),
    "days without zeros": many("a,b\n1/2/2020,1\n12/31/2021,2\n"),
    "missing": many("a,b,c\n1,?,x\n2,7,y\n?,8,x\n3,9,y\n"),
    "truth": many("a,b,c\nTrue,Yes,t\nFalse,No,f\n"),
    "negative and signs": many("a,b\n-1.5,-3\n2.25,4\n-0.75,0\n"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_comes_back_byte_for_byte(tmp_path, name):
    ending = "tsv" if name == "tab" else "csv"
    path, schema = learnt(tmp_path, FILES[name], f"a.{ending}")
    table = schema.decode(schema.encode(path))
    assert isinstance(table, TextTable)
    write(table, tmp_path / f"b.{ending}", schema=schema)
    assert (tmp_path / f"b.{ending}").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_are_recognised_and_kept(tmp_path, encoding):
    content = many("stadt,größe\nKöln,1\nMünchen,2\n").encode(encoding)
    path, schema = learnt(tmp_path, content)
    dataset = read(path, tables="always")
    assert dataset.data.names == ("stadt", "größe")
    assert dataset.data["stadt"][:2] == ["Köln", "München"]
    assert any("Windows-1252" in note and "line 1" in note for note in dataset.notes) == (encoding == "cp1252")
    write(schema.decode(schema.encode(path)), tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_bytes() == content


def test_packed_files(tmp_path):
    for name, pack in [
        ("a.csv.gz", gzip.compress),
        ("a.csv.bz2", bz2.compress),
        ("a.csv.zst", lambda content: pa.compress(content, codec="zstd", asbytes=True)),
    ]:
        path, schema = learnt(tmp_path, pack(FILES["comma"].encode()), name)
        assert schema.encode(path).shape == (40, 4)


def test_formats_are_kept_in_new_values(tmp_path):
    path, schema = learnt(
        tmp_path,
        "t;p;d\n" + "".join(f"{i:05d};{i / 8:.2f};{1 + i % 28:02d}.03.2021\n".replace(".", ",", 1) for i in range(400)),
        kinds={"t": "count"},
    )
    u = schema.encode(path)
    made = schema.decode(u.floor() + torch.rand(u.shape, generator=torch.Generator().manual_seed(0)))
    assert all(len(text) == 5 and text.isdigit() for text in made["t"])
    assert all(text[-3] == "," for text in made["p"])
    assert all(text.endswith(".03.2021") and len(text) == 10 for text in made["d"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n3\n", "line 3: the row has 1 cells, the table has 2 columns"),
        ("a,b\n1,2\n3,4,5\n6,7\n", r"line 3: the row has 3 cells.*too many is '5'"),
        ('a,b\n1,"x\ny"\n3,4,5\n', "line 4: the row has 3 cells"),
        ("a,b,a\n1,2,3\n", r"line 1: several columns are named 'a' \(columns 1, 3\)"),
        (b"a,b\n1,\x81\x8d\n", "line 2: the encoding of the file is not known"),
        (b"a,b\n1,2\n\x00\x00\x00,3\n", "line 3: the file holds zero bytes"),
        ("a,b\n", "has no rows"),
        (" \n\n", "is empty"),
    ],
)
def test_damaged_files_name_the_line(tmp_path, content, message):
    with pytest.raises(UnreadableDataError, match=rf"a\.csv.*{message}"):
        learnt(tmp_path, content)


def test_cells_that_cannot_be_name_line_and_column(tmp_path):
    with pytest.raises(DataError, match=r"a\.csv: line 4, column 2 \('b'\) is infinite"):
        learnt(tmp_path, "a,b\nx,1\ny,2\nz,inf\n")
    dates = "".join(f"2020-01-{day:02d}\n" for day in range(1, 29))
    with pytest.raises(
        DataError, match=r"a\.csv: line 30, column 1 \('d'\) is '2020-02-30', and there is no such date"
    ):
        learnt(tmp_path, f"d\n{dates}2020-02-30\n")
    path, schema = learnt(tmp_path, FILES["comma"])
    path.write_text(FILES["comma"].replace("bob,2021-12-01,20.25", "bob,2021-13-01,20.25", 1))
    with pytest.raises(DataError, match=r"line 3, column 2 \('when'\) is '2021-13-01', but the column is date"):
        schema.encode(path)
    path.write_text(FILES["comma"].replace("20.25", "dear", 1))
    with pytest.raises(DataError, match=r"line 3, column 3 \('price'\) is 'dear'"):
        schema.encode(path)


def test_lines_are_counted_through_cells_with_line_breaks(tmp_path):
    with pytest.raises(DataError, match="line 6, column 2"):
        learnt(tmp_path, 'a,b\n"x\ny\nz",1\n"u",2\nw,inf\n')


def test_words_among_numbers_are_missing_with_a_warning(tmp_path):
    rows = "".join(f"{i}.5\n" for i in range(200))
    path, schema = learnt(tmp_path, f"x\n{rows}unknown\n")
    assert "1 cell, the first is 'unknown'" in " ".join(schema.notes)
    assert "line 202, column 1 ('x')" in " ".join(schema.notes)
    assert schema.columns[0].kind == "positive"
    assert schema.encode(path)[-1].floor().item() == schema.codes.missing_codes[0]
    assert schema.decode(schema.encode(path))["x"][-1] == "unknown"


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(UnreadableDataError, match="there is no such file"):
        learn_table_schema(tmp_path / "none.csv")
    (tmp_path / "a.npy").write_bytes(b"x")
    with pytest.raises(UnreadableDataError, match="this is none by its ending"):
        learn_table_schema(tmp_path / "a.npy")


def test_reading_leaves_numbers_alone_unless_asked(tmp_path):
    (tmp_path / "numbers.csv").write_text("a,b\n1,2\n3,4\n")
    (tmp_path / "mixed.csv").write_text("a,b\n1,x\n3,y\n")
    (tmp_path / "holes.csv").write_text("a,b\n1,\n3,2\n")
    kinds = {
        tables: [read(tmp_path / f"{name}.csv", tables=tables).kind for name in ("numbers", "mixed", "holes")]
        for tables in ("mixed", "always")
    }
    assert kinds == {"mixed": ["rows", "table", "table"], "always": ["table"] * 3}
    with pytest.raises(DataError, match="numbers are needed"):
        read(tmp_path / "mixed.csv", tables="numbers")
    dataset = read(tmp_path / "mixed.csv", tables="mixed", labels="b")
    assert dataset.label_names is None or dataset.label_names == ("x", "y")
    dataset = read(tmp_path / "holes.csv", tables="always", labels="a")
    assert dataset.labels.tolist() == [0, 1] if dataset.label_names else [1, 3]
    assert dataset.data.names == ("b",)
    with pytest.raises(InvalidParameterError, match="no column 'c' for the labels"):
        read(tmp_path / "holes.csv", tables="always", labels="c")


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_typed_files(tmp_path, ending):
    table = pa.table({"a": [1.5, None, 2.5] * 10, "b": ["x", "y", None] * 10})
    write(table, tmp_path / f"t.{ending}")
    schema = learn_table_schema(tmp_path / f"t.{ending}")
    back = schema.decode(schema.encode(tmp_path / f"t.{ending}"))
    assert back.equals(table)


def test_filling_leaves_every_other_byte(tmp_path):
    content = 'a;b;c\r\n1,50;;"x; y"\r\n;7;z\r\n 2,25;8;\r\n'.encode("cp1252") * 1
    rows = [f"{i % 9},{i % 4}0;{i % 5};{'äz'[i % 2]}" for i in range(60)]
    content += ("\r\n".join(rows) + "\r\n").encode("cp1252")
    path, schema = learnt(tmp_path, content)
    u, observed = schema.encode_observed(path)
    filled = schema.fill(path, torch.where(observed, u, torch.tensor(0.5)))
    n = write_filled(path, filled, tmp_path / "b.csv")
    assert n == int((~observed).sum()) == 3
    before, after = content.split(b"\r\n"), (tmp_path / "b.csv").read_bytes().split(b"\r\n")
    assert [index for index, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]] == [1, 2, 3]
    assert after[1].startswith(b"1,50;")
    assert after[1].endswith(b';"x; y"')
    assert after[2].endswith(b";7;z")
    assert after[3].startswith(b" 2,25;8;")
    with pytest.raises(SchemaMismatchError, match="the file has 63 rows and 3 columns"):
        write_filled(path, TextTable(("a",), (pa.array(["1"]),)), tmp_path / "c.csv")


def test_records_are_cut_as_the_csv_reader_cuts_them():
    text = 'a,"b,c"\r\n1,"x ""y"" z"\n\n"p\nq", "r"\n,\n'
    cells = [[cell for cell, _ in row] for row in scan(text, ",")]
    assert cells == [["a", '"b,c"'], ["1", '"x ""y"" z"'], ['"p\nq"', ' "r"'], ["", ""]]
    for row in scan(text, ","):
        for cell, start in row:
            assert text.startswith(cell, start)


def test_filling_keeps_the_blank_behind_the_delimiter(tmp_path):
    path, schema = learnt(tmp_path, many("a, b\n1, x\n2, \n3, y\n"))
    u, observed = schema.encode_observed(path)
    write_filled(path, schema.fill(path, torch.where(observed, u, torch.tensor(0.5))), tmp_path / "b.csv")
    lines = (tmp_path / "b.csv").read_text().splitlines()
    assert lines[:2] == ["a, b", "1, x"]
    assert lines[2] == "2, x"


BODY = [f"{20 + i % 50},{'red' if i % 3 else 'blue'},{i / 7:.2f},2020-0{i % 9 + 1}-1{i % 10}" for i in range(60)]


def _table_file(tmp_path, lines, header="age,colour,x,day", name="t.csv", end="\n"):
    path = tmp_path / name
    path.write_bytes(end.join([header, *lines, ""]).encode())
    return path


@pytest.mark.parametrize(
    ("lines", "header", "message"),
    [
        (['31,"red,1.5,2020-01-01', *BODY], "age,colour,x,day", "line 2: .* 2 cells.* A quote opens in column 2"),
        ([line + "," for line in BODY], "age,colour,x,day", "line 2: .* Take the ',' at its end away, or put one at"),
        (["age,colour,x,day", *BODY], "# a remark", "line 2: .* If line 1 does not name the columns, take it out"),
        ([*BODY, "31,red"], "age,colour,x,day", "line 62: the row has 2 cells, .* Put quotes .* or complete the row"),
        ([*BODY, "31,red,1.5,0000-01-01"], "age,colour,x,day", r"line 62, column 4 \('day'\) is '0000-01-01'"),
    ],
)
def test_what_is_wrong_with_a_row_and_what_to_do(tmp_path, lines, header, message):
    with pytest.raises(DataError, match=message):
        learn_table_schema(_table_file(tmp_path, lines, header))


def test_lines_may_end_in_carriage_returns(tmp_path):
    schema = learn_table_schema(_table_file(tmp_path, BODY, end="\r"))
    assert schema.feature_names == ("age", "colour", "x", "day")
    assert [column.kind for column in schema.columns] == ["count", "categorical", "positive", "date"]


def test_thousands_are_no_decimals(tmp_path):
    path = _table_file(tmp_path, [f'"{1000 + 37 * i:,}",{i % 9},"{i * 1111.5:,.2f}"' for i in range(60)], "n,k,price")
    schema = learn_table_schema(path)
    assert schema.columns[0].reason.startswith("integers with ',' between thousands, 60 different, 1000 to 3183")
    values = schema.numbers(path).values
    assert values[1].tolist() == [1037, 1, 1111.5]
    back = schema.decode(schema.encode(path))
    assert back["n"][:2] == ["1,000", "1,037"]
    assert back["price"][59] == "65,578.50"
    again = schema_from_description(json.loads(json.dumps(schema.describe())))
    assert again == schema
    old = {key: value for key, value in schema.columns[0].cells.describe().items() if key != "group"}
    assert cells_kinds["text number"](old).group == ""
    lines = [f"{i * 11.5:_.1f};a".replace(".", ",").replace("_", ".") for i in range(400)]
    european = _table_file(tmp_path, lines, "n;c")
    column = learn_table_schema(european).columns[0]
    assert (column.cells.mark, column.cells.group) == (",", ".")
    decimals = _table_file(tmp_path, [f"1,{i:03d};a" for i in range(60)], "n;c")
    assert learn_table_schema(decimals).columns[0].cells.group == "", "a semicolon between cells: decimal commas"


def test_words_among_dates_are_missing_with_a_warning(tmp_path):
    schema = learn_table_schema(_table_file(tmp_path, [*BODY, "31,red,1.5,someday"]))
    assert schema.columns[3].kind == "date"
    assert "'day' holds dates or times but for 1 cell, the first is 'someday'" in " ".join(schema.notes)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda i: f"2020-01-{i % 28 + 1:02d}" if i % 2 else f"{i % 28 + 1:02d}.01.2020", r"ways \(Y-m-d and d.m.Y\)"),
        (lambda i: f"2020-01-{i % 28 + 1:02d}T10:00:00.5+02:00", "not read, as '2020-01-01T10:00:00.5"),
    ],
)
def test_dates_that_cannot_be_read_are_told(tmp_path, write, message):
    notes = learn_table_schema(_table_file(tmp_path, [f"{write(i)},{i}" for i in range(60)], "day,n")).notes
    assert re.search(f"warning: column 'day' holds dates, but written in .*{message}", " ".join(notes))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"a": 1}', '{"a": '], r"line 2: it is no JSON \(Expecting value, character 7\)"),
        (['{"a": null}', '{"a": 1.5}', '{"a": "x"}'], "line 3, column 'a': 'x' is of another type than 1.5 in line 2"),
        (['{"a": 1}', "[1]"], r"line 2: \[1\] is no object"),
    ],
)
def test_what_is_wrong_with_lines_of_json(tmp_path, lines, message):
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=message):
        learn_table_schema(path)
