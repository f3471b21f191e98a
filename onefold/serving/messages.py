"""What passes between the server and whoever answers a POST: plain data, without a word of ASGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Request:
    """A POST whose body has come.

    headers: names in lower case. deadline: on `time.monotonic`, after which nobody waits for the answer; None for
    never. principal: whoever was recognised by a key; None where no keys are asked for.
    """

    path: str
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = ()
    deadline: float | None = None
    principal: str | None = None

    @property
    def accept(self) -> str:
        """What the answer may be, as the client said it; empty where it said nothing."""
        return self.header(b"accept")

    @property
    def content_type(self) -> str:
        return self.header(b"content-type")

    def header(self, name: bytes) -> str:
        """The first of that name; empty where there is none."""
        return next((value.decode("latin-1") for key, value in self.headers if key == name), "")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. headers: those beside content-type and content-length."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: Sequence[tuple[bytes, bytes]] = ()


Handler = Callable[[Request], Awaitable[Answer]]
"""Answers a request, or raises ApiError."""
