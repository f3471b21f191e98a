"""What a model and the features that feed it promise each other. Training writes it, serving checks it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from onefold.features.errors import MismatchError, ModelError
from onefold.features.types import BOOLEAN, parse_type

FORMAT = 1


@dataclass(frozen=True, slots=True)
class ModelInput:
    """One input of a model: position is order, `fingerprint` is the feature's."""

    name: str
    type: str
    fingerprint: str


def refusal(item: ModelInput) -> str | None:
    """Why a model cannot take a feature of this type, in words; None for a number, which DECIMAL is too."""
    kind = parse_type(item.type)
    if kind.is_numeric or kind == BOOLEAN:
        return None
    way = (
        "take items or a total of it in an on-demand view, as x[1], len(x) or list_sum(x)"
        if kind.is_list
        else "make a number of it in an on-demand view, as with CASE or extract"
    )
    return (
        f"feature {item.name!r} is {item.type}, and a model takes BOOLEAN, BIGINT, DOUBLE or DECIMAL; "
        f"leave it out of the service, or {way}"
    )


@dataclass(frozen=True, slots=True)
class GoldenRow:
    """A real row (DOUBLEs, NULL as None) and the score that its trainer's ONNX session gave it."""

    values: tuple[float | None, ...]
    score: float


@dataclass(frozen=True, slots=True)
class ModelContract:
    """A model's side of the bargain.

    libraries: name to version, of what wrote the model (`onnx`, `xgboost`) and of what must run it (`opset`).
    """

    model: str
    version: str
    service: str
    fingerprint: str
    inputs: tuple[ModelInput, ...]
    libraries: Mapping[str, str]
    golden: tuple[GoldenRow, ...]
    format: int = FORMAT

    def to_json(self) -> str:
        """Floats keep their bits: JSON writes the shortest text that reads back the same."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelContract:
        try:
            data: dict[str, Any] = json.loads(text)
            if data["format"] != FORMAT:
                raise ModelError(f"contract format {data['format']} is not {FORMAT}; train the model again")
            data["inputs"] = tuple(ModelInput(**i) for i in data["inputs"])
            data["golden"] = tuple(GoldenRow(tuple(g["values"]), g["score"]) for g in data["golden"])
            return cls(**data)
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"contract.json cannot be read ({error!r}); export the model again") from error

    def check(self, *, service: str, fingerprint: str, inputs: Sequence[ModelInput]) -> None:
        """Raise MismatchError, naming each difference, unless a service serves what the model takes."""
        found = differences(self.inputs, inputs)
        if self.service != service:
            found.insert(0, f"it takes service {self.service!r}, served is {service!r}")
        if not found and self.fingerprint != fingerprint:
            found.append(f"its service has fingerprint {self.fingerprint}, served is {fingerprint}")
        if found:
            raise MismatchError(
                f"model {self.model!r} version {self.version}: "
                + "; ".join(found)
                + "; train it again, or serve its definitions"
            )


def differences(wanted: Sequence[ModelInput], served: Sequence[ModelInput]) -> list[str]:
    """How two lists of inputs differ, in words; empty where they agree in names, order, types and logic."""
    found = []
    names, theirs = [i.name for i in wanted], [i.name for i in served]
    if names != theirs:
        missing, extra = [n for n in names if n not in theirs], [n for n in theirs if n not in names]
        if missing or extra:
            found.append(f"missing {missing}, not asked for {extra}")
        else:
            found.append(f"order is {theirs}, model takes {names}")
    by_name = {i.name: i for i in served}
    for want in wanted:
        have = by_name.get(want.name)
        if have is None:
            continue
        if have.type != want.type:
            found.append(f"feature {want.name!r} is {have.type}, model takes {want.type}")
        elif have.fingerprint != want.fingerprint:
            found.append(
                f"feature {want.name!r} has fingerprint {have.fingerprint}, model was trained on {want.fingerprint}"
            )
    return found
