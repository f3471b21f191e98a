"""Cases that a person can read: `cases/*.sql` holds a definition, its events, and the rows that come out.

-- What it shows.
-- source: orders (user VARCHAR, at TIMESTAMP, amount DOUBLE)
-- key: user
-- time: at
-- id: id                                  where the source has event ids
-- resolution: 1 minute                   where it has one
-- row: include                            where a row is an event of its own; it brings its columns behind its keys
SELECT ..
-- events:
-- a | 2013-12-01 10:00:00 | 1.5           in order of arrival
-- rows: user | event_timestamp => total
-- a | 2013-12-01 11:00:00 => 1.5
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from onefold.features.definitions import Entity, EventSource, FeatureView
from onefold.features.project import Project
from onefold.features.types import BIGINT, BOOLEAN, DATE, DOUBLE, TIMESTAMP, DataType
from onefold.features.values import parse_json
from tests.parity.engines import Case, Events

CASES = sorted((Path(__file__).parent / "cases").glob("*.sql"))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Written:
    """A case file in its parts."""

    said: dict[str, str] = field(default_factory=dict)
    sql: list[str] = field(default_factory=list)
    events: list[list[str]] = field(default_factory=list)
    rows: list[tuple[list[str], list[str]]] = field(default_factory=list)


def read(path: Path) -> Written:
    found = Written()
    part = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("--"):
            found.sql.append(line)
            continue
        text = line.removeprefix("--").strip()
        named = re.fullmatch(r"(source|key|time|id|row|resolution|events|rows):(.*)", text)
        if named:
            part = named[1]
            found.said[part] = named[2].strip()
        elif part == "events":
            found.events.append(_cells(text))
        elif part == "rows":
            asked, _, given = text.partition("=>")
            found.rows.append((_cells(asked), _cells(given)))
    return found


def _cells(text: str) -> list[str]:
    return [cell.strip() for cell in text.split("|")]


def value(text: str, kind: DataType) -> Any:
    if text == "NULL":
        return None
    if kind == TIMESTAMP:
        return (datetime.fromisoformat(text).replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
    if kind == DATE:
        return (date.fromisoformat(text) - _EPOCH.date()).days
    if kind == BOOLEAN:
        return {"TRUE": True, "FALSE": False}[text]
    if kind.is_decimal or kind.is_list:
        return parse_json(json.loads(text) if kind.is_list else text, kind)
    return int(text) if kind == BIGINT else float(text) if kind == DOUBLE else text


def case_of(path: Path) -> tuple[Case, list[tuple[Any, ...]]]:
    written = read(path)
    name, columns = written.said["source"].removesuffix(")").split(" (")
    schema = dict(column.strip().split(" ") for column in re.split(r",(?![^(]*\))", columns))
    source = EventSource(name=name, schema=schema, event_time=written.said["time"], event_id=written.said.get("id"))
    keys = [key.strip() for key in written.said["key"].split(",")]
    entity = Entity(name="entity", keys={key: schema[key] for key in keys})
    sql = "\n".join(written.sql)
    view = FeatureView(
        name="v", source=source, entity=entity, sql=sql, request_row=written.said.get("row", "exclude"),
        resolution=written.said.get("resolution"),
    )  # fmt: skip
    plan = Project.of(view).select(["v"])
    brought = [*entity.key_fields, *plan.request]
    asked, _, given = written.said["rows"].partition("=>")
    assert _cells(asked) == [*(f.name for f in brought), "event_timestamp"]
    assert _cells(given) == [f.name for f in plan.features]
    events = [tuple(value(c, f.type) for c, f in zip(row, source.fields, strict=True)) for row in written.events]
    rows = [{f.name: value(c, f.type) for c, f in zip(row, brought, strict=False)} for row, _ in written.rows]
    times = [value(row[-1], TIMESTAMP) for row, _ in written.rows]
    expected = [tuple(value(c, f.type) for c, f in zip(row, plan.features, strict=True)) for _, row in written.rows]
    placed = Events(source.fields, tuple(((0, i), event) for i, event in enumerate(events)))
    return Case(plan, {name: placed}, tuple(rows), tuple(times), steps="c b f r", sql=(sql,)), expected
