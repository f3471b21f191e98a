"""The offline truth: one Delta Lake table a source, in which every event is once.

Columns are the source's schema, then `_sequence`, `_offset` and `_ingested_at`. Each sequence has a Delta
transaction id whose version is the last offset that was committed. A writer opens the table, trims what that
version covers, and commits with that same handle: where another writer of the sequence was faster the commit is
refused, and it starts again from the open.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction

from onefold.features.clock import now_micros
from onefold.features.definitions import Branch, EventSource
from onefold.features.errors import NotFoundError, StoreError
from onefold.offline.archive_rows import POSITION, ArchiveFile, behind, check_columns, positioned, write_file
from onefold.offline.dead_letters import DeadLetters
from onefold.offline.importing import ImportFile
from onefold.offline.sequences import SequenceRegister

_ATTEMPTS = 20
_CONFIGURATION = {"delta.logRetentionDuration": "interval 36500 days"}

Progress = Callable[[int, int], None]
Chunk = tuple[int, pa.RecordBatchReader]
"""The last offset that a commit covers, and its rows."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of a source's table (-1 for none): its Parquet files, and each sequence's highest offset in them."""

    version: int
    files: tuple[str, ...]
    flushed: Mapping[int, int]


class DeltaArchive:
    """The archive below a folder: a Delta table for each source. Any number of processes may write and read it.

    clock: microseconds since 1970 UTC, for `_ingested_at`. dead_letters: takes rows that `import_files` refuses;
    by default a folder `dead-letters` beside the tables.
    """

    def __init__(
        self, root: str | Path, *, clock: Callable[[], int] = now_micros, dead_letters: DeadLetters | None = None
    ) -> None:
        self.root = Path(root)
        self._clock = clock
        self._dead_letters = dead_letters or DeadLetters(self.root / "dead-letters")
        self._registers: dict[str, SequenceRegister] = {}

    def sequence(self, source: str, feed: str) -> int:
        """The dense number of a feed, from 0; registered durably when new."""
        return self._register(source).number(feed)

    def sequences(self, source: str) -> Mapping[str, int]:
        """All feeds of a source with their numbers, whichever process registered them."""
        return self._register(source).all()

    def flushed(self, source: str, sequence: int) -> int:
        """The highest offset that is committed; -1 before the first."""
        table = self._open(source)
        return -1 if table is None else _committed(table, sequence)

    def progress(self, source: str) -> Mapping[int, int]:
        """The highest committed offset of each registered sequence, at one moment."""
        return self.snapshot(source).flushed

    def version(self, source: str) -> int:
        """The newest version of the source's table, which `files` can go back to; -1 where there is none."""
        table = self._open(source)
        return -1 if table is None else int(table.version())

    def files(self, source: str, *, version: int | None = None) -> list[str]:
        """Parquet files of the newest (or an older) version, for DuckDB to read; empty where there is no table.

        Versions stay for as long as the table does. NotFoundError for one that it never had.
        """
        table = self._open(source)
        if table is None:
            return []
        if version is not None:
            newest = table.version()
            if not 0 <= version <= newest:
                raise NotFoundError(f"archive of source {source!r} has versions 0 to {newest}, asked is {version}")
            table.load_as_version(version)
        return list(table.file_uris())

    def snapshot(self, source: str) -> Snapshot:
        """The newest version with all that belongs to it, read at one moment."""
        table, sequences = self._open(source), self.sequences(source)
        if table is None:
            return Snapshot(-1, (), dict.fromkeys(sequences.values(), -1))
        flushed = {sequence: _committed(table, sequence) for sequence in sequences.values()}
        return Snapshot(int(table.version()), tuple(table.file_uris()), flushed)

    def append(self, source: str, sequence: int, events: pa.Table) -> int:
        """Commit events of one sequence (schema columns and `_offset`, rising); how many were new.

        `_ingested_at` may be given too, else it is now. A replay adds nothing. The first append makes the table, and
        a column that its schema says is never NULL (the event time) stays so: InputError. MismatchError where the
        columns are not the table's.
        """
        if not self._register(source).holds(sequence):
            raise NotFoundError(f"archive of source {source!r} has no sequence {sequence}; register its feed first")
        rows = positioned(source, sequence, events, self._clock())
        if rows.num_rows == 0:
            return 0
        try:
            return self._append(source, sequence, rows)
        except (DeltaError, OSError) as error:
            raise StoreError(f"archive of source {source!r} cannot be written: {error}") from error

    def _append(self, source: str, sequence: int, rows: pa.Table) -> int:
        """By a file that this thread writes: Delta's own writer takes twice the time, and takes it in many threads."""
        for table, done in self._tries(source, sequence, rows.schema):
            if rows["_offset"][-1].as_py() <= done:
                break
            file = write_file(self.folder(source), sequence, behind(rows, done))
            try:
                _add(table, [file], {sequence: file.last})
            except CommitFailedError:
                continue  # the file stays, as no table's: what the error says of the commit is not proof enough
            return file.rows
        return 0

    def folder(self, source: str) -> Path:
        """Where the Parquet files of a source's table lie."""
        return self.root / source

    def add(self, source: str, files: Sequence[ArchiveFile], *, after: Mapping[int, int], schema: pa.Schema) -> int:
        """Commit files that lie in the table's `folder` already, all at one moment; how many events they have.

        after: the offset that is committed of each of their sequences, behind which the files begin. StoreError
        where another writer has moved one on: nothing is committed then. schema: of the files' rows.
        """
        last: dict[int, int] = {}
        for file in files:
            last[file.sequence] = max(file.last, last.get(file.sequence, -1))
        try:
            table = self._open(source) or self._create(source, schema)
            check_columns(source, table, schema)
            moved = [s for s in last if _committed(table, s) != after.get(s, -1)]
            if not moved:
                _add(table, files, last)
                return sum(file.rows for file in files)
        except CommitFailedError:
            moved = list(last)
        except (DeltaError, OSError) as error:
            raise StoreError(f"archive of source {source!r} cannot be written: {error}") from error
        raise StoreError(
            f"archive of source {source!r}: another process has written sequence {moved[0]} meanwhile; stop one of them"
        )

    def import_files(
        self,
        source: EventSource,
        paths: Iterable[str | Path],
        *,
        branch: Branch | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Import Parquet files, each once, as a sequence of its own; how many rows were new.

        A file is known by its content, so that a copy under another name adds nothing. All files are checked
        before the first row is written; each is then streamed into one commit. Rows without an event time become
        dead letters. branch: whose files they are. progress: called with rows done and rows in all. Raises InputError.
        """
        files = [ImportFile(Path(path), source, branch=branch) for path in paths]
        total, done, added = sum(file.rows for file in files), 0, 0
        for file in files:
            added += self._import(file, partial(_report, progress, done, total))
            done += file.rows
        return added

    def _import(self, file: ImportFile, progress: Callable[[int], object]) -> int:
        name = file.source.name
        sequence, now = self.sequence(name, file.feed), self._clock()
        schema = pa.schema([*file.schema, *POSITION])

        def reject(offset: int, reason: str, original: bytes) -> None:
            self._dead_letters.add(name, sequence=sequence, offset=offset, reason=reason, original=original)

        def chunk(done: int) -> Chunk:
            batches = (
                batch
                for events in file.events(after=done, reject=reject, progress=progress)
                for batch in positioned(name, sequence, events, now).cast(schema).to_batches()
            )
            return file.rows - 1, pa.RecordBatchReader.from_batches(schema, batches)

        try:
            return file.kept if self._commit(name, sequence, schema, chunk) else 0
        except (DeltaError, pa.ArrowInvalid) as error:
            raise file.failure or StoreError(f"file {str(file.path)!r} cannot be imported: {error}") from error

    def _commit(self, source: str, sequence: int, schema: pa.Schema, chunk: Callable[[int], Chunk]) -> bool:
        """Commit what `chunk`, told the offset that is in, gives; False when all of it was in already."""
        for table, done in self._tries(source, sequence, schema):
            last, rows = chunk(done)
            if last <= done:
                return False
            transaction = Transaction(_transaction(sequence), last)
            properties = CommitProperties(app_transactions=[transaction])
            try:
                write_deltalake(table, rows, mode="append", commit_properties=properties)
            except CommitFailedError:
                continue
            return True
        return False

    def _tries(self, source: str, sequence: int, schema: pa.Schema) -> Iterator[tuple[DeltaTable, int]]:
        """The table, opened anew for each try, and the last offset of a sequence in it; StoreError after many."""
        for _ in range(_ATTEMPTS):
            table = self._open(source) or self._create(source, schema)
            check_columns(source, table, schema)
            yield table, _committed(table, sequence)
        raise StoreError(
            f"archive of source {source!r}: sequence {sequence} was refused {_ATTEMPTS} times; "
            "another process writes the same feed: stop one of them"
        )

    def _register(self, source: str) -> SequenceRegister:
        if source not in self._registers:
            self._registers[source] = SequenceRegister(self.root / source / "_sequences")
        return self._registers[source]

    def _open(self, source: str) -> DeltaTable | None:
        path = self.root / source
        if not (path / "_delta_log").exists():
            return None
        try:
            return DeltaTable(str(path))
        except TableNotFoundError:
            return None
        except DeltaError as error:
            raise StoreError(f"archive of source {source!r} cannot be read: {error}") from error

    def _create(self, source: str, schema: pa.Schema) -> DeltaTable:
        path = self.root / source
        path.mkdir(parents=True, exist_ok=True)
        try:
            return DeltaTable.create(str(path), schema=schema, mode="ignore", configuration=_CONFIGURATION)
        except CommitFailedError:
            return DeltaTable(str(path))


def _report(progress: Progress | None, before: int, total: int, rows: int) -> None:
    if progress is not None:
        progress(before + rows, total)


def _transaction(sequence: int) -> str:
    return f"onefold-sequence-{sequence}"


def _committed(table: DeltaTable, sequence: int) -> int:
    version = table.transaction_version(_transaction(sequence))
    return -1 if version is None else int(version)


def _add(table: DeltaTable, files: Sequence[ArchiveFile], last: Mapping[int, int]) -> None:
    now = time.time_ns() // 1_000_000
    actions = [AddAction(f.name, f.size, {}, now, True, json.dumps({"numRecords": f.rows})) for f in files]
    done = CommitProperties(app_transactions=[Transaction(_transaction(s), offset) for s, offset in last.items()])
    table.create_write_transaction(list(actions), "append", table.schema(), commit_properties=done)
