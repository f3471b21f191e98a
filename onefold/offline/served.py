"""The served log: what the service answered, one Delta table per service and fingerprint.

    <root>/<service>/<fingerprint>/             the Delta table
    <root>/<service>/<fingerprint>.inputs.json  names, types and fingerprints of its features

Columns: request_id, served_at, event_timestamp, model, model_version, score, error, `row` (struct of
keys and request columns), `features` (struct in service order, bit exact, NULL where the row failed),
`statuses` (list, in service order) and `provenance` (JSON list of the state strings that were read).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from onefold.features.contract import ModelInput
from onefold.features.errors import NotFoundError, StoreError, nearest
from onefold.features.types import BOOLEAN, TIMESTAMP, Field, parse_type
from onefold.offline.arrow import arrow_type, from_internal, schema_of
from onefold.offline.served_record import ServedRecord, StringRead

if TYPE_CHECKING:
    from onefold.features.plans import ServicePlan

__all__ = ["ServedInputs", "ServedLog", "ServedRecord", "StringRead"]

_NOTHING = Field("_nothing", BOOLEAN)
COMPACT_EVERY = 200
"""Commits between two compactions, so that small flushes do not pile up as small files."""


@dataclass(frozen=True, slots=True)
class ServedInputs:
    """What a table of the log holds: its service's features, keys and request columns."""

    service: str
    fingerprint: str
    features: tuple[ModelInput, ...]
    keys: tuple[Field, ...]
    request: tuple[Field, ...]

    @classmethod
    def of(cls, plan: ServicePlan) -> ServedInputs:
        inputs = tuple(plan.inputs)
        return cls(plan.name, plan.fingerprint, inputs, tuple(plan.keys), tuple(plan.request))

    def to_json(self) -> str:
        columns = {kind: [_column(f) for f in getattr(self, kind)] for kind in ("keys", "request")}
        features = [asdict(f) for f in self.features]
        return json.dumps(
            {"service": self.service, "fingerprint": self.fingerprint, "features": features, **columns}, indent=1
        )

    @classmethod
    def from_json(cls, text: str) -> ServedInputs:
        data: dict[str, Any] = json.loads(text)
        keys, request = (tuple(_field(f) for f in data[kind]) for kind in ("keys", "request"))
        features = tuple(ModelInput(**f) for f in data["features"])
        return cls(data["service"], data["fingerprint"], features, keys, request)

    @property
    def row_fields(self) -> tuple[Field, ...]:
        """Keys, then request columns, each name once. Never empty: Parquet has no struct without fields."""
        return tuple({f.name: f for f in self.keys + self.request}.values()) or (_NOTHING,)

    @property
    def feature_fields(self) -> tuple[Field, ...]:
        return tuple(Field(f.name, parse_type(f.type)) for f in self.features)


def _column(field: Field) -> dict[str, str]:
    return {"name": field.name, "type": field.type.name}


def _field(column: dict[str, str]) -> Field:
    return Field(column["name"], parse_type(column["type"]))


class ServedLog:
    """The log below one folder. Several processes may append; one process uses it from one thread at a time."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._known: dict[Path, ServedInputs] = {}

    def append(self, plan: ServicePlan, records: Sequence[ServedRecord]) -> None:
        """Commit records of one service, all or none. Raises StoreError where the table cannot be written."""
        if not records:
            return
        folder = self.root / plan.name / plan.fingerprint
        try:
            table = to_arrow(self._known.get(folder) or self._announce(folder, plan), records)
            write_deltalake(str(folder), table, mode="append")
            self._compact(folder)
        except (OSError, DeltaError) as error:
            raise StoreError(
                f"{len(records)} served rows of service {plan.name!r} were not logged to {folder}: {error}; "
                "check that the disk has room and that the folder can be written"
            ) from error

    def tables(self) -> list[ServedInputs]:
        """What has been logged, in order of service and fingerprint."""
        found = [ServedInputs.from_json(path.read_text()) for path in sorted(self.root.glob("*/*.inputs.json"))]
        return [inputs for inputs in found if DeltaTable.is_deltatable(str(self._folder(inputs)))]

    def inputs(self, service: str, fingerprint: str) -> ServedInputs:
        """Features, keys and request columns of one table; NotFoundError where nothing was logged."""
        return self._find(service, fingerprint)

    def read(self, service: str, fingerprint: str) -> pa.Table:
        """All rows of one table, in no promised order; NotFoundError where nothing was logged."""
        return pa.concat_tables(self.batches(service, fingerprint))

    def batches(self, service: str, fingerprint: str, *, rows: int = 100_000) -> Iterator[pa.Table]:
        """The same in pieces of about this many rows.

        Reads the table's files itself: `to_pyarrow_table` leaves threads behind that abort the process at its exit.
        """
        table = DeltaTable(str(self._folder(self._find(service, fingerprint))))
        held: list[pa.RecordBatch] = []
        for path in table.file_uris():
            for batch in pq.ParquetFile(path).iter_batches(batch_size=rows):
                held.append(batch)
                if sum(b.num_rows for b in held) >= rows:
                    yield pa.Table.from_batches(held)
                    held = []
        if held:
            yield pa.Table.from_batches(held)

    def count(self, service: str, fingerprint: str) -> int:
        """How many rows a table has."""
        table = DeltaTable(str(self._folder(self._find(service, fingerprint))))
        return sum(pq.ParquetFile(path).metadata.num_rows for path in table.file_uris())

    def _find(self, service: str, fingerprint: str) -> ServedInputs:
        tables = {f"{t.service}/{t.fingerprint}": t for t in self.tables()}
        name = f"{service}/{fingerprint}"
        if name not in tables:
            raise NotFoundError(f"nothing was served as {name!r} below {self.root}{nearest(name, tables)}")
        return tables[name]

    def _folder(self, inputs: ServedInputs) -> Path:
        return self.root / inputs.service / inputs.fingerprint

    def _announce(self, folder: Path, plan: ServicePlan) -> ServedInputs:
        inputs = self._known[folder] = ServedInputs.of(plan)
        path = folder.with_name(f"{folder.name}.inputs.json")
        if not path.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f"{path.name}.{os.getpid()}")
            draft.write_text(inputs.to_json())
            draft.replace(path)
        return inputs

    def _compact(self, folder: Path) -> None:
        table = DeltaTable(str(folder))
        if table.version() % COMPACT_EVERY == COMPACT_EVERY - 1:
            table.optimize.compact()


def to_arrow(inputs: ServedInputs, records: Sequence[ServedRecord]) -> pa.Table:
    """Records as rows of the log's table."""
    return pa.table([make(inputs, records) for _, make in _COLUMNS], names=[name for name, _ in _COLUMNS])


def _row(inputs: ServedInputs, records: Sequence[ServedRecord]) -> pa.Array:
    columns = ([r.row.get(f.name) for r in records] for f in inputs.row_fields)
    return _struct(inputs.row_fields, columns, [False] * len(records))


def _features(inputs: ServedInputs, records: Sequence[ServedRecord]) -> pa.Array:
    empty = (None,) * len(inputs.features)
    columns = zip(*(empty if r.features is None else r.features for r in records), strict=True)
    return _struct(inputs.feature_fields, columns, [r.features is None for r in records])


def _struct(fields: Sequence[Field], columns: Iterable[Sequence[object]], missing: list[bool]) -> pa.Array:
    arrays = [from_internal(values, f.type) for f, values in zip(fields, columns, strict=True)]
    return pa.StructArray.from_arrays(arrays, fields=list(schema_of(fields)), mask=pa.array(missing))


def provenance_json(reads: Sequence[StringRead]) -> str:
    """The state strings that a row was read from, as the `provenance` column holds them."""
    parts = [
        {
            "source": r.source,
            "entity": r.entity,
            "epoch": r.epoch,
            "layout": r.layout,
            "offsets": r.offsets,
            "markers": r.markers,
        }
        for r in reads
    ]
    return orjson.dumps(parts, option=orjson.OPT_NON_STR_KEYS).decode()


def _statuses(_: ServedInputs, records: Sequence[ServedRecord]) -> pa.Array:
    """Few rows differ in their statuses: each sort is made once."""
    kinds: dict[tuple[str, ...], int] = {}
    places = [kinds.setdefault(r.statuses, len(kinds)) for r in records]
    return pa.array(list(kinds), pa.list_(pa.string())).take(pa.array(places, pa.int64()))


def _plain(name: str, kind: pa.DataType) -> Callable[[ServedInputs, Sequence[ServedRecord]], pa.Array]:
    return lambda _, records: pa.array([getattr(r, name) for r in records], kind)


_COLUMNS: tuple[tuple[str, Callable[[ServedInputs, Sequence[ServedRecord]], pa.Array]], ...] = (
    ("request_id", _plain("request_id", pa.string())),
    ("served_at", _plain("served_at", arrow_type(TIMESTAMP))),
    ("event_timestamp", _plain("event_timestamp", arrow_type(TIMESTAMP))),
    *((name, _plain(name, pa.string())) for name in ("model", "model_version")),
    ("score", _plain("score", pa.float64())),
    ("error", _plain("error", pa.string())),
    ("row", _row),
    ("features", _features),
    ("statuses", _statuses),
    ("provenance", lambda _, records: pa.array([provenance_json(r.provenance) for r in records], pa.string())),
)
