"""What a table of the served log holds. Light to import: the request path says it to the log."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from onefold.features.contract import ModelInput
from onefold.features.types import BOOLEAN, Field, parse_type

if TYPE_CHECKING:
    from onefold.features.plans import ServicePlan

_NOTHING = Field("_nothing", BOOLEAN)


@dataclass(frozen=True, slots=True)
class ServedInputs:
    """The features, keys and request columns of a service, as they were served under one fingerprint."""

    service: str
    fingerprint: str
    features: tuple[ModelInput, ...]
    keys: tuple[Field, ...]
    request: tuple[Field, ...]

    @classmethod
    def of(cls, plan: ServicePlan) -> ServedInputs:
        inputs = tuple(plan.inputs)
        return cls(plan.name, plan.fingerprint, inputs, tuple(plan.keys), tuple(plan.request))

    def to_json(self) -> str:
        columns = {kind: [_column(f) for f in getattr(self, kind)] for kind in ("keys", "request")}
        features = [asdict(f) for f in self.features]
        return json.dumps(
            {"service": self.service, "fingerprint": self.fingerprint, "features": features, **columns}, indent=1
        )

    @classmethod
    def from_json(cls, text: str) -> ServedInputs:
        data: dict[str, Any] = json.loads(text)
        keys, request = (tuple(_field(f) for f in data[kind]) for kind in ("keys", "request"))
        features = tuple(ModelInput(**f) for f in data["features"])
        return cls(data["service"], data["fingerprint"], features, keys, request)

    @property
    def row_fields(self) -> tuple[Field, ...]:
        """Keys, then request columns, each name once. Never empty: Parquet has no struct without fields."""
        return tuple({f.name: f for f in self.keys + self.request}.values()) or (_NOTHING,)

    @property
    def feature_fields(self) -> tuple[Field, ...]:
        return tuple(Field(f.name, parse_type(f.type)) for f in self.features)


def _column(field: Field) -> dict[str, str]:
    return {"name": field.name, "type": field.type.name}


def _field(column: dict[str, str]) -> Field:
    return Field(column["name"], parse_type(column["type"]))
