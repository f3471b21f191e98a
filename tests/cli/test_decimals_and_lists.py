"""DECIMALs and LISTs from Parquet and JSON lines through the commands: state, lookups, training set, service, proof."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from tests.cli.conftest import Run
from tests.cli.test_whole_way import post, served

DEFINITIONS = '''
from onefold import Entity, EventSource, FeatureService, FeatureView, OnDemandView

carts = EventSource(
    name="carts", path="carts.parquet", event_time="at",
    schema={
        "customer": "BIGINT", "at": "TIMESTAMP", "total": "DECIMAL(10,2)", "wide": "DECIMAL(38,9)",
        "tags": "VARCHAR[]", "prices": "DECIMAL(8,3)[]", "times": "TIMESTAMP[]", "shares": "DOUBLE[]",
    },
)
bought = FeatureView(
    name="bought", source=carts, entity=Entity(name="customer", keys={"customer": "BIGINT"}),
    sql="""
        SELECT sum(total) OVER d AS spent, avg(total) OVER d AS mean, max(total) OVER d AS most,
               sum(wide) OVER d AS wide, count(DISTINCT total) FILTER (WHERE total > 1.5) OVER d AS totals,
               last_value(tags) OVER d AS tags,
               first_value(prices) OVER d AS prices,
               last_value(times) OVER d AS times, last_value(shares) OVER d AS shares,
               array_agg(total) OVER d AS history, last_n(customer, 2) OVER d AS ids,
               max(list_sum(prices)) OVER d AS dearest, last_distinct(array_to_string(tags, '+'), 2) OVER d AS words
        FROM carts WINDOW d AS (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)
    """,
)
asked = OnDemandView(
    name="asked", views=[bought], request={"price": "DECIMAL(10,2)", "wanted": "VARCHAR[]"},
    sql="SELECT most + price AS after, list_concat(bought.tags, wanted) AS both, price * 2 AS twice",
)
all_of_it = FeatureService(name="all_of_it", features=[bought, asked])
'''
HOUR = 3_600_000_000
AT = "1970-01-01T03:00:00Z"
VALUES: dict[str, Any] = {
    "spent": "4.00", "mean": 2.0, "most": "2.50", "wide": "-99999999999999999999999999999.000000002", "totals": 1,
    "tags": ["b", None, "é"], "prices": ["1.005", None], "times": ["1970-01-01T00:00:00.000001Z", None],
    "shares": [0.1, "NaN", None], "history": ["1.50", "2.50"], "ids": [1, 1], "dearest": "1.005",
    "words": ["a", "b+é"],
}  # fmt: skip
EMPTY = dict.fromkeys(VALUES) | {"totals": 0, "history": [], "ids": [], "words": []}
REQUEST = {"price": "0.01", "wanted": ["w"]}
LINE = {
    "customer": 1, "at": "1970-01-01T02:00:00Z", "total": "2.50", "wide": "-99999999999999999999999999999.000000001",
    "tags": ["b", None, "é"], "prices": [], "times": ["1970-01-01T00:00:00.000001Z", None],
    "shares": [0.1, "NaN", None],
}  # fmt: skip
SCHEMA = pa.schema({
    "customer": pa.int64(), "at": pa.timestamp("us", tz="UTC"), "total": pa.decimal128(10, 2),
    "wide": pa.decimal128(38, 9), "tags": pa.list_(pa.string()), "prices": pa.list_(pa.decimal128(8, 3)),
    "times": pa.list_(pa.timestamp("us", tz="UTC")), "shares": pa.list_(pa.float64()),
})  # fmt: skip
ROWS = [
    {"customer": 1, "at": HOUR, "total": Decimal("1.50"), "wide": Decimal("-1E-9"), "tags": ["a"],
     "prices": [Decimal("1.005"), None], "times": [], "shares": None},
    {"customer": 2, "at": HOUR, "total": None, "wide": None, "tags": None, "prices": None, "times": None, "shares": []},
]  # fmt: skip


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "carts.py").write_text(DEFINITIONS)
    (tmp_path / "onefold.toml").write_text('[project]\nname = "carts"\n')
    pq.write_table(pa.Table.from_pylist(ROWS, schema=SCHEMA), tmp_path / "carts.parquet")
    (tmp_path / "more.jsonl").write_text(json.dumps(LINE) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ready(run: Run, space: Path) -> Path:
    """Two events from a file, and one that came by a feed."""
    assert run("apply").code == 0
    made = run("materialize", "--json")
    assert made.code == 0 and made.json["imported"] == {"carts": 2}
    assert run("stream", "--once", "--feed", "carts=more.jsonl").code == 0
    return space


def looked_up(run: Run, customer: int) -> dict[str, Any]:
    answer = run("get", "bought", "-k", f"customer={customer}", "--json", "--at", AT)
    assert answer.code == 0, answer.err
    return {f["name"]: f["value"] for f in answer.json["features"]}


def test_values_come_out_with_all_their_digits_and_items(run: Run, ready: Path) -> None:
    assert looked_up(run, 1) == VALUES
    assert looked_up(run, 3) == EMPTY
    nulls = EMPTY | {"history": [None], "ids": [2], "shares": []}
    assert looked_up(run, 2) == nulls


def test_a_state_that_is_built_from_the_archive_says_the_same(run: Run, ready: Path) -> None:
    assert run("materialize", "--full").code == 0
    assert looked_up(run, 1) == VALUES


def test_a_training_set_has_their_arrow_types_and_the_same_values(run: Run, ready: Path) -> None:
    moment = pa.array([3 * HOUR], pa.timestamp("us", tz="UTC"))
    spine = {"customer": [1], "event_timestamp": moment, "price": pa.array([Decimal("0.01")], pa.decimal128(10, 2)),
             "wanted": [["w"]]}  # fmt: skip
    pq.write_table(pa.table(spine), "spine.parquet")
    made = run("training-set", "all_of_it", "--spine", "spine.parquet", "--out", "made", "--json")
    assert made.code == 0, made.err
    (file,) = (ready / "made").glob("*.parquet")
    table = pq.read_table(file)
    assert table.schema.field("spent").type == pa.decimal128(38, 2)
    assert table.schema.field("prices").type == pa.list_(pa.decimal128(8, 3))
    assert table.schema.field("times").type == pa.list_(pa.timestamp("us", tz="UTC"))
    (row,) = table.to_pylist()
    assert (row["spent"], row["after"], row["twice"]) == (Decimal("4.00"), Decimal("2.51"), Decimal("0.02"))
    assert (row["history"], row["both"]) == ([Decimal("1.50"), Decimal("2.50")], ["b", None, "é", "w"])
    assert row["wide"] == Decimal(VALUES["wide"])


def test_what_was_served_is_logged_and_proved_to_the_last_digit(run: Run, ready: Path) -> None:
    for customers in ((2, 3), (1,)):  # the log is written twice
        rows = [{"customer": c, "event_timestamp": AT, **REQUEST} for c in customers]
        with served(ready) as url:
            answer = post(f"{url}/v1/lookup", {"service": "all_of_it", "rows": rows})
    first = dict(zip(answer["features"], answer["values"][0], strict=True))
    assert first == VALUES | {"after": "2.51", "both": ["b", None, "é", "w"], "twice": "0.02"}
    proof = run("verify")
    assert proof.code == 0, proof.out
    assert proof.out.splitlines()[-1] == "verify: 0 mismatches in 48 values (3 rows x 16 features)"


@pytest.mark.parametrize(
    ("feature", "wrong"),
    [("wide", Decimal("-99999999999999999999999999999.000000003")), ("tags", ["b", "", "é"]), ("history", [])],
)
def test_a_digit_or_an_item_that_was_changed_in_the_log_is_found(
    run: Run, ready: Path, feature: str, wrong: object
) -> None:
    row = {"customer": 1, "event_timestamp": AT, **REQUEST}
    with served(ready) as url:
        post(f"{url}/v1/lookup", {"service": "all_of_it", "rows": [row]})
    (log,) = (path.parent for path in (ready / ".onefold" / "served").rglob("_delta_log"))
    table = DeltaTable(str(log)).to_pyarrow_table()
    rows = table.to_pylist()
    rows[0]["features"][feature] = wrong
    write_deltalake(str(log), pa.Table.from_pylist(rows, schema=table.schema), mode="overwrite")
    found = run("verify", "--json")
    assert found.code == 3 and found.json["causes"] == {"value altered": 1}
    assert [m["feature"] for m in found.json["mismatches"]] == [feature]
