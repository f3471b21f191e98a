"""What passes between the server and whoever answers a POST: plain data, without a word of ASGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

JSON = "application/json"


class Request(NamedTuple):
    """A POST whose body has come.

    accept: what the answer may be, as the client said it; empty where it said nothing.
    """

    path: str
    body: bytes
    accept: str = ""


class Answer(NamedTuple):
    """An HTTP answer. headers: those beside content-type and content-length."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: Sequence[tuple[bytes, bytes]] = ()


Handler = Callable[[Request], Awaitable[Answer]]
"""Answers a request, or raises ApiError."""
