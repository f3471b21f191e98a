"""What a request puts up with: the statuses that its values may have.

Without a word everything but `error` is served, each value with its status; what cannot be read fails the request.
"""

from __future__ import annotations

from collections.abc import Sequence

from onefold.features.errors import InputError, StateError, UntoleratedError, nearest
from onefold.features.plans import ServicePlan
from onefold.features.values import shown
from onefold.online.served_row import ERROR, FRESH, STATUSES, ServedRow

Tolerated = frozenset[str]
USUAL: Tolerated = frozenset(STATUSES) - {ERROR}
_NAMED = ", ".join(s for s in STATUSES if s != FRESH)


def tolerated(given: object) -> Tolerated:
    """The statuses that a list names, and `fresh`; the usual ones for None. InputError for anything else."""
    if given is None:
        return USUAL
    if not isinstance(given, list | tuple | set | frozenset):
        raise InputError(f"`tolerate` is {shown(given)}; send a list of statuses: [] for fresh alone, or of {_NAMED}")
    for status in given:
        if not isinstance(status, str) or status not in STATUSES:
            near = nearest(str(status)[:100], STATUSES)
            raise InputError(f"`tolerate` names {shown(status)}, which is no status{near}")
    return frozenset((FRESH, *given))


def check_errors(answers: Sequence[ServedRow]) -> None:
    """StateError for the first row whose state cannot be read."""
    for number, answer in enumerate(answers):
        if answer.errors:
            raise StateError(f"row {number}: {'; '.join(answer.errors)}")


def check(plan: ServicePlan, answers: Sequence[ServedRow], allowed: Tolerated) -> None:
    """UntoleratedError for the first value with a status that is not allowed."""
    for number, answer in enumerate(answers):
        for feature, status in zip(plan.features, answer.statuses, strict=True):
            if status not in allowed:
                raise UntoleratedError(
                    f"row {number}: feature {feature.name!r} is {status}, which the request does not tolerate; "
                    f"add {status!r} to `tolerate`, or leave `tolerate` out to be served with statuses"
                )
