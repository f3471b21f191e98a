"""What one request, one key and one server may ask for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from onefold.serving.errors import ApiError

MAX_BODY = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a server.

    body: bytes; rows, features: of a request. seconds: from a request's head to its answer;
    waiting: how long a request may wait for its turn. at_once: requests that are being answered; connections: open
    ones. rate: requests a second a key, 0 for any number; burst: seconds' worth of them that may come at once;
    share: what of a key's rate is one process's.
    """

    body: int = MAX_BODY
    rows: int = 5_000
    features: int = 1_000
    seconds: float = 10.0
    waiting: float = 1.0
    at_once: int = 256
    connections: int = 2_000
    rate: float = 1_000.0
    burst: float = 2.0
    share: float = 1.0


class Rates:
    """A token bucket a key: it fills at the key's rate, and holds `burst` seconds' worth.

    rate: of keys that have none of their own; share: what of each is this process's, of several.
    """

    KEPT = 10_000

    def __init__(
        self, *, rate: float, burst: float, share: float = 1.0, clock: Callable[[], float] = monotonic
    ) -> None:
        self._rate, self._burst, self._share, self._clock = rate, burst, share, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, rate: float | None = None) -> None:
        """Take one request of a key; ApiError 429 that says when to come again."""
        rate = (self._rate if rate is None else rate) * self._share
        if rate <= 0:
            return
        now, most = self._clock(), max(1.0, rate * self._burst)
        left, then = self._buckets.pop(key, (most, now))
        left = min(most, left + (now - then) * rate)
        self._buckets[key] = (left - 1 if left >= 1 else left, now)
        if len(self._buckets) > self.KEPT:
            self._buckets.popitem(last=False)
        if left < 1:
            raise too_many((1 - left) / rate, rate / self._share)


class Gate:
    """Requests that are being answered at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.inside = 0

    def enter(self) -> None:
        """One more; ApiError 503 where there are enough. Who entered leaves."""
        if self.inside >= self._limit:
            raise overloaded(f"{self.inside} requests are being answered")
        self.inside += 1

    def leave(self) -> None:
        self.inside -= 1


def too_many(seconds: float, rate: float) -> ApiError:
    wait = max(1, -int(-seconds // 1))
    hint = f"come again in {wait} s, send several rows a request, or ask for a higher rate"
    return ApiError(
        429, "too-many", f"this API key may send {rate:g} requests a second", hint, [(b"retry-after", b"%d" % wait)]
    )


def overloaded(why: str) -> ApiError:
    return ApiError(503, "overloaded", why, "come again in a second; see `--workers`", [(b"retry-after", b"1")])


def too_late(seconds: float) -> ApiError:
    hint = "send fewer rows a request; see /ready, and onefold_lookup_seconds in /metrics"
    return ApiError(504, "timeout", f"there was no answer within {seconds:g} s", hint)


def too_large(limit: int) -> ApiError:
    return ApiError(413, "too-large", f"the body is larger than {limit} bytes", "send fewer rows a request")


def too_deep() -> ApiError:
    return ApiError(422, "input", "the body nests too deeply", "see /docs for the shape of a request")
