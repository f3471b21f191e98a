"""What a training set says about itself: `manifest.json`, written beside the rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from onefold.features.contract import ModelInput
from onefold.features.errors import InputError

FORMAT = 1


@dataclass(frozen=True, slots=True)
class SequenceVersion:
    """Up to which offset a feed was in the archive; -1 where nothing of it was."""

    sequence: int
    feed: str
    offset: int


@dataclass(frozen=True, slots=True)
class SourceVersion:
    """What the archive held of a source: the table's version, its rows, and its sequences."""

    source: str
    version: int
    rows: int
    sequences: tuple[SequenceVersion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """From which definitions and events the rows were made, and what they must hash to.

    inputs: the service's features in order, with types and fingerprints. as_of: `event_time` or `served`.
    rows, labelled: rows in all, and those whose label is not NULL. first_time, last_time: ISO 8601, UTC, of the
    rows' `event_timestamp`; None of an empty set. content_hash: see `content_hash`. created_at: ISO 8601, UTC.
    """

    service: str
    fingerprint: str
    inputs: tuple[ModelInput, ...]
    as_of: str
    label: str | None
    rows: int
    labelled: int
    first_time: str | None
    last_time: str | None
    sources: tuple[SourceVersion, ...]
    content_hash: str
    libraries: Mapping[str, str]
    created_at: str
    format: int = FORMAT

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """The manifest of its text; InputError where it is none."""
        try:
            data: dict[str, Any] = json.loads(text)
            if data["format"] != FORMAT:
                raise InputError(f"training set format {data['format']} is not {FORMAT}; build the set again")
            data["inputs"] = tuple(ModelInput(**i) for i in data["inputs"])
            data["sources"] = tuple(_source(s) for s in data["sources"])
            return cls(**data)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"manifest.json cannot be read ({error!r}); build the training set again") from error


def _source(data: dict[str, Any]) -> SourceVersion:
    return SourceVersion(**{**data, "sequences": tuple(SequenceVersion(**s) for s in data["sequences"])})
