"""The services in containers are those of `make services`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="module")
def compose(root: Path) -> dict[str, Any]:
    found = yaml.safe_load((root / "deploy" / "compose.yaml").read_text())
    assert isinstance(found, dict)
    return found


def test_images_are_the_services_with_pinned_versions(compose: dict[str, Any], root: Path) -> None:
    version = re.search(r"<jars\.version>(.+)</jars\.version>", (root / "deploy" / "kafka" / "pom.xml").read_text())
    assert version is not None
    images = {name: service["image"] for name, service in compose["services"].items()}
    assert images == {"redis": "redis:8", "kafka": f"apache/kafka:{version[1]}"}


def test_ports_are_those_of_make_services_and_open_to_this_machine_alone(compose: dict[str, Any], root: Path) -> None:
    makefile = (root / "Makefile").read_text()
    for name, service in compose["services"].items():
        default = re.search(rf"^{name.upper()}_PORT \?= (\d+)$", makefile, re.MULTILINE)
        assert default is not None
        (port,) = service["ports"]
        assert port.startswith(f"127.0.0.1:{default[1]}:")


def test_each_service_has_a_health_check_and_a_volume_of_its_own(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["healthcheck"]["test"][0] == "CMD"
        (volume,) = service["volumes"]
        assert volume.partition(":")[0] == name and name in compose["volumes"]


def test_kafka_names_each_of_its_listeners_alike(compose: dict[str, Any]) -> None:
    given = compose["services"]["kafka"]["environment"]
    listeners = dict(part.split("://", 1) for part in given["KAFKA_LISTENERS"].split(","))
    advertised = dict(part.split("://", 1) for part in given["KAFKA_ADVERTISED_LISTENERS"].split(","))
    protocols = dict(part.split(":", 1) for part in given["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert listeners.keys() == protocols.keys() == advertised.keys() | {given["KAFKA_CONTROLLER_LISTENER_NAMES"]}
    assert given["KAFKA_INTER_BROKER_LISTENER_NAME"] in advertised
    assert compose["services"]["kafka"]["ports"] == [f"{advertised['OUTSIDE']}{listeners['OUTSIDE']}"]
