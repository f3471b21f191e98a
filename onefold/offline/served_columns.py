"""From blocks of served rows to Arrow, column by column: no object is made for a row.

Columns: request_id, served_at, event_timestamp, model, model_version, score, error, `row` (struct of
keys and request columns), `features` (struct in service order, bit exact, NULL where the row failed),
`statuses` (list, in service order) and `provenance` (JSON list of the state strings that were read).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from operator import itemgetter
from typing import Any

import orjson
import pyarrow as pa

from onefold.features.types import TIMESTAMP, Field
from onefold.offline.arrow import arrow_type, from_internal, schema_of
from onefold.offline.served_inputs import ServedInputs
from onefold.offline.served_record import Place, Reads, ServedBlock

Blocks = Sequence[ServedBlock]


def to_arrow(inputs: ServedInputs, blocks: Blocks) -> pa.Table:
    """Blocks as rows of the log's table."""
    return pa.table([make(inputs, blocks) for _, make in _COLUMNS], names=[name for name, _ in _COLUMNS])


def _each(place: str, kind: pa.DataType) -> Callable[[ServedInputs, Blocks], pa.Array]:
    """A column that has a value a row."""
    take = _field(place)
    return lambda _, blocks: pa.array([*chain.from_iterable(take(b) for b in blocks)], kind)


def _once(place: str, kind: pa.DataType) -> Callable[[ServedInputs, Blocks], pa.Array]:
    """A column whose value is that of the block."""
    take = _field(place)
    return lambda _, blocks: pa.array([*chain.from_iterable(repeat(take(b), _rows(b)) for b in blocks)], kind)


def _maybe(place: str, kind: pa.DataType) -> Callable[[ServedInputs, Blocks], pa.Array]:
    """A column that is NULL in blocks that have none of it."""
    take = _field(place)
    return lambda _, blocks: pa.array([*chain.from_iterable(take(b) or repeat(None, _rows(b)) for b in blocks)], kind)


def _field(name: str) -> Callable[[ServedBlock], Any]:
    return itemgetter(ServedBlock._fields.index(name))


def _rows(block: ServedBlock) -> int:
    return len(block.request_ids)


def _row(inputs: ServedInputs, blocks: Blocks) -> pa.Array:
    rows = [*chain.from_iterable(b.rows for b in blocks)]
    columns = ([row.get(f.name) for row in rows] for f in inputs.row_fields)
    return _struct(inputs.row_fields, columns)


def _features(inputs: ServedInputs, blocks: Blocks) -> pa.Array:
    rows = [*chain.from_iterable(b.features for b in blocks)]
    if None not in rows:
        return _struct(inputs.feature_fields, zip(*rows, strict=True))
    empty = (None,) * len(inputs.features)
    columns = zip(*(empty if row is None else row for row in rows), strict=True)
    return _struct(inputs.feature_fields, columns, mask=pa.array([row is None for row in rows]))


def _struct(fields: Sequence[Field], columns: Iterable[Sequence[Any]], mask: pa.Array | None = None) -> pa.Array:
    arrays = [from_internal(values, f.type) for f, values in zip(fields, columns, strict=True)]
    return pa.StructArray.from_arrays(arrays, fields=list(schema_of(fields)), mask=mask)


def _statuses(_: ServedInputs, blocks: Blocks) -> pa.Array:
    """Few rows differ in their statuses: each sort is made once."""
    known: dict[str, int] = {}
    places: list[int] = []
    for block in blocks:
        kinds, which = block.statuses
        found = [known.setdefault(kind, len(known)) for kind in kinds]
        places += [found[i] for i in which]
    return pa.array([kind.split() for kind in known], pa.list_(pa.string())).take(pa.array(places, pa.int64()))


def _provenance(_: ServedInputs, blocks: Blocks) -> pa.Array:
    return pa.array([*chain.from_iterable(map(_texts, blocks))], pa.string())


def _texts(block: ServedBlock) -> Iterator[str]:
    """The strings that each row was read from, as a JSON list."""
    if not block.reads:
        return repeat("[]", _rows(block))
    return (f"[{','.join(texts)}]" for texts in zip(*map(_state_texts, block.reads), strict=True))


def _state_texts(reads: Reads) -> Iterator[str]:
    places, which, offsets = reads
    around = [_around(place) for place in places]
    for i, held in zip(which, offsets, strict=True):
        start, end = around[i]
        yield f"{start}{_numbers(held)}{end}"


def _around(place: Place) -> tuple[str, str]:
    """What stands before and behind a string's offsets, which alone differ from row to row."""
    source, entity, epoch, layout, markers = place
    head = orjson.dumps({"source": source, "entity": entity, "epoch": epoch, "layout": layout}).decode()
    return f'{head[:-1]},"offsets":', f',"markers":{_numbers(markers)}}}'


def _numbers(offsets: Mapping[int, int]) -> str:
    return "{" + ",".join([f'"{sequence}":{offset}' for sequence, offset in offsets.items()]) + "}"


_TIME = arrow_type(TIMESTAMP)
_COLUMNS: tuple[tuple[str, Callable[[ServedInputs, Blocks], pa.Array]], ...] = (
    ("request_id", _each("request_ids", pa.string())),
    ("served_at", _once("served_at", _TIME)),
    ("event_timestamp", _each("times", _TIME)),
    *((name, _once(name, pa.string())) for name in ("model", "model_version")),
    ("score", _maybe("scores", pa.float64())),
    ("error", _maybe("errors", pa.string())),
    ("row", _row),
    ("features", _features),
    ("statuses", _statuses),
    ("provenance", _provenance),
)
