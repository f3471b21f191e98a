"""The demo through a real broker and a real Redis: workers are killed on the way, and nothing is lost or doubled."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services.kafka import KafkaBroker
from tests.services.redis import RedisServer

DEMO = [sys.executable, "-m", "onefold.cli", "demo"]


@pytest.fixture
def services() -> Iterator[tuple[KafkaBroker, RedisServer]]:
    with RedisServer() as redis, KafkaBroker() as broker:
        yield broker, redis


def lived_through(services: tuple[KafkaBroker, RedisServer], folder: Path, *said: str) -> dict[str, Any]:
    broker, redis = services
    places = ["--live", "--kafka", broker.address, "--redis", redis.url]
    done = subprocess.run(
        [*DEMO, *places, "--folder", str(folder), "--json", *said], capture_output=True, text=True, timeout=1800,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stderr}{done.stdout}"
    return dict(json.loads(done.stdout))


@pytest.mark.timeout(900)
def test_one_day_with_two_kills_is_proven_to_the_bit(services: tuple[KafkaBroker, RedisServer], tmp_path: Path) -> None:
    found = lived_through(services, tmp_path / "demo", "--days", "1", "--since", "8", "--seed", "7")
    assert found["kills"] == 2 and found["failures"] == [] and found["requests"] > 900
    assert found["verify"]["ok"] and found["verify"]["scores"] == found["requests"]
    assert found["verify"]["unprovable"] == 0
    again = subprocess.run(
        [*DEMO, "--live", "--kafka", services[0].address, "--redis", services[1].url, "--folder",
         str(tmp_path / "again")], capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert again.returncode == 2 and "holds states of the flights already" in again.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_of_december_with_two_kills_is_proven_to_the_bit(
    services: tuple[KafkaBroker, RedisServer], tmp_path: Path
) -> None:
    found = lived_through(services, tmp_path / "demo", "--seed", "11")
    assert found["kills"] == 2 and found["requests"] == found["verify"]["scores"] == 28_135
    assert found["verify"]["ok"] and not found["verify"]["mismatches"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (["--live"], "make demo-live starts its own"),
        (["--kafka", "localhost:9092"], "they go with --live"),
        (["--live", "--inject", "drop-event"], "faults are put in without --live"),
    ],
)
def test_wrong_combination_is_refused(tmp_path: Path, said: list[str], told: str) -> None:
    command = [*DEMO, "--folder", str(tmp_path / "demo"), *said]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and told in " ".join(done.stderr.split()), done.stderr
