"""What was looked up as an Arrow stream: one batch with a column a feature, and one for its statuses beside it."""

from __future__ import annotations

import pyarrow as pa

from onefold.features.types import TIMESTAMP
from onefold.offline.arrow import from_internal
from onefold.online.served_row import STATUSES
from onefold.serving.documents import Served


def arrow_stream(served: Served) -> bytes:
    """`request_id`, `event_timestamp`, then FEATURE and FEATURE__status in service order; what it is, as metadata."""
    plan = served.service.plan
    columns = {"request_id": pa.array(served.request_ids), "event_timestamp": from_internal(served.times, TIMESTAMP)}
    for i, feature in enumerate(plan.features):
        columns[feature.name] = from_internal([values[i] for values in served.values], feature.type)
        columns[f"{feature.name}__status"] = _statuses([statuses[i] for statuses in served.statuses])
    batch = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    batch = batch.replace_schema_metadata({"service": plan.name, "fingerprint": plan.fingerprint})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _statuses(found: list[str]) -> pa.Array:
    codes = pa.array([STATUSES.index(status) for status in found], pa.int8())
    return pa.DictionaryArray.from_arrays(codes, pa.array(STATUSES))
