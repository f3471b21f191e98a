"""`resolution=` of a view: its windows take whole buckets of time, so that a state can keep one entry for each.

A bucket is [k*r, (k+1)*r) for a whole k, also before 1970. What a view may have beside it is judged here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onefold.features import ir
from onefold.features.errors import DefinitionError
from onefold.features.parts import KINDS
from onefold.features.windows import LONGEST, describe, duration

if TYPE_CHECKING:
    from onefold.features.definitions import FeatureView

_INSTEAD = {
    "count_distinct": "approx_count_distinct(x)", "quantile_disc": "approx_quantile(x, q)",
    "array_agg": "last_value(x)", "last_n": "last_value(x)", "last_distinct": "last_value(x)",
}  # fmt: skip


def mergeable(aggregate: ir.Aggregate) -> bool:
    """Whether a bucket can be kept as one entry of it, of a size that does not grow with its events."""
    if aggregate.fn == "quantile_disc":  # approx_quantile(x, q) is the rank over a sketch's buckets
        (x,) = aggregate.args
        return isinstance(x, ir.Call) and x.op == "quantile_bucket"
    return aggregate.fn in KINDS


def with_resolution(view: FeatureView, select: ir.Select) -> ir.Select:
    """The SELECT with windows of whole buckets; DefinitionError where the view has what does not go with them."""
    if view.resolution is None:
        return select
    size = length(view.resolution)
    _check_view(view)
    found = []
    for feature in select.features:
        for aggregate in ir.aggregates(feature.expr):
            try:
                _check(view.resolution, size, aggregate)
            except DefinitionError as error:
                raise error.of(f"feature {feature.name!r}") from None
        found.append(ir.Feature(feature.name, ir.replace_aggregates(feature.expr, lambda a: _in_buckets(a, size))))
    return replace(select, features=tuple(found))


def length(resolution: str) -> int:
    """Microseconds of a bucket."""
    size = duration(resolution)
    if not 0 < size <= LONGEST:
        raise DefinitionError(f"resolution {resolution!r} is no length of a bucket; write resolution='1 minute'")
    return size


def _in_buckets(aggregate: ir.Aggregate, size: int) -> ir.Aggregate:
    return replace(aggregate, window=replace(aggregate.window, resolution=size))


def _check_view(view: FeatureView) -> None:
    source = view.source
    if view.request_row == "include":
        raise DefinitionError(
            f"resolution={view.resolution!r} does not go with request_row='include', which needs each event by its id; "
            "leave one of them out"
        )
    if source.event_id is not None:
        raise DefinitionError(
            f"resolution={view.resolution!r} keeps one entry a bucket, in which no copy of an event can be told; "
            f"source {source.name!r} has event_id {source.event_id!r}: leave out the resolution, or the event_id"
        )


def _check(resolution: str, size: int, aggregate: ir.Aggregate) -> None:
    window, said = aggregate.window, f"resolution={resolution!r}"
    if window.rows is not None:
        raise DefinitionError(
            f"{said} does not go with ROWS and lag(), which count single events; "
            "give it a RANGE, or put it into a view without resolution"
        )
    if not mergeable(aggregate):
        instead = _INSTEAD.get(aggregate.fn)
        raise DefinitionError(
            f"{said} keeps one entry a bucket, and {aggregate.fn}() needs every value; "
            f"{f'write {instead}, or ' if instead else ''}put it into a view without resolution"
        )
    _check_ends(said, size, window)


def _check_ends(said: str, size: int, window: ir.Window) -> None:
    if window.upper == 1:
        raise DefinitionError(
            f"{said} does not go with EXCLUDE GROUP (an open upper end), which leaves out single events; leave it out"
        )
    opened = [end for end, back in ((window.lower, 1), (window.upper, -1)) if _is_opened(end, back, size)]
    if opened:
        raise DefinitionError(
            f"{said}: a window takes whole buckets, so that an open end means nothing; leave bounds= out"
        )
    if window.lower is not None and window.lower - window.upper < size:
        raise DefinitionError(
            f"{said} is longer than the window of {describe(window.lower - window.upper)}, which would be as long as a "
            "bucket; take a shorter resolution or a longer window"
        )


def _is_opened(end: int | None, back: int, size: int) -> bool:
    """Whether it is a whole number of milliseconds but for the microsecond that an open end is apart."""
    return end is not None and end > 1 and size % 1_000 == 0 and end % 1_000 == (999 if back == 1 else 1)
