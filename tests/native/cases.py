"""Random layouts, slots and states for the native kernel, and what it must agree with: the Python fold."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onefold.features import ir
from onefold.features.aggregates import AGGREGATES
from onefold.features.compile_python import ValueErrors
from onefold.features.definitions import Entity, EventSource
from onefold.features.errors import StateError
from onefold.features.fold import Reading, StateFold
from onefold.features.layout import TIME, Layout, PreparedEvent, Slot
from onefold.features.parts import KINDS, Part
from onefold.features.state import StateCodec
from onefold.features.types import (
    BIGINT,
    BIGINT_MAX,
    BIGINT_MIN,
    BOOLEAN,
    DATE,
    DATE_MAX,
    DATE_MIN,
    DOUBLE,
    TIMESTAMP,
    TIMESTAMP_MAX,
    TIMESTAMP_MIN,
    VARCHAR,
    DataType,
    decimal,
    list_of,
)

SECOND, HOUR, NOW = 1_000_000, 3_600_000_000, 1_700_000_000_000_000
TYPES = (
    BOOLEAN, BIGINT, DOUBLE, VARCHAR, TIMESTAMP, DATE, decimal(9, 2), decimal(18, 0), decimal(38, 5), list_of(BIGINT),
    list_of(VARCHAR), list_of(decimal(30, 2)),
)  # fmt: skip
_CONSTANTS = {"last_n": (1, 2, 5), "last_distinct": (1, 3), "quantile_disc": (0, 500_000, 990_000)}
_HOSTILE = (
    math.nan, math.inf, -math.inf, 2.0**53, -(2.0**53), 2.0**53 - 1, 1 - 2.0**53, 2.0**52 + 0.5, 1e-30, -1e-30,
    2.0**-72, -(2.0**-73), 1.5 * 2.0**-72, 2.0**-19, 1e300, 5e-324, 0.1, -0.1, 0.0, 1e9 + 0.1,
)  # fmt: skip


def value(dice: random.Random, kind: DataType, style: int) -> Any:
    """A value of a type; the style of a column says of what sort they are: small, any, or hostile."""
    if dice.random() < (0.2, 0.0, 0.05)[style % 3]:
        return None
    if kind.item is not None:
        return tuple(value(dice, kind.item, style) for _ in range(dice.randrange(4)))
    if kind.is_decimal:
        return dice.randint(1 - 10**kind.precision, 10**kind.precision - 1) if style > 1 else dice.randrange(-500, 500)
    if kind == DOUBLE:
        some = (
            dice.randrange(-9999, 9999) / 100.0,
            dice.gauss(0, 1e3),
            dice.choice(_HOSTILE),
            dice.randrange(-9, 9) / 1,
        )
        return some[style % 4]
    if kind == VARCHAR:
        return dice.choice(
            ("", "a", "b", "é", "日本", "a longer text than eight", "z" * dice.randrange(40), "\U0001f600")
        )
    if kind == BOOLEAN:
        return dice.random() < 0.5
    low, high = {TIMESTAMP: (TIMESTAMP_MIN, TIMESTAMP_MAX), DATE: (DATE_MIN, DATE_MAX)}.get(
        kind, (BIGINT_MIN, BIGINT_MAX)
    )
    return dice.choice((dice.randint(low, high), low, high)) if style > 1 else dice.randrange(-20, 20)


@dataclass(frozen=True)
class Case:
    """A layout with slots, and states of it that are sound."""

    layout: Layout
    slots: tuple[Slot, ...]
    states: tuple[bytes, ...]
    times: tuple[int, ...]


def layout_of(dice: random.Random, *, ids: bool) -> Layout:
    kinds = [dice.choice(TYPES) for _ in range(dice.randrange(1, 10))] + [BOOLEAN] * dice.randrange(1, 3)
    dice.shuffle(kinds)
    schema: dict[str, str | DataType] = {f"c{i}": kind for i, kind in enumerate(kinds)}
    source = EventSource(
        name="e", schema={"k": "BIGINT", "at": "TIMESTAMP", "id": "BIGINT", **schema}, event_time="at",
        event_id="id" if ids else None,
    )  # fmt: skip
    columns = tuple(ir.Column(f"c{i}", kind, True) for i, kind in enumerate(kinds))
    return Layout(source, Entity(name="k", keys={"k": "BIGINT"}), columns, None, None)


def window_of(dice: random.Random, resolution: int | None) -> ir.Window:
    if resolution is not None:
        upper = dice.choice((0, 0, 1, resolution, 3 * resolution))
        return ir.Window(dice.choice((None, upper + dice.randrange(50 * HOUR))), upper, None, resolution)
    match dice.randrange(6):
        case 0:
            return ir.Window(None, dice.choice((0, 1, HOUR)))
        case 1:
            rows = dice.randrange(3), dice.choice((None, 1, 2, 7))
            return ir.Window(None, dice.randrange(2), rows)
        case 2:
            upper = dice.choice((1, SECOND, HOUR))
            return ir.Window(upper + dice.randrange(40 * HOUR), upper)
    return ir.Window(dice.choice((0, SECOND, HOUR, HOUR - 1, 24 * HOUR, 48 * HOUR)))


def slot_of(dice: random.Random, layout: Layout, resolution: int | None = None) -> Slot | None:
    """One aggregate of any columns that it takes; None where the layout has none of them."""
    spec = AGGREGATES[dice.choice(sorted(AGGREGATES))]
    if resolution is not None and spec.name not in KINDS:
        return None
    chosen, kinds = [], []
    for wanted in spec.args if resolution is None or spec.name != "quantile_disc" else ((BIGINT,),):
        fitting = [i for i, t in enumerate(layout.types) if _takes(spec, wanted, t)]
        if wanted is None and resolution is None:
            fitting.append(TIME)
        if not fitting:
            return None
        chosen.append(dice.choice(fitting))
        kinds.append(TIMESTAMP if chosen[-1] == TIME else layout.types[chosen[-1]])
    flags = [i for i, t in enumerate(layout.types) if t == BOOLEAN]
    window = window_of(dice, resolution)
    aside = layout.has_ids or window.rows is not None
    where = dice.choice((None, dice.choice(flags))) if aside else None
    filter_ = dice.choice((None, None, dice.choice(flags)))
    given = spec.result(kinds[0]) if kinds else BIGINT
    params = (dice.choice(_CONSTANTS[spec.name]),) if spec.constant else ()
    return Slot(spec.name, tuple(chosen), where, filter_, window, tuple(kinds), given, params)


def _takes(spec: Any, wanted: tuple[DataType, ...] | None, kind: DataType) -> bool:
    if kind.is_list:
        return wanted is None and spec.takes_lists
    return wanted is None or kind in wanted or (kind.is_decimal and spec.takes_decimals)


def events_of(dice: random.Random, layout: Layout, count: int) -> list[tuple[int, int, PreparedEvent]]:
    """(sequence, offset, event) as they arrive: mostly in order of time, from one or several sequences."""
    styles = [dice.randrange(4) for _ in layout.types]
    offsets: dict[int, int] = {}
    spread = dice.choice((0, 2, HOUR, 48 * HOUR))
    unit = dice.choice((1, 1_000, SECOND))
    sequences, found = dice.choice((1, 1, 3, 30)), []
    for i in range(count):
        ts = NOW - (count - i) * dice.choice((1, HOUR, 0)) - dice.randrange(spread + 1)
        sequence = dice.randrange(sequences)
        offsets[sequence] = offsets.get(sequence, -1) + dice.randrange(1, 3)
        values = tuple(value(dice, kind, style) for kind, style in zip(layout.types, styles, strict=True))
        id_hash = dice.choice((dice.randrange(5), dice.getrandbits(64))) if layout.has_ids else 0
        found.append((sequence, offsets[sequence], PreparedEvent(b"k", ts // unit * unit, id_hash, values)))
    return found


def state_of(dice: random.Random, layout: Layout, count: int) -> bytes:
    """A state as workers and compactors leave it: heads at some floor, tails, and records written again."""
    codec, events = StateCodec(layout), events_of(dice, layout, count)
    state, cut = b"", dice.randrange(count + 1)
    for i, (sequence, offset, event) in enumerate(events):
        state += codec.record(sequence, offset, event)
        if dice.random() < 0.05:
            state += codec.record(sequence, offset, event)
        if i + 1 == cut:
            floor = dice.choice((None, None, NOW - dice.randrange(60 * HOUR)))
            before = None if layout.resolution is None else NOW - dice.randrange(30 * HOUR)
            state = codec.compact(state, floor=floor, generation=struct.pack("<Q", i), before=before)
    return state


def case(seed: int, *, most: int = 40) -> Case:
    """A case by number."""
    dice = random.Random(seed)
    resolution = dice.choice((None, None, None, HOUR, 6 * HOUR))
    ids = resolution is None and dice.random() < 0.4
    layout = layout_of(dice, ids=ids)
    found = [slot_of(dice, layout, resolution) for _ in range(dice.randrange(1, 25))]
    slots = tuple(s for s in found if s is not None)
    if resolution is not None:
        layout = _in_buckets(layout, slots, resolution)
    states = tuple(state_of(dice, layout, dice.choice((0, 1, 2, 5, dice.randrange(most)))) for _ in range(6))
    times = tuple(NOW + dice.choice((0, -1, 1, HOUR, -HOUR, -30 * HOUR, 90 * HOUR)) for _ in states)
    return Case(layout, slots, states, times)


def _in_buckets(layout: Layout, slots: Sequence[Slot], resolution: int) -> Layout:
    parts = tuple(sorted({Part.of(s) for s in slots}, key=lambda p: p.plain))
    return Layout(layout.source, layout.entity, layout.columns, None, None, resolution, parts)


def bits(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(map(bits, value))
    return struct.pack("<d", value) if isinstance(value, float) else (type(value).__name__, value)


def shown(reading: Reading | StateError) -> Any:
    """A Reading to the bit; for every StateError one word."""
    if isinstance(reading, StateError):
        return "StateError"
    values, partial, offsets, newest, events = reading
    return bits(values), list(partial), offsets, newest, events


def both(layout: Layout, slots: Sequence[Slot]) -> tuple[StateFold, ValueErrors, StateFold, ValueErrors]:
    """The native fold and the Python one, each with the value errors that it counts."""
    native, python = ValueErrors(), ValueErrors()
    return (
        StateFold(layout, slots, errors=native), native,
        StateFold(layout, slots, errors=python, native=False), python,
    )  # fmt: skip
