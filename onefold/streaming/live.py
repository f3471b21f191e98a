"""Which state is live, and how far it has come: pointers and marks, read before anything is appended."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from onefold.features import keys as names
from onefold.features.errors import MismatchError, OnefoldError, StoreError, UnbuiltError
from onefold.features.layout import Layout
from onefold.features.protocols import OnlineStore

FIRST_EPOCH = 1
_REMEDY = "run onefold materialize to build it from the archive"


@dataclass(frozen=True, slots=True)
class LiveState:
    """The live state of one (source, entity): its pointer as stored, its epoch, and the marks of its group."""

    layout: Layout
    pointer: bytes
    epoch: int
    marks: Mapping[int, int]

    @property
    def group(self) -> bytes:
        """The name of its group of marks, whatever layout it has."""
        _, fingerprint = names.decode_pointer(self.pointer)
        return names.marks_name(self.layout.source.name, self.layout.entity.name, self.epoch, fingerprint)

    def marker(self, sequence: int) -> int:
        """The highest offset that the state holds of a sequence; -1 before the first."""
        return self.marks.get(sequence, -1)

    def owed(self, sequence: int) -> int:
        """The highest offset of a sequence that the state should hold; -1 where it owes none."""
        return self.marks.get(names.debt(sequence), -1)


def pointer_names(layouts: Iterable[Layout]) -> list[bytes]:
    return [names.pointer_name(layout.source.name, layout.entity.name) for layout in layouts]


def read_live(store: OnlineStore, layouts: Sequence[Layout]) -> list[LiveState | None]:
    """The live state of each layout's source and entity, whatever layout it has; None where there is none."""
    pointers = store.get(pointer_names(layouts))
    found = [None if p is None else _pointed(x, p) for x, p in zip(layouts, pointers, strict=True)]
    _, marks = store.read((), [live.group for live in found if live is not None])
    held = iter(marks)
    return [None if live is None else LiveState(live.layout, live.pointer, live.epoch, next(held)) for live in found]


def _pointed(layout: Layout, pointer: bytes) -> LiveState:
    return LiveState(layout, pointer, names.decode_pointer(pointer)[0], {})


def trouble(live: LiveState | None, layout: Layout, flushed: Mapping[int, int]) -> OnefoldError | None:
    """Why a state must be built from the archive before it is used; None where it is whole.

    flushed: the highest offset in the archive of each sequence that nobody is about to replay. MismatchError for
    another layout, UnbuiltError for events that the state lacks.
    """
    what = f"the state of ({layout.source.name}, {layout.entity.name})"
    if live is None:
        if all(offset < 0 for offset in flushed.values()):
            return None
        return UnbuiltError(f"{what} is not built yet, and the archive holds events of it; {_REMEDY}")
    _, fingerprint = names.decode_pointer(live.pointer)
    if fingerprint != layout.fingerprint:
        return MismatchError(f"{what} has layout {fingerprint}, the definitions need {layout.fingerprint}; {_REMEDY}")
    for sequence, offset in flushed.items():
        if live.marker(sequence) < offset:
            held = f"holds offsets up to {live.marker(sequence)} of sequence {sequence}, the archive up to {offset}"
            return UnbuiltError(f"{what} is partial: it {held}; {_REMEDY}")
        if live.marker(sequence) < live.owed(sequence):
            return UnbuiltError(f"{what} is partial: events of sequence {sequence} were lost; {_REMEDY}")
    return None


def join(
    store: OnlineStore,
    flushed: Mapping[int, int],
    layouts: Sequence[Layout],
    *,
    brought: Iterable[int],
    gone: Iterable[int] = (),
    session: int | None = None,
) -> list[LiveState]:
    """The live states of one source's layouts, for a writer that goes on with some of its sequences.

    flushed: the highest archived offset of each sequence. brought: the sequences that a feed, of this writer or of
    another, goes on with, and will replay from what the state holds. gone: those that nobody will bring again. session:
    of the store. A state is begun where the archive holds nothing yet. One that lacks what the archive has, or holds
    what it will never have, is marked so, and is not served as whole until it is right. What no feed will bring must be
    there: MismatchError where it has another layout, UnbuiltError where it lacks events.
    """
    coming, left = set(brought), set(gone)
    found = read_live(store, layouts)
    debts = [debt for live in found if live is not None for debt in _debts(live, flushed, left)]
    new = [x for x, live in zip(layouts, found, strict=True) if live is None and trouble(None, x, flushed) is None]
    if debts or new:
        store.mark(debts, session=session)
        _begin(store, new, session)
        found = read_live(store, layouts)
    for layout, live in zip(layouts, found, strict=True):
        must = {s: offset for s, offset in flushed.items() if live is None or s not in coming}
        problem = trouble(live, layout, must)
        if problem is not None:
            raise problem
    joined = [live for live in found if live is not None]
    if len(joined) < len(layouts):
        raise StoreError("the store may have lost a state that was begun just now; join again")
    return joined


def _debts(live: LiveState, flushed: Mapping[int, int], gone: Container[int]) -> list[tuple[bytes, int, int]]:
    """What a state must come to hold, and does not know yet: of what is gone, the archive's is all; above, none is."""
    owed = [(s, offset) for s, offset in flushed.items() if live.marker(s) < offset]
    owed += [(s, live.marker(s) + 1) for s, offset in flushed.items() if s in gone and live.marker(s) > offset]
    return [(live.group, names.debt(s), offset) for s, offset in owed if live.owed(s) < offset]


def _begin(store: OnlineStore, layouts: Sequence[Layout], session: int | None) -> None:
    """By an append: a pointer that has come to be there meanwhile stays what it is."""
    pointers = [names.encode_pointer(FIRST_EPOCH, layout.fingerprint) for layout in layouts]
    if layouts:
        store.append(list(zip(pointer_names(layouts), pointers, strict=True)), session=session)
