"""The catalogue of scalar functions and operators, by name; `catalogue` holds the entries, a file a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onefold.features.catalogue import (
    arithmetic,
    bits,
    comparison,
    conditional,
    decimals,
    hashing,
    lists,
    mathematics,
    patterns,
    quantiles,
    texts,
    times,
)
from onefold.features.catalogue.comparison import equal, less
from onefold.features.catalogue.entry import Function, Overload
from onefold.features.types import DOUBLE, NULL, DataType

_WRITTEN: Mapping[str, tuple[Function, ...]] = {
    "arithmetic": arithmetic.FUNCTIONS,
    "mathematics": mathematics.FUNCTIONS,
    "bits": bits.FUNCTIONS,
    "comparison and logic": (*comparison.FUNCTIONS, *comparison.FORMS),
    "conditional": (*conditional.FUNCTIONS, *conditional.FORMS),
    "text": (*texts.FUNCTIONS, *texts.FORMS, *patterns.FUNCTIONS, *patterns.FORMS),
    "time": (*times.FUNCTIONS, *times.FORMS),
    "lists": lists.FUNCTIONS,
    "hashing": (*hashing.FUNCTIONS, *hashing.FORMS),
    "quantiles": quantiles.FUNCTIONS,
}
GROUPS: Mapping[str, tuple[Function, ...]] = {
    group: tuple(f.beside(decimals.MAKERS.get(f.name)).beside(lists.MAKERS.get(f.name)) for f in entries)
    for group, entries in _WRITTEN.items()
}
_FORMS = (*comparison.FORMS, *conditional.FORMS, *texts.FORMS, *patterns.FORMS, *times.FORMS, *hashing.FORMS)
FORMS = {f.name: f for f in _FORMS}
"""What SQL writes and `sql` reads as other functions; no node of the IR bears these names."""
FUNCTIONS: dict[str, Function] = {f.name: f for group in GROUPS.values() for f in group if f.name not in FORMS}
SPECIAL = tuple(name for name, f in FUNCTIONS.items() if not f.overloads)
"""Operations that see NULLs; each compiler spells them out."""
ALIASES = {alias: f.name for group in GROUPS.values() for f in group for alias in f.aliases}
PARTS = frozenset(f.name for f in times.PARTS) | {"epoch"}
"""What `extract` takes."""
CALLED = {name for name, f in (FUNCTIONS | FORMS).items() if f.is_called} | {
    "date_trunc",
    "date_diff",
    "date_add",
    "date_part",
    "extract",
}
"""Names that SQL may call, for the nearest known one."""


def coercible(have: DataType, want: DataType) -> bool:
    """Whether a value may stand where `want` is asked without being told to: a number as DOUBLE, NULL as any."""
    return have in (want, NULL) or (want == DOUBLE and have.is_numeric)


def find_overload(op: str, types: Sequence[DataType]) -> Overload | None:
    """The overload for these argument types: an exact one first, then what a maker makes, then one they coerce to."""
    function = FUNCTIONS[op]
    fits = [o for o in function.listed if len(o.args) == len(types)]
    exact = next((o for o in fits if o.args == tuple(types)), None)
    if exact is not None:
        return exact
    for maker in function.overloads:
        made = None if isinstance(maker, Overload) else maker(types)
        if made is not None:
            return made
    return next((o for o in fits if all(coercible(t, a) for a, t in zip(o.args, types, strict=True))), None)


__all__ = [
    "ALIASES", "CALLED", "FORMS", "FUNCTIONS", "GROUPS", "PARTS", "SPECIAL", "Function", "Overload", "coercible",
    "equal", "find_overload", "less",
]  # fmt: skip
