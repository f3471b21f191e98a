"""Historical features: Onefold's views by our engine, Feast's own by an as-of join, side by side for each row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from threading import Timer
from typing import Any

import duckdb
import pyarrow as pa

from onefold.features.duckdb_scalar import quote
from onefold.features.errors import InputError
from onefold.offline.asof import ROW, Joined, T, asof_sql, micros
from onefold.offline.engine import BATCH, connect
from onefold.offline.feast.job import Rows
from onefold.offline.feast.ours import OurViews, is_ours
from onefold.offline.feast.plain import Wanted, joined, source_relation
from onefold.offline.feast.sources import relation
from onefold.offline.feast.spine import TIME, UTC_MICROS, Spine, in_micros, of_frame, of_query
from onefold.offline.scratch import scratch_folder


@dataclass(frozen=True, kw_only=True)
class Session:
    """Where a query works. repo: where relative paths begin; memory_limit, temp_directory: of DuckDB."""

    repo: Path | None
    memory_limit: str | None = None
    temp_directory: str | None = None

    @contextmanager
    def open(self, timeout: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A DuckDB of its own, in UTC, which stops after `timeout` seconds: TimeoutError."""
        with ExitStack() as opened:
            scratch = opened.enter_context(scratch_folder(self.temp_directory))
            db = opened.enter_context(closing(connect(memory_limit=self.memory_limit, temp_directory=scratch)))
            db.execute("SET TimeZone = 'UTC'")
            if self.repo is not None:
                db.execute("SET file_search_path = ?", [str(self.repo)])
            if timeout is not None:
                timer = Timer(timeout, db.interrupt)
                timer.start()
                opened.callback(timer.cancel)
            try:
                yield db
            except duckdb.InterruptException as error:
                raise TimeoutError(f"the retrieval took longer than {timeout} seconds") from error


@dataclass(frozen=True, kw_only=True)
class Historical:
    """A retrieval of features for an entity dataframe: a frame, SQL, or None for the keys between two times.

    views: what is wanted, in the answer's order. on_demand: Onefold's on-demand views. sources: all that SQL may name.
    full: features are named with their view. known: only what had been created by the row's time.
    """

    session: Session
    entity_df: Any
    views: Sequence[Wanted]
    on_demand: Sequence[Wanted]
    registry: Any
    project: str
    between: tuple[datetime, datetime] | None
    full: bool
    known: bool

    @contextmanager
    def run(self, timeout: int | None) -> Iterator[Rows]:
        """The entity dataframe's columns and the features, in batches."""
        with self.session.open(timeout) as db:
            spine = self.spine(db)
            ours = self._ours.values(spine, full=self.full) if self._ours is not None else {}
            found = self._joined(db, spine)
            yield _side_by_side(spine.rows, found, ours, self._names)

    def spine(self, db: duckdb.DuckDBPyConnection) -> Spine:
        if self.entity_df is None:
            return self._between(db)
        if isinstance(self.entity_df, str):
            self._name_sources(db, self.entity_df)
            return of_query(db, self.entity_df)
        return of_frame(self.entity_df)

    def sql(self) -> str:
        """The as-of join of Feast's own views as one statement over the relation `spine`."""
        if self._ours is not None:
            names = ", ".join(w.view.name for w in (*self.views, *self.on_demand) if is_ours(w.view))
            raise InputError(
                f"views {names} are Onefold's: their values are made by its engine, by plans that depend on the data; "
                "`onefold explain` shows their SQL"
            )
        with self.session.open() as db:
            spine = self.spine(db)
            carry = ", ".join(f"s.{quote(name)}" for name in spine.rows.column_names)
            query = asof_sql("numbered", self._tables(db, spine.put(db, self._keys)), carry=carry)
            asked = f"({self.entity_df})" if isinstance(self.entity_df, str) else "spine"
            time = f"epoch_us({quote(spine.time)}::TIMESTAMP WITH TIME ZONE)"
            numbered = f"SELECT *, row_number() OVER () AS {ROW}, {time} AS {T} FROM {asked}"
            return f"WITH numbered AS ({numbered}), {query.removeprefix('WITH ')}"

    def first(self) -> tuple[list[str], tuple[datetime | None, datetime | None]]:
        """The spine's keys and its bounds, for Feast's metadata."""
        with self.session.open() as db:
            spine = self.spine(db)
            return spine.keys, self.between or spine.bounds()

    @cached_property
    def _plain(self) -> list[Wanted]:
        return [w for w in self.views if not is_ours(w.view)]

    @cached_property
    def _ours(self) -> OurViews | None:
        """Onefold's views among those wanted, and their on-demand views."""
        mine = [w for w in self.views if is_ours(w.view)]
        if not mine and not self.on_demand:
            return None
        limits = {"memory_limit": self.session.memory_limit, "temp_directory": self.session.temp_directory}
        return OurViews([*mine, *self.on_demand], self.registry, self.project, self.session.repo, **limits)

    @property
    def _keys(self) -> list[str]:
        return list(dict.fromkeys(key for w in self._plain for key in w.keys))

    @property
    def _names(self) -> list[str]:
        return [w.named(f, full=self.full) for w in (*self.views, *self.on_demand) for f in w.features]

    def _tables(self, db: duckdb.DuckDBPyConnection, spine: str) -> list[Joined]:
        return [joined(db, w, spine, self.session.repo, full=self.full, known=self.known) for w in self._plain]

    def _joined(self, db: duckdb.DuckDBPyConnection, spine: Spine) -> pa.RecordBatchReader | None:
        if not self._plain:
            return None
        tables = self._tables(db, spine.put(db, self._keys))
        single = [not t.needs_care and not db.execute(t.doubled()).fetchall() for t in tables]
        return db.sql(asof_sql("spine", tables, single=single)).to_arrow_reader(BATCH)

    def _name_sources(self, db: duckdb.DuckDBPyConnection, query: str) -> None:
        """The project's sources, for SQL that names them."""
        for source in self.registry.list_data_sources(self.project):
            if source.name in query and "/" not in source.name:
                try:
                    found = relation(db, source, self.session.repo)
                except InputError:  # of another kind, or nothing is there: DuckDB says so if it is meant
                    continue
                db.execute(f"CREATE OR REPLACE TEMP VIEW {quote(source.name)} AS SELECT * FROM {found.sql}")

    def _between(self, db: duckdb.DuckDBPyConnection) -> Spine:
        """Each key that any view has a row of between the two times, as of the second."""
        assert self.between is not None
        start, end = self.between
        found = [] if self._ours is None else [self._ours.keys_between(db, start, end)]
        found += [_keys_of(db, w, self.session.repo, start, end) for w in self._plain]
        names = list(dict.fromkeys(key for w in self.views for key in w.keys))
        rows = pa.concat_tables(found, promote_options="permissive") if found else pa.table({})
        for name in names:
            if name not in rows.column_names:
                rows = rows.append_column(name, pa.nulls(rows.num_rows))
        rows = rows.group_by(names).aggregate([]).sort_by([(n, "ascending") for n in names]) if names else pa.table({})
        count = rows.num_rows if names else 1
        times = pa.array([end] * count, UTC_MICROS)
        return Spine.of(pa.table([*rows.columns, times], names=[*rows.column_names, TIME]))


def _keys_of(
    db: duckdb.DuckDBPyConnection, wanted: Wanted, repo: Path | None, start: datetime, end: datetime
) -> pa.Table:
    rows = source_relation(db, wanted.view, repo)
    source = wanted.view.batch_source
    mapping = source.field_mapping or {}
    at = rows.column(source.timestamp_field, mapping)
    theirs = {ours: rows.column(own, mapping) for ours, own in wanted.keys.items()}
    keys = ", ".join(f"{quote(column)} AS {quote(ours)}" for ours, column in theirs.items()) or "1 AS one"
    whole = " AND ".join([f"{quote(c)} IS NOT NULL" for c in theirs.values()] + ["TRUE"])
    time = micros(quote(at), rows.columns[at])
    between = f"{time} BETWEEN {in_micros(start)} AND {in_micros(end)}"
    return db.sql(f"SELECT DISTINCT {keys} FROM {rows.sql} WHERE {between} AND {whole}").to_arrow_table()


def _side_by_side(
    rows: pa.Table, found: pa.RecordBatchReader | None, ours: dict[str, pa.ChunkedArray], names: Sequence[str]
) -> Rows:
    """The spine's columns with the features in the order of `names`, a batch at a time."""
    theirs = {} if found is None else {f.name: f for f in found.schema}
    fields = [*rows.schema, *(theirs[n] if n in theirs else pa.field(n, ours[n].type) for n in names)]
    _check_names([f.name for f in fields])
    schema = pa.schema(fields)

    def batches() -> Iterator[pa.RecordBatch]:
        start = 0
        for size, batch in _batches(rows.num_rows, found):
            columns = [_one(c.slice(start, size)) for c in rows.columns]
            for name in names:
                columns.append(batch.column(name) if name in theirs else _one(ours[name].slice(start, size)))
            start += size
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return Rows(schema, batches())


def _batches(total: int, found: pa.RecordBatchReader | None) -> Iterator[tuple[int, Any]]:
    if found is None:
        yield from ((min(BATCH, total - start), None) for start in range(0, total, BATCH))
    else:
        yield from ((batch.num_rows, batch) for batch in found)


def _one(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return whole.combine_chunks() if isinstance(whole, pa.ChunkedArray) else whole


def _check_names(names: Sequence[str]) -> None:
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise InputError(f"the answer would have {', '.join(map(repr, twice))} twice: rename a column of the entity "
                         "dataframe, or ask with full_feature_names=True")  # fmt: skip
