"""`make services` and `make services-stop`: a Redis and a Kafka broker that stay, in folders below one.

`run -- COMMAND` starts two of its own on free ports, for as long as the command runs; `{kafka}` and `{redis}` in it
are where they are.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.kafka import LASTING, KafkaBroker, keep_classes
from tests.services.process import Service, ServiceError
from tests.services.redis import RedisServer

# What was written is kept, and nothing is ever evicted.
_REDIS = {"appendonly": "yes", "maxmemory-policy": "noeviction"}


def main(arguments: list[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    if asked.what == "run":
        return _run(asked.command)
    try:
        keep_classes() if asked.what == "warm" else _carry_out(asked)
    except ServiceError as error:
        print(f"services: {error}", file=sys.stderr)
        return 1
    return 0


def _carry_out(asked: argparse.Namespace) -> None:
    folder: Path = asked.folder.absolute()
    services = [
        RedisServer(folder / "redis", asked.redis_port, options=_REDIS, detached=True),
        KafkaBroker(folder / "kafka", asked.kafka_port, java=LASTING, detached=True),
    ]
    with _alone(folder):
        for service in services:
            _start(service) if asked.what == "start" else _stop(service)
    if asked.what == "start":
        print(f"services: data and logs are below {folder}; make services-stop ends both")
        redis, kafka = (service.url for service in services)
        print(f"export ONEFOLD_ONLINE__URL={redis} ONEFOLD_KAFKA__BOOTSTRAP={kafka}")
        print(f'or in onefold.toml: [online] url = "{redis}", [kafka] bootstrap = "{kafka}"')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.services", description=__doc__)
    parser.add_argument("what", choices=["start", "stop", "run", "warm"])
    parser.add_argument("--folder", type=Path, default=Path(".services"))
    parser.add_argument("--redis-port", type=int, default=6390)
    parser.add_argument("--kafka-port", type=int, default=9390)
    parser.add_argument("command", nargs="*", help="of run")
    return parser


def _run(command: list[str]) -> int:
    """The exit status of the command. Both services end with it, whatever happens, and leave nothing."""
    try:
        with RedisServer(options=_REDIS) as redis, KafkaBroker(java=LASTING) as kafka:
            places = {"{kafka}": kafka.address, "{redis}": redis.url}
            child = subprocess.Popen([places.get(word, word) for word in command])
            with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C reaches the command too, which tidies up
                child.wait()
            return child.wait()
    except ServiceError as error:
        print(f"services: {error}", file=sys.stderr)
        return 1


def _start(service: Service) -> None:
    place, pid = f"{service.name}: {service.url}", service.pid
    if pid is None:
        print(f"{place} runs (process {service.start().pid})")
    elif service.port_in_use == service.port:
        print(f"{place} runs already (process {pid})")
    else:
        raise ServiceError(
            f"{service.name} of {service.folder} runs on port {service.port_in_use}, not on {service.port}; "
            "try make services-stop first"
        )


def _stop(service: Service) -> None:
    pid = service.pid
    service.stop()
    print(f"{service.name}: {'did not run' if pid is None else f'process {pid} has ended'}")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One command at a time works on the folder; another one waits."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
