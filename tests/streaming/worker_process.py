"""A worker in a process of its own, for the tests beside: it follows a file of orders until it is killed."""

from __future__ import annotations

import sys
from pathlib import Path

from onefold.features.definitions import Entity, EventSource, FeatureView
from onefold.features.project import Project
from onefold.features.protocols import OnlineStore
from onefold.offline.archive import DeltaArchive
from onefold.offline.dead_letters import DeadLetters
from onefold.online.lmdb_store import LmdbStore
from onefold.online.redis_store import RedisStore
from onefold.streaming.feeds import FileFeed, FixedGroup
from onefold.streaming.worker import Worker

SOURCE = EventSource(name="orders", schema={"user": "VARCHAR", "ts": "TIMESTAMP", "n": "BIGINT"}, event_time="ts")
VIEW = FeatureView(
    name="by_user",
    source=SOURCE,
    entity=Entity(name="user", keys={"user": "VARCHAR"}),
    sql="SELECT sum(n) OVER (RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW) AS total FROM orders",
)


def open_worker(folder: Path, store: OnlineStore) -> Worker:
    """Small batches and a slow archive, so that a kill finds state that is ahead of it."""
    feed = FileFeed(folder / "orders.jsonl", source="orders", name="orders.jsonl")
    archive, letters = DeltaArchive(folder / "archive"), DeadLetters(folder / "letters")
    project = Project.of(VIEW)
    return Worker(
        project, store=store, archive=archive, feeds=FixedGroup([feed]), dead_letters=letters, batch=3, archive_every=50
    )


if __name__ == "__main__":
    where = Path(sys.argv[1])
    with RedisStore(sys.argv[2]) if sys.argv[2:] else LmdbStore(where / "online") as opened:
        worker = open_worker(where, opened)
        while True:
            print(worker.step().records, flush=True)
