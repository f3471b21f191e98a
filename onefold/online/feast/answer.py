"""An answer in columns, as Feast's `OnlineResponse`: values at once, its message where someone asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from feast.online_response import TIMESTAMP_POSTFIX, OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from onefold.online.feast.kinds import BY_NUMBER

PRESENT, NULL_VALUE = FieldStatus.PRESENT, FieldStatus.NULL_VALUE
NOT_FOUND, OUTSIDE_MAX_AGE, INVALID = FieldStatus.NOT_FOUND, FieldStatus.OUTSIDE_MAX_AGE, FieldStatus.INVALID


@dataclass(slots=True)
class Column:
    """One feature of all rows.

    values: raw (see `kinds`), None where there is none. kinds: of all values, or of each. statuses: PRESENT says
    NULL_VALUE where the value is None; one list may be shared by columns. events: microseconds, None where unknown.
    """

    name: str
    values: Sequence[Any]
    kinds: int | Sequence[int]
    statuses: Sequence[int]
    events: Sequence[int | None]

    def python(self) -> list[Any]:
        """Values as `OnlineResponse.to_dict` gives them."""
        if isinstance(self.kinds, int):
            convert = BY_NUMBER[self.kinds].python
            if convert is None:
                return list(self.values)
            return [None if v is None else convert(v) for v in self.values]
        found = []
        for value, number in zip(self.values, self.kinds, strict=True):
            convert = BY_NUMBER[number].python
            found.append(value if value is None or convert is None else convert(value))
        return found

    def vector(self) -> GetOnlineFeaturesResponse.FeatureVector:
        kinds = [self.kinds] * len(self.values) if isinstance(self.kinds, int) else self.kinds
        values = [
            Value() if v is None else BY_NUMBER[number].value(v) for v, number in zip(self.values, kinds, strict=True)
        ]
        made = GetOnlineFeaturesResponse.FeatureVector(values=values)
        made.event_timestamps.extend(_timestamp(at) for at in self.events)
        for status, value in zip(self.statuses, values, strict=True):
            empty = status == PRESENT and value.WhichOneof("val") is None
            made.statuses.append(NULL_VALUE if empty else FieldStatus.ValueType(status))
        return made


def _timestamp(micros: int | None) -> Timestamp:
    if micros is None:
        return Timestamp()
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


class Answer(OnlineResponse):  # type: ignore[misc] # mypy does not follow Feast
    """Feast's response over columns."""

    def __init__(self, columns: Sequence[Column], *, versions: Sequence[tuple[str, int]] = ()) -> None:
        self._columns, self._versions = columns, versions
        self._feature_types: dict[str, Any] = {}
        self._proto: GetOnlineFeaturesResponse | None = None

    @property
    def proto(self) -> GetOnlineFeaturesResponse:
        """The message, made when it is first asked for."""
        if self._proto is None:
            made = GetOnlineFeaturesResponse(results=[c.vector() for c in self._columns])
            made.metadata.feature_names.val.extend(c.name for c in self._columns)
            for name, version in self._versions:
                made.metadata.feature_view_metadata.add(name=name, version=version)
            self._proto = made
        return self._proto

    @proto.setter
    def proto(self, made: GetOnlineFeaturesResponse) -> None:
        self._proto = made

    def to_dict(self, include_event_timestamps: bool = False) -> dict[str, Any]:
        """Lists of values by name; with timestamps, seconds by `NAME__ts` too."""
        found: dict[str, Any] = {}
        for column in self._columns:
            found[column.name] = column.python()
            if include_event_timestamps:
                found[column.name + TIMESTAMP_POSTFIX] = [0 if e is None else e // 1_000_000 for e in column.events]
        return found
