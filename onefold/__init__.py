"""Onefold: write a feature once, as SQL over events; get the same bits in training and in serving."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from onefold.features.authoring import col, fn, lit, when
from onefold.features.authoring_aggregates import (
    approx_count_distinct,
    approx_quantile,
    array_agg,
    avg,
    bool_and,
    bool_or,
    count,
    count_distinct,
    first_value,
    lag,
    last_distinct,
    last_n,
    last_value,
    max_,
    max_by,
    min_,
    min_by,
    quantile_disc,
    stddev_pop,
    stddev_samp,
    sum_,
    time_since_last,
    var_pop,
    var_samp,
)
from onefold.features.definitions import Branch, Entity, EventSource, FeatureService, FeatureView, OnDemandView
from onefold.features.errors import OnefoldError
from onefold.features.formats import Avro, Json, Protobuf

if TYPE_CHECKING:
    from onefold.client import OnlineClient, OnlineFeatures
    from onefold.computing import compute
    from onefold.explaining import explain

__version__ = "0.1.0"

__all__ = [
    "Avro",
    "Branch",
    "Entity",
    "EventSource",
    "FeatureService",
    "FeatureView",
    "Json",
    "OnDemandView",
    "OnefoldError",
    "OnlineClient",
    "OnlineFeatures",
    "Protobuf",
    "__version__",
    "approx_count_distinct",
    "approx_quantile",
    "array_agg",
    "avg",
    "bool_and",
    "bool_or",
    "col",
    "compute",
    "count",
    "count_distinct",
    "explain",
    "first_value",
    "fn",
    "lag",
    "last_distinct",
    "last_n",
    "last_value",
    "lit",
    "max_",
    "max_by",
    "min_",
    "min_by",
    "quantile_disc",
    "stddev_pop",
    "stddev_samp",
    "sum_",
    "time_since_last",
    "var_pop",
    "var_samp",
    "when",
]


_LATER = {
    "OnlineClient": "client",
    "OnlineFeatures": "client",
    "compute": "computing",
    "explain": "explaining",
}
"""Names that need a store, Arrow, DuckDB or the compilers, and the modules that have them: loaded when asked for."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f"onefold.{_LATER[name]}"), name)
    raise AttributeError(f"module 'onefold' has no attribute {name!r}")
