"""Onefold: write a feature once, as SQL over events; get the same bits in training and in serving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onefold.features.definitions import Branch, Entity, EventSource, FeatureService, FeatureView, OnDemandView
from onefold.features.errors import OnefoldError

if TYPE_CHECKING:
    from onefold.computing import compute

__version__ = "0.1.0"

__all__ = [
    "Branch",
    "Entity",
    "EventSource",
    "FeatureService",
    "FeatureView",
    "OnDemandView",
    "OnefoldError",
    "__version__",
    "compute",
]


def __getattr__(name: str) -> Any:
    """`compute` needs DuckDB and Arrow; it is loaded when first asked for."""
    if name == "compute":
        from onefold.computing import compute

        return compute
    raise AttributeError(f"module 'onefold' has no attribute {name!r}")
