"""`onefold.OnlineClient`: features looked up in this process, by the code that the server runs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from onefold.features.clock import now_micros
from onefold.features.errors import InputError
from onefold.features.native_values import native_parser, native_timestamp, native_writer
from onefold.online.async_reads import async_reads
from onefold.online.lookup import AsyncLookup, Lookup
from onefold.online.served_row import ERROR
from onefold.online.tolerance import USUAL, Tolerated, check, check_errors, tolerated
from onefold.serving.errors import ApiError
from onefold.serving.rows import RowReader

if TYPE_CHECKING:
    from onefold.features.plans import ServicePlan
    from onefold.features.project import Project
    from onefold.features.protocols import OnlineStore
    from onefold.online.served_row import ServedRow

Row = Mapping[str, object]
_KEPT, _MAX_ROWS = 64, 1_000_000


@dataclass(frozen=True, slots=True)
class OnlineFeatures:
    """What was looked up: per row the values in the service's order, and a status for each.

    service: its name, "adhoc" for a list of features; fingerprint: of its definition; names: of its features.
    values: a BIGINT is an int, a TIMESTAMP a datetime in UTC, a DATE a date, a DECIMAL a Decimal, a LIST a list.
    """

    service: str
    fingerprint: str
    names: tuple[str, ...]
    values: list[tuple[Any, ...]]
    statuses: list[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.values)

    def to_dicts(self) -> list[dict[str, Any]]:
        """A dict a row: its values by feature."""
        return [dict(zip(self.names, row, strict=True)) for row in self.values]

    def statuses_of(self, name: str) -> list[str]:
        """The statuses of one feature, by row."""
        place = self.names.index(name)
        return [row[place] for row in self.statuses]


class OnlineClient:
    """Looks features up in the online store of a project. Threads may share it; `aget` is for one event loop at a time.

    It opens no port and writes no served log. Use it as a context manager, or close it.

    >>> with OnlineClient.open("shop") as client:  # doctest: +SKIP
    ...     client.get("will_return", [{"customer_id": 42, "basket_total": 80.0}]).to_dicts()
    [{'orders_7d': 6, 'spend_7d': 85.4, ...}]
    """

    def __init__(self, project: Project, store: OnlineStore, *, clock: Callable[[], int] | None = None) -> None:
        """From parts: definitions and a store, which stays open. clock: now, in microseconds since 1970 UTC."""
        self._project, self._store = project, store
        self._clock = clock or now_micros
        self._kept: OrderedDict[str | tuple[str, ...], _Asked] = OrderedDict()
        self._lock = threading.Lock()
        self._opened = ExitStack()

    @classmethod
    def open(cls, folder: Path | str | None = None) -> OnlineClient:
        """The client of the project in `folder`, or of the nearest at or above the working directory.

        Raises ConfigError where there is no project, DefinitionError, and StoreError where there is no store to read.
        """
        from onefold.wiring import Workspace

        space = Workspace.find(folder)
        with ExitStack() as stack:
            client = cls(space.project, stack.enter_context(space.store(readonly=True)))
            client._opened = stack.pop_all()
        return client

    def get(
        self,
        features: str | Sequence[str],
        rows: Row | Sequence[Row],
        *,
        at: datetime | str | None = None,
        tolerate: Sequence[str] | None = None,
    ) -> OnlineFeatures:
        """The features of a service (by name), or a list of them as `view:feature`, for each row.

        rows: keys and request columns by name; a row may have an `event_timestamp` of its own. One row may be given
        alone. at: as of when, with a time zone; now where it is None. tolerate: the statuses that values may have
        beside `fresh`; all but `error` where it is None. Raises InputError, NotFoundError, StoreError, StateError for
        a state that cannot be read, MismatchError, and UntoleratedError.
        """
        allowed = tolerated(tolerate)
        with self._lock:
            asked = self._asked(features)
            values, times = asked.read(rows, self._moment(at))
            return asked.found(asked.lookup.read(values, times), allowed)

    async def aget(
        self,
        features: str | Sequence[str],
        rows: Row | Sequence[Row],
        *,
        at: datetime | str | None = None,
        tolerate: Sequence[str] | None = None,
    ) -> OnlineFeatures:
        """As `get`, without holding up the event loop while the store answers."""
        allowed = tolerated(tolerate)
        with self._lock:
            asked = self._asked(features)
        values, times = asked.read(rows, self._moment(at))
        return asked.found(await asked.async_lookup.read(values, times), allowed)

    def close(self) -> None:
        """Close what `open` opened; a second close does nothing."""
        self._opened.close()

    async def aclose(self) -> None:
        """The same, with the connection of `aget`: call it in that event loop."""
        await async_reads(self._store).aclose()
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _asked(self, features: str | Sequence[str]) -> _Asked:
        """What was asked for, compiled; the last few are kept."""
        key = features if isinstance(features, str) else tuple(features)
        found = self._kept.pop(key, None)
        if found is None:
            plan = self._project.service(key) if isinstance(key, str) else self._project.select(key)
            found = _Asked(plan, self._store)
        self._kept[key] = found
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found

    def _moment(self, at: datetime | str | None) -> Callable[[], int]:
        if at is None:
            return self._clock
        try:
            moment = native_timestamp(at)
        except ValueError as error:
            raise InputError(f"`at`: {error}") from None
        assert moment is not None
        return lambda: moment


class _Asked:
    """A plan with its lookups, the reader of its rows and the writer of its values."""

    def __init__(self, plan: ServicePlan, store: OnlineStore) -> None:
        self._plan, self._store = plan, store
        self._rows = RowReader(plan, parser_of=native_parser, parse_time=native_timestamp)
        self._names = tuple(f.name for f in plan.features)
        writers = [(i, native_writer(f.type)) for i, f in enumerate(plan.features)]
        self._writers = [(i, write) for i, write in writers if write is not None]

    @cached_property
    def lookup(self) -> Lookup:
        return Lookup(self._store, self._plan)

    @cached_property
    def async_lookup(self) -> AsyncLookup:
        return AsyncLookup(async_reads(self._store), self._plan)

    def read(self, rows: Row | Sequence[Row], clock: Callable[[], int]) -> tuple[list[Row], list[int]]:
        """Rows as internal values, and their times; InputError names row and column."""
        given = [dict(rows)] if isinstance(rows, Mapping) else [dict(row) for row in rows]
        if not given:
            return [], []
        try:
            return self._rows.read(given, clock, limit=_MAX_ROWS)
        except ApiError as error:
            raise InputError(f"{error.message}; {error.hint}") from None

    def found(self, answers: Sequence[ServedRow], allowed: Tolerated) -> OnlineFeatures:
        if ERROR not in allowed:
            check_errors(answers)
        if allowed is not USUAL:
            check(self._plan, answers, allowed)
        values = [self._native(answer.values) for answer in answers]
        return OnlineFeatures(
            self._plan.name, self._plan.fingerprint, self._names, values, [a.statuses for a in answers]
        )

    def _native(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if not self._writers:
            return values
        row = list(values)
        for i, write in self._writers:
            if row[i] is not None:
                row[i] = write(row[i])
        return tuple(row)
