"""Rows of the served log, read for verification: values, and what each row was made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from onefold.features.protocols import Archive
from onefold.offline.served import ServedInputs
from onefold.verify.compare import Mask, as_mask, numpy_of

State = tuple[str, str]
"""(source, entity)."""
Refused = Callable[[str], Iterable[tuple[int, int]]]
"""A source to its dead letters, by (sequence, offset)."""
ERROR, PARTIAL = "error", "partial"
_TOLD = pa.array([ERROR, PARTIAL])


@dataclass(frozen=True)
class ServedRows:
    """Logged rows of one service and fingerprint. `reads[i]` is the parsed provenance of row i."""

    inputs: ServedInputs
    table: pa.Table
    reads: Sequence[Mapping[State, Mapping[str, Any]]]

    @classmethod
    def of(cls, inputs: ServedInputs, table: pa.Table) -> ServedRows:
        """The rows in order of their time."""
        ordered = table.sort_by([("event_timestamp", "ascending"), ("request_id", "ascending")])
        return cls(inputs, ordered, [_reads(text) for text in ordered.column("provenance").to_pylist()])

    @property
    def count(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def spine(self) -> pa.Table:
        """Keys, request columns and `event_timestamp`."""
        row = self.table.column("row").combine_chunks()
        columns = {f.name: row.field(f.name) for f in self.inputs.row_fields}
        return pa.table({**columns, "event_timestamp": self.table.column("event_timestamp")})

    def feature(self, name: str) -> pa.Array:
        """What was served as a feature; NULL where the whole row failed."""
        return self._features[self.index(name)]

    def index(self, name: str) -> int:
        """Where a feature stands in the service's order."""
        return [f.name for f in self.inputs.features].index(name)

    @cached_property
    def _features(self) -> list[pa.Array]:
        return list(self.table.column("features").combine_chunks().flatten())

    def has_status(self, name: str, status: str) -> Mask:
        """Which rows served a feature with this status (ERROR or PARTIAL)."""
        found: Mask = self._statuses[:, self.index(name)] == _TOLD.to_pylist().index(status)
        return found

    @cached_property
    def _statuses(self) -> npt.NDArray[np.int8]:
        """[rows, features]: the place in `_TOLD` of each status, -1 for all others and where there is none."""
        column = self.table.column("statuses").combine_chunks()
        width = len(self.inputs.features)
        whole = as_mask(pc.fill_null(pc.equal(pc.list_value_length(column), width), False))
        codes = np.full((self.count, width), -1, dtype=np.int8)
        told = pc.index_in(pc.list_flatten(column.filter(pa.array(whole))), value_set=_TOLD)
        codes[whole] = numpy_of(pc.fill_null(told, -1)).reshape(-1, width)
        return codes

    @cached_property
    def failed(self) -> Mask:
        """Rows that were answered with an error, and served nothing."""
        return as_mask(pc.is_valid(self.table.column("error")))

    def text(self, column: str, row: int) -> str | None:
        """One row's `request_id` or `error`."""
        found: str | None = self.table.column(column)[row].as_py()
        return found

    def known(self, state: State) -> list[Mapping[int, int]]:
        """Per row and sequence the offset up to which a string held all of its events: what the row must have seen.

        That is the highest offset in the string or, where it is further, the progress marker read with it.
        """
        return [_known(read.get(state)) for read in self.reads]

    def known_of(self, row: int, state: State) -> Mapping[int, int]:
        """The same of one row."""
        return _known(self.reads[row].get(state))

    def held(self, row: int, state: State) -> dict[int, int]:
        """The highest offset of each sequence in the string itself."""
        return _numbers(self.reads[row][state]["offsets"]) if state in self.reads[row] else {}

    def provable(self, flushed: Flushed) -> Mask:
        """Whether the archive has flushed all that a row's strings may have held."""
        return np.array([all(map(flushed.covers, read, read.values())) for read in self.reads], dtype=bool)

    def keep(self, rows: Mask) -> ServedRows:
        """The rows where the mask is true."""
        if rows.all():
            return self
        reads = [r for r, kept in zip(self.reads, rows, strict=True) if kept]
        return ServedRows(self.inputs, self.table.filter(pa.array(rows)), reads)


class Flushed:
    """How far each sequence is in the archive, asked once. Dead letters count as flushed: they never come."""

    def __init__(self, archive: Archive, refused: Refused | None) -> None:
        self._archive, self._read_refused = archive, refused
        self._refused: dict[str, set[tuple[int, int]]] = {}
        self._upto: dict[tuple[str, int], int] = {}

    def covers(self, state: State, read: Mapping[str, Any]) -> bool:
        """Whether the archive has all that one string may have held."""
        source, _ = state
        return all(self._has(source, int(s), o) for of in ("offsets", "markers") for s, o in read[of].items())

    def _has(self, source: str, sequence: int, offset: int) -> bool:
        place = source, sequence
        if place not in self._upto:
            self._upto[place] = self._archive.flushed(source, sequence)
        while self._upto[place] < offset and (sequence, self._upto[place] + 1) in self._refused_of(source):
            self._upto[place] += 1
        return offset <= self._upto[place]

    def _refused_of(self, source: str) -> set[tuple[int, int]]:
        """Read when the archive alone does not cover a row: letters may lie in topics."""
        if source not in self._refused:
            self._refused[source] = set() if self._read_refused is None else set(self._read_refused(source))
        return self._refused[source]


def _reads(text: str | None) -> dict[State, Mapping[str, Any]]:
    return {(r["source"], r["entity"]): r for r in orjson.loads(text or "[]")}


def _known(read: Mapping[str, Any] | None) -> Mapping[int, int]:
    if read is None:
        return {}
    known, markers = _numbers(read["offsets"]), _numbers(read["markers"])
    return known | {s: m for s, m in markers.items() if m > known.get(s, -1)}


def _numbers(offsets: Mapping[str, int]) -> dict[int, int]:
    return {int(s): o for s, o in offsets.items()}
