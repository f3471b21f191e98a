"""Where the parts meet: a project's settings become its definitions, archive, store, registry and served log.

The only place that knows which folder each part lives in. Each part is imported when it is opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from onefold.config import Settings
from onefold.features.errors import StoreError

if TYPE_CHECKING:
    from onefold.features.definitions import EventSource
    from onefold.features.project import Project
    from onefold.features.protocols import DeadLetterSink, Reader
    from onefold.offline.archive import DeltaArchive
    from onefold.offline.dead_letters import DeadLetters
    from onefold.offline.served import ServedLog
    from onefold.offline.spark_session import SparkSettings
    from onefold.online.opening import OpenStore
    from onefold.registry import Registry
    from onefold.streaming.kafka_client import KafkaSettings
    from onefold.streaming.kafka_dead_letters import SentLetter
    from onefold.streaming.kafka_group import KafkaGroup
    from onefold.streaming.schema_registry import SchemaRegistry


@dataclass(frozen=True)
class Workspace:
    """A project on disk, opened part by part."""

    settings: Settings

    @classmethod
    def find(cls, folder: Path | str | None = None) -> Workspace:
        """The project in `folder`, or the nearest at or above the working directory; ConfigError where none is."""
        return cls(Settings.load(folder))

    @cached_property
    def project(self) -> Project:
        """The definitions, loaded and checked; DefinitionError where one is wrong."""
        from onefold.features.loading import load_project

        return load_project(self.settings.features)

    @cached_property
    def archive(self) -> DeltaArchive:
        from onefold.offline.archive import DeltaArchive

        return DeltaArchive(self.settings.archive, dead_letters=self.dead_letters)

    @cached_property
    def dead_letters(self) -> DeadLetters:
        from onefold.offline.dead_letters import DeadLetters

        return DeadLetters(self.settings.dead_letters)

    @contextmanager
    def open_dead_letters(self) -> Iterator[DeadLetterSink]:
        """Where a worker's dead letters go, closed at the end: of topics to topics beside them, if [kafka] says so."""
        with ExitStack() as opened:
            opened.callback(self.dead_letters.close)
            if not self.has_topics or self.settings.kafka.dead_letters != "topic":
                yield self.dead_letters
                return
            from onefold.streaming.dead_letters import SharedDeadLetters
            from onefold.streaming.kafka_dead_letters import KafkaDeadLetters

            topics = KafkaDeadLetters(self.kafka)
            opened.callback(topics.close)
            yield SharedDeadLetters(self.dead_letters, topics, sources=list(self.project.sources))

    def letters_in_topics(self, source: EventSource) -> Iterator[SentLetter]:
        """The dead letters in the topics beside those of a source; none where [kafka] has them in files."""
        if not source.topics or self.settings.kafka.dead_letters != "topic":
            return
        from onefold.streaming.kafka_dead_letters import read_letters

        for topic in sorted(source.topics):
            yield from read_letters(self.kafka, topic)

    def refused(self, source: str) -> Iterator[tuple[int, int]]:
        """(sequence, offset) of the dead letters of a source, wherever they lie: what `verify` need not wait for."""
        for letter in self.dead_letters.read(source):
            yield letter.sequence, letter.offset
        if source in self.project.sources:
            for sent in self.letters_in_topics(self.project.sources[source]):
                yield int(sent.headers["sequence"]), int(sent.headers["offset"])

    @cached_property
    def kafka(self) -> KafkaSettings:
        """[kafka], as the clients take it."""
        from onefold.streaming.kafka_client import KafkaSettings

        given = self.settings.kafka
        return KafkaSettings(
            bootstrap=given.bootstrap, group=given.group or self.settings.project.name, options=given.options,
            patience=self.settings.kafka_patience,
        )  # fmt: skip

    @property
    def has_topics(self) -> bool:
        """Whether some source, or a branch of one, is fed by a topic."""
        return any(s.topics for s in self.project.sources.values())

    def topics(self) -> KafkaGroup:
        """The feeds that the consumer group gives this process; it must be closed."""
        from onefold.streaming.kafka_group import KafkaGroup

        return KafkaGroup(self.project, self.kafka, known=self.archive.sequences, readers=self.readers)

    @cached_property
    def readers(self) -> Mapping[str, Reader | None]:
        """What reads the messages of each topic, by its source; None for JSON."""
        from onefold.streaming.readers import readers_of

        registry = self._schema_registry() if self.settings.kafka.schema_registry else None
        return readers_of(self.project, root=self.settings.root, registry=registry)

    def _schema_registry(self) -> SchemaRegistry:
        from onefold.streaming.schema_registry import SchemaRegistry

        given = self.settings.kafka
        return SchemaRegistry(
            given.schema_registry, user=given.schema_registry_user, password=given.schema_registry_password,
            token=given.schema_registry_token, patience=self.settings.kafka_patience,
        )  # fmt: skip

    def topic_ends(self, *, patience: float) -> dict[tuple[str, str], int]:
        """Where each partition of the sources' topics ends, by source and feed; none where no source has a topic.

        StoreError where no broker answers for as many seconds as the patience, or as [kafka] has.
        """
        if not self.has_topics:
            return {}
        from onefold.streaming.kafka_offsets import topic_ends

        return topic_ends(self.project, replace(self.kafka, patience=min(patience, self.kafka.patience)))

    @cached_property
    def served_log(self) -> ServedLog:
        from onefold.offline.served import ServedLog

        return ServedLog(self.settings.served)

    @cached_property
    def registry(self) -> Registry:
        from onefold.feast_settings import feast_settings, shown_registry_url
        from onefold.registry import Registry

        given = self.settings
        return Registry(
            given.registry_place, project=given.project.name, archive=given.archive, kafka=given.kafka.bootstrap,
            state=given.state, feast=feast_settings(given), registry_url=shown_registry_url(given),
        )  # fmt: skip

    def engine(self, name: str) -> SparkSettings | None:
        """The settings of the batch engine of that name: None for "duckdb"; InputError for one that is not known."""
        from onefold.features.errors import InputError, nearest
        from onefold.offline.spark_session import SparkSettings

        if name == "duckdb":
            return None
        if name != "spark":
            raise InputError(f"engine {name!r} is not known{nearest(name, ('duckdb', 'spark'))}; say duckdb or spark")
        given = self.settings.spark
        return SparkSettings(given.master, given.packages, given.conf, given.scratch or None)

    @contextmanager
    def store(self, *, readonly: bool = False) -> Iterator[OpenStore]:
        """The online store, closed at the end. An embedded one is opened once a process, and written by one."""
        from onefold.online.opening import open_store

        place = self.settings.online_store
        if readonly and isinstance(place, Path) and not (place / "data.mdb").exists():
            raise StoreError(f"no online state in {place} yet; run `onefold materialize` first")
        store = open_store(place, readonly=readonly, map_size=self.settings.online.map_size)
        try:
            yield store
        finally:
            store.close()
