"""Avro messages to values by name: bare ones by one schema, or ones that name theirs in a registry."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fastavro

from onefold.features.errors import DefinitionError, EventError, StoreError
from onefold.features.formats import Avro
from onefold.features.protocols import Reader
from onefold.streaming.decode import NO_VALUE
from onefold.streaming.schema_registry import Read, Registered, SchemaRegistry, by_schema, framed


def avro_reader(how: Avro, *, root: Path, registry: SchemaRegistry | None) -> Reader:
    """A reader; DefinitionError where the schema's file is wrong. Where a registry is needed, it is given."""
    wanted = None if how.schema is None else _from_file(root / how.schema)
    if not how.registry:
        assert wanted is not None
        return _by(wanted, None)
    assert registry is not None
    known = by_schema(lambda ident: _by(_parsed(registry, ident), wanted))

    def read(message: bytes) -> Mapping[str, object]:
        if not message:
            raise EventError(NO_VALUE)
        ident, body = framed(message)
        return known(ident)(body)

    return read


def _by(schema: Any, wanted: Any) -> Read:
    """Read by the schema it was written with, as the schema that is wanted."""

    def read(message: bytes) -> Mapping[str, object]:
        if not message:
            raise EventError(NO_VALUE)
        stream = io.BytesIO(message)
        try:
            event = fastavro.schemaless_reader(stream, schema, wanted)
        except Exception as error:  # fastavro raises what its parts do: EOFError, IndexError, struct.error ..
            raise EventError(f"the message is not Avro of its schema: {error or type(error).__name__}") from error
        if stream.tell() != len(message):
            raise EventError(f"{len(message) - stream.tell()} bytes are left behind the Avro record: another schema")
        if not isinstance(event, dict):
            raise EventError("the Avro schema is no record; an event is one")
        return event

    return read


def _from_file(path: Path) -> Any:
    try:
        return fastavro.parse_schema(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise DefinitionError(f"Avro schema {path} cannot be read: {error.strerror}") from error
    except Exception as error:  # what is wrong in a schema, fastavro says by many classes
        raise DefinitionError(f"{path} is no Avro schema: {error}") from error


def _parsed(registry: SchemaRegistry, ident: int) -> Any:
    found = registry.schema(ident)
    if found.kind != "AVRO":
        raise EventError(f"schema {ident} of the registry is {found.kind}, not AVRO")
    named: dict[str, Any] = {}
    try:
        _add_references(registry, found, named)
        return fastavro.parse_schema(json.loads(found.text), named)
    except (EventError, StoreError):
        raise
    except Exception as error:  # as in _from_file
        raise EventError(f"schema {ident} of the registry is no Avro schema: {error}") from error


def _add_references(registry: SchemaRegistry, schema: Registered, named: dict[str, Any]) -> None:
    for reference in schema.references:
        found = registry.referenced(reference)
        _add_references(registry, found, named)
        fastavro.parse_schema(json.loads(found.text), named)
