"""A column that is missing or of another type is a dead letter, or a NULL that is counted; never a silent NULL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onefold import Avro, Branch, EventSource, Json, Protobuf
from onefold.features.errors import DefinitionError, EventError, InputError
from onefold.features.protocols import Records
from onefold.offline.importing import ImportFile
from onefold.streaming.decode import Decoder

SCHEMA = {"id": "VARCHAR", "at": "TIMESTAMP", "n": "BIGINT", "city": "VARCHAR"}
WHOLE = {"id": "a", "at": "1970-01-01T00:00:01Z", "n": 1, "city": "Bern"}


def source(**said: Any) -> EventSource:
    return EventSource(**({"name": "s", "schema": SCHEMA, "event_time": "at", "event_id": "id"} | said))


def without(*columns: str, **changed: Any) -> bytes:
    return json.dumps({k: v for k, v in (WHOLE | changed).items() if k not in columns}).encode()


def test_missing_column_is_refused_and_says_what_to_do() -> None:
    with pytest.raises(EventError, match=r"column 'n' is missing; name it in the source's optional=\(\.\.\)"):
        Decoder(source()).decode(without("n"))


def test_explicit_null_is_a_null_and_no_drift() -> None:
    decoder = Decoder(source(drift="value_error"))
    assert decoder.decode(without(n=None)) == ("a", 1_000_000, None, "Bern")
    assert decoder.value_errors == 0


def test_optional_column_that_is_absent_is_null_and_not_counted() -> None:
    decoder = Decoder(source(drift="value_error", optional=("n",)))
    assert decoder.decode(without("n")) == ("a", 1_000_000, None, "Bern")
    assert decoder.value_errors == 0


def test_optional_column_of_another_type_is_drift() -> None:
    with pytest.raises(EventError, match=r"column 'n': '1' is not a BIGINT"):
        Decoder(source(optional=("n",))).decode(without(n="1"))


def test_drift_as_value_error_is_a_null_that_is_counted() -> None:
    lines = [without(), without("n"), without("n", city=7)]
    found = Decoder(source(drift="value_error")).decode_all(Records([0, 1, 2], lines))
    assert [row[2:] for row in found.rows] == [(1, "Bern"), (None, "Bern"), (None, None)]
    assert (found.value_errors, found.refused) == (3, [])


@pytest.mark.parametrize("drift", ["dead_letter", "value_error"])
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (without("at"), "event time 'at' is missing"),
        (without("id"), "event id 'id' is missing"),
        (without(at=None), "event time 'at' is NULL"),
        (without(at=12), "column 'at': 12 is not a TIMESTAMP"),
        (without(id=12), "column 'id': 12 is not a VARCHAR"),
    ],
)
def test_event_without_its_time_or_id_is_always_a_dead_letter(drift: str, line: bytes, reason: str) -> None:
    decoder = Decoder(source(drift=drift))
    with pytest.raises(EventError, match=reason):
        decoder.decode(line)
    assert decoder.value_errors == 0


def test_refused_event_counts_no_value_errors() -> None:
    found = Decoder(source(drift="value_error")).decode_all(Records([0], [without("n", "at")]))
    assert (len(found.refused), found.value_errors) == (1, 0)


def test_added_columns_are_passed_over() -> None:
    assert Decoder(source()).decode(without(other={"x": [1]})) == ("a", 1_000_000, 1, "Bern")


def test_branch_lacks_its_own_name_of_a_column_and_none_that_it_has_a_value_for() -> None:
    branch = Branch(name="old", columns={"n": "number"}, values={"city": "Basel"})
    decoder = Decoder(source(branches=[branch]), branch=branch)
    assert decoder.decode(without("n", "city", number=3)) == ("a", 1_000_000, 3, "Basel")
    with pytest.raises(EventError, match="column 'number' is missing"):
        decoder.decode(without("city"))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"drift": "ignore"}, r'drift is \'ignore\'; write "dead_letter" or "value_error"'),
        ({"optional": "n"}, r"optional is 'n'; write a tuple, as \('n',\)"),
        ({"optional": ("cty",)}, "optional 'cty' is not in the schema; did you mean 'city'"),
        ({"optional": ("at",)}, "'at' is the event time, which no event lacks"),
        ({"optional": ("id",)}, "'id' is the event id, which no event lacks"),
        ({"topic": "a/b"}, "'a/b' is no name of a topic"),
        ({"topic": "a", "format": "json"}, r"format is 'json'; write Json\(\)"),
        ({"format": Avro(registry=True)}, "without a topic"),
        ({"topic": "a", "branches": [Branch(name="b")]}, "has a topic and branches"),
        ({"branches": [Branch(name=n, topic="x") for n in "bc"]}, r"two branches of one topic \(x, x\)"),
        ({"branches": [Branch(name="b", topic="")]}, "branch 'b': '' is no name of a topic"),
    ],
)
def test_definitions_that_say_it_wrong_are_refused(said: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        source(**said)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Avro(), "says nothing of its schema"),
        (lambda: Protobuf(), "has neither of"),
        (lambda: Protobuf(registry=True, descriptors="x.desc"), "has both of"),
        (lambda: Protobuf(descriptors="x.desc"), "name its type"),
    ],
)
def test_formats_that_say_too_little_are_refused(make: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        make()


def test_batch_file_may_lack_an_optional_column_and_no_other(tmp_path: Path) -> None:
    at = pa.array([1_000_000], pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({"id": ["a"], "at": at, "n": [1]}), tmp_path / "events.parquet")
    found = ImportFile(tmp_path / "events.parquet", source(optional=("city",)))
    (events,) = found.events(after=-1, reject=refused, progress=id)
    assert events.select(["id", "n", "city"]).to_pylist() == [{"id": "a", "n": 1, "city": None}]
    with pytest.raises(InputError, match="'city'"):
        ImportFile(tmp_path / "events.parquet", source())
    branch = Branch(name="old", columns={"city": "town"})
    found = ImportFile(tmp_path / "events.parquet", source(optional=("city",), branches=[branch]), branch=branch)
    assert [e["city"].null_count for e in found.events(after=-1, reject=refused, progress=id)] == [1]


def refused(offset: int, reason: str, original: bytes) -> None:
    raise AssertionError(reason)


def test_json_is_the_default() -> None:
    assert source(topic="orders").format == Branch(name="b").format == Json()
