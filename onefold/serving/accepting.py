"""Which of its forms an answer takes, by what the client says that it accepts."""

from __future__ import annotations

from functools import lru_cache

from onefold.features.values import shown
from onefold.serving.errors import ApiError
from onefold.serving.messages import JSON

MSGPACK, ARROW = "application/msgpack", "application/vnd.apache.arrow.stream"
_FORMS = {
    JSON: JSON,
    "application/*": JSON,
    "*/*": JSON,
    MSGPACK: MSGPACK,
    "application/x-msgpack": MSGPACK,
    "application/vnd.msgpack": MSGPACK,
    ARROW: ARROW,
}


@lru_cache(maxsize=256)
def form(accept: str) -> str:
    """The content type to answer with: the one accepted most, JSON where nothing is said; ApiError 406.

    >>> form("application/json;q=0.5, application/x-msgpack")
    'application/msgpack'
    """
    if not accept.strip():
        return JSON
    asked = [_weighed(part) for part in accept.split(",")]
    best = max(asked, key=lambda one: (one[1], -asked.index(one)))
    if not best[1]:
        raise ApiError(
            406, "not-acceptable", f"the Accept header is {shown(accept)}",
            f"accept {JSON}, {MSGPACK} or {ARROW}, or leave it out",
        )  # fmt: skip
    return _FORMS[best[0]]


def _weighed(part: str) -> tuple[str, float]:
    """A media range and its weight; 0 for one that is none of our forms."""
    name, *parameters = (p.strip().lower() for p in part.split(";"))
    weights = [p[2:] for p in parameters if p.startswith("q=")]
    try:
        weight = float(weights[0]) if weights else 1.0
    except ValueError:
        weight = 0.0
    return name, weight if name in _FORMS else 0.0
