"""JSON messages to columns, many at a time: the quick equal of `decode`'s reading of one message.

msgspec reads a message straight into the columns of the source. What it gives is taken only where it surely is what
the careful reading gives; every other message is left to that: a missing column, drift, numbers beyond 2^53, times
that are not all written alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import UNSET, UnsetType

from onefold.features import native
from onefold.features.definitions import Branch, EventSource
from onefold.features.types import (
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    MICROS_PER_DAY,
    TIMESTAMP,
    TIMESTAMP_MAX,
    TIMESTAMP_MIN,
    VARCHAR,
    DataType,
)
from onefold.features.values import parse_date, parse_json

Columns = list[list[Any]]
_Check = Callable[[list[Any], set[int]], list[Any]]
"""A column as msgspec gave it to internal values; the places of those that need the careful reading are added."""

_KINDS: dict[DataType, Any] = {
    BOOLEAN: bool,
    BIGINT: int,
    DOUBLE: float,
    VARCHAR: str,
    TIMESTAMP: str,
    DATE: str,
}
_SURE = 2**53
_SHORTEST, _LONGEST, _POINT = len("2013-12-01T08:30:00Z"), len("2013-12-01T08:30:00.000000Z"), 19
_MARKS = {4: b"-", 7: b"-", 13: b":", 16: b":"}
_HIGHEST = {11: 23, 14: 59, 17: 59}


class BulkJson:
    """Reads messages of a source, or of a branch of it. `of` gives None where a column's type is not for it."""

    def __init__(self, source: EventSource, branch: Branch | None) -> None:
        given = {} if branch is None else branch.values
        own = [f for f in source.fields if f.name not in given]
        fields = [(f"c{i}", _KINDS[f.type] | None | UnsetType, UNSET) for i, f in enumerate(own)]
        names = {f"c{i}": f.name if branch is None else branch.theirs(f.name) for i, f in enumerate(own)}
        shape = msgspec.defstruct("Event", fields, rename=names, gc=False)
        self._decode = msgspec.json.Decoder(shape).decode
        self._empty = shape()
        places = {f.name: i for i, f in enumerate(own)}
        never_null = {source.event_time, source.event_id}
        self._columns: list[tuple[Callable[[Any], Any], _Check] | object] = [
            (attrgetter(f"c{places[f.name]}"), _check(f.type, required=f.name in never_null))
            if f.name in places
            else parse_json(given[f.name], f.type)
            for f in source.fields
        ]

    @classmethod
    def of(cls, source: EventSource, branch: Branch | None) -> BulkJson | None:
        own = [f for f in source.fields if branch is None or f.name not in branch.values]
        return cls(source, branch) if own and all(f.type in _KINDS for f in own) else None

    def __call__(self, values: Sequence[bytes]) -> tuple[Columns, set[int]]:
        """Columns in the source's order, and the places of the messages that need the careful reading."""
        careful: set[int] = set()
        try:
            events = list(map(self._decode, values))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            events = [self._one(value, place, careful) for place, value in enumerate(values)]
        if not b"".join(values).isascii():  # what is passed over must be text too
            careful.update(i for i, value in enumerate(values) if not _is_utf8(value))
        columns = []
        for how in self._columns:
            if isinstance(how, tuple):
                get, check = how
                columns.append(check(list(map(get, events)), careful))
            else:
                columns.append([how] * len(events))
        return columns, careful

    def _one(self, value: bytes, place: int, careful: set[int]) -> Any:
        try:
            return self._decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            careful.add(place)
            return self._empty


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check(kind: DataType, *, required: bool) -> _Check:
    checks = {BIGINT: _bigint, DOUBLE: _double, VARCHAR: _varchar, TIMESTAMP: _timestamp, DATE: _date}
    then = checks.get(kind)

    def check(column: list[Any], careful: set[int]) -> list[Any]:
        if UNSET in column:
            careful.update(i for i, x in enumerate(column) if x is UNSET)
            column = [None if x is UNSET else x for x in column]
        if required and None in column:
            careful.update(i for i, x in enumerate(column) if x is None)
        return column if then is None else then(column, careful)

    return check


def _known(column: list[Any]) -> list[Any]:
    return [x for x in column if x is not None] if None in column else column


def _bigint(column: list[Any], careful: set[int]) -> list[Any]:
    """Whole numbers to 2^53 are read alike, with and without a point."""
    known = _known(column)
    if known and (max(known) > _SURE or min(known) < -_SURE):
        careful.update(i for i, x in enumerate(column) if x is not None and not -_SURE <= x <= _SURE)
    return column


def _double(column: list[Any], careful: set[int]) -> list[Any]:
    """Large numbers may have been whole, and of more digits than 64 bits; -0.0 is 0.0."""
    column = _bigint(column, careful)
    if 0.0 in column:
        return [x if x is None else x + 0.0 for x in column]
    return column


def _varchar(column: list[Any], careful: set[int]) -> list[Any]:
    """Text that UTF-8 cannot hold is left to the careful reading."""
    if not "".join(_known(column)).isascii():
        careful.update(i for i, x in enumerate(column) if x is not None and not _is_text(x))
    return column


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _date(column: list[Any], careful: set[int]) -> list[Any]:
    days: dict[str | None, int | None] = {}
    for text in set(column):
        try:
            days[text] = parse_date(text)
        except ValueError:
            careful.update(i for i, x in enumerate(column) if x == text)
            days[text] = None
    return [days[x] for x in column]


def _timestamp(column: list[Any], careful: set[int]) -> list[Any]:
    """Microseconds of times in UTC, all those of one length at once; natively, of any."""
    kernel = native.function("times")
    if kernel is not None and (micros := kernel(column)) is not None:
        return micros  # type: ignore[no-any-return]  # the kernel has no types
    lengths = {len(x) for x in _known(column)}
    if None not in column and len(lengths) == 1:
        found = _times(column)
        if found is not None:
            return found
    return _timestamps_apart(column, lengths, careful)


def _timestamps_apart(column: list[Any], lengths: set[int], careful: set[int]) -> list[Any]:
    """Each length alone; where one has a text that is written otherwise, all of that length need care."""
    found: list[Any] = [None] * len(column)
    for length in lengths:
        places = [i for i, x in enumerate(column) if x is not None and len(x) == length]
        times = _times([column[i] for i in places])
        if times is None:
            careful.update(places)
            continue
        for i, micros in zip(places, times, strict=True):
            found[i] = micros
    return found


def _times(texts: list[str]) -> list[int] | None:
    """Microseconds since 1970 of texts of one length, all as 2013-12-01T08:30:00.123Z; None where one is not."""
    length, joined = len(texts[0]), "".join(texts)
    if not joined.isascii() or not _SHORTEST <= length <= _LONGEST or length == _SHORTEST + 1:
        return None
    table = np.frombuffer(joined.encode(), np.uint8).reshape(len(texts), length)
    if not _written_as_times(table):
        return None
    try:
        times = pa.array(texts, pa.string()).cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid:
        return None
    if times.min() < TIMESTAMP_MIN or times.max() > TIMESTAMP_MAX - MICROS_PER_DAY:
        return None
    micros: list[int] = times.tolist()
    return micros


def _written_as_times(table: npt.NDArray[np.uint8]) -> bool:
    """Whether each row is digits, with the marks of a time between them."""
    length = table.shape[1]
    marks = {**_MARKS, length - 1: b"Z"} | ({_POINT: b"."} if length > _SHORTEST else {})
    digits = [i for i in range(length) if i not in marks and i != 10]
    numbers = table[:, digits] - ord("0")
    if numbers.max() > 9 or not all((table[:, i] == mark[0]).all() for i, mark in marks.items()):
        return False
    if not np.isin(table[:, 10], (ord("T"), ord(" "))).all():
        return False
    return all(
        ((table[:, i] - ord("0")) * 10 + (table[:, i + 1] - ord("0")) <= most).all() for i, most in _HIGHEST.items()
    )
