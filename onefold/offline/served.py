"""The served log: what the service answered, one Delta table per service and fingerprint.

    <root>/<service>/<fingerprint>/             the Delta table, whose columns `served_columns` tells
    <root>/<service>/<fingerprint>.inputs.json  names, types and fingerprints of its features

Each commit says how far every writer has come whose rows are in it, as a Delta transaction id of the writer's: who
sends rows twice, not knowing whether they were written, doubles none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import DeltaError

from onefold.features.errors import NotFoundError, StoreError, nearest
from onefold.offline.served_columns import to_arrow
from onefold.offline.served_inputs import ServedInputs
from onefold.offline.served_record import ServedBlock
from onefold.offline.served_upkeep import Upkeep

__all__ = ["ServedBlock", "ServedInputs", "ServedLog"]

_CONFIGURATION = {
    # least and greatest of request_id and the two times: nobody looks rows up by the value of a feature
    "delta.dataSkippingNumIndexedCols": "3",
    # a commit every two seconds and a name for every worker that ever served would be kept for a month, and for ever
    "delta.logRetentionDuration": "interval 2 days",
    "delta.setTransactionRetentionDuration": "interval 7 days",
}
_NOBODY: Mapping[str, int] = MappingProxyType({})


class ServedLog:
    """The log below one folder. Several processes may append; one process uses it from one thread at a time."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._open: dict[Path, DeltaTable] = {}
        self.upkeep = Upkeep()

    def append(
        self, inputs: ServedInputs, blocks: Sequence[ServedBlock], *, marks: Mapping[str, int] = _NOBODY
    ) -> None:
        """Commit blocks of one service, all or none. Raises StoreError where the table cannot be written.

        marks: by writer, the number of its last message that is among them.
        """
        folder, rows = self._folder(inputs), to_arrow(inputs, blocks)
        done = CommitProperties(app_transactions=[Transaction(writer, number) for writer, number in marks.items()])
        try:
            table = self._table(folder)
            if table is None:
                _announce(folder, inputs)
            write_deltalake(
                table or str(folder), rows, mode="append", commit_properties=done,
                configuration=None if table else _CONFIGURATION,
            )  # fmt: skip
            table = self._table(folder)
        except (OSError, DeltaError) as error:
            self._open.pop(folder, None)  # it may have been committed all the same
            raise StoreError(
                f"{rows.num_rows} served rows of service {inputs.service!r} were not logged to {folder}: {error}; "
                "check that the disk has room and that the folder can be written"
            ) from error
        if table is not None:
            self.upkeep.appended(folder, rows.num_rows, table.version())

    def mark(self, inputs: ServedInputs, writer: str) -> int:
        """The number of the last message of a writer that is in the table; -1 where none is."""
        try:
            table = self._table(self._folder(inputs))
            found = None if table is None else table.transaction_version(writer)
        except (OSError, DeltaError) as error:
            raise StoreError(f"the log of service {inputs.service!r} cannot be read: {error}") from error
        return -1 if found is None else int(found)

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

    def _table(self, folder: Path) -> DeltaTable | None:
        """The table in a folder, as it was left by the last commit; None where there is none, or no longer."""
        if not (folder / "_delta_log").exists():
            self._open.pop(folder, None)
        elif folder not in self._open and DeltaTable.is_deltatable(str(folder)):
            self._open[folder] = DeltaTable(str(folder))
        return self._open.get(folder)


def _announce(folder: Path, inputs: ServedInputs) -> None:
    """Write what the table holds beside it."""
    path = folder.with_name(f"{folder.name}.inputs.json")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(inputs.to_json())
    draft.replace(path)
