"""JSON lines to rows: each raw event is read once, here, and what it gave is what every engine sees.

Values are read as `features.values` reads them, which is also how a request's are. A column that is absent is NULL,
and a name that is no column is passed over. Of a name that comes twice, the last counts. The event time, and the
event id where the source has one, are never NULL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from onefold.features.definitions import Branch, EventSource
from onefold.features.errors import EventError
from onefold.features.protocols import Records
from onefold.features.types import Field
from onefold.features.values import Parser, parse_json, parser, shown

Row = tuple[Any, ...]


@dataclass(slots=True)
class Decoded:
    """What a run of records gave: rows in the order of the source's schema with their offsets, and refusals as
    (offset, the bytes, the reason)."""

    offsets: list[int] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    refused: list[tuple[int, bytes, str]] = field(default_factory=list)


class Decoder:
    """Reads the JSON lines of one source (or of one branch) into rows of plain internal values, in its schema's order.

    >>> source = EventSource(name="s", schema={"ts": "TIMESTAMP", "n": "BIGINT"}, event_time="ts")
    >>> Decoder(source).decode(b'{"n": 2, "ts": "1970-01-01T00:00:01Z"}')
    (1000000, 2)
    """

    def __init__(self, source: EventSource, *, branch: Branch | None = None) -> None:
        self._columns = [(f.name, parser(f.type)) for f in source.fields]
        if branch is not None:
            self._columns = [(branch.theirs(f.name), _parser(branch, f)) for f in source.fields]
        names = [f.name for f in source.fields]
        required = {"event time": source.event_time, "event id": source.event_id}
        self._required = [(what, names.index(name), name) for what, name in required.items() if name is not None]

    def decode(self, line: bytes) -> Row:
        """One row; EventError with the reason when the line is not an event of the source."""
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise EventError(f"the line is not JSON: {error}") from error
        if not isinstance(event, dict):
            raise EventError(f"the line is {shown(event)}; an event is a JSON object")
        row = self._row(event)
        for what, place, name in self._required:
            if row[place] is None:
                raise EventError(f"{what} {name!r} is NULL")
        return row

    def decode_all(self, records: Records) -> Decoded:
        """A row for each record that is an event, and the reason for each that is none."""
        decoded = Decoded()
        for offset, value in zip(records.offsets, records.values, strict=True):
            try:
                decoded.rows.append(self.decode(value))
            except EventError as error:
                decoded.refused.append((offset, value, str(error)))
            else:
                decoded.offsets.append(offset)
        return decoded

    def _row(self, event: Mapping[str, Any]) -> Row:
        get, name = event.get, ""
        row = []
        try:
            for name, parse in self._columns:
                row.append(parse(get(name)))
        except ValueError as error:
            raise EventError(f"column {name!r}: {error}") from None
        return tuple(row)


def _parser(branch: Branch, column: Field) -> Parser:
    """A column's parser; where the branch has one value for all of its events, that value."""
    if column.name not in branch.values:
        return parser(column.type)
    value = parse_json(branch.values[column.name], column.type)
    return lambda _: value
