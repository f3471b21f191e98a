"""What one pass over a group's prepared events can say that shortens its SQL, on either engine."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from onefold.features.plans import Group
from onefold.features.types import DataType

_COUNTED = ("count", "sum", "avg", "var_pop", "var_samp", "stddev_pop", "stddev_samp", "bool_and", "bool_or")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the prepared events, and makes lanes or sorts unneeded; it never changes a value.

    plain: columns without NULL and, where they are numbers, with room for their sum in the engine's integers and
    nothing off the grid. unique: no two events of a key have one time.
    """

    plain: frozenset[int] = frozenset()
    unique: bool = False


UNKNOWN = Facts()


def asked(group: Group) -> list[int]:
    """The prepared columns of which it helps to know whether they are plain."""
    return sorted({s.args[0] for s in group.slots if s.fn in _COUNTED and s.args[0] >= 0})


def plain_items(group: Group, bounded: Collection[DataType]) -> list[str]:
    """Aggregates over the prepared events from which `plain_columns` reads. bounded: types whose size matters."""
    items = ["count(*)"]
    for arg in asked(group):
        sized = group.layout.columns[arg].type in bounded
        items += [f"count(c{arg})", f"max(abs(CAST(c{arg} AS DOUBLE)))" if sized else "0"]
    return items


def plain_columns(group: Group, found: Sequence[float | None], *, room: float) -> frozenset[int]:
    """The columns that are plain, by the values of `plain_items`: magnitudes that add up to less than `room`.

    NaN is above every number on both engines, and so never plain.
    """
    total = found[0] or 0
    pairs = zip(asked(group), found[1::2], found[2::2], strict=False)
    return frozenset(arg for arg, count, greatest in pairs if count == total and (greatest or 0.0) * total < room)
