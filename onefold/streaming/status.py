"""How far each feed has come: in the archive, in every state of its source, and beside the end of its topic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onefold.features.keys import debt
from onefold.features.layout import Layout
from onefold.features.project import Project
from onefold.features.protocols import Archive, OnlineStore
from onefold.streaming.live import LiveState, read_live, trouble

WHOLE, BEHIND, UNBUILT, OTHER = "whole", "behind", "not built", "another layout"


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """One feed, with its number where it was ever taken.

    archived, held: the highest offset in the archive, and the least of the states' (-1 before the first). end: of its
    topic, where it is known; waiting: what lies between. condition: of the states of its source.
    """

    source: str
    feed: str
    sequence: int | None
    archived: int
    held: int
    end: int | None
    waiting: int | None
    condition: str


def feed_statuses(
    project: Project, *, store: OnlineStore, archive: Archive, ends: Mapping[tuple[str, str], int]
) -> list[FeedStatus]:
    """Every feed of every source. ends: by source and feed, the offset behind the last record."""
    return [status for name in project.sources for status in _of_source(project, name, store, archive, ends)]


def _of_source(
    project: Project, name: str, store: OnlineStore, archive: Archive, ends: Mapping[tuple[str, str], int]
) -> Sequence[FeedStatus]:
    layouts = [x for x in project.layouts.values() if x.source.name == name]
    flushed, states = archive.progress(name), read_live(store, layouts)
    conditions = [_condition(live, layout) for live, layout in zip(states, layouts, strict=True)]
    condition = next((c for c in conditions if c != WHOLE), WHOLE)
    found = []
    known: dict[str, int | None] = {**archive.sequences(name)}
    for feed, sequence in (dict.fromkeys(f for of, f in ends if of == name) | known).items():
        archived, end = (-1 if sequence is None else flushed.get(sequence, -1)), ends.get((name, feed))
        held = min((_held(live, sequence) for live in states), default=archived)
        waiting = None if end is None else max(0, end - 1 - held)
        here = BEHIND if condition == WHOLE and held < archived else condition
        found.append(FeedStatus(name, feed, sequence, archived, held, end, waiting, here))
    return found


def _held(live: LiveState | None, sequence: int | None) -> int:
    return -1 if live is None or sequence is None else live.marker(sequence)


def _condition(live: LiveState | None, layout: Layout) -> str:
    if live is None:
        return UNBUILT
    if trouble(live, layout, {}) is not None:
        return OTHER
    behind = any(live.marks.get(debt(field), -1) < offset for field, offset in live.marks.items() if field < 0)
    return BEHIND if behind else WHOLE
