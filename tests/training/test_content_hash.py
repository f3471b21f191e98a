"""The hash is of values: it sees each of them, and nothing of how they were written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onefold.training.content_hash import content_hash

COLUMNS = {
    "n": pa.array([1, None, 3], pa.int64()),
    "x": pa.array([0.1, 2.0, None], pa.float64()),
    "ok": pa.array([True, None, False]),
    "name": pa.array(["a", "", None]),
    "t": pa.array([datetime(2013, 1, 1), None, datetime(1969, 1, 1)], pa.timestamp("us", tz="UTC")),
    "d": pa.array([date(2013, 1, 1), None, date(1950, 1, 1)], pa.date32()),
    "tags": pa.array([["a"], None, []], pa.list_(pa.string())),
}
TABLE = pa.table(COLUMNS)


def with_column(name: str, values: list[object]) -> pa.Table:
    column = pa.array(values, TABLE[name].type)
    return TABLE.set_column(TABLE.column_names.index(name), name, column)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("n", [1, 0, 3]),
        ("n", [1, None, 4]),
        ("x", [0.1 + 2**-56, 2.0, None]),
        ("x", [0.1, 2.0, float("nan")]),
        ("ok", [True, False, False]),
        ("name", ["a", None, None]),
        ("name", ["a", "", ""]),
        ("tags", [["a"], [], []]),
    ],
)
def test_one_other_value_gives_another_hash(name: str, values: list[object]) -> None:
    assert content_hash(with_column(name, values)) != content_hash(TABLE)


def test_text_does_not_move_between_rows_unseen() -> None:
    one, other = pa.table({"s": ["ab", "c"]}), pa.table({"s": ["a", "bc"]})
    assert content_hash(one) != content_hash(other)


def test_order_of_rows_and_columns_and_names_count() -> None:
    others = [TABLE.take([1, 0, 2]), TABLE.select(TABLE.column_names[::-1]), TABLE.rename_columns({"n": "m"})]
    assert len({content_hash(t) for t in (TABLE, *others)}) == 4


def test_zero_has_one_sign_and_nan_one_pattern() -> None:
    assert content_hash(pa.table({"x": [0.0]})) == content_hash(pa.table({"x": [-0.0]}))
    quiet = pa.Array.from_buffers(pa.float64(), 1, [None, pa.py_buffer(bytes.fromhex("01000000000ff8ff"))])
    assert content_hash(pa.table({"x": quiet})) == content_hash(pa.table({"x": [float("nan")]}))


def recoded(table: pa.Table) -> pa.Table:
    return table.set_column(3, "name", table["name"].dictionary_encode())


def widened(table: pa.Table) -> pa.Table:
    return table.set_column(3, "name", table["name"].cast(pa.large_string()))


def chunked(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table.slice(0, 1), table.slice(1)])


def sliced(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table]).combine_chunks().slice(3)


@pytest.mark.parametrize("encode", [recoded, widened, chunked, sliced])
def test_encoding_in_memory_does_not_count(encode: Callable[[pa.Table], pa.Table]) -> None:
    assert content_hash(encode(TABLE)) == content_hash(TABLE)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "none"},
        {"compression": "gzip", "row_group_size": 1},
        {"use_dictionary": False, "version": "2.6"},
        {"data_page_version": "2.0"},
    ],
)
def test_encoding_in_a_file_does_not_count(tmp_path: Path, options: dict[str, object]) -> None:
    pq.write_table(TABLE, tmp_path / "t.parquet", **options)
    assert content_hash(pq.read_table(tmp_path / "t.parquet")) == content_hash(TABLE)
    assert (tmp_path / "t.parquet").stat().st_size > 0


def test_empty_table_has_a_hash_of_its_own_columns() -> None:
    assert content_hash(TABLE.slice(0, 0)) != content_hash(TABLE.slice(0, 0).select(["n"]))
