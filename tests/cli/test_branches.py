"""A source that is the UNION ALL of its branches, and a view without keys: from files and feeds to values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onefold import Branch, EventSource
from onefold.features.errors import DefinitionError
from onefold.offline.engine import point_in_time
from onefold.wiring import Workspace
from tests.cli.conftest import Run

HOUR = 3_600_000_000
DEFINITIONS = '''
from onefold import Branch, Entity, EventSource, FeatureService, FeatureView

sales = EventSource(
    name="sales",
    schema={"customer": "BIGINT", "at": "TIMESTAMP", "total": "DOUBLE", "channel": "VARCHAR"},
    event_time="at",
    branches=[
        Branch(name="web", path="web", values={"channel": "web"}),
        Branch(
            name="till", path="till.parquet", columns={"customer": "card", "total": "sum"}, values={"channel": "till"}
        ),
    ],
)
DAY = "(RANGE INTERVAL 1 DAY PRECEDING)"
spend = FeatureView(
    name="spend", source=sales, entity=Entity(name="customer", keys={"customer": "BIGINT"}),
    sql=f"""SELECT sum(total) OVER {DAY} AS own, count(*) FILTER (WHERE channel = 'till') OVER {DAY} AS at_tills
    FROM sales""",
)
turnover = FeatureView(
    name="turnover", source=sales,
    sql=f"SELECT sum(total) OVER {DAY} AS turnover, count(DISTINCT customer) OVER {DAY} AS customers FROM sales",
)
share = FeatureService(name="share", features=[spend, turnover])
'''


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "sales.py").write_text(DEFINITIONS)
    (tmp_path / "onefold.toml").write_text('[project]\nname = "sales"\n')
    (tmp_path / "web").mkdir()
    write(tmp_path / "web" / "0.parquet", customer=[1, 2], at=[0, HOUR], total=[1.5, 2.0])
    write(tmp_path / "till.parquet", card=[1, 3], at=[2 * HOUR, 2 * HOUR], sum=[4.0, 8.0])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, **columns: list[Any]) -> None:
    times = pa.array(columns.pop("at"), pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({**columns, "at": times}), path)


def values(run: Run, *args: str) -> dict[str, Any]:
    answer = run("get", *args, "--json", "--at", "1970-01-01T03:00:00Z")
    assert answer.code == 0, answer.err
    return {f["name"]: f["value"] for f in answer.json["features"]}


def test_branches_are_one_source_and_a_view_without_keys_sees_all_of_it(run: Run, space: Path) -> None:
    assert run("apply").code == 0
    built = run("materialize", "--json").json
    assert built["imported"] == {"sales": 4}
    assert {(b["entity"], b["strings"], b["events"]) for b in built["built"]} == {
        ("customer", 3, 4),
        ("all_events", 1, 4),
    }
    assert values(run, "share", "-k", "customer=1") == {
        "own": 5.5, "at_tills": 1, "turnover": 15.5, "customers": 3,
    }  # fmt: skip
    assert values(run, "turnover") == {"turnover": 15.5, "customers": 3}
    assert run("materialize", "--json").json["imported"] == {"sales": 0}
    assert run("plan", "--exit-code").code == 0


def test_a_feed_is_of_one_branch_and_its_events_join_the_others(run: Run, space: Path) -> None:
    assert run("materialize").code == 0
    line = {"card": 2, "at": "1970-01-01T02:30:00Z", "sum": 16.0, "channel": "passed over"}
    (space / "till.jsonl").write_text(json.dumps(line) + "\n")
    assert run("stream", "--once", "--feed", "sales.till=till.jsonl").code == 0
    assert values(run, "share", "-k", "customer=2") == {
        "own": 18.0, "at_tills": 1, "turnover": 31.5, "customers": 3,
    }  # fmt: skip
    refused = run("stream", "--once", "--feed", "sales=till.jsonl", "--json").error
    assert "sales.web or sales.till" in refused["message"]
    refused = run("stream", "--once", "--feed", "sales.phone=till.jsonl", "--json").error
    assert "no branch 'phone'" in refused["message"]


def test_what_is_served_online_is_what_the_archive_gives(run: Run, space: Path) -> None:
    assert run("materialize").code == 0
    found = Workspace.find(space)
    plan = found.project.service("share")
    spine = pa.table({
        "customer": [1, 2, None], "event_timestamp": pa.array([3 * HOUR] * 3, UTC_TIME),
    })  # fmt: skip
    table = point_in_time(plan, {"sales": found.archive.files("sales")}, spine)
    assert table.column("own").to_pylist() == [5.5, 2.0, None]
    assert table.column("turnover").to_pylist() == [15.5] * 3
    assert values(run, "share", "-k", "customer=1") == table.to_pylist()[0]


UTC_TIME = pa.timestamp("us", tz="UTC")
SALES = {"schema": {"at": "TIMESTAMP", "n": "BIGINT"}, "event_time": "at"}


@pytest.mark.parametrize(
    ("branches", "message"),
    [
        ([Branch(name="a"), Branch(name="a")], "two branches of one name"),
        ([Branch(name="a", columns={"m": "x"})], "'m' is not in the schema"),
        ([Branch(name="a", values={"n": "many"})], "'many' is not a BIGINT"),
    ],
)
def test_a_wrong_branch_is_refused(branches: list[Branch], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        EventSource(name="sales", branches=branches, **SALES)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="give the path to a branch"):
        EventSource(name="sales", path="x", branches=[Branch(name="a")], **SALES)  # type: ignore[arg-type]


def test_a_file_that_lacks_a_column_of_its_branch_is_named(run: Run, space: Path) -> None:
    write(space / "till.parquet", card=[1], at=[0], total=[1.0])
    error = run("materialize", "--json").error
    assert "column 'sum' is missing" in error["message"] and "till.parquet" in error["message"]
