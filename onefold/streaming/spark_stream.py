"""Spark Structured Streaming in the worker's place: for streams that outgrow workers.

One query reads all topics of the project. Each of its batches is decoded, prepared and appended on the executors by
the worker's own code, one batch in flight, so archive and state are what workers make of the same topics, byte for
byte. Workers and Spark can take over from each other, as both know a partition by one name and begin where archive
and marks say.

Spark's checkpoint decides nothing: every query begins with a new one, at the lowest of what the archive has flushed
and what the marks say. So one that was lost, or is older or newer than the state, can do no harm (docs/adr/0020).
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onefold.features.clock import now_micros
from onefold.features.errors import ConfigError, SessionError, StoreError, UnbuiltError
from onefold.features.project import Project
from onefold.features.protocols import DeadLetterSink, OnlineStore
from onefold.offline.archive import DeltaArchive
from onefold.offline.spark_session import SparkSettings, session
from onefold.online.opening import open_store
from onefold.streaming.joining import Joiner
from onefold.streaming.kafka_client import KafkaSettings
from onefold.streaming.materialize import materialize
from onefold.streaming.report import StepReport
from onefold.streaming.spark_append import Opener
from onefold.streaming.spark_batch import BatchTaker
from onefold.streaming.spark_decode import ReaderOf, decoder
from onefold.streaming.spark_errors import start_error, told
from onefold.streaming.spark_feeds import TopicGroup

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.streaming.query import StreamingQuery

    from onefold.wiring import Workspace

LIMIT = 500_000
"""Records of a batch, at most."""
PATIENCE = 120.0
"""Seconds for which a store, the archive, the brokers or Spark's tasks may fail, without a batch between them."""
_ATTEMPTS = 3
"""Tries that there are however long each takes."""
_LOOK = 0.2
"""Seconds between two looks at a query that runs."""
_TOPICS = 10
"""Looks at the query between two at the topics."""
_log = logging.getLogger(__name__)

Progress = Callable[[int], object]


class SparkStream:
    """Takes the topics of a project's sources into the archive and the state, by Spark.

    store: this process's. open_store: opens it on an executor, and is sent there by value; None for a store that one
    process alone writes, which does then for a Spark on this machine only (ConfigError). archive: its folder is one
    that every executor writes under the same path. reader: of formats that need a file or a registry. limit: records of
    a batch, at most. clock, reach, accept_loss: as the worker's. build: builds states that must be built from the
    archive; where it is None they are an UnbuiltError. patience: seconds for which errors may follow each other without
    a batch between them.
    """

    def __init__(
        self,
        project: Project,
        *,
        store: OnlineStore,
        open_store: Opener | None,
        archive: DeltaArchive,
        dead_letters: DeadLetterSink,
        kafka: KafkaSettings,
        spark: SparkSettings | None = None,
        reader: ReaderOf | None = None,
        limit: int = LIMIT,
        clock: Callable[[], int] = now_micros,
        reach: int = 0,
        accept_loss: bool = False,
        build: Callable[[], object] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        master = (spark or SparkSettings()).master
        if open_store is None and not master.startswith("local"):
            raise ConfigError(
                f"the embedded online store is written by one process on its machine, and Spark runs at {master!r}: "
                'its executors need a Redis; set [online] url = "redis://...", or [spark] master = "local[*]"'
            )
        reader = reader or ReaderOf()
        for source in project.sources.values():
            for branch in source.branches or (None,):
                decoder(source, branch.name if branch else None, reader)
        self._project, self._kafka, self._limit, self._build, self._patience = project, kafka, limit, build, patience
        self._group = TopicGroup(project, kafka, known=archive.sequences)
        self._joiner = Joiner(
            project, store=store, archive=archive, feeds=self._group, reach=reach, accept_loss=accept_loss
        )
        self._spark = session(spark)
        self._taker = BatchTaker(
            project, self._spark, self._joiner, store=store, open_store=open_store, archive=archive,
            dead_letters=dead_letters, unchanged=lambda: not self._group.changed(), reader=reader, clock=clock,
            reach=reach,
        )  # fmt: skip
        self._total, self._in_batch = StepReport(), threading.Lock()
        self._failed: BaseException | None = None
        self._progress: Progress | None = None
        self._tried, self._failing_since, self._stopping = 0, 0.0, False

    def run(
        self, *, once: bool = False, stopped: threading.Event | None = None, progress: Progress | None = None
    ) -> StepReport:
        """Take batches until `stopped` or, with `once`, until all is taken that was there at the start.

        progress: called with the records of each batch. After an error the feeds are joined again, and a new query
        goes on from what is surely in; the error itself when patience is at an end.
        """
        self._progress, self._tried, self._total = progress, 0, StepReport()
        stopped = stopped or threading.Event()
        while not stopped.is_set():
            try:
                if self._query(stopped, once=once):
                    break
            except UnbuiltError as error:
                self._build_states(error, stopped)
            except (StoreError, OSError) as error:
                self._wait(error, stopped)
        return self._total

    def _build_states(self, error: UnbuiltError, stopped: threading.Event) -> None:
        if self._build is None:
            raise error
        _log.warning("%s; building it now", error)
        try:
            self._build()
        except StoreError as failed:
            self._wait(failed, stopped)

    def _wait(self, error: Exception, stopped: threading.Event) -> None:
        """Wait before the next try, longer each time; at once where only something has moved."""
        now = time.monotonic()
        if not self._tried:
            self._failing_since = now
        failing, self._tried = now - self._failing_since, self._tried + 1
        if failing > self._patience and self._tried >= _ATTEMPTS:
            raise error
        _log.warning("%s; the stream is joined again", error)
        if not isinstance(error, SessionError):
            stopped.wait(min(0.5 * 2**self._tried, 10.0))

    def close(self) -> None:
        """Leave Kafka. Spark's session, store, archive and dead letters stay: they are the caller's."""
        self._group.close()

    def _query(self, stopped: threading.Event, *, once: bool) -> bool:
        """Join, and run one query; whether it came to its end, and not to a point where feeds must be joined again."""
        self._join()
        checkpoint = tempfile.mkdtemp(prefix="onefold-checkpoint-")
        query = self._start(checkpoint, once=once)
        try:
            return self._watch(query, stopped)
        finally:
            with self._in_batch:  # the batch in flight is finished; what Spark begins now ends at once
                self._stopping = True
            with suppress(Exception):
                query.stop()
            shutil.rmtree(checkpoint, ignore_errors=True)

    def _join(self) -> None:
        self._joiner.follow(self._group.feeds(0))
        if not self._joiner.by_feed:
            topics = ", ".join(sorted(t for s in self._project.sources.values() for t in s.topics))
            raise StoreError(f"Kafka at {self._kafka.bootstrap} has none of the topics {topics}; make them first")
        for joined in list(self._joiner.by_feed.values()):
            self._joiner.join(joined).lost = False

    def _start(self, checkpoint: str, *, once: bool) -> StreamingQuery:
        self._failed, self._stopping = None, False
        reader = self._spark.readStream.format("kafka").options(**self._group.options(limit=self._limit))
        try:
            writer = reader.load().writeStream.foreachBatch(self._take).option("checkpointLocation", checkpoint)
            return (writer.trigger(availableNow=True) if once else writer).start()
        except Exception as error:
            raise start_error(error) from error

    def _take(self, frame: DataFrame, number: int) -> None:
        """One batch, as Spark calls it. What it raises ends the query."""
        with self._in_batch:
            if self._stopping:
                raise InterruptedError("the query is being stopped")
            try:
                self._took(self._taker.take(frame))
            except BaseException as error:
                self._failed = error
                for joined in self._joiner.by_feed.values():
                    joined.lost = True
                raise

    def _took(self, report: StepReport) -> None:
        self._tried = 0
        self._total.add(report)
        if self._progress is not None:
            self._progress(report.records)

    def _watch(self, query: StreamingQuery, stopped: threading.Event) -> bool:
        looks = 0
        while query.isActive:
            if stopped.wait(_LOOK):
                return True
            looks += 1
            if looks % _TOPICS == 0 and self._in_batch.acquire(blocking=False):
                try:
                    if self._group.changed():
                        return False
                finally:
                    self._in_batch.release()
        failed = self._failed or query.exception()
        if failed is not None:
            raise told(failed) from failed
        return True


def stream_with_spark(
    workspace: Workspace,
    *,
    once: bool = False,
    stopped: threading.Event | None = None,
    progress: Progress | None = None,
    accept_loss: bool = False,
    build: bool = True,
) -> StepReport:
    """`onefold stream --engine spark`: the topics of a project, by its settings; what was done in all.

    build: build states from the archive, with Spark, where that is needed.
    """
    settings, spark = workspace.settings, workspace.engine("spark")
    place = settings.online_store
    with workspace.store() as store, workspace.open_dead_letters() as letters:
        parts: Any = {"store": store, "archive": workspace.archive, "reach": settings.reach}
        stream = SparkStream(
            workspace.project, kafka=workspace.kafka, spark=spark, reader=_reader(workspace), dead_letters=letters,
            accept_loss=accept_loss,
            open_store=None if isinstance(place, Path) else partial(open_store, place), patience=settings.patience,
            build=partial(materialize, workspace.project, spark=spark, **parts) if build else None, **parts,
        )  # fmt: skip
        with closing(stream):
            try:
                return stream.run(once=once, stopped=stopped, progress=progress)
            finally:
                store.flush()


def _reader(workspace: Workspace) -> ReaderOf:
    said = workspace.settings.kafka
    if not said.schema_registry:
        return ReaderOf(workspace.settings.root)
    named: dict[str, Any] = {"user": said.schema_registry_user, "password": said.schema_registry_password}
    registry = {"url": said.schema_registry, "token": said.schema_registry_token, **named}
    registry["patience"] = workspace.settings.kafka_patience
    return ReaderOf(workspace.settings.root, tuple(registry.items()))
