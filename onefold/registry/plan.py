"""What an apply would change: the difference between two sets of records, per object and per field."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from onefold.features.definition_records import Key, Record, Records, by_key

ADDED, REMOVED, CHANGED = "added", "removed", "changed"
_NO_LOGIC = ("description", "owner", "tags", "topic", "format")
"""How events travel changes no value."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of a definition, before and after; None where there was none."""

    field: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Change:
    """One object that is added, removed or changed."""

    action: str
    kind: str
    name: str
    fields: tuple[FieldChange, ...]
    old: Record | None
    new: Record | None

    @property
    def logic(self) -> bool:
        """Whether values can differ: a fingerprint has changed (a comment or a description changes none)."""
        old, new = self.old, self.new
        if self.action != CHANGED or old is None or new is None:
            return True
        if old.fingerprint is None:
            return any(f.field not in _NO_LOGIC for f in self.fields)
        return old.fingerprint != new.fingerprint

    def to_json(self) -> dict[str, Any]:
        return {
            "action": self.action,
            "kind": self.kind,
            "name": self.name,
            "logic": self.logic,
            "fields": [{"field": f.field, "old": f.old, "new": f.new} for f in self.fields],
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """All changes, in order of kind and name."""

    changes: tuple[Change, ...]

    @classmethod
    def between(cls, applied: Records, wanted: Records) -> Plan:
        both = by_key([*applied.values(), *wanted.values()])
        return cls(tuple(c for key in both if (c := _change(applied.get(key), wanted.get(key)))))

    @property
    def put(self) -> tuple[Key, ...]:
        """Keys of what is new or changed."""
        return tuple((c.kind, c.name) for c in self.changes if c.new is not None)

    @property
    def removed(self) -> tuple[Record, ...]:
        return tuple(c.old for c in self.changes if c.new is None and c.old is not None)

    def services_of(self, change: Change) -> list[str]:
        """Services that take a feature of the changed view, before or after."""
        names = {
            other.name
            for other in self.changes
            if other.kind == "service"
            for record in (other.old, other.new)
            if record is not None and any(f["view"] == change.name for f in record.body["features"])
        }
        return sorted(names) if change.kind in ("view", "on_demand") else []


def _change(old: Record | None, new: Record | None) -> Change | None:
    record = new or old
    if record is None or (old is not None and new is not None and old.to_json() == new.to_json()):
        return None
    action = CHANGED if old and new else ADDED if new else REMOVED
    fields = tuple(_fields(old.body, new.body)) if old and new else ()
    return Change(action, record.kind, record.name, fields, old, new)


def _fields(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[FieldChange]:
    """Changed fields; a list of named things (features, columns) is compared thing by thing."""
    for field in (*new, *(f for f in old if f not in new)):
        before, after = old.get(field), new.get(field)
        if before == after:
            continue
        parts = _named(before), _named(after)
        if parts[0] is None or parts[1] is None:
            yield FieldChange(field, before, after)
            continue
        for name in dict.fromkeys((*parts[0], *parts[1])):
            if parts[0].get(name) != parts[1].get(name):
                yield FieldChange(f"{field}.{name}", parts[0].get(name), parts[1].get(name))
        if parts[0].keys() == parts[1].keys() and list(parts[0]) != list(parts[1]):
            yield FieldChange(f"{field} order", list(parts[0]), list(parts[1]))


def _named(value: Any) -> dict[str, Any] | None:
    """Features by name, or [name, type] pairs by name; None for anything else."""
    if not isinstance(value, list):
        return None
    if all(isinstance(v, dict) and "name" in v for v in value):
        return {v["name"]: {k: x for k, x in v.items() if k != "name"} for v in value}
    if all(isinstance(v, list) and len(v) == 2 and isinstance(v[0], str) for v in value):
        return dict(value)
    return None


def sql_diff(old: str, new: str) -> list[str]:
    """Lines of a unified diff without its header: each begins with ' ', '-' or '+'."""
    before, after = (textwrap.dedent(text).strip().splitlines() for text in (old, new))
    lines = list(difflib.unified_diff(before, after, lineterm="", n=2))
    return [line for line in lines[2:] if not line.startswith("@@")]
