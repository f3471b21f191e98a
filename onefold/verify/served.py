"""One table of the served log, read for verification: rows, values, and what each row was made from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from onefold.features.protocols import Archive
from onefold.offline.served import ServedInputs, ServedLog

State = tuple[str, str]
"""(source, entity)."""


@dataclass(frozen=True)
class ServedTable:
    """Logged rows of one service and fingerprint. `reads[i]` is the parsed provenance of row i."""

    inputs: ServedInputs
    table: pa.Table
    reads: Sequence[Mapping[State, Mapping[str, Any]]]

    @classmethod
    def load(cls, log: ServedLog, inputs: ServedInputs) -> ServedTable:
        table = log.read(inputs.service, inputs.fingerprint).sort_by(
            [("event_timestamp", "ascending"), ("request_id", "ascending")]
        )
        return cls(inputs, table, [_reads(text) for text in table.column("provenance").to_pylist()])

    @property
    def spine(self) -> pa.Table:
        """Keys, request columns and `event_timestamp`."""
        row = self.table.column("row").combine_chunks()
        columns = {f.name: row.field(f.name) for f in self.inputs.row_fields}
        return pa.table({**columns, "event_timestamp": self.table.column("event_timestamp")})

    def feature(self, name: str) -> pa.Array:
        """What was served as a feature; NULL where the whole row failed."""
        structs = self.table.column("features").combine_chunks()
        index = [f.name for f in structs.type].index(name)
        return structs.flatten()[index]

    @cached_property
    def statuses(self) -> list[list[str]]:
        return [list(s or ()) for s in self.table.column("statuses").to_pylist()]

    @cached_property
    def errors(self) -> list[str | None]:
        return list(self.table.column("error").to_pylist())

    @cached_property
    def request_ids(self) -> list[str]:
        return list(self.table.column("request_id").to_pylist())

    def known(self, state: State) -> list[dict[int, int]]:
        """Per row the highest offset of each sequence in the string of a state."""
        return [_numbers(r[state]["offsets"]) if state in r else {} for r in self.reads]

    def markers(self, row: int, state: State) -> dict[int, int]:
        """The progress markers that were read with a row's string."""
        return _numbers(self.reads[row][state]["markers"]) if state in self.reads[row] else {}

    def provable(self, archive: Archive) -> list[bool]:
        """Whether the archive has flushed everything that a row's strings held."""
        flushed: dict[tuple[str, int], int] = {}

        def has(source: str, sequence: int, offset: int) -> bool:
            place = source, sequence
            if place not in flushed:
                flushed[place] = archive.flushed(source, sequence)
            return offset <= flushed[place]

        return [
            all(has(source, int(s), o) for (source, _), read in reads.items() for s, o in read["offsets"].items())
            for reads in self.reads
        ]

    def keep(self, rows: Sequence[bool]) -> ServedTable:
        reads = [r for r, kept in zip(self.reads, rows, strict=True) if kept]
        return ServedTable(self.inputs, self.table.filter(pa.array(rows, pa.bool_())), reads)


def _reads(text: str | None) -> dict[State, Mapping[str, Any]]:
    return {(r["source"], r["entity"]): r for r in json.loads(text or "[]")}


def _numbers(offsets: Mapping[str, int]) -> dict[int, int]:
    return {int(s): o for s, o in offsets.items()}
