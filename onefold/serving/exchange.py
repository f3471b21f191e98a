"""One request and its answer, as the server sees them."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from onefold.features.timing import Part
from onefold.serving.access import Access
from onefold.serving.head import Head
from onefold.serving.ids import request_id
from onefold.serving.limits import too_large
from onefold.serving.messages import Answer

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

ARRIVED = "onefold.arrived"
"""In a request's scope: when its head was whole, on `perf_counter`; who sets it is `protocol.Protocol`."""


class Exchange:
    """A request on its way. route: its path as the metrics name it; access: set when it was admitted.

    request_id: the client's, or a new one. client: its address and port, as far as they are known. parts: where its
    time went, as far as anybody asked.
    """

    __slots__ = (
        "_receive", "_send", "access", "answer", "client", "head", "method", "parts", "path", "received", "request_id",
        "route", "start",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.start: float = scope.get(ARRIVED) or perf_counter()
        self._receive, self._send = receive, send
        self.client: tuple[str, int] | None = scope.get("client")
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.head = Head.of(scope["headers"])
        self.request_id = self.head.request_id or request_id().encode()
        self.route, self.received = "", 0
        self.access: Access | None = None
        self.answer: Answer | None = None
        self.parts: list[Part] = []

    async def body(self, limit: int) -> bytes | None:
        """The whole body, or ApiError 413 as soon as it is too large; None where the client has gone."""
        if self.head.length > limit:
            raise too_large(limit)
        message: Any = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            part: bytes = message.get("body", b"")
            self.received = len(part)
            if len(part) > limit:
                raise too_large(limit)
            return part
        return await self._rest(message, limit)

    async def _rest(self, message: Any, limit: int) -> bytes | None:
        parts: list[bytes] = []
        while message["type"] != "http.disconnect":
            parts.append(message.get("body", b""))
            self.received += len(parts[-1])
            if self.received > limit:
                raise too_large(limit)
            if not message.get("more_body", False):
                return b"".join(parts)
            message = await self._receive()
        return None

    async def send(self, answer: Answer) -> None:
        self.answer = answer
        await send_answer(self._send, answer, self.request_id)

    @property
    def status(self) -> int:
        """Of the answer; 499 where the client had gone before there was one."""
        return 499 if self.answer is None else self.answer.status


class Watcher(Protocol):
    """Is told of exchanges."""

    def done(self, exchange: Exchange, seconds: float) -> None:
        """Called behind every answer; must neither raise nor wait."""


async def send_answer(send: Send, answer: Answer, request_id: bytes = b"") -> None:
    headers = [
        (b"content-type", answer.content_type.encode()),
        (b"content-length", str(len(answer.body)).encode()),
        *answer.headers,
    ]
    if request_id:
        headers.append((b"x-request-id", request_id))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
