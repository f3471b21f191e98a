"""What a request puts up with: the statuses that its values may have.

Without a word everything but `error` is served, each value with its status; what cannot be read fails the request.
"""

from __future__ import annotations

from collections.abc import Sequence

from onefold.features.errors import nearest
from onefold.features.plans import ServicePlan
from onefold.features.values import shown
from onefold.online.served_row import ERROR, FRESH, STATUSES, ServedRow
from onefold.serving.errors import ApiError, invalid

Tolerated = frozenset[str]
USUAL: Tolerated = frozenset(STATUSES) - {ERROR}
_NAMED = ", ".join(s for s in STATUSES if s != FRESH)


def tolerated(given: object) -> Tolerated:
    """The statuses that `tolerate` lists, and `fresh`; ApiError 422 for anything else."""
    if given is None:
        return USUAL
    if not isinstance(given, list):
        raise invalid(f"`tolerate` is {shown(given)}", f"send a list of statuses: [] for fresh alone, or of {_NAMED}")
    for status in given:
        if not isinstance(status, str) or status not in STATUSES:
            raise invalid(
                f"`tolerate` names {shown(status)}, which is no status{nearest(str(status)[:100], STATUSES)}",
                f"name some of {_NAMED}",
            )
    return frozenset((FRESH, *given))


def check(plan: ServicePlan, answers: Sequence[ServedRow], allowed: Tolerated) -> None:
    """ApiError 412 for the first value with a status that is not tolerated."""
    for number, answer in enumerate(answers):
        for feature, status in zip(plan.features, answer.statuses, strict=True):
            if status not in allowed:
                raise ApiError(
                    412, "not-tolerated", f"row {number}: feature {feature.name!r} is {status}",
                    f"add {status!r} to `tolerate`, or leave it out to be served with statuses",
                )  # fmt: skip
