"""What a verification found: counts, mismatches with their causes, and the line that says the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

KEPT = 1_000
"""Mismatches of each cause that are kept one by one; the others are counted."""
_SHOWN = 100


class Cause(StrEnum):
    """Why a served value is not what its row should have seen."""

    MISSING_EVENT = "missing event"
    DOUBLED_EVENT = "doubled event"
    VALUE_ALTERED = "value altered"
    DEFINITION_CHANGED = "definition changed"
    STATE_PARTIAL = "state partial or expired"
    DECODE_ERROR = "decode error"
    VALUE_ERROR = "value error"
    FLOAT_MARK = "float mark exceeded"
    SCORE_ALTERED = "score altered"


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause, and in words what gave it away."""

    cause: Cause
    detail: str


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One value (`feature` None: the score) that differs, with the event that explains it where one does."""

    request_id: str
    service: str
    feature: str | None
    served: Any
    expected: Any
    cause: Cause
    detail: str = ""


@dataclass
class Report:
    """The outcome of a verification. `rows` and `values` are those compared.

    failed: rows that could not be answered; of them only what could not be decoded is a mismatch.
    unprovable: rows made of events that the archive has not flushed. unscored: why a model's scores could not be
    compared, and how many there are. late_rows: rows that an event reached too late; late_events: how often, over
    their states; late_values: how many of their values it would have changed, by feature.
    mismatches: the first of each cause; `causes` counts them all.
    """

    rows: int = 0
    features: int = 0
    values: int = 0
    scores: int = 0
    failed: int = 0
    unprovable: int = 0
    unscored: dict[str, int] = field(default_factory=dict)
    late_rows: int = 0
    late_events: int = 0
    late_by_feature: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    wrong_values: int = 0
    wrong_scores: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)

    def add(self, mismatches: Iterable[Mismatch], *, cause: Cause, score: bool = False, total: int = 1) -> None:
        """Count `total` mismatches of one cause, of values or of scores; the first ones are taken from `mismatches`."""
        if not total:
            return
        room = KEPT - self.causes[cause]
        self.causes[cause] += total
        if score:
            self.wrong_scores += total
        else:
            self.wrong_values += total
        for _, mismatch in zip(range(room), mismatches, strict=False):
            self.mismatches.append(mismatch)

    @property
    def ok(self) -> bool:
        """Whether nothing differs, and nothing that can be compared was left out."""
        return not self.causes and not self.unscored

    @property
    def late_values(self) -> int:
        return self.late_by_feature.total()

    def verdict(self) -> str:
        """The last line.

        >>> Report(rows=2, features=3, values=6).verdict()
        'verify: 0 mismatches in 6 values (2 rows x 3 features)'
        """
        shape = f"{self.rows:,} rows"
        if self.features * self.rows == self.values:
            shape += f" x {self.features} features"
        more = [
            (self.wrong_scores, f"{self.wrong_scores:,} in {self.scores:,} scores"),
            (sum(self.unscored.values()), f"{sum(self.unscored.values()):,} scores not compared"),
            (self.unprovable, f"{self.unprovable:,} rows not yet provable"),
        ]
        said = [f"verify: {self.wrong_values:,} mismatches in {self.values:,} values ({shape})"]
        return ", ".join([*said, *(text for count, text in more if count)])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`; at most 100 mismatches are listed, of each cause some."""
        counts = ("rows", "features", "values", "scores", "failed", "unprovable", "unscored")
        late = ("late_rows", "late_events", "late_values")
        return {
            "ok": self.ok,
            **{n: getattr(self, n) for n in (*counts, *late)},
            "late_by_feature": dict(self.late_by_feature.most_common()),
            "causes": dict(self.causes.most_common()),
            "wrong_values": self.wrong_values,
            "wrong_scores": self.wrong_scores,
            "mismatches": [_plain(m) for m in self.examples(_SHOWN)],
            "verdict": self.verdict(),
        }

    def examples(self, limit: int) -> list[Mismatch]:
        """The first mismatches of every cause, `limit` in all."""
        each = max(limit // max(len(self.causes), 1), 1)
        seen: Counter[str] = Counter()
        found = []
        for mismatch in self.mismatches:
            seen[mismatch.cause] += 1
            if seen[mismatch.cause] <= each:
                found.append(mismatch)
        return found[:limit]


def _plain(m: Mismatch) -> dict[str, Any]:
    return {
        "request_id": m.request_id, "service": m.service, "feature": m.feature, "served": _shown(m.served),
        "expected": _shown(m.expected), "cause": str(m.cause), "detail": m.detail,
    }  # fmt: skip


def _shown(value: Any) -> Any:
    """Floats as text too, so that the last bit can be seen; times as text."""
    if isinstance(value, float):
        return {"value": repr(value), "bits": value.hex()}
    return value if value is None or isinstance(value, bool | int | str) else str(value)
