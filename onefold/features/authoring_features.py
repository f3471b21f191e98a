"""The features of a view that is written in Python: named expressions, one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from onefold.features.authoring import Expr, Fan, Named, Operators, node_of
from onefold.features.authoring_nodes import Node, wrong
from onefold.features.errors import DefinitionError
from onefold.features.places import Place, here


@dataclass(frozen=True, slots=True)
class AuthoredFeature:
    """A named expression, as a view keeps it."""

    name: str
    node: Node
    place: Place | None = field(default=None, compare=False, repr=False)


Features: TypeAlias = "Mapping[str, Expr | Fan] | Sequence[Named | AuthoredFeature]"
"""What a view takes as `features`."""


def listed(features: Features) -> tuple[AuthoredFeature, ...]:
    """The features by name, in their order; those over several windows one by one."""
    items: Iterable[tuple[object, object]]
    if isinstance(features, Mapping):
        items = features.items()
    elif isinstance(features, str | Operators):
        raise wrong("features= takes {'name': expression, ..} or [expression.named('name'), ..]", here())
    else:
        items = [_pair(i, item) for i, item in enumerate(features)]
    found = [f for name, value in items for f in _fanned(name, value)]
    if not found:
        raise wrong("features= is empty; give at least one, as {'orders_7d': count().over('7 days')}", here())
    _check_unique(found)
    return tuple(found)


def _pair(position: int, item: object) -> tuple[object, object]:
    if isinstance(item, AuthoredFeature):
        return item.name, Expr(item.node)
    if not isinstance(item, Named):
        raise wrong(
            f"feature no. {position + 1} of the list has no name; write .named('..') behind it", _place_of(item)
        )
    return item.name, item.value


def _fanned(name: object, value: object) -> Iterator[AuthoredFeature]:
    if not isinstance(name, str) or not name.isidentifier():
        raise wrong(f"feature name {name!r} is not an identifier", _place_of(value))
    if isinstance(value, Fan):
        for suffix, expr in value.parts:
            yield from _fanned(f"{name}_{suffix}", expr)
        return
    try:
        node = node_of(value)
    except DefinitionError as error:
        raise error.of(f"feature {name!r}") from None
    yield AuthoredFeature(name, node, node.place)


def _place_of(value: object) -> Place | None:
    if isinstance(value, Fan):
        value = value.parts[0][1]
    return value.node.place if isinstance(value, Expr) else here()


def _check_unique(features: Sequence[AuthoredFeature]) -> None:
    seen: dict[str, str] = {}
    for feature in features:
        before = seen.setdefault(feature.name.lower(), feature.name)
        if before != feature.name or sum(f.name == feature.name for f in features) > 1:
            both = repr(before) if before == feature.name else f"{before!r} and {feature.name!r}, one name in SQL"
            raise wrong(f"two features are named {both}; rename one", feature.place)
