"""However a Python process ends, the services that it started end with it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services.process import ROOT, wait_until

STARTER = """
import sys
from tests.services.redis import RedisServer
server = RedisServer().start()
print(server.pid, server.folder, flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL, None])
def test_server_and_folder_are_gone_with_who_started_it(sign: signal.Signals | None) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with starter:
        assert starter.stdout is not None
        pid, folder = starter.stdout.readline().split()
        assert _runs(pid) and Path(folder).is_dir()
        if sign is not None:
            starter.send_signal(sign)
    wait_until(lambda: not _runs(pid) and not Path(folder).exists(), "server and folder are gone", seconds=30)


def _runs(pid: str) -> bool:
    shown = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True, check=False).stdout
    return bool(shown.strip()) and not shown.startswith("Z")
