"""DuckDB compiler, decimals: the exact total of DECIMALs, of any size."""

from __future__ import annotations

from onefold.features.duckdb_lanes import Lanes, column_of, count_values
from onefold.features.layout import Slot
from onefold.features.steps import Number
from onefold.features.types import DataType


def decimal_total(lanes: Lanes, slot: Slot, kind: DataType) -> tuple[Number, Number]:
    """(whether it has at most 38 digits, its text) of the exact sum of DECIMALs, of any size; NULL over nothing.

    The digits of up to 18 fit BIGINT; wider ones are cut into two lanes of 19. The text holds all of the total.
    """
    let, half, column = lanes.program.let, f"{10**19}::HUGEINT", column_of(slot)
    if kind.precision <= 18:
        digits = f"CAST({{}} * '{10**kind.scale}'::DECIMAL(19,0) AS BIGINT)"
        total = lanes.add(slot, f"sum({digits})", column)
        high, low = let(f"{{0}} // {half}", total), let(f"{{0}} % {half}", total)
    else:
        digits = "CAST(replace(CAST({} AS VARCHAR), '.', '') AS HUGEINT)"
        tops, rests = (lanes.add(slot, f"sum({digits} {sign} {half})", column) for sign in ("//", "%"))
        high, low = let(f"({{0}} + {{1}} // {half})", tops, rests), let(f"{{0}} % {half}", rests)
    high, low = (
        let("({0} + CASE WHEN {0} > 0 AND {1} < 0 THEN -1 WHEN {0} < 0 AND {1} > 0 THEN 1 ELSE 0 END)", high, low),
        let(f"({{1}} + CASE WHEN {{0}} > 0 AND {{1}} < 0 THEN {half} WHEN {{0}} < 0 AND {{1}} > 0 THEN -{half} "
            "ELSE 0::HUGEINT END)", high, low),
    )  # fmt: skip
    top = let("abs({0})::VARCHAR", high)
    written = let("lpad({0}, greatest(length({0}), 20)::INTEGER, '0') || lpad(abs({1})::VARCHAR, 19, '0')", top, low)
    sign = let("CASE WHEN {0} < 0 OR {1} < 0 THEN '-' ELSE '' END", high, low)
    text = let(
        f"{{0}} || left({{1}}, length({{1}}) - {kind.scale}) || '.' || right({{1}}, {kind.scale})", sign, written
    )
    some = let("CASE WHEN {1} > 0 THEN {0} END", text, count_values(lanes, slot))
    return let(f"abs({{0}}) < {half}", high), some
