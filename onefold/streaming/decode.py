"""Raw events to rows: each is read once, here, and what it gave is what every engine sees.

A reader makes names and values of the bytes; JSON's values are then read as `features.values` reads them, which is
also how a request's are, and other formats' as `features.native_values` does. A name that is no column is passed
over. A column that is missing though it is not optional, or is of another type, is drift: the event is refused, or
the column is NULL and counted, as its source says. The event time, and the event id where the source has one, are
never NULL.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from onefold.features.definitions import Branch, EventSource
from onefold.features.errors import EventError
from onefold.features.native_values import native_parser
from onefold.features.protocols import Reader, Records
from onefold.features.types import DataType, Field
from onefold.features.values import Parser, parse_json, parser, shown
from onefold.streaming.bulk_json import BulkJson

Row = tuple[Any, ...]
NO_VALUE = "the record has no value: it is a tombstone, or empty"


_FEW = 16
"""Messages below which reading them in bulk costs more than it saves."""


class _Missing:
    """What stands for a column that an event lacks: no parser takes it."""

    def __repr__(self) -> str:
        return "missing"


_MISSING = _Missing()


@dataclass(slots=True)
class Decoded:
    """What a run of records gave: columns in the order of the source's schema with the offsets of their rows, and
    refusals as (offset, the bytes, the reason). value_errors: values that are NULL as they were missing or of another
    type."""

    columns: list[list[Any]]
    offsets: list[int] = field(default_factory=list)
    refused: list[tuple[int, bytes, str]] = field(default_factory=list)
    value_errors: int = 0

    @property
    def rows(self) -> list[Row]:
        return list(zip(*self.columns, strict=True))


def read_json(line: bytes) -> Mapping[str, object]:
    """A JSON object. Of a name that comes twice, the last counts."""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise EventError(NO_VALUE if not line else f"the line is not JSON: {error}") from error
    if not isinstance(event, dict):
        raise EventError(f"the line is {shown(event)}; an event is a JSON object")
    return event


class Decoder:
    """Reads the events of one source (or of one branch) into rows of plain internal values, in its schema's order.

    reader: for another format than JSON; its values are native ones. value_errors: how many columns of the rows so
    far are NULL because of drift.

    >>> source = EventSource(name="s", schema={"ts": "TIMESTAMP", "n": "BIGINT"}, event_time="ts")
    >>> Decoder(source).decode(b'{"n": 2, "ts": "1970-01-01T00:00:01Z"}')
    (1000000, 2)
    """

    def __init__(self, source: EventSource, *, branch: Branch | None = None, reader: Reader | None = None) -> None:
        kind = parser if reader is None else native_parser
        self._read = reader or read_json
        self._columns = [
            (_theirs(f.name, branch), _parser(f, branch, kind), None if f.name in source.optional else _MISSING)
            for f in source.fields
        ]
        names = [f.name for f in source.fields]
        required = {"event time": source.event_time, "event id": source.event_id}
        self._required = [(what, names.index(name), name) for what, name in required.items() if name is not None]
        self._strict = {place for _, place, _ in self._required}
        if source.drift == "dead_letter":
            self._strict.update(range(len(names)))
        self.value_errors = 0
        self._bulk = BulkJson.of(source, branch) if reader is None else None

    def decode(self, line: bytes) -> Row:
        """One row; EventError with the reason when the line is not an event of the source."""
        event = self._read(line)
        get, errors = event.get, 0
        try:
            row = tuple([parse(get(name, absent)) for name, parse, absent in self._columns])
        except ValueError:
            row, errors = self._drifted(event)
        for what, place, name in self._required:
            if row[place] is None:
                raise EventError(f"{what} {name!r} is NULL")
        self.value_errors += errors
        return row

    def decode_all(self, records: Records) -> Decoded:
        """A row for each record that is an event, and the reason for each that is none."""
        columns, careful = self._in_bulk(records.values)
        if not careful:
            return Decoded(columns, records.offsets)
        return self._with_care(records, columns, sorted(careful))

    def _in_bulk(self, values: list[bytes]) -> tuple[list[list[Any]], Collection[int]]:
        """Columns, and the places of the records that have to be read one by one."""
        if self._bulk is None or len(values) < _FEW:
            return [[None] * len(values) for _ in self._columns], range(len(values))
        return self._bulk(values)

    def _with_care(self, records: Records, columns: list[list[Any]], places: list[int]) -> Decoded:
        before, bad = self.value_errors, set[int]()
        decoded = Decoded(columns, records.offsets)
        for place in places:
            try:
                row = self.decode(records.values[place])
            except EventError as error:
                decoded.refused.append((records.offsets[place], records.values[place], str(error)))
                bad.add(place)
            else:
                for column, value in zip(columns, row, strict=True):
                    column[place] = value
        if bad:
            kept = [i for i in range(len(records)) if i not in bad]
            decoded.columns = [[column[i] for i in kept] for column in columns]
            decoded.offsets = [records.offsets[i] for i in kept]
        decoded.value_errors = self.value_errors - before
        return decoded

    def _drifted(self, event: Mapping[str, object]) -> tuple[Row, int]:
        """The row of an event that does not fit its schema, and how many columns are NULL for it."""
        row: list[object] = []
        errors = 0
        for place, (name, parse, absent) in enumerate(self._columns):
            value = event.get(name, absent)
            try:
                row.append(parse(value))
            except ValueError as error:
                if place in self._strict:
                    raise EventError(self._reason(place, value, error)) from None
                row.append(None)
                errors += 1
        return tuple(row), errors

    def _reason(self, place: int, value: object, error: ValueError) -> str:
        name = self._columns[place][0]
        if value is not _MISSING:
            return f"column {name!r}: {error}"
        for what, required, _ in self._required:
            if place == required:
                return f"{what} {name!r} is missing"
        return f"column {name!r} is missing; name it in the source's optional=(..) if producers may leave it out"


def _theirs(name: str, branch: Branch | None) -> str:
    return name if branch is None else branch.theirs(name)


def _parser(column: Field, branch: Branch | None, kind: Callable[[DataType], Parser]) -> Parser:
    """A column's parser; where the branch has one value for all of its events, that value."""
    if branch is None or column.name not in branch.values:
        return kind(column.type)
    value = parse_json(branch.values[column.name], column.type)
    return lambda _: value
