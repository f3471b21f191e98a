"""A schema registry in this process: the part of Confluent's REST API that readers use."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class Registry:
    """schemas: by number; subjects: by (subject, version). status: while it is not 200, what it answers to everything.
    failures: how many requests it answers with 503 before it is well."""

    def __init__(self) -> None:
        self.schemas: dict[int, dict[str, Any]] = {}
        self.subjects: dict[tuple[str, int], dict[str, Any]] = {}
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.status, self.failures, self.url = 200, 0, ""

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        if self.failures > 0:
            self.failures -= 1
            return 503, {}
        if self.status != 200:
            return self.status, {"message": "no"}
        match [unquote(part) for part in urlsplit(path).path.strip("/").split("/")]:
            case ["schemas", "ids", ident] if int(ident) in self.schemas:
                return 200, self.schemas[int(ident)]
            case ["subjects", subject, "versions", version] if (subject, int(version)) in self.subjects:
                return 200, self.subjects[subject, int(version)]
        return 404, {"error_code": 40403, "message": "Schema not found"}


@contextmanager
def serving() -> Iterator[Registry]:
    registry = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            registry.asked.append(self.path)
            registry.headers.append({name.lower(): value for name, value in self.headers.items()})
            status, body = registry.answer(self.path)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        registry.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield registry
        finally:
            server.shutdown()
