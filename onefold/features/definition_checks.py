"""What can be judged of a definition alone, when it is made. Each check raises DefinitionError."""

from __future__ import annotations

from collections.abc import Iterable
from types import UnionType
from typing import TYPE_CHECKING, get_args

from onefold.features.authoring import node_of
from onefold.features.authoring_features import listed
from onefold.features.authoring_nodes import Node
from onefold.features.errors import DefinitionError

if TYPE_CHECKING:
    from onefold.features.definitions import FeatureView, OnDemandView


def check_kind(what: str, found: object, kind: type | UnionType) -> None:
    """Refuse what is of another kind, as a name in the place of the object that bears it."""
    if not isinstance(found, kind):
        want = " or ".join(k.__name__ for k in get_args(kind) or (kind,))
        raise DefinitionError(f"{what} is {found!r:.60}; give the {want} itself")


def check_name(kind: str, name: str) -> None:
    if not name.isidentifier():
        raise DefinitionError(
            f"{kind} name {name!r} is not an identifier; use letters, digits and '_', not starting with a digit"
        )


def check_columns(what: str, columns: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for column in columns:
        if column.startswith("_") or "." in column:
            raise DefinitionError(f"{what}: column {column!r}: names with '_' first or '.' inside are Onefold's")
        if seen.setdefault(column.lower(), column) != column:
            before = seen[column.lower()]
            raise DefinitionError(f"{what}: columns {before!r} and {column!r} have one name in SQL; rename one")


def keep_authored(view: FeatureView | OnDemandView, what: str) -> None:
    """Judge and keep what a view says in Python, as plain nodes that can be compared."""
    if (view.sql is None) == (view.features is None):
        both = "neither" if view.sql is None else "both"
        raise DefinitionError(f"{what} has {both} of sql= and features=; give exactly one")
    if view.features is not None:
        try:
            object.__setattr__(view, "features", listed(view.features))
        except DefinitionError as error:
            raise error.of(what) from None


def kept(where: object, what: str) -> Node:
    try:
        return where if isinstance(where, Node) else node_of(where)
    except DefinitionError as error:
        raise error.of(what) from None
