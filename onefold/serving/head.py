"""What a request's headers say that the server itself acts on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_KNOWN = frozenset((b"authorization", b"x-api-key", b"x-request-id", b"traceparent", b"accept", b"content-length"))


@dataclass(slots=True)
class Head:
    """The headers that matter; empty where there is none. length: bytes of the body, as far as it is said.

    request_id: the client's, where it is a plain word, else its trace's. accept: what the answer may be.
    """

    authorization: bytes = b""
    api_key: bytes = b""
    request_id: bytes = b""
    traceparent: bytes = b""
    accept: str = ""
    length: int = 0

    @classmethod
    def of(cls, headers: Iterable[tuple[bytes, bytes]]) -> Head:
        """Of the headers of a request, their names in lower case."""
        found = {name: value or b"" for name, value in headers if name in _KNOWN}
        get = found.get
        given, trace = get(b"x-request-id"), get(b"traceparent")
        traced = _TRACEPARENT.fullmatch(trace) if trace else None
        if given is None or _REQUEST_ID.fullmatch(given) is None:
            given = traced[1] if traced else b""
        length = get(b"content-length", b"")
        return cls(
            get(b"authorization", b""),
            get(b"x-api-key", b""),
            given,
            traced[0] if traced else b"",
            get(b"accept", b"").decode("latin-1"),
            int(length) if length.isdigit() and len(length) < 20 else 0,
        )
