"""DuckDB compiler, frames by place: what has no difference (min, max, first, lists), over ranges of time.

The running totals say how many events stand before each end of a window. Those are places in one sort, so a frame is a
number of rows, and DuckDB searches no times for its ends: of long windows, that was most of the work.
"""

from __future__ import annotations

from collections.abc import Sequence

from onefold.features.duckdb_group import GroupSql
from onefold.features.duckdb_prefix import PLACE, Numbered, Points


def frame_lanes(sql: GroupSql, points: Points, frames: Sequence[Numbered]) -> str:
    """`_row`, `_t` and lanes `a*` of all rows, from `running` (`duckdb_prefix.running_totals`) and `ends` (the same by
    row).

    Rows stand behind all events, in order of the places that they ask for. An event's own frame, which nobody asks
    for, is empty.
    """
    asked = list(dict.fromkeys(column for _, lane in frames for column in points.ends(PLACE, lane)))
    events = "FROM running WHERE _point IS NULL"
    carried = sql.carried(dict.fromkeys(lane.running for _, lane in frames))
    behind = f"(SELECT count(*) {events}) + row_number() OVER (ORDER BY {', '.join(asked)}) AS {PLACE}"
    both = (
        f"SELECT {', '.join([PLACE, 'NULL::BIGINT AS _row', *carried])} {events} UNION ALL BY NAME "
        f"SELECT {', '.join([behind, '_row', '_t', *asked])} FROM ends"
    )
    windows: dict[str, str] = {}
    items = []
    for i, lane in frames:
        before, end = points.ends(PLACE, lane)
        frame = f"coalesce({PLACE} - {before} - 1, 0) PRECEDING AND coalesce({PLACE} - {end}, 1) PRECEDING"
        name = windows.setdefault(f"ORDER BY {PLACE} ROWS BETWEEN {frame}", f"w{len(windows)}")
        items.append(f"{sql.aggregate(lane.running)} OVER {name} AS a{i}")
    named = ", ".join(f"{name} AS ({frame})" for frame, name in windows.items())
    return f"SELECT _row, _t, {', '.join(items)} FROM ({both}) WINDOW {named} QUALIFY _row IS NOT NULL"
