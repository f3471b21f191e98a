"""Faults of the Spark compiler."""

from __future__ import annotations

from onefold.features import spark_lanes, spark_scalar, types
from tests.parity.planting import entry, spelling

FINISH = spark_lanes._FINISH
entry("spark", "sums are plain on Spark", FINISH, "sum", spark_lanes._plain("sum({})"))
entry("spark", "bool_and is bool_or on Spark", FINISH, "bool_and", FINISH["bool_or"])
entry("spark", "the first value is the last on Spark", FINISH, "first_value", FINISH["last_value"])
entry(
    "spark", "a cast truncates on Spark", spark_scalar._CASTS, (types.DOUBLE, types.BIGINT), "try_cast({0} AS BIGINT)"
)
spelling("spark", "case is mapped beyond ASCII on Spark", "lower", 0, "lower({0})")
