"""What an ONNX file says of itself, read from its bytes before any runtime sees it.

A walk over the protobuf wire format, so that serving needs neither the `onnx` package (0.4 s of
imports) nor trust in the file. It visits every message that can hold a tensor or a node, and refuses
what reaches outside the file: external data, and operators of other domains than ONNX's own (some of
Microsoft's name files, as `EPContext` does).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from onefold.features.errors import ModelError

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
MAX_DEPTH = 64

_CHILDREN: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 8: "Opset", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 9: "Opset", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
}
"""Message to the numbers of the fields that hold messages worth visiting (onnx.proto)."""

_EXTERNAL_DATA, _DATA_LOCATION, _NODE_DOMAIN = 13, 14, 7
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(slots=True)
class OnnxFile:
    """Opset versions by domain (the default domain is `ai.onnx`), and whether there is a graph at all."""

    opsets: dict[str, int] = field(default_factory=dict)
    graphs: int = 0


def inspect(data: bytes) -> OnnxFile:
    """Read what the file says; ModelError where it is not ONNX, or refers to anything outside itself."""
    found = OnnxFile()
    try:
        _visit(memoryview(data), "Model", found, 0)
    except (IndexError, ValueError) as error:
        raise ModelError(f"it is not an ONNX file ({error}); export the model again") from error
    if not found.graphs or not found.opsets:
        raise ModelError("it is not an ONNX file (no graph, or no opset); export the model again")
    return found


def _visit(data: memoryview, message: str, found: OnnxFile, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError("it nests too deeply")
    if message == "Opset":
        domain, version = _opset(data)
        found.opsets[domain or "ai.onnx"] = version
        return
    children = _CHILDREN.get(message, {})
    found.graphs += message == "Graph"
    for number, value in _fields(data):
        if message == "Tensor":
            _refuse_external(number, value)
        elif message == "Node" and number == _NODE_DOMAIN and isinstance(value, memoryview):
            _refuse_domain(_text(value))
        elif number in children and isinstance(value, memoryview):
            _visit(value, children[number], found, depth + 1)


def _refuse_external(number: int, value: memoryview | int) -> None:
    if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0):
        raise ModelError(
            "its weights refer to an external data file, and only what is inside model.onnx is loaded; "
            "save it with onnx.save(model, path, save_as_external_data=False)"
        )


def _refuse_domain(domain: str) -> None:
    if domain not in DOMAINS:
        raise ModelError(
            f"it uses an operator of domain {domain!r}, which may reach outside the file; "
            f"export it with the operators of {sorted(DOMAINS - {''})} only"
        )


def _opset(data: memoryview) -> tuple[str, int]:
    domain, version = "", 0
    for number, value in _fields(data):
        if number == 1 and isinstance(value, memoryview):
            domain = _text(value)
        elif number == 2 and isinstance(value, int):
            version = value
    return domain, version


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Field number and value (bytes, or a number) of each field of one message."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 2**29:
            raise ValueError("a field has no valid number")
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind} is unknown")
        if at + size > end:
            raise ValueError("it ends in the middle of a field")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    result = shift = 0
    while shift < 70:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & (2**64 - 1), at
        shift += 7
    raise ValueError("a number is longer than ten bytes")


def _text(data: memoryview) -> str:
    return bytes(data).decode("utf-8", "replace")
