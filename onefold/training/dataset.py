"""Training sets: a service's features for a spine, point in time, as Parquet with a manifest."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from onefold.features.errors import InputError, StoreError, nearest
from onefold.training.content_hash import content_hash
from onefold.training.manifest import Manifest, SequenceVersion, SourceVersion
from onefold.training.matrix import to_matrix
from onefold.training.rows import ParquetColumns, SpineRows

if TYPE_CHECKING:
    from onefold.features.plans import ServicePlan
    from onefold.features.project import Project
    from onefold.offline.engine import Known
    from onefold.offline.spark_session import SparkSettings

TIME = "event_timestamp"
AS_OF = ("event_time", "served")
DATA, MANIFEST = "data.parquet", "manifest.json"
Progress = Callable[[str, int, int], object]
"""Called with the stage, what is done of it and how much there is."""


class VersionedArchive(Protocol):
    """What a training set needs of the archive: files at a version, and what that version covers."""

    def version(self, source: str) -> int:
        """The newest version of the source's table; -1 where there is none."""

    def files(self, source: str, *, version: int | None = None) -> list[str]:
        """Its Parquet files at that version; empty where there is none."""

    def sequences(self, source: str) -> Mapping[str, int]:
        """All feeds of the source, with their numbers."""

    def flushed(self, source: str, sequence: int) -> int:
        """The highest offset that is committed; -1 before the first."""


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """A training set on disk: `data.parquet` (the spine's columns, then the features) and `manifest.json`."""

    path: Path
    manifest: Manifest

    @classmethod
    def load(cls, path: str | Path, *, verify: bool = False) -> TrainingSet:
        """Open a set; with `verify`, InputError unless its rows have the hash that its manifest names."""
        folder = Path(path)
        for name in (MANIFEST, DATA):
            if not (folder / name).is_file():
                raise InputError(f"{str(folder)!r} is no training set: it has no {name}; build one there")
        loaded = cls(folder, Manifest.from_json((folder / MANIFEST).read_text(encoding="utf-8")))
        if verify:
            loaded.verify()
        return loaded

    def verify(self) -> None:
        """InputError unless the rows are those that the manifest was written for."""
        found = content_hash(self.table())
        if found != self.manifest.content_hash:
            raise InputError(
                f"training set {str(self.path)!r}: its rows hash to {found[:16]}, its manifest says "
                f"{self.manifest.content_hash[:16]}; the file was changed: build the set again"
            )

    def table(self) -> pa.Table:
        """All rows, in the spine's order."""
        try:
            return pq.read_table(self.path / DATA)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"training set {str(self.path)!r} cannot be read: {error}; build it again") from error

    def matrix(self, *, dtype: type[np.floating] = np.float32) -> np.ndarray:
        """The features in service order, shape [rows, features]; see `to_matrix`."""
        return to_matrix(self.table(), self.manifest.inputs, dtype=dtype)


def build(
    project: Project,
    service: str,
    spine: pa.Table | str | Path,
    *,
    archive: VersionedArchive,
    out: str | Path,
    label: str | None = None,
    as_of: str = "event_time",
    known: Known | None = None,
    memory_limit: str | None = None,
    temp_directory: str | Path | None = None,
    progress: Progress | None = None,
    spark: SparkSettings | None = None,
) -> TrainingSet:
    """Compute a service's features for a spine and write them, with their manifest, to the folder `out`.

    spine: keys, `event_timestamp` (timestamp[us, UTC]) and request columns, and any others, which are kept; a table
    or a Parquet file. label: the spine's column to learn, BOOLEAN or a number, NULL where it is not known.
    as_of: `event_time`, all events with ts <= t; or `served`, those of them that each row knew when it was served, as
    `known` says (see `offline.engine`). An older training set at `out` is replaced when all has been computed; any
    other folder there is refused. spark: have Spark compute the features, in place of DuckDB. Raises InputError.
    """
    from onefold.offline.arrow import arrow_type

    plan, report, folder = project.service(service), progress or _silent, Path(out)
    given = SpineRows.of(spine)
    _check(plan, given.schema, label=label, as_of=as_of, known=known, folder=folder)
    report("events", 0, 1)
    sources = tuple(_source_version(archive, name) for name in plan.sources)
    events = {s.source: archive.files(s.source, version=s.version) if s.version >= 0 else [] for s in sources}
    asked = given.table([TIME, *(f.name for f in (*plan.keys, *plan.request))])
    duckdb = {"memory_limit": memory_limit, "temp_directory": temp_directory}
    with _features(plan, events, asked, known=known, report=report, spark=spark, duckdb=duckdb) as features:
        rows = given.beside(features, pa.schema([(f.name, arrow_type(f.type)) for f in plan.features]))
        return write(folder, rows, plan, label=label, as_of=as_of, sources=sources, progress=report)


@contextmanager
def _features(
    plan: ServicePlan,
    events: Mapping[str, Sequence[str]],
    rows: pa.Table,
    *,
    known: Known | None,
    report: Progress,
    spark: SparkSettings | None,
    duckdb: Mapping[str, Any],
) -> Iterator[Iterable[pa.RecordBatch]]:
    """The features in batches, in the order of the rows. duckdb: what its engine may use."""
    if spark is None:
        from onefold.offline.engine import stream

        with stream(plan, events, rows, known=known, advance=_by_group(plan, report), **duckdb) as batches:
            yield batches
        return
    from onefold.offline import spark as engine

    report("start of Spark, and its plan", 0, 1)
    tasks: Callable[[int, int], object] = lambda done, total: report("features, tasks of Spark", done, total)  # noqa: E731
    yield engine.point_in_time(plan, events, rows, known=known, settings=spark, tasks=tasks).to_batches()


def write(
    folder: str | Path,
    rows: pa.RecordBatchReader | pa.Table,
    plan: ServicePlan,
    *,
    label: str | None,
    as_of: str = "event_time",
    sources: tuple[SourceVersion, ...] = (),
    progress: Progress | None = None,
) -> TrainingSet:
    """Write rows that hold a service's features as a training set, with a batch or a column in memory at a time.

    The folder appears whole or not at all.
    """
    report, folder = progress or _silent, Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        fresh = Path(scratch, "new")
        fresh.mkdir()
        with pq.ParquetWriter(fresh / DATA, rows.schema, compression="zstd") as writer:
            for batch in rows.to_batches() if isinstance(rows, pa.Table) else rows:
                writer.write_batch(batch)
        manifest = _manifest(fresh / DATA, plan, label=label, as_of=as_of, sources=sources, report=report)
        (fresh / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        report("write", 0, 1)
        if folder.exists():
            os.rename(folder, Path(scratch, "old"))
        os.rename(fresh, folder)
    report("write", 1, 1)
    return TrainingSet(folder, manifest)


def _manifest(
    path: Path,
    plan: ServicePlan,
    *,
    label: str | None,
    as_of: str,
    sources: tuple[SourceVersion, ...],
    report: Progress,
) -> Manifest:
    with ParquetColumns(path) as rows:
        bounds = pc.min_max(rows[TIME]).as_py()
        return Manifest(
            service=plan.name,
            fingerprint=plan.fingerprint,
            inputs=tuple(plan.inputs),
            as_of=as_of,
            label=label,
            rows=rows.num_rows,
            labelled=0 if label is None else rows.num_rows - rows[label].null_count,
            first_time=bounds["min"] and bounds["min"].isoformat(),
            last_time=bounds["max"] and bounds["max"].isoformat(),
            sources=sources,
            content_hash=content_hash(rows, progress=lambda done, total: report("hash", done, total)),
            libraries={name: version(name) for name in ("onefold", "duckdb", "pyarrow")},
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def _check(
    plan: ServicePlan, spine: pa.Schema, *, label: str | None, as_of: str, known: Known | None, folder: Path
) -> None:
    """InputError for what can be judged before the features are computed."""
    if as_of not in AS_OF:
        raise InputError(f"as_of={as_of!r} is not known; it is one of {', '.join(AS_OF)}")
    if (as_of == "served") != (known is not None):
        raise InputError(f"as_of={as_of!r} was given {'without' if known is None else 'with'} known=; served needs it")
    if folder.exists() and not (folder / MANIFEST).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{str(folder)!r} is there and is no training set; name another folder")
    doubled = sorted({i.name for i in plan.inputs} & set(spine.names))
    if doubled:
        raise InputError(f"the spine has columns with names of features: {doubled}; rename them in the spine")
    if TIME not in spine.names:
        raise InputError(f"the spine has no column {TIME!r}{nearest(TIME, spine.names)}")
    if label is None:
        return
    if label not in spine.names:
        raise InputError(f"label {label!r} is not in the spine{nearest(label, spine.names)}")
    kind = spine.field(label).type
    if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise InputError(f"label {label!r} is {kind}; a label is BOOLEAN or a number")


def _source_version(archive: VersionedArchive, source: str) -> SourceVersion:
    """What one version of the source's table holds, though a worker may be writing: read again if it moved."""
    for _ in range(20):
        at = archive.version(source)
        sequences = tuple(
            SequenceVersion(number, feed, archive.flushed(source, number))
            for feed, number in sorted(archive.sequences(source).items(), key=lambda item: item[1])
        )
        files = archive.files(source, version=at) if at >= 0 else []
        if archive.version(source) == at:
            return SourceVersion(source, at, sum(pq.read_metadata(f).num_rows for f in files), sequences)
    raise StoreError(f"archive of source {source!r} changes faster than it can be read; pause its workers")


def _by_group(plan: ServicePlan, report: Progress) -> Callable[[int], None]:
    """Progress of the features: groups done, of all groups."""
    total, done = len(plan.groups), count(1)
    report("features", 0, total)

    def advance(_: int) -> None:
        report("features", next(done), total)

    return advance


def _silent(stage: str, done: int, total: int) -> None:
    """No progress."""
