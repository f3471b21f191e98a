"""Spark's stream in a process of its own, for the tests beside: it is killed in the middle of its first batch."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

from onefold.offline.archive import DeltaArchive
from onefold.offline.dead_letters import DeadLetters
from onefold.online.redis_store import RedisStore
from onefold.streaming.kafka_client import KafkaSettings
from onefold.streaming.spark_stream import SparkStream
from tests.spark import SPARK
from tests.streaming.conftest import NOW, make_project


class Killing(RedisStore):
    """A store on an executor that kills the driver when it has appended to two strings, and then goes on."""

    def __init__(self, url: str, driver: int) -> None:
        super().__init__(url)
        self._driver = driver

    def append(self, items: Any, **options: Any) -> list[int]:
        done = super().append(items[:2], **options)
        os.kill(self._driver, signal.SIGKILL)
        return done + super().append(items[2:], **options)


if __name__ == "__main__":
    folder, broker, topic, url = sys.argv[1:]
    with RedisStore(url) as store:
        SparkStream(
            make_project(topic=topic), store=store, open_store=partial(Killing, url, os.getpid()),
            archive=DeltaArchive(Path(folder) / "archive"), dead_letters=DeadLetters(Path(folder) / "letters"),
            kafka=KafkaSettings(bootstrap=broker, group=topic), spark=SPARK, limit=80, clock=lambda: NOW,
        ).run(once=True)  # fmt: skip
