"""What passes between the server and whoever answers a POST: plain data, without a word of ASGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Request:
    """A POST whose body has come.

    accept: what the answer may be, as the client said it; empty where it said nothing.
    """

    path: str
    body: bytes
    accept: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. headers: those beside content-type and content-length."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: Sequence[tuple[bytes, bytes]] = ()


Handler = Callable[[Request], Awaitable[Answer]]
"""Answers a request, or raises ApiError."""
