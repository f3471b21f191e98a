"""Which state is live, and how far it has come: pointers and progress markers, read before anything is appended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from onefold.features import keys as names
from onefold.features.errors import MismatchError, OnefoldError, StoreError
from onefold.features.layout import Layout
from onefold.features.protocols import Archive, OnlineStore

FIRST_EPOCH = 1
_REMEDY = "run onefold materialize to build it from the archive"


@dataclass(frozen=True, slots=True)
class LiveState:
    """The live state of one (source, entity): its pointer as stored, its epoch, and each sequence's marker."""

    layout: Layout
    pointer: bytes
    epoch: int
    markers: dict[int, int]

    def marker(self, sequence: int) -> int:
        """The highest offset that the state holds of a sequence; -1 before the first."""
        return self.markers.get(sequence, -1)


def pointer_names(layouts: Iterable[Layout]) -> list[bytes]:
    return [names.pointer_name(layout.source.name, layout.entity.name) for layout in layouts]


def read_live(store: OnlineStore, layouts: Sequence[Layout]) -> list[LiveState | None]:
    """The live state of each layout's source and entity, whatever layout it has; None where there is none."""
    pointers = store.get(pointer_names(layouts))
    return [None if p is None else _live(store, layout, p) for layout, p in zip(layouts, pointers, strict=True)]


def _live(store: OnlineStore, layout: Layout, pointer: bytes) -> LiveState:
    epoch, fingerprint = names.decode_pointer(pointer)
    prefix = names.marker_prefix(layout.source.name, layout.entity.name, epoch, fingerprint)
    markers = {int(name[len(prefix) :]): names.decode_marker(value) for name, value in store.scan(prefix)}
    return LiveState(layout, pointer, epoch, markers)


def trouble(live: LiveState | None, layout: Layout, flushed: Mapping[int, int]) -> OnefoldError | None:
    """Why a state must be built from the archive before it is used; None where it is whole.

    flushed: the highest offset in the archive of each sequence that nobody is about to replay. MismatchError for
    another layout, StoreError for events that the state lacks.
    """
    what = f"the state of ({layout.source.name}, {layout.entity.name})"
    if live is None:
        if all(offset < 0 for offset in flushed.values()):
            return None
        return StoreError(f"{what} is not built yet, and the archive holds events of it; {_REMEDY}")
    _, fingerprint = names.decode_pointer(live.pointer)
    if fingerprint != layout.fingerprint:
        return MismatchError(f"{what} has layout {fingerprint}, the definitions need {layout.fingerprint}; {_REMEDY}")
    for sequence, offset in flushed.items():
        if live.marker(sequence) < offset:
            held = f"holds offsets up to {live.marker(sequence)} of sequence {sequence}, the archive up to {offset}"
            return StoreError(f"{what} is partial: it {held}; {_REMEDY}")
    return None


def flushed_offsets(archive: Archive, source: str) -> dict[int, int]:
    """The highest archived offset of each sequence of a source."""
    return {sequence: archive.flushed(source, sequence) for sequence in archive.sequences(source).values()}


def join(store: OnlineStore, archive: Archive, layouts: Sequence[Layout], *, own: Iterable[int]) -> list[LiveState]:
    """The live states of one source's layouts, for a writer that feeds the sequences `own` and can replay them.

    A state is begun where the archive holds nothing yet. Otherwise it must be whole: MismatchError where it has
    another layout, StoreError where it lacks events that no feed of this writer will bring.
    """
    if not layouts:
        return []
    source, mine = layouts[0].source.name, set(own)
    flushed = flushed_offsets(archive, source)
    joined = []
    for layout, live in zip(layouts, read_live(store, layouts), strict=True):
        others = {s: offset for s, offset in flushed.items() if live is None or s not in mine}
        problem = trouble(live, layout, others)
        if problem is not None:
            raise problem
        joined.append(live or _begin(store, layout))
    return joined


def _begin(store: OnlineStore, layout: Layout) -> LiveState:
    pointer = names.encode_pointer(FIRST_EPOCH, layout.fingerprint)
    store.put([(names.pointer_name(layout.source.name, layout.entity.name), pointer)])
    return LiveState(layout, pointer, FIRST_EPOCH, {})
