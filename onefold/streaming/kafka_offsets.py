"""Where the logs of partitions begin and end."""

from __future__ import annotations

from typing import Any

from kafka import KafkaConsumer, TopicPartition

from onefold.features.project import Project
from onefold.streaming.feeds import registered_name
from onefold.streaming.kafka_client import KafkaSettings, Topics, answered, connected
from onefold.streaming.kafka_names import feed_name, sources_of


def bounds(consumer: Any, settings: KafkaSettings, partition: TopicPartition) -> tuple[int, int]:
    """The first offset of a partition, and the one behind its last. Raises StoreError where no broker answers."""
    timeout = int(settings.patience * 1000)
    with answered(settings):
        first = consumer.beginning_offsets([partition], timeout_ms=timeout)[partition]
        return first, consumer.end_offsets([partition], timeout_ms=timeout)[partition]


def topic_ends(project: Project, settings: KafkaSettings) -> dict[tuple[str, str], int]:
    """The offset behind the last record of every partition, by the name of its source and of its sequence."""
    sources, topics = sources_of(project), Topics(settings)
    consumer = connected(settings, KafkaConsumer, group_id=None, enable_auto_commit=False)
    try:
        with answered(settings):
            found = topics.find(sources)
            places = {TopicPartition(t.name, n): t for t in found.values() for n in range(t.partitions)}
            ends = consumer.end_offsets(list(places))
    finally:
        topics.close()
        consumer.close(autocommit=False)
    named = {}
    for place, end in ends.items():
        source, base = sources[place.topic], feed_name(places[place], place.partition)
        named[source.partition(".")[0], registered_name(source, base)] = end
    return named
