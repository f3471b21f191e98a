"""Between the wire and the handlers: who asks, may they, is there room; then the answer, within its time.

Whatever goes wrong is an answer too, and never holds a traceback.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from time import perf_counter

from onefold.features.timing import PARTS
from onefold.serving.access import ANYONE, CURRENT, Access, Current, Doorman, Reach
from onefold.serving.deadlines import Deadlines
from onefold.serving.errors import ApiError, internal
from onefold.serving.exchange import Exchange, Watcher
from onefold.serving.head import Head
from onefold.serving.limits import Gate, Limits, Rates, overloaded, too_deep, too_late
from onefold.serving.live import Live
from onefold.serving.messages import Answer, Request
from onefold.serving.metrics import Metrics
from onefold.serving.routes import Route, admit

logger = logging.getLogger("onefold.serving")


class Answering:
    """Answers exchanges by their routes."""

    def __init__(
        self,
        live: Live,
        limits: Limits,
        gate: Gate,
        doorman: Doorman,
        metrics: Metrics,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        self._live, self._limits, self._doorman, self._metrics = live, limits, doorman, metrics
        self._watchers, self._gate = watchers, gate
        self._rates = Rates(rate=limits.rate, burst=limits.burst, share=limits.share)
        self._deadlines = Deadlines(limits.seconds)
        self._currents: dict[Access, Current] = {}
        self._generation = live.generation
        self._refused_in_a_row = 0

    async def answer(self, route: Route, exchange: Exchange) -> None:
        """Answer one exchange, and tell whoever watches."""
        exchange.route = route.path
        if self._watchers:
            PARTS.set(exchange.parts)
        answer = await self._answer(route, exchange)
        if answer is not None:
            await exchange.send(answer)
        seconds = perf_counter() - exchange.start
        self._metrics.request(route.path, exchange.status, seconds)
        for watcher in self._watchers:
            watcher.done(exchange, seconds)

    def refusal(self, who: str, what: str, headers: Iterable[tuple[bytes, bytes]]) -> Answer | None:
        """Why a request may not go on; None where it may."""
        try:
            self._admit(who, what, Head.of(headers))
        except ApiError as error:
            return error.answer()
        return None

    async def _answer(self, route: Route, exchange: Exchange) -> Answer | None:
        """The answer; None where the client has gone."""
        try:
            self._check_wait(exchange)
            exchange.access = self._admit(route.who, route.path, exchange.head)
            self._gate.enter()
            task = self._deadlines.begin()
            try:
                return await self._within(route, exchange)
            except asyncio.CancelledError:
                if self._deadlines.end(task):
                    raise TimeoutError from None
                raise
            finally:
                self._deadlines.end(task)
                self._gate.leave()
        except ApiError as error:
            return error.answer()
        except TimeoutError:
            return too_late(self._limits.seconds).answer()
        except RecursionError:
            return too_deep().answer()
        except Exception:
            logger.exception("%s could not be answered", exchange.path[:200])
            return internal().answer()

    async def _within(self, route: Route, exchange: Exchange) -> Answer | None:
        body = await exchange.body(self._limits.body)
        if body is None:
            return None
        access, seen = exchange.access or ANYONE, self._live.generation
        request = Request(exchange.path, body, exchange.head.accept)
        CURRENT.set(self._current(access))
        try:
            return await route.handler(request)
        except ApiError as error:
            # Definitions that came with a state built for them: the watch may have them in hand already.
            if error.code != "mismatch" or self._live.catch_up is None or not await self._live.catch_up(seen):
                raise
        CURRENT.set(self._current(access))
        return await route.handler(request)

    def _check_wait(self, exchange: Exchange) -> None:
        waited = perf_counter() - exchange.start
        if waited <= self._limits.waiting:
            self._refused_in_a_row = 0
            return
        # Where all wait too long, refusing all of them would serve nobody.
        self._refused_in_a_row = (self._refused_in_a_row + 1) % _ONE_OF
        if self._refused_in_a_row:
            raise overloaded(f"the request waited {waited:.1f} s for its turn")

    def _admit(self, who: str, what: str, head: Head) -> Access:
        access = self._doorman.recognise(head.authorization, head.api_key, self._live.catalog.clock())
        admit(access, who, what)
        if access.key is not None:
            self._rates.take(access.key, access.rate)
        return access

    def _current(self, access: Access) -> Current:
        """What of the catalog of this moment the access goes to."""
        if self._generation != self._live.generation or len(self._currents) > _KEPT:
            self._generation = self._live.generation
            self._currents.clear()
        current = self._currents.get(access)
        if current is None:
            catalog = self._live.catalog
            reach = catalog if access.services is None else Reach(catalog, access)
            current = self._currents[access] = Current(access, reach)
        return current


_ONE_OF = 8
"""Of so many requests in a row that waited too long, one is answered all the same."""
_KEPT = 1_000
"""Accesses whose reach is kept: keys that are replaced leave theirs behind."""
