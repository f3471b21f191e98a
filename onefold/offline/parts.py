"""The work of a group in parts that memory holds: by a hash of the key, or by time where one key is too much of it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import duckdb

from onefold.features.duckdb_choice import room
from onefold.features.duckdb_plans import needs_of
from onefold.features.duckdb_scalar import quote
from onefold.features.plans import Group
from onefold.features.types import VARCHAR
from onefold.offline.shape import Look

SHARE = 0.4
"""The part of the memory limit that one part of the work may take."""
MOST_PARTS = 256


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the work: relations of events and of rows that no other part has. folders: what they lie in, and
    nothing else does."""

    events: str
    spine: str
    folders: tuple[Path, ...] = ()


def parts_wanted(db: duckdb.DuckDBPyConnection, group: Group, seen: Look, plan: str) -> int:
    """In how many parts the plan's work fits the memory limit."""
    width = sum(24 if t == VARCHAR or t.item is not None else 8 for t in group.layout.types)
    width += 8 + sum(24 if f.type == VARCHAR else 8 for f in group.layout.key_fields)
    need = room(seen.shape, needs_of(group), plan, width=width)
    return max(1, min(math.ceil(need / (SHARE * memory_limit(db))), MOST_PARTS))


def memory_limit(db: duckdb.DuckDBPyConnection) -> float:
    """DuckDB's, in bytes."""
    ((limit,),) = db.execute("SELECT current_setting('memory_limit')").fetchall()
    return bytes_of(limit)


def bytes_of(size: str) -> float:
    """The number of bytes that DuckDB says a limit has.

    >>> bytes_of("1.5 KiB")
    1536.0
    """
    number, unit = re.fullmatch(r"([\d.]+)\s*(\w+)", size.strip()).groups()  # type: ignore[union-attr]
    units = {"bytes": 1, "byte": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
    return float(number) * units[unit]


def ends_cut(group: Group, seen: Look, wanted: int) -> bool:
    """Whether the work is cut by time: no hash of the key would cut it, and its windows end somewhere."""
    return group.reach is not None and (not group.layout.key_fields or seen.largest > 2 / wanted)


def by_time(db: duckdb.DuckDBPyConnection, group: Group, wanted: int, *, events: str, spine: str) -> Iterator[Part]:
    """Rows between two times, with the events that their windows reach; as many rows in each part."""
    assert group.reach is not None
    shares = [i / wanted for i in range(1, wanted)]
    ((first, inner, last),) = db.execute(
        f"SELECT min(_t), quantile_disc(_t, {shares}), max(_t) FROM {spine}"
    ).fetchall()
    if first is None:
        yield Part(events, spine)
        return
    cuts = sorted({first, *inner, last + 1})
    time = f"epoch_us({quote(group.layout.source.event_time)})"
    for low, high in pairwise(cuts):
        yield Part(
            f"(SELECT * FROM {events} WHERE {time} >= {low - group.reach} AND {time} < {high})",
            f"(SELECT * FROM {spine} WHERE _t >= {low} AND _t < {high})",
        )


def by_key(group: Group, wanted: int, *, events: str, spine: str) -> Iterator[Part]:
    """The events and rows of the keys that a hash puts together."""
    theirs, ours = places(group, wanted)
    for i in range(wanted):
        yield Part(f"(SELECT * FROM {events} WHERE {theirs} = {i})", f"(SELECT * FROM {spine} WHERE {ours} = {i})")


def places(group: Group, wanted: int) -> tuple[str, str]:
    """The number of the part of an event, and of a row, by bits of the key's hash that DuckDB's own hash tables and
    partitions use last."""
    keys = group.layout.key_fields
    both = ", ".join(quote(f.name) for f in keys), ", ".join(f"_k{i}" for i in range(len(keys)))
    theirs, ours = (f"((hash({columns}) >> 24) % {wanted})::BIGINT" for columns in both)
    return theirs, ours
