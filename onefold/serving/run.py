"""Running the service: its settings, what is checked before it listens, and one process or several."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from onefold.features.clock import now_micros
from onefold.features.errors import ConfigError
from onefold.features.loading import load_project
from onefold.serving.catalog import Catalog
from onefold.serving.key_file import KeyFile
from onefold.serving.keys import KeyRing
from onefold.serving.limits import Limits

if TYPE_CHECKING:
    from onefold.features.project import Project
    from onefold.features.protocols import OnlineStore
    from onefold.online.redis_options import RedisOptions


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """What a server needs. Paths are folders; `online` may be a Redis; `served` None switches the served log off.

    keys: the file of API keys. They are asked for where the host is not this machine's own, unless allow_anonymous,
    and where require_keys says so. tls_cert, tls_key: files in PEM. workers: processes; more than one share the socket.
    log_capacity: rows of a worker that may wait for the log; log_batch: rows that are written at once; log_interval:
    seconds that a row waits at most. grace: seconds that open requests get at shutdown; drain: seconds before it in
    which only /ready says that it is coming. watch: seconds between two looks at definitions, models and keys.
    access_log: a line a request on standard output; traces: OpenTelemetry. allow_refused: serve although a model
    does not fit; it then answers 503, and so does /ready.
    """

    definitions: Path
    online: Path | RedisOptions
    models: Path
    served: Path | None = None
    keys: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    require_keys: bool = False
    allow_anonymous: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    limits: Limits = field(default_factory=Limits)
    log_capacity: int = 100_000
    log_batch: int = 10_000
    log_interval: float = 2.0
    grace: int = 10
    drain: float = 0.0
    watch: float = 1.0
    access_log: bool = False
    traces: bool = False
    allow_refused: bool = False

    @classmethod
    def of(cls, project: Path, *, host: str = "127.0.0.1", port: int = 8000) -> ServeSettings:
        """The settings of a project folder, with its state below `.onefold`."""
        state = project / ".onefold"
        return cls(
            definitions=project / "features", online=state / "online", models=state / "models",
            served=state / "served", keys=state / "keys.json", host=host, port=port,
        )  # fmt: skip


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
    asks = _asks_for_keys(settings)
    _check_certificate(settings)
    with listen(settings.host, settings.port) as listening:
        url = _url(listening, tls=settings.tls_cert is not None)

        def ready(what: str) -> None:
            announce(f"onefold serves {what} at {url}")

        # Here, because what answers imports this module.
        from onefold.serving.metrics import share
        from onefold.serving.workers import run_workers

        share(None)
        run_workers(settings, listening, asks=asks, project=project, ready=ready)


def load_catalog(settings: ServeSettings, store: OnlineStore, project: Project | None = None) -> Catalog:
    """The services and models of a project; the first model that does not fit raises, unless that is allowed."""
    catalog = Catalog(project or load_project(settings.definitions), store, now_micros)
    catalog.load_models(settings.models)
    if catalog.refused and not settings.allow_refused:
        raise next(iter(catalog.refused.values()))
    return catalog


def _asks_for_keys(settings: ServeSettings) -> bool:
    """Whether keys are asked for; ConfigError where they must be, and there are none."""
    local = _is_local(settings.host)
    if not settings.require_keys and (local or settings.allow_anonymous):
        return False
    ring = KeyRing(KeyFile(settings.keys).read() if settings.keys else ())
    if not ring.usable(now_micros()):
        where = "keys are required" if local else f"host {settings.host!r} is open to the network"
        else_ = "" if local else ", use 127.0.0.1 behind a proxy, or say --allow-anonymous"
        raise ConfigError(
            f"{where}, and no API key is active; make one with `onefold keys create NAME --service SERVICE`{else_}"
        )
    return True


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_certificate(settings: ServeSettings) -> None:
    """ConfigError where TLS could not begin."""
    cert, key = settings.tls_cert, settings.tls_key
    if cert is None and key is None:
        return
    if cert is None or key is None:
        raise ConfigError("TLS needs a certificate and its key; set both [serve] tls_cert and tls_key, or neither")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except OSError as error:
        raise ConfigError(f"TLS: {cert} and {key} cannot be used: {error}; see [serve] tls_cert and tls_key") from error


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; ConfigError where the address cannot be had, before uvicorn would end the process itself."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(
            f"host {host!r}, port {port} cannot be listened on ({error.strerror}); is another server there?"
        ) from error


def _url(listening: socket.socket, *, tls: bool) -> str:
    host, port = listening.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
