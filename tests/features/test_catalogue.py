"""Every function of the catalogue is worth the same on every engine."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from onefold.features.functions import GROUPS
from onefold.features.values import to_json

from .scalar_engines import by_duckdb, by_python, by_spark, expression

EXAMPLES = [(sql, value) for entries in GROUPS.values() for entry in entries for sql, value in entry.examples]


def bits(value: Any) -> Any:
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    return type(value).__name__, value


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    pyspark = pytest.importorskip("pyspark.sql")
    session = (
        pyspark.SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    yield session
    session.stop()


def test_every_function_has_an_example_and_a_meaning() -> None:
    entries = [entry for group in GROUPS.values() for entry in group]
    assert not [e.name for e in entries if not e.examples or not e.meaning.endswith(".")]


@pytest.mark.parametrize("engine", ["python", "duckdb", "spark"])
def test_examples_give_what_they_say(engine: str, request: pytest.FixtureRequest) -> None:
    exprs = [expression(sql, {}) for sql, _ in EXAMPLES]
    if engine == "python":
        found = by_python(exprs, {}, [()])
    elif engine == "duckdb":
        found = by_duckdb(exprs, {}, [()])
    else:
        found = by_spark(request.getfixturevalue("spark"), exprs, {}, [()])
    values = [to_json(column[0], e.type) for column, e in zip(found, exprs, strict=True)]
    wrong = [
        f"{sql}: found {value!r}, the catalogue says {expected!r}"
        for (sql, expected), value in zip(EXAMPLES, values, strict=True)
        if bits(value) != bits(expected)
    ]
    assert not wrong, "\n".join(wrong)
