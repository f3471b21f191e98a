"""The reader of a format. Each of them is imported only where a source has that format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onefold.features.errors import ConfigError
from onefold.features.formats import Avro, Format, Protobuf
from onefold.streaming.decode import Reader

if TYPE_CHECKING:
    from onefold.streaming.schema_registry import SchemaRegistry


def reader_of(how: Format, *, root: Path, registry: SchemaRegistry | None = None) -> Reader | None:
    """What reads a topic of that format; None for JSON, which the decoder reads itself.

    root: the project's folder, for files of schemas. DefinitionError where such a file is wrong, ConfigError where a
    registry is needed and there is none, or a library is missing.
    """
    if isinstance(how, Avro | Protobuf) and how.registry and registry is None:
        raise ConfigError(f"format {how} needs a schema registry; give its URL as [kafka] schema_registry")
    try:
        if isinstance(how, Avro):
            from onefold.streaming.avro_reader import avro_reader

            return avro_reader(how, root=root, registry=registry)
        if isinstance(how, Protobuf):
            from onefold.streaming.protobuf_reader import protobuf_reader

            return protobuf_reader(how, root=root, registry=registry)
    except ImportError as error:
        raise ConfigError(f"format {how} needs {error.name}; install it: pip install 'onefold[kafka]'") from error
    return None
