"""Looking features up: keys and times in, values with statuses and provenance out, in one read of the store."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from onefold.features.plans import ServicePlan
from onefold.features.protocols import OnlineStore
from onefold.features.timing import note
from onefold.online.async_reads import AsyncReads
from onefold.online.group_reader import Row
from onefold.online.lookup_plan import LookupPlan
from onefold.online.served_row import ERROR, EXPIRED, FRESH, MISSING, PARTIAL, STALE, STATUSES, ServedRow, StringRead

__all__ = [
    "ERROR", "EXPIRED", "FRESH", "MISSING", "PARTIAL", "STALE", "STATUSES", "AsyncLookup", "Lookup", "ServedRow",
    "StringRead",
]  # fmt: skip


class Lookup:
    """Reads a service's features from a store. Built once per plan; safe to call from one thread at a time.

    Values are the same whatever their status; a key that was never seen, or is NULL, counts 0 and sums NULL.
    """

    def __init__(self, store: OnlineStore, plan: ServicePlan) -> None:
        self.plan = plan
        self._store = store
        self._logic = LookupPlan(plan)

    @property
    def value_errors(self) -> int:
        """How many value errors it has met: overflows, failed casts, sums that are too large. Their value is NULL."""
        return self._logic.value_errors

    def check(self) -> None:
        """Raise unless the store holds, whole, the state that the plan needs."""
        self._logic.follow(self._store.get(self._logic.pointers))

    def read(self, rows: Sequence[Row], times: Sequence[int]) -> list[ServedRow]:
        """A ServedRow per row: `rows` map join keys and request columns to values, `times` are t in microseconds.

        Raises StoreError where state is not built, MismatchError where it was built for other definitions.
        """
        logic, read = self._logic, self._store.read
        while True:
            asked = logic.ask(rows)
            served = logic.fold(asked, *read(asked.names, asked.marks), rows, times)
            if served is not None:
                return served


class AsyncLookup:
    """The same over a store that is read asynchronously. For one event loop; any number of lookups at once."""

    def __init__(self, store: AsyncReads, plan: ServicePlan) -> None:
        self.plan = plan
        self._store = store
        self._logic = LookupPlan(plan)
        self._counted = 0

    @property
    def value_errors(self) -> int:
        """As of `Lookup`."""
        return self._logic.value_errors

    def new_value_errors(self) -> int:
        """How many there were since this was last asked."""
        counted, self._counted = self._counted, self._logic.value_errors
        return self._counted - counted

    async def check(self) -> None:
        """As of `Lookup`."""
        pointers, _ = await self._store.read(self._logic.pointers, ())
        self._logic.follow(pointers)

    async def read(self, rows: Sequence[Row], times: Sequence[int]) -> list[ServedRow]:
        """As of `Lookup`."""
        logic, read = self._logic, self._store.read
        while True:
            asked = logic.ask(rows)
            start = perf_counter()
            values, marks = await read(asked.names, asked.marks)
            between = perf_counter()
            served = logic.fold(asked, values, marks, rows, times)
            note("store read", start, between)
            note("fold", between, perf_counter())
            if served is not None:
                return served
