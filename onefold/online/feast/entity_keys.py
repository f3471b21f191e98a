"""Entity keys as Feast serializes them, and the names of the strings that hold their rows."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value, ValueType
from feast.type_map import python_values_to_proto_values

from onefold.features.keys import stored_key

_U32, _I64, _I32 = struct.Struct("<I"), struct.Struct("<Iq"), struct.Struct("<Ii")
_INT64 = _U32.pack(ValueType.INT64)
_INT32 = _U32.pack(ValueType.INT32)
_STRING = _U32.pack(ValueType.STRING)


def prefix(project: str, view: str) -> bytes:
    """What the names of all strings of a plain view begin with."""
    return f"f/{project}/{view}/".encode()


_NO_ENTITY = EntityKey(join_keys=[DUMMY_ENTITY_ID], entity_values=[Value(string_val=DUMMY_ENTITY_VAL)])


def name_of(of: bytes, key: EntityKey) -> bytes:
    """The name of the string of a key. One without join keys, as Feast writes for a view without entities and never
    finds again, is that of its dummy entity."""
    if not key.join_keys:
        key = _NO_ENTITY
    return of + stored_key(serialize_entity_key(key, entity_key_serialization_version=3))


class KeyNames:
    """Names of strings from columns of key values. join_keys: of the view, with the type of each."""

    def __init__(self, of: bytes, join_keys: Sequence[str], types: Sequence[Any]) -> None:
        pairs = sorted(zip(join_keys, types, strict=True), key=lambda pair: pair[0])
        self._of, self._keys, self._types = of, [key for key, _ in pairs], [kind for _, kind in pairs]
        names = [key.encode() for key in self._keys]
        self._head = _U32.pack(len(names)) + b"".join(_STRING + _U32.pack(len(n)) + n for n in names)

    def of(self, columns: Sequence[Sequence[Any]]) -> list[bytes | None]:
        """A name a row, of columns in the sorted order of the join keys; None where a part of the key is NULL."""
        parts = [self._encoded(c, kind) for c, kind in zip(columns, self._types, strict=True)]
        of, head = self._of, self._head
        if len(parts) == 1:
            return [None if part is None else of + stored_key(head + part) for part in parts[0]]
        return [None if None in row else of + stored_key(head + b"".join(row)) for row in zip(*parts, strict=True)]

    @property
    def join_keys(self) -> Sequence[str]:
        """In the order in which `of` takes their columns."""
        return self._keys

    @staticmethod
    def _encoded(values: Sequence[Any], kind: Any) -> list[bytes | None]:
        encode = _FAST.get(kind.name)
        if encode is not None:
            wanted, pack = encode
            if all(type(v) is wanted for v in values):
                try:
                    return [pack(v) for v in values]
                except struct.error:
                    pass  # outside of the type's range: Feast says so itself
        messages = values if values and isinstance(values[0], Value) else python_values_to_proto_values(values, kind)
        return [_encoded_value(message) for message in messages]


def _int64(value: int) -> bytes:
    return _INT64 + _I64.pack(8, value)


def _int32(value: int) -> bytes:
    return _INT32 + _I32.pack(4, value)


def _string(value: str) -> bytes:
    raw = value.encode()
    return _STRING + _U32.pack(len(raw)) + raw


_FAST: dict[str, tuple[type, Callable[[Any], bytes]]] = {
    "INT64": (int, _int64), "INT32": (int, _int32), "STRING": (str, _string),
}  # fmt: skip


def _encoded_value(value: Value) -> bytes | None:
    """The part of a serialized key that its value is; None where it is NULL."""
    if value.WhichOneof("val") in (None, "null_val"):
        return None
    whole = serialize_entity_key(EntityKey(join_keys=[""], entity_values=[value]), entity_key_serialization_version=3)
    return bytes(whole[_EMPTY:])


_EMPTY = _U32.size * 3
"""Where the values begin behind one join key without a name: how many, type and length of the name."""
