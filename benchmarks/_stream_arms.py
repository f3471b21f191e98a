"""The arms of the stream's benchmark, each in a process of its own: `python _stream_arms.py ARM JSON`.

bare: kafka-python's poll and orjson, nothing kept. worker: `onefold`'s worker into Redis and an archive. fresh: the
worker again, and how long each event waited from its being produced to its being readable. unarchived: that, with an
archive which commits nothing. produce: events at a rate.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from _sender import Sender
from _stream_project import events, project
from kafka import KafkaConsumer, TopicPartition

from onefold.config import StreamSettings
from onefold.features.protocols import Records
from onefold.features.windows import duration
from onefold.offline.archive import DeltaArchive
from onefold.offline.dead_letters import DeadLetters
from onefold.online.redis_store import RedisStore
from onefold.streaming.joined import JoinedFeed
from onefold.streaming.kafka_client import KafkaSettings
from onefold.streaming.kafka_group import KafkaGroup
from onefold.streaming.running import tuned
from onefold.streaming.worker import Worker

STREAM = StreamSettings()
"""The worker runs as `onefold stream` does by default."""
FILLED, SLICE = 600, 0.005
"""Events of a batch that fills a topic, and seconds of events that are a batch at a rate."""


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where an arm finds its parts. `count`: events to take; `folder`: of the archive."""

    kafka: str
    redis: str
    topic: str
    count: int
    folder: str = ""
    rate: float = 0.0


def bare(place: Place) -> dict[str, float]:
    consumer = KafkaConsumer(
        bootstrap_servers=place.kafka, group_id=None, enable_auto_commit=False, isolation_level="read_committed",
        max_poll_records=STREAM.batch, max_partition_fetch_bytes=8 << 20, fetch_max_bytes=32 << 20,
    )  # fmt: skip
    at = TopicPartition(place.topic, 0)
    consumer.assign([at])
    consumer.seek(at, 0)
    loads, taken = orjson.loads, 0

    def step() -> int:
        nonlocal taken
        for records in consumer.poll(timeout_ms=1000).values():
            for record in records:
                loads(record.value)
            taken += len(records)
        return taken

    return _timed(step, place.count)


def worker(place: Place) -> dict[str, float]:
    made, store = _worker(place), RedisStore(place.redis)
    while not made.feeds:
        made.step(0.2)
    taken = 0

    def step() -> int:
        nonlocal taken
        taken += made.step(0.2).records
        return taken

    found = _timed(step, place.count, then=made.flush)
    made.close()
    store.close()
    return found


def fresh(place: Place, *, kind: type[DeltaArchive] = DeltaArchive) -> dict[str, float]:
    """Says `ready` on stdout once it has its feed; then percentiles of the seconds that events waited, but for the
    first tenth of them; and processor time an event."""
    seen: list[tuple[float, list[int]]] = []

    def acknowledged(_: JoinedFeed, records: Records) -> None:
        seen.append((time.time(), records.times))

    made = _worker(place, on_acknowledged=acknowledged, kind=kind)
    while not made.feeds:
        made.step(0.2)
    print("ready", flush=True)
    gc.collect()
    taken, cpu = 0, time.process_time()
    with tuned():
        while taken < place.count:
            taken += made.step(0.2).records
    cpu = time.process_time() - cpu
    made.close()
    waited = [now - at / 1e6 for now, times in seen for at in times]
    waited = sorted(waited[len(waited) // 10 :])
    return {f"p{share}": waited[int(len(waited) * share / 100)] for share in (50, 90, 99)} | {"cpu": cpu / taken}


def unarchived(place: Place) -> dict[str, float]:
    return fresh(place, kind=Unarchived)


def produce(place: Place) -> dict[str, float]:
    """Events at `rate` a second, in batches of so many as there are in a slice of time; 0: as fast as they go."""
    lines, sender = events(min(place.count, 200_000)), Sender(place.kafka, place.topic)
    size = max(1, int(place.rate * SLICE)) if place.rate else FILLED
    start = time.perf_counter()
    for sent in range(0, place.count, size):
        if place.rate:
            ahead = sent / place.rate - (time.perf_counter() - start)
            if ahead > 0:
                time.sleep(ahead)
        sender.send([lines[n % len(lines)] for n in range(sent, min(sent + size, place.count))])
    seconds = time.perf_counter() - start
    sender.close()
    return {"seconds": seconds}


class Unarchived(DeltaArchive):
    """An archive that commits nothing."""

    def append(self, source: str, sequence: int, events: pa.Table) -> int:
        return int(events.num_rows)


def _worker(place: Place, *, kind: type[DeltaArchive] = DeltaArchive, **options: Any) -> Worker:
    made = project(topic=place.topic)
    folder = Path(place.folder)
    return Worker(
        made, store=RedisStore(place.redis), archive=kind(folder / "archive"),
        feeds=KafkaGroup(made, KafkaSettings(bootstrap=place.kafka, group=folder.name)),
        dead_letters=DeadLetters(folder / "letters"), batch=STREAM.batch, archive_every=STREAM.archive_every,
        archive_seconds=duration(STREAM.archive_within) / 1e6, background=True, **options,
    )  # fmt: skip


def _timed(step: Callable[[], int], count: int, *, then: Callable[[], object] = lambda: None) -> dict[str, float]:
    """Seconds, and seconds of processor time, from the first step that had events; both arms in a tuned process."""
    gc.collect()
    taken = 0
    with tuned():
        while not taken:
            start, cpu = time.perf_counter(), time.process_time()
            taken = step()
        while taken < count:
            taken = step()
        then()
        return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "events": taken}


if __name__ == "__main__":
    arms = {"bare": bare, "worker": worker, "fresh": fresh, "unarchived": unarchived, "produce": produce}
    print(json.dumps(arms[sys.argv[1]](Place(**json.loads(sys.argv[2])))))
