"""What the registry remembers of a definition: canonical JSON, enough to show and to compare it without its code."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from onefold.features.errors import StoreError

FORMAT = 1
KINDS = ("entity", "source", "state", "view", "on_demand", "service")
"""`state` is the layout in which the store keeps the events of one (source, entity)."""
Key = tuple[str, str]
"""(kind, name)"""


@dataclass(frozen=True, slots=True)
class Record:
    """One definition: `body` holds JSON values only, in a fixed form for each kind."""

    kind: str
    name: str
    body: Mapping[str, Any]

    @property
    def key(self) -> Key:
        return self.kind, self.name

    @property
    def fingerprint(self) -> str | None:
        """Of a state, view or service; entities and sources have none of their own."""
        return self.body.get("fingerprint")

    def to_json(self) -> str:
        whole = {"format": FORMAT, "kind": self.kind, "name": self.name, "body": self.body}
        return json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Record:
        try:
            data = json.loads(text)
            if data["format"] != FORMAT:
                raise StoreError(
                    f"the registry holds a definition of format {data['format']}, known is {FORMAT}; "
                    "use the Onefold that wrote it, or apply again into a fresh registry"
                )
            return cls(data["kind"], data["name"], data["body"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"the registry holds a definition that cannot be read ({error!r}); apply again") from error


Records = dict[Key, Record]


def by_key(records: Iterable[Record]) -> Records:
    """Records in a fixed order: by kind, then by name."""
    return {r.key: r for r in sorted(records, key=lambda r: (KINDS.index(r.kind), r.name))}
