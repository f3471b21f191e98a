"""A real Kafka broker of our own: one node, its own controller (KRaft)."""

from __future__ import annotations

import os
import socket
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal
from zlib import crc32

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from tests.services.certificates import make_certificates
from tests.services.process import INSTALL, ROOT, Service, ServiceError, free_port, program, wait_until

Security = Literal["SSL", "SASL_PLAINTEXT", "SASL_SSL"]
# Compiled once and lightly: it is up in half the time, and slower under long load.
QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xms64m", "-Xmx256m")
LASTING = ("-XX:+UseSerialGC", "-Xms128m", "-Xmx512m")

_PROPERTIES: Mapping[str, object] = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    # A killed broker is taken back once its session is over.
    "broker.heartbeat.interval.ms": 500,
    "broker.session.timeout.ms": 3_000,
    "group.initial.rebalance.delay.ms": 0,
    # A worker that is killed is soon missed.
    "group.min.session.timeout.ms": 500,
    "log.cleaner.dedupe.buffer.size": 4 * 1024**2,
    "offsets.topic.num.partitions": 4,
    "offsets.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
}


class KafkaBroker(Service):
    """A broker that takes plain connections at `address`.

    With `security` it takes secured ones besides: `client_options` then lead kafka-python there, as user `user` with
    `password` where the protocol has SASL. `properties` are lines of server.properties.
    """

    name: ClassVar[str] = "kafka"
    user, password = "onefold", "fold-one"

    def __init__(
        self,
        folder: Path | None = None,
        port: int | None = None,
        *,
        security: Security | None = None,
        properties: Mapping[str, object] | None = None,
        java: tuple[str, ...] = QUICK,
        detached: bool = False,
    ) -> None:
        super().__init__(folder, port, detached=detached)
        self.security = security
        self.properties = dict(properties or {})
        self._java = java
        self._controller = free_port()
        self._secured_port = free_port() if security else None
        self._certificates = make_certificates(self.folder / "tls") if security and "SSL" in security[-3:] else None

    @property
    def config(self) -> Path:
        return self.folder / "server.properties"

    @property
    def client_options(self) -> dict[str, Any]:
        """What a client of kafka-python is to be given."""
        if self._secured_port is None:
            return {"bootstrap_servers": self.address}
        options = {"bootstrap_servers": f"127.0.0.1:{self._secured_port}", "security_protocol": self.security}
        if self._certificates is not None:
            options["ssl_cafile"] = str(self._certificates.authority)
        if "SASL" in str(self.security):
            options |= {"sasl_mechanism": "PLAIN", "sasl_plain_username": self.user}
            options["sasl_plain_password"] = self.password
        return options

    @contextmanager
    def admin(self) -> Iterator[Any]:
        """An admin client of kafka-python, over the plain port."""
        client = KafkaAdminClient(bootstrap_servers=self.address, bootstrap_timeout_ms=2_000)
        try:
            yield client
        finally:
            client.close()

    def create_topic(self, name: str, partitions: int = 1, **configs: object) -> None:
        """Return once each partition has a leader; `retention_ms=1000` is the topic's `retention.ms`."""
        settings = {key.replace("_", "."): str(value) for key, value in configs.items()}
        topic = {"num_partitions": partitions, "replication_factor": 1, "configs": settings}
        with self.admin() as admin:
            admin.create_topics({name: topic}, wait_for_metadata=True)

    def delete_topic(self, name: str) -> None:
        """Return once it is gone."""
        with self.admin() as admin:
            admin.delete_topics([name])
            wait_until(lambda: name not in admin.list_topics(), f"topic {name} is gone")

    def _prepare(self) -> list[str]:
        lines = [f"{key}={value}" for key, value in self._all_properties().items()]
        self.config.write_text("\n".join([*lines, ""]))
        self.config.chmod(0o600)
        if not (self.data / "meta.properties").exists():
            name = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            command = self._jvm("kafka.tools.StorageTool", "format", "-t", f"A{name[1:]}", "-c", str(self.config))
            done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, check=False)
            if done.returncode:
                raise ServiceError(f"Kafka's storage could not be formatted: {done.stdout}{done.stderr}")
        return self._jvm("kafka.Kafka", str(self.config))

    def _jvm(self, main: str, *arguments: str) -> list[str]:
        java, jars = _java(), _jars()
        classes = _classes(java, jars)
        shared = [f"-XX:SharedArchiveFile={classes}", "-Xlog:disable"] if classes.exists() else []
        log = f"-Dlog4j2.configurationFile={ROOT / 'deploy' / 'kafka' / 'log4j2.properties'}"
        return [java, *shared, *self._java, log, "-cp", f"{jars}/*", main, *arguments]

    def _all_properties(self) -> dict[str, object]:
        listeners = {"PLAINTEXT": self.port, "CONTROLLER": self._controller}
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT"}
        if self._secured_port is not None:
            listeners["SECURED"], protocols["SECURED"] = self._secured_port, str(self.security)
        at = {name: f"{name}://127.0.0.1:{port}" for name, port in listeners.items()}
        return {
            **_PROPERTIES,
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller}",
            "listeners": ",".join(at.values()),
            "advertised.listeners": ",".join(text for name, text in at.items() if name != "CONTROLLER"),
            "listener.security.protocol.map": ",".join(f"{name}:{of}" for name, of in protocols.items()),
            "log.dirs": self.data,
            **self._secured_properties(),
            **self.properties,
        }

    def _secured_properties(self) -> dict[str, object]:
        found: dict[str, object] = {}
        if self._certificates is not None:
            found["listener.name.secured.ssl.keystore.type"] = "PEM"
            found["listener.name.secured.ssl.keystore.location"] = self._certificates.both
        if "SASL" in str(self.security):
            found["listener.name.secured.sasl.enabled.mechanisms"] = "PLAIN"
            module = "org.apache.kafka.common.security.plain.PlainLoginModule"
            found["listener.name.secured.plain.sasl.jaas.config"] = (
                f'{module} required user_{self.user}="{self.password}";'
            )
        return found

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            with self.admin() as admin:
                admin.list_topics()
        except (OSError, KafkaError):
            return False
        return True


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else program("java")


def _jars() -> str:
    asked = subprocess.run([ROOT / "scripts" / "services", "jars"], capture_output=True, text=True, check=False)
    if asked.returncode:
        raise ServiceError(asked.stderr.strip() or f"Kafka's jars are missing; {INSTALL}")
    return asked.stdout.strip()


def _classes(java: str, jars: str) -> Path:
    """Kafka's classes as this Java has loaded them once: with the file a broker starts in half the time."""
    real = Path(java).resolve()
    return Path(f"{jars}-{crc32(f'{real} {real.stat().st_mtime_ns}'.encode()):08x}.jsa")


def keep_classes() -> None:
    """Write that file, unless it is there; a broker runs for it once, some ten seconds."""
    kept = _classes(_java(), _jars())
    if kept.exists():
        return
    fresh = kept.with_suffix(f".{os.getpid()}")
    broker = KafkaBroker(java=(*QUICK, f"-XX:ArchiveClassesAtExit={fresh}", "-Xlog:disable"))
    try:
        with broker:
            broker.stop()
        if fresh.exists():  # a Java that cannot write it only starts more slowly
            fresh.replace(kept)
    finally:
        fresh.unlink(missing_ok=True)
