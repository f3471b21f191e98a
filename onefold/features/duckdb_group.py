"""DuckDB compiler, groups: prepared events, the lanes over them, and the finish that makes features of lanes.

Events come as a relation with the source's columns, `_sequence` and `_offset`; times in it are TIMESTAMP (UTC).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from onefold.features import ir
from onefold.features.copies import LAST_SEQUENCE, Counted, first
from onefold.features.duckdb_finish import ORDERED, RANKED, finish
from onefold.features.duckdb_lanes import Lanes, Running, prepared
from onefold.features.duckdb_scalar import double, quote, scalar
from onefold.features.duckdb_sums import FLAGS, SQUARE_COLUMNS, SUM_COLUMNS, WIDE
from onefold.features.facts import UNKNOWN, Facts
from onefold.features.layout import TIME, Layout
from onefold.features.plans import Group
from onefold.features.steps import Program


def prepared_events(layout: Layout, events: str, *, floor: int | None = None, carry: Sequence[str] = ()) -> str:
    """The prepared events of a layout: `_k*`, `ts` (microseconds), `_sequence`, `_offset`, `_id`, columns `c*`.

    Where the layout has no keys, `_k0` is a constant. carry: further columns of `events` to keep.
    """
    source = layout.source
    columns = {f.name: quote(f.name) for f in source.fields}
    items = [f"{columns[f.name]} AS _k{i}" for i, f in enumerate(layout.key_fields)] or ["0 AS _k0"]
    items += [f"epoch_us({columns[source.event_time]}) AS ts", "_sequence", "_offset"]
    items.append(f"{columns[source.event_id]} AS _id" if source.event_id else "NULL AS _id")
    items += [f"{scalar(c, columns)} AS c{i}" for i, c in enumerate(layout.columns)]
    items += carry
    passing = conditions(layout)
    if floor is not None:
        passing.append(f"epoch_us({columns[source.event_time]}) >= {floor}")
    return f"SELECT {', '.join(items)} FROM {events} WHERE {' AND '.join(passing) or 'TRUE'}"


def conditions(layout: Layout) -> list[str]:
    """What an event of the source must meet to be one of the layout."""
    found = [f"{quote(f.name)} IS NOT NULL" for f in layout.key_fields]
    if layout.keep is not None:
        found.append(scalar(layout.keep, {f.name: quote(f.name) for f in layout.source.fields}))
    return found


class GroupSql(Counted):
    """What all plans of a group share: its lanes, the events with lane columns, and the finish."""

    def __init__(
        self,
        group: Group,
        events: str,
        *,
        spine: str | None = None,
        facts: Facts = UNKNOWN,
        newest: Collection[int] = (),
    ) -> None:
        """spine: where rows may be events of their own. newest: slots whose values come with the lanes, as `v*`."""
        self.group, self.layout, self.facts = group, group.layout, facts
        self.program = Program(double)
        self.lanes = Lanes(self.program, facts.plain)
        self.slots = [
            self.program.column(f"v{i}") if i in newest else finish(self.lanes, s) for i, s in enumerate(group.slots)
        ]
        self.ordered = [i for i, s in enumerate(group.slots) if s.fn in ORDERED and i not in newest]
        self.keys = [f"_k{i}" for i in range(len(self.layout.key_fields) or 1)]
        self.with_rows = group.request_row and spine is not None
        self._events = _with_rows(group, events, str(spine)) if self.with_rows else events

    def events(self) -> str:
        """Prepared events with `ev` (1), `ord` where an order is asked for, and the lane columns of DOUBLEs."""
        query = prepared_events(self.layout, self._events, carry=["_only"] if self.with_rows else [])
        order = (
            ", row_number() OVER (ORDER BY ts, _sequence, _offset) AS ord" if self.ordered or self.lanes.ranked else ""
        )
        time = ", make_timestamp(ts) AS ct" if any(TIME in s.args for s in self.group.slots) else ""
        query = f"SELECT *, 1 AS ev{order}{time} FROM ({query})"
        for arg, form in sorted(self.lanes.ranked):
            column = prepared(arg)
            query = f"SELECT *, {RANKED[form].format(c=column)} AS {column}_{form} FROM ({query})"
        for arg in sorted(self.lanes.sums):
            query = _lane_columns(query, arg, squares=arg in self.lanes.squares)
        for arg in sorted(self.lanes.sums & self.facts.plain):
            query = f"SELECT *, {WIDE.format(c=prepared(arg))} AS {prepared(arg)}_t FROM ({query})"
        return query

    def columns(self, running: Iterable[Running] | None = None) -> list[str]:
        """The columns of `events` that lanes and filters use; of all lanes, or of some."""
        running = [lane.running for lane in self.lanes.all] if running is None else list(running)
        used = [r.column for r in running]
        filters = [f"c{i}" for r in running for i in (r.slot_filter, r.slot_where) if i is not None]
        return list(dict.fromkeys([*used, *filters]))

    def carried(self, running: Iterable[Running]) -> list[str]:
        """What these lanes need of `events`, marks of first copies included, without `ev`."""
        some = list(running)
        marks = [first(r.slot_where) for r in some] if self.layout.has_ids else []
        return [c for c in dict.fromkeys([*self.columns(some), *marks]) if c != "ev"]

    def finish(self, lanes: str, *, extra: Sequence[str] = ()) -> str:
        """The features, as columns named by their refs, from a query of `_row`, `_t`, lanes `a*` and `extra`."""
        base, values = lanes, {f"s{i}": n.sql for i, n in enumerate(self.slots)}
        values[ir.NOW] = "make_timestamp(_t)"
        if self.ordered:
            joins, picked = [], []
            for i in self.ordered:
                slot = self.group.slots[i]
                rank = ORDERED[slot.fn].format(f"lanes.{self.slots[i].sql}")
                joins.append(f"LEFT JOIN events AS o{i} ON o{i}.ord = {rank}")
                picked.append(f"o{i}.{prepared(slot.args[0])} AS v{i}")
                values[f"s{i}"] = f"v{i}"
            base = f"SELECT lanes.*, {', '.join(picked)} FROM ({lanes}) AS lanes {' '.join(joins)}"
        outputs = [f"{scalar(f.expr, values)} AS {quote(f.ref)}" for f in self.group.features]
        return self.program.render(base, ["_row", *extra, *outputs])


def _with_rows(group: Group, events: str, spine: str) -> str:
    """Events and, as events that `_only` one row sees, the rows of the spine (which has `_f0`, .. of `row_fields`)."""
    keys = [f"_k{i} AS {quote(f.name)}" for i, f in enumerate(group.layout.key_fields)]
    own = [f"_f{i} AS {quote(f.name)}" for i, f in enumerate(group.row_fields)]
    time = f"make_timestamp(_t) AS {quote(group.layout.source.event_time)}"
    rows = f"SELECT {', '.join([*keys, *own, time])}, {LAST_SEQUENCE} AS _sequence, _row AS _offset, _row AS _only"
    return f"(SELECT *, NULL::BIGINT AS _only FROM {events} UNION ALL BY NAME {rows} FROM {spine})"


def _lane_columns(query: str, arg: int, *, squares: bool) -> str:
    """The query with the integer lanes of column c{arg} added."""
    column = f"c{arg}"
    steps = [(name, sql) for name, sql in SUM_COLUMNS.items()]
    if squares:
        steps += list(SQUARE_COLUMNS.items())
    names = {"c": column} | {name: f"_{column}_{name}" for name, _ in steps}
    for name, sql in steps:
        query = f"SELECT *, {sql.format(**names)} AS {names[name]} FROM ({query})"
    lanes = [
        f"CAST(CASE WHEN {column} IS NULL THEN NULL ELSE {names[n]} END AS BIGINT) AS {column}_{n}" for n in ("h", "l")
    ]
    if squares:
        sums = {"qt": names["qt"], "qh": f"{names['qh']}::BIGINT::HUGEINT + {names['eh']}::BIGINT",
                "ql": f"{names['ql']}::BIGINT::HUGEINT + {names['el']}::BIGINT"}  # fmt: skip
        lanes += [
            f"CAST(CASE WHEN {column} IS NULL THEN NULL ELSE {s} END AS HUGEINT) AS {column}_{n}"
            for n, s in sums.items()
        ]
    drop = ", ".join(names[n] for n, _ in steps)
    return f"SELECT * EXCLUDE ({drop}), {', '.join(lanes)}, {FLAGS.format(c=column)} AS {column}_f FROM ({query})"
