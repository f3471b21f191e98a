"""One serving process: what it loads, what goes on beside the answers, and uvicorn around them."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sized
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from onefold.features.loading import load_project
from onefold.online.opening import open_store
from onefold.serving.access import Doorman
from onefold.serving.access_log import AccessLog
from onefold.serving.app import create_app
from onefold.serving.batches import Batches
from onefold.serving.key_file import KeyFile
from onefold.serving.keys import KeyRing
from onefold.serving.live import Live
from onefold.serving.log_writer import LogWriter
from onefold.serving.metrics import Metrics
from onefold.serving.protocol import protocol
from onefold.serving.run import load_catalog
from onefold.serving.watch import Marks, Places, Watch

if TYPE_CHECKING:
    from onefold.features.project import Project
    from onefold.serving.app import Front
    from onefold.serving.background import Background
    from onefold.serving.exchange import Watcher
    from onefold.serving.run import ServeSettings

logger = logging.getLogger("onefold.serving")
SWITCH_INTERVAL = 0.0005
"""Seconds that the watch's thread may hold the interpreter while a request waits (Python's default is 0.005)."""


def run_server(
    settings: ServeSettings,
    listening: socket.socket,
    *,
    asks: bool,
    project: Project | None,
    ready: Callable[[str], None],
    log: str | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; then answer what is open, wait until all of it is in the log, and return.

    asks: whether for keys. ready: called with what is served, when requests are answered. log: the Unix socket of the
    process that writes the served log.
    """
    store = open_store(settings.online, readonly=True)
    try:
        places = Places(
            models=settings.models,
            definitions=settings.definitions if project is None else None,
            keys=settings.keys if asks else None,
        )
        marks = Marks.of(places)
        live = Live(load_catalog(settings, store, project))
        ring = KeyRing(KeyFile(settings.keys).read() if settings.keys else ()) if asks else None
        metrics, doorman = Metrics(), Doorman(ring)
        watch = Watch(
            live, places, marks, doorman=doorman, metrics=metrics, interval=settings.watch,
            load=lambda: load_project(settings.definitions),
        )  # fmt: skip
        watchers, background = _beside(settings)
        written = None if log is None else LogWriter(log, metrics=metrics, capacity=settings.log_capacity)
        batches = Batches()
        app = create_app(
            live, log=written, metrics=metrics, limits=settings.limits, doorman=doorman,
            watchers=watchers, background=[watch, *background], batches=batches,
        )  # fmt: skip
        what = f"{_counted(live.catalog.services, 'service')} and {_counted(live.catalog.models, 'model')}"
        server = Server(_config(app, settings), live, watch, settings, lambda: ready(what))
        batches.busy = lambda: len(server.server_state.tasks)  # those that have not had their turn count too
        _run(server, listening)
    finally:
        store.close()


def _config(app: Front, settings: ServeSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app, lifespan="on", log_config=None, access_log=False, server_header=False, date_header=False,
        http=protocol(
            connections=settings.limits.connections, head_seconds=settings.limits.seconds,
            heads=app.heads, answering=app.answering,
        ),
        ws="none", timeout_graceful_shutdown=settings.grace, backlog=settings.limits.connections,
        ssl_certfile=_text(settings.tls_cert), ssl_keyfile=_text(settings.tls_key),
    )  # fmt: skip


def _beside(settings: ServeSettings) -> tuple[list[Watcher], list[Background]]:
    """Who is told of each request."""
    watchers: list[Watcher] = []
    background: list[Background] = []
    if settings.access_log:
        log = AccessLog()
        watchers.append(log)
        background.append(log)
    if settings.traces:
        from onefold.serving.tracing import tracing

        spans = tracing()
        watchers.append(spans)
        background.append(spans)
    return watchers, background


class Server(uvicorn.Server):
    """uvicorn, with a word when its socket listens, SIGHUP, and a while between not being ready and not listening."""

    def __init__(
        self, config: uvicorn.Config, live: Live, watch: Watch, settings: ServeSettings, ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._live, self._watch, self._settings, self._ready = live, watch, settings, ready
        self._looks: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        if threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hang_up)
        gc.collect()
        gc.freeze()  # what is loaded by now stays: no later collection has to walk it
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal makes /ready say no; `drain` seconds later, or at a second signal, the socket closes."""
        if self._live.leaving or not self._settings.drain or not self.started:
            super().handle_exit(sig, frame)
            return
        self._live.leaving = True
        self._captured_signals.append(sig)
        timer = threading.Timer(self._settings.drain, lambda: setattr(self, "should_exit", True))
        timer.daemon = True
        timer.start()

    def _hang_up(self) -> None:
        self._watch.forget()
        look = asyncio.get_running_loop().create_task(self._watch.look())
        self._looks.add(look)
        look.add_done_callback(self._looks.discard)
        if self.config.ssl is not None and self._settings.tls_cert is not None:
            try:
                self.config.ssl.load_cert_chain(self._settings.tls_cert, self._settings.tls_key)
            except OSError as error:
                logger.error("the certificate was not taken over: %s", error)


def _run(server: Server, listening: socket.socket) -> None:
    """uvicorn raises the signal that stopped it once more at its end; here that has nothing left to do."""
    main = threading.current_thread() is threading.main_thread()
    kinds = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {kind: signal.signal(kind, lambda *_: None) for kind in kinds} if main else {}
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        server.run(sockets=[listening])
    finally:
        sys.setswitchinterval(interval)
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _counted(things: Sized, word: str) -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
