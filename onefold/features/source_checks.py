"""What can be judged of how a source's events reach us: branches, topics, and what producers may leave out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from onefold.features.errors import DefinitionError, nearest
from onefold.features.formats import Format, Json
from onefold.features.values import parse_json

if TYPE_CHECKING:
    from onefold.features.definitions import Branch, EventSource

DRIFT = ("dead_letter", "value_error")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


def check_source(source: EventSource) -> None:
    """Raises DefinitionError with the source, and the branch, that is wrong."""
    check_branches(source)
    what = f"source {source.name!r}"
    _check_topic(what, source)
    for branch in source.branches:
        _check_topic(f"{what}, branch {branch.name!r}", branch)
    topics = [b.topic for b in source.branches if b.topic is not None]
    if len(set(topics)) < len(topics):
        raise DefinitionError(f"{what} has two branches of one topic ({', '.join(topics)}); give each its own")
    _check_drift(what, source)


def check_branches(source: EventSource) -> None:
    what, columns = f"source {source.name!r}", {f.name: f.type for f in source.fields}
    for said in ("path", "topic"):
        if source.branches and getattr(source, said) is not None:
            raise DefinitionError(f"{what} has a {said} and branches; give the {said} to a branch of its own")
    names = [b.name for b in source.branches]
    if len(set(names)) < len(names):
        raise DefinitionError(f"{what} has two branches of one name ({', '.join(names)}); rename one")
    for branch in source.branches:
        for column in (*branch.columns, *branch.values):
            if column not in columns:
                raise DefinitionError(
                    f"{what}, branch {branch.name!r}: {column!r} is not in the schema{nearest(column, columns)}"
                )
        for column, value in branch.values.items():
            try:
                parse_json(value, columns[column])
            except ValueError as error:
                raise DefinitionError(f"{what}, branch {branch.name!r}: value of {column!r}: {error}") from None


def _check_topic(what: str, said: EventSource | Branch) -> None:
    if not isinstance(said.format, Format):
        raise DefinitionError(f"{what}: format is {said.format!r:.60}; write Json(), Avro(..) or Protobuf(..)")
    if said.topic is None:
        if not isinstance(said.format, Json):
            raise DefinitionError(f"{what}: format={said.format} without a topic; name the topic that is written so")
        return
    if not _TOPIC.fullmatch(said.topic) or said.topic in (".", ".."):
        raise DefinitionError(
            f"{what}: {said.topic!r} is no name of a topic; it has 1 to 249 letters, digits, '.', '_' and '-'"
        )


def _check_drift(what: str, source: EventSource) -> None:
    if source.drift not in DRIFT:
        raise DefinitionError(f'{what}: drift is {source.drift!r}; write "dead_letter" or "value_error"')
    if isinstance(source.optional, str):
        raise DefinitionError(f"{what}: optional is {source.optional!r}; write a tuple, as ({source.optional!r},)")
    columns = [f.name for f in source.fields]
    for column in source.optional:
        if column not in columns:
            raise DefinitionError(f"{what}: optional {column!r} is not in the schema{nearest(column, columns)}")
        if column in (source.event_time, source.event_id):
            kind = "event time" if column == source.event_time else "event id"
            raise DefinitionError(f"{what}: {column!r} is the {kind}, which no event lacks; take it out of optional")
