"""What a verification found: counts, mismatches with their causes, and the line that says the verdict."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


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
    """The outcome of a verification. `rows` and `values` are those compared; times are microseconds.

    late_rows: rows that an event reached too late; late_values: their values that it would have changed.
    """

    rows: int = 0
    features: int = 0
    values: int = 0
    scores: int = 0
    unprovable: int = 0
    late_rows: int = 0
    late_events: int = 0
    late_values: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.mismatches

    @property
    def causes(self) -> Counter[str]:
        """How many mismatches each cause has."""
        return Counter(str(m.cause) for m in self.mismatches)

    @property
    def wrong_values(self) -> int:
        return sum(m.feature is not None for m in self.mismatches)

    @property
    def wrong_scores(self) -> int:
        return len(self.mismatches) - self.wrong_values

    def verdict(self) -> str:
        """The last line.

        >>> Report(rows=2, features=3, values=6).verdict()
        'verify: 0 mismatches in 6 values (2 rows x 3 features)'
        """
        shape = (
            f"{self.rows:,} rows x {self.features} features"
            if self.features * self.rows == self.values
            else f"{self.rows:,} rows"
        )
        return f"verify: {self.wrong_values:,} mismatches in {self.values:,} values ({shape})" + (
            f", {self.wrong_scores:,} in {self.scores:,} scores" if self.wrong_scores else ""
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`; at most 100 mismatches are listed."""
        shown = [
            {"request_id": m.request_id, "service": m.service, "feature": m.feature, "served": _shown(m.served),
             "expected": _shown(m.expected), "cause": str(m.cause), "detail": m.detail}
            for m in self.mismatches[:100]
        ]  # fmt: skip
        counts = {n: getattr(self, n) for n in ("rows", "features", "values", "scores", "unprovable")}
        late = {n: getattr(self, n) for n in ("late_rows", "late_events", "late_values")}
        return {
            "ok": self.ok,
            **counts,
            **late,
            "causes": dict(self.causes),
            "mismatches": shown,
            "verdict": self.verdict(),
        }


def _shown(value: Any) -> Any:
    """Floats as text too, so that the last bit can be seen."""
    return {"value": repr(value), "bits": value.hex()} if isinstance(value, float) else value
