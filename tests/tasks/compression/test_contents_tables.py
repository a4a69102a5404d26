"""Parquet files come back as tables: names, types, values to the bit, and what is told of them; else to the byte."""

from __future__ import annotations

import decimal
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from latentkit.codec.archive import ArchiveReader, ArchiveWriter
from latentkit.core.errors import ArchiveError, DamagedArchiveError, UnreadableDataError
from latentkit.estimators import Compressor
from latentkit.tasks.compression import compress, decompress, open_contents, restorer_of, salvage
from latentkit.tasks.compression.contents import TableContents, tables
from latentkit.tasks.compression.contents.table_text import TableText
from tests.codec.archive.examples import noise
from tests.tasks.compression.archived import archive_of


def bits(values: list[int], kind: pa.DataType) -> pa.Array:
    """Floating-point numbers of these bits."""
    width = kind.bit_width
    return pa.array(values, getattr(pa, f"uint{width}")()).view(kind)


TIMES = [0, None, -1, 1, 10**18 + 7, -(10**18), 1_700_000_000_000_000_000]
COLUMNS: dict[str, pa.Array] = {
    "nothing": pa.nulls(7),
    "truth": pa.array([True, False, None, True, True, False, None]),
    "small": pa.array([-128, 127, None, 0, 1, 2, 3], pa.int8()),
    "large": pa.array([2**64 - 1, 0, None, 1, 2, 3, 4], pa.uint64()),
    "whole": pa.array([-(2**63), 2**63 - 1, None, 0, 1, 2, 3]),
    "real": pa.array([0.1, -0.0, float("inf"), -float("inf"), None, 5e-324, 1e300]),
    "nan": bits([0x7FF8 << 48, 0xFFF8 << 48, 0x7FF0 << 48 | 1, 0xFFF << 52 | 77, 0x7FF << 52, 0, 1], pa.float64()),
    "single": pa.array([0.1, -0.0, float("nan"), None, 1e-45, 3.4e38, 16777216.0], pa.float32()),
    "single nan": bits([0x7FC0_0000, 0xFFC0_0000, 0x7F80_0001, 0x7F80_0000, 1, 0, 3 << 30], pa.float32()),
    "half": bits([0x7E00, 0xFE00, 0x7C01, 0x7C00, 0x8000, 1, 0x3C00], pa.float16()),
    "text": pa.array(["", None, "a,b\tc", 'q"uo"te\n\r\n', "\\e", "nan\\", "größe 😀"]),
    "long text": pa.array(["", None, "\\t", "x", "y", "z", "\0"], pa.large_string()),
    "bytes": pa.array([b"", None, b"\xff\n\\", b"\t", b"\0", b"e", b"\\\\e"], pa.binary()),
    "long bytes": pa.array([b"", None, b"\xff\n\\", b"\t", b"\0", b"e", b"\\\\e"], pa.large_binary()),
    "as many bytes": pa.array([b"\n\t", None, b"ab", b"\\e", b"\0\0", b"\xff\xff", b"  "], pa.binary(2)),
    "money": pa.array([1, -7, None, 150, 900, 8, 0]).cast(pa.decimal128(21, 2)),
    "digits": pa.array([decimal.Decimal(10) ** n for n in range(30, 37)], pa.decimal256(60, 4)),
    "day": pa.array([0, None, -1, 20_000, 1, 2, 3], pa.int32()).view(pa.date32()),
    "hour": pa.array([0, None, 1, 86_399, 1, 2, 3], pa.int32()).view(pa.time32("s")),
    "moment of a day": pa.array([0, None, 1, 86_399_999_999, 1000, 2, 3]).view(pa.time64("us")),
    **{f"time {unit}": pa.array(TIMES).view(pa.timestamp(unit)) for unit in ("ms", "us", "ns")},
    "there": pa.array(TIMES).view(pa.timestamp("us", "Europe/Berlin")),
    "lasting": pa.array(TIMES).view(pa.duration("ns")),
    "category": pa.DictionaryArray.from_arrays(pa.array([2, 0, None, 1, 1, 2, 0], pa.int8()), ["c", "", "a\tb"]),
    "order": pa.DictionaryArray.from_arrays(pa.array([0, 0, None, 1, 1, 0, 0]), ["low", "high", "never"], ordered=True),
}  # fmt: skip


def told(table: pa.Table) -> pa.Table:
    """The table with something told of it and of a column."""
    fields = [
        field.with_metadata({"unit": "m", b"\xff": b"\0"}) if not n else field for n, field in enumerate(table.schema)
    ]
    fields[-1] = fields[-1].with_nullable(table.column(table.num_columns - 1).null_count > 0)
    return table.cast(pa.schema(fields, {"pandas": '{"index": []}', b"\xfe": b"raw"}))


def assert_same(place: Path, other: Path) -> None:
    """That two Parquet files have the same table, to the bit of each number."""
    a, b = parquet.read_table(place), parquet.read_table(other)
    assert a.schema.equals(b.schema, check_metadata=True)
    assert a.num_rows == b.num_rows
    for one, two in zip(a.columns, b.columns, strict=True):
        one, two = one.combine_chunks(), two.combine_chunks()
        if pa.types.is_floating(one.type):
            kind = getattr(pa, f"int{one.type.bit_width}")()
            one, two = one.view(kind), two.view(kind)
        if pa.types.is_dictionary(one.type):
            assert one.dictionary.equals(two.dictionary)
        assert one.equals(two)


def there_and_back(table: pa.Table, folder: Path, *, block_bytes: int = 4 << 20, **options: Any) -> str:
    """Compress and decompress a table, compare, and tell as what it was kept."""
    parquet.write_table(table, folder / "x.parquet", compression="none", **options)
    packed = archive_of(folder / "x.parquet", block_bytes=block_bytes)
    (file,) = decompress(io.BytesIO(packed), folder / "again.parquet", n_workers=1)
    assert_same(folder / "x.parquet", file)
    with ArchiveReader(io.BytesIO(packed)) as reader:
        kind = str(reader.meta.get("kind", "bytes"))
        assert reader.n_items == (len(table) if kind == "table" else (folder / "x.parquet").stat().st_size)
    if kind == "bytes":
        assert file.read_bytes() == (folder / "x.parquet").read_bytes()
    return kind


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_come_back(name: str, tmp_path: Path) -> None:
    column = COLUMNS[name]
    assert there_and_back(told(pa.table({name: column})), tmp_path) == "table"
    assert there_and_back(pa.table({"a\tb": column, "größe": column}).slice(2), tmp_path) == "table"
    assert there_and_back(pa.table({name: column[:0]}), tmp_path) == "table"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"row_group_size": 300},
        pytest.param({"use_dictionary": False, "data_page_version": "2.0"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_tables_come_back(options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many blocks, rows that are made text, and groups of rows."""
    monkeypatch.setattr(tables, "_AT_ONCE", 70)
    monkeypatch.setattr(tables, "_GROUP_BYTES", 9000)
    table = told(pa.concat_tables([pa.table(COLUMNS)] * 60))
    assert there_and_back(table, tmp_path, block_bytes=4096, **options) == "table"
    assert parquet.ParquetFile(tmp_path / "again.parquet").num_row_groups > 3


def test_categories_that_differ_from_group_to_group_come_back(tmp_path: Path) -> None:
    groups = [["a", "b"], ["c", "b"], ["b"]]
    with parquet.ParquetWriter(
        tmp_path / "x.parquet", pa.schema({"x": pa.dictionary(pa.int32(), pa.string())})
    ) as file:
        for group in groups:
            file.write_table(pa.table({"x": pa.array(group).dictionary_encode()}))
    decompress(io.BytesIO(archive_of(tmp_path / "x.parquet")), tmp_path / "again.parquet")
    before, after = (parquet.read_table(tmp_path / f"{name}.parquet") for name in ("x", "again"))
    assert after["x"].to_pylist() == before["x"].to_pylist() == ["a", "b", "c", "b", "b"]
    assert after.unify_dictionaries().equals(before.unify_dictionaries())


VALUES = {
    pa.float64(): st.floats() | st.integers(0, 2**64 - 1).map(lambda n: float(np.uint64(n).view(np.float64))),
    pa.float32(): st.floats(width=32),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.string(): st.text(max_size=5) | st.text("\\\t\n\re", max_size=4),
    pa.binary(): st.binary(max_size=5),
    pa.timestamp("ns"): st.integers(-(2**63), 2**63 - 1),
    pa.duration("ms"): st.integers(-(10**15), 10**15),
}


@settings(max_examples=60)
@given(rows=st.lists(st.tuples(*(st.none() | values for values in VALUES.values())), max_size=5))
def test_text_gives_rows_back(rows: list[tuple[Any, ...]]) -> None:
    columns = [
        pa.array([row[n] for row in rows], kind if not pa.types.is_temporal(kind) else pa.int64())
        for n, kind in enumerate(VALUES)
    ]
    batch = pa.RecordBatch.from_arrays(
        [c.view(k) for c, k in zip(columns, VALUES, strict=True)], [str(n) for n in range(len(VALUES))]
    )
    text = TableText.of(batch.schema, ())
    assert text is not None
    lines = text.text(batch)
    assert lines is not None
    assert lines.count(b"\n") == len(rows)
    again = TableText.from_bytes(text.to_bytes())
    assert again == text
    assert again.text(again.batch(lines)) == lines


def test_lines_are_what_a_coder_of_rows_knows() -> None:
    """Numbers as they are written by hand, moments in seconds, nothing for null."""
    table = pa.record_batch(
        {
            "age": pa.array([39, None]),
            "height": pa.array([1.5, 2.0]),
            "when": pa.array([1_700_000_000_500_000, 1_700_000_001_000_000]).view(pa.timestamp("us")),
            "name": ["a\tb", ""],
            "kind": pa.array(["x", "y"]).dictionary_encode(),
        }
    )
    text = TableText.of(table.schema, [table.select(["kind"])])
    assert text is not None
    assert text.text(table) == b"39\t1.5\t1700000000.5\ta\\tb\tx\n\t2\t1700000001\t\\e\ty\n"


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"x": [[1], [2, 3]]}),
        pa.table({"x": [{"a": 1}]}),
        pa.table({"x": [[[1.0]]]}),
        pa.table({"x": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)], pa.binary(16)))}),
        pa.table([pa.array(["a"]).dictionary_encode()] * 2, names=["x", "x"]),
    ],
    ids=["list", "struct", "deep", "extension", "names twice"],
)  # fmt: skip
def test_other_tables_are_kept_to_the_byte(table: pa.Table, tmp_path: Path) -> None:
    parquet.write_table(table, tmp_path / "x.parquet")
    packed = archive_of(tmp_path / "x.parquet")
    decompress(io.BytesIO(packed), tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "x.parquet").read_bytes()
    assert not isinstance(open_contents(tmp_path / "x.parquet"), TableContents)


def test_a_table_that_would_not_come_back_is_kept_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the reason: text that loses something, or a file that is written otherwise."""
    table = pa.table({"x": ["a", "b"], "y": [1.5, 2.5]})
    with monkeypatch.context() as patch:
        patch.setattr(TableText, "text", lambda self, batch: None)
        assert there_and_back(table, tmp_path) == "bytes"
    write = parquet.ParquetWriter.write_table
    with monkeypatch.context() as patch:
        patch.setattr(
            parquet.ParquetWriter, "write_table", lambda self, table, **options: write(self, table[:1], **options)
        )
        contents = open_contents(tmp_path / "x.parquet")
        assert "kind" not in contents.meta()
    assert there_and_back(table, tmp_path) == "table"


def test_a_table_whose_text_takes_more_than_its_file_is_kept_to_the_byte(tmp_path: Path) -> None:
    """Numbers of noise have more digits than bytes."""
    noises = np.frombuffer(noise(16_000), np.int64)
    parquet.write_table(pa.table({"x": noises}), tmp_path / "x.parquet", use_dictionary=False, write_statistics=False)
    n_bytes = (tmp_path / "x.parquet").stat().st_size
    for target in (tmp_path / "x.lkz", io.BytesIO()):
        archived = compress(open_contents(tmp_path / "x.parquet"), target, None, n_workers=1)
        assert (archived.kind, archived.summary.raw_bytes) == ("bytes", n_bytes)
        assert archived.summary.file_bytes < n_bytes + 64
    assert (tmp_path / "x.lkz").read_bytes() == target.getvalue()
    decompress(tmp_path / "x.lkz", tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "x.parquet").read_bytes()
    parquet.write_table(pa.table({"x": noises // 2**56}), tmp_path / "x.parquet", use_dictionary=False)
    archived = compress(open_contents(tmp_path / "x.parquet"), tmp_path / "x.lkz", None, n_workers=1)
    assert (archived.kind, archived.summary.file_bytes) == ("table", (tmp_path / "x.lkz").stat().st_size)


def test_what_is_no_parquet_is_kept_to_the_byte(tmp_path: Path) -> None:
    for content in (b"", b"PAR1", noise(400), b"PAR1" + noise(40) + b"PAR1"):
        (tmp_path / "x.parquet").write_bytes(content)
        decompress(io.BytesIO(archive_of(tmp_path / "x.parquet")), tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == content


def test_a_file_that_changes_is_told(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"x": [1, 2]}), tmp_path / "x.parquet")
    contents = open_contents(tmp_path / "x.parquet")
    assert contents.meta()["kind"] == "table"
    parquet.write_table(pa.table({"x": ["a", "b"], "y": [1, 2]}), tmp_path / "x.parquet")
    with pytest.raises(UnreadableDataError, match=r"x\.parquet: it was changed while it was read\."):
        compress(contents, tmp_path / "x.lkz", None)
    assert not (tmp_path / "x.lkz").exists()


def test_some_rows_and_what_is_left_of_damage(tmp_path: Path) -> None:
    table = pa.table({"n": np.arange(900), "text": [noise(9, str(n)).hex() for n in range(900)]})
    parquet.write_table(table, tmp_path / "x.parquet")
    packed = archive_of(tmp_path / "x.parquet", block_bytes=4096)
    decompress(io.BytesIO(packed), tmp_path / "some.parquet", rows=slice(300, 500))
    assert parquet.read_table(tmp_path / "some.parquet").equals(table[300:500])
    stream = io.BytesIO()
    decompress(io.BytesIO(packed), stream, rows=-1)
    assert parquet.read_table(io.BytesIO(stream.getvalue())).equals(table[899:])
    damaged = bytearray(packed)
    damaged[len(packed) // 2] ^= 1
    _, left = salvage(io.BytesIO(damaged), tmp_path / "rest.parquet")
    (lost,) = left.lost_items
    assert parquet.read_table(tmp_path / "rest.parquet").equals(
        pa.concat_tables([table[: lost.start], table[lost.stop :]])
    )


def test_tables_that_pyarrow_writes_otherwise_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet.write_table(pa.table({"x": [1, 2]}), tmp_path / "x.parquet")
    packed = archive_of(tmp_path / "x.parquet")
    monkeypatch.setattr(tables, "_checksum", lambda *given: None)
    with pytest.raises(ArchiveError, match="this version of pyarrow does not write the table as it was"):
        decompress(io.BytesIO(packed), tmp_path / "again.parquet")
    assert not (tmp_path / "again.parquet").exists()


def hostile(listing: bytes, *texts: tuple[bytes, int]) -> io.BytesIO:
    stream = io.BytesIO()
    with ArchiveWriter(stream, {"kind": "table", "name": "x", "listing": len(listing)}) as archive:
        archive.write(listing, 0)
        for text in texts:
            archive.write(*text)
    stream.seek(0)
    return stream


def test_hostile_tables_are_refused(tmp_path: Path) -> None:
    for n in (None, 0, -1, "9", True, (1 << 28) + 1):
        with pytest.raises(DamagedArchiveError, match="does not say what the columns of its table are"):
            restorer_of({"kind": "table", "listing": n})
    schema = pa.schema({"x": pa.int8(), "c": pa.dictionary(pa.int8(), pa.string()), "n": pa.null()})
    text = TableText(schema, {1: pa.array(["a", "b"])})
    assert len(decompress(hostile(text.to_bytes(), (b"1\ta\t\n", 1)), tmp_path / "x")) == 1
    for content, n, message in (
        (b"1\ta\n", 1, "not as many cells"),
        (b"1\ta\t", 1, "not as many cells"),
        (b"1\ta\t\n", 2, "does not have the 2 items"),
        (b"300\ta\t\n", 1, "is not of its column"),
        (b"x\ta\t\n", 1, "is not of its column"),
        (b"1\tc\t\n", 1, "is in no category"),
        (b"1\t\\x\t\n", 1, "is not of its column"),
        (b"1\ta\tx\n", 1, "has values that there are none of"),
    ):
        with pytest.raises(DamagedArchiveError, match=message):
            decompress(hostile(text.to_bytes(), (content, n)), tmp_path / "y")
    lists = TableText(pa.schema({"x": pa.list_(pa.int8())}), {})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, lists.schema) as stream:
        stream.write_table(lists.schema.empty_table(), max_chunksize=1)
    for listing in (b"x", noise(300), text.to_bytes()[:-20], sink.getvalue().to_pybytes()):
        with pytest.raises(DamagedArchiveError, match="columns"):
            decompress(hostile(listing, (b"1\n", 1)), tmp_path / "y")
    assert not (tmp_path / "y").exists()


def test_a_compressor_learns_from_parquet(tmp_path: Path) -> None:
    source = np.random.default_rng(0)
    n = 1400
    age = source.integers(18, 80, n)
    table = pa.table(
        {
            "age": age,
            "grown": np.where(age > 40, "yes", "no"),
            "share": (age * 7 % 100) / 100,
            "when": age.astype("M8[D]"),
        }
    )
    parquet.write_table(table[:1000], tmp_path / "train.parquet")
    parquet.write_table(table[1000:], tmp_path / "x.parquet", compression="zstd")
    compressor = Compressor(max_time=0.5, random_state=0).fit(tmp_path / "train.parquet")
    archived = compressor.compress(tmp_path / "x.parquet", tmp_path / "x.lkz", embed=False)
    assert archived.summary.file_bytes < (tmp_path / "x.parquet").stat().st_size / 2
    compressor.decompress(tmp_path / "x.lkz", tmp_path / "again.parquet")
    assert parquet.read_table(tmp_path / "again.parquet").equals(
        parquet.read_table(tmp_path / "x.parquet"), check_metadata=True
    )
