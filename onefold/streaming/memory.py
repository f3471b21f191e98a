"""What the online state takes: bytes a key and an event of each (source, entity), measured on some of its strings."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from onefold.features.errors import StateError
from onefold.features.layout import Layout
from onefold.features.protocols import OnlineStore
from onefold.features.state import StateCodec
from onefold.streaming.live import read_live

SAMPLE = 1_000
_PAGE = 200


class MeasuredStore(OnlineStore, Protocol):
    """A store that knows what its strings take."""

    def memory(self, names: Sequence[bytes]) -> list[int]:
        """Bytes that each string takes with its name, as the store counts them; 0 where there is none."""


@dataclass(frozen=True, slots=True)
class StateMemory:
    """The live state of one (source, entity). All but `keys` is reckoned from `sampled` strings.

    packed: bytes of the strings themselves; bytes: what the store takes for them. largest: of the sample, in bytes.
    """

    source: str
    entity: str
    epoch: int
    keys: int
    sampled: int
    events: int
    packed: int
    bytes: int
    largest: int

    @property
    def bytes_a_key(self) -> float:
        return self.bytes / self.keys if self.keys else 0.0

    @property
    def bytes_an_event(self) -> float:
        return self.bytes / self.events if self.events else 0.0


def online_memory(store: MeasuredStore, layouts: Iterable[Layout], *, sample: int = SAMPLE) -> list[StateMemory]:
    """What each live state takes. Goes through all names; reads `sample` strings of each state."""
    wanted = list(layouts)
    return [_measure(store, live.layout, live.epoch, sample) for live in read_live(store, wanted) if live is not None]


def _measure(store: MeasuredStore, layout: Layout, epoch: int, sample: int) -> StateMemory:
    keys, names = _drawn(store.names(layout.prefix(epoch)), sample)
    sizes = [size for page in _pages(names) for size in store.memory(page)]
    states = [state for page in _pages(names) for state in store.get(page) if state is not None]
    codec = StateCodec(layout)
    scale = keys / max(1, len(states))
    return StateMemory(
        layout.source.name, layout.entity.name, epoch, keys, len(states),
        events=round(scale * sum(_events(codec, state) for state in states)),
        packed=round(scale * sum(map(len, states))), bytes=round(scale * sum(sizes)), largest=max(sizes, default=0),
    )  # fmt: skip


def _events(codec: StateCodec, state: bytes) -> int:
    try:
        return len(codec.decode(state).events.ts)
    except StateError:
        return 0


def _drawn(names: Iterable[bytes], sample: int) -> tuple[int, list[bytes]]:
    """How many names there are, and some of them, each with the same chance."""
    dice, count, kept = random.Random(1), 0, list[bytes]()
    for count, name in enumerate(names, start=1):
        if len(kept) < sample:
            kept.append(name)
        elif (place := dice.randrange(count)) < sample:
            kept[place] = name
    return count, kept


def _pages(names: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(names), _PAGE):
        yield names[start : start + _PAGE]
