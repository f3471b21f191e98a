"""`POST /get-online-features`, in the shapes of Feast's feature server.

A request names a `feature_service` or lists `features` as `view:feature`; `entities` holds a list per key
(and per request column). The answer is by column: names once, then values, statuses and times of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from onefold.features.values import shown
from onefold.serving.answers import Answers
from onefold.serving.errors import invalid
from onefold.serving.messages import Answer, Request
from onefold.serving.rows import parse_object

VERSIONS = "include_feature_view_version_metadata"
FIELDS = ("feature_service", "features", "entities", "full_feature_names", VERSIONS, "at", "tolerate")
"""Feast's own, and two of `/v1/lookup`."""


class FeastAnswers:
    """Answers requests in Feast's shapes from the same lookups as `/v1/lookup`."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    async def get_online_features(self, request: Request) -> Answer:
        data = parse_object(request.body, FIELDS)
        full = _flag(data, "full_feature_names")
        if _flag(data, VERSIONS):
            raise invalid(
                f"`{VERSIONS}` is true, and views here have fingerprints instead of version numbers",
                "leave it out; /v1/services has the fingerprints",
            )
        service = self._answers.chosen(data.get("feature_service"), data.get("features"), names="`feature_service`")
        served = await self._answers.looked_up(service, _rows(data.get("entities")), data)
        return Answer(service.feast.json(served, full_names=full))


def _flag(data: Mapping[str, object], name: str) -> bool:
    given = data.get(name, False)
    if not isinstance(given, bool):
        raise invalid(f"`{name}` is {shown(given)}", "send true or false")
    return given


def _rows(entities: object) -> list[dict[str, object]]:
    """Columns of entity values as rows."""
    if not isinstance(entities, dict) or not all(isinstance(v, list) for v in entities.values()):
        raise invalid(f"`entities` is {shown(entities)}", 'send a list per key, as {"user_id": [1, 2]}')
    if not entities:
        return [{}]  # what has no keys has one row
    for (one, first), (other, second) in pairwise(entities.items()):
        if len(first) != len(second):
            raise invalid(
                f"`entities` has {len(first)} values of {shown(one)} and {len(second)} of {shown(other)}",
                "send one value of each for every row",
            )
    return [dict(zip(entities, row, strict=True)) for row in zip(*entities.values(), strict=True)]
