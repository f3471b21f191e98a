"""How a topic carries the events of a source: what a user says of it. Reading them is `onefold.streaming`'s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from onefold.features.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class Json:
    """One JSON object a record, in UTF-8; values as `features.values` reads them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Avro:
    """One Avro record a message.

    registry: each message names its schema in a schema registry, as Confluent's serializers write it. schema: a file
    (.avsc), relative to the project. Alone, it is what the messages are written with; beside a registry, it is what
    they are read as: its defaults stand for what an older or newer producer does not write.

    >>> Avro(registry=True)
    Avro(registry=True, schema=None)
    """

    registry: bool = False
    schema: str | None = None

    def __post_init__(self) -> None:
        if not self.registry and self.schema is None:
            raise DefinitionError('Avro() says nothing of its schema; write registry=True or schema="file.avsc"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Protobuf:
    """One Protobuf message each.

    registry: each message names its schema and its type, as Confluent's serializers write it. descriptors: in its
    place, a file (`protoc --include_imports --descriptor_set_out=FILE`), relative to the project. message: the full
    name of the type, as "shop.v1.Order"; with a registry, other types on the topic are then dead letters.
    """

    registry: bool = False
    descriptors: str | None = None
    message: str | None = None

    def __post_init__(self) -> None:
        if self.registry == (self.descriptors is not None):
            both = "both" if self.registry else "neither"
            raise DefinitionError(f'Protobuf() has {both} of registry=True and descriptors="file.desc"; give one')
        if self.descriptors is not None and self.message is None:
            raise DefinitionError(f'Protobuf(descriptors={self.descriptors!r}): name its type, as message="shop.Order"')


Format = Json | Avro | Protobuf


def format_json(how: Format) -> dict[str, Any]:
    """A format as the registry keeps it.

    >>> format_json(Avro(registry=True))
    {'kind': 'avro', 'registry': True}
    """
    said = {name: value for name, value in asdict(how).items() if value not in (None, False)}
    return {"kind": type(how).__name__.lower(), **said}


def format_of(said: Mapping[str, Any]) -> Format:
    """The format that the registry keeps.

    >>> format_of({"kind": "avro", "registry": True})
    Avro(registry=True, schema=None)
    """
    kinds: dict[str, type[Format]] = {"json": Json, "avro": Avro, "protobuf": Protobuf}
    return kinds[said["kind"]](**{name: value for name, value in said.items() if name != "kind"})
