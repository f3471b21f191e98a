"""Faults put in on purpose, so that `onefold verify` can be seen to find them: for tests and `demo --inject`."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from onefold.features.errors import InputError
from onefold.features.protocols import OnlineStore
from onefold.offline.served import ServedLog

_OFFSET = struct.Struct("<q")
_OFFSET_AT = 5
"""Where the offset stands in a record of the tail: behind its tag and its sequence (see `features.codec`)."""


class Fault(StrEnum):
    """What can be done to a served history."""

    DROP_EVENT = "drop-event"
    DOUBLE_EVENT = "double-event"
    TRUNCATE_STATE = "truncate-state"
    CHANGE_DEFINITION = "change-definition"
    PERTURB_LOG = "perturb-log"


STORE_FAULTS = (Fault.DROP_EVENT, Fault.DOUBLE_EVENT, Fault.TRUNCATE_STATE)


class FaultyStore:
    """An `OnlineStore` that does one thing wrong: in the `nth` append to a string whose name begins with `prefix`."""

    def __init__(self, store: OnlineStore, fault: Fault, *, prefix: bytes, record_size: int, nth: int = 50) -> None:
        self._store, self._fault, self._prefix, self._size = store, fault, prefix, record_size
        self._left = nth

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def append(self, items: Sequence[tuple[bytes, bytes]], **options: Any) -> list[int]:
        changed = [self._spoil(name, records) for name, records in items]
        lengths = self._store.append(changed, **options)
        if self._left == 0 and self._fault == Fault.TRUNCATE_STATE:
            self._truncate(items)
        return lengths

    def begin_append(self, items: Sequence[tuple[bytes, bytes]], **options: Any) -> Callable[[], list[int]]:
        """The same for a worker that asks for the lengths later."""
        lengths = self.append(items, **options)
        return lambda: lengths

    def _spoil(self, name: bytes, records: bytes) -> tuple[bytes, bytes]:
        if self._left == 0 or not name.startswith(self._prefix):
            return name, records
        self._left -= 1
        if self._left:
            return name, records
        first, rest = records[: self._size], records[self._size :]
        if self._fault == Fault.DROP_EVENT:
            return name, rest
        if self._fault == Fault.DOUBLE_EVENT:
            return name, first + _next_offset(first) + rest
        return name, records

    def _truncate(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Cut three bytes off the first string that the batch wrote below the prefix."""
        name = next(n for n, _ in items if n.startswith(self._prefix))
        (value,) = self._store.get([name])
        assert value is not None
        self._store.put([(name, value[:-3])])
        self._left = -1


def _next_offset(record: bytes) -> bytes:
    """The record once more under the next offset, so that readers do not know it for a copy."""
    (offset,) = _OFFSET.unpack_from(record, _OFFSET_AT)
    return record[:_OFFSET_AT] + _OFFSET.pack(offset + 1) + record[_OFFSET_AT + _OFFSET.size :]


def change_definition(features: Path) -> str:
    """Make the first window of three hours in a folder of definitions four hours long; the file that changed."""
    for path in sorted(features.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        changed, count = re.subn(r"INTERVAL 3 HOURS", "INTERVAL 4 HOURS", text, count=1)
        if count:
            path.write_text(changed, encoding="utf-8")
            return path.name
    raise InputError(f"no definition below {features} has a window of INTERVAL 3 HOURS to change")


def perturb_log(log: ServedLog, service: str, *, change: Callable[[float], float] = lambda x: x + 1.0) -> str:
    """Change the first DOUBLE in the served log of a service; the feature that it belongs to."""
    inputs = next(t for t in log.tables() if t.service == service)
    table = log.read(inputs.service, inputs.fingerprint)
    structs = table.column("features").combine_chunks()
    arrays, names = list(structs.flatten()), [f.name for f in structs.type]
    index = next(i for i, a in enumerate(arrays) if pa.types.is_floating(a.type) and a.null_count < len(a))
    values = arrays[index].to_pylist()
    row = next(i for i, v in enumerate(values) if v is not None and v == v)
    values[row] = change(values[row])
    arrays[index] = pa.array(values, pa.float64())
    rebuilt = pa.StructArray.from_arrays(arrays, fields=list(structs.type), mask=structs.is_null())
    table = table.set_column(table.column_names.index("features"), table.schema.field("features"), rebuilt)
    write_deltalake(str(log.root / inputs.service / inputs.fingerprint), table, mode="overwrite")
    return str(names[index])
