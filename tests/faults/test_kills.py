"""Workers die at any moment, most often in the middle of a flush: each event is in both sinks once.

A failure names its seed: make faults KILLS=50 SEED=.. repeats it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.kills import killed
from tests.services.kafka import KafkaBroker
from tests.services.redis import RedisServer

KILLS = int(os.environ.get("K", "50"))


@pytest.mark.timeout(600)
def test_fifty_kills_leave_each_event_once(broker: KafkaBroker, redis: RedisServer, tmp_path: Path, seed: int) -> None:
    aimed = killed(tmp_path / "kills", broker, redis, kills=KILLS, seed=seed)
    assert aimed > KILLS // 2
