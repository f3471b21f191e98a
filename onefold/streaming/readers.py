"""The reader of a format. Each of them is imported only where a source has that format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onefold.features.definitions import Branch, EventSource
from onefold.features.errors import ConfigError
from onefold.features.formats import Avro, Format, Protobuf
from onefold.features.project import Project
from onefold.features.protocols import Reader

if TYPE_CHECKING:
    from onefold.streaming.schema_registry import SchemaRegistry


def readers_of(project: Project, *, root: Path, registry: SchemaRegistry | None = None) -> dict[str, Reader | None]:
    """The reader of every topic's format, by source (`source` or `source.branch`). Raises what `reader_of` does."""
    said: dict[str, EventSource | Branch] = {}
    for source in project.sources.values():
        said |= {source.name: source, **{f"{source.name}.{b.name}": b for b in source.branches}}
    return {name: reader_of(x.format, root=root, registry=registry) for name, x in said.items() if x.topic is not None}


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
        raise ConfigError(f"format {how} needs {error.name}; install it: pip install 'onefold[formats]'") from error
    return None
