"""How scores are written for `/v1/score`: one document a model, with all that never changes written beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

import orjson

from onefold.features.types import DOUBLE
from onefold.features.values import to_json
from onefold.serving.documents import Fragments, texts_of

if TYPE_CHECKING:
    from onefold.features.plans import ServicePlan
    from onefold.serving.documents import Served
    from onefold.serving.scorer import Model


class ScoreDocument:
    """The answers of `/v1/score` for one model, and the statuses that are worth a word in them: all but `fresh`."""

    def __init__(self, model: Model, plan: ServicePlan) -> None:
        self._names = [f.name for f in plan.features]
        head = {"model": model.name, "version": model.version, "service": plan.name, "fingerprint": plan.fingerprint}
        self._written = {name: orjson.Fragment(orjson.dumps(value)) for name, value in head.items()}
        self._statuses = Fragments(lambda statuses: orjson.dumps(self.not_fresh(statuses)))

    def json(self, served: Served, scores: Sequence[float], *, single: bool) -> bytes:
        """single: one row was asked for, and not a list of one."""
        finite = isfinite(sum(scores))
        columns: Sequence[Any] = (
            served.request_ids,
            texts_of(served.times),
            scores if finite else [to_json(score, DOUBLE) for score in scores],
            list(map(self._statuses.of, served.statuses)),
        )
        names = MANY
        if single:
            names, columns = ONE, [column[0] for column in columns]
        return orjson.dumps(self._written | dict(zip(names, columns, strict=True)))

    def not_fresh(self, statuses: Sequence[str]) -> dict[str, str]:
        """By feature."""
        pairs = zip(self._names, statuses, strict=True)
        return {name: status for name, status in pairs if status != "fresh"}


ONE = ("request_id", "event_timestamp", "score", "statuses")
MANY = ("request_ids", "event_timestamps", "scores", "statuses")
