"""`make services`, `make services-stop` and `scripts/services`, as a person runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from kafka.admin import KafkaAdminClient

from tests.services.process import ROOT, free_port, is_free

SCRIPT = ROOT / "scripts" / "services"


class Made:
    """`make` over a folder and ports of our own; what is installed is taken as it is."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.redis, self.kafka = folder, free_port(), free_port()

    def __call__(self, target: str, **changed: int) -> subprocess.CompletedProcess[str]:
        stamps = [f"--old-file={sys.prefix}/.onefold-{name}" for name in ("ready", "services")]
        ports = {"REDIS_PORT": self.redis, "KAFKA_PORT": self.kafka} | changed
        given = {"VENV": sys.prefix, "SERVICES_DIR": self.folder, **ports}
        command = ["make", *stamps, target, *(f"{name}={value}" for name, value in given.items())]
        environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False
        )


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Made]:
    made = Made(tmp_path / "services")
    yield made
    made("services-stop")


def test_services_start_once_answer_and_stop(make: Made) -> None:
    first = make("services")
    assert first.returncode == 0, first.stderr
    assert f"redis://127.0.0.1:{make.redis}/0 runs (" in first.stdout
    assert f"127.0.0.1:{make.kafka} runs (" in first.stdout
    assert f"ONEFOLD_ONLINE__URL=redis://127.0.0.1:{make.redis}/0" in first.stdout
    assert f"ONEFOLD_KAFKA__BOOTSTRAP=127.0.0.1:{make.kafka}" in first.stdout
    with redis.Redis(port=make.redis) as client:
        client.set("kept", "1")
    KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{make.kafka}").close()
    again = make("services")
    assert again.returncode == 0 and again.stdout.count("runs already (") == 2
    elsewhere = make("services", REDIS_PORT=free_port())
    assert elsewhere.returncode and f"runs on port {make.redis}" in elsewhere.stderr
    assert "Traceback" not in elsewhere.stderr
    stopped = make("services-stop")
    assert stopped.returncode == 0 and stopped.stdout.count("has ended") == 2
    assert is_free(make.redis) and is_free(make.kafka)
    assert make("services-stop").stdout.count("did not run") == 2


def test_a_process_that_is_not_ours_is_never_stopped(make: Made) -> None:
    with subprocess.Popen(["sleep", "600"]) as bystander:
        for name in ("redis", "kafka"):
            (make.folder / name).mkdir(parents=True)
            (make.folder / name / "pid").write_text(str(bystander.pid))
        assert make("services-stop").stdout.count("did not run") == 2
        assert bystander.poll() is None
        bystander.kill()


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder before all others on PATH, and an empty cache."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def tool(folder: Path, name: str, does: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{does}\n")
    (folder / name).chmod(0o755)


def install() -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, "install"], capture_output=True, text=True, timeout=120, check=False)


def jars(of: str = "kafka") -> Path:
    return Path(subprocess.check_output([SCRIPT, "jars", of], text=True).strip())


def test_install_fetches_nothing_where_all_is_there(tools: Path) -> None:
    for name in ("mvn", "apt-get"):
        tool(tools, name, f"touch {tools}/fetched; exit 1")
    assert install().returncode == 0
    assert not (tools / "fetched").exists()


def test_two_installs_at_once_leave_one_folder_each(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {jars(of).name: jars(of) for of in ("kafka", "spark")}
    which = f'case "$*" in *deploy/spark/*) from="{jars("spark")}" ;; *) from="{jars()}" ;; esac'
    tool(tools, "mvn", f'for last; do :; done; {which}; cp -R "$from" "${{last#-DoutputDirectory=}}"')
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with ThreadPoolExecutor(2) as pool:
        done = [future.result() for future in [pool.submit(install) for _ in range(2)]]
    assert [d.returncode for d in done] == [0, 0], [d.stderr for d in done]
    found = {folder.name: folder for folder in (tmp_path / "cache" / "onefold").iterdir()}
    assert {name: sorted(os.listdir(at)) for name, at in found.items()} == {
        name: sorted(os.listdir(at)) for name, at in there.items()
    }


def test_other_jars_than_those_on_record_are_refused(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = " ".join(path.name for path in jars().iterdir())
    tool(tools, "mvn", f'for last; do :; done; cd "$(mkdir "${{last#*=}}"; echo "${{last#*=}}")"; touch {names}')
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    done = install()
    assert done.returncode == 1 and "are not those of deploy/kafka/jars.sha256" in done.stderr
    assert not list((tmp_path / "cache" / "onefold").iterdir())


def test_unknown_request_is_refused() -> None:
    done = subprocess.run([SCRIPT, "remove"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "asked for 'remove'; there are install, jars and lock" in done.stderr
