"""The embedded store of state: one LMDB environment, written by one process at a time and read by any number.

With `durable=False` (the default) a write survives the end of its process. The end of the machine is survived by
what `flush` (or `close`) came behind; the store may even be unreadable after it. The archive holds every event, so
it is then deleted and built anew. With `durable=True` each write waits for the disk. Strings do not expire here: what
is out of all windows is deleted by the sweep (`streaming.sweep`).

Marks are entries too: `GROUP/FIELD`, eight bytes of offset.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import lmdb

from onefold.features.codec import generation_of
from onefold.features.errors import StoreError
from onefold.features.protocols import Swap

MAP_SIZE = 1 << 28
MAX_NAME = 511
_PUT_CHUNK, _SCAN_PAGE = 4096, 1024
_I64 = struct.Struct(">q")

_Result = TypeVar("_Result")


class LmdbStore:
    """A store of state in a folder.

    readonly: open what is there, for another process than the writer's. map_size: bytes to begin with; the map
    doubles when it is full, and readers follow. durable: whether a write waits for the disk.
    Threads may share it. Within a process a folder is opened once: share the object. Raises StoreError.
    """

    def __init__(
        self, path: str | Path, *, readonly: bool = False, map_size: int = MAP_SIZE, durable: bool = False
    ) -> None:
        self.path, self.readonly = Path(path), readonly
        self._lock, self._closed = threading.Lock(), False
        if readonly and not (self.path / "data.mdb").exists():
            raise StoreError(
                f"there is no online store at {str(path)!r} to read; let a worker or a build write it first"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._env = lmdb.open(
                str(path), readonly=readonly, map_size=map_size, metasync=durable, sync=durable, max_readers=512
            )
            self._env.reader_check()
        except (lmdb.Error, OSError) as error:
            raise StoreError(f"the online store at {str(path)!r} cannot be opened: {error}") from error

    @property
    def session(self) -> int:
        """Always the same: a folder that is open loses nothing."""
        return 0

    def get(self, names: Sequence[bytes]) -> list[bytes | None]:
        """All values at one moment, in order; None where there is none."""
        return self._run(lambda txn: [txn.get(name) for name in names], write=False, names=names)

    def read(self, names: Sequence[bytes], groups: Sequence[bytes]) -> tuple[list[bytes | None], list[dict[int, int]]]:
        """Values, and the marks of each group, at one moment."""

        def both(txn: Any) -> tuple[list[bytes | None], list[dict[int, int]]]:
            return [txn.get(name) for name in names], [_marks(txn, group) for group in groups]

        return self._run(both, write=False, names=[*names, *groups])

    def append(
        self, items: Sequence[tuple[bytes, bytes]], *, session: int | None = None, keep: int | None = None
    ) -> list[int]:
        """Append to each string, all in one transaction; the lengths after. Nothing expires here."""
        return self._run(partial(_append, items=items), write=True, names=_names(items))

    def begin_append(
        self, items: Sequence[tuple[bytes, bytes]], *, session: int | None = None, keep: int | None = None
    ) -> Callable[[], list[int]]:
        """Append at once: there is nobody to wait for."""
        lengths = self.append(items, session=session, keep=keep)
        return lambda: lengths

    def mark(self, items: Sequence[tuple[bytes, int, int]], *, session: int | None = None) -> None:
        """Raise marks, all in one transaction."""
        if items:
            self._run(partial(_raise, items=items), write=True, names=[group for group, _, _ in items])

    def put(
        self, items: Iterable[tuple[bytes, bytes | None]], *, session: int | None = None, keep: int | None = None
    ) -> None:
        """Set whole values (None deletes), in transactions of 4,096 items, so that any number streams through."""
        rest = iter(items)
        while chunk := list(islice(rest, _PUT_CHUNK)):
            self._run(partial(_put, items=chunk), write=True, names=_names(chunk))

    def swap_all(self, swaps: Sequence[Swap], *, keep: int | None = None) -> list[bool]:
        """Replace each string only if it is unchanged, in one transaction."""
        return self._run(lambda txn: [_swap(txn, s) for s in swaps], write=True, names=[s.name for s in swaps])

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All (name, value) with this prefix in order of name, a page at a time: each page is of one moment."""
        start, skip = prefix, False
        while page := self._run(partial(_page, prefix=prefix, start=start, skip=skip), write=False, names=()):
            yield from page
            start, skip = page[-1][0], True

    def names(self, prefix: bytes) -> Iterator[bytes]:
        """All names with this prefix, in order."""
        return (name for name, _ in self.scan(prefix))

    def clear(self, prefix: bytes, *, session: int | None = None) -> None:
        """Delete all that has this prefix."""
        self.put((name, None) for name in self.names(prefix))

    @contextmanager
    def lock(self, name: bytes, *, seconds: float) -> Iterator[bool]:
        """Whether this process alone has `name`: a file beside the data, which the system unlocks when it dies."""
        file = os.open(self.path / f"{name.hex()}.lock", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            yield _locked(file)
        finally:
            os.close(file)

    def memory(self, names: Sequence[bytes]) -> list[int]:
        """Bytes of each string and its name; 0 where there is none. Pages that are half full are not counted."""
        found = zip(names, self.get(names), strict=True)
        return [0 if value is None else len(name) + len(value) for name, value in found]

    def flush(self) -> None:
        """Return when all that was written is on disk."""
        self._guard(lambda: self._env.sync(True))

    def close(self) -> None:
        """Flush and close; a second close does nothing."""
        with self._lock:
            if not self._closed and not self.readonly:
                self._guard(lambda: self._env.sync(True))
            self._closed = True
            self._env.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, work: Callable[[Any], _Result], *, write: bool, names: Sequence[bytes]) -> _Result:
        """Run `work` in one transaction. It is run again when the map had to grow, so it must not have effects."""
        if names and not 0 < min(map(len, names)) <= max(map(len, names)) <= MAX_NAME:
            raise _refused(names)
        while True:
            with self._lock:
                try:
                    return self._guard(lambda: self._once(work, write))
                except lmdb.MapFullError:
                    size = self._env.info()["map_size"] * 2
                except lmdb.MapResizedError:
                    size = 0
                self._guard(partial(self._env.set_mapsize, size))

    def _once(self, work: Callable[[Any], _Result], write: bool) -> _Result:
        with self._env.begin(write=write) as txn:
            return work(txn)

    def _guard(self, work: Callable[[], _Result]) -> _Result:
        """Run `work`; LMDB's errors become StoreErrors, but for the two that a bigger map answers."""
        try:
            return work()
        except (lmdb.MapFullError, lmdb.MapResizedError):
            raise
        except lmdb.ReadonlyError as error:
            raise StoreError(
                f"the online store at {str(self.path)!r} is open to read only; open it to write"
            ) from error
        except lmdb.Error as error:
            raise StoreError(f"the online store at {str(self.path)!r} failed: {error}") from error


def _refused(names: Sequence[bytes]) -> StoreError:
    sizes = ", ".join(str(len(n)) for n in names if not 0 < len(n) <= MAX_NAME)
    return StoreError(f"online store: a name of {sizes} bytes was asked; LMDB takes 1 to {MAX_NAME}: hash long keys")


def _names(items: Sequence[tuple[bytes, Any]]) -> list[bytes]:
    return [name for name, _ in items]


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _mark_name(group: bytes, field: int) -> bytes:
    return group + b"/%08d" % field


def _marks(txn: Any, group: bytes) -> dict[int, int]:
    prefix = group + b"/"
    page = _page(txn, prefix=prefix, start=prefix, skip=False)
    return {int(name[len(prefix) :]): _I64.unpack(value)[0] for name, value in page}


def _raise(txn: Any, items: Sequence[tuple[bytes, int, int]]) -> None:
    for group, field, offset in items:
        name = _mark_name(group, field)
        held = txn.get(name)
        if held is None or _I64.unpack(held)[0] < offset:
            txn.put(name, _I64.pack(offset))


def _append(txn: Any, items: Sequence[tuple[bytes, bytes]]) -> list[int]:
    lengths = []
    for name, more in items:
        old = txn.get(name)
        value = more if old is None else old + more
        txn.put(name, value)
        lengths.append(len(value))
    return lengths


def _put(txn: Any, items: Sequence[tuple[bytes, bytes | None]]) -> None:
    for name, value in items:
        if value is None:
            txn.delete(name)
        else:
            txn.put(name, value)


def _swap(txn: Any, swap: Swap) -> bool:
    old = txn.get(swap.name)
    if old is None or len(old) != swap.length or generation_of(old) != swap.generation:
        return False
    return bool(txn.put(swap.name, swap.value) if swap.value else txn.delete(swap.name))


def _page(txn: Any, *, prefix: bytes, start: bytes, skip: bool) -> list[tuple[bytes, bytes]]:
    """The next entries from `start` on, or behind it."""
    page: list[tuple[bytes, bytes]] = []
    with txn.cursor() as cursor:
        found = cursor.set_range(start) if start else cursor.first()
        if found and skip and cursor.key() == start:
            found = cursor.next()
        while found and len(page) < _SCAN_PAGE and cursor.key().startswith(prefix):
            page.append(cursor.item())
            found = cursor.next()
    return page
