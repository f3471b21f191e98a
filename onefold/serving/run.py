"""Running the service: one process that loads a project, serves it, and writes down what it served."""

from __future__ import annotations

import gc
import ipaddress
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sized
from dataclasses import dataclass
from pathlib import Path
from time import time_ns

import uvicorn

from onefold.features.errors import ConfigError
from onefold.features.loading import load_project
from onefold.features.project import Project
from onefold.features.protocols import OnlineStore
from onefold.online.opening import open_store
from onefold.online.redis_options import RedisOptions
from onefold.serving.app import MAX_BODY, create_app
from onefold.serving.catalog import Catalog
from onefold.serving.log_writer import LogWriter, Sink
from onefold.serving.metrics import Metrics
from onefold.serving.no_pandas import keep_pandas_out

SWITCH_INTERVAL = 0.0005
"""Seconds that the log's thread may hold the interpreter while a request waits (Python's default is 0.005)."""


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """What a server needs. Paths are folders; `online` may be a Redis; `served` None switches the served log off.

    log_capacity: rows that may wait for the log; log_batch: rows that are written at once; log_interval: seconds
    that a row waits at most. grace: seconds that open requests get at shutdown. open_to_network: listen on an
    address other than this machine's own (there are no API keys yet). allow_refused: serve although a model
    does not fit; it then answers 503, and so does /ready.
    """

    definitions: Path
    online: Path | RedisOptions
    models: Path
    served: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    log_capacity: int = 100_000
    log_batch: int = 5_000
    log_interval: float = 2.0
    max_body: int = MAX_BODY
    max_rows: int = 5_000
    grace: int = 10
    open_to_network: bool = False
    allow_refused: bool = False

    @classmethod
    def of(cls, project: Path, *, host: str = "127.0.0.1", port: int = 8000) -> ServeSettings:
        """The settings of a project folder, with its state below `.onefold`."""
        state = project / ".onefold"
        return cls(
            definitions=project / "features", online=state / "online", models=state / "models",
            served=state / "served", host=host, port=port,
        )  # fmt: skip


def now_micros() -> int:
    """The time, in microseconds since the epoch."""
    return time_ns() // 1_000


def serve(
    settings: ServeSettings,
    *,
    project: Project | None = None,
    announce: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
) -> None:
    """Serve until SIGTERM or SIGINT; then answer what is open, write the log, and return.

    announce: called with one line, which ends with the URL, when requests are answered. Raises ConfigError,
    StoreError where there is no store to read, and ModelError or MismatchError where a model does not fit.
    """
    _check_host(settings)
    metrics = Metrics()
    store = open_store(settings.online, readonly=True)
    try:
        catalog = load_catalog(settings, store, project)
        log = _log(settings.served, settings, metrics)
        app = create_app(catalog, log=log, metrics=metrics, max_body=settings.max_body, max_rows=settings.max_rows)
        config = uvicorn.Config(
            app, host=settings.host, port=settings.port, lifespan="on", log_config=None, access_log=False,
            server_header=False, date_header=False, timeout_graceful_shutdown=settings.grace,
        )  # fmt: skip
        what = f"{_counted(catalog.services, 'service')} and {_counted(catalog.models, 'model')}"
        with _listen(settings.host, settings.port) as listening:
            _run(_Server(config, lambda url: announce(f"onefold serves {what} at {url}")), listening)
    finally:
        store.close()


def load_catalog(settings: ServeSettings, store: OnlineStore, project: Project | None = None) -> Catalog:
    """The services and models of a project; the first model that does not fit raises, unless that is allowed."""
    catalog = Catalog(project or load_project(settings.definitions), store, now_micros)
    catalog.load_models(settings.models)
    if catalog.refused and not settings.allow_refused:
        raise next(iter(catalog.refused.values()))
    return catalog


def _log(folder: Path | None, settings: ServeSettings, metrics: Metrics) -> LogWriter | None:
    if folder is None:
        return None

    def open_sink() -> Sink:
        # Here, in the log's thread: Arrow and Delta take 0.4 s to import.
        from onefold.offline.served import ServedLog

        keep_pandas_out()
        return ServedLog(folder)

    return LogWriter(
        open_sink, metrics=metrics,
        capacity=settings.log_capacity, batch=settings.log_batch, interval=settings.log_interval,
    )  # fmt: skip


def _check_host(settings: ServeSettings) -> None:
    if settings.open_to_network or settings.host == "localhost":
        return
    try:
        local = ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise ConfigError(
            f"host {settings.host!r} is open to the network, and the service asks for no keys; "
            "use 127.0.0.1 behind a proxy that does, or say open_to_network=True"
        )


class _Server(uvicorn.Server):
    """uvicorn, with a word when its socket listens."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[str], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        gc.collect()
        gc.freeze()  # what is loaded by now stays: no later collection has to walk it
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        self._announce(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket; ConfigError where the address cannot be had, before uvicorn would end the process itself."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(
            f"host {host!r}, port {port} cannot be listened on ({error.strerror}); is another server there?"
        ) from error


def _counted(things: Sized, word: str) -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"


def _run(server: _Server, listening: socket.socket) -> None:
    """uvicorn raises the signal that stopped it once more at its end; here that has nothing left to do."""
    main = threading.current_thread() is threading.main_thread()
    kinds = (signal.SIGTERM, signal.SIGINT)
    before = {kind: signal.signal(kind, lambda *_: None) for kind in kinds} if main else {}
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        server.run(sockets=[listening])
    finally:
        sys.setswitchinterval(interval)
        for kind, handler in before.items():
            signal.signal(kind, handler)
