"""How Kafka is reached: settings, options for each of kafka-python's clients, and what topics there are."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import errors as kafka_errors
from kafka.errors import KafkaError

from onefold.features.errors import ConfigError, StoreError, nearest

log = logging.getLogger(__name__)

_OURS = frozenset(
    {
        "acks", "allow_auto_create_topics", "auto_offset_reset", "bootstrap_servers", "consumer_timeout_ms",
        "enable_auto_commit", "enable_idempotence", "group_id", "isolation_level", "key_deserializer",
        "key_serializer", "partition_assignment_strategy", "partitioner", "transactional_id", "value_deserializer",
        "value_serializer",
    }
)  # fmt: skip
_USUAL: Mapping[str, Any] = {"reconnect_backoff_max_ms": 1_000, "metadata_max_age_ms": 30_000}
_NO_ID = UUID(int=0)
DENIED = (
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.GroupAuthorizationFailedError,
    kafka_errors.ClusterAuthorizationFailedError,
    kafka_errors.SaslAuthenticationFailedError,
    kafka_errors.UnsupportedSaslMechanismError,
)
"""What waiting does not cure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """Where the brokers are (`host:port`, with commas between) and how to reach them.

    group: the consumer group. options: of kafka-python, for all of its clients that have them. patience: seconds for
    which no broker may answer before StoreError. Raises ConfigError for an option that kafka-python does not have.
    """

    bootstrap: str = "localhost:9092"
    group: str = "onefold"
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    patience: float = 60.0

    def __post_init__(self) -> None:
        known = {name for client in _CLIENTS for name, value in client.DEFAULT_CONFIG.items() if _is_plain(value)}
        for name in self.options:
            if name in _OURS:
                raise ConfigError(f"[kafka] options: {name!r} is Onefold's to say; take it out")
            if name not in known:
                raise ConfigError(f"[kafka] options: kafka-python has no option {name!r}{nearest(name, known - _OURS)}")

    def of(self, client: type[Any], **ours: Any) -> dict[str, Any]:
        """What a client is made with: those of the options that it has, and `ours`."""
        timeout = int(self.patience * 1000)
        usual = {**_USUAL, "bootstrap_timeout_ms": timeout, **self.options}
        known = {name: _plain(name, value) for name, value in usual.items() if name in client.DEFAULT_CONFIG}
        return {"bootstrap_servers": self.bootstrap.split(","), **known, **ours}


_CLIENTS = (KafkaConsumer, KafkaAdminClient, KafkaProducer)


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _plain(name: str, value: object) -> object:
    """A password of digits alone, which the environment gives as a number, is text."""
    return str(value) if name.endswith(("_password", "_username")) and isinstance(value, int | float) else value


def connected(settings: KafkaSettings, client: type[Any], **ours: Any) -> Any:
    """A client that has spoken to a broker; StoreError where none answers within the patience, or none lets us in."""
    try:
        return client(**settings.of(client, **ours))
    except (KafkaError, OSError) as error:
        raise unreachable(settings, settings.patience, error) from error
    except (ValueError, AssertionError, TypeError) as error:
        raise ConfigError(f"[kafka] options: kafka-python refuses them: {error}") from error


def unreachable(settings: KafkaSettings, seconds: float, error: BaseException | None) -> StoreError:
    if isinstance(error, DENIED):
        return StoreError(f"Kafka at {settings.bootstrap} refuses us: {error}; look at [kafka] options and its ACLs")
    return StoreError(
        f"Kafka at {settings.bootstrap}: no broker has answered for {seconds:.0f} s ({error or 'no answer'}); "
        "see that they run, and look at [kafka] bootstrap and options"
    )


@contextmanager
def answered(settings: KafkaSettings) -> Iterator[None]:
    """StoreError where brokers do not answer what is asked of them here."""
    try:
        yield
    except KafkaError as error:
        raise unreachable(settings, settings.patience, error) from error


class Patience:
    """For how long no broker has answered one who asks again and again."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._since: float | None = None

    def heard(self) -> None:
        self._since = None

    def silent(self, error: KafkaError) -> None:
        """No broker has answered: StoreError once the patience is at an end, or where waiting does not cure it."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
            log.warning("Kafka at %s: %s; trying again", self._settings.bootstrap, error)
        if now - self._since > self._settings.patience or isinstance(error, DENIED):
            raise unreachable(self._settings, now - self._since, error) from error


@dataclass(frozen=True, slots=True)
class Topic:
    """One incarnation of a topic. `id` is Kafka's own, as its tools show it: a topic made anew has another."""

    name: str
    id: str
    partitions: int


class Topics:
    """Looks topics up, and makes them. It has a connection of its own, made when first needed."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._admin: Any = None

    def find(self, names: Iterable[str]) -> dict[str, Topic]:
        """Those of the topics that are there now, by name. Raises KafkaError where no broker answers."""
        wanted = sorted(set(names))
        found = self._client().describe_topics(wanted) if wanted else []
        return {t["name"]: self._topic(t) for t in found if t["error_code"] == 0}

    def make(self, name: str, *, partitions: int, **configs: object) -> None:
        """Make a topic, with the brokers' own replication; it is no error where it is there by now."""
        try:
            wanted = {"num_partitions": partitions, "configs": {key: str(value) for key, value in configs.items()}}
            self._client().create_topics({name: wanted}, wait_for_metadata=True)
        except kafka_errors.TopicAlreadyExistsError:
            return

    def close(self) -> None:
        if self._admin is not None:
            self._admin.close()
            self._admin = None

    def _client(self) -> Any:
        if self._admin is None:
            timeout = int(min(self._settings.patience, 5.0) * 1000)
            self._admin = connected(self._settings, KafkaAdminClient, request_timeout_ms=timeout)
        return self._admin

    def _topic(self, found: Mapping[str, Any]) -> Topic:
        ident = found.get("topic_id")
        ident = UUID(ident) if isinstance(ident, str) else ident
        if ident is None or ident == _NO_ID:
            raise StoreError(
                f"Kafka at {self._settings.bootstrap} gives topic {found['name']!r} no id, by which one that is made "
                "anew is told from the old one; Onefold needs brokers of Kafka 2.8 or later"
            )
        shown = base64.urlsafe_b64encode(ident.bytes).rstrip(b"=").decode()
        return Topic(found["name"], shown, len(found["partitions"]))
