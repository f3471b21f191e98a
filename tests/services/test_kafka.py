"""The broker that tests start: topics come and go, it is killed and comes back, and takes secured connections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from tests.services.kafka import KafkaBroker
from tests.services.process import ServiceError


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    with KafkaBroker(tmp_path_factory.mktemp("kafka"), security="SASL_SSL") as broker:
        yield broker


def send(options: dict[str, Any], topic: str, *values: bytes) -> None:
    producer = KafkaProducer(**options)
    try:
        for value in values:
            producer.send(topic, value, partition=0).get(timeout=30)
    finally:
        producer.close()


def read(options: dict[str, Any], topic: str, count: int) -> list[bytes]:
    """The first `count` values of the topic's first partition."""
    consumer = KafkaConsumer(**options, consumer_timeout_ms=30_000)
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        return [next(consumer).value for _ in range(count)]
    finally:
        consumer.close()


def test_broker_of_the_session_answers(kafka: KafkaBroker) -> None:
    kafka.create_topic("answers")
    send(kafka.client_options, "answers", b"one", b"two")
    assert read(kafka.client_options, "answers", 2) == [b"one", b"two"]


def test_topic_has_its_partitions_and_settings_and_goes(kafka: KafkaBroker) -> None:
    kafka.create_topic("comes", 3, retention_ms=90_000)
    with kafka.admin() as admin:
        (found,) = admin.describe_topics(["comes"])
        assert len(found["partitions"]) == 3
        settings = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, "comes")])
        assert "90000" in str(settings)
        first = found["topic_id"]
    kafka.delete_topic("comes")
    kafka.create_topic("comes")
    with kafka.admin() as admin:
        (again,) = admin.describe_topics(["comes"])
    assert len(again["partitions"]) == 1 and again["topic_id"] != first


def test_killed_broker_comes_back_with_its_data_and_wiped_without(own: KafkaBroker) -> None:
    own.create_topic("kept")
    send({"bootstrap_servers": own.address}, "kept", b"one")
    address = own.address
    own.kill()
    own.start()
    assert own.address == address
    assert read({"bootstrap_servers": own.address}, "kept", 1) == [b"one"]
    own.stop()
    own.wipe()
    own.start()
    with own.admin() as admin:
        assert admin.list_topics() == []


def test_secured_listener_takes_who_has_password_and_trust(own: KafkaBroker) -> None:
    own.create_topic("secured")
    assert own.client_options["security_protocol"] == "SASL_SSL"
    send(own.client_options, "secured", b"one")
    assert read(own.client_options, "secured", 1) == [b"one"]


@pytest.mark.parametrize("lacks", ["sasl_plain_password", "ssl_cafile"])
def test_secured_listener_refuses_who_lacks_one(own: KafkaBroker, lacks: str) -> None:
    options = {key: value for key, value in own.client_options.items() if key != lacks}
    if lacks == "sasl_plain_password":
        options[lacks] = "wrong"
    with pytest.raises(Exception, match=r"(?i)auth|cert|bootstrap"):
        KafkaProducer(**options, bootstrap_timeout_ms=3_000).close()


def test_broker_that_does_not_start_says_why(tmp_path: Path) -> None:
    broker = KafkaBroker(tmp_path, properties={"log.cleaner.threads": "none"})
    with pytest.raises(ServiceError, match=r"log\.cleaner\.threads"):
        broker.start()
    assert broker.pid is None


def test_missing_jars_name_the_command_that_fetches_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ServiceError, match="try: scripts/services install"):
        KafkaBroker(tmp_path).start()
