"""Spark sessions as Onefold needs them: Java found, times in UTC, logs quiet."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onefold.features.errors import ConfigError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

JAVA = 17
"""The oldest Java that Spark 4 runs on."""
INSTALL = "on Debian and Ubuntu: apt-get install openjdk-17-jre-headless (scripts/java does it); or set JAVA_HOME"
NEEDED: Mapping[str, str] = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.caseSensitive": "true",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.requireAllClusterKeysForCoPartition": "false",
}
"""Values depend on these; a session is given them whatever it was made with."""
_USUAL: Mapping[str, str] = {
    "spark.app.name": "onefold",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.windowExec.buffer.in.memory.threshold": "65536",
}
_LOGS = """
rootLogger.level = warn
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n%ex
"""

Tasks = Callable[[int, int], object]
"""Called with how many tasks of a job are done, and 0: how many there will be, Spark settles as it goes."""


@dataclass(frozen=True, slots=True)
class SparkSettings:
    """Where Spark runs: its master, packages (Maven coordinates, comma between), and further `spark.*` settings.

    scratch: a folder that every executor reaches, for spines and results; on one machine any will do.
    """

    master: str = "local[*]"
    packages: str = ""
    conf: Mapping[str, str] = field(default_factory=dict)
    scratch: str | None = None


def check_java() -> None:
    """ConfigError unless there is a Java that Spark can run on, by JAVA_HOME or on PATH."""
    home = os.environ.get("JAVA_HOME")
    command = str(Path(home, "bin", "java")) if home else "java"
    found = shutil.which(command)
    if found is None:
        where = f"JAVA_HOME is {home!r}, and holds no bin/java" if home else "there is no JAVA_HOME and no java on PATH"
        raise ConfigError(f"Spark needs Java {JAVA} or newer; {where}. {INSTALL}")
    said = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < JAVA:
        first = (said.splitlines() or ["nothing"])[0]
        raise ConfigError(f"Spark needs Java {JAVA} or newer; {found} says: {first}. {INSTALL}")


def session(settings: SparkSettings | None = None) -> SparkSession:
    """The running session of this process with what Onefold needs set, or a new one by `settings`.

    ConfigError where pyspark or Java is not there, or the master cannot be reached.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise ConfigError("the Spark engine needs pyspark; install onefold[spark]") from None
    found = SparkSession.getActiveSession()
    if found is None:
        check_java()
        found = _start(SparkSession.builder, settings or SparkSettings())
    for key, value in NEEDED.items():
        found.conf.set(key, value)
    return found


def _start(builder: Any, settings: SparkSettings) -> SparkSession:
    usual = {**_USUAL, **NEEDED, "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={_log_settings()}"}
    if settings.master.startswith("local"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if settings.packages:
        usual["spark.jars.packages"] = settings.packages
    for key, value in {**usual, **settings.conf}.items():
        builder = builder.config(key, value)
    log = _own_file("spark.log")
    try:
        with _stderr_to(log):
            made: SparkSession = builder.master(settings.master).getOrCreate()
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(f"Spark did not start with master {settings.master!r}: {first}; see {log}") from error
    return made


def _own_file(name: str) -> Path:
    return Path(tempfile.gettempdir(), f"onefold-{os.getuid()}-{name}")


def _log_settings() -> str:
    file = _own_file("log4j2.properties")
    file.write_text(_LOGS)
    return file.as_uri()


@contextmanager
def _stderr_to(file: Path) -> Iterator[None]:
    """Have what is started here, as the Java machine, write its messages to a file."""
    before = os.dup(2)
    with file.open("ab") as log:
        os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


@contextmanager
def watched(spark: SparkSession, report: Tasks | None, *, every: float = 0.5) -> Iterator[None]:
    """Report the tasks of what runs inside, now and then."""
    if report is None:
        yield
        return
    stop = threading.Event()
    group = f"onefold-{threading.get_ident()}"
    spark.sparkContext.setJobGroup(group, "onefold")
    watcher = threading.Thread(target=_watch, args=(spark, group, report, stop, every), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


def _watch(spark: SparkSession, group: str, report: Tasks, stop: threading.Event, every: float) -> None:
    tracker = spark.sparkContext.statusTracker()
    done = 0
    while not stop.wait(every):
        stages = {s.stageId: s for j in tracker.getJobIdsForGroup(group) for s in _stages(tracker, j)}
        done = max(done, sum(s.numCompletedTasks for s in stages.values()))
        report(done, 0)


def _stages(tracker: Any, job: int) -> Sequence[Any]:
    info = tracker.getJobInfo(job)
    return [s for s in map(tracker.getStageInfo, info.stageIds if info else ()) if s is not None]
