"""The table of paths: which handler answers, and who may ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onefold.serving.access import Access, forbidden, unauthorised
from onefold.serving.messages import Handler

OPEN, KEY, OPERATOR = "open", "key", "operator"
"""Who may ask: anybody; whoever has a key; whoever has one with operator's rights."""


@dataclass(frozen=True, slots=True)
class Route:
    """A path, as the metrics name it; its handler; who may ask; and a line for the documentation."""

    path: str
    handler: Handler
    who: str = KEY
    summary: str = ""


def admit(access: Access, who: str, what: str) -> None:
    """ApiError 401 without a key, 403 with one that has not the right."""
    if who == OPEN:
        return
    if access.key is None and access.services is not None:
        raise unauthorised("this needs an API key")
    if who == OPERATOR and not access.operator:
        raise forbidden(what)


Routes = Mapping[tuple[str, str], Route]
"""By method and path; `{model}` stands for one segment."""


class Router:
    """Finds routes: a look into a dictionary, and for paths with a `{model}` one more."""

    def __init__(self, routes: Routes) -> None:
        self._routes = dict(routes)
        self._deep = {_depth(path) for _, path in routes if "{" in path}

    def find(self, method: str, path: str) -> Route | None:
        method = "GET" if method == "HEAD" else method
        found = self._routes.get((method, path))
        if found is not None or _depth(path) not in self._deep:
            return found
        parts = path.split("/")
        if not all(parts[1:]):
            return None
        for names in _PATTERNS.get(len(parts), ()):
            pattern = "/".join(names.get(i, part) for i, part in enumerate(parts))
            found = self._routes.get((method, pattern))
            if found is not None:
                return found
        return None


_PATTERNS: dict[int, tuple[dict[int, str], ...]] = {
    4: ({3: "{model}"},),
    5: ({3: "{model}"},),
    6: ({3: "{model}", 5: "{version}"},),
    7: ({3: "{model}", 5: "{version}"},),
}
"""Number of a path's parts to where its names stand: /v1/score/{model}, /v2/models/{model}/versions/{version}/infer."""


def _depth(path: str) -> int:
    return path.count("/")
